/** Plain objects in place of a mailbox, a destination and a memory. Whatever is asked of them goes into one list of calls. */
import type { Account } from '../../src/config/account.js';
import { DEFAULTS } from '../../src/config/account.js';
import type { Delivery, DeliveryLog, Destination, Intent, Message } from '../../src/deliver/destination.js';
import type { Entry, Outline, RunRecord, Seen, Trouble, TroubleKind } from '../../src/seen/memory.js';
import type { Listed, Listing, Mailbox, Retrieved } from '../../src/pop3/mailbox.js';

/** An account with every field filled in. */
export function accountOf(changes: Partial<Account> = {}): Account {
  return {
    ...DEFAULTS,
    name: 'work',
    host: '127.0.0.1',
    port: 110,
    tls: { mode: 'none', minVersion: 'TLSv1.2' },
    user: 'taro',
    password: { value: 'himitsu' },
    deliver: [{ maildir: '/nowhere' }],
    ...changes,
  };
}

/** What is remembered of a message that is done. */
export function entryOf(uid: string, changes: Partial<Entry> = {}): Entry {
  return {
    uid,
    key: `key-${uid}`,
    size: 100,
    octets: 100,
    sha256: 'sha',
    headerSha256: 'header',
    destination: 'fake',
    doneAt: 0,
    removedAt: undefined,
    goneAt: undefined,
    ...changes,
  };
}

/** An intent of {@link FakeDestination}. */
export function intentOf(uid: string, changes: Partial<Intent> = {}): Intent {
  const facts = { size: 100, octets: 100, sha256: 'sha', headerSha256: 'header', details: {} };
  return { uid, key: `key-${uid}`, destination: 'fake', ...facts, ...changes };
}

/** Messages 1, 2, … of 100 octets with these uids, completely listed. */
export function listingOf(uids: readonly string[], changes: Partial<Listing> = {}): Listing {
  const messages = uids.map((uid, index): Listed => ({ number: index + 1, size: 100, uid }));
  return { messages, octets: 100 * uids.length, complete: true, uidl: true, notes: [], ...changes };
}

/** A listing whose messages are an array, so that it can be compared as a whole. */
export function plainly(listing: Listing): Omit<Listing, 'messages'> & { readonly messages: Listed[] } {
  return { ...listing, messages: [...listing.messages] };
}

/** What a RETR comes to: octets, an error in the middle of them, or the server's refusal. */
export type Answer = { readonly text: string; readonly then?: Error } | { readonly refused: string };

/** A session over a listing that never changes. Every message is `body of UID` unless a test says otherwise. */
export class FakeMailbox implements Mailbox {
  readonly answers: Record<string, Answer> = {};
  /** Numbers that the server does not mark. */
  readonly unremovable = new Set<number>();
  /** What quit() throws. */
  quitError: Error | undefined;
  #open = true;

  constructor(
    readonly calls: string[],
    readonly listing: Listing,
  ) {}

  list(): Promise<Listing> {
    this.calls.push('list');
    return Promise.resolve(this.listing);
  }

  async *retrieve(wanted: readonly Listed[]): AsyncGenerator<Retrieved, void, undefined> {
    this.calls.push(`retrieve ${wanted.map(({ number }) => number).join(' ')}`);
    for (const { number, uid } of wanted) {
      const answer = this.answers[uid] ?? { text: `body of ${uid}` };
      if ('refused' in answer) {
        yield { number, refused: answer.refused };
        continue;
      }
      const body = this.#body(uid, answer);
      // Left early by its reader or not, the body is read to its end, as a client does.
      yield { number, body: { [Symbol.asyncIterator]: () => ({ next: () => body.next() }) } };
      while ((await body.next()).done !== true);
    }
  }

  async *#body(
    uid: string,
    answer: Extract<Answer, { readonly text: string }>,
  ): AsyncGenerator<Buffer, void, undefined> {
    yield await Promise.resolve(Buffer.from(answer.text));
    if (answer.then !== undefined) throw answer.then;
    this.calls.push(`read ${uid}`);
  }

  top(): AsyncIterable<Retrieved> {
    throw new Error('the policy asks for no TOP');
  }

  remove(numbers: readonly number[]): Promise<readonly number[]> {
    this.calls.push(`remove ${numbers.join(' ')}`);
    return Promise.resolve(numbers.filter((number) => !this.unremovable.has(number)));
  }

  quit(): Promise<void> {
    this.calls.push('quit');
    this.#open = false;
    return this.quitError === undefined ? Promise.resolve() : Promise.reject(this.quitError);
  }

  close(): void {
    if (this.#open) this.calls.push('close');
    this.#open = false;
  }
}

/** Takes every message, unless a test says otherwise. */
export class FakeDestination implements Destination {
  readonly name = 'fake';
  window = 1;
  /** What recover() says is delivered. */
  recovered: string[] = [];
  /** Called when a message has been read; may wait, or throw to refuse it. */
  store: (uid: string) => Promise<void> = () => Promise.resolve();
  /** Called before a message is read; may throw to refuse it unread. */
  begin: (uid: string) => void = () => undefined;
  /** Deliveries not released yet, and the most there ever were. */
  held = 0;
  mostHeld = 0;
  readonly stored: Record<string, string> = {};

  constructor(readonly calls: string[]) {}

  recover(unfinished: readonly Intent[]): Promise<string[]> {
    this.calls.push(['recover', ...unfinished.map(({ uid }) => uid)].join(' '));
    return Promise.resolve(this.recovered);
  }

  async deliver(message: Message, log: DeliveryLog): Promise<Delivery> {
    const { uid, key } = message;
    this.held += 1;
    this.mostHeld = Math.max(this.mostHeld, this.held);
    try {
      const text = await this.#take(message);
      await log.intend(intentOf(uid, { key, size: message.size, octets: text.length }));
      this.stored[uid] = text;
      this.calls.push(`stored ${uid}`);
      return { octets: text.length, release: (remembered) => this.#release(uid, remembered) };
    } catch (error) {
      this.held -= 1;
      throw error;
    }
  }

  async #take({ uid, body }: Message): Promise<string> {
    this.calls.push(`deliver ${uid}`);
    this.begin(uid);
    const pieces: Buffer[] = [];
    for await (const piece of body) pieces.push(piece);
    await this.store(uid);
    return Buffer.concat(pieces).toString();
  }

  #release(uid: string, remembered = true): Promise<void> {
    this.held -= 1;
    this.calls.push(`${remembered ? 'release' : 'leave'} ${uid}`);
    return Promise.resolve();
  }

  close(): Promise<void> {
    throw new Error('the policy closes no destination');
  }
}

/** A memory that is kept in memory. */
export class FakeSeen implements Seen {
  readonly path = 'memory';
  /** Whether no message was ever delivered. */
  fresh = false;
  readonly lastRun = undefined;
  readonly outOfStepAt = undefined;
  /** Called before each record: may wait, or throw to refuse it. */
  before: (call: string) => Promise<void> = () => Promise.resolve();
  readonly #entries: Map<string, Entry>;
  readonly #intents = new Map<string, Intent>();
  readonly #reported = new Set<string>();
  readonly #exceeds = new Map<string, number>();
  readonly #troubles = new Map<string, Trouble>();

  constructor(
    readonly calls: string[],
    { entries = [], intents = [] }: { entries?: readonly Entry[]; intents?: readonly Intent[] } = {},
  ) {
    this.#entries = new Map(entries.map((entry) => [entry.uid, entry]));
    for (const intent of intents) this.#intents.set(intent.uid, intent);
  }

  has(uid: string): boolean {
    return this.#entries.has(uid);
  }

  entry(uid: string): Entry | undefined {
    return this.#entries.get(uid);
  }

  outline(uid: string): Outline | undefined {
    return this.#entries.get(uid);
  }

  get size(): number {
    return this.#entries.size;
  }

  entries(): Iterable<Entry> {
    return this.#entries.values();
  }

  outlines(): Iterable<Outline> {
    return this.#entries.values();
  }

  unfinished(): readonly Intent[] {
    return [...this.#intents.values()];
  }

  shared(uid: string): boolean {
    return [...this.entries()].some((entry) => entry.uid.startsWith(`${uid}\0`));
  }

  reported(uid: string): boolean {
    return this.#reported.has(uid);
  }

  trouble(uid: string): Trouble | undefined {
    return this.#troubles.get(uid);
  }

  troubles(): Iterable<Trouble> {
    return this.#troubles.values();
  }

  async failed(uid: string, kind: TroubleKind): Promise<Trouble> {
    await this.#record(`failed ${uid} ${kind}`);
    const trouble = { kind, count: (this.trouble(uid)?.count ?? 0) + 1, lastAt: 0 };
    this.#troubles.set(uid, trouble);
    return trouble;
  }

  exceeds(uid: string): number {
    return this.#exceeds.get(uid) ?? 0;
  }

  isStored(): boolean {
    return false;
  }

  stored(): Promise<void> {
    throw new Error('the policy knows of one destination only');
  }

  async intend(intent: Intent): Promise<void> {
    await this.#record(`intend ${intent.uid}`);
    this.#intents.set(intent.uid, intent);
  }

  async done(uid: string): Promise<void> {
    await this.#record(`done ${uid}`);
    const { size = 0, octets = 0 } = this.#intents.get(uid) ?? {};
    this.#entries.set(uid, entryOf(uid, { size, octets }));
    this.#intents.delete(uid);
  }

  async undone(uid: string): Promise<void> {
    await this.#record(`undone ${uid}`);
    this.#intents.delete(uid);
  }

  async adopt(uid: string, known: Entry): Promise<void> {
    await this.#record(`adopt ${uid} as ${known.uid}`);
    this.#entries.set(uid, { ...known, uid });
  }

  async outgrew(uid: string, octets: number): Promise<void> {
    await this.#record(`outgrew ${uid} ${octets}`);
    this.#exceeds.set(uid, octets);
  }

  async report(uid: string): Promise<void> {
    await this.#record(`report ${uid}`);
    this.#reported.add(uid);
  }

  fellOutOfStep(): Promise<void> {
    throw new Error('the policy does not know how commands are sent');
  }

  removed(uids: readonly string[]): Promise<void> {
    return this.#record(`removed ${uids.join(' ')}`);
  }

  close(run: RunRecord): Promise<void> {
    throw new Error(`the policy closes no memory: ${run.result}`);
  }

  async #record(call: string): Promise<void> {
    await this.before(call);
    this.calls.push(call);
  }
}
