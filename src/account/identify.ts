/**
 * Which message is meant by a unique-id. Mostly the one that always had it. But two messages may share one (RFC 1939
 * section 7 allows it for equal messages, and a sender can forge it), a server may give it to another message once the
 * first is gone, and a rebuilt mailbox gives new ones to all. Then the header decides, asked for by TOP.
 */
import { Intake } from '../deliver/lines.js';
import type { Entry, Memory } from '../seen/memory.js';
import type { Listed, Listing, Mailbox } from '../pop3/mailbox.js';

/** A listing whose uids name just one message each, for ever. */
export interface Identified extends Listing {
  /** Old acquaintances under a new uid: what the memory should know them by from now on. */
  readonly adopted: readonly { readonly uid: string; readonly known: Entry }[];
  /** What only a person can decide before anything is fetched, as a sentence. */
  readonly question: string | undefined;
}

/** New messages up to which a mailbox whose unique-ids all changed is fetched without asking. */
const UNASKED = 50;

/** Known messages from which on their uids may be taken for a sample of the whole mailbox. */
const SAMPLE = 20;

/**
 * Gives every listed message a uid of its own: as listed where nothing is suspicious, which costs nothing; otherwise
 * the listed uid, a NUL, and what tells the message apart. A message that the memory knows keeps the uid by which it
 * is known. Where the server refuses TOP, a suspicious message that may be known is left out, with a note.
 */
export async function identify(
  listing: Listing,
  mailbox: Pick<Mailbox, 'top'>,
  memory: Memory | undefined,
): Promise<Identified> {
  const renewed = uidsAreNew(listing, memory);
  const shared = sharing(listing, memory);
  const known: Entry[] = [];
  for (const entry of memory?.entries() ?? []) if (renewed || isKnownByContent(entry)) known.push(entry);
  const sizes = new Set(known.filter(isKnownByContent).map(({ size }) => size));
  const doubtful = listing.messages.filter(doubt(memory, renewed, shared, sizes));
  if (doubtful.length === 0) return { ...listing, adopted: [], question: undefined };
  const headers = await headerHashes(doubtful, mailbox);
  const naming = new Naming(memory, shared, known, sizes);
  const messages: Listed[] = [];
  let unnamed = 0;
  const numbers = new Set(doubtful.map(({ number }) => number));
  for (const message of listing.messages) {
    const named = numbers.has(message.number) ? naming.name(message, headers.get(message.number)) : message;
    if (named === undefined) unnamed += 1;
    else messages.push(named);
  }
  const note = `${unnamed} messages have an unclear unique-id, the server refuses TOP, and they are left alone`;
  const notes = unnamed === 0 ? listing.notes : [...listing.notes, note];
  const { adopted } = naming;
  const strangers = renewed
    ? messages.filter(({ uid }) => memory?.has(uid) !== true).length - adopted.length
    : 0;
  return {
    ...listing,
    messages,
    complete: listing.complete && unnamed === 0,
    notes,
    adopted,
    question: strangers > UNASKED ? questionOf(strangers, listing) : undefined,
  };
}

function questionOf(strangers: number, { messages }: Listing): string {
  return (
    `${strangers} of ${messages.length} messages are unknown, while hardly any of those that were there before is ` +
    'listed: either this is another mailbox, or the server has lost the old one'
  );
}

/**
 * Whether hardly anything that should still be there is listed under its uid: the server has renumbered its mail. What
 * the last listing no longer showed counts, too: a server in the middle of a move may show an empty mailbox for a while.
 */
function uidsAreNew({ messages }: Listing, memory: Memory | undefined): boolean {
  const left = [...(memory?.entries() ?? [])].filter(({ removedAt }) => removedAt === undefined);
  const lately = left.reduce((last, { goneAt = 0 }) => Math.max(last, goneAt), 0);
  const expected = left.filter(({ goneAt }) => goneAt === undefined || goneAt === lately);
  if (expected.length < SAMPLE || messages.length === 0) return false;
  const known = messages.filter(({ uid }) => memory?.has(uid)).length;
  return known * 10 < expected.length;
}

/** Tells the uids that more than one message has, or has had. */
function sharing({ messages }: Listing, memory: Memory | undefined): (uid: string) => boolean {
  const counts = new Map<string, number>();
  for (const { uid } of messages) counts.set(uid, (counts.get(uid) ?? 0) + 1);
  return (uid) => (counts.get(uid) ?? 0) > 1 || memory?.shared(uid) === true;
}

/** Whether it was delivered when the server gave no unique-ids, and is still there as far as anybody knows. */
function isKnownByContent({ uid, removedAt, goneAt }: Entry): boolean {
  return uid.startsWith('\0') && removedAt === undefined && goneAt === undefined;
}

/** What makes a message suspicious. */
function doubt(
  memory: Memory | undefined,
  renewed: boolean,
  shared: (uid: string) => boolean,
  sizes: ReadonlySet<number>,
): (message: Listed) => boolean {
  return ({ uid, size }) => {
    if (shared(uid)) return true;
    const entry = memory?.entry(uid);
    if (entry === undefined) return renewed || sizes.has(size);
    return entry.size !== size || entry.goneAt !== undefined || entry.removedAt !== undefined;
  };
}

/** By number: the hash of each header, as a delivery records it; undefined where TOP is refused. */
export async function headerHashes(
  messages: readonly Listed[],
  mailbox: Pick<Mailbox, 'top'>,
): Promise<ReadonlyMap<number, string>> {
  const hashes = new Map<number, string>();
  const numbers = messages.map(({ number }) => number);
  for await (const answer of mailbox.top(numbers, 0)) {
    if ('refused' in answer) continue;
    const intake = new Intake('lf');
    for await (const piece of answer.body) intake.push(piece);
    intake.end();
    hashes.set(answer.number, intake.facts().headerSha256);
  }
  return hashes;
}

/** Names the doubtful messages of one listing; each known message is taken once. */
class Naming {
  readonly adopted: { uid: string; known: Entry }[] = [];
  readonly #memory: Memory | undefined;
  /** By header: the known messages that may be listed under another uid. */
  readonly #byHeader = new Map<string, Entry[]>();
  /** Sizes of messages that were delivered without a unique-id. */
  readonly #sizes: ReadonlySet<number>;
  readonly #taken = new Set<string>();
  readonly #shared: (uid: string) => boolean;
  /** By the uid that they share: what is known of several messages, to be read when one of them is met. */
  #siblings: Map<string, Entry[]> | undefined;

  constructor(
    memory: Memory | undefined,
    shared: (uid: string) => boolean,
    known: readonly Entry[],
    sizes: ReadonlySet<number>,
  ) {
    this.#memory = memory;
    this.#shared = shared;
    this.#sizes = sizes;
    for (const entry of known) {
      this.#byHeader.set(entry.headerSha256, [...(this.#byHeader.get(entry.headerSha256) ?? []), entry]);
    }
  }

  /** The message under its own uid, or undefined where nothing tells whether it is known. */
  name(message: Listed, header: string | undefined): Listed | undefined {
    const entry = this.#memory?.entry(message.uid);
    if (header === undefined && this.#mayBeKnown(message, entry)) return undefined;
    // The size by LIST may lie, now or then: with the same header it is the same message.
    if (entry?.headerSha256 === header && entry !== undefined && this.#take(entry.uid)) {
      return { ...message, size: entry.size };
    }
    if (entry === undefined && !this.#shared(message.uid)) {
      this.#adopt(message, header ?? '');
      return message;
    }
    return this.#unread(message, header) ?? this.#apart(message, header?.slice(0, 32) ?? bySize(message));
  }

  /** Whether only its header, which the server does not give, could tell a message from one that is known. */
  #mayBeKnown({ uid, size }: Listed, entry: Entry | undefined): boolean {
    if (entry !== undefined || this.#sizes.has(size)) return true;
    return this.#siblingsOf(uid).some((sibling) => !isBySize(sibling));
  }

  /** A message that was told apart by its size, when the server did not give its header, and that this header shows again. */
  #unread(message: Listed, header: string | undefined): Listed | undefined {
    const known = this.#siblingsOf(message.uid).find((sibling) => {
      return isBySize(sibling) && sibling.headerSha256 === header && !this.#taken.has(sibling.uid);
    });
    if (known === undefined || !this.#take(known.uid)) return undefined;
    return { ...message, uid: known.uid, size: known.size };
  }

  #siblingsOf(uid: string): readonly Entry[] {
    if (this.#memory?.shared(uid) !== true) return [];
    if (this.#siblings === undefined) {
      this.#siblings = new Map();
      for (const entry of this.#memory.entries()) {
        const end = entry.uid.indexOf('\0');
        if (end < 1) continue;
        const base = entry.uid.slice(0, end);
        this.#siblings.set(base, [...(this.#siblings.get(base) ?? []), entry]);
      }
    }
    return this.#siblings.get(uid) ?? [];
  }

  /** Where its uid is new: looks for a known message with this header and size. */
  #adopt({ uid, size }: Listed, header: string): void {
    const candidates = this.#byHeader.get(header) ?? [];
    const known = candidates.find((each) => each.size === size && !this.#taken.has(each.uid));
    if (known !== undefined && this.#take(known.uid)) this.adopted.push({ uid, known });
  }

  /** One of several with the same uid, told apart by `mark`; those that are equal are counted. */
  #apart(message: Listed, mark: string): Listed {
    for (let ordinal = 1; ; ordinal += 1) {
      const uid = `${message.uid}\0${mark}.${ordinal}`;
      if (this.#take(uid)) return { ...message, uid };
    }
  }

  #take(uid: string): boolean {
    if (this.#taken.has(uid)) return false;
    this.#taken.add(uid);
    return true;
  }
}

/** What tells a message apart where the server does not give its header. */
function bySize({ size }: Listed): string {
  return `size ${size}`;
}

function isBySize({ uid }: Entry): boolean {
  return /\0size \d+\.\d+$/.test(uid);
}
