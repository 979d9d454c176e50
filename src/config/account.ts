/** What a config comes to: accounts with every field filled in, and the defaults they are filled in with. Types and constants only. */
import { DEADLINES, MESSAGE } from '../wire/limits.js';

/** Where a password comes from. A `value` stands in the file itself. */
export type PasswordSource =
  | { readonly value: string }
  | { readonly env: string }
  | { readonly file: string }
  | { readonly command: readonly string[] }
  /** The keyring of the system. */
  | { readonly keyring: true }
  /** `.netrc` in the home, or the file that $NETRC names. */
  | { readonly netrc: true }
  /** The name of a file in $CREDENTIALS_DIRECTORY (systemd.exec(5), LoadCredential=). */
  | { readonly credential: string };

/** Where an OAuth2 access token comes from. It is asked for every session, so that it can be a fresh one. */
export interface TokenSource {
  /** Program and arguments, run without a shell; the first line of its output is the token. */
  readonly command: readonly string[];
}

/** The ways to log in. All but the first are named as on the wire. */
export const AUTH_METHODS = [
  'auto',
  'user',
  'apop',
  'plain',
  'login',
  'cram-md5',
  'scram-sha-1',
  'scram-sha-1-plus',
  'scram-sha-256',
  'scram-sha-256-plus',
  'external',
  'xoauth2',
  'oauthbearer',
] as const;

export interface TlsOptions {
  readonly mode: 'implicit' | 'starttls' | 'none';
  /** PEM file with certificates trusted besides the system's. Absolute path. */
  readonly ca?: string | undefined;
  /** SHA-256 fingerprints of accepted server certificates, lower-case hex. Non-empty when given. */
  readonly pin?: readonly string[] | undefined;
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  /** Name to verify and to send as SNI, when it is not `host`. */
  readonly servername?: string | undefined;
}

/** One destination as configured. Paths are absolute. */
export type DestinationConfig =
  | { readonly maildir: string }
  | { readonly mbox: string }
  /** Program and arguments, at least one; run without a shell. */
  | { readonly command: readonly string[] }
  /** HOST:PORT, [ADDRESS]:PORT, or the absolute path of a socket; at least one recipient, each an address without <>. */
  | { readonly lmtp: string; readonly recipient: readonly string[] }
  | 'stdout';

/** One account with all defaults filled in. Times in milliseconds, sizes in octets. */
export interface Account {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly tls: TlsOptions;
  readonly user: string;
  /** This or `oauth2`, as `auth` needs; neither for `external`. Without either a person is asked, where there is one. */
  readonly password?: PasswordSource | undefined;
  readonly oauth2?: TokenSource | undefined;
  readonly auth: (typeof AUTH_METHODS)[number];
  readonly insecure: boolean;
  /** At least one. */
  readonly deliver: readonly DestinationConfig[];
  /** A Maildir for messages that a command or an LMTP server refuses for good. Absolute path. */
  readonly rejected?: string | undefined;
  /** A number: that many milliseconds after delivery. */
  readonly delete: 'never' | 'delivered' | number;
  /** Messages per run; 0 = all. */
  readonly limit: number;
  readonly maxSize: number;
  readonly order: 'oldest' | 'newest' | 'smallest';
  readonly eol: 'lf' | 'crlf';
  /** How messages are recognised: by unique-id where the server has them, or always by their content. */
  readonly identity: 'uidl' | 'hash';
  readonly timeout: {
    readonly connect: number;
    readonly reply: number;
    readonly idle: number;
    readonly session: number;
    /** For a command or an LMTP server to take one message. */
    readonly deliver: number;
  };
  readonly disabled: boolean;
}

export interface Config {
  /** The file it came from. */
  readonly file: string;
  readonly parallel: number;
  /** In the order of the file. */
  readonly accounts: readonly Account[];
}

/** What an account is where neither it nor the `defaults` of its file say otherwise. Milliseconds and octets. */
export const DEFAULTS = {
  parallel: 4,
  tls: { mode: 'implicit', minVersion: 'TLSv1.2' },
  auth: 'auto',
  insecure: false,
  delete: 'never',
  limit: 0,
  maxSize: MESSAGE,
  order: 'oldest',
  eol: 'lf',
  identity: 'uidl',
  timeout: {
    connect: DEADLINES.connect,
    reply: DEADLINES.reply,
    idle: DEADLINES.idle,
    session: DEADLINES.session,
    deliver: 300_000,
  },
  disabled: false,
} as const satisfies Partial<Account> & { parallel: number };

/** The port where none is given (RFC 8314 section 7.3, RFC 1939 section 3). */
export const PORTS: Readonly<Record<TlsOptions['mode'], number>> = {
  implicit: 995,
  starttls: 110,
  none: 110,
};
