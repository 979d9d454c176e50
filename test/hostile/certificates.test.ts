/** Which certificates are good enough, and which never are. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { connect } from '../../src/wire/connect.js';
import type { Connection } from '../../src/wire/connection.js';
import { openSession, type SessionSettings } from '../../src/pop3/open.js';
import type { TlsSettings } from '../../src/wire/trust.js';
import { certificates, fingerprint, issue, type Certificates, type Wish } from '../support/certificates.js';
import { startServer, type TestServer } from '../support/server.js';

const open: (() => unknown)[] = [];
let set: Certificates;
let directory: string;

beforeAll(async () => {
  set = await certificates();
  directory = await mkdtemp(join(tmpdir(), 'popfetch-tricks-'));
});

afterAll(() => rm(directory, { recursive: true }));

afterEach(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  for (const close of open.splice(0).reverse()) await close();
});

async function serve(certificate: Pick<Certificates['server'], 'cert' | 'key'>): Promise<TestServer> {
  const accounts = { taro: { password: 'himitsu' } };
  const server = await startServer({ accounts, tls: 'implicit', certificate });
  open.push(() => server.close());
  return server;
}

async function secure({ host, port }: TestServer, changes: Partial<TlsSettings> = {}): Promise<Connection> {
  const tls: TlsSettings = {
    ...{ servername: host, ca: [set.authority.cert], pin: undefined, minVersion: 'TLSv1.2' },
    ...changes,
  };
  const timeouts = { connect: 20_000, reply: 20_000, idle: 20_000 };
  const connection = await connect({ host, port, tls, timeouts, signal: new AbortController().signal });
  open.push(() => {
    connection.close();
  });
  return connection;
}

describe('a name in a certificate', () => {
  const HOST = 'pop.example.com';
  const ANOTHER = { code: 'TLS', message: `the certificate is for another name than ${HOST}` };
  let made = 0;
  async function presented(wish: Partial<Wish>): Promise<TestServer> {
    made += 1;
    const { authority: issuer } = set;
    return serve(await issue(`trick${made}`, { commonName: 'other.example', issuer, ...wish }, directory));
  }

  it.each([
    ['the name itself', [HOST]],
    ['the name in other letters', ['POP.Example.COM']],
    ['the name behind others', ['a.example', 'b.example', HOST]],
    ['a wildcard for its last label', ['*.example.com']],
  ])('vouches for a host: %s [10]', async (_, dns) => {
    const server = await presented({ dns });
    await expect(secure(server, { servername: HOST })).resolves.toBeDefined();
  });

  it.each([
    ['a NUL behind the name', [`${HOST}\0.evil.example`]],
    ['a NUL in front of the domain', [`evil\0${HOST}`]],
    ['a comma that would begin another name', [`evil.example, DNS:${HOST}`]],
    ['a quoted comma', [`"evil.example", DNS:"${HOST}"`]],
    ['a line break that would begin another name', [`evil.example\nDNS:${HOST}`]],
    ['a wildcard for everything', ['*']],
    ['a wildcard for the top', ['*.com']],
    ['a wildcard for two labels', ['*.com.', '*.*.com']],
    ['a wildcard in the middle', ['pop.*.com']],
    ['a wildcard one label too high', ['*.pop.example.com']],
    ['a longer name', [`x${HOST}`]],
    ['a name that goes on', [`${HOST}.evil.example`]],
    ['a space behind the name', [`${HOST} `]],
    ['the domain alone', ['example.com']],
    ['an empty name', ['']],
  ])('does not vouch for it: %s [10]', async (_, dns) => {
    const server = await presented({ dns });
    await expect(secure(server, { servername: HOST })).rejects.toMatchObject(ANOTHER);
  });

  it('in the subject does not count beside names of its own [10]', async () => {
    const server = await presented({ commonName: HOST, dns: ['other.example'] });
    await expect(secure(server, { servername: HOST })).rejects.toMatchObject(ANOTHER);
  });

  it.each([
    ['as a DNS name', { dns: ['127.0.0.1'] }],
    ['as a wildcard', { dns: ['*.0.0.1'] }],
    ['in the subject only', { commonName: '127.0.0.1', dns: [] }],
    ['behind a comma', { dns: ['evil.example, IP Address:127.0.0.1'] }],
  ])('is not the address of a host: %s [9] [10]', async (_, wish) => {
    const server = await presented(wish);
    await expect(secure(server)).rejects.toMatchObject({
      code: 'TLS',
      message: 'the certificate is for another name than 127.0.0.1',
    });
  });
});

describe('checking', () => {
  it('is not switched off by the environment, by a pin that is no pin, or by a setting of Node [12]', async () => {
    vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    for (const certificate of [set.expired, set.otherHost, set.selfSigned]) {
      const server = await serve(certificate);
      for (const value of [undefined, null, 0, false, '']) {
        const loose = { pin: value, rejectUnauthorized: value, checkServerIdentity: () => undefined };
        await expect(secure(server, loose as unknown as TlsSettings)).rejects.toMatchObject({ code: 'TLS' });
      }
      await expect(secure(server, { pin: [] })).rejects.toMatchObject({ code: 'TLS' });
    }
  });

  it('of a certificate that is valid only from tomorrow on says so [9]', async () => {
    const wish = { commonName: 'x', ip: ['127.0.0.1'], issuer: set.authority, from: 1 };
    const server = await serve(await issue('tomorrow', wish, directory));
    await expect(secure(server)).rejects.toMatchObject({
      code: 'TLS',
      message: 'the certificate of 127.0.0.1 is not valid yet',
      remedy: "check this machine's clock",
    });
  });

  it('takes each failure for another one, with a remedy of its own [9]', async () => {
    const ways: [Pick<Certificates['server'], 'cert' | 'key'>, Partial<TlsSettings>][] = [
      [set.expired, {}],
      [set.selfSigned, {}],
      [set.server, { ca: undefined }],
      [set.otherHost, {}],
      [set.server, { pin: ['0'.repeat(64)] }],
    ];
    const told = new Map<string, string | undefined>();
    for (const [certificate, changes] of ways) {
      const error = await secure(await serve(certificate), changes).then(
        () => undefined,
        (reason: unknown) => reason as { message: string; remedy?: string },
      );
      told.set(error?.message ?? '', error?.remedy);
    }
    expect(told.size).toBe(ways.length);
    expect(new Set(told.values()).size).toBe(ways.length);
    expect([...told.values()]).not.toContain(undefined);
  });

  it('is overruled by the pin of one certificate, for that account and no other [9]', async () => {
    const server = await serve(set.expired);
    await secure(server, { pin: [fingerprint(set.expired.cert)] });
    await expect(secure(server)).rejects.toMatchObject({ code: 'TLS' });
  });
});

describe("the system's own authorities", () => {
  async function session(server: TestServer, authorities: string | undefined): Promise<string[]> {
    const said: string[] = [];
    const settings: SessionSettings = {
      ...{ host: server.host, port: server.port },
      tls: { mode: 'implicit', minVersion: 'TLSv1.2' },
      timeouts: { connect: 20_000, reply: 20_000, idle: 20_000 },
      signal: new AbortController().signal,
      credentials: () =>
        Promise.resolve({ user: 'taro', password: 'himitsu', method: 'auto', insecure: false }),
      authorities: () => Promise.resolve(authorities),
      tap: (direction, text) => said.push(`${direction} ${text}`),
    };
    const client = await openSession(settings);
    client.close();
    return said;
  }

  it.each([
    ['an authority', 'server', 'authority'],
    ['the self-signed certificate itself', 'selfSigned', 'selfSigned'],
  ] as const)('are trusted where one of them is %s [9]', async (_, shown, trusted) => {
    const server = await serve(set[shown]);
    expect(await session(server, set[trusted].cert)).toContain(
      "* trying again with the system's authorities",
    );
    expect(server.sessions).toHaveLength(2);
  });

  it('do not help a certificate that none of them vouches for, or that is wrong otherwise [9]', async () => {
    const server = await serve(set.selfSigned);
    await expect(session(server, set.authority.cert)).rejects.toMatchObject({
      message: 'the certificate of 127.0.0.1 is self-signed',
    });
    await expect(session(await serve(set.otherHost), set.authority.cert)).rejects.toMatchObject({
      message: 'the certificate is for another name than 127.0.0.1',
    });
  });
});
