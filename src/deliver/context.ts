/** What every destination of an account is given. Types only. */
import type { Disk } from '../disk.js';
import type { Out, StdoutFormat } from './stdout.js';

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
  /** Needed where a destination is `stdout`. Accounts that share a writer take turns. */
  readonly stdout?: { readonly format: StdoutFormat; readonly out: Out };
}
