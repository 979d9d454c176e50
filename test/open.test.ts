import { getEventListeners } from 'node:events';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { PopfetchError } from '../src/errors.js';
import type { Credentials, Pop3Client } from '../src/pop3/client.js';
import { openSession, type SessionSettings } from '../src/pop3/open.js';
import { systemAuthorities } from '../src/wire/trust.js';
import { certificates, fingerprint, type Certificates } from './support/certificates.js';
import { plain } from './support/messages.js';
import { startServer, type ServerOptions, type TestServer } from './support/server.js';

const PASSWORD = 'himitsu-4tana-mo';
const SECRETS = [
  PASSWORD,
  Buffer.from(PASSWORD).toString('base64'),
  Buffer.from(`\0taro\0${PASSWORD}`).toString('base64'),
];
const ENCRYPTED = ['implicit', 'starttls'] as const;
const open: (() => unknown)[] = [];
let set: Certificates;
/** How often the password was asked for. */
let asked: number;

beforeAll(async () => {
  set = await certificates();
});

afterEach(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  for (const close of open.splice(0).reverse()) await close();
});

async function serve(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const server = await startServer({
    accounts: { taro: { password: PASSWORD, messages: [plain(1)] } },
    tls: 'implicit',
    ...options,
  });
  open.push(() => server.close());
  return server;
}

interface Changes extends Partial<Omit<SessionSettings, 'tls' | 'credentials'>> {
  readonly tls?: Partial<SessionSettings['tls']>;
  /** An error: there are none to be had. */
  readonly credentials?: Partial<Credentials> | Error;
}

/** Opens a session with a server, trusting the test authority. */
async function session(
  server: TestServer,
  { tls, credentials, ...changes }: Changes = {},
): Promise<Pop3Client> {
  asked = 0;
  const client = await openSession({
    host: server.host,
    port: server.port,
    tls: { mode: 'implicit', ca: set.authority.certFile, minVersion: 'TLSv1.2', ...tls },
    timeouts: { connect: 20_000, reply: 20_000, idle: 20_000 },
    signal: new AbortController().signal,
    credentials: () => {
      asked += 1;
      if (credentials instanceof Error) return Promise.reject(credentials);
      return Promise.resolve({
        user: 'taro',
        password: PASSWORD,
        method: 'auto',
        insecure: false,
        ...credentials,
      });
    },
    ...changes,
  });
  open.push(() => {
    client.close();
  });
  return client;
}

/** The error that opening comes to, after making sure that no octet of the password went anywhere. */
async function refused(server: TestServer, changes: Changes = {}): Promise<PopfetchError> {
  const error: unknown = await session(server, changes).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  await server.close();
  expect(asked).toBe(0);
  expect(server.sessions.length).toBeGreaterThan(0);
  for (const { overheard, received } of server.sessions) {
    for (const secret of SECRETS) expect(overheard + received.join('\n')).not.toContain(secret);
    expect(received.join('\n')).not.toMatch(/^(USER|PASS|AUTH|APOP)/m);
  }
  return error as PopfetchError;
}

const DISTRUST = {
  expired: ['the certificate of 127.0.0.1 has expired', /renew it/],
  otherHost: ['the certificate is for another name than 127.0.0.1', /set host \(or tls\.servername\)/],
  localhostOnly: ['the certificate is for another name than 127.0.0.1', /set host \(or tls\.servername\)/],
  selfSigned: ['the certificate of 127.0.0.1 is self-signed', /set tls\.ca to the certificate or tls\.pin/],
} as const;

describe.each(ENCRYPTED)('with tls: %s', (mode) => {
  it('a session is secured before a word is said, and logged in', async () => {
    const server = await serve({ tls: mode });
    const client = await session(server, { tls: { mode } });
    expect((await client.list()).messages).toHaveLength(1);
    expect(client.channel.protocol).toMatch(/^TLSv1\.[23]$/);
    expect(client.method).toBe('plain');
    const [log] = server.sessions;
    expect(log!.secure).toBe(true);
    for (const secret of SECRETS) expect(log!.overheard).not.toContain(secret);
  });

  it.each(Object.keys(DISTRUST) as (keyof typeof DISTRUST)[])(
    'a certificate is refused: %s [9] [11]',
    async (which) => {
      const server = await serve({ tls: mode, certificate: set[which] });
      const [message, remedy] = DISTRUST[which];
      const authorities = (): Promise<undefined> => Promise.resolve(undefined);
      expect(await refused(server, { tls: { mode }, authorities })).toMatchObject({
        code: 'TLS',
        phase: 'tls',
        message,
        remedy: expect.stringMatching(remedy) as string,
      });
      expect(server.sessions).toHaveLength(1);
    },
  );

  it('a certificate of an unknown authority is refused, once the system has been asked too [9]', async () => {
    const server = await serve({ tls: mode });
    const lines: string[] = [];
    const tap = (direction: string, text: string): void => {
      lines.push(`${direction} ${text}`);
    };
    const error = await refused(server, { tls: { mode, ca: undefined }, tap });
    expect(error).toMatchObject({
      code: 'TLS',
      phase: 'tls',
      message:
        'no trusted authority vouches for the certificate of 127.0.0.1 (UNABLE_TO_VERIFY_LEAF_SIGNATURE)',
      remedy: expect.stringContaining('set tls.ca to a PEM file with the authority, or tls.pin') as string,
    });
    const again = (await systemAuthorities()) !== undefined;
    expect(server.sessions).toHaveLength(again ? 2 : 1);
    expect(lines.includes("* trying again with the system's authorities")).toBe(again);
  });

  it('NODE_TLS_REJECT_UNAUTHORIZED=0 changes nothing [12]', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    // Node warns of the variable, and rightly so.
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    for (const which of ['expired', 'otherHost', 'selfSigned'] as const) {
      const server = await serve({ tls: mode, certificate: set[which] });
      expect(await refused(server, { tls: { mode } })).toMatchObject({ message: DISTRUST[which][0] });
    }
    const server = await serve({ tls: mode });
    expect(await refused(server, { tls: { mode, ca: undefined } })).toMatchObject({ code: 'TLS' });
  });

  it.each(['expired', 'otherHost', 'selfSigned', 'server'] as const)(
    'a pinned certificate is accepted without any authority: %s [9]',
    async (which) => {
      const server = await serve({ tls: mode, certificate: set[which] });
      const pin = ['0'.repeat(64), fingerprint(set[which].cert)];
      const client = await session(server, { tls: { mode, ca: undefined, pin } });
      expect((await client.list()).messages).toHaveLength(1);
    },
  );

  it('a certificate that is right but not the pinned one is refused, with both fingerprints [9]', async () => {
    const server = await serve({ tls: mode });
    const pin = [fingerprint(set.expired.cert), fingerprint(set.authority.cert)];
    expect(await refused(server, { tls: { mode, pin } })).toMatchObject({
      code: 'TLS',
      phase: 'tls',
      message:
        `the certificate of 127.0.0.1 is not the pinned one: it is sha256:${fingerprint(set.server.cert)}, ` +
        `pinned is sha256:${pin[0]!}, sha256:${pin[1]!}`,
    });
  });

  it('a self-signed certificate is accepted when it is named as an authority', async () => {
    const server = await serve({ tls: mode, certificate: set.selfSigned });
    await session(server, { tls: { mode, ca: set.selfSigned.certFile } });
  });

  it('the name to verify may be another than the host', async () => {
    const server = await serve({ tls: mode, certificate: set.otherHost });
    await session(server, { tls: { mode, servername: 'other.example' } });
    const other = await serve({ tls: mode });
    expect(await refused(other, { tls: { mode, servername: 'pop.example.com' } })).toMatchObject({
      message: 'the certificate is for another name than pop.example.com',
    });
  });

  it.each([
    ['TLSv1.2', { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }],
    ['TLSv1.3', { maxVersion: 'TLSv1.2' }],
  ] as const)('a server that speaks only less than %s is refused [14]', async (minVersion, tlsOptions) => {
    const server = await serve({ tls: mode, tlsOptions });
    expect(await refused(server, { tls: { mode, minVersion } })).toMatchObject({
      code: 'TLS',
      phase: 'tls',
      message: `127.0.0.1 does not speak ${minVersion} or a newer version`,
      remedy: expect.stringMatching(minVersion === 'TLSv1.2' ? /an update$/ : /tls\.minVersion/) as string,
    });
  });

  it('a file of authorities that is not there is a mistake in the config', async () => {
    const server = await serve({ tls: mode });
    await expect(session(server, { tls: { mode, ca: '/no/such/file.pem' } })).rejects.toMatchObject({
      code: 'CONFIG',
      message: '/no/such/file.pem: the file of tls.ca cannot be read',
    });
    expect(server.sessions).toHaveLength(0);
  });
});

describe('STLS', () => {
  const starttls = { tls: { mode: 'starttls' } } as const;

  it('forgets what was said in clear, and asks again [5]', async () => {
    const server = await serve({
      tls: 'starttls',
      apop: '<1@a>',
      capa: ({ secure }) => (secure ? ['USER'] : ['STLS', 'SASL PLAIN', 'UTF8', 'PIPELINING']),
    });
    const client = await session(server, starttls);
    expect(client.method).toBe('user');
    expect([...client.capabilities.tags.keys()]).toEqual(['USER']);
    expect(server.sessions[0]!.verbs).toEqual(['CAPA', 'STLS', 'CAPA', 'USER', 'PASS', 'CAPA']);
    expect(server.sessions[0]!.overheard).toBe('CAPA\r\nSTLS\r\n');
  });

  it('leaves no APOP, whose timestamp came in clear [5]', async () => {
    const server = await serve({ tls: 'starttls', apop: '<1@a>' });
    await expect(session(server, { ...starttls, credentials: { method: 'apop' } })).rejects.toMatchObject({
      code: 'AUTH',
      message: 'the server offers no APOP',
    });
  });

  it('comes before UTF8, and UTF8 before the login', async () => {
    const server = await serve({ tls: 'starttls' });
    await session(server, starttls);
    expect(server.sessions[0]!.verbs).toEqual(['CAPA', 'STLS', 'CAPA', 'UTF8', 'AUTH', 'CAPA']);
  });

  it('is tried with a server that does not know CAPA [4]', async () => {
    const server = await serve({ tls: 'starttls', capa: false });
    const client = await session(server, starttls);
    expect(client.channel.protocol).toMatch(/^TLS/);
    expect(server.sessions[0]!.verbs).toEqual(['CAPA', 'STLS', 'CAPA', 'USER', 'PASS']);
  });

  it('that is not offered ends the session [2] [4]', async () => {
    const server = await serve({ tls: 'none' });
    expect(await refused(server, starttls)).toMatchObject({
      code: 'TLS',
      phase: 'tls',
      message: 'the server offers no STLS',
      remedy: 'use tls: implicit with port 995',
    });
    expect(server.sessions[0]!.received).toEqual(['CAPA', 'STLS']);
  });

  it.each(['-ERR no', '-ERR [SYS/TEMP] later', '+ok', '* OK', ''])(
    'that is answered %j ends the session [3] [4]',
    async (answer) => {
      const server = await serve({ tls: 'starttls', overrides: { STLS: answer } });
      const error = await refused(server, starttls);
      expect(error).toMatchObject({ phase: 'tls' });
      expect(['TLS', 'BUSY', 'PROTOCOL']).toContain(error.code);
      expect(server.sessions[0]!.received).toEqual(['CAPA', 'STLS']);
    },
  );

  it.each(['+OK forged\r\n', '+OK', '\r\n', 'x'])(
    'after which %j comes in clear, at once, is fatal [1]',
    async (injected) => {
      const server = await serve({
        tls: 'starttls',
        overrides: { STLS: Buffer.from(`+OK begin TLS\r\n${injected}`) },
      });
      expect(await refused(server, starttls)).toMatchObject({
        code: 'TLS',
        phase: 'tls',
        message: 'the server sent data in clear after agreeing to TLS',
        remedy: 'somebody may be tampering with the connection; use tls: implicit',
      });
    },
  );

  it.each([1, 65_536])(
    'after which a line comes in clear instead of a handshake is fatal, %i octets at a time [1] [7]',
    async (cut) => {
      const server = await serve({
        tls: 'starttls',
        cut,
        overrides: {
          STLS: async (clear) => {
            await clear.say('+OK begin TLS');
            // The client has begun its handshake by now.
            await clear.readLine();
            return '+OK injected, and long enough for a record';
          },
        },
      });
      expect(await refused(server, starttls)).toMatchObject({ code: 'TLS', phase: 'tls' });
    },
  );

  it('after which nothing comes is waited for no longer than for a connection [8]', async () => {
    const server = await serve({
      tls: 'starttls',
      overrides: {
        STLS: async (clear) => {
          await clear.say('+OK begin TLS');
          return 'stall';
        },
      },
    });
    const timeouts = { connect: 500, reply: 20_000, idle: 20_000 };
    expect(await refused(server, { ...starttls, timeouts })).toMatchObject({ code: 'TIMEOUT', phase: 'tls' });
  });

  it('after which the server hangs up ends the session', async () => {
    const server = await serve({
      tls: 'starttls',
      overrides: {
        STLS: async (clear) => {
          await clear.say('+OK begin TLS');
          return 'close';
        },
      },
    });
    expect(await refused(server, starttls)).toMatchObject({ code: 'TLS', phase: 'tls' });
  });

  it('after which the server is silent in TLS is given up [6]', async () => {
    const server = await serve({
      tls: 'starttls',
      overrides: { CAPA: ({ secure }) => (secure ? 'stall' : undefined) },
    });
    const timeouts = { connect: 20_000, reply: 700, idle: 20_000 };
    expect(await refused(server, { ...starttls, timeouts })).toMatchObject({
      code: 'TIMEOUT',
      phase: 'login',
    });
    // The question that is not answered is the last thing said.
    expect(server.sessions[0]!.received).toEqual(['CAPA', 'STLS', 'CAPA']);
  });
});

describe('a server that does not speak TLS', () => {
  it('on the port for it is said not to', async () => {
    const server = await serve({
      tls: 'none',
      greeting: '+OK a greeting in clear, long enough for a record',
    });
    expect(await refused(server)).toMatchObject({
      code: 'TLS',
      phase: 'tls',
      message: '127.0.0.1 did not answer with TLS',
      remedy: 'this port may want tls: starttls, or another port (995 is TLS from the start)',
    });
  });

  it('is given no password in clear, but on this machine [15]', async () => {
    const server = await serve({ tls: 'none' });
    const client = await session(server, { tls: { mode: 'none' } });
    expect(client.channel.protocol).toBeUndefined();
    expect((await client.list()).messages).toHaveLength(1);
  });
});

describe('opening', () => {
  it('asks what the server can do again after the login, where it knows CAPA at all', async () => {
    const server = await serve({
      capa: ({ state }) => (state === 'transaction' ? ['PIPELINING', 'TOP'] : ['USER']),
    });
    const client = await session(server);
    expect([...client.capabilities.tags.keys()]).toEqual(['PIPELINING', 'TOP']);
  });

  it('asks for the password only once the server has greeted', async () => {
    const server = await serve({ greeting: '-ERR full' });
    expect(await refused(server)).toMatchObject({ code: 'BUSY', phase: 'greeting' });
  });

  it('closes the connection where there is no password to be had', async () => {
    const server = await serve();
    const credentials = new Error('the keyring is locked');
    const { signal } = new AbortController();
    await expect(session(server, { credentials, signal })).rejects.toBe(credentials);
    expect(server.sessions[0]!.verbs).toEqual(['CAPA']);
    // Nobody listens to the signal any more: the connection is gone.
    await expect.poll(() => getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('is interrupted in whatever phase it is', async () => {
    for (const verb of ['CAPA', 'AUTH', 'UTF8']) {
      const controller = new AbortController();
      const reason = new Error('interrupted');
      const server = await serve({
        overrides: {
          [verb]: () => {
            controller.abort(reason);
            return 'stall';
          },
        },
      });
      await expect(session(server, { signal: controller.signal })).rejects.toBe(reason);
    }
  });
});
