/** Logins that are tied to their TLS connection, and servers or people in between that would rather they were not. */
import { createHash, X509Certificate } from 'node:crypto';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Credentials } from '../../src/pop3/client.js';
import { endPoint } from '../../src/wire/binding.js';
import { certificates } from '../support/certificates.js';
import { attempt, type Attempt } from '../support/login.js';
import { saslServer } from '../support/sasl.js';
import { generate } from 'selfsigned';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

let der: Buffer;
let hash: Buffer;
beforeAll(async () => {
  der = new X509Certificate((await certificates()).server.cert).raw;
  hash = createHash('sha256').update(der).digest();
});

const VERSIONS = [
  ['TLSv1.3', 'p=tls-exporter'],
  ['TLSv1.2', 'p=tls-server-end-point'],
] as const;

interface Terms {
  readonly version: 'TLSv1.2' | 'TLSv1.3';
  readonly tls?: 'implicit' | 'starttls';
  /** What CAPA says of SASL, and what the server really has. */
  readonly offered: string;
  readonly binds?: boolean;
  readonly endPoint?: Buffer;
  readonly method?: Credentials['method'];
}

function logIn({ version, tls = 'implicit', offered, binds = true, ...terms }: Terms): Promise<Attempt> {
  const AUTH = saslServer({ binds, endPoint: terms.endPoint ?? hash });
  const tlsOptions = { minVersion: version, maxVersion: version };
  const capa = tls === 'starttls' ? ['STLS', `SASL ${offered}`] : [`SASL ${offered}`];
  return attempt(ends, { tls, tlsOptions, capa, overrides: { AUTH } }, { method: terms.method ?? 'auto' });
}

/** What the client said of binding. */
function flag({ server }: Attempt): string | undefined {
  const line = server.sessions[0]!.received.find((each) => each.startsWith('AUTH '));
  return Buffer.from(line?.split(' ')[2] ?? '', 'base64')
    .toString()
    .split(',')[0];
}

describe.each(VERSIONS)('over %s', (version, bound) => {
  const BOTH = 'PLAIN SCRAM-SHA-1 SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-256-PLUS';

  it.each(['implicit', 'starttls'] as const)(
    'with tls: %s a login is tied to the connection where the server offers it [16]',
    async (tls) => {
      const result = await logIn({ version, tls, offered: BOTH });
      expect(result.error).toBeUndefined();
      expect(result.client?.method).toBe('scram-sha-256-plus');
      expect(result.client?.channel.protocol).toBe(version);
      expect(flag(result)).toBe(bound);
    },
  );

  it.each(['scram-sha-1-plus', 'scram-sha-256-plus'] as const)('%s works when asked for', async (method) => {
    const result = await logIn({ version, offered: BOTH, method });
    expect(result.error).toBeUndefined();
    expect(result.client?.method).toBe(method);
  });

  it('an offer that was taken out on the way is noticed [16]', async () => {
    const result = await logIn({ version, offered: 'PLAIN SCRAM-SHA-256 SCRAM-SHA-1' });
    expect(flag(result)).toBe('y');
    expect(result.error).toMatchObject({
      code: 'AUTH',
      message: 'the server can tie the login to the connection, and its offer to do so did not arrive',
      remedy: 'somebody may be in between; ask the provider',
    });
  });

  it('a server that has nothing to offer is told that it could have been, and lets in [16]', async () => {
    const result = await logIn({ version, offered: 'SCRAM-SHA-256', binds: false });
    expect(flag(result)).toBe('y');
    expect(result.error).toBeUndefined();
    expect(result.client?.method).toBe('scram-sha-256');
  });

  it('a login that is to do without is not taken for one that was robbed of it [16]', async () => {
    const result = await logIn({ version, offered: BOTH, method: 'scram-sha-256' });
    expect(flag(result)).toBe('n');
    expect(result.error).toBeUndefined();
    expect(result.client?.method).toBe('scram-sha-256');
  });
});

it('a server behind another certificate than its own is refused [16]', async () => {
  const other = createHash('sha256').update('another certificate').digest();
  const result = await logIn({ version: 'TLSv1.2', offered: 'SCRAM-SHA-256-PLUS', endPoint: other });
  expect(result.error).toMatchObject({
    code: 'AUTH',
    message: 'the server sees another TLS connection than this one',
  });
});

it('in clear, -PLUS is passed over, and refused where it is asked for [16]', async () => {
  const capa = ['SASL SCRAM-SHA-256 SCRAM-SHA-256-PLUS'];
  const overrides = { AUTH: saslServer() };
  const free = await attempt(ends, { capa, overrides });
  expect([free.client?.method, flag(free)]).toEqual(['scram-sha-256', 'n']);
  const asked = await attempt(ends, { capa, overrides }, { method: 'scram-sha-256-plus' });
  expect(asked.error).toMatchObject({ code: 'AUTH', message: 'the login cannot be tied to this connection' });
  expect(asked.server.sessions[0]!.verbs).toEqual(['CAPA']);
});

describe('the hash of a certificate (RFC 5929 section 4.1)', () => {
  it.each([
    ['ec', 'sha256', 'sha256'],
    ['ec', 'sha384', 'sha384'],
    ['ec', 'sha512', 'sha512'],
    ['rsa', 'sha256', 'sha256'],
    ['rsa', 'sha512', 'sha512'],
    ['rsa', 'sha1', 'sha256'],
  ] as const)('signed by %s with %s is %s', async (keyType, algorithm, expected) => {
    const { cert } = await generate([{ name: 'commonName', value: 'localhost' }], { keyType, algorithm });
    const { raw } = new X509Certificate(cert);
    expect(endPoint(raw)).toEqual(createHash(expected).update(raw).digest());
  });

  it('is none for what is no certificate, cut anywhere', () => {
    for (let length = 0; length < der.length; length += 1) {
      const found = endPoint(der.subarray(0, length));
      expect(found === undefined || found.length === 32).toBe(true);
    }
    for (const hex of [
      '',
      '30',
      '3080',
      '30ff',
      '3084ffffffff',
      '308400000002',
      '308500000000020000',
      '3003300130',
    ])
      expect(endPoint(Buffer.from(hex, 'hex'))).toBeUndefined();
  });
});
