/**
 * Certificates for tests: one authority, and server certificates that are right, expired, for another host, or
 * signed by nobody. Made with Node alone, once per test run where the run's set-up shares a directory.
 */
import { X509Certificate } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generate } from 'selfsigned';

/** Names the directory in which a whole test run shares its certificates. Set by the run's set-up. */
export const SHARED_DIRECTORY = 'POPFETCH_TEST_CERTIFICATES';

/** A certificate and its key, as PEM text and as files. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** The set that every test may use. All but `selfSigned` are signed by `authority`. */
export interface Certificates {
  readonly directory: string;
  /** What a client has to trust. */
  readonly authority: Certificate;
  /** For localhost, 127.0.0.1 and ::1: the one that is right. */
  readonly server: Certificate;
  /** The same names, but its time ended yesterday. */
  readonly expired: Certificate;
  /** In date and signed by the authority, for other.example only. */
  readonly otherHost: Certificate;
  /** For localhost by DNS name only: must not pass for 127.0.0.1. */
  readonly localhostOnly: Certificate;
  /** The right names, signed by itself. */
  readonly selfSigned: Certificate;
}

/** What a certificate is to say. */
export interface Wish {
  readonly commonName: string;
  readonly dns?: readonly string[];
  readonly ip?: readonly string[];
  /** Days from now, negative for the past. Default: from yesterday for 30 days. */
  readonly from?: number;
  readonly until?: number;
  /** Who signs it; without one it signs itself. */
  readonly issuer?: Certificate;
  /** May sign others. */
  readonly authority?: boolean;
}

const LOOPBACK = { dns: ['localhost'], ip: ['127.0.0.1', '::1'] } as const;
const NAMES = ['authority', 'server', 'expired', 'otherHost', 'localhostOnly', 'selfSigned'] as const;

let made: Promise<Certificates> | undefined;

/**
 * The certificates of this test run: read from the directory that the set-up shares, or made once per process in a
 * temporary directory that is the caller's to remove.
 */
export function certificates(): Promise<Certificates> {
  const shared = process.env[SHARED_DIRECTORY];
  made ??= shared === undefined ? makeCertificates() : readCertificates(shared);
  return made;
}

/** Makes a fresh set in `directory`, or in a new temporary one. */
export async function makeCertificates(directory?: string): Promise<Certificates> {
  const place = directory ?? (await mkdtemp(join(tmpdir(), 'popfetch-certificates-')));
  const authority = await issue(
    'authority',
    { commonName: 'popfetch test authority', authority: true },
    place,
  );
  const leaf = (name: string, wish: Partial<Wish>): Promise<Certificate> =>
    issue(name, { commonName: 'localhost', ...LOOPBACK, issuer: authority, ...wish }, place);
  return {
    directory: place,
    authority,
    server: await leaf('server', {}),
    expired: await leaf('expired', { from: -30, until: -1 }),
    otherHost: await leaf('otherHost', { commonName: 'other.example', dns: ['other.example'], ip: [] }),
    localhostOnly: await leaf('localhostOnly', { ip: [] }),
    selfSigned: await issue('selfSigned', { commonName: 'localhost', ...LOOPBACK }, place),
  };
}

/** Makes one certificate with an EC key and writes `name.pem` and `name.key` (0600) into `directory`. */
export async function issue(name: string, wish: Wish, directory: string): Promise<Certificate> {
  const pems = await generate([{ name: 'commonName', value: wish.commonName }], {
    keyType: 'ec',
    algorithm: 'sha256',
    notBeforeDate: daysFromNow(wish.from ?? -1),
    notAfterDate: daysFromNow(wish.until ?? 30),
    extensions: extensionsOf(wish),
    ...(wish.issuer === undefined ? {} : { ca: wish.issuer }),
  });
  await mkdir(directory, { recursive: true });
  const files = filesOf(name, directory);
  await writeFile(files.certFile, pems.cert);
  await writeFile(files.keyFile, pems.private, { mode: 0o600 });
  return { cert: pems.cert, key: pems.private, ...files };
}

/** SHA-256 fingerprint of a PEM certificate: 64 lower-case hex digits, as a `pin` takes it. */
export function fingerprint(pem: string): string {
  return new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();
}

/** Removes what {@link makeCertificates} made. */
export async function removeCertificates(set: Certificates): Promise<void> {
  await rm(set.directory, { recursive: true, force: true });
}

async function readCertificates(directory: string): Promise<Certificates> {
  const read = await Promise.all(
    NAMES.map(async (name): Promise<Certificate> => {
      const files = filesOf(name, directory);
      const [cert, key] = await Promise.all([
        readFile(files.certFile, 'utf8'),
        readFile(files.keyFile, 'utf8'),
      ]);
      return { cert, key, ...files };
    }),
  );
  const [authority, server, expired, otherHost, localhostOnly, selfSigned] = read;
  return {
    directory,
    authority: authority!,
    server: server!,
    expired: expired!,
    otherHost: otherHost!,
    localhostOnly: localhostOnly!,
    selfSigned: selfSigned!,
  };
}

type Extensions = NonNullable<NonNullable<Parameters<typeof generate>[1]>['extensions']>;

function extensionsOf(wish: Wish): Extensions {
  if (wish.authority === true) {
    return [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ];
  }
  return [
    { name: 'basicConstraints', cA: false, critical: true },
    { name: 'keyUsage', digitalSignature: true, critical: true },
    { name: 'extKeyUsage', serverAuth: true },
    {
      name: 'subjectAltName',
      altNames: [
        ...(wish.dns ?? []).map((value) => ({ type: 2, value }) as const),
        ...(wish.ip ?? []).map((ip) => ({ type: 7, ip }) as const),
      ],
    },
  ];
}

function filesOf(name: string, directory: string): { certFile: string; keyFile: string } {
  return { certFile: join(directory, `${name}.pem`), keyFile: join(directory, `${name}.key`) };
}

function daysFromNow(days: number): Date {
  return new Date(Date.now() + days * 86_400_000);
}
