/** An account whose server is hostile harms no other account, and mail that crosses a network in clear is told of. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DEFAULTS, type Account } from '../../src/config/account.js';
import type { Event } from '../../src/events.js';
import { fetchAll, type FetchOptions } from '../../src/run.js';
import { connectElsewhere } from '../support/elsewhere.js';
import { Box, mail } from '../support/inprocess.js';
import { PASSWORD } from '../support/secrets.js';
import { startServer, type TestServer } from '../support/server.js';

const open: (() => unknown)[] = [];
let home: string;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'popfetch-neighbours-'));
});

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
  await rm(home, { recursive: true });
});

function account(name: string, { port }: Pick<TestServer, 'port'>, fields: Partial<Account> = {}): Account {
  return {
    ...DEFAULTS,
    ...{ name, port, host: '127.0.0.1', user: name, password: { value: `pw-${name}` } },
    tls: { mode: 'none', minVersion: 'TLSv1.2' },
    deliver: [{ maildir: join(home, name) }],
    timeout: { ...DEFAULTS.timeout, session: name === 'mallory' ? 400 : 60_000 },
    ...fields,
  };
}

function options(changes: Partial<FetchOptions> = {}): FetchOptions {
  return {
    state: join(home, 'state'),
    parallel: 4,
    emit: () => undefined,
    password: ({ name }) => Promise.resolve(`pw-${name}`),
    signal: new AbortController().signal,
    ...changes,
  };
}

async function serve(...names: readonly string[]): Promise<TestServer> {
  const mailboxes = names.map((name) => [name, { password: `pw-${name}`, messages: [mail(1), mail(2)] }]);
  const server = await startServer({
    accounts: Object.fromEntries(mailboxes) as Parameters<typeof startServer>[0]['accounts'],
  });
  open.push(() => server.close());
  return server;
}

/** A server that does this with each connection, whatever the client says. */
async function hostile(serve: (socket: Socket) => void): Promise<Pick<TestServer, 'port'>> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    open.push(() => socket.destroy());
    serve(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  open.push(() => server.close());
  return { port: (server.address() as AddressInfo).port };
}

/** Says a line and then the rest for ever, as fast as the client takes it. */
function flood(line: string, rest: string): (socket: Socket) => void {
  return (socket) => {
    socket.write(line);
    socket.on('data', () => undefined);
    const pour = (): void => {
      while (!socket.destroyed && socket.write(rest.repeat(1000)));
    };
    socket.on('drain', pour);
    pour();
  };
}

describe('a hostile server', () => {
  it.each<[string, (socket: Socket) => void]>([
    ['says nothing', () => undefined],
    ['sends lines without end', flood('+OK ready\r\n', '+OK more\r\n')],
    ['sends one line without end', flood('+OK ', 'x')],
    ['hangs up', (socket) => socket.destroy()],
    ['speaks something else', (socket) => socket.end('SSH-2.0-OpenSSH_9.9\r\n')],
  ])('that %s keeps no other account from its mail, at once or in turn [108]', async (_, manners) => {
    const bad = await hostile(manners);
    const good = await serve('taro', 'hanako');
    for (const parallel of [1, 3]) {
      const place = join(home, String(parallel));
      const one = (name: string, server: Pick<TestServer, 'port'>): Account =>
        account(name, server, { deliver: [{ maildir: join(place, name) }] });
      const outcomes = await fetchAll(
        [one('mallory', bad), one('taro', good), one('hanako', good)],
        options({ parallel, state: join(place, 'state') }),
      );
      expect(outcomes.map(({ account: name, delivered }) => [name, delivered])).toEqual([
        ['mallory', 0],
        ['taro', 2],
        ['hanako', 2],
      ]);
      const [first, ...others] = outcomes;
      expect(first?.errors).toHaveLength(1);
      expect(['TIMEOUT', 'LOST', 'PROTOCOL']).toContain(first?.errors[0]?.code);
      // It has had no more than its own time.
      expect(first?.elapsed).toBeLessThan(10_000);
      for (const { errors } of others) expect(errors).toEqual([]);
    }
  });

  it('gets the password of no other account, and each account a connection of its own [18]', async () => {
    const server = await serve('taro', 'hanako');
    await fetchAll([account('taro', server), account('hanako', server)], options({ parallel: 1 }));
    expect(server.sessions).toHaveLength(2);
    const heard = server.sessions.map(({ overheard }) => overheard);
    const login = (name: string): string => Buffer.from(`\0${name}\0pw-${name}`).toString('base64');
    expect(heard[0]).toContain(login('taro'));
    expect(heard[0]).not.toContain(login('hanako'));
    expect(heard[1]).toContain(login('hanako'));
    expect(heard[1]).not.toContain(login('taro'));
  });
});

describe('mail that crosses a network in clear', () => {
  const BOTH =
    'the password and all mail cross the network in clear; use tls: implicit or tls: starttls where the server has it';
  let box: Box;

  beforeEach(async () => {
    box = await Box.create();
    open.push(() => box.remove());
  });

  const warnings = (events: readonly Event[]): string[] =>
    events.flatMap((event) => (event.type === 'warning' ? [event.message] : []));

  it('is warned of in every run, and once in each [15]', async () => {
    // A lost session makes the run open another one to remove what it has fetched.
    const server = await box.serve([{ data: mail(1) }, { data: mail(2) }]);
    for (let run = 0; run < 3; run += 1) {
      server.overrides['DELE'] = 'close';
      const { events } = await box.run(
        server,
        { insecure: true, delete: 'delivered' },
        { connect: connectElsewhere },
      );
      expect(warnings(events)).toEqual([BOTH]);
    }
    const { events } = await box.run(server, { insecure: true }, { connect: connectElsewhere, dryRun: true });
    expect(warnings(events)).toEqual([BOTH]);
  });

  it('is warned of where the login fails, too [15]', async () => {
    const server = await box.serve([], { overrides: { AUTH: '-ERR no' } });
    const { events } = await box.run(server, { insecure: true }, { connect: connectElsewhere });
    expect(warnings(events)).toEqual([BOTH]);
  });

  it('with APOP is mail only [15]', async () => {
    const server = await box.serve([], { apop: '<1@a>' });
    const { events } = await box.run(server, { insecure: true, auth: 'apop' }, { connect: connectElsewhere });
    expect(warnings(events)).toEqual([BOTH.replace('the password and all mail cross', 'all mail crosses')]);
  });

  it.each([
    ['scram-sha-256', undefined, 'all mail crosses'],
    ['cram-md5', undefined, 'all mail crosses'],
    ['auto', undefined, 'the password and all mail cross'],
    ['xoauth2', { command: ['true'] }, 'the access token and all mail cross'],
  ] as const)('with auth: %s says what that sends [15]', async (auth, oauth2, what) => {
    const fields = { insecure: true, auth, ...(oauth2 === undefined ? {} : { password: undefined, oauth2 }) };
    const options = { connect: connectElsewhere, token: () => Promise.resolve(PASSWORD) };
    const { events } = await box.run(await box.serve([]), fields, options);
    expect(warnings(events)).toEqual([BOTH.replace('the password and all mail cross', what)]);
  });

  it('is not, within this machine or in TLS, and there is no warning [15]', async () => {
    const clear = await box.serve([]);
    expect(warnings((await box.run(clear, { insecure: true })).events)).toEqual([]);
    const secured = await box.serve([], { tls: 'implicit' });
    const tls = { mode: 'implicit', minVersion: 'TLSv1.2', ca: secured.ca } as const;
    const ran = await box.run(secured, { insecure: true, tls }, { connect: connectElsewhere });
    expect(ran.outcome.errors).toEqual([]);
    expect(warnings(ran.events)).toEqual([]);
  });

  it('does not happen without permission [15]', async () => {
    const server = await box.serve([{ data: mail(1) }]);
    const { outcome } = await box.run(server, {}, { connect: connectElsewhere });
    expect(outcome.errors).toMatchObject([
      { code: 'AUTH', message: 'the password was not sent, since it would cross the network in clear' },
    ]);
    expect(server.sessions[0]?.verbs).toEqual(['CAPA']);
  });

  it('is not the way of an account that says nothing of it: TLS from the start, port 995 [15]', () => {
    expect(DEFAULTS.tls).toEqual({ mode: 'implicit', minVersion: 'TLSv1.2' });
    expect(DEFAULTS.insecure).toBe(false);
  });
});
