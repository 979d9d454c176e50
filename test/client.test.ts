import { afterEach, describe, expect, it } from 'vitest';
import { PopfetchError } from '../src/errors.js';
import { Pop3Client, type Credentials } from '../src/pop3/client.js';
import type { Listed, Retrieved } from '../src/pop3/mailbox.js';
import { openSession, type SessionSettings } from '../src/pop3/open.js';
import { connect } from '../src/wire/connect.js';
import type { Connection, Timeouts } from '../src/wire/connection.js';
import { CAPA_LINES, COMMAND } from '../src/wire/limits.js';
import { wire } from './support/body.js';
import type { Action } from './support/channel.js';
import { plainly } from './support/fakes.js';
import { awkward, plain, withBody } from './support/messages.js';
import { startServer, type ServerOptions, type TestServer } from './support/server.js';
import type { Reply, Session } from './support/session.js';
import { readTranscript, replay } from './support/transcript.js';

const LONG: Timeouts = { connect: 20_000, reply: 20_000, idle: 20_000 };
const THREE = [plain(1), plain(2), plain(3)];
const ANY = Number.MAX_SAFE_INTEGER;
const open: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function serve(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const server = await startServer({
    accounts: { taro: { password: 'himitsu', messages: THREE } },
    ...options,
  });
  open.push(() => server.close());
  return server;
}

/** A client that has not read the greeting yet, and its connection. */
async function meet(
  { host, port }: Pick<TestServer, 'host' | 'port'>,
  { timeouts = LONG, lines = [] }: { timeouts?: Timeouts; lines?: string[] } = {},
): Promise<{ client: Pop3Client; connection: Connection }> {
  const { signal } = new AbortController();
  const tap = (direction: string, text: string): void => {
    lines.push(`${direction} ${text}`);
  };
  const connection = await connect({ host, port, tls: undefined, timeouts, signal, tap });
  open.push(() => {
    connection.close();
  });
  return { client: new Pop3Client(connection), connection };
}

const TARO: Credentials = { user: 'taro', password: 'himitsu', method: 'user', insecure: false };

/** A client that is logged in, over a clear connection within this machine. */
async function logIn(
  options: Partial<ServerOptions> = {},
  settings: { credentials?: Partial<Credentials>; timeouts?: Timeouts; lines?: string[] } = {},
): Promise<{ client: Pop3Client; connection: Connection; server: TestServer }> {
  const server = await serve(options);
  const { client, connection } = await meet(server, settings);
  await client.greet();
  await client.capa();
  await client.login({ ...TARO, ...settings.credentials });
  return { client, connection, server };
}

function rows(...sizes: readonly number[]): Listed[] {
  return sizes.map((size, index) => ({ number: index + 1, size, uid: `uid-${index + 1}` }));
}

/** What each answer was: the octets (latin1), or the refusal after a `!`. */
async function read(answers: AsyncIterable<Retrieved>): Promise<string[]> {
  const all: string[] = [];
  for await (const answer of answers) {
    if ('refused' in answer) all.push(`!${answer.refused}`);
    else all.push(await textOf(answer.body));
  }
  return all;
}

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of body) pieces.push(piece);
  return Buffer.concat(pieces).toString('latin1');
}

/** The error that this comes to. */
async function failure(promise: Promise<unknown>): Promise<PopfetchError> {
  return promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: unknown) => error as PopfetchError,
  );
}

const latin1 = (data: Buffer): string => wire(data).toString('latin1');

describe('a whole conversation', () => {
  const variants: Record<string, [Partial<ServerOptions>, Partial<Credentials>]> = {
    'with PIPELINING, PLAIN in one step': [{}, { method: 'auto' }],
    'without PIPELINING, USER and PASS': [{ pipelining: false }, { method: 'user' }],
    'without CAPA': [{ capa: false }, { method: 'auto' }],
    'with APOP': [{ apop: '<1896.697170952@dbc.mtview.ca.us>' }, { method: 'apop' }],
    'with PLAIN in two steps': [{ overrides: { AUTH: askedAgain } }, { method: 'plain' }],
    'after STLS': [{ tls: 'starttls' }, { method: 'auto' }],
    'over TLS from the start': [{ tls: 'implicit' }, { method: 'auto' }],
    'over TLS, without PIPELINING': [{ tls: 'implicit', pipelining: false }, { method: 'auto' }],
  };
  const cases = Object.keys(variants).flatMap((name) => [1, 7, 65_536].map((cut) => [name, cut] as const));

  it.each(cases)('%s, %i octets at a time', async (name, cut) => {
    const [options, credentials] = variants[name]!;
    const sizeLimit = cut > 100 ? Infinity : 5_000;
    const messages = Object.values(awkward).filter(({ length }) => length < sizeLimit);
    const server = await serve({ accounts: { taro: { password: 'himitsu', messages } }, cut, ...options });
    const client = await session(server, options.tls ?? 'none', { ...TARO, ...credentials });

    const listing = await client.list();
    expect(plainly(listing)).toEqual({
      messages: messages.map((data, index) => ({
        number: index + 1,
        size: wire(data).length,
        uid: `uid-${index + 1}`,
      })),
      octets: messages.reduce((sum, data) => sum + wire(data).length, 0),
      complete: true,
      uidl: true,
      notes: [],
    });
    expect(await read(client.retrieve([...listing.messages], ANY))).toEqual(messages.map(latin1));
    expect(await read(client.top([2, 999, 3], 0))).toEqual([
      headerOf(messages[1]!),
      `!no such message, there are ${messages.length}`,
      headerOf(messages[2]!),
    ]);
    await client.noop();
    expect(await client.remove([1, 3])).toEqual([1, 3]);
    await client.reset();
    expect(await client.remove([2, 999, 4])).toEqual([2, 4]);
    await client.quit();

    const left = messages.flatMap((_, index) => (index === 1 || index === 3 ? [] : [`uid-${index + 1}`]));
    expect(server.mailbox('taro').uids).toEqual(left);
    await expect.poll(() => server.sessions[0]!.quit, { interval: 1 }).toBe(true);
    const { pipelined } = server.sessions[0]!;
    if (client.capabilities.tags.has('PIPELINING')) expect(pipelined).toBeGreaterThan(0);
    else expect(pipelined).toBe(0);
  });

  async function session(
    { host, port, ca }: TestServer,
    mode: 'none' | 'starttls' | 'implicit',
    credentials: Credentials,
  ): Promise<Pop3Client> {
    const settings: SessionSettings = {
      ...{ host, port, timeouts: LONG, signal: new AbortController().signal },
      tls: { mode, ca: ca === '' ? undefined : ca, minVersion: 'TLSv1.2' },
      credentials: () => Promise.resolve(credentials),
    };
    const client = await openSession(settings);
    open.push(() => {
      client.close();
    });
    return client;
  }

  const headerOf = (data: Buffer): string => {
    const text = data.toString('latin1');
    return text.slice(0, text.indexOf('\r\n\r\n') + 4);
  };

  /** Ignores the response in the command and asks for it, as some servers do. */
  async function askedAgain(session: Session): Promise<Reply> {
    await session.say('+ ');
    const answer = await session.readLine();
    session.rest = `PLAIN ${answer ?? ''}`;
    return session.standard();
  }
});

describe.each(['user-pass', 'apop'])('the transcript %s', (name) => {
  it.each([1, 65_536])('is spoken to the octet, %i at a time', async (cut) => {
    const aside = {
      CAPA: '-ERR unknown command\r\n',
      UIDL: '+OK\r\n1 a\r\n2 b\r\n3 c\r\n.\r\n',
    };
    const server = await replay(await readTranscript(name), { cut, aside });
    open.push(() => server.close());
    const { client } = await meet(server);
    await client.greet();
    await client.capa();
    const method = name === 'apop' ? 'apop' : 'user';
    await client.login({ user: 'taro', password: '!4tana-mo-', method, insecure: false });
    const { messages, octets } = await client.list();
    expect([messages.map(({ size }) => size), octets]).toEqual([[1000, 2000, 2932], 5932]);
    const [message] = await read(client.retrieve([...messages].slice(0, 1), ANY));
    expect(message).toHaveLength(1000);
    expect(Buffer.from(message!, 'latin1').toString()).toContain('\r\n\r\nテストメールです。(^^)/~\r\n');
    expect(await client.remove([1])).toEqual([1]);
    await client.quit();
    await server.finished;
  });
});

describe('the greeting', () => {
  it.each([
    ['-ERR too many connections', 'BUSY', 'the server refuses to talk', 'too many connections'],
    ['-ERR [SYS/TEMP] later', 'BUSY', 'the server has a temporary problem', '[SYS/TEMP] later'],
    ...[
      '+ok ready',
      '+Do you care?',
      ' +OK',
      '220 ESMTP',
      'HTTP/1.1 400 Bad Request',
      'SSH-2.0-x',
      '\xff\x1b[',
    ].map((line) => [line, 'PROTOCOL', 'the server answered with something that is not POP3', line] as const),
  ] as const)('%j is refused [19] [21]', async (greeting, code, message, serverText) => {
    const server = await serve({ greeting });
    const { client } = await meet(server);
    expect(await failure(client.greet())).toMatchObject({ code, phase: 'greeting', message, serverText });
  });

  it('that does not come is waited for no longer than told [22]', async () => {
    const server = await serve({ greeting: 'stall' });
    const { client } = await meet(server, { timeouts: { ...LONG, reply: 30 } });
    expect(await failure(client.greet())).toMatchObject({ code: 'TIMEOUT', phase: 'greeting' });
  });

  it('in place of which the server hangs up', async () => {
    const { client } = await meet(await serve({ greeting: 'close' }));
    expect(await failure(client.greet())).toMatchObject({ code: 'LOST', phase: 'greeting' });
  });

  it('with more lines than one is an attack or a mistake: no command is sent [20]', async () => {
    const server = await serve({ greeting: Buffer.from('+OK ready\r\n+OK forged\r\n') });
    const { client, connection } = await meet(server);
    await client.greet();
    await expect.poll(() => connection.pending).toBeGreaterThan(0);
    expect(await failure(client.capa())).toMatchObject({
      code: 'PROTOCOL',
      phase: 'login',
      message: 'the server sent something that was not asked for',
    });
    connection.close();
    await server.close();
    expect(server.sessions[0]!.received).toEqual([]);
  });
});

describe('CAPA', () => {
  it('is not known to every server', async () => {
    const { client } = await meet(await serve({ capa: false }));
    await client.greet();
    await client.capa();
    expect(client.capabilities).toEqual({ known: false, tags: new Map() });
  });

  it('may be asked again, and the last answer counts', async () => {
    const { client, server } = await logIn({
      capa: ({ state }) => (state === 'transaction' ? ['TOP'] : ['USER']),
    });
    expect([...client.capabilities.tags.keys()]).toEqual(['USER']);
    await client.capa();
    expect([...client.capabilities.tags.keys()]).toEqual(['TOP']);
    expect(server.sessions[0]!.verbs).toEqual(['CAPA', 'USER', 'PASS', 'CAPA']);
  });

  it('is not listened to for ever [24] [47]', async () => {
    const { client } = await meet(await serve({ overrides: { CAPA: endless('X-TAG\r\n') } }));
    await client.greet();
    expect(await failure(client.capa())).toMatchObject({
      code: 'PROTOCOL',
      phase: 'login',
      message: `the server sent more than ${CAPA_LINES} lines where no more were due`,
    });
  });

  it('with a line that does not end is not listened to for ever either [47]', async () => {
    const { client } = await meet(await serve({ overrides: { CAPA: endless('x'.repeat(1000)) } }));
    await client.greet();
    expect(await failure(client.capa())).toMatchObject({ code: 'PROTOCOL', phase: 'login' });
  });
});

/** A multi-line answer that has no end. */
function endless(piece: string): Reply {
  return {
    status: '+OK',
    body: {
      *[Symbol.iterator]() {
        for (;;) yield Buffer.from(piece.repeat(100));
      },
    },
  };
}

describe('logging in', () => {
  it.each([
    ['user', ['USER taro', 'PASS himitsu']],
    ['plain', ['AUTH PLAIN AHRhcm8AaGltaXRzdQ==']],
    ['apop', ['APOP taro 039c6ec25b251f5ce74ec226773bf084']],
  ] as const)('with %s sends what the method says', async (method, expected) => {
    const { client, server } = await logIn({ apop: '<1@a>', utf8: false }, { credentials: { method } });
    expect(client.method).toBe(method);
    expect(server.sessions[0]!.received.slice(1)).toEqual(expected);
  });

  it('with blanks and letters beyond ASCII in the words works with every method', async () => {
    const password = ' ほげ  pässwörd ';
    for (const method of ['user', 'plain', 'apop'] as const) {
      // The test server holds passwords as the octets that come.
      const stored = method === 'user' ? Buffer.from(password).toString('latin1') : password;
      const accounts = { 太郎: { password: stored, messages: THREE } };
      const credentials = { user: '太郎', password, method };
      const { client } = await logIn({ accounts, apop: '<1@a>' }, { credentials });
      expect((await client.list()).messages).toHaveLength(3);
    }
  });

  it('with a long password by PLAIN sends the response on a line of its own [29]', async () => {
    const password = 'p'.repeat(3000);
    const accounts = { taro: { password, messages: THREE } };
    const { server } = await logIn({ accounts, utf8: false }, { credentials: { password, method: 'plain' } });
    const response = Buffer.from(`\0taro\0${password}`).toString('base64');
    expect(server.sessions[0]!.received).toEqual(['CAPA', 'AUTH PLAIN', response]);
  });

  it('by PLAIN puts the response into the command as long as that has no more than 255 octets [29]', async () => {
    for (const [length, inCommand] of [
      [COMMAND - 13, true],
      [COMMAND - 13 + 1, false],
    ] as const) {
      const password = 'p'.repeat(
        (Math.ceil(length / 4) * 4 * 3) / 4 - '\0taro\0'.length - (inCommand ? 3 : 0),
      );
      const accounts = { taro: { password, messages: THREE } };
      const { server } = await logIn(
        { accounts, utf8: false },
        { credentials: { password, method: 'plain' } },
      );
      const [, command] = server.sessions[0]!.received;
      expect(command!.length > 'AUTH PLAIN'.length).toBe(inCommand);
      expect(command!.length + 2).toBeLessThanOrEqual(COMMAND);
    }
  });

  it('asks for UTF8 first where that is offered, and not otherwise [35]', async () => {
    const offered = await logIn({ overrides: { UTF8: '-ERR changed my mind' } });
    expect(offered.server.sessions[0]!.verbs).toEqual(['CAPA', 'UTF8', 'USER', 'PASS']);
    const not = await logIn({ utf8: false });
    expect(not.server.sessions[0]!.verbs).toEqual(['CAPA', 'USER', 'PASS']);
  });

  it.each([
    ['no', 'AUTH', 'the server refused the login', 'check user and password'],
    ['[AUTH] no', 'AUTH', 'the server refused the login', 'check user and password'],
    ['[X-NEW] no', 'AUTH', 'the server refused the login', 'check user and password'],
    ['[IN-USE] no', 'BUSY', 'another session holds the mailbox', 'wait for the other mail program to finish'],
    ['[in-use] no', 'BUSY', 'another session holds the mailbox', 'wait for the other mail program to finish'],
    [
      ...(['[LOGIN-DELAY] no', 'BUSY', 'the server wants more time between two logins'] as const),
      'run popfetch less often for this account',
    ],
    ['[SYS/TEMP] no', 'BUSY', 'the server has a temporary problem', 'the server asks to try again later'],
    ['[SYS/PERM] no', 'AUTH', 'the server has a lasting problem with this account', 'ask the provider'],
  ] as const)('that is answered -ERR %s is %s [25] [26] [27]', async (serverText, code, message, remedy) => {
    for (const [method, verb] of [
      ['user', 'USER'],
      ['user', 'PASS'],
      ['plain', 'AUTH'],
      ['apop', 'APOP'],
    ] as const) {
      const login = logIn(
        { apop: '<1@a>', overrides: { [verb]: `-ERR ${serverText}` } },
        { credentials: { method } },
      );
      expect(await failure(login)).toMatchObject({ code, phase: 'login', message, remedy, serverText });
    }
  });

  it('sends no password after a refused USER, and tries no other way after a refused password [34]', async () => {
    const server = await serve({ overrides: { USER: '-ERR who?' }, utf8: false });
    const { client } = await meet(server);
    await client.greet();
    await failure(client.login(TARO));
    expect(server.sessions[0]!.received).toEqual(['USER taro']);
    const other = await serve({ overrides: { AUTH: '-ERR no' }, utf8: false });
    const { client: second } = await meet(other);
    await second.greet();
    await second.capa();
    await failure(second.login({ ...TARO, method: 'auto' }));
    expect(other.sessions[0]!.verbs).toEqual(['CAPA', 'AUTH']);
  });

  it.each(['ta\rro', 'ta\nro', 'ta\0ro', 'taro\r\nDELE 1'])(
    'with %j as a word sends nothing of it [28]',
    async (word) => {
      const server = await serve({ utf8: false });
      const { client } = await meet(server);
      await client.greet();
      expect(await failure(client.login({ ...TARO, user: word }))).toMatchObject({
        code: 'PROTOCOL',
        phase: 'login',
      });
      expect(await failure(client.login({ ...TARO, password: word }))).toMatchObject({
        code: 'PROTOCOL',
        phase: 'login',
        message: 'a command with a line break or NUL in it was not sent',
      });
      client.close();
      await server.close();
      expect(server.sessions[0]!.received).toEqual(['USER taro']);
    },
  );

  it('with a user name or password that is too long for a command says so and sends nothing of it [29]', async () => {
    const server = await serve({ utf8: false });
    const { client } = await meet(server);
    await client.greet();
    for (const change of [{ user: 'u'.repeat(250) }, { password: 'p'.repeat(250) }]) {
      const error = await failure(client.login({ ...TARO, ...change }));
      expect(error).toMatchObject({
        code: 'PROTOCOL',
        phase: 'login',
        message: 'a command longer than 255 octets was not sent',
        remedy: 'the user name or password is too long for this way to log in; try another auth',
      });
    }
    client.close();
    await server.close();
    expect(server.sessions[0]!.received).toEqual(['USER taro']);
  });

  it('is answered with nonsense', async () => {
    const login = logIn({ overrides: { PASS: '+ what?' } });
    expect(await failure(login)).toMatchObject({ code: 'PROTOCOL', phase: 'login', serverText: '+ what?' });
  });
});

describe('a clear connection to another machine [33]', () => {
  const elsewhere = { loopback: false, channel: { protocol: undefined, chain: [] } };

  /** A connection on which the server says yes to everything, and what was sent over it. */
  function agreeing(what: Pick<Connection, 'loopback' | 'channel'>): {
    connection: Connection;
    sent: string[];
  } {
    const sent: string[] = [];
    const nobody = (): never => {
      throw new Error('not in this test');
    };
    const connection: Connection = {
      ...what,
      pending: 0,
      send: (lines) => {
        sent.push(...[lines].flat());
      },
      readLine: () => Promise.resolve('+OK <1@a>'),
      body: nobody,
      startTls: nobody,
      hide: () => undefined,
      show: () => undefined,
      masked: (text) => text,
      close: () => undefined,
    };
    return { connection, sent };
  }

  it.each(['auto', 'user', 'plain'] as const)('carries no password with auth: %s [33]', async (method) => {
    const { connection, sent } = agreeing(elsewhere);
    const client = new Pop3Client(connection);
    await client.greet();
    expect(await failure(client.login({ ...TARO, method }))).toMatchObject({
      code: 'AUTH',
      phase: 'login',
      message: 'the password was not sent, since it would cross the network in clear',
    });
    expect(sent).toEqual([]);
  });

  it.each([
    ['it is permitted', elsewhere, { insecure: true }],
    ['the channel is secured', { ...elsewhere, channel: { protocol: 'TLSv1.3', chain: [] } }, {}],
    ['it goes no further than this machine', { ...elsewhere, loopback: true }, {}],
  ])('or any other carries it where %s', async (_, what, credentials) => {
    const { connection, sent } = agreeing(what);
    const client = new Pop3Client(connection);
    await client.greet();
    await client.login({ ...TARO, ...credentials });
    expect(sent).toEqual(['USER taro', 'PASS himitsu']);
  });

  it('carries the digest of APOP, which is no password', async () => {
    const { connection, sent } = agreeing(elsewhere);
    const client = new Pop3Client(connection);
    await client.greet();
    await client.login({ ...TARO, method: 'apop' });
    expect(sent).toEqual(['APOP taro 039c6ec25b251f5ce74ec226773bf084']);
  });
});

describe('secrets', () => {
  const PASSWORD = 'hi mi+tsu/100%';
  const octets = Buffer.from(PASSWORD);
  const forms = [
    PASSWORD,
    octets.toString('base64'),
    octets.toString('base64url'),
    octets.toString('hex'),
    encodeURIComponent(PASSWORD),
    Buffer.from(`\0taro\0${PASSWORD}`).toString('base64'),
  ];
  const echo = `you said ${forms.join(' and ')}`;
  const accounts = { taro: { password: PASSWORD, messages: THREE } };

  /** Everything that can be seen of an error. */
  function visible(error: unknown): string {
    if (!(error instanceof Error)) return JSON.stringify(error);
    return [error.stack, JSON.stringify(error), visible(error.cause ?? null)].join('\n');
  }

  function expectNone(text: string): void {
    for (const form of forms) expect(text).not.toContain(form);
  }

  it.each(['user', 'plain', 'apop'] as const)(
    'are in no trace and no error of a login with %s [30]',
    async (method) => {
      const lines: string[] = [];
      const overrides = {
        PASS: `-ERR ${echo}`,
        AUTH: `-ERR ${echo}`,
        APOP: `-ERR ${echo}`,
        UTF8: `-ERR ${echo}`,
      };
      const login = logIn(
        { accounts, overrides, apop: '<1@a>' },
        { credentials: { password: PASSWORD, method }, lines },
      );
      const error = await failure(login);
      expect(error.code).toBe('AUTH');
      expect(error.serverText).toContain('you said ******** and ********');
      expectNone(visible(error));
      expectNone(lines.join('\n'));
      expect(lines.join('\n')).toContain('C ');
    },
  );

  const phases: Record<string, (client: Pop3Client) => Promise<unknown>> = {
    STAT: (client) => client.list(),
    LIST: (client) => client.list(),
    UIDL: (client) => client.list(),
    RETR: async (client) => {
      const refusals = await read(client.retrieve(rows(1), ANY));
      expectNone(refusals.join());
      throw new Error(refusals.join());
    },
    RSET: (client) => client.reset(),
    QUIT: (client) => client.quit(),
  };

  it.each(Object.keys(phases))(
    'are in no trace and no error when the answer to %s repeats them [30]',
    async (verb) => {
      for (const answer of [`-ERR ${echo}`, echo, `+OK ${echo}`]) {
        const lines: string[] = [];
        const { client } = await logIn(
          { accounts, overrides: { [verb]: answer }, pipelining: false },
          { credentials: { password: PASSWORD }, lines, timeouts: { ...LONG, idle: 30 } },
        );
        const outcome: unknown = await phases[verb]!(client).catch((error: unknown) => error);
        expectNone(visible(outcome ?? null));
        expectNone(lines.join('\n'));
        client.close();
      }
    },
  );

  it('are in no error of a command that was not sent [30]', async () => {
    const password = 'p'.repeat(300);
    const error = await failure(logIn({}, { credentials: { password } }));
    expect(visible(error)).not.toContain('ppp');
  });
});

describe('listing', () => {
  it('is one question after the other where the server does not pipeline', async () => {
    const { client, server } = await logIn({ pipelining: false });
    await client.list();
    expect(server.sessions[0]!.verbs.slice(-3)).toEqual(['STAT', 'LIST', 'UIDL']);
    expect(server.sessions[0]!.pipelined).toBe(0);
  });

  it('of an empty mailbox is complete, with UIDL or without', async () => {
    for (const options of [{}, { uidl: false }, { overrides: { LIST: '-ERR nothing to list' } }]) {
      const { client } = await logIn({ accounts: { taro: { password: 'himitsu' } }, ...options });
      expect(plainly(await client.list())).toEqual({
        messages: [],
        octets: 0,
        complete: true,
        uidl: true,
        notes: [],
      });
    }
  });

  it('without UIDL has the messages without unique-ids, and says so', async () => {
    for (const pipelining of [true, false]) {
      const { client } = await logIn({ uidl: false, pipelining });
      const { messages, complete, uidl } = await client.list();
      expect({ complete, uidl }).toEqual({ complete: true, uidl: false });
      expect(messages.length).toBeGreaterThan(1);
      expect(messages.every(({ uid, size }) => uid === '' && size > 0)).toBe(true);
    }
  });

  it.each([
    ['STAT', '-ERR not now', 'BUSY', 'the server refuses STAT'],
    ['LIST', '-ERR not now', 'BUSY', 'the server refuses LIST'],
    ['UIDL', '-ERR [SYS/TEMP] not now', 'BUSY', 'the server refuses UIDL'],
    ['STAT', '+OK', 'PROTOCOL', 'the server gave no usable message count'],
    ['STAT', '+OK -1 5', 'PROTOCOL', 'the server gave no usable message count'],
    ['STAT', '+OK 2147483648 5', 'PROTOCOL', 'the server gave no usable message count'],
    ['STAT', 'hello', 'PROTOCOL', 'the server answered with something that is not POP3'],
    ['LIST', '* LIST', 'PROTOCOL', 'the server answered with something that is not POP3'],
    ['UIDL', '+OK\r\n1 a\r\n1 a\r\n.', 'PROTOCOL', 'the server listed message 1 twice in its UIDL'],
    ['LIST', '+OK\r\n3 1\r\n3 1\r\n.', 'PROTOCOL', 'the server listed message 3 twice in its LIST'],
    [
      'LIST',
      `+OK\r\n1 ${'1'.repeat(1030)}\r\n.`,
      'PROTOCOL',
      'the server sent a listing line of more than 1024 octets',
    ],
    [
      'UIDL',
      `+OK\r\n1 ${'u'.repeat(1030)}\r\n.`,
      'PROTOCOL',
      'the server sent a listing line of more than 1024 octets',
    ],
  ] as const)('whose %s is answered %j fails [53] [56]', async (verb, answer, code, message) => {
    for (const pipelining of [true, false]) {
      const { client } = await logIn({ pipelining, overrides: { [verb]: answer } });
      expect(await failure(client.list())).toMatchObject({ code, phase: 'list', message });
    }
  });

  it.each(['LIST', 'UIDL'])('whose %s has no end is given up [47]', async (verb) => {
    const { client } = await logIn({ overrides: { [verb]: endless('1 1\r\n') } });
    expect(await failure(client.list())).toMatchObject({
      code: 'PROTOCOL',
      phase: 'list',
      message: 'the server sent more than 3 lines where no more were due',
    });
  });

  it('takes what it can and notes the rest [55] [64]', async () => {
    const { client } = await logIn({
      overrides: { LIST: '+OK\r\n1 -1\r\n2 76\r\n3 76\r\n.', UIDL: '+OK\r\n\r\n2 b\r\n9 new\r\n1 a b\r\n.' },
    });
    expect(plainly(await client.list())).toEqual({
      messages: [
        { number: 1, size: 0, uid: 'a b', unsized: true },
        { number: 2, size: 76, uid: 'b' },
      ],
      octets: 228,
      complete: false,
      uidl: true,
      notes: [
        '2 lines of UIDL were not understood and left out',
        '1 of 3 messages have no unique-id and are left alone',
      ],
    });
  });
});

describe('retrieving', () => {
  it('gives each message in the order asked for', async () => {
    const { client } = await logIn();
    const [one, two, three] = rows(76, 76, 76);
    expect(await read(client.retrieve([three!, one!, two!], ANY))).toEqual(
      [2, 0, 1].map((n) => latin1(THREE[n]!)),
    );
    expect(await read(client.retrieve([], ANY))).toEqual([]);
  });

  it('goes on after a refusal [66]', async () => {
    for (const pipelining of [true, false]) {
      const { client } = await logIn({
        pipelining,
        overrides: { RETR: (_, [n]) => (n === '2' ? '-ERR [SYS/TEMP] not that one' : undefined) },
      });
      expect(await read(client.retrieve(rows(76, 76, 76), ANY))).toEqual([
        ...[latin1(plain(1)), '![SYS/TEMP] not that one', latin1(plain(3))],
      ]);
      await client.quit();
    }
  });

  it('goes on after a body that nobody reads, or that is left early', async () => {
    const large = withBody(...Array.from({ length: 20_000 }, (_, n) => `line ${n}`));
    for (const pipelining of [true, false]) {
      const accounts = { taro: { password: 'himitsu', messages: [large, large, plain(3)] } };
      const { client } = await logIn({ pipelining, accounts });
      let last = '';
      for await (const answer of client.retrieve(rows(1, 1, 1), ANY)) {
        if ('refused' in answer) throw new Error(answer.refused);
        if (answer.number === 1) continue;
        for await (const piece of answer.body) {
          last = piece.toString('latin1');
          break;
        }
      }
      expect(last).toBe(latin1(plain(3)));
      expect(await client.remove([3])).toEqual([3]);
      await client.quit();
    }
  });

  it('asks for many at once where the server pipelines, and never for more octets than it should', async () => {
    const messages = Array.from({ length: 300 }, (_, n) => plain(n));
    const accounts = { taro: { password: 'himitsu', messages } };
    const { client, server } = await logIn({ accounts });
    expect(await read(client.retrieve(rows(...messages.map(() => 76)), ANY))).toEqual(messages.map(latin1));
    expect(server.sessions[0]!.pipelined).toBeGreaterThan(100);
  });

  it('asks for one huge message at a time', async () => {
    const { client, server } = await logIn();
    await read(client.retrieve(rows(2_000_000, 2_000_000, 2_000_000), ANY));
    expect(server.sessions[0]!.pipelined).toBe(0);
  });

  it('a message larger than allowed fails by itself, once, and ends the session [46]', async () => {
    for (const pipelining of [true, false]) {
      const { client, server } = await logIn({ pipelining });
      const answers = client.retrieve(rows(10, 76, 76), 75)[Symbol.asyncIterator]();
      const { value } = (await answers.next()) as { value: Retrieved & { body: AsyncIterable<Buffer> } };
      expect(await failure(textOf(value.body))).toMatchObject({
        code: 'DATA',
        phase: 'retrieve',
        message: 'the message is larger than 75 octets, whatever LIST said',
        remedy: 'raise maxSize to fetch it',
      });
      expect((await answers.next()).done).toBe(true);
      await expect(client.quit()).rejects.toBeInstanceOf(PopfetchError);
      await server.close();
      expect(server.sessions[0]!.verbs).not.toContain('QUIT');
    }
  });

  it('a message just as large as allowed is fine', async () => {
    const { client } = await logIn();
    expect(await read(client.retrieve(rows(76), 76))).toEqual([latin1(plain(1))]);
  });

  it.each(['close', 'drop', 'reset'] as const)(
    'a body in the middle of which the server says %s is not whole [41]',
    async (action: Action) => {
      const { client } = await logIn({ faults: [{ at: 'body', verb: 'RETR', action }] });
      expect(await failure(read(client.retrieve(rows(76, 76), ANY)))).toMatchObject({
        code: 'LOST',
        phase: 'retrieve',
      });
    },
  );

  it('a body that stops coming is given up', async () => {
    const { client } = await logIn(
      { faults: [{ at: 'body', verb: 'RETR', action: 'stall' }] },
      { timeouts: { ...LONG, idle: 30 } },
    );
    expect(await failure(read(client.retrieve(rows(76), ANY)))).toMatchObject({
      code: 'TIMEOUT',
      phase: 'retrieve',
    });
  });

  it('an answer that is nonsense ends the session', async () => {
    const { client } = await logIn({ overrides: { RETR: 'Here you are:' } });
    expect(await failure(read(client.retrieve(rows(76), ANY)))).toMatchObject({
      code: 'PROTOCOL',
      phase: 'retrieve',
      serverText: 'Here you are:',
    });
  });
});

describe('TOP', () => {
  it('gives the header, the empty line and as many lines as asked for', async () => {
    const messages = [withBody('one', '.two', 'three')];
    const { client, server } = await logIn({ accounts: { taro: { password: 'himitsu', messages } } });
    const whole = latin1(messages[0]!);
    expect(await read(client.top([1], 2))).toEqual([whole.replace('three\r\n', '')]);
    expect(await read(client.top([1], 99))).toEqual([whole]);
    expect(server.sessions[0]!.received.slice(-2)).toEqual(['TOP 1 2', 'TOP 1 99']);
  });

  it('may be refused', async () => {
    const { client } = await logIn({ overrides: { TOP: '-ERR no TOP here' } });
    expect(await read(client.top([1, 2], 0))).toEqual(['!no TOP here', '!no TOP here']);
    await client.quit();
  });
});

describe('removing', () => {
  it('says which messages the server marked', async () => {
    for (const pipelining of [true, false]) {
      const { client, server } = await logIn({
        pipelining,
        overrides: { DELE: (_, [n]) => (n === '2' ? '-ERR locked' : undefined) },
      });
      expect(await client.remove([1, 2, 3])).toEqual([1, 3]);
      expect(server.mailbox('taro').messages).toHaveLength(3);
      await client.quit();
      expect(server.mailbox('taro').uids).toEqual(['uid-2']);
    }
  });

  it('of many messages keeps to its window', async () => {
    const messages = Array.from({ length: 200 }, (_, n) => plain(n));
    const { client, server } = await logIn({ accounts: { taro: { password: 'himitsu', messages } } });
    const numbers = messages.map((_, index) => index + 1);
    expect(await client.remove(numbers)).toEqual(numbers);
    await client.quit();
    expect(server.mailbox('taro').messages).toEqual([]);
  });

  it('can be taken back', async () => {
    const { client, server } = await logIn();
    await client.remove([1, 2]);
    await client.reset();
    await client.quit();
    expect(server.mailbox('taro').messages).toHaveLength(3);
  });

  it('is not done when the connection is dropped', async () => {
    const { client, server } = await logIn();
    await client.remove([1]);
    client.close();
    await server.close();
    expect(server.mailbox('taro').messages).toHaveLength(3);
    expect(server.sessions[0]!.quit).toBe(false);
  });
});

describe('the other commands', () => {
  it('RSET may be refused', async () => {
    const { client } = await logIn({ overrides: { RSET: '-ERR no' } });
    expect(await failure(client.reset())).toMatchObject({
      code: 'PROTOCOL',
      phase: 'remove',
      serverText: 'no',
    });
  });

  it('NOOP is asked and whatever is answered is fine', async () => {
    const { client, server } = await logIn({ overrides: { NOOP: '-ERR never heard of it' } });
    await client.noop();
    expect(server.sessions[0]!.verbs.at(-1)).toBe('NOOP');
  });
});

describe('QUIT', () => {
  it('that is refused may have removed some of it [72]', async () => {
    const { client } = await logIn({ overrides: { QUIT: '-ERR some messages not removed' } });
    expect(await failure(client.quit())).toMatchObject({
      code: 'REFUSED',
      phase: 'quit',
      message: 'the server could not finish the session',
      serverText: 'some messages not removed',
    });
    expect(await failure(client.noop())).toMatchObject({ code: 'LOST' });
  });

  it.each(['close', 'drop', 'reset'] as const)(
    'that is answered with %s is not a yes [72]',
    async (action) => {
      const { client } = await logIn({ overrides: { QUIT: action } });
      expect(await failure(client.quit())).toMatchObject({ code: 'LOST', phase: 'quit' });
    },
  );

  it('closes the connection after the answer, whoever else does not [77]', async () => {
    const { client, server } = await logIn({ overrides: { QUIT: Buffer.from('+OK bye\r\n') } });
    await client.quit();
    expect(await failure(client.noop())).toMatchObject({ code: 'LOST' });
    await expect.poll(() => server.mailbox('taro').locked).toBe(false);
  });

  it('and close() may follow each other in any order', async () => {
    const { client } = await logIn();
    await client.quit();
    client.close();
    client.close();
    const { client: other } = await logIn();
    other.close();
    expect(await failure(other.quit())).toMatchObject({ code: 'LOST', phase: 'quit' });
  });
});

describe('a server out of step', () => {
  const commands: Record<string, [(client: Pop3Client) => Promise<unknown>, string]> = {
    list: [(client) => client.list(), 'list'],
    retrieve: [(client) => read(client.retrieve(rows(1), ANY)), 'retrieve'],
    top: [(client) => read(client.top([1], 0)), 'retrieve'],
    remove: [(client) => client.remove([1]), 'remove'],
    reset: [(client) => client.reset(), 'remove'],
    noop: [(client) => client.noop(), 'list'],
    quit: [(client) => client.quit(), 'quit'],
  };

  it.each(Object.keys(commands))('that says more than it was asked is not asked to %s [51]', async (name) => {
    const [command, phase] = commands[name]!;
    let asked = 0;
    const { client, connection, server } = await logIn({
      overrides: {
        NOOP: () => {
          asked += 1;
          return Buffer.from('+OK\r\n+OK stray\r\n');
        },
      },
    });
    await client.noop();
    await expect.poll(() => connection.pending).toBeGreaterThan(0);
    expect(await failure(command(client))).toMatchObject({
      code: 'PROTOCOL',
      phase,
      message: 'the server sent something that was not asked for',
    });
    client.close();
    await server.close();
    expect(asked).toBe(1);
    expect(server.sessions[0]!.verbs.at(-1)).toBe('NOOP');
  });

  it.each(Object.keys(commands))(
    'that has hung up is said to have, with the phase, when asked to %s',
    async (name) => {
      const [command, phase] = commands[name]!;
      const lines: string[] = [];
      const { client, server } = await logIn({}, { lines });
      await server.close();
      await expect.poll(() => lines.at(-1)).toMatch(/^\* /);
      expect(await failure(command(client))).toMatchObject({ code: 'LOST', phase });
    },
  );

  it('that is silent is given up in every phase', async () => {
    const verbs = ['STAT', 'RETR', 'TOP', 'DELE', 'RSET', 'NOOP'];
    const overrides = Object.fromEntries(verbs.map((verb) => [verb, 'stall']));
    // Nobody waits half a minute for the answer to QUIT in a test.
    const names = Object.keys(commands).filter((name) => name !== 'quit');
    await Promise.all(
      names.map(async (name) => {
        const [command, phase] = commands[name]!;
        const { client } = await logIn({ overrides }, { timeouts: { ...LONG, reply: 500 } });
        expect(await failure(command(client)), name).toMatchObject({ code: 'TIMEOUT', phase });
      }),
    );
  });
});
