import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Account, DestinationConfig } from '../src/config/account.js';
import { nodeDisk } from '../src/disk.js';
import { PopfetchError } from '../src/errors.js';
import type { Event, Outcome } from '../src/events.js';
import { mailboxTag } from '../src/identity.js';
import { fetchAll, openMailbox, type FetchOptions } from '../src/run.js';
import { readMemory } from '../src/seen/seen.js';
import { certificates } from './support/certificates.js';
import { accountOf } from './support/fakes.js';
import { awkward, padded, plain } from './support/messages.js';
import { startServer, type ServerOptions, type TestServer } from './support/server.js';
import { maildirLeftovers, maildirMessages, mboxMessages } from './support/stored.js';

let home: string;
let events: Event[];
const servers: TestServer[] = [];

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'popfetch-run-'));
  events = [];
});

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
  await rm(home, { recursive: true, force: true });
});

const path = (...parts: string[]): string => join(home, ...parts);
const THREE = [plain(1), plain(2), plain(3)];

async function serve(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const accounts = { taro: { password: 'himitsu', messages: THREE } };
  const server = await startServer({ accounts, ...options });
  servers.push(server);
  return server;
}

/** An account of `taro` on this server, delivering to a Maildir of the account's name. */
function account({ host, port }: TestServer, changes: Partial<Account> = {}): Account {
  const { name = 'work' } = changes;
  return accountOf({ name, host, port, deliver: [{ maildir: path(name) }], ...changes });
}

function options(changes: Partial<FetchOptions> = {}): FetchOptions {
  return {
    state: path('state'),
    parallel: 4,
    emit: (event) => events.push(event),
    signal: new AbortController().signal,
    password: ({ password }) =>
      Promise.resolve(password !== undefined && 'value' in password ? password.value : ''),
    ...changes,
  };
}

function fetch(
  accounts: readonly Account[],
  changes: Partial<FetchOptions> = {},
): Promise<readonly Outcome[]> {
  return fetchAll(accounts, options(changes));
}

async function fetchOne(one: Account, changes: Partial<FetchOptions> = {}): Promise<Outcome> {
  const [outcome] = await fetch([one], changes);
  return outcome!;
}

/** What a Maildir or an mbox holds, by the subjects of {@link plain}. */
async function stored(deliver: DestinationConfig): Promise<string[]> {
  if (deliver === 'stdout' || 'command' in deliver || 'lmtp' in deliver) throw new Error('it holds nothing');
  const messages =
    'maildir' in deliver ? await maildirMessages(deliver.maildir) : await mboxMessages(deliver.mbox);
  return messages.map(({ data }) => /message \d+/.exec(data.toString('latin1'))?.[0] ?? '').sort();
}

/** What a message is with LF for CRLF, ended by one. */
function lf(message: Buffer): string {
  const text = message.toString('latin1');
  return (text === '' || text.endsWith('\r\n') ? text : `${text}\r\n`).replaceAll('\r\n', '\n');
}

const ALL = ['message 1', 'message 2', 'message 3'];

describe('accounts', () => {
  it('are fetched over clear, STLS and TLS connections into all kinds of files, and once only', async () => {
    const { authority } = await certificates();
    const messages = Object.values(awkward);
    const accounts = { taro: { password: 'himitsu', messages } };
    const clear = await serve({ accounts });
    const stls = await serve({ accounts, tls: 'starttls', pipelining: false });
    const tls = await serve({ accounts, tls: 'implicit' });
    const ca = authority.certFile;
    const config = [
      account(clear, { name: 'clear' }),
      account(stls, {
        ...{ name: 'stls', deliver: [{ mbox: path('stls.mbox') }] },
        tls: { mode: 'starttls', ca, minVersion: 'TLSv1.2' },
      }),
      account(tls, {
        ...{ name: 'tls', deliver: [{ maildir: path('tls') }, { mbox: path('tls.mbox') }] },
        tls: { mode: 'implicit', ca, minVersion: 'TLSv1.2' },
      }),
    ];
    const octets = clear.mailbox('taro').messages.reduce((sum, { size }) => sum + size, 0);
    expect(await fetch(config)).toEqual(
      ['clear', 'stls', 'tls'].map((name) => ({
        account: name,
        listed: messages.length,
        delivered: messages.length,
        octets,
        removed: 0,
        skipped: 0,
        elapsed: expect.any(Number) as number,
        errors: [],
      })),
    );
    const expected = messages.map(lf).sort();
    for (const name of ['clear', 'tls']) {
      const files = await maildirMessages(path(name));
      expect(files.map(({ data }) => data.toString('latin1')).sort()).toEqual(expected);
      expect(await maildirLeftovers(path(name))).toEqual([]);
    }
    for (const name of ['stls.mbox', 'tls.mbox']) {
      const files = await mboxMessages(path(name));
      expect(files.map(({ data }) => data.toString('latin1')).sort()).toEqual(expected);
    }
    expect(await readdir(path('state', 'spool'))).toEqual([]);

    const again = await fetch(config);
    expect(again.map(({ delivered, errors }) => [delivered, errors])).toEqual([
      [0, []],
      [0, []],
      [0, []],
    ]);
    for (const server of [clear, stls, tls]) expect(server.sessions[1]!.verbs).not.toContain('RETR');
  });

  it('run at once, as many as may', async () => {
    let connected = 0;
    let all: () => void = () => undefined;
    const three = new Promise<void>((resolve) => {
      all = resolve;
    });
    const accounts = Object.fromEntries(['a', 'b', 'c'].map((user) => [user, { password: 'himitsu' }]));
    const server = await serve({
      accounts,
      onEvent: async ({ kind }) => {
        if (kind !== 'connect') return undefined;
        connected += 1;
        if (connected === 3) all();
        // Nobody is greeted before all three are there.
        await three;
        return undefined;
      },
    });
    const outcomes = await fetch(
      ['a', 'b', 'c'].map((user) => account(server, { name: user, user })),
      { parallel: 3 },
    );
    expect(outcomes.map(({ errors }) => errors)).toEqual([[], [], []]);
  });

  it('run one after the other where no more than one may', async () => {
    const accounts = Object.fromEntries(['a', 'b', 'c'].map((user) => [user, { password: 'himitsu' }]));
    const server = await serve({ accounts });
    await fetch(
      ['a', 'b', 'c'].map((user) => account(server, { name: user, user })),
      { parallel: 1 },
    );
    const about = (type: Event['type']): string[] =>
      events.flatMap((event, index) => (event.type === type ? [`${index}`] : []));
    const [starts, ends] = [about('account-start'), about('account-end')];
    for (const n of [0, 1]) expect(Number(ends[n])).toBeLessThan(Number(starts[n + 1]));
  });

  it('that fail disturb no other, and every outcome has its place [108]', async () => {
    const box = { password: 'himitsu', messages: THREE };
    const server = await serve({ accounts: { taro: box, jiro: box, saburo: box } });
    const gone = await startServer({ accounts: {} });
    await gone.close();
    await writeFile(path('file'), '');
    const outcomes = await fetch([
      account(server, { name: 'refused password', user: 'jiro', password: { value: 'wrong' } }),
      account(gone, { name: 'gone' }),
      account(server, { name: 'work' }),
      account(await serve({ greeting: 'hello' }), { name: 'nonsense' }),
      account(server, { name: 'no place', user: 'saburo', deliver: [{ maildir: path('file') }] }),
      account(await serve({ overrides: { RETR: '-ERR no' } }), { name: 'refuses' }),
    ]);
    expect(outcomes.map(({ account: name, errors }) => [name, errors.map(({ code }) => code)])).toEqual([
      ['refused password', ['AUTH']],
      ['gone', ['CONNECT']],
      ['work', []],
      ['nonsense', ['PROTOCOL']],
      ['no place', ['CREATE']],
      ['refuses', ['REFUSED', 'REFUSED', 'REFUSED']],
    ]);
    expect(await stored({ maildir: path('work') })).toEqual(ALL);
    for (const { account: name, errors } of outcomes) {
      for (const error of errors) {
        expect(error.account).toBe(name);
        // What the server refuses once may pass by itself, and nobody is told yet.
        if (error.code !== 'REFUSED') expect(events).toContainEqual({ type: 'failed', account: name, error });
      }
    }
    expect(events.at(0)).toMatchObject({ type: 'run-start' });
    expect(events.at(-1)).toEqual({ type: 'run-end', outcomes, exitCode: 77 });
  });

  it('that meet a bug do not hide it', async () => {
    const bug = new TypeError('undefined is not a function');
    const run = fetch([account(await serve())], { password: () => Promise.reject(bug) });
    await expect(run).rejects.toBe(bug);
  });

  it('remember how their run went', async () => {
    const server = await serve();
    const remembered = async (): Promise<unknown> =>
      (await readMemory(path('state'), account(server), nodeDisk))?.lastRun;
    await fetchOne(account(server, { limit: 2, delete: 'delivered' }));
    expect(await remembered()).toMatchObject({ result: 'ok', listed: 3, delivered: 2, removed: 2 });
    await fetchOne(account(server, { password: { value: 'wrong' } }));
    expect(await remembered()).toMatchObject({ result: 'AUTH', listed: 0, delivered: 0, removed: 0 });
    server.overrides['RETR'] = '-ERR no';
    await fetchOne(account(server));
    expect(await remembered()).toMatchObject({ result: 'REFUSED', listed: 1 });
  });
});

describe('a session', () => {
  it('may take no longer than told, whatever the server does [108]', async () => {
    for (const verb of ['CAPA', 'LIST', 'RETR']) {
      const server = await serve({ overrides: { [verb]: 'stall' } });
      const one = account(server, {
        timeout: { connect: 20_000, reply: 20_000, idle: 20_000, session: 500, deliver: 20_000 },
      });
      const outcome = await fetchOne(one);
      expect(outcome.errors).toMatchObject([
        { code: 'TIMEOUT', message: 'the session took longer than 0.5 s' },
      ]);
    }
  });

  it('is traced under the name of its account, without its password', async () => {
    const lines: string[] = [];
    await fetchOne(account(await serve({ utf8: false }), { limit: 1, auth: 'user' }), {
      trace: (name, direction, text) => lines.push(`${name} ${direction} ${text}`),
    });
    expect(lines).toEqual(
      expect.arrayContaining(['work C USER taro', 'work C PASS ********', 'work C RETR 1']),
    );
    expect(lines.join('\n')).not.toContain('himitsu');
  });

  it('says whose it was when it cannot be opened', async () => {
    const server = await serve({ greeting: '-ERR full' });
    const { signal, password } = options();
    await expect(openMailbox(account(server), { signal, password })).rejects.toMatchObject({
      code: 'BUSY',
      account: 'work',
      phase: 'greeting',
    });
  });
});

describe('two runs at once', () => {
  /** A server that holds the first RETR until `go` is called. */
  async function holding(): Promise<{ server: TestServer; held: Promise<void>; go: () => void }> {
    let go: () => void = () => undefined;
    let holds: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    const held = new Promise<void>((resolve) => {
      holds = resolve;
    });
    const server = await serve({
      onEvent: async ({ kind, verb }) => {
        if (kind !== 'command' || verb !== 'RETR') return undefined;
        holds();
        await gate;
        return undefined;
      },
    });
    return { server, held, go };
  }

  it('of one mailbox: the second is told, and does not connect', async () => {
    const { server, held, go } = await holding();
    const first = fetchOne(account(server));
    await held;
    const second = await fetchOne(account(server, { name: 'other' }));
    expect(second.errors).toMatchObject([{ code: 'LOCKED', account: 'other', phase: 'state' }]);
    expect(server.sessions).toHaveLength(1);
    go();
    expect(await first).toMatchObject({ delivered: 3, errors: [] });
  });

  it('of one mailbox: the second may wait, and then finds nothing new', async () => {
    const { server, held, go } = await holding();
    const first = fetchOne(account(server));
    await held;
    const second = fetchOne(account(server), { wait: Infinity });
    go();
    expect(await first).toMatchObject({ delivered: 3, errors: [] });
    expect(await second).toMatchObject({ listed: 3, delivered: 0, errors: [] });
    expect(await stored({ maildir: path('work') })).toEqual(ALL);
  });
});

describe('an interrupted run', () => {
  const reason = new PopfetchError('ABORTED', 'interrupted by SIGTERM', { exit: 143 });

  it('before it began does nothing', async () => {
    const server = await serve();
    const outcomes = await fetch([account(server), account(server, { name: 'other' })], {
      signal: AbortSignal.abort(reason),
    });
    expect(outcomes.map(({ errors }) => errors.map(({ code, exit }) => [code, exit]))).toEqual([
      [['ABORTED', 143]],
      [['ABORTED', 143]],
    ]);
    expect(server.sessions).toHaveLength(0);
    expect(events.at(-1)).toMatchObject({ type: 'run-end', exitCode: 143 });
    await expect(stat(path('state'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it.each(['CAPA', 'LIST', 'RETR', 'DELE'])(
    'while %s is asked ends without QUIT and is finished by the next',
    async (verb) => {
      const controller = new AbortController();
      const server = await serve({
        pipelining: false,
        overrides: {
          [verb]: () => {
            controller.abort(reason);
            return 'stall';
          },
        },
      });
      const one = account(server, { delete: 'delivered' });
      const outcome = await fetchOne(one, { signal: controller.signal });
      expect(outcome.errors).toMatchObject([{ code: 'ABORTED', exit: 143, account: 'work' }]);
      expect(server.mailbox('taro').messages).toHaveLength(3);
      server.overrides[verb] = () => undefined;
      await expect.poll(() => server.mailbox('taro').locked).toBe(false);
      expect(await fetchOne(one)).toMatchObject({ removed: 3, errors: [] });
      expect(await stored({ maildir: path('work') })).toEqual(ALL);
      expect(await maildirLeftovers(path('work'))).toEqual([]);
    },
  );
});

const PLACES = {
  maildir: () => ({ maildir: path('Mail') }),
  mbox: () => ({ mbox: path('mbox') }),
};

describe.each(Object.entries(PLACES))('a connection that is lost, with delivery to a %s', (_, place) => {
  it.each(['drop', 'reset', 'close'] as const)(
    'before QUIT (%s): the next run removes, and fetches nothing twice',
    async (action) => {
      const server = await serve({ faults: [{ at: 'command', verb: 'QUIT', action }] });
      const one = account(server, { deliver: [place()], delete: 'delivered' });
      const first = await fetchOne(one);
      expect(first).toMatchObject({ delivered: 3, removed: 0, errors: [{ code: 'LOST', phase: 'quit' }] });
      expect(server.mailbox('taro').messages).toHaveLength(3);
      await expect.poll(() => server.mailbox('taro').locked).toBe(false);

      expect(await fetchOne(one)).toMatchObject({ listed: 3, delivered: 0, removed: 3, errors: [] });
      const { verbs } = server.sessions[1]!;
      expect(verbs).not.toContain('RETR');
      expect(verbs.filter((verb) => verb === 'DELE')).toHaveLength(3);
      expect(server.mailbox('taro').messages).toEqual([]);
      expect(await fetchOne(one)).toMatchObject({ listed: 0, delivered: 0, removed: 0, errors: [] });
      expect(await stored(place())).toEqual(ALL);
    },
  );

  it('with the answer to QUIT: what is gone is gone, and nothing is fetched twice', async () => {
    const server = await serve({ faults: [{ at: 'reply', verb: 'QUIT', action: 'drop' }] });
    const one = account(server, { deliver: [place()], delete: 'delivered' });
    expect(await fetchOne(one)).toMatchObject({ delivered: 3, removed: 0, errors: [{ code: 'LOST' }] });
    expect(server.mailbox('taro').messages).toEqual([]);
    server.mailbox('taro').add(plain(4));
    await expect.poll(() => server.mailbox('taro').locked).toBe(false);
    expect(await fetchOne(one)).toMatchObject({ listed: 1, delivered: 1, removed: 1, errors: [] });
    expect(await stored(place())).toEqual([...ALL, 'message 4']);
  });

  it('in the middle of a message: what was whole is kept, the rest comes with the next run', async () => {
    const server = await serve({ faults: [{ at: 'body', verb: 'RETR', nth: 2, action: 'drop' }] });
    const one = account(server, { deliver: [place()], delete: 'delivered' });
    expect(await fetchOne(one)).toMatchObject({
      delivered: 1,
      removed: 0,
      errors: [
        { code: 'LOST', phase: 'retrieve' },
        { code: 'REFUSED', phase: 'retrieve' },
      ],
    });
    expect(server.sessions[0]!.verbs).not.toContain('QUIT');
    expect(await stored(place())).toEqual(['message 1']);
    await expect.poll(() => server.mailbox('taro').locked).toBe(false);
    expect(await fetchOne(one)).toMatchObject({ delivered: 2, removed: 3, errors: [] });
    // What may have broken the session comes after all others, in one of its own.
    const asked = server.sessions.map(({ received }) => received.filter((line) => line.startsWith('RETR')));
    expect(asked.slice(1)).toEqual([['RETR 3'], ['RETR 1']]);
    expect(await stored(place())).toEqual(ALL);
  });

  it('and a crash after delivery, before that was remembered: counted as done, removed, not fetched again', async () => {
    // The size by LIST is what removal compares: here it is not what was received.
    const server = await serve({ overrides: { LIST: '+OK\r\n1 75\r\n2 74\r\n3 73\r\n.' } });
    const one = account(server, { deliver: [place()] });
    expect(await fetchOne(one)).toMatchObject({ delivered: 3, errors: [] });
    const journal = path('state', `${mailboxTag(one)}.journal`);
    const lines = (await readFile(journal, 'latin1')).split('\n');
    const begun = lines.findLastIndex((line) => line.includes(' INTENT '));
    // What the disk holds when the machine stops between the two: every intent, and not the last of what is done.
    await writeFile(journal, `${lines.slice(0, begun + 1).join('\n')}\n`, 'latin1');
    expect((await readMemory(path('state'), one, nodeDisk))?.unfinished()).not.toEqual([]);

    expect(await fetchOne({ ...one, delete: 'delivered' })).toMatchObject({
      delivered: 0,
      removed: 3,
      errors: [],
    });
    expect(server.sessions[1]!.verbs).not.toContain('RETR');
    expect(server.mailbox('taro').messages).toEqual([]);
    expect(await stored(place())).toEqual(ALL);
  });
});

describe('a message that fails by itself', () => {
  it('because the server refuses it: the others are delivered and removed, and it is tried again', async () => {
    const server = await serve({
      overrides: { RETR: (_, [n]) => (n === '2' ? '-ERR [SYS/TEMP] later' : undefined) },
    });
    const one = account(server, { delete: 'delivered' });
    expect(await fetchOne(one)).toMatchObject({
      delivered: 2,
      removed: 2,
      skipped: 1,
      errors: [{ code: 'REFUSED', account: 'work', serverText: '[SYS/TEMP] later' }],
    });
    expect(server.mailbox('taro').uids).toEqual(['uid-2']);
    server.overrides['RETR'] = () => undefined;
    expect(await fetchOne(one)).toMatchObject({ delivered: 1, removed: 1, errors: [] });
  });

  it('because it is larger than allowed: it is reported and stays', async () => {
    const messages = [plain(1), padded(plain(2), 5000), plain(3)];
    const server = await serve({ accounts: { taro: { password: 'himitsu', messages } } });
    const outcome = await fetchOne(account(server, { maxSize: 1000, delete: 'delivered' }));
    expect(outcome).toMatchObject({ delivered: 2, removed: 2, skipped: 1, errors: [] });
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'skipped', number: 2, reason: 'too large' }),
    );
    expect(server.mailbox('taro').uids).toEqual(['uid-2']);
  });
});

describe('a run that is to change less', () => {
  it('--keep removes nothing, and the next run does', async () => {
    const server = await serve();
    const one = account(server, { delete: 'delivered' });
    expect(await fetchOne(one, { keep: true })).toMatchObject({ delivered: 3, removed: 0 });
    expect(server.mailbox('taro').messages).toHaveLength(3);
    expect(await fetchOne(one)).toMatchObject({ delivered: 0, removed: 3 });
  });

  it('--dry-run changes nothing at all, and says what would be done', async () => {
    const server = await serve();
    const one = account(server, { limit: 2, delete: 'delivered' });
    expect(await fetchOne(one, { dryRun: true })).toMatchObject({
      listed: 3,
      delivered: 0,
      removed: 0,
      errors: [],
    });
    expect(await readdir(home)).toEqual([]);
    expect(server.sessions[0]!.verbs).not.toContain('RETR');
    expect(
      events.flatMap((event) => (event.type === 'would' ? [`${event.action} ${event.number}`] : [])),
    ).toEqual([...['fetch 1', 'fetch 2']]);
    await fetchOne(account(server, { limit: 2 }));
    events.length = 0;
    await fetchOne(one, { dryRun: true });
    expect(
      events.flatMap((event) => (event.type === 'would' ? [`${event.action} ${event.number}`] : [])),
    ).toEqual([...['fetch 3', 'remove 1', 'remove 2']]);
    expect(server.mailbox('taro').messages).toHaveLength(3);
  });

  it('delivers to stdout instead when told to, and counts that as delivered', async () => {
    const server = await serve();
    const written: Buffer[] = [];
    const out = {
      write: (data: Buffer): Promise<void> => {
        written.push(Buffer.from(data));
        return Promise.resolve();
      },
    };
    const one = account(server, { deliver: ['stdout'], delete: 'delivered' });
    expect(await fetchOne(one, { stdout: { format: 'raw', out } })).toMatchObject({
      delivered: 3,
      removed: 3,
    });
    expect(Buffer.concat(written).toString('latin1')).toBe(THREE.map(lf).join(''));
  });
});

describe('the state directory', () => {
  it('is made for its owner alone', async () => {
    await fetchOne(account(await serve()));
    for (const name of ['state', 'state/spool']) expect((await stat(path(name))).mode & 0o777).toBe(0o700);
  });

  it.each([
    ['that is a file', () => writeFile(path('state'), '')],
    ['whose spool is a file', () => mkdir(path('state')).then(() => writeFile(path('state', 'spool'), ''))],
  ])('%s fails the account, and is no bug', async (_, prepare) => {
    await prepare();
    const server = await serve();
    expect((await fetchOne(account(server))).errors).toMatchObject([
      { code: 'STATE', account: 'work', phase: 'state' },
    ]);
    expect(server.sessions).toHaveLength(0);
  });

  it('that cannot be read in a dry run fails the account, too', async () => {
    await writeFile(path('state'), '');
    const outcome = await fetchOne(account(await serve()), { dryRun: true });
    expect(outcome.errors).toMatchObject([{ code: 'STATE', account: 'work' }]);
  });
});
