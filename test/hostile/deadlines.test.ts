/** Nobody is waited for longer than his phase allows, whether he is silent or sends an octet now and then. */
import { once } from 'node:events';
import { connect as dial, type LookupFunction } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { DEFAULTS } from '../../src/config/account.js';
import { connect, type Endpoint } from '../../src/wire/connect.js';
import type { Connection, Timeouts } from '../../src/wire/connection.js';
import { DEADLINES, SLOWEST } from '../../src/wire/limits.js';
import { Patience } from '../../src/wire/patience.js';
import { Pop3Client } from '../../src/pop3/client.js';
import { openSession } from '../../src/pop3/open.js';
import { certificates } from '../support/certificates.js';
import { plain } from '../support/messages.js';
import { startServer, type ServerOptions, type TestServer } from '../support/server.js';
import type { Override } from '../support/session.js';

const LONG: Timeouts = { connect: 20_000, greeting: 20_000, reply: 20_000, idle: 20_000, quit: 20_000 };
/** Milliseconds: what is meant to run out. */
const SOON = 150;
const open: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function serve(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const accounts = { taro: { password: 'himitsu', messages: [plain(1), plain(2)] } };
  const server = await startServer({ accounts, ...options });
  open.push(() => server.close());
  return server;
}

type Place = Pick<Endpoint, 'host' | 'port'>;

async function reach(
  { host, port }: Place,
  changes: Partial<Endpoint> & { timeouts: Timeouts },
): Promise<Connection> {
  const { signal } = new AbortController();
  const connection = await connect({ host, port, tls: undefined, signal, ...changes });
  open.push(() => {
    connection.close();
  });
  return connection;
}

/** Sends what is given over and over, a little at a time, and never comes to an end. */
function dripping(first: string, drop: string): Override {
  return async (session) => {
    await session.write(first);
    for (;;) {
      await session.write(drop);
      await sleep(10);
    }
  };
}

/** Everything that a session of fetch says, up to and with QUIT. */
async function wholeSession(server: Place, timeouts: Timeouts): Promise<number> {
  let octets = 0;
  const client = new Pop3Client(await reach(server, { timeouts }));
  await client.greet();
  await client.capa();
  await client.login({ user: 'taro', password: 'himitsu', method: 'user', insecure: false });
  const { messages } = await client.list();
  for await (const answer of client.retrieve([...messages], 10_000)) {
    if (!('body' in answer)) continue;
    for await (const piece of answer.body) octets += piece.length;
  }
  await client.remove([1]);
  await client.quit();
  return octets;
}

describe('a phase', () => {
  const status = 'the server did not send an answer within 0.15 s';
  const body = 'the server did not send the rest of a message or listing within 0.15 s';
  const slow = 'the server sends a message or listing too slowly';
  const late = (timeouts: Partial<Timeouts>): Timeouts => ({ ...LONG, ...timeouts });
  const reply = late({ reply: SOON });
  const idle = late({ idle: SOON });
  const pace = late({ pace: { octets: 10_000, within: SOON } });

  it.each<[string, Timeouts, Partial<ServerOptions>, string, string]>([
    ['the greeting, silence', late({ greeting: SOON }), { greeting: 'stall' }, 'greeting', status],
    ...['CAPA', 'USER', 'PASS', 'STAT', 'LIST', 'UIDL', 'RETR', 'DELE', 'QUIT'].flatMap(
      (verb): [string, Timeouts, Partial<ServerOptions>, string, string][] => {
        const phase =
          { CAPA: 'login', USER: 'login', PASS: 'login', RETR: 'retrieve', DELE: 'remove', QUIT: 'quit' }[
            verb
          ] ?? 'list';
        const timeouts = verb === 'QUIT' ? late({ quit: SOON }) : reply;
        return [
          [`the answer to ${verb}, silence`, timeouts, { overrides: { [verb]: 'stall' } }, phase, status],
          [
            `the answer to ${verb}, an octet now and then`,
            timeouts,
            { overrides: { [verb]: dripping('+', 'O') } },
            phase,
            status,
          ],
        ];
      },
    ),
    ...['CAPA', 'LIST', 'UIDL', 'RETR'].flatMap(
      (verb): [string, Timeouts, Partial<ServerOptions>, string, string][] => {
        const phase = { CAPA: 'login', RETR: 'retrieve' }[verb] ?? 'list';
        const half: Override = async (session) => {
          await session.write('+OK\r\nx');
          return 'stall';
        };
        return [
          [`the body of ${verb}, silence`, idle, { overrides: { [verb]: half } }, phase, body],
          [
            `the body of ${verb}, an octet now and then`,
            pace,
            { overrides: { [verb]: dripping('+OK\r\n', 'x') } },
            phase,
            slow,
          ],
        ];
      },
    ),
  ])('ends when its time is over: %s [8] [22]', async (_, timeouts, options, phase, message) => {
    const server = await serve({ pipelining: false, ...options });
    await expect(wholeSession(server, timeouts)).rejects.toMatchObject({ code: 'TIMEOUT', phase, message });
  });

  it.each(['CAPA', 'RETR'])(
    'that is never over, with %s, is ended by the deadline of the session [108]',
    async (verb) => {
      const server = await serve({ overrides: { [verb]: dripping('+OK\r\n', 'x\r\n') } });
      await expect(wholeSession(server, { ...LONG, session: SOON })).rejects.toMatchObject({
        code: 'TIMEOUT',
        message: 'the session took longer than 0.15 s',
      });
    },
  );

  it('of TLS is ended by the deadline of the session too [8]', async () => {
    const server = await serve({ greeting: 'stall' });
    const { authority } = await certificates();
    const tls = { servername: 'x', ca: [authority.cert], pin: undefined, minVersion: 'TLSv1.2' } as const;
    await expect(reach(server, { tls, timeouts: { ...LONG, session: SOON } })).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: 'the session took longer than 0.15 s',
    });
  });
});

describe('the pace of a body', () => {
  it('counts waiting only, and begins anew with each full measure', () => {
    const patience = new Patience({ octets: 100, within: 1000 });
    patience.waited(900);
    patience.received(99);
    expect(patience.left).toBe(100);
    patience.received(1);
    expect(patience.left).toBe(1000);
    patience.waited(1001);
    expect(patience.left).toBeLessThan(0);
  });

  it('is no matter to a slow reader', async () => {
    const server = await serve();
    const pace = { octets: 1_000_000, within: SOON };
    const client = new Pop3Client(await reach(server, { timeouts: { ...LONG, pace } }));
    await client.greet();
    await client.login({ user: 'taro', password: 'himitsu', method: 'user', insecure: false });
    const { messages } = await client.list();
    let read = 0;
    for await (const answer of client.retrieve([...messages], 10_000)) {
      if (!('body' in answer)) continue;
      for await (const piece of answer.body) {
        read += piece.length;
        await sleep(2 * SOON);
      }
    }
    expect(read).toBeGreaterThan(0);
  });

  it.each([
    [59, false],
    [1, false],
    [0.1, false],
    [0.005, true],
  ])('at one octet every %d s is enough for a message of 100 000 octets: %s', (seconds, enough) => {
    const patience = new Patience();
    let octets = 0;
    while (octets < 100_000 && patience.left > 0) {
      patience.waited(seconds * 1000);
      patience.received(1);
      octets += 1;
    }
    expect(octets === 100_000).toBe(enough);
    // A message that drips holds the session up for two minutes at most.
    if (!enough) expect(octets * seconds).toBeLessThan(SLOWEST.within / 1000 + 60);
  });
});

describe('connecting', () => {
  /** DNS that knows these addresses, or does not answer. */
  function names(...addresses: readonly string[]): LookupFunction {
    return (_, __, done) => {
      if (addresses.length > 0)
        done(
          null,
          addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
        );
    };
  }

  const connected = async (port: number, lookup: LookupFunction, time: number): Promise<string> => {
    const said: string[] = [];
    const connection = await reach(
      { host: 'pop.example.com', port },
      { timeouts: { ...LONG, connect: time }, lookup, tap: (_, text) => said.push(text) },
    );
    await connection.readLine();
    return said[0] ?? '';
  };

  /** An address where connections are neither taken nor refused: a listener that never looks at its queue, full. */
  async function deaf(address: string, port: number): Promise<void> {
    const worker = new Worker(
      `const { parentPort, workerData: listen } = require('node:worker_threads');
       require('node:net').createServer().listen(listen, () => {
         parentPort.postMessage('full');
         Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
       });`,
      { eval: true, workerData: { host: address, port, backlog: 1 } },
    );
    open.push(() => worker.terminate());
    await once(worker, 'message');
    // Two wait in the queue; there is room for no other.
    for (let n = 0; n < 2; n += 1) {
      const waiting = dial({ host: address, port });
      open.push(() => waiting.destroy());
      await once(waiting, 'connect');
    }
  }

  it('to a name with many addresses takes the first that answers [17]', async () => {
    const { port } = await serve();
    const dead = Array.from({ length: 40 }, (_, index) => `127.0.1.${index + 1}`);
    expect(await connected(port, names(...dead, '127.0.0.1', '127.0.1.99'), 20_000)).toBe(
      `connected to pop.example.com port ${port} (127.0.0.1)`,
    );
  });

  it('does not stay with an address that does not answer [17]', async () => {
    const { port } = await serve();
    await deaf('127.0.0.9', port);
    const said = await connected(port, names('127.0.0.9', '127.0.0.1'), 600);
    expect(said).toBe(`connected to pop.example.com port ${port} (127.0.0.1)`);
  });

  it.each([
    ['none of the addresses answers', ['127.0.0.9', '127.0.0.9', '127.0.0.9']],
    ['the only address does not answer', ['127.0.0.9']],
  ])('is given up when the time for all of it is over: %s [17]', async (_, addresses) => {
    const { port } = await serve();
    await deaf('127.0.0.9', port);
    await expect(connected(port, names(...addresses), 300)).rejects.toMatchObject({ phase: 'connect' });
  });

  it('is given up when DNS says nothing [17]', async () => {
    await expect(connected(1, names(), SOON)).rejects.toMatchObject({
      code: 'TIMEOUT',
      phase: 'connect',
      message: 'no connection to pop.example.com port 1 within 0.15 s',
    });
  });

  it('to a name whose addresses all refuse says so [17]', async () => {
    const gone = await startServer({ accounts: {} });
    await gone.close();
    await expect(connected(gone.port, names('127.0.1.1', '127.0.1.2', '::1'), 20_000)).rejects.toMatchObject({
      code: 'CONNECT',
      message: `pop.example.com refuses connections on port ${gone.port}`,
    });
  });

  it('leaves for TLS what DNS and TCP have not used [17]', async () => {
    const { port } = await serve({ greeting: 'stall' });
    const late: LookupFunction = (_, __, done) => {
      setTimeout(() => {
        done(null, [{ address: '127.0.0.1', family: 4 }]);
      }, 250);
    };
    const tls = { servername: 'x', ca: undefined, pin: undefined, minVersion: 'TLSv1.2' } as const;
    const start = performance.now();
    await expect(
      reach({ host: 'x', port }, { tls, lookup: late, timeouts: { ...LONG, connect: 300 } }),
    ).rejects.toMatchObject({ code: 'TIMEOUT' });
    expect(performance.now() - start).toBeLessThan(500);
  });
});

it('the deadlines of an account are the limits, unless it says otherwise', () => {
  expect(DEADLINES).toMatchObject(
    Object.fromEntries(Object.entries(DEFAULTS.timeout).filter(([name]) => name !== 'deliver')),
  );
  expect(DEADLINES).toEqual({
    ...{ connect: 30_000, reply: 60_000, idle: 60_000 },
    ...{ quit: 30_000, session: 3_600_000 },
  });
  expect(SLOWEST.octets / SLOWEST.within).toBe(0.128);
});

describe('a port for TLS that is spoken to in clear', () => {
  it.each(['none', 'starttls'] as const)('is recognised by its silence, with tls: %s', async (mode) => {
    const server = await serve({ tls: 'implicit' });
    const session = openSession({
      ...{ host: server.host, port: server.port },
      tls: { mode, minVersion: 'TLSv1.2' },
      timeouts: { ...LONG, greeting: SOON },
      signal: new AbortController().signal,
      credentials: () => Promise.reject(new Error('not asked for')),
    });
    await expect(session).rejects.toMatchObject({
      code: 'TIMEOUT',
      phase: 'greeting',
      remedy: `nothing is lost; where TLS is spoken on port ${server.port} from the start, as on 995, use tls: implicit`,
    });
  });
});
