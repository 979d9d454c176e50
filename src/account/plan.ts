/** What a run does with each message of a listing. Pure. */
import type { Account } from '../config/account.js';
import type { SkipReason } from '../events.js';
import type { Memory, Outline, Trouble } from '../seen/memory.js';
import type { Listed, Listing, Messages } from '../pop3/mailbox.js';

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

/** What a plan holds of one message: an octet, so that a million of them cost little. */
const MARKS = ['keep', 'remove', 'fetch', 'retry', 'too large', 'limit', 'changed', 'failed'] as const;
type Mark = (typeof MARKS)[number];

/** A message that is left alone. */
export type Skipped = Extract<Decision, { readonly action: 'skip' }>;

/** {@link Plan}, message by message. */
export function plan(
  listing: Pick<Listing, 'messages'>,
  memory: Memory | undefined,
  terms: Terms,
  now: number,
): Decision[] {
  return [...new Plan(listing, memory, terms, now)];
}

/**
 * What is decided for each message of a listing: first those to fetch, in the order in which they will be, then those to
 * try again, then the rest by number. A message is removed only when the memory holds it as done. What is decided stays
 * so, whatever the memory learns.
 */
export class Plan implements Iterable<Decision> {
  readonly #messages: Messages;
  readonly #memory: Memory | undefined;
  readonly #terms: Terms;
  /** By place in the listing. */
  readonly #marks: Uint8Array;
  /** The places of what is new, in the order in which it is wanted. */
  readonly #wanted: Uint32Array;
  readonly #counts = new Map<Mark, number>();

  constructor(
    { messages }: Pick<Listing, 'messages'>,
    memory: Memory | undefined,
    terms: Terms,
    now: number,
  ) {
    this.#messages = messages;
    this.#memory = memory;
    this.#terms = terms;
    this.#marks = new Uint8Array(messages.length);
    const wanted = new Uint32Array(messages.length);
    let [fresh, place] = [0, 0];
    for (const message of messages) {
      const mark = markOf(message, memory, terms, now);
      this.#mark(place, mark);
      if (mark === 'fetch') wanted[fresh++] = place;
      place += 1;
    }
    inOrder(wanted.subarray(0, fresh), messages, terms.order);
    let all = fresh;
    for (const each of this.#marks.keys()) if (this.#is(each, 'retry')) wanted[all++] = each;
    this.#wanted = wanted.subarray(0, all);
    const limit = terms.limit === 0 ? this.#wanted.length : terms.limit;
    for (let index = limit; index < this.#wanted.length; index += 1)
      this.#mark(this.#wanted[index] ?? 0, 'limit');
    for (const mark of this.#marks) {
      const name = MARKS[mark] ?? 'keep';
      this.#counts.set(name, this.count(name) + 1);
    }
  }

  /** How many there are of a kind. */
  count(mark: Mark): number {
    return this.#counts.get(mark) ?? 0;
  }

  /** The messages of a kind, in the order of the plan. */
  *of(mark: 'fetch' | 'retry' | 'remove'): Generator<Listed> {
    for (const place of mark === 'remove' ? this.#marks.keys() : this.#wanted) {
      const message = this.#is(place, mark) ? this.#messages.at(place) : undefined;
      if (message !== undefined) yield message;
    }
  }

  /** What is left alone, in the order of the plan. */
  *skipped(): Generator<Skipped> {
    for (const decision of this.#decisions(['too large', 'limit', 'changed', 'failed']))
      if (decision.action === 'skip') yield decision;
  }

  [Symbol.iterator](): Generator<Decision> {
    return this.#decisions(MARKS);
  }

  *#decisions(marks: readonly Mark[]): Generator<Decision> {
    const codes = new Set(marks.map((mark) => MARKS.indexOf(mark)));
    for (const place of this.#places()) {
      const message = codes.has(this.#marks[place] ?? 0) ? this.#messages.at(place) : undefined;
      if (message !== undefined) yield this.#decision(message, MARKS[this.#marks[place] ?? 0] ?? 'keep');
    }
  }

  /** All places, in the order of the plan. */
  *#places(): Generator<number> {
    yield* this.#wanted;
    for (const place of this.#marks.keys()) {
      if (!this.#is(place, 'fetch') && !this.#is(place, 'retry') && !this.#is(place, 'limit')) yield place;
    }
  }

  #decision(message: Listed, mark: Mark): Decision {
    switch (mark) {
      case 'fetch':
      case 'retry':
      case 'remove':
        return { message, action: mark };
      case 'keep': {
        const known = this.#memory?.outline(message.uid);
        const removeAt = known === undefined ? undefined : removalTime(known, this.#terms.delete);
        return { message, action: mark, removeAt };
      }
      case 'too large':
      case 'limit':
      case 'changed':
      case 'failed':
        return { message, action: 'skip', reason: mark };
    }
  }

  #mark(place: number, mark: Mark): void {
    this.#marks[place] = MARKS.indexOf(mark);
  }

  #is(place: number, mark: Mark): boolean {
    return MARKS[this.#marks[place] ?? 0] === mark;
  }
}

function markOf(message: Listed, memory: Memory | undefined, terms: Terms, now: number): Mark {
  const known = memory?.outline(message.uid);
  if (known !== undefined) return markOfSeen(message, known, terms, now);
  if (Math.max(message.size, memory?.exceeds(message.uid) ?? 0) > terms.maxSize) return 'too large';
  const trouble = memory?.trouble(message.uid);
  if (trouble === undefined) return 'fetch';
  return isDue(trouble, now) ? 'retry' : 'failed';
}

/** Runs that try a message in vain before a person is told. */
export const PATIENCE = 3;

/** Milliseconds between two tries of a message that a person was told of. */
const RARELY = 24 * 3600 * 1000;

/** Whether a message is tried again: what a destination wants later always, else three times and then once a day. */
function isDue({ kind, count, lastAt }: Trouble, now: number): boolean {
  return kind === 'later' || (kind === 'server' && count < PATIENCE) || lastAt + RARELY <= now;
}

function markOfSeen(message: Listed, known: Outline, terms: Terms, now: number): Mark {
  const removeAt = removalTime(known, terms.delete);
  if (removeAt === undefined || removeAt > now) return 'keep';
  // Another size under the same uid may be another message: removing it could lose mail that was never fetched.
  return message.size === known.size ? 'remove' : 'changed';
}

/** The destination of what was taken for seen and delivered nowhere: it never leaves the server. */
export const NOWHERE = 'none';

/**
 * When a message that is done becomes due for removal, in milliseconds since 1970; undefined for never. What a
 * destination refused for good is kept: a person should be able to have it delivered after all.
 */
export function removalTime({ destination, doneAt }: Outline, policy: Terms['delete']): number | undefined {
  if (policy === 'never' || destination === NOWHERE || REJECTED.test(destination)) return undefined;
  return policy === 'delivered' ? doneAt : doneAt + policy;
}

/** The Maildir for refused messages among the destinations that have one. */
const REJECTED = /(?:^| )rejected:/;

/** Puts the places of messages, by number so far, into the order in which those are wanted. */
function inOrder(places: Uint32Array, messages: Messages, order: Terms['order']): void {
  if (order === 'newest') places.reverse();
  if (order !== 'smallest') return;
  const sizes = new Map<number, number>();
  for (const place of places) sizes.set(place, messages.at(place)?.size ?? 0);
  places.sort((a, b) => (sizes.get(a) ?? 0) - (sizes.get(b) ?? 0) || a - b);
}
