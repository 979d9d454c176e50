import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DEFAULTS, type Account } from '../src/config/account.js';
import type { Event } from '../src/events.js';
import { fetchAll } from '../src/run.js';
import { startServer, type ServerOptions, type TestServer } from './support/server.js';
import { maildirMessages } from './support/stored.js';

const signal = new AbortController().signal;
let home: string;
const servers: TestServer[] = [];

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'popfetch-identify-'));
});
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
  await rm(home, { recursive: true });
});

/** A message that says what it is. The numbers are padded so that all have one size. */
function mail(n: number): Buffer {
  const number = String(n).padStart(3, '0');
  return Buffer.from(`Message-ID: <${number}@example>\r\nSubject: ${number}\r\n\r\nbody ${number}\r\n`);
}

interface Has {
  readonly uid: string;
  readonly data: Buffer;
}

async function serve(messages: readonly Has[], options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const server = await startServer({ accounts: { taro: { password: 'pw', messages } }, ...options });
  servers.push(server);
  return server;
}

/** Every run of one test has the same memory and Maildir, whatever the server. */
async function fetch(server: TestServer, fields: Partial<Account> = {}): Promise<readonly Event[]> {
  const account: Account = {
    ...DEFAULTS,
    name: 'work',
    host: '127.0.0.1',
    port: 110,
    user: 'taro',
    password: { value: 'pw' },
    tls: { mode: 'none', minVersion: 'TLSv1.2' },
    deliver: [{ maildir: join(home, 'Mail') }],
    ...fields,
  };
  const events: Event[] = [];
  const outcomes = await fetchAll([proxied(account, server)], {
    state: join(home, 'state'),
    parallel: 1,
    emit: (event) => events.push(event),
    password: () => Promise.resolve('pw'),
    signal,
  });
  expect(outcomes.flatMap(({ errors }) => errors)).toEqual([]);
  return events;
}

/** The memory belongs to host, port and user, so a test that changes servers needs one port for all: it keeps to one server. */
function proxied(account: Account, server: TestServer): Account {
  return { ...account, port: server.port };
}

async function subjects(): Promise<string[]> {
  const messages = await maildirMessages(join(home, 'Mail'));
  return messages.map(({ data }) => /^Subject: (\d+)$/m.exec(data.toString())?.[1] ?? '?').sort();
}

function verbs(server: TestServer): string[] {
  return server.sessions.at(-1)!.verbs.filter((verb) => ['TOP', 'RETR', 'DELE'].includes(verb));
}

/** Puts other messages in the place of those that the server has. */
function replace(server: TestServer, messages: readonly Has[]): void {
  const mailbox = server.mailbox('taro');
  mailbox.remove(mailbox.messages);
  for (const message of messages) mailbox.add(message);
}

describe('two messages with one unique-id', () => {
  it('are both delivered, once, and asked about only by their headers afterwards', async () => {
    const server = await serve([
      { uid: 'same', data: mail(1) },
      { uid: 'same', data: mail(2) },
      { uid: 'other', data: mail(3) },
    ]);
    await fetch(server);
    expect(await subjects()).toEqual(['001', '002', '003']);
    await fetch(server);
    expect(verbs(server)).toEqual(['TOP', 'TOP']);
    expect(await subjects()).toEqual(['001', '002', '003']);
  });

  it('count as two even when they are equal', async () => {
    const server = await serve([
      { uid: 'same', data: mail(1) },
      { uid: 'same', data: mail(1) },
    ]);
    await fetch(server);
    expect(await subjects()).toEqual(['001', '001']);
  });

  it('are told apart when the second comes later, and nothing is removed unfetched', async () => {
    const server = await serve([{ uid: 'same', data: mail(1) }]);
    await fetch(server);
    server.mailbox('taro').add({ uid: 'same', data: mail(2) });
    await fetch(server, { delete: 'delivered' });
    expect(await subjects()).toEqual(['001', '002']);
    expect(server.mailbox('taro').messages).toHaveLength(0);
  });

  it('are both delivered by a server that has no TOP', async () => {
    const server = await serve(
      [
        { uid: 'same', data: mail(1) },
        { uid: 'same', data: mail(2) },
      ],
      { overrides: { TOP: '-ERR no such command\r\n' } },
    );
    await fetch(server);
    await fetch(server);
    expect(await subjects()).toEqual(['001', '002']);
  });
});

describe('a unique-id that is given to another message', () => {
  it('of another size is new mail', async () => {
    const server = await serve([{ uid: 'u', data: mail(1) }]);
    await fetch(server);
    replace(server, [{ uid: 'u', data: Buffer.concat([mail(2), Buffer.from('more\r\n')]) }]);
    await fetch(server, { delete: 'delivered' });
    expect(await subjects()).toEqual(['001', '002']);
    expect(server.mailbox('taro').messages).toHaveLength(0);
  });

  it('after a listing without it is new mail, whatever its size', async () => {
    const server = await serve([{ uid: 'u', data: mail(1) }]);
    await fetch(server);
    replace(server, []);
    await fetch(server);
    replace(server, [{ uid: 'u', data: mail(2) }]);
    await fetch(server);
    expect(await subjects()).toEqual(['001', '002']);
  });

  it('is the old message when the header is, so that a listing that was empty for once doubles nothing', async () => {
    const server = await serve([{ uid: 'u', data: mail(1) }]);
    await fetch(server);
    replace(server, []);
    await fetch(server);
    replace(server, [{ uid: 'u', data: mail(1) }]);
    await fetch(server);
    expect(verbs(server)).toEqual(['TOP']);
    expect(await subjects()).toEqual(['001']);
  });

  it('is neither fetched again nor removed where the server has no TOP, and a person is told', async () => {
    const server = await serve([{ uid: 'u', data: mail(1) }], { overrides: { TOP: '-ERR no\r\n' } });
    await fetch(server);
    replace(server, [{ uid: 'u', data: Buffer.concat([mail(2), Buffer.from('more\r\n')]) }]);
    const events = await fetch(server, { delete: 'delivered' });
    expect(events.filter(({ type }) => type === 'warning')).toMatchObject([
      { message: '1 messages have an unclear unique-id, the server refuses TOP, and they are left alone' },
    ]);
    expect(server.mailbox('taro').messages).toHaveLength(1);
  });
});

describe('a mailbox whose unique-ids have all changed', () => {
  const numbers = Array.from({ length: 30 }, (_, index) => index + 1);

  it('is recognised by its headers: nothing is fetched twice, the new mail is, and the next run asks for no header', async () => {
    const server = await serve(numbers.map((n) => ({ uid: `old${n}`, data: mail(n) })));
    await fetch(server);
    replace(
      server,
      [...numbers, 31].map((n) => ({ uid: `new${n}`, data: mail(n) })),
    );
    await fetch(server);
    expect(verbs(server).filter((verb) => verb === 'RETR')).toHaveLength(1);
    expect(await subjects()).toEqual([...numbers, 31].map((n) => String(n).padStart(3, '0')));
    await fetch(server);
    expect(verbs(server)).toEqual([]);
  });

  it('is new mail where the headers are new too', async () => {
    const server = await serve(numbers.map((n) => ({ uid: `old${n}`, data: mail(n) })));
    await fetch(server);
    replace(server, [{ uid: 'new', data: mail(99) }]);
    await fetch(server);
    expect((await subjects()).at(-1)).toBe('099');
  });
});
