/** What every destination of an account is given. Types only. */
import type { Disk } from '../disk.js';

/** `raw`: the messages and nothing else. `mboxrd`: as in an mbox. `json`: one object a line, the message in base64. */
export type StdoutFormat = 'raw' | 'mboxrd' | 'json';

/** Takes octets, one write at a time. */
export interface Out {
  /** Resolves when the system has taken all of it. @throws PopfetchError DELIVERY, for ever after the reader has gone */
  write(data: Buffer): Promise<void>;
  /** After each message: resolves when it is on stable storage, where that can be said (standard output is a file). */
  sync?(): Promise<void>;
}

export interface DestinationContext {
  /** The account's name, for people. */
  readonly account: string;
  /** 8 characters of lower-case base32 that name the mailbox. Whoever holds its run lock owns all files so marked. */
  readonly tag: string;
  readonly eol: 'lf' | 'crlf';
  /** An existing directory (0700) for messages that cannot be put straight where they go. */
  readonly spool: string;
  readonly disk: Disk;
  /** This machine's name, as it will stand in file names. */
  readonly host: string;
  /** Milliseconds since 1970. */
  now(): number;
  /** Takes a sentence that a person should read although all goes on. Must not throw. */
  note?(sentence: string): void;
  /** Milliseconds that a command or an LMTP server may take for one message. */
  readonly timeLimit: number;
  /** What a command finds in its environment besides what popfetch says of the message; no password is in it. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** When it aborts, a command or an LMTP server has a few seconds to finish the message in hand. */
  readonly signal: AbortSignal;
  /** A Maildir for messages that a command or an LMTP server refuses for good. Absolute path. */
  readonly rejected?: string;
  /** Needed where a destination is `stdout`. Accounts that share a writer take turns. */
  readonly stdout?: { readonly format: StdoutFormat; readonly out: Out };
}
