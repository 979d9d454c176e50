/**
 * Which message is meant by a unique-id. Mostly the one that always had it. But two messages may share one (RFC 1939
 * section 7 allows it for equal messages, and a sender can forge it), a server may give it to another message once the
 * first is gone, and a rebuilt mailbox gives new ones to all. Then the header decides, asked for by TOP.
 */
import { keyedHash, Sequence } from '../compact.js';
import { Intake } from '../deliver/lines.js';
import type { Entry, Memory } from '../seen/memory.js';
import type { Listed, Listing, Mailbox, Messages } from '../pop3/mailbox.js';

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
  // What was delivered without a unique-id shares the empty one: mostly there is nothing to look through.
  const some = renewed || memory?.shared('') === true ? memory?.entries() : undefined;
  for (const entry of some ?? []) if (renewed || isKnownByContent(entry)) known.push(entry);
  const sizes = new Set(known.filter(isKnownByContent).map(({ size }) => size));
  const doubtful = listing.messages.filter(doubt(memory, renewed, shared, sizes));
  if (doubtful.length === 0) return { ...listing, adopted: [], question: undefined };
  const headers = await headerHashes(doubtful, mailbox);
  const naming = new Naming(memory, shared, known, sizes);
  const named = new Map<number, Listed | undefined>();
  for (const message of doubtful)
    named.set(message.number, naming.name(message, headers.get(message.number)));
  const messages = new NamedMessages(listing.messages, named);
  const unnamed = listing.messages.length - messages.length;
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
  if (memory === undefined || memory.size < SAMPLE || messages.length === 0) return false;
  let known = 0;
  for (const { uid } of messages) {
    if (memory.has(uid)) known += 1;
    // No more than all can be expected: mostly this settles it early.
    if (known * 10 >= memory.size) return false;
  }
  const expected = expectedOf(memory);
  return expected >= SAMPLE && known * 10 < expected;
}

/** How many messages should be listed: those that were there last, and those that were missed last. */
function expectedOf(memory: Memory): number {
  let [there, lately, missed] = [0, 0, 0];
  for (const { removedAt, goneAt } of memory.outlines()) {
    if (removedAt !== undefined) continue;
    if (goneAt === undefined) there += 1;
    else if (goneAt === lately) missed += 1;
    else if (goneAt > lately) [lately, missed] = [goneAt, 1];
  }
  return there + missed;
}

/** Tells the uids that more than one message has, or has had. */
function sharing({ messages }: Listing, memory: Memory | undefined): (uid: string) => boolean {
  const repeated = repeatedUids(messages);
  return (uid) => repeated.has(uid) || memory?.shared(uid) === true;
}

/** The uids that come more than once: looked for among their hashes first, which takes little memory. */
function repeatedUids(messages: Messages): ReadonlySet<string> {
  const hashes = new Uint32Array(messages.length);
  let place = 0;
  for (const { uid } of messages) hashes[place++] = keyedHash(uid);
  hashes.sort();
  const twice = new Set<number>();
  for (let index = 1; index < hashes.length; index += 1) {
    const hash = hashes[index] ?? 0;
    if (hash === hashes[index - 1]) twice.add(hash);
  }
  const once = new Set<string>();
  const repeated = new Set<string>();
  for (const { uid } of twice.size === 0 ? [] : messages) {
    if (!twice.has(keyedHash(uid))) continue;
    if (once.has(uid)) repeated.add(uid);
    else once.add(uid);
  }
  return repeated;
}

/** The messages of a listing, some under another uid, without those that could not be named. */
class NamedMessages extends Sequence<Listed> {
  readonly #messages: Messages;
  readonly #named: ReadonlyMap<number, Listed | undefined>;
  /** The places in the listing of those that are left, where some are not. */
  readonly #places: Uint32Array | undefined;

  /** @param named by number; undefined for those that are left out */
  constructor(messages: Messages, named: ReadonlyMap<number, Listed | undefined>) {
    super();
    this.#messages = messages;
    this.#named = named;
    if (![...named.values()].includes(undefined)) return;
    const places: number[] = [];
    let place = 0;
    for (const { number } of messages) {
      if (!named.has(number) || named.get(number) !== undefined) places.push(place);
      place += 1;
    }
    this.#places = Uint32Array.from(places);
  }

  override get length(): number {
    return (this.#places ?? this.#messages).length;
  }

  protected override make(index: number): Listed {
    const message = this.#messages.at(this.#places?.[index] ?? index);
    if (message === undefined) throw new RangeError(`no message is at ${index}`);
    return this.#named.get(message.number) ?? message;
  }
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
    const known = memory?.outline(uid);
    if (known === undefined) return renewed || sizes.has(size);
    return known.size !== size || known.goneAt !== undefined || known.removedAt !== undefined;
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
