/** `popfetch fetch` when all is well: what arrives, what is said, what stays on the server, and what each option changes. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { wire } from './support/body.js';
import { lateHook, reach, said, stored, timeless, until, World } from './support/e2e.js';
import { awkward, padded, plain } from './support/messages.js';

const MAIL = [plain(1), plain(2), plain(3)];
const SILENCE = { code: 0, stdout: '', stderr: '' };

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

/** Puts lines about messages into the order of their numbers: which is safe on the disk first is chance. */
function byNumber(a: string, b: string): number {
  const [one, other] = [a, b].map((line) => /^message (\d+)/.exec(line)?.[1]);
  return one === undefined || other === undefined ? 0 : Number(one) - Number(other);
}

describe('a fetch', () => {
  test.each([
    ['a Maildir', { maildir: '~/box' }, () => world.maildir('box')],
    ['an mbox', { mbox: '~/box' }, () => world.mbox('box')],
  ])('brings every awkward message into %s as it is, but for CRLF [44]', async (_name, deliver, content) => {
    const messages = Object.values(awkward);
    const server = await world.serve({ taro: messages }, { cut: 1400 });
    await world.configure({ work: reach(server, { deliver }) });
    expect(await world.popfetch()).toEqual(SILENCE);
    const expected = stored(...messages.map(wire));
    const got = await content();
    // Not in one comparison, whose report could be megabytes long.
    expect(got.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
    expect(got.every((text, index) => text === expected[index])).toBe(true);
    expect(await world.leftovers('box')).toEqual([]);
  });

  test('is silent with nothing new, too, and asks for no message again', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server) });
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(said(server, 'RETR')).toEqual(['RETR 1', 'RETR 2', 'RETR 3']);
    server.mailbox('taro').add(plain(4));
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(said(server, 'RETR').slice(3)).toEqual(['RETR 4']);
    expect(await world.maildir('work')).toEqual(stored(...MAIL, plain(4)));
  });

  test('gives the mail and the directories to their owner alone', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server, { deliver: [{ maildir: '~/a/b' }, { mbox: '~/c/d' }] }) });
    expect(await world.popfetch()).toEqual(SILENCE);
    for (const directory of ['a', 'a/b', 'a/b/tmp', 'a/b/new', 'a/b/cur', 'c', '.local/state/popfetch']) {
      expect([directory, (await stat(world.sandbox.path(directory))).mode & 0o777]).toEqual([
        directory,
        0o700,
      ]);
    }
    const mail = (await readdir(world.sandbox.path('a/b/new'))).map((name) => `a/b/new/${name}`);
    for (const file of [...mail, 'c/d']) {
      expect([file, (await stat(world.sandbox.path(file))).mode & 0o777]).toEqual([file, 0o600]);
    }
  });

  test('works where the server has no CAPA, no pipelining, and sends single octets', async () => {
    const server = await world.serve({ taro: MAIL }, { capa: false, cut: 1 });
    await world.configure({ work: reach(server) });
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await world.maildir('work')).toEqual(stored(...MAIL));
    expect(server.sessions[0]?.pipelined).toBe(0);
  });
});

describe('what is said of a fetch', () => {
  test('-v is a line for each account, -vv one for each message, -vvv one for each step', async () => {
    const octets = MAIL.reduce((sum, { length }) => sum + length, 0);
    const run = async (...args: string[]): Promise<string[]> => {
      const fresh = await World.create();
      try {
        const server = await fresh.serve({ taro: MAIL });
        await fresh.configure({ work: reach(server, { delete: 'delivered' }) });
        const { code, stdout, stderr } = await fresh.popfetch(...args);
        expect([code, stdout]).toEqual([0, '']);
        return timeless(stderr)
          .map((line) => line.replace('popfetch: work: ', ''))
          .sort(byNumber);
      } finally {
        await fresh.close();
      }
    };
    const end = `3 new messages (${octets} B), 3 removed in SPAN`;
    expect(await run('-v')).toEqual([end]);
    const each = MAIL.map(({ length }, index) => `message ${index + 1} (${length} B) to maildir:~/work`);
    const planned = `3 on the server, 0 seen, 3 to fetch (${octets} B), 0 to remove`;
    const removed = '3 messages removed from the server';
    expect(await run('-vv')).toEqual([planned, ...each, removed, end]);
    expect(await run('-v', '-v', '-v')).toEqual([
      'connect',
      'list',
      planned,
      'retrieve',
      ...each,
      'remove',
      'quit',
      removed,
      end,
    ]);
  });

  test('-q leaves out all but errors', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server, { maxSize: '10B' }) });
    expect(await world.popfetch('-q', '-v')).toEqual(SILENCE);
    await world.configure({ work: reach(server, { password: 'not this' }) });
    const { code, stderr } = await world.popfetch('-q');
    expect([code, stderr.split('\n').length]).toEqual([77, 2]);
  });

  test('--json is every event in its order, with its fields', async () => {
    const server = await world.serve({ taro: [plain(1), padded(plain(2), 5000)] });
    await world.configure({ work: reach(server, { maxSize: '1KB', delete: 'delivered' }) });
    const { code, stdout, stderr } = await world.popfetch('--json');
    expect([code, stderr]).toEqual([0, '']);
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { readonly time: string; readonly elapsed?: number });
    const times = events.map(({ time }) => time);
    expect(times).toEqual([...times].sort());
    expect(times.every((time) => new Date(time).toISOString() === time)).toBe(true);
    const account = 'work';
    const octets = plain(1).length;
    const counts = { listed: 2, delivered: 1, octets, removed: 1, skipped: 1 };
    const outcome = { account, ...counts, elapsed: expect.any(Number) as number, errors: [] };
    expect(events.map(untimed)).toEqual([
      { type: 'run-start', accounts: [account] },
      { type: 'account-start', account },
      { type: 'phase', account, phase: 'connect' },
      { type: 'phase', account, phase: 'list' },
      { type: 'planned', account, listed: 2, seen: 0, wanted: 1, octets, doomed: 0 },
      { type: 'skipped', account, number: 2, uid: 'uid-2', octets: 5000, reason: 'too large', first: true },
      { type: 'phase', account, phase: 'retrieve' },
      {
        ...{ type: 'delivered', account, number: 1, uid: 'uid-1', octets },
        ...{ key: expect.stringMatching(/^[a-z2-7]{26}$/) as string, destination: 'maildir:~/work' },
      },
      { type: 'phase', account, phase: 'remove' },
      { type: 'phase', account, phase: 'quit' },
      { type: 'removed', account, messages: 1 },
      { type: 'account-end', account, outcome },
      { type: 'run-end', outcomes: [outcome], exitCode: 0 },
    ]);
  });

  test('--json tells errors by code, phase and exit, and what the server said with nothing in it that steers', async () => {
    const server = await world.serve({ taro: MAIL }, { overrides: { AUTH: '-ERR \x1b[31mno\xff' } });
    await world.configure({ work: reach(server) });
    const { code, stdout, stderr } = await world.popfetch('--json');
    expect([code, stderr]).toEqual([77, '']);
    expect(stdout).toMatch(/^[\x20-\x7e\n]+$/);
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { readonly type: string; readonly error?: object });
    const error = {
      ...{ code: 'AUTH', account: 'work', phase: 'login', exit: 77 },
      message: 'the server refused the login',
      serverText: '\\x1b[31mno\\xff',
      remedy: 'check user and password',
    };
    expect(events.find(({ type }) => type === 'failed')?.error).toEqual(error);
    expect(events.at(-1)).toMatchObject({ type: 'run-end', exitCode: 77, outcomes: [{ errors: [error] }] });
  });
});

describe('--dry-run', () => {
  test('changes nothing on the server, on the disk or in the memory', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    expect(await world.popfetch('--keep', '--limit', '2')).toEqual(SILENCE);
    const before = await world.everything();
    const sessions = server.sessions.length;
    const octets = plain(3).length;
    expect(await world.popfetch('--dry-run')).toEqual({
      ...SILENCE,
      stderr: `popfetch: work: would fetch 1 message (${octets} B) and remove 2\n`,
    });
    expect(await world.popfetch('--dry-run', '--keep')).toEqual({
      ...SILENCE,
      stderr: `popfetch: work: would fetch 1 message (${octets} B)\n`,
    });
    const { stdout } = await world.popfetch('--dry-run', '--json', '--stdout');
    const would = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ type }) => type === 'would');
    expect(would).toMatchObject([
      { account: 'work', action: 'fetch', number: 3, uid: 'uid-3', octets },
      { account: 'work', action: 'remove', number: 1, uid: 'uid-1', octets: plain(1).length },
      { account: 'work', action: 'remove', number: 2, uid: 'uid-2', octets: plain(2).length },
    ]);
    expect(await world.everything()).toEqual(before);
    const verbs = server.sessions.slice(sessions).flatMap((session) => session.verbs);
    expect(verbs).not.toContain('RETR');
    expect(verbs).not.toContain('DELE');
    expect(server.mailbox('taro').uids).toHaveLength(3);
  });

  test('makes nothing before the first run, not even where it would remember', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server, { deliver: [{ maildir: '~/a' }, { mbox: '~/b' }] }) });
    const before = await world.everything();
    expect((await world.popfetch('--dry-run')).code).toBe(0);
    expect(await world.everything()).toEqual(before);
  });
});

describe('several accounts', () => {
  const NAMES = ['a', 'b', 'c', 'd'];

  /** Four accounts on servers of their own; `most` is how many sessions were open at once. */
  async function four(hold: number, top: object = {}): Promise<{ most: () => number }> {
    let open = 0;
    let most = 0;
    const late = lateHook();
    late.hook = async ({ kind, verb }) => {
      if (kind === 'connect') {
        open += 1;
        most = Math.max(most, open);
        // Nobody goes on before so many are there; where fewer come at once, this test fails.
        await until(() => most >= hold, `${hold} sessions at once`);
      }
      if (kind === 'reply' && verb === 'QUIT') open -= 1;
      return undefined;
    };
    const servers = await Promise.all(NAMES.map((name) => world.serve({ [name]: MAIL }, late)));
    const accounts = NAMES.map((name, index) => [name, reach(servers[index]!, { user: name })] as const);
    await world.configure(Object.fromEntries(accounts), top);
    return { most: () => most };
  }

  test('are fetched at once, as many as `parallel` says', async () => {
    const { most } = await four(3, { parallel: 3 });
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(most()).toBe(3);
    for (const name of NAMES) expect(await world.maildir(name)).toEqual(stored(...MAIL));
  });

  test('are fetched four at once where it says nothing', async () => {
    const { most } = await four(4);
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(most()).toBe(4);
  });

  test('are fetched one after the other with --parallel 1', async () => {
    const { most } = await four(1, { parallel: 4 });
    expect(await world.popfetch('--parallel', '1')).toEqual(SILENCE);
    expect(most()).toBe(1);
    for (const name of NAMES) expect(await world.maildir(name)).toEqual(stored(...MAIL));
  });

  test('may share a Maildir and an mbox', async () => {
    const mail = NAMES.map((_, index) => [padded(plain(10 * index), 200_000), plain(10 * index + 1)]);
    const server = await world.serve(Object.fromEntries(NAMES.map((name, index) => [name, mail[index]!])));
    const deliver = [{ maildir: '~/all' }, { mbox: '~/box' }];
    const accounts = NAMES.map((name) => [name, reach(server, { user: name, deliver })] as const);
    await world.configure(Object.fromEntries(accounts));
    for (let run = 0; run < 2; run += 1) expect(await world.popfetch()).toEqual(SILENCE);
    expect(await world.maildir('all')).toEqual(stored(...mail.flat()));
    expect(await world.mbox('box')).toEqual(stored(...mail.flat()));
    expect(await world.leftovers('all', 'box')).toEqual([]);
  });

  test('are chosen with -a, by name or glob', async () => {
    const server = await world.serve({ a1: MAIL, a2: MAIL, b: MAIL });
    const accounts = ['a1', 'a2', 'b'].map((name) => [name, reach(server, { user: name })] as const);
    await world.configure(Object.fromEntries(accounts));
    expect(await world.popfetch('-a', 'b')).toEqual(SILENCE);
    expect(said(server, 'RETR')).toHaveLength(3);
    expect(await world.popfetch('fetch', '--account', 'a*')).toEqual(SILENCE);
    expect(said(server, 'RETR')).toHaveLength(9);
    expect(await world.maildir('a2')).toEqual(stored(...MAIL));
  });
});

describe('the destination', () => {
  test('eol: crlf keeps the line ends, in a Maildir and in an mbox', async () => {
    const mail = [plain(1), awkward['From lines']!, awkward['leading dots']!];
    const server = await world.serve({ taro: mail });
    await world.configure({
      work: reach(server, { eol: 'crlf', deliver: [{ maildir: '~/a' }, { mbox: '~/b' }] }),
    });
    expect(await world.popfetch()).toEqual(SILENCE);
    const expected = mail.map((message) => message.toString('latin1')).sort();
    expect(await world.maildir('a')).toEqual(expected);
    expect(await world.mbox('b')).toEqual(expected);
    expect(await readFile(world.sandbox.path('b'), 'latin1')).not.toMatch(/[^\r]\n/);
  });

  test('each of several gets every message, whatever its size, in one download', async () => {
    const mail = [plain(1), padded(plain(2), 700_000), plain(3)];
    const server = await world.serve({ taro: mail });
    const deliver = [{ maildir: '~/a' }, { mbox: '~/b' }, { maildir: '~/c' }];
    await world.configure({ work: reach(server, { deliver, delete: 'delivered' }) });
    for (let run = 0; run < 2; run += 1) expect(await world.popfetch()).toEqual(SILENCE);
    expect(await world.maildir('a')).toEqual(stored(...mail));
    expect(await world.mbox('b')).toEqual(stored(...mail));
    expect(await world.maildir('c')).toEqual(stored(...mail));
    expect(said(server, 'RETR')).toHaveLength(3);
    expect(server.mailbox('taro').uids).toEqual([]);
    expect(await world.leftovers('a', 'b', 'c')).toEqual([]);
  });

  test('of which one fails keeps the message on the server, and the others do not get it twice', async () => {
    const server = await world.serve({ taro: MAIL });
    const deliver = [{ maildir: '~/a' }, { mbox: '~/b' }];
    await world.configure({ work: reach(server, { deliver, delete: 'delivered' }) });
    // stdout that nobody reads stands for a destination that fails after the others have the message.
    const broken = reach(server, { deliver: [...deliver, 'stdout'], delete: 'delivered' });
    await world.configure({ work: broken });
    const running = world.start([]);
    running.child.stdout?.destroy();
    const { code, stderr } = await running.done;
    expect([code, stderr]).toEqual([
      74,
      'popfetch: work: deliver: stdout was closed by its reader; ' +
        'the program behind the pipe ended early; what it did not get is still on the server\n',
    ]);
    expect(server.mailbox('taro').uids).toHaveLength(3);
    const { code: second, stdout } = await world.popfetch();
    expect([second, stdout.match(/^From /gm)?.length]).toEqual([0, 3]);
    expect(await world.maildir('a')).toEqual(stored(...MAIL));
    expect(await world.mbox('b')).toEqual(stored(...MAIL));
    expect(server.mailbox('taro').uids).toEqual([]);
  });

  test('may change from run to run; what was delivered stays delivered', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server, { deliver: { maildir: '~/a' }, limit: 1 }) });
    expect(await world.popfetch()).toEqual(SILENCE);
    await world.configure({ renamed: reach(server, { deliver: { mbox: '~/b' } }) });
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await world.maildir('a')).toEqual(stored(plain(1)));
    expect(await world.mbox('b')).toEqual(stored(plain(2), plain(3)));
    expect(await world.journals()).toHaveLength(1);
  });
});

/** An event without its time. */
function untimed(event: object): object {
  return Object.fromEntries(Object.entries(event).filter(([field]) => field !== 'time'));
}
