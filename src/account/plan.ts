/** What a run does with each message of a listing. Pure. */
import type { Account } from '../config/account.js';
import type { SkipReason } from '../events.js';
import type { Entry, Memory, Trouble } from '../seen/memory.js';
import type { Listed, Listing } from '../pop3/mailbox.js';

/** What is done with one message. Times in milliseconds since 1970. */
export type Decision =
  | { readonly message: Listed; readonly action: 'fetch' }
  /** Could not be delivered in an earlier run: tried after all others, alone. */
  | { readonly message: Listed; readonly action: 'retry' }
  | { readonly message: Listed; readonly action: 'remove' }
  /** Seen; removed by the first run after `removeAt`, or never. */
  | { readonly message: Listed; readonly action: 'keep'; readonly removeAt: number | undefined }
  | { readonly message: Listed; readonly action: 'skip'; readonly reason: SkipReason };

/** The fields of an account that decide. Sizes in octets; `limit` 0 means all. */
export type Terms = Pick<Account, 'delete' | 'limit' | 'maxSize' | 'order'>;

/**
 * Decides for each message of a listing: first those to fetch, in the order in which they will be, then those to try
 * again, then the rest by number. A message is removed only when the memory holds it as done.
 */
export function plan(listing: Listing, memory: Memory | undefined, terms: Terms, now: number): Decision[] {
  const wanted: Listed[] = [];
  const again: Listed[] = [];
  const others: Decision[] = [];
  for (const message of listing.messages) {
    const entry = memory?.entry(message.uid);
    const trouble = memory?.trouble(message.uid);
    if (entry !== undefined) others.push(decideSeen(message, entry, terms, now));
    else if (Math.max(message.size, memory?.exceeds(message.uid) ?? 0) > terms.maxSize)
      others.push({ message, action: 'skip', reason: 'too large' });
    else if (trouble === undefined) wanted.push(message);
    else if (isDue(trouble, now)) again.push(message);
    else others.push({ message, action: 'skip', reason: 'failed' });
  }
  const chosen: Decision[] = [
    ...inOrder(wanted, terms.order).map((message) => ({ message, action: 'fetch' }) as const),
    ...again.map((message) => ({ message, action: 'retry' }) as const),
  ];
  const limit = terms.limit === 0 ? chosen.length : terms.limit;
  return [
    ...chosen.slice(0, limit),
    ...chosen.slice(limit).map(({ message }) => ({ message, action: 'skip', reason: 'limit' }) as const),
    ...others,
  ];
}

/** Runs that try a message in vain before a person is told. */
export const PATIENCE = 3;

/** Milliseconds between two tries of a message that a person was told of. */
const RARELY = 24 * 3600 * 1000;

/** Whether a message is tried again: what a destination wants later always, else three times and then once a day. */
function isDue({ kind, count, lastAt }: Trouble, now: number): boolean {
  return kind === 'later' || (kind === 'server' && count < PATIENCE) || lastAt + RARELY <= now;
}

function decideSeen(message: Listed, entry: Entry, terms: Terms, now: number): Decision {
  const removeAt = removalTime(entry, terms.delete);
  if (removeAt === undefined || removeAt > now) return { message, action: 'keep', removeAt };
  // Another size under the same uid may be another message: removing it could lose mail that was never fetched.
  if (message.size !== entry.size) return { message, action: 'skip', reason: 'changed' };
  return { message, action: 'remove' };
}

/** The destination of what was taken for seen and delivered nowhere: it never leaves the server. */
export const NOWHERE = 'none';

/**
 * When a message that is done becomes due for removal, in milliseconds since 1970; undefined for never. What a
 * destination refused for good is kept: a person should be able to have it delivered after all.
 */
export function removalTime({ destination, doneAt }: Entry, policy: Terms['delete']): number | undefined {
  if (policy === 'never' || destination === NOWHERE || REJECTED.test(destination)) return undefined;
  return policy === 'delivered' ? doneAt : doneAt + policy;
}

/** The Maildir for refused messages among the destinations that have one. */
const REJECTED = /(?:^| )rejected:/;

function inOrder(messages: readonly Listed[], order: Terms['order']): Listed[] {
  switch (order) {
    case 'oldest':
      return [...messages];
    case 'newest':
      return [...messages].reverse();
    case 'smallest':
      return [...messages].sort((a, b) => a.size - b.size);
  }
}
