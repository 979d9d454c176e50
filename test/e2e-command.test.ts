/** Mail handed to a command, end to end: what the command gets and sees, and where a message is when it does not take it. */
import { existsSync } from 'node:fs';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lf, PASSWORD, reach, said, stored, until, World } from './support/e2e.js';
import { padded, plain } from './support/messages.js';
import type { TestServer } from './support/server.js';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

const SILENCE = { code: 0, stdout: '', stderr: '' };

/** A command that runs a script, which finds the path of `out` as `$1`. */
function script(text: string): object {
  return { command: ['sh', '-c', text, 'sh', world.sandbox.path('out')] };
}

const read = (name = 'out'): Promise<string> => readFile(world.sandbox.path(name), 'latin1').catch(() => '');
const left = (server: TestServer): number => server.mailbox('taro').uids.length;

describe('a command', () => {
  test('gets every message, in order, and then they are removed from the server', async () => {
    const mail = [plain(1), padded(plain(2), 400_000), plain(3)];
    const server = await world.serve({ taro: mail });
    await world.configure({ work: reach(server, { deliver: script('cat >>"$1"'), delete: 'delivered' }) });
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await read()).toBe(mail.map((each) => lf(each.toString('latin1'))).join(''));
    expect(left(server)).toBe(0);
    expect(await world.leftovers()).toEqual([]);
    expect(await world.popfetch()).toEqual(SILENCE);
  });

  test('sees what it needs of the environment: no password of whatever account, and no token of another program [103]', async () => {
    const server = await world.serve({ taro: [plain(1)] });
    world.keepSecret('of another account');
    const env = {
      POP_PASSWORD: PASSWORD,
      OTHER: 'of another account',
      LC_TIME: 'to be seen',
      PLAIN: 'not to be seen',
      AWS_SECRET_ACCESS_KEY: 'not to be seen',
      LD_PRELOAD_OF_OTHERS: 'not to be seen',
      POPFETCH_UID: 'old',
    };
    const password = { env: 'POP_PASSWORD' };
    await world.configure({
      work: reach(server, { password, deliver: script('env >"$1"') }),
      other: reach(server, { user: 'hanako', password: { env: 'OTHER' }, disabled: true }),
    });
    const { code, stderr } = await world.run([], { env });
    expect([code, stderr]).toEqual([0, '']);
    // That no file holds a password is looked at when the test ends.
    const seen = (await read()).split('\n');
    expect(seen).toContain('LC_TIME=to be seen');
    expect(seen.filter((line) => line.endsWith('=not to be seen'))).toEqual([]);
    expect(seen).toContain(`HOME=${world.sandbox.home}`);
    expect(seen.filter((line) => /^(POPFETCH_|POP_PASSWORD|OTHER)/.test(line)).sort()).toEqual([
      'POPFETCH_ACCOUNT=work',
      expect.stringMatching(/^POPFETCH_KEY=[a-z2-7]{26}$/),
      'POPFETCH_SENDER=',
      expect.stringMatching(/^POPFETCH_UID=(?!old$)./),
    ]);
  });

  test('that is not there is found out before the server is asked for anything [82]', async () => {
    const server = await world.serve({ taro: [plain(1)] });
    await world.configure({ work: reach(server, { deliver: { command: ['no-such-filter'] } }) });
    const sentence = 'the command no-such-filter was not found';
    const { code, stderr } = await world.popfetch();
    expect(code).toBe(73);
    expect(stderr).toContain(`popfetch: work: destination: ${sentence}; put it on PATH`);
    expect(server.sessions).toEqual([]);
    const check = await world.popfetch('check');
    expect(check.code).toBe(73);
    expect(check.stdout).toMatch(new RegExp(`FAIL +destination +${sentence}; `));
  });

  test('that is there is checked, and so is the Maildir for what it refuses', async () => {
    const server = await world.serve({ taro: [] });
    const deliver = [
      { command: ['sh', '-c', 'exit 1'] },
      { lmtp: '127.0.0.1:24', recipient: ['taro', 'hanako'] },
      { lmtp: '/no/such/socket', recipient: 'taro' },
    ];
    await world.configure({ work: reach(server, { deliver, rejected: '~/refused' }) });
    const { code, stdout } = await world.popfetch('check');
    expect(code).toBe(74);
    const places = stdout.split('\n').filter((line) => line.includes('destination'));
    expect(places.map((line) => line.trim().replace(/ +/g, ' '))).toEqual([
      'ok destination command:sh can be run',
      'ok destination lmtp:127.0.0.1:24 is to deliver for taro, hanako',
      'FAIL destination /no/such/socket: there is no such socket; start the LMTP server, or check the path',
      'ok destination maildir:~/refused will be made',
    ]);
  });
});

describe('a message that a command does not take', () => {
  test('now is left for the next run, and the others go on', async () => {
    const server = await world.serve({ taro: [plain(1), plain(2), plain(3)] });
    const text = `cat >"$1.now"; if grep -q 'message 2' "$1.now" && [ ! -e "$1.go" ]; then echo 'not now' >&2; exit 75; fi; cat "$1.now" >>"$1"`;
    await world.configure({ work: reach(server, { deliver: script(text), delete: 'delivered' }) });
    expect(await world.popfetch()).toEqual({
      ...{ code: 75, stdout: '' },
      stderr:
        'popfetch: work: deliver: the command sh did not take message 2: it ended with status 75, "not now"; the next run tries it again\n',
    });
    expect(await read()).toBe(lf(`${plain(1).toString()}${plain(3).toString()}`));
    expect(left(server)).toBe(1);
    await writeFile(world.sandbox.path('out.go'), '');
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await read()).toBe(lf(`${plain(1).toString()}${plain(3).toString()}${plain(2).toString()}`));
    expect(left(server)).toBe(0);
  });

  test('ever is one of wrong data, and stays on the server', async () => {
    const server = await world.serve({ taro: [plain(1)] });
    await world.configure({ work: reach(server, { deliver: script('exit 65'), delete: 'delivered' }) });
    const { code, stderr } = await world.popfetch();
    expect([code, stderr]).toEqual([
      65,
      'popfetch: work: deliver: the command sh did not take message 1: it ended with status 65; it stays on the server; "rejected" names a Maildir for such messages\n',
    ]);
    expect(left(server)).toBe(1);
    expect(said(server, 'DELE', 'QUIT')).toEqual([]);
  });

  test('ever goes to the Maildir for that, with a word about it, and stays on the server as well', async () => {
    const server = await world.serve({ taro: [plain(1), plain(2)] });
    const text = `cat >"$1.now"; if grep -q 'message 2' "$1.now"; then echo 'no such user' >&2; exit 67; fi; cat "$1.now" >>"$1"`;
    const deliver = script(text);
    await world.configure({ work: reach(server, { deliver, rejected: '~/refused', delete: 'delivered' }) });
    expect(await world.popfetch()).toEqual({
      ...{ code: 0, stdout: '' },
      stderr:
        'popfetch: work: warning: message 2 is in ~/refused now, and stays on the server: the command sh did not take message 2: it ended with status 67, "no such user"\n',
    });
    expect(await read()).toBe(lf(plain(1).toString()));
    expect(await world.maildir('refused')).toEqual(stored(plain(2)));
    expect(left(server)).toBe(1);
    expect(await world.leftovers('refused')).toEqual([]);
    const retrieved = said(server, 'RETR').length;
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(said(server, 'RETR')).toHaveLength(retrieved);
    expect(await world.maildir('refused')).toEqual(stored(plain(2)));
    expect(left(server)).toBe(1);
    expect((await world.popfetch('list')).stdout).not.toContain('remove');
  });

  test('within the time limit is left for the next run', async () => {
    const server = await world.serve({ taro: [plain(1)] });
    const fields = { deliver: script('sleep 60'), timeout: { deliver: '300ms' } };
    await world.configure({ work: reach(server, fields) });
    const { code, stderr } = await world.popfetch();
    expect(code).toBe(75);
    expect(stderr).toContain('the command sh did not take message 1: it did not end within 0.3 s');
    expect(left(server)).toBe(1);
  });
});

describe('a run that is ended while a command has a message', () => {
  const text = 'touch "$1.started"; while [ ! -e "$1.go" ]; do sleep 0.05; done; cat >>"$1"';

  test('by SIGTERM waits for it, and the message is not handed over again', async () => {
    const server = await world.serve({ taro: [plain(1), plain(2)] });
    await world.configure({ work: reach(server, { deliver: script(text) }) });
    const running = world.start([]);
    await until(() => existsSync(world.sandbox.path('out.started')), 'it is started');
    running.kill('SIGTERM');
    await writeFile(world.sandbox.path('out.go'), '');
    expect((await running.done).code).toBe(143);
    expect(await read()).toBe(lf(plain(1).toString()));
    expect(await world.leftovers()).toEqual([]);
    await until(() => !server.mailbox('taro').locked, 'the server has noticed');
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await read()).toBe(lf(`${plain(1).toString()}${plain(2).toString()}`));
  });

  test('by SIGTERM ends it where it goes on, and hands the message over again', async () => {
    const stubborn = `trap '' TERM; touch "$1.started"; [ -e "$1.go" ] || sleep 60; cat >>"$1"`;
    const server = await world.serve({ taro: [plain(1)] });
    await world.configure({ work: reach(server, { deliver: script(stubborn) }) });
    const running = world.start([]);
    await until(() => existsSync(world.sandbox.path('out.started')), 'it is started');
    running.kill('SIGTERM');
    expect(world.seen(await running.done)).toEqual({
      ...{ code: 143, stdout: '' },
      stderr: 'popfetch: interrupted by SIGTERM; nothing is lost; the next run goes on\n',
    });
    // In order, and not because its time was over: it has tidied up.
    expect(await world.leftovers()).toEqual([]);
    await writeFile(world.sandbox.path('out.go'), '');
    await until(() => !server.mailbox('taro').locked, 'the server has noticed');
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await read()).toBe(lf(plain(1).toString()));
  });

  test('by SIGKILL leaves it the whole message, and the next run leaves nothing behind', async () => {
    const mail = padded(plain(1), 1_000_000);
    const server = await world.serve({ taro: [mail] });
    await world.configure({ work: reach(server, { deliver: script(text) }) });
    const running = world.start([]);
    await until(() => existsSync(world.sandbox.path('out.started')), 'it is started');
    running.kill('SIGKILL');
    await running.done;
    await writeFile(world.sandbox.path('out.go'), '');
    const whole = lf(mail.toString('latin1'));
    await until(async () => (await read()).length >= whole.length, 'the command has gone on');
    expect((await read()) === whole).toBe(true);
    await until(() => !server.mailbox('taro').locked, 'the server has noticed');
    // Nobody knows that it has been taken: it comes twice, and no more than that.
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await world.popfetch()).toEqual(SILENCE);
    expect((await read()) === whole + whole).toBe(true);
    expect(await world.leftovers()).toEqual([]);
  });
});

test('a program that says something on stderr is heard, though it takes the message', async () => {
  const server = await world.serve({ taro: [plain(1)] });
  const filter = world.sandbox.path('filter');
  await writeFile(filter, `#!/bin/sh\nprintf 'watch \\033[1mout\\n' >&2\n`);
  await chmod(filter, 0o700);
  await world.configure({ work: reach(server, { deliver: { command: [filter] } }) });
  expect(await world.popfetch()).toEqual({
    ...{ code: 0, stdout: '' },
    stderr: 'popfetch: work: warning: the command ~/filter says: "watch \\x1b[1mout"\n',
  });
});
