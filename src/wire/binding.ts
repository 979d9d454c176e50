/**
 * What ties a login to one TLS connection, so that nobody in between can use it on another: RFC 5056, by the exporter
 * of TLS 1.3 (RFC 9266) or, where that is not spoken, by the server's certificate (RFC 5929 section 4).
 */
import { createHash } from 'node:crypto';
import type { TLSSocket } from 'node:tls';

/** Octets that only the two ends of this connection, or of connections to this certificate, have. */
export interface ChannelBinding {
  readonly type: 'tls-exporter' | 'tls-server-end-point';
  readonly data: Buffer;
}

/** The binding of a connection whose handshake is done; undefined where it has none. Never throws. */
export function channelBinding(tls: TLSSocket): ChannelBinding | undefined {
  if (tls.destroyed) return undefined;
  if (tls.getProtocol() === 'TLSv1.3') {
    // RFC 9266 section 2: this label, 32 octets, and a context that is empty.
    const data = tls.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0));
    return { type: 'tls-exporter', data };
  }
  const certificate = tls.getPeerCertificate().raw as Buffer | undefined;
  const data = certificate === undefined ? undefined : endPoint(certificate);
  return data === undefined ? undefined : { type: 'tls-server-end-point', data };
}

/**
 * The hash of a DER certificate by the hash of its own signature, SHA-256 in place of MD5 and SHA-1 (RFC 5929 section
 * 4.1). undefined where the signature has no hash of its own (Ed25519, Ed448, RSASSA-PSS as parameters have it) or the
 * certificate cannot be taken apart.
 */
export function endPoint(certificate: Buffer): Buffer | undefined {
  const algorithm = HASHES[signatureAlgorithm(certificate) ?? ''];
  return algorithm === undefined ? undefined : createHash(algorithm).update(certificate).digest();
}

/** By the octets of the signature's object identifier, hex: RSA of PKCS #1 (RFC 8017) and ECDSA (RFC 5758). */
const HASHES: Readonly<Record<string, string>> = {
  '2a864886f70d010104': 'sha256',
  '2a864886f70d010105': 'sha256',
  '2a864886f70d01010b': 'sha256',
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a864886f70d01010e': 'sha224',
  '2a8648ce3d0401': 'sha256',
  '2a8648ce3d040301': 'sha224',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
};

const SEQUENCE = 0x30;
const OBJECT_IDENTIFIER = 0x06;

/** Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { algorithm, … }, … } (RFC 5280). */
function signatureAlgorithm(certificate: Buffer): string | undefined {
  const whole = element(certificate, 0, SEQUENCE);
  const signed = whole && element(certificate, whole.from, SEQUENCE);
  const algorithm = signed && element(certificate, signed.to, SEQUENCE);
  const identifier = algorithm && element(certificate, algorithm.from, OBJECT_IDENTIFIER);
  return identifier && certificate.toString('hex', identifier.from, identifier.to);
}

/** Where the content of the DER element at `at` begins and ends; undefined where another one, or none, is there. */
function element(der: Buffer, at: number, tag: number): { from: number; to: number } | undefined {
  const first = der[at + 1];
  if (der[at] !== tag || first === undefined) return undefined;
  const more = first < 0x80 ? 0 : first & 0x7f;
  if (more > 4 || at + 2 + more > der.length) return undefined;
  const from = at + 2 + more;
  const to = from + (more === 0 ? first : der.readUIntBE(at + 2, more));
  return to <= der.length ? { from, to } : undefined;
}
