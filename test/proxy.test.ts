import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { huge, plain } from './support/messages.js';
import { startProxy } from './support/proxy.js';
import { RawClient } from './support/raw-client.js';
import { startServer } from './support/server.js';

const open: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** A TCP server for one test. */
async function listen(onConnection: (socket: Socket) => void): Promise<{ host: string; port: number }> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  open.push(() => server.close());
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

async function through(target: { host: string; port: number }, delay: number): Promise<RawClient> {
  const proxy = await startProxy(target, delay);
  const client = await RawClient.connect(proxy);
  open.push(
    () => proxy.close(),
    () => {
      client.close();
    },
  );
  return client;
}

test('every answer takes a round trip longer, and connecting one and a half', async () => {
  const server = await startServer({ accounts: { taro: { password: 'x', messages: [plain(1)] } } });
  open.push(() => server.close());
  const start = performance.now();
  const client = await through(server, 25);
  await client.line();
  const greeted = performance.now();
  expect(greeted - start).toBeGreaterThan(73);
  expect(await client.login('taro', 'x')).toMatch(/^\+OK/);
  const loggedIn = performance.now();
  expect(loggedIn - greeted).toBeGreaterThan(98);
  // Sent ahead, ten commands cost one round trip, not ten.
  client.send('NOOP\r\n'.repeat(10));
  for (let n = 0; n < 10; n += 1) await client.line();
  expect(performance.now() - loggedIn).toBeLessThan(250);
});

test('octets keep their order and their number', async () => {
  const size = 30_000_000;
  const server = await startServer({ accounts: { taro: { password: 'x', messages: [huge(size)] } } });
  open.push(() => server.close());
  const client = await through(server, 5);
  await client.line();
  await client.login('taro', 'x');
  client.send('RETR 1\r\nQUIT\r\n');
  const all = await client.rest();
  const answer = `+OK ${size} octets\r\n`;
  const end = '\r\n.\r\n+OK bye\r\n';
  expect(all.length).toBe(answer.length + size + end.length - 2);
  expect(all.subarray(-end.length).toString('latin1')).toBe(end);
});

test('a client that has finished still gets the answer', async () => {
  const target = await listen((socket) => {
    const received: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => received.push(chunk));
    socket.on('end', () => socket.end(Buffer.concat(received)));
  });
  const client = await through(target, 10);
  client.send('say it again');
  client.finish();
  expect((await client.rest()).toString()).toBe('say it again');
  expect(client.ending).toBe('end');
});

test('a reset is passed on', async () => {
  const target = await listen((socket) => {
    socket.once('data', () => socket.resetAndDestroy());
  });
  const client = await through(target, 10);
  client.send('x');
  await client.rest();
  expect(client.ending).toBe('ECONNRESET');
});

test('nobody listening behind it is a reset too', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const client = await through({ host: '127.0.0.1', port }, 1);
  await client.rest();
  expect(client.ending).toBe('ECONNRESET');
});
