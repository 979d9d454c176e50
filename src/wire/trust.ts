/** What makes a server's certificate acceptable, and what to say when it is not. Pure, but for reading CA files. */
import { readFile } from 'node:fs/promises';
import type { PeerCertificate } from 'node:tls';
import { PopfetchError } from '../errors.js';
import type { ChannelBinding } from './binding.js';

/** How to secure a connection. */
export interface TlsSettings {
  /** The name that the certificate must be for, and that is sent as SNI. */
  readonly servername: string;
  /** PEM texts of trusted authorities; undefined for those that Node ships. */
  readonly ca: readonly string[] | undefined;
  /** SHA-256 fingerprints, lower-case hex. When given, one of them must be the certificate's, and nothing else counts. */
  readonly pin: readonly string[] | undefined;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
}

/** One certificate of a chain. Times in milliseconds since 1970. */
export interface CertificateInfo {
  readonly subject: string;
  readonly issuer: string;
  readonly validTo: number;
  readonly sha256: string;
}

/** What is known about the channel to the server. */
export interface ChannelInfo {
  /** `TLSv1.3` and the like; undefined in clear. */
  readonly protocol: string | undefined;
  /** Leaf first; empty in clear. */
  readonly chain: readonly CertificateInfo[];
  /** What a login can be tied to; absent in clear, and where the connection has nothing of the kind. */
  readonly binding?: ChannelBinding | undefined;
}

/** The verification failures that mean: no known authority vouches for it. Trusting more authorities may help. */
const UNKNOWN_AUTHORITY = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

const SELF_SIGNED = 'DEPTH_ZERO_SELF_SIGNED_CERT';

/** Where distributions keep the authorities that the administrator trusts. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** The system's own authorities as PEM, or undefined where there is no such file. */
export async function systemAuthorities(): Promise<string | undefined> {
  for (const path of SYSTEM_BUNDLES) {
    try {
      return await readFile(path, 'latin1');
    } catch {
      // Not this distribution's place: try the next.
    }
  }
  return undefined;
}

/** Whether a failed handshake might succeed with more authorities trusted: the system may know the certificate itself. */
export function isUnknownAuthority(error: unknown): boolean {
  return (
    error instanceof PopfetchError &&
    error.code === 'TLS' &&
    error.cause instanceof Error &&
    isUnknown((error.cause as NodeJS.ErrnoException).code ?? '')
  );
}

function isUnknown(code: string): boolean {
  return UNKNOWN_AUTHORITY.has(code) || code === SELF_SIGNED;
}

/** A failed handshake or verification as an error for people: each kind with its own sentence and remedy. */
export function tlsError(cause: Error, settings: TlsSettings): PopfetchError {
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  const { message, remedy } = mistrust(code, settings.servername) ?? misunderstanding(code, settings);
  return new PopfetchError('TLS', message, { phase: 'tls', remedy, cause });
}

interface Explanation {
  readonly message: string;
  readonly remedy: string;
}

/** What is wrong with a certificate; undefined where it is something else that failed. */
function mistrust(code: string, name: string): Explanation | undefined {
  if (UNKNOWN_AUTHORITY.has(code)) {
    return {
      message: `no trusted authority vouches for the certificate of ${name} (${code})`,
      remedy:
        'set tls.ca to a PEM file with the authority, or tls.pin to the fingerprint that popfetch check shows',
    };
  }
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return {
        message: `the certificate of ${name} has expired`,
        remedy: "ask the server's administrator to renew it; check this machine's clock",
      };
    case 'CERT_NOT_YET_VALID':
      return {
        message: `the certificate of ${name} is not valid yet`,
        remedy: "check this machine's clock",
      };
    case SELF_SIGNED:
      return {
        message: `the certificate of ${name} is self-signed`,
        remedy: 'if it is your own server, set tls.ca to the certificate or tls.pin to its fingerprint',
      };
    case 'INVALID_PURPOSE':
      return {
        message: `the certificate of ${name} is not one for a server`,
        remedy: "ask the server's administrator for a right one",
      };
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return {
        message: `the certificate is for another name than ${name}`,
        remedy: 'set host (or tls.servername) to a name that the certificate is for',
      };
    default:
      return undefined;
  }
}

/** Why two sides that do not know each other yet could not come to terms. */
function misunderstanding(code: string, { servername: name, minVersion }: TlsSettings): Explanation {
  switch (code) {
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
    case 'ERR_SSL_PACKET_LENGTH_TOO_LONG':
      return {
        message: `${name} did not answer with TLS`,
        remedy: 'this port may want tls: starttls, or another port (995 is TLS from the start)',
      };
    case 'ERR_SSL_UNSUPPORTED_PROTOCOL':
    case 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION':
      return {
        message: `${name} does not speak ${minVersion} or a newer version`,
        remedy:
          minVersion === 'TLSv1.2'
            ? 'older versions are not safe; the server needs an update'
            : 'TLSv1.2 is still safe: tls.minVersion may be set to it',
      };
    case 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE':
      return {
        message: `${name} and popfetch have no safe cipher in common`,
        remedy: 'the server needs an update',
      };
    case 'ECONNRESET':
    case HUNG_UP:
      return {
        message: `${name} hung up in the middle of the TLS handshake`,
        remedy: 'try again later; check port and tls (995 is TLS from the start, 110 wants tls: starttls)',
      };
    default:
      return {
        message: `the TLS handshake with ${name} failed${code === '' ? '' : ` (${code})`}`,
        remedy: 'run popfetch check; check port and tls',
      };
  }
}

const HUNG_UP = 'HUNG_UP';

/** What {@link tlsError} takes where the server ends the connection, and nothing says why. */
export function hungUp(): Error {
  return Object.assign(new Error('the server closed the connection'), { code: HUNG_UP });
}

/** What is wrong with a certificate that is none of the pinned ones: TLS, with both fingerprints. */
export function pinError(certificate: PeerCertificate, settings: TlsSettings): PopfetchError | undefined {
  if (!settings.pin) return undefined;
  const got = fingerprint(certificate);
  if (settings.pin.includes(got)) return undefined;
  return new PopfetchError(
    'TLS',
    `the certificate of ${settings.servername} is not the pinned one: it is sha256:${got}, pinned is ` +
      settings.pin.map((pin) => `sha256:${pin}`).join(', '),
    { phase: 'tls', remedy: 'if the server has a new certificate and you know it is right, change tls.pin' },
  );
}

function fingerprint(certificate: PeerCertificate): string {
  return certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}

/** The chain as the server sent it, leaf first. Names are the certificate's own octets: escape before showing. */
export function chainOf(leaf: PeerCertificate & { issuerCertificate?: PeerCertificate }): CertificateInfo[] {
  const chain: CertificateInfo[] = [];
  const met = new Set<string>();
  let current: typeof leaf | undefined = leaf;
  while (current?.fingerprint256 !== undefined && !met.has(current.fingerprint256)) {
    met.add(current.fingerprint256);
    chain.push({
      subject: nameOf(current.subject),
      issuer: nameOf(current.issuer),
      validTo: Date.parse(current.valid_to),
      sha256: fingerprint(current),
    });
    current = current.issuerCertificate;
  }
  return chain;
}

function nameOf(name: PeerCertificate['subject'] | undefined): string {
  const value: unknown = name?.CN ?? name?.O;
  return typeof value === 'string' ? value : '';
}
