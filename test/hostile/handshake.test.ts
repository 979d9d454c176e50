/** Servers that will not shake hands, or want to do it twice; and what of one session is never used in another. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type LookupFunction, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer as createTlsServer, type TlsOptions, type TLSSocket } from 'node:tls';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { connect, type Endpoint } from '../../src/wire/connect.js';
import type { Connection } from '../../src/wire/connection.js';
import type { TlsSettings } from '../../src/wire/trust.js';
import { certificates, fingerprint, type Certificates } from '../support/certificates.js';
import { startListener } from '../support/client-hello.js';
import { startServer } from '../support/server.js';

const LONG = { connect: 20_000, reply: 20_000, idle: 20_000 };
const open: (() => unknown)[] = [];
let set: Certificates;

beforeAll(async () => {
  set = await certificates();
});

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

type Place = Pick<Endpoint, 'host' | 'port'>;

async function reach(place: Place, changes: Partial<Endpoint> = {}): Promise<Connection> {
  const { signal } = new AbortController();
  const connection = await connect({ ...place, tls: trust(), timeouts: LONG, signal, ...changes });
  open.push(() => {
    connection.close();
  });
  return connection;
}

function trust(changes: Partial<TlsSettings> = {}): TlsSettings {
  const { authority } = set;
  return {
    ...{ servername: '127.0.0.1', ca: [authority.cert], pin: undefined, minVersion: 'TLSv1.2' },
    ...changes,
  };
}

/** A server that does this with each connection. */
async function listen(serve: (socket: Socket) => unknown): Promise<Place> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    open.push(() => socket.destroy());
    void serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push(() => server.close());
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

/** A server that does this with each secured connection. */
async function listenTls(options: TlsOptions, serve: (socket: TLSSocket) => unknown): Promise<Place> {
  const { cert, key } = set.server;
  const server = createTlsServer({ cert, key, ...options }, (socket) => {
    socket.on('error', () => undefined);
    open.push(() => socket.destroy());
    void serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push(() => server.close());
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

describe('a handshake', () => {
  it.each([
    ['never begins', []],
    ['comes an octet at a time, and is none', [0x16, 0x03, 0x03, 0x3f, 0xff, 0x02]],
    ['comes an octet at a time, in records of one octet', [0x16, 0x03, 0x03, 0x00, 0x01, 0x02]],
  ])('that %s is given up when the time for all of it is over [8]', async (_, octets) => {
    const place = await listen(async (socket) => {
      for (let at = 0; octets.length > 0 && !socket.destroyed; at += 1) {
        socket.write(Buffer.of(octets[at % octets.length] ?? 0));
        await sleep(20);
      }
    });
    const timeouts = { ...LONG, connect: 200 };
    const start = performance.now();
    const error: unknown = await reach(place, { timeouts }).catch((reason: unknown) => reason);
    expect(performance.now() - start).toBeLessThan(5_000);
    // A client may see sooner that this is no handshake.
    expect([
      { code: 'TIMEOUT', phase: 'tls' },
      { code: 'TLS', phase: 'tls' },
    ]).toContainEqual({ code: (error as { code: string }).code, phase: (error as { phase: string }).phase });
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['a greeting in clear', Buffer.from('+OK ready, and long enough for a record\r\n')],
    ['what HTTP says', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['zeros', Buffer.alloc(64)],
    ['an alert that it is not understood', Buffer.of(0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28)],
    ['an alert about the version', Buffer.of(0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46)],
  ])('in whose place comes %s and the end is refused, with a remedy [7]', async (_, answer) => {
    let connections = 0;
    const place = await listen((socket) => {
      connections += 1;
      socket.once('data', () => socket.end(answer));
    });
    await expect(reach(place)).rejects.toMatchObject({
      code: 'TLS',
      phase: 'tls',
      message: expect.stringMatching(/^127\.0\.0\.1 (and|did|does|hung)/) as string,
      remedy: expect.any(String) as string,
    });
    expect(connections).toBe(1);
  });

  it('offers TLS 1.2 and 1.3, no compression, and the name of the config [14] [17]', async () => {
    const listener = await startListener();
    open.push(() => listener.close());
    const lookup: LookupFunction = (_, __, done) => {
      done(null, [{ address: '127.0.0.1', family: 4 }]);
    };
    const place = { host: 'pop.example.com', port: listener.port };
    for (const minVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const tls = trust({ servername: 'pop.example.com', minVersion });
      await expect(reach(place, { tls, lookup })).rejects.toMatchObject({
        code: 'TLS',
        message: 'pop.example.com hung up in the middle of the TLS handshake',
      });
    }
    const hello = { compression: [0], servername: 'pop.example.com', resumed: 0 };
    expect(listener.heard).toEqual([
      { ...hello, versions: [0x0304, 0x0303] },
      { ...hello, versions: [0x0304] },
    ]);
  });

  it('sends no name where the host is an address [17]', async () => {
    const listener = await startListener();
    open.push(() => listener.close());
    await expect(reach(listener)).rejects.toMatchObject({ code: 'TLS' });
    expect(listener.heard[0]?.servername).toBeUndefined();
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'in %s is whole each time: no session is resumed, and no connection used twice [18]',
    async (maxVersion) => {
      const resumed: boolean[] = [];
      const ports = new Set<number | undefined>();
      const place = await listenTls({ maxVersion }, (socket) => {
        resumed.push(socket.isSessionReused());
        ports.add(socket.remotePort);
        socket.write('+OK\r\n');
      });
      // The authorities read are the same: they are all that two sessions share.
      for (let n = 0; n < 3; n += 1) {
        const connection = await reach(place);
        expect(await connection.readLine()).toBe('+OK');
        connection.close();
      }
      expect(resumed).toEqual([false, false, false]);
      expect(ports.size).toBe(3);
    },
  );

  it.each(['with authorities of its own', 'with those of Node'])(
    'is not done again because the server wants to, %s [14]',
    async (which) => {
      const failed: string[] = [];
      const secured: string[] = [];
      const place = await listenTls({ maxVersion: 'TLSv1.2' }, (socket) => {
        socket.on('error', ({ code = '' }: NodeJS.ErrnoException) => failed.push(code));
        socket.write('+OK\r\n');
        socket.once('data', () => {
          socket.renegotiate({}, () => secured.push('again'));
        });
      });
      const pin = [fingerprint(set.server.cert)];
      const tls = which.endsWith('Node') ? trust({ ca: undefined, pin }) : trust();
      const connection = await reach(place, { tls });
      expect(await connection.readLine()).toBe('+OK');
      connection.send('CAPA');
      await expect(connection.readLine()).rejects.toMatchObject({ code: 'LOST' });
      expect(failed).toEqual(['ERR_SSL_NO_RENEGOTIATION']);
      expect(secured).toEqual([]);
    },
  );

  it.each([
    ['that is too old', { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' }],
    ['in which nothing is encrypted', { maxVersion: 'TLSv1.2', ciphers: 'NULL@SECLEVEL=0' }],
    ['in which nobody proves who he is', { maxVersion: 'TLSv1.2', ciphers: 'aNULL@SECLEVEL=0' }],
  ] as const)('%s is refused [14]', async (_, options) => {
    const place = await listenTls(options, (socket) => socket.write('+OK\r\n'));
    await expect(reach(place)).rejects.toMatchObject({
      code: 'TLS',
      message: expect.stringMatching(/does not speak TLSv1\.2|no safe cipher in common/) as string,
    });
  });
});

describe('the end of a secured connection', () => {
  it.each(['close', 'drop', 'reset'] as const)(
    'by %s does not make a body whole, with or without a goodbye [13]',
    async (end) => {
      for (const text of ['a\r\n.\r', 'a\r\n', 'a\r\n.']) {
        const server = await startServer({
          accounts: {},
          tls: 'implicit',
          overrides: { TOP: Buffer.from(text), NOOP: end },
        });
        open.push(() => server.close());
        const connection = await reach(server);
        await connection.readLine();
        connection.send('TOP');
        const body = connection.body();
        const first = await body.next();
        expect(first.value?.toString()).toBe('a\r\n');
        connection.send('NOOP');
        await expect(body.next()).rejects.toMatchObject({ code: 'LOST' });
      }
    },
  );
});
