/** What the policy needs of a POP3 session: the seam between `account.ts` and `Pop3Client`. Types only. */

import type { Sequence } from '../compact.js';

/** One line of a listing: LIST and UIDL together (RFC 1939 sections 5 and 7). */
export interface Listed {
  /** Message number in this session: 1 and up. */
  readonly number: number;
  /** Octets by LIST: a hint, servers get it wrong. */
  readonly size: number;
  /** LIST gave no number: `size` 0 stands for it. */
  readonly unsized?: true;
  /** Opaque octets as latin1, compared byte for byte. Not necessarily unique in a listing; empty where there is no UIDL. */
  readonly uid: string;
}

/** Messages in the order of their numbers. An array will do; of a million messages it would be too large. */
export type Messages = Iterable<Listed> &
  Pick<Sequence<Listed>, 'length' | 'at' | 'find' | 'filter' | 'map' | 'every'>;

/** A whole mailbox as listed at one moment. Complete, or the call that gives it throws. */
export interface Listing {
  readonly messages: Messages;
  /** Octets of all of them by STAT. */
  readonly octets: number;
  /** Whether every message that STAT counted is in it: only then does absence mean anything. */
  readonly complete: boolean;
  /** Whether the server gives unique-ids. */
  readonly uidl: boolean;
  /** Oddities that were tolerated, each a sentence for a person. */
  readonly notes: readonly string[];
}

/** The answer to one RETR or TOP: the octets without dot-stuffing, or the server's words of refusal (latin1). */
export type Retrieved =
  | { readonly number: number; readonly body: AsyncIterable<Buffer> }
  | { readonly number: number; readonly refused: string };

/** A mailbox that is logged in to. Every method throws PopfetchError; after a throw that is not REFUSED only close() is left. */
export interface Mailbox {
  /** STAT, LIST and UIDL. @throws PROTOCOL when the listing contradicts itself. */
  list(): Promise<Listing>;
  /**
   * RETR for each, in this order, several under way where the server pipelines. The next answer is not given before
   * the body of the previous one has been read to its end. Leaving the loop early leaves the session unusable: close() it.
   * A body that grows past `maxOctets` throws DATA to its reader; the answers end there, and the session is closed.
   */
  retrieve(wanted: readonly Listed[], maxOctets: number): AsyncIterable<Retrieved>;
  /** TOP for each: the header, the empty line and the first `lines` lines of the body. Same rules as retrieve(). */
  top(numbers: readonly number[], lines: number): AsyncIterable<Retrieved>;
  /** DELE for each. Nothing is removed before quit(). @returns the numbers that the server marked. */
  remove(numbers: readonly number[]): Promise<readonly number[]>;
  /** QUIT: the server removes what is marked. Resolves only on +OK; the connection is closed either way. */
  quit(): Promise<void>;
  /** Drops the connection without QUIT: the server keeps everything. Never throws. */
  close(): void;
}
