import { afterEach, describe, expect, test } from 'vitest';
import { certificates, fingerprint } from './support/certificates.js';
import type { ServerEvent } from './support/faults.js';
import { awkward, plain, withBody } from './support/messages.js';
import { RawClient } from './support/raw-client.js';
import { startServer } from './support/server.js';
import type { ServerOptions, TestServer } from './support/server.js';
import { wire } from './support/body.js';

const open: (() => unknown)[] = [];
const accounts = { taro: { password: 'secret', messages: [plain(1), plain(2)] } };

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function serve(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const server = await startServer({ accounts, ...options });
  open.push(() => server.close());
  return server;
}

async function connect(server: TestServer, tls = false): Promise<RawClient> {
  const client = tls ? await RawClient.connectTls(server, server.ca) : await RawClient.connect(server);
  open.push(() => {
    client.close();
  });
  return client;
}

async function loggedIn(server: TestServer, tls = false): Promise<RawClient> {
  const client = await connect(server, tls);
  await client.line();
  expect(await client.login('taro', 'secret')).toMatch(/^\+OK/);
  return client;
}

describe('TLS', () => {
  test('implicit: nothing in clear, and the certificate is the one of the authority', async () => {
    const server = await serve({ tls: 'implicit' });
    const client = await loggedIn(server, true);
    expect(await client.askLines('UIDL')).toEqual(['1 uid-1', '2 uid-2']);
    await client.ask('QUIT');
    await client.rest();
    expect(server.sessions[0]!.secure).toBe(true);
    expect(server.sessions[0]!.quit).toBe(true);
  });

  test('STLS: CAPA speaks of passwords only afterwards, and what was sent ahead in clear is forgotten', async () => {
    const server = await serve({ tls: 'starttls' });
    const client = await connect(server);
    await client.line();
    expect(await client.askLines('CAPA')).toContain('STLS');
    client.send('STLS\r\nUSER injected\r\n');
    expect(await client.line()).toBe('+OK begin TLS');
    await client.startTls(server.ca);
    expect(await client.askLines('CAPA')).toEqual(expect.arrayContaining(['USER', 'SASL PLAIN']));
    expect(await client.ask('PASS secret')).toBe('-ERR USER first');
    expect(await client.ask('STLS')).toMatch(/^-ERR/);
    expect(await client.login('taro', 'secret')).toMatch(/^\+OK/);
    expect(server.sessions[0]!.overheard).toBe('CAPA\r\nSTLS\r\nUSER injected\r\n');
  });

  test.each(['expired', 'otherHost', 'selfSigned', 'localhostOnly'] as const)(
    'a careful client refuses the certificate: %s',
    async (which) => {
      const set = await certificates();
      const server = await serve({ tls: 'implicit', certificate: set[which] });
      await expect(RawClient.connectTls(server, server.ca)).rejects.toThrow();
      expect(fingerprint(set[which].cert)).toMatch(/^[0-9a-f]{64}$/);
    },
  );

  test('a client that does not speak TLS gets nowhere and breaks nothing', async () => {
    const server = await serve({ tls: 'implicit' });
    const client = await connect(server);
    client.send('CAPA\r\n');
    await client.rest();
    await loggedIn(server, true);
  });
});

describe('cuts', () => {
  test.each([1, 2, 3, 7, 4096, 65_536])('%i octets at a time give the same octets', async (cut) => {
    const names = ['leading dots', 'bare CR', 'LF dot LF', 'no CRLF at the end', 'nothing at all'];
    const messages = names.map((name) => awkward[name]!);
    const server = await serve({ accounts: { taro: { password: 'secret', messages } }, cut });
    const client = await loggedIn(server);
    for (const [index, data] of messages.entries()) {
      await client.ask(`RETR ${index + 1}`);
      expect((await client.body()).equals(wire(data))).toBe(true);
    }
  });

  test('the pieces go out one by one', async () => {
    const server = await serve({ cut: 1, greeting: '+OK 0123456789' });
    const client = await connect(server);
    await client.line();
    // Most of them arrive on their own; how many is up to the kernel.
    expect(client.arrivals).toBeGreaterThan(4);
  });

  test('a dot at the start of a line is doubled wherever the message was cut', async () => {
    const data = withBody('.', '..', 'x', '.y');
    const generate = (): Buffer[] => Array.from(data, (octet) => Buffer.from([octet]));
    const messages = [{ size: data.length, generate }];
    const client = await loggedIn(await serve({ accounts: { taro: { password: 'secret', messages } } }));
    await client.ask('RETR 1');
    expect((await client.body()).equals(data)).toBe(true);
  });
});

describe('overrides', () => {
  test('a line, octets, or a function that may leave it to the standard answer', async () => {
    const server = await serve({
      overrides: {
        STAT: '+OK 99 lies',
        NOOP: Buffer.from('+ok lower\n'),
        RETR: (_, [n]) => (n === '1' ? '-ERR [SYS/TEMP] not now' : undefined),
        DELE: async (session) => {
          await session.write('+OK half');
          await session.write(' and half\r\n');
          return 'sent';
        },
        LIST: { status: '+OK', body: [Buffer.from('.1 x\r\n')] },
      },
    });
    const client = await loggedIn(server);
    expect(await client.ask('STAT')).toBe('+OK 99 lies');
    client.send('NOOP\r\n');
    expect(await client.ask('RETR 1')).toBe('+ok lower\n-ERR [SYS/TEMP] not now');
    expect(await client.ask('RETR 2')).toBe('+OK 76 octets');
    await client.body();
    expect(await client.ask('DELE 1')).toBe('+OK half and half');
    expect(await client.askLines('LIST')).toEqual(['.1 x']);
    server.overrides['STAT'] = '-ERR changed';
    expect(await client.ask('STAT')).toBe('-ERR changed');
  });

  test.each(['close', 'drop', 'reset'] as const)(
    '%s ends the connection, with and without TLS',
    async (action) => {
      for (const tls of ['none', 'implicit'] as const) {
        const server = await serve({ tls, overrides: { STAT: action } });
        const client = await loggedIn(server, tls === 'implicit');
        client.send('STAT\r\n');
        expect((await client.rest()).length).toBe(0);
        await expect.poll(() => server.mailbox('taro').locked).toBe(false);
      }
    },
  );

  test('stall says nothing until the client gives up', async () => {
    const server = await serve({ greeting: 'stall' });
    const client = await connect(server);
    client.send('CAPA\r\n');
    client.finish();
    expect((await client.rest()).length).toBe(0);
  });

  test('what an override throws comes out of close()', async () => {
    const failing = (): never => {
      throw new Error('a mistake in the test');
    };
    const server = await startServer({ accounts, overrides: { NOOP: failing } });
    const client = await connect(server);
    client.send('NOOP\r\n');
    await client.rest();
    await expect(server.close()).rejects.toThrow('a mistake in the test');
  });

  test('keepAfterQuit: yes is said and nothing is removed', async () => {
    const server = await serve({ keepAfterQuit: true });
    const client = await loggedIn(server);
    await client.ask('DELE 1');
    expect(await client.ask('QUIT')).toBe('+OK bye');
    await client.rest();
    expect(server.mailbox('taro').messages).toHaveLength(2);
  });
});

describe('events and faults', () => {
  /** Runs one whole session. @returns what the hook saw. */
  async function session(
    options: Partial<ServerOptions>,
  ): Promise<{ events: ServerEvent[]; server: TestServer }> {
    const events: ServerEvent[] = [];
    const server = await serve({
      ...options,
      onEvent: (event) => {
        events.push(event);
        return undefined;
      },
    });
    const client = await connect(server);
    client.send('USER taro\r\nPASS secret\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n');
    await client.rest();
    return { events, server };
  }

  test('every step is an event, numbered, the same every time', async () => {
    const { events, server } = await session({});
    const steps = events.map(({ kind, verb }) => `${verb} ${kind}`.trim());
    expect(steps).toEqual([
      ...['connect', 'reply', 'USER command', 'USER reply', 'USER replied'],
      ...['PASS command', 'PASS reply', 'PASS replied'],
      ...['RETR command', 'RETR reply', 'RETR body', 'RETR replied'],
      ...['DELE command', 'DELE reply', 'DELE replied', 'QUIT command', 'QUIT reply', 'QUIT replied'],
    ]);
    expect(events.map(({ number }) => number)).toEqual(steps.map((_, index) => index + 1));
    expect(server.events).toBe(steps.length);
    expect((await session({})).events).toEqual(events);
  });

  test('a fault strikes at the event it names, once', async () => {
    const server = await serve({ faults: [{ at: 'body', verb: 'RETR', action: 'close' }] });
    const client = await loggedIn(server);
    await client.ask('RETR 1');
    const half = await client.rest();
    expect(half.length).toBe(38);
    expect(plain(1).subarray(0, 38).equals(half)).toBe(true);
    const second = await loggedIn(server);
    await second.ask('RETR 1');
    expect((await second.body()).equals(plain(1))).toBe(true);
  });

  test('at the reply to QUIT the messages are gone, but nobody has been told', async () => {
    const { server } = await session({ faults: [{ at: 'reply', verb: 'QUIT', action: 'reset' }] });
    expect(server.mailbox('taro').uids).toEqual(['uid-2']);
    const { server: other } = await session({ faults: [{ at: 'command', verb: 'QUIT', action: 'reset' }] });
    expect(other.mailbox('taro').uids).toEqual(['uid-1', 'uid-2']);
  });

  test('a connection can be cut after any number of octets', async () => {
    for (const octets of [0, 1, 33, 60, 130]) {
      const server = await serve({ cutOff: { octets, action: 'close' } });
      const client = await connect(server);
      client.send('USER taro\r\nPASS secret\r\nRETR 1\r\n');
      expect((await client.rest()).length).toBe(octets);
    }
  });

  test('latency delays every answer', async () => {
    const server = await serve({ latency: 40 });
    const client = await connect(server);
    const start = performance.now();
    await client.line();
    await client.ask('CAPA');
    expect(performance.now() - start).toBeGreaterThan(75);
  });
});
