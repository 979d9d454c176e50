/** What the policy of an account is given, and what it gives back. */
import type { Destination } from '../deliver/destination.js';
import type { PopfetchError } from '../errors.js';
import type { Emit } from '../events.js';
import type { Identified } from './identify.js';
import type { Seen } from '../seen/memory.js';
import type { Listing, Mailbox } from '../pop3/mailbox.js';

/** What the policy works with. */
export interface Parts {
  readonly destination: Destination;
  readonly seen: Seen;
  /** Connects and logs in; called again when a second session is needed to remove what is done. */
  readonly connect: () => Promise<Mailbox>;
  /** Gives each listed message a uid of its own, by which the memory knows it or will. Not asked where content decides. */
  readonly identify: (listing: Listing, mailbox: Mailbox) => Promise<Identified>;
  /** The name of a message for ever, from its uid. */
  readonly key: (uid: string) => string;
  readonly emit: Emit;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** When it aborts nothing new is begun. */
  readonly signal: AbortSignal;
  /** Remove nothing. */
  readonly keep: boolean;
  /** Fetch what is new even where the mailbox looks like another one. */
  readonly acceptReset: boolean;
}

/** What came of it; filled in while it goes on, so that it tells the truth after a failure too. */
export class Tally {
  listed = 0;
  delivered = 0;
  octets = 0;
  removed = 0;
  skipped = 0;
  /** The uids of the last complete listing. */
  uids: Iterable<string> | undefined;
  /** Failures that reached no further than one message. */
  readonly errors: PopfetchError[] = [];
  /** The same where nobody needs to be told yet: they may pass by themselves. */
  readonly untold: PopfetchError[] = [];
}
