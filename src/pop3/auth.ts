/** How to say who one is: the choice of a method and its octets. Pure. */
import { createHash } from 'node:crypto';
import { PopfetchError } from '../errors.js';
import type { Capabilities } from './replies.js';

/** A way to log in. */
export type Method = 'user' | 'apop' | 'plain';

/** What is known when a method has to be chosen. */
export interface Offer {
  readonly capabilities: Capabilities;
  /** The APOP timestamp of the greeting. */
  readonly timestamp: string | undefined;
  /** Whether a password may cross this channel as it is: TLS, this machine, or permission. */
  readonly clearTextAllowed: boolean;
}

/**
 * The method to use. `auto` takes PLAIN where the server offers it (one round trip), else USER and PASS; never APOP,
 * whose MD5 gives a password away to whoever plays the server (CVE-2007-1558).
 * @throws AUTH when the method asked for is not offered, or would send the password in clear without permission.
 */
export function chooseMethod(wanted: Method | 'auto', offer: Offer): Method {
  const method = wanted === 'auto' ? strongest(offer.capabilities) : wanted;
  if (method === 'apop') {
    if (offer.timestamp !== undefined) return method;
    throw new PopfetchError('AUTH', 'the server offers no APOP', {
      phase: 'login',
      remedy: 'use auth: auto',
    });
  }
  if (!offer.clearTextAllowed) {
    throw new PopfetchError('AUTH', 'the password was not sent, since it would cross the network in clear', {
      phase: 'login',
      remedy: 'use tls: implicit or starttls; insecure: true permits it',
    });
  }
  return method;
}

function strongest(capabilities: Capabilities): Method {
  const sasl = capabilities.tags.get('SASL')?.map((name) => name.toUpperCase()) ?? [];
  return sasl.includes('PLAIN') ? 'plain' : 'user';
}

/** The APOP digest: MD5 of timestamp and password, in hex (RFC 1939 section 7). */
export function apopDigest(timestamp: string, password: string): string {
  return createHash('md5').update(timestamp).update(password).digest('hex');
}

/** The PLAIN message in base64 (RFC 4616): no authorization identity, user, password. */
export function plainResponse(user: string, password: string): string {
  return Buffer.from(`\0${user}\0${password}`).toString('base64');
}

/** Every form in which these secrets could turn up in a text: as they are, base64, hex, URL-encoded; longest first. */
export function formsOf(secrets: readonly string[]): string[] {
  const forms = secrets.flatMap((secret) => {
    const bytes = Buffer.from(secret);
    return [
      secret,
      bytes.toString('latin1'),
      bytes.toString('base64'),
      bytes.toString('base64url'),
      bytes.toString('hex'),
      encodeURIComponent(bytes.toString()),
    ];
  });
  return [...new Set(forms)].filter((form) => form !== '').sort((a, b) => b.length - a.length);
}
