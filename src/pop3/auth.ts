/** How to say who one is: the choice of a method. Pure. */
import { createHash } from 'node:crypto';
import { PopfetchError } from '../errors.js';
import type { Capabilities } from './replies.js';

/** A way to log in by a SASL mechanism (RFC 5034). Each is exactly the mechanism of that name. */
export type SaslMethod =
  | 'scram-sha-256-plus'
  | 'scram-sha-1-plus'
  | 'scram-sha-256'
  | 'scram-sha-1'
  | 'plain'
  | 'login'
  | 'cram-md5'
  | 'external'
  | 'oauthbearer'
  | 'xoauth2';

/** A way to log in. */
export type Method = 'user' | 'apop' | SaslMethod;

/** What is known when a method has to be chosen. */
export interface Offer {
  readonly capabilities: Capabilities;
  /** The APOP timestamp of the greeting. */
  readonly timestamp: string | undefined;
  /** Whether a password may cross this channel as it is: TLS, this machine, or permission. */
  readonly clearTextAllowed: boolean;
  /** Whether the channel has something to tie a login to. */
  readonly bindable: boolean;
  /** What there is to show: a password, an OAuth2 access token, or neither. */
  readonly secret: 'password' | 'token' | 'none';
}

interface Traits {
  readonly needs: Offer['secret'];
  /** The secret goes over the channel as it is. */
  readonly clearText: boolean;
}

const PASSWORD = { needs: 'password', clearText: true } as const;
const DIGEST = { needs: 'password', clearText: false } as const;
const TOKEN = { needs: 'token', clearText: true } as const;

const TRAITS: Readonly<Record<Method, Traits>> = {
  user: PASSWORD,
  plain: PASSWORD,
  login: PASSWORD,
  apop: DIGEST,
  'cram-md5': DIGEST,
  'scram-sha-1': DIGEST,
  'scram-sha-1-plus': DIGEST,
  'scram-sha-256': DIGEST,
  'scram-sha-256-plus': DIGEST,
  external: { needs: 'none', clearText: false },
  oauthbearer: TOKEN,
  xoauth2: TOKEN,
};

/**
 * What `auto` takes, strongest first. Bound to the connection: nobody in between can use the login. SCRAM: the
 * password is not sent, and the server proves itself. Then what sends the password. Never APOP and CRAM-MD5: their MD5
 * gives a password away to whoever plays the server (CVE-2007-1558) or can guess.
 */
const AUTOMATIC: readonly SaslMethod[] = [
  'scram-sha-256-plus',
  'scram-sha-1-plus',
  'scram-sha-256',
  'scram-sha-1',
  'plain',
  'login',
];

/** What `auto` takes where there is a token: the standard before its elder. */
const AUTOMATIC_FOR_TOKENS: readonly SaslMethod[] = ['oauthbearer', 'xoauth2'];

/** The SASL mechanisms that the server offers, in upper case (RFC 5034 section 3). */
export function offeredMechanisms({ tags }: Capabilities): string[] {
  return tags.get('SASL')?.map((name) => name.toUpperCase()) ?? [];
}

/** Whether a login by this method is tied to the connection. */
export function isBound(method: Method): boolean {
  return method.endsWith('-plus');
}

/** Whether a login by this method sends the secret as it is. With `auto` the server decides, so it counts as one that does. */
export function sendsSecret(method: Method | 'auto'): boolean {
  return method === 'auto' || TRAITS[method].clearText;
}

/** Whether the method is a SASL mechanism. */
export function isSasl(method: Method): method is SaslMethod {
  return method !== 'user' && method !== 'apop';
}

/**
 * The method to use. `auto` takes the strongest that is offered and that the channel permits, and USER and PASS where
 * nothing is: SCRAM needs no permission, since no password crosses. Any other is used as it is asked for, offered or
 * not: the server has the last word.
 * @throws AUTH when the method asked for cannot work, or would send a secret in clear without permission.
 */
export function chooseMethod(wanted: Method | 'auto', offer: Offer): Method {
  const method = wanted === 'auto' ? strongest(offer) : wanted;
  const { needs, clearText } = TRAITS[method];
  if (needs !== 'none' && needs !== offer.secret) {
    const other = needs === 'token' ? 'an access token (oauth2)' : 'a password';
    throw refusal(`auth: ${method} needs ${other}`, 'change auth, or use auth: auto');
  }
  if (method === 'apop' && offer.timestamp === undefined) {
    throw refusal('the server offers no APOP', 'use auth: auto');
  }
  if (isBound(method) && !offer.bindable) {
    throw refusal('the login cannot be tied to this connection', 'it needs TLS; or use auth: auto');
  }
  if (clearText && !offer.clearTextAllowed) {
    const what = needs === 'token' ? 'access token' : 'password';
    throw refusal(
      `the ${what} was not sent, since it would cross the network in clear`,
      'use tls: implicit or starttls; insecure: true permits it',
    );
  }
  return method;
}

function strongest({ capabilities, clearTextAllowed, bindable, secret }: Offer): Method {
  const offered = offeredMechanisms(capabilities);
  const list = secret === 'token' ? AUTOMATIC_FOR_TOKENS : AUTOMATIC;
  const found = list.find(
    (method) =>
      offered.includes(method.toUpperCase()) &&
      (bindable || !isBound(method)) &&
      (clearTextAllowed || !TRAITS[method].clearText),
  );
  if (found !== undefined) return found;
  if (secret !== 'token') return 'user';
  if (offered.length === 0 || !clearTextAllowed) return 'xoauth2';
  throw refusal('the server offers no login with an access token', 'use a password instead of oauth2');
}

function refusal(message: string, remedy: string): PopfetchError {
  return new PopfetchError('AUTH', message, { phase: 'login', remedy });
}

/** The APOP digest: MD5 of timestamp and password, in hex (RFC 1939 section 7). */
export function apopDigest(timestamp: string, password: string): string {
  return createHash('md5').update(timestamp).update(password).digest('hex');
}

/** The PLAIN message in base64 (RFC 4616): no authorization identity, user, password. */
export function plainResponse(user: string, password: string): string {
  return Buffer.from(`\0${user}\0${password}`).toString('base64');
}

/**
 * Every form in which these secrets could turn up in a text: as they are, in base64 by themselves and as a part of
 * something longer, hex, URL-encoded; longest first.
 */
export function formsOf(secrets: readonly string[]): string[] {
  const forms = secrets.flatMap((secret) => {
    const bytes = Buffer.from(secret);
    const hex = bytes.toString('hex');
    return [
      secret,
      bytes.toString('latin1'),
      bytes.toString('base64'),
      bytes.toString('base64url'),
      hex,
      hex.toUpperCase(),
      encodeURIComponent(bytes.toString()),
      ...within(bytes, 'base64'),
      ...within(bytes, 'base64url'),
    ];
  });
  return [...new Set(forms)].filter((form) => form !== '').sort((a, b) => b.length - a.length);
}

/** Characters from which on a piece of base64 is not likely to be there by chance. */
const TELLING = 6;

/** What base64 makes of these octets wherever they stand in something longer, without what depends on the neighbours. */
function within(bytes: Buffer, encoding: 'base64' | 'base64url'): string[] {
  const pieces = [0, 1, 2].map((before) => {
    const octets = before + bytes.length;
    const text = Buffer.concat([Buffer.alloc(before), bytes]).toString(encoding);
    return text.slice(Math.ceil((before * 8) / 6), Math.floor((octets * 8) / 6));
  });
  return pieces.filter((piece) => piece.length >= TELLING);
}
