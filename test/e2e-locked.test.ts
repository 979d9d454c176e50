/** Two runs of the same account: the second one is told, or waits, and nothing is fetched twice. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lateHook, reach, stored, until, World } from './support/e2e.js';
import { plain } from './support/messages.js';
import type { Running } from './support/sandbox.js';
import type { TestServer } from './support/server.js';

const MAIL = [plain(1), plain(2)];

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

describe('a mailbox that another run is fetching [100]', () => {
  /** A run of the account `bad` that waits for its server, and what lets the server go on. */
  async function firstRun(): Promise<{
    run: Running;
    account: object;
    server: TestServer;
    goOn: () => void;
  }> {
    const late = lateHook();
    const server = await world.serve({ taro: MAIL }, late);
    let goOn: () => void = () => undefined;
    const free = new Promise<undefined>((resolve) => {
      goOn = () => {
        resolve(undefined);
      };
    });
    world.atEnd(goOn);
    let waiting = false;
    late.hook = ({ kind, verb }) => {
      if (kind !== 'command' || verb !== 'STAT') return undefined;
      waiting = true;
      return free;
    };
    const account = reach(server);
    await world.configure({ bad: account });
    const run = world.start([]);
    await until(() => waiting || run.ended, 'the first run holds the mailbox');
    expect(run.ended).toBe(false);
    return { run, account, server, goOn };
  }

  const line = (pid: number): RegExp =>
    new RegExp(
      `^popfetch: bad: state: another run of popfetch is fetching this mailbox \\(process ${pid} on \\S+, ` +
        'since \\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z\\); use --wait to wait for the other run\\n$',
    );

  test('ends in 75, at once or after the seconds of --wait', async () => {
    const { run, account, goOn } = await firstRun();
    const well = await world.serve({ taro: MAIL });
    await world.configure({ bad: account, good: reach(well) });
    const told = await world.popfetch();
    expect(told.code).toBe(75);
    expect(told.stderr).toMatch(line(run.pid));
    expect(await world.maildir('good')).toEqual(stored(...MAIL));
    const start = performance.now();
    const waited = await world.popfetch('--wait=1');
    expect(performance.now() - start).toBeGreaterThan(1000);
    expect(waited.code).toBe(75);
    expect(waited.stderr).toMatch(line(run.pid));
    goOn();
    expect(await run.done).toMatchObject({ code: 0, stderr: '' });
  });

  test('is waited for with --wait, and then nothing is fetched twice', async () => {
    const { run, account, goOn } = await firstRun();
    const well = await world.serve({ taro: MAIL });
    await world.configure({ bad: account, good: reach(well) });
    const second = world.start(['--wait']);
    await until(async () => (await world.maildir('good')).length === 2, 'the second run is at work');
    goOn();
    expect(await run.done).toMatchObject({ code: 0, stderr: '' });
    expect(await second.done).toMatchObject({ code: 0, stderr: '' });
    expect(await world.maildir('bad')).toEqual(stored(...MAIL));
  });

  test('is free again as soon as the other run is killed [101]', async () => {
    const { run, server, goOn } = await firstRun();
    run.kill();
    await run.done;
    goOn();
    await until(() => !server.mailbox('taro').locked, 'the server has noticed');
    expect(await world.popfetch()).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await world.maildir('bad')).toEqual(stored(...MAIL));
  });

  test('can be given up with a signal', async () => {
    const { run, account, goOn } = await firstRun();
    const well = await world.serve({ taro: MAIL });
    await world.configure({ bad: account, good: reach(well) });
    const second = world.start(['--wait']);
    await until(async () => (await world.maildir('good')).length === 2, 'the second run is at work');
    second.kill('SIGTERM');
    expect(await second.done).toMatchObject({
      code: 143,
      stderr: 'popfetch: interrupted by SIGTERM; nothing is lost; the next run goes on\n',
    });
    goOn();
    expect(await run.done).toMatchObject({ code: 0 });
  });
});
