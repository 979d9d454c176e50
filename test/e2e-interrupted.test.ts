/** A run that is ended by a signal, in order or at once: the next run goes on, and every message is there exactly once. */
import { rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { EventKind } from './support/faults.js';
import { lateHook, reach, said, stored, until, World } from './support/e2e.js';
import { awkward, padded, plain } from './support/messages.js';
import type { Result, Running } from './support/sandbox.js';
import type { ServerOptions, TestServer } from './support/server.js';

const BIG = padded(plain(2), 400_000);
const MAIL = [plain(1), BIG, awkward['From lines']!, plain(4)];
const SILENCE = { code: 0, stdout: '', stderr: '' };

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

const DESTINATIONS = [
  ['a Maildir', { maildir: '~/box' }, () => world.maildir('box')],
  ['an mbox', { mbox: '~/file' }, () => world.mbox('file')],
  ['a Maildir and an mbox', [{ maildir: '~/box' }, { mbox: '~/file' }], both],
] as const;

async function both(): Promise<string[]> {
  const inMaildir = await world.maildir('box');
  expect(await world.mbox('file')).toEqual(inMaildir);
  return inMaildir;
}

/** What is in the home but for the memory, which takes a note of every run. */
async function delivered(): Promise<Map<string, string>> {
  const all = [...(await world.everything())];
  return new Map(all.filter(([path]) => !/\.(journal|lock)(\.old)?$|popfetch$/.test(path)));
}

/** After a run was cut off: the next one completes it, and the one after that changes nothing. */
async function completes(server: TestServer, content: () => Promise<string[]>): Promise<void> {
  await until(() => !server.mailbox('taro').locked, 'the server has noticed');
  expect(await world.popfetch()).toEqual(SILENCE);
  expect(await content()).toEqual(stored(...MAIL));
  expect(await world.leftovers('box', 'file')).toEqual([]);
  expect(server.mailbox('taro').uids).toEqual([]);
  const before = await delivered();
  const sessions = server.sessions.length;
  expect(await world.popfetch()).toEqual(SILENCE);
  expect(await delivered()).toEqual(before);
  const verbs = server.sessions.slice(sessions).flatMap((session) => session.verbs);
  expect(verbs.filter((verb) => verb === 'RETR' || verb === 'DELE')).toEqual([]);
}

describe('SIGINT and SIGTERM [99]', () => {
  /** A run that has got half of the second message, and gets no more. */
  async function halfWay(
    deliver: object | 'stdout',
    options: Partial<ServerOptions> = {},
  ): Promise<{ running: Running; server: TestServer; output: () => string }> {
    const server = await world.serve(
      { taro: MAIL },
      { ...options, faults: [{ at: 'body', verb: 'RETR', nth: 2, action: 'stall' }] },
    );
    await world.configure({ work: reach(server, { deliver, delete: 'delivered' }) });
    const running = world.start([]);
    let output = '';
    running.child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString('latin1')));
    await until(() => (server.sessions[0]?.octetsSent ?? 0) > BIG.length / 2, 'half of it has been sent');
    return { running, server, output: () => output };
  }

  describe.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s', (signal, exit) => {
    test.each(DESTINATIONS)(
      'in the middle of a message to %s leaves no part of it',
      async (_name, deliver, content) => {
        const { running, server } = await halfWay(deliver);
        await until(async () => (await world.leftovers('box', 'file')).length > 0, 'a part is on the disk');
        running.kill(signal);
        expect(world.seen(await running.done)).toEqual({
          code: exit,
          stdout: '',
          stderr: `popfetch: interrupted by ${signal}; nothing is lost; the next run goes on\n`,
        });
        expect(await world.leftovers('box', 'file')).toEqual([]);
        expect(await content()).toEqual(stored(plain(1)));
        expect(server.sessions[0]?.quit).toBe(false);
        expect(server.mailbox('taro').uids).toHaveLength(4);
        await completes(server, content);
      },
    );
  });

  test('in the middle of a message to stdout: what was written before is not written again', async () => {
    const { running, server, output } = await halfWay('stdout');
    await until(() => output().endsWith('body of message 1\n\n'), 'the first one is written');
    running.kill('SIGTERM');
    const first = world.seen(await running.done);
    expect([first.code, first.stdout.match(/^Subject: .*/gm)]).toEqual([143, ['Subject: message 1']]);
    await until(() => !server.mailbox('taro').locked, 'the server has noticed');
    const { code, stdout } = await world.popfetch();
    expect([code, stdout.match(/^Subject: .*/gm)]).toEqual([
      0,
      ['Subject: message 2', 'Subject: awkward', 'Subject: message 4'],
    ]);
    expect(await world.leftovers()).toEqual([]);
  });

  test.each(['connect', 'greeting', 'login', 'list', 'quit'])(
    'while %s waits for the server',
    async (phase) => {
      const late = lateHook();
      const server = await world.serve({ taro: MAIL }, late);
      await world.configure({ work: reach(server, { deliver: { maildir: '~/box' }, delete: 'delivered' }) });
      const verbs: Readonly<Record<string, string>> = { login: 'AUTH', list: 'UIDL', quit: 'QUIT' };
      let waiting = false;
      late.hook = ({ kind, verb }) => {
        const here =
          verbs[phase] === undefined ? kind === 'connect' : kind === 'command' && verb === verbs[phase];
        if (!here || waiting) return undefined;
        waiting = true;
        return 'stall';
      };
      const running = world.start([]);
      await until(() => waiting, 'the server keeps it waiting');
      running.kill('SIGINT');
      expect(world.seen(await running.done)).toEqual({
        code: 130,
        stdout: '',
        stderr: 'popfetch: interrupted by SIGINT; nothing is lost; the next run goes on\n',
      });
      await completes(server, () => world.maildir('box'));
    },
  );

  test('end the accounts that still run, and what the others have is theirs', async () => {
    const well = await world.serve({ taro: MAIL });
    const server = await world.serve({ taro: MAIL }, { overrides: { LIST: 'stall' } });
    await world.configure({ work: reach(server), home: reach(well, { delete: 'delivered' }) });
    const running = world.start([]);
    await until(() => well.sessions[0]?.quit === true, 'one account is done');
    await until(() => said(server, 'LIST').length > 0, 'the other one waits');
    running.kill('SIGTERM');
    expect(world.seen(await running.done)).toEqual({
      code: 143,
      stdout: '',
      stderr: 'popfetch: interrupted by SIGTERM; nothing is lost; the next run goes on\n',
    });
    expect(await world.maildir('home')).toEqual(stored(...MAIL));
    expect(await world.maildir('work')).toEqual([]);
    expect((await world.popfetch('status', '-a', 'work')).stdout).toContain('  result      ABORTED\n');
    delete server.overrides['LIST'];
    await until(() => !server.mailbox('taro').locked, 'the server has noticed');
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await world.maildir('work')).toEqual(stored(...MAIL));
  });
});

describe('the second signal [99]', () => {
  test('ends the run at once, whatever holds it up', async () => {
    const server = await world.serve({ taro: [padded(plain(1), 2_000_000)] });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    // A reader that does not read holds up the message, and with it the end that the first signal asks for.
    const running = world.start(['--stdout']);
    running.child.stdout?.pause();
    await until(() => (running.child.stdout?.readableLength ?? 0) > 0, 'the first message is written');
    running.kill('SIGTERM');
    await until(() => !server.mailbox('taro').locked, 'the first one has ended the session');
    running.kill('SIGTERM');
    const start = performance.now();
    await until(() => running.ended, 'it has ended');
    expect(performance.now() - start).toBeLessThan(2000);
    running.child.stdout?.resume();
    expect(await running.done).toMatchObject({ code: 143, signal: null });
    expect(said(server, 'DELE', 'QUIT')).toEqual([]);
  });
});

describe('the first signal [99]', () => {
  test('ends the run within seconds, though nobody reads what it writes', async () => {
    const server = await world.serve({ taro: [padded(plain(1), 2_000_000)] });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    const running = world.start(['--stdout']);
    running.child.stdout?.pause();
    await until(() => (running.child.stdout?.readableLength ?? 0) > 0, 'the message is being written');
    running.kill('SIGTERM');
    // Neither resumed nor closed before the end.
    await new Promise((resolve) => running.child.once('exit', resolve));
    running.child.stdout?.resume();
    expect(await running.done).toMatchObject({ code: 143, signal: null });
    expect(server.mailbox('taro').uids).toHaveLength(1);
    expect((await world.popfetch('--stdout')).stdout).toMatch(/body of message 1\n\n$/);
  });

  test('ends the run within seconds, though another program has locked the mbox', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server, { deliver: { mbox: '~/file' }, delete: 'delivered' }) });
    await writeFile(world.sandbox.path('file.lock'), `${process.pid}\n`);
    const running = world.start([]);
    await until(() => (server.sessions[0]?.octetsSent ?? 0) > BIG.length, 'there is something to append');
    running.kill('SIGINT');
    expect(await running.done).toMatchObject({ code: 130, signal: null });
    await rm(world.sandbox.path('file.lock'));
    await completes(server, () => world.mbox('file'));
  });
});

describe('SIGKILL [98]', () => {
  type Point = readonly [EventKind, string, number];

  /** With a message that takes several writes; a suite of its own is about each and every event. */
  const POINTS: readonly Point[] = [
    ['command', 'RETR', 1],
    ['body', 'RETR', 2],
    ['replied', 'RETR', 2],
    ['replied', 'RETR', 4],
    ['replied', 'DELE', 2],
    ['replied', 'QUIT', 1],
  ];

  /** Runs popfetch until the server meets this event, and kills it there. */
  async function runUntil([kind, verb, nth]: Point, late: ReturnType<typeof lateHook>): Promise<Result> {
    let met = 0;
    const running = world.start([]);
    late.hook = async (event) => {
      if (event.kind === kind && (verb === '' || event.verb === verb)) met += 1;
      if (met !== nth || running.ended) return undefined;
      running.kill();
      await running.done;
      return undefined;
    };
    const result = await running.done;
    late.hook = () => undefined;
    return result;
  }

  const KILLED = { code: null, signal: 'SIGKILL', stderr: '' };

  describe.each(DESTINATIONS)('with %s', (_name, deliver, content) => {
    async function serve(pipelining: boolean): Promise<readonly [TestServer, ReturnType<typeof lateHook>]> {
      const late = lateHook();
      const server = await world.serve({ taro: MAIL }, { onEvent: late.onEvent, pipelining });
      await world.configure({ work: reach(server, { deliver, delete: 'delivered' }) });
      return [server, late];
    }

    const several = Array.isArray(deliver);

    test.each(several ? [] : POINTS)('at %s %s (%i) loses and doubles nothing', async (...point) => {
      const [server, late] = await serve(true);
      expect(await runUntil(point, late)).toMatchObject(KILLED);
      await completes(server, content);
    });

    test.each(several ? POINTS.filter(([, verb]) => verb === 'RETR') : [])(
      'at %s %s (%i), one command at a time, loses and doubles nothing',
      async (...point) => {
        const [server, late] = await serve(false);
        expect(await runUntil(point, late)).toMatchObject(KILLED);
        await completes(server, content);
      },
    );

    test('again and again, a little later each time, loses and doubles nothing', async () => {
      const [server, late] = await serve(true);
      for (const point of POINTS) {
        await until(() => !server.mailbox('taro').locked, 'the server has noticed');
        // Where there is nothing left to do, a run ends before its point.
        expect([KILLED.signal, null]).toContain((await runUntil(point, late)).signal);
      }
      await completes(server, content);
    });
  });
});
