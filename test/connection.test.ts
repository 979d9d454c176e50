import { getEventListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { PopfetchError } from '../src/errors.js';
import { connect, type Endpoint } from '../src/wire/connect.js';
import { isLoopback, type Connection } from '../src/wire/connection.js';
import { COMMAND, READ_AHEAD, STATUS_LINE } from '../src/wire/limits.js';
import type { TlsSettings } from '../src/wire/trust.js';
import { certificates, fingerprint } from './support/certificates.js';
import { huge } from './support/messages.js';
import { startServer, type ServerOptions, type TestServer } from './support/server.js';

const LONG = { connect: 20_000, reply: 20_000, idle: 20_000 };
const open: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function serve(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const server = await startServer({ accounts: { taro: { password: 'himitsu' } }, ...options });
  open.push(() => server.close());
  return server;
}

async function reach({ host, port }: TestServer, changes: Partial<Endpoint> = {}): Promise<Connection> {
  const { signal } = new AbortController();
  const connection = await connect({ host, port, tls: undefined, timeouts: LONG, signal, ...changes });
  open.push(() => {
    connection.close();
  });
  return connection;
}

/** A connection to a server that sends just this, and waits. */
async function hearing(greeting: string, changes: Partial<Endpoint> = {}): Promise<Connection> {
  return reach(await serve({ greeting: Buffer.from(greeting, 'latin1') }), changes);
}

async function trusting(): Promise<TlsSettings> {
  const { authority } = await certificates();
  return { servername: '127.0.0.1', ca: [authority.cert], pin: undefined, minVersion: 'TLSv1.2' };
}

async function read(pieces: AsyncIterable<Buffer>): Promise<string> {
  const all: Buffer[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all).toString('latin1');
}

const rejection = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('connecting', () => {
  it('is refused by a port where nobody listens', async () => {
    const server = await startServer({ accounts: {} });
    await server.close();
    await expect(reach(server)).rejects.toMatchObject({
      code: 'CONNECT',
      phase: 'connect',
      message: `127.0.0.1 refuses connections on port ${server.port}`,
    });
  });

  it('says that a socket of this machine is one', async () => {
    expect((await hearing('')).loopback).toBe(true);
  });

  it.each([
    ['127.0.0.1', true],
    ['127.9.8.7', true],
    ['::1', true],
    ['::ffff:127.0.0.1', true],
    ['10.0.0.1', false],
    ['::ffff:10.0.0.1', false],
    ['128.127.0.1', false],
    ['::127.0.0.1', false],
    ['fe80::1', false],
    [undefined, false],
  ])('%s is of this machine: %s', (address, expected) => {
    expect(isLoopback(address)).toBe(expected);
  });

  it('waits for a TLS handshake no longer than told [8]', async () => {
    const server = await serve({ greeting: 'stall' });
    const timeouts = { ...LONG, connect: 300 };
    await expect(reach(server, { tls: await trusting(), timeouts })).rejects.toMatchObject({
      code: 'TIMEOUT',
      phase: 'tls',
      message: 'no TLS handshake with 127.0.0.1 in time',
    });
  });
});

describe('reading a line', () => {
  it('takes CRLF or LF for its end, and octets as latin1 [21]', async () => {
    const connection = await hearing('+OK \xe3\x83\0\r\nlone\nodd\r\r\n\r\n');
    for (const line of ['+OK \xe3\x83\0', 'lone', 'odd\r', ''])
      expect(await connection.readLine()).toBe(line);
    expect(connection.pending).toBe(0);
  });

  it.each([1, 3, 65_536])('is the same when octets come %i at a time', async (cut) => {
    const server = await serve({ greeting: '+OK one\r\ntwo\r\n\r\nthree', cut });
    const connection = await reach(server);
    const lines = [];
    for (let n = 0; n < 4; n += 1) lines.push(await connection.readLine());
    expect(lines).toEqual(['+OK one', 'two', '', 'three']);
  });

  it('refuses one that is too long, whether its end comes or not [45]', async () => {
    const fits = `${'x'.repeat(STATUS_LINE - 2)}\r\n`;
    expect(await (await hearing(fits)).readLine()).toHaveLength(STATUS_LINE - 2);
    for (const line of [`x${fits}`, 'x'.repeat(STATUS_LINE + 1), 'x'.repeat(1_000_000)]) {
      await expect((await hearing(line)).readLine()).rejects.toMatchObject({
        code: 'PROTOCOL',
        message: 'the server sent a line of more than 4096 octets',
      });
    }
    await expect((await hearing('+OK ready\r\n')).readLine(10)).rejects.toMatchObject({ code: 'PROTOCOL' });
    expect(await (await hearing('+OK ready\r\n')).readLine(11)).toBe('+OK ready');
  });

  it('gives up when the server is silent', async () => {
    const connection = await hearing('+OK\r\n', {
      timeouts: { ...LONG, greeting: LONG.reply, reply: 30, quit: 20 },
    });
    await connection.readLine(undefined, 'greeting');
    await expect(connection.readLine()).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: 'the server did not send an answer within 0.03 s',
    });
    await expect(connection.readLine(undefined, 'quit')).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: 'the server did not send an answer within 0.02 s',
    });
  });

  it('gives up on a server that sends an octet now and then', async () => {
    const server = await serve({
      overrides: {
        NOOP: async (session) => {
          for (;;) {
            await session.write('x');
            await sleep(5);
          }
        },
      },
    });
    const connection = await reach(server, {
      timeouts: { ...LONG, greeting: LONG.reply, reply: 100 },
    });
    await connection.readLine(undefined, 'greeting');
    connection.send('NOOP');
    await expect(connection.readLine()).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  it.each(['close', 'drop', 'reset'] as const)(
    'after the server ended with %s reads what had come',
    async (end) => {
      const server = await serve({ overrides: { STAT: end } });
      const connection = await reach(server);
      connection.send('NOOP');
      connection.send('STAT');
      const lines: string[] = [];
      const reading = async (): Promise<never> => {
        for (;;) lines.push(await connection.readLine());
      };
      await expect(reading()).rejects.toMatchObject({ code: 'LOST' });
      // A reset may take away what had come and was not read.
      const all = ['+OK popfetch test server ready', '-ERR not now'];
      expect(lines).toEqual(end === 'reset' ? all.slice(0, lines.length) : all);
      expect(() => {
        connection.send('NOOP');
      }).toThrow(expect.objectContaining({ code: 'LOST' }));
    },
  );
});

describe('reading a body', () => {
  it('gives the octets without dot-stuffing and leaves what follows', async () => {
    const connection = await hearing('..a\r\n.\r\n+OK next\r\nb\r\n.\r\n.\r\n+OK last\r\n');
    expect(await read(connection.body())).toBe('.a\r\n');
    expect(await connection.readLine()).toBe('+OK next');
    expect(await read(connection.body())).toBe('b\r\n');
    expect(await read(connection.body())).toBe('');
    expect(await connection.readLine()).toBe('+OK last');
    expect(connection.pending).toBe(0);
  });

  it('that is left early can be gone on with, and what follows is not lost', async () => {
    const connection = await hearing('a\r\n..b\r\n.\r\n+OK next\r\n');
    const body = connection.body();
    const first = await body.next();
    expect(first.value?.toString()).toBe('a\r\n');
    const rest = [];
    for (let piece = await body.next(); piece.done !== true; piece = await body.next())
      rest.push(piece.value);
    expect(Buffer.concat(rest).toString()).toBe('.b\r\n');
    expect(await connection.readLine()).toBe('+OK next');
  });

  it('gives up when the server stops in the middle', async () => {
    const connection = await hearing('half', { timeouts: { ...LONG, idle: 30 } });
    await expect(read(connection.body())).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: 'the server did not send the rest of a message or listing within 0.03 s',
    });
  });

  it.each(['a\r\n.', 'a\r\n.\r', 'a\r\n', 'a\n.\n', ''])(
    'is never whole after %j and the end [41]',
    async (text) => {
      const server = await serve({ greeting: '+OK', overrides: { TOP: Buffer.from(text) } });
      const connection = await reach(server);
      await connection.readLine();
      server.overrides['NOOP'] = 'close';
      connection.send(['TOP', 'NOOP']);
      await expect(read(connection.body())).rejects.toMatchObject({
        code: 'LOST',
        message: 'the server closed the connection',
      });
    },
  );

  it('makes a fast server wait for a slow reader [45]', async () => {
    const octets = 20_000_000;
    const server = await serve({ accounts: { taro: { password: 'himitsu', messages: [huge(octets)] } } });
    const connection = await reach(server);
    await connection.readLine();
    connection.send(['USER taro', 'PASS himitsu', 'RETR 1']);
    for (let n = 0; n < 3; n += 1) await connection.readLine();
    const body = connection.body();
    let length = (await body.next()).value?.length ?? 0;
    await expect.poll(() => connection.pending).toBeGreaterThan(READ_AHEAD);
    let most = 0;
    for (let piece = await body.next(); piece.done !== true; piece = await body.next()) {
      length += piece.value.length;
      most = Math.max(most, connection.pending);
    }
    expect(length).toBe(octets);
    expect(most).toBeLessThan(READ_AHEAD + 128 * 1024);
  });
});

describe('sending', () => {
  async function said(what: (connection: Connection) => void): Promise<string> {
    const server = await serve();
    const connection = await reach(server);
    await connection.readLine();
    what(connection);
    connection.send('NOOP');
    await connection.readLine();
    return server.sessions[0]!.overheard;
  }

  it('ends each line with CRLF', async () => {
    expect(
      await said((connection) => {
        connection.send(['STAT', 'LIST']);
        connection.send('UIDL ほげ');
      }),
    ).toBe(`STAT\r\nLIST\r\nUIDL ${Buffer.from('ほげ').toString('latin1')}\r\nNOOP\r\n`);
  });

  it.each(['a\rb', 'a\nb', 'a\0b', 'a\r\nDELE 1', '\n'])(
    'refuses %j, and sends nothing of it',
    async (line) => {
      expect(
        await said((connection) => {
          for (const lines of [line, [line], ['STAT', line], [line, 'STAT']]) {
            expect(() => {
              connection.send(lines);
            }).toThrow(
              expect.objectContaining({
                code: 'PROTOCOL',
                message: 'a command with a line break or NUL in it was not sent',
              }),
            );
          }
        }),
      ).toBe('NOOP\r\n');
    },
  );

  it('refuses what is longer than a command may be, in octets, and says nothing of what was in it', async () => {
    const fits = 'x'.repeat(COMMAND - 2);
    expect(
      await said((connection) => {
        connection.send(fits);
        for (const line of [`${fits}x`, 'ほ'.repeat(85)]) {
          const error = expect.objectContaining({
            code: 'PROTOCOL',
            message: 'a command longer than 255 octets was not sent',
          }) as Error;
          expect(() => {
            connection.send(line);
          }).toThrow(error);
        }
        connection.send('y'.repeat(300), { limit: 302 });
      }),
    ).toBe(`${fits}\r\n${'y'.repeat(300)}\r\nNOOP\r\n`);
  });

  it('shows in a trace what the sender allows, and never a hidden secret', async () => {
    const lines: string[] = [];
    const server = await serve({ overrides: { PASS: '+OK himitsu is right', NOOP: 'close' } });
    const connection = await reach(server, { tap: (direction, text) => lines.push(`${direction} ${text}`) });
    await connection.readLine();
    connection.hide(['himitsu']);
    connection.send('USER himitsu-taro');
    await connection.readLine();
    connection.send('PASS secret', { shown: 'PASS ********' });
    expect(await connection.readLine()).toBe('+OK himitsu is right');
    expect(connection.masked('a himitsu b himitsu')).toBe('a ******** b ********');
    connection.send('NOOP');
    await rejection(connection.readLine());
    expect(lines).toEqual([
      `* connected to 127.0.0.1 port ${server.port} (127.0.0.1)`,
      'S +OK popfetch test server ready',
      'C USER ********-taro',
      `S +OK password required for ********-taro`,
      'C PASS ********',
      'S +OK ******** is right',
      'C NOOP',
      '* the server closed the connection',
    ]);
  });
});

describe('interrupting', () => {
  const reason = new PopfetchError('ABORTED', 'interrupted by SIGINT');

  it('before the connection is there', async () => {
    const server = await serve();
    const controller = new AbortController();
    controller.abort(reason);
    await expect(reach(server, { signal: controller.signal })).rejects.toBe(reason);
    const other = new AbortController();
    const connecting = reach(server, { signal: other.signal });
    other.abort(reason);
    await expect(connecting).rejects.toBe(reason);
  });

  it('in the middle of a TLS handshake', async () => {
    const controller = new AbortController();
    const server = await serve({ greeting: 'stall' });
    const connecting = rejection(reach(server, { signal: controller.signal, tls: await trusting() }));
    await expect.poll(() => server.sessions[0]?.overheard.length).toBeGreaterThan(0);
    controller.abort(reason);
    expect(await connecting).toBe(reason);
  });

  it('while a line or a body is waited for', async () => {
    for (const wait of [(c: Connection) => c.readLine(), (c: Connection) => read(c.body())]) {
      const controller = new AbortController();
      const connection = await hearing('+OK\r\n', { signal: controller.signal });
      expect(await connection.readLine()).toBe('+OK');
      const waiting = wait(connection);
      controller.abort(reason);
      await expect(waiting).rejects.toBe(reason);
    }
  });

  it('leaves nothing behind on the signal, whatever became of the connection', async () => {
    const { signal } = new AbortController();
    const server = await serve();
    const connection = await reach(server, { signal });
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    connection.close();
    await expect.poll(() => getEventListeners(signal, 'abort')).toHaveLength(0);
    const gone = await startServer({ accounts: {} });
    await gone.close();
    await rejection(reach(gone, { signal }));
    await expect.poll(() => getEventListeners(signal, 'abort')).toHaveLength(0);
  });
});

describe('closing', () => {
  it('ends a read under way with its reason, may be done twice, and leaves only failures', async () => {
    const connection = await hearing('');
    const reading = connection.readLine();
    const reason = new PopfetchError('PROTOCOL', 'enough');
    connection.close(reason);
    connection.close();
    await expect(reading).rejects.toBe(reason);
    await expect(connection.readLine()).rejects.toBe(reason);
    expect(() => {
      connection.send('NOOP');
    }).toThrow(reason);
  });

  it('says LOST without a reason', async () => {
    const connection = await hearing('');
    connection.close();
    await expect(connection.readLine()).rejects.toMatchObject({
      code: 'LOST',
      message: 'the connection was closed',
    });
  });
});

describe('TLS', () => {
  it('tells what secures the channel, leaf first', async () => {
    const { server: certificate } = await certificates();
    const server = await serve({ tls: 'implicit' });
    const connection = await reach(server, { tls: await trusting() });
    expect(await connection.readLine()).toBe('+OK popfetch test server ready');
    expect(connection.channel.protocol).toMatch(/^TLSv1\.[23]$/);
    expect(connection.channel.chain[0]).toEqual({
      subject: 'localhost',
      issuer: 'popfetch test authority',
      validTo: expect.any(Number) as number,
      sha256: fingerprint(certificate.cert),
    });
    expect(connection.channel.chain[0]!.validTo).toBeGreaterThan(Date.now());
  });

  it('begins in the middle of a clear conversation, and what is said from then on is not overheard', async () => {
    const server = await serve({ tls: 'starttls' });
    const connection = await reach(server);
    expect(connection.channel).toEqual({ protocol: undefined, chain: [] });
    await connection.readLine();
    connection.send('STLS');
    expect(await connection.readLine()).toBe('+OK begin TLS');
    await connection.startTls(await trusting());
    connection.send('USER taro');
    expect(await connection.readLine()).toBe('+OK password required for taro');
    expect(server.sessions[0]!.overheard).toBe('STLS\r\n');
    expect(connection.channel.protocol).toMatch(/^TLSv1\.[23]$/);
  });

  it('is refused when anything was sent in clear ahead of it [1]', async () => {
    const connection = await hearing('+OK begin TLS\r\n+OK injected\r\n');
    await connection.readLine();
    await expect(connection.startTls(await trusting())).rejects.toMatchObject({
      code: 'TLS',
      phase: 'tls',
      message: 'the server sent data in clear after agreeing to TLS',
    });
  });
});
