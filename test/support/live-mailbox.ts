/** A mailbox on a server that exists only in memory and keeps the rules of POP3: DELE counts at QUIT, a dropped session changes nothing. */
import type { Listed, Listing, Mailbox, Retrieved } from '../../src/pop3/mailbox.js';

/** What somebody may want to look at, before it takes effect. */
export interface Onlookers {
  /** DELE for these uids is asked for. */
  removing(uids: readonly string[]): Promise<void>;
  /** QUIT in a session that has given all of these. */
  quitting(retrieved: readonly string[]): void;
}

/** The messages of one user, by uid, in their order. */
export class LiveServer {
  readonly messages: Map<string, Buffer>;
  /** Sessions so far. */
  sessions = 0;
  readonly #onlookers: Onlookers;

  constructor(messages: ReadonlyMap<string, Buffer>, onlookers: Onlookers) {
    this.messages = new Map(messages);
    this.#onlookers = onlookers;
  }

  /** A new session. */
  connect(): Promise<Mailbox> {
    this.sessions += 1;
    return Promise.resolve(new LiveMailbox(this, this.#onlookers));
  }
}

/** Octets of a body that come at once. */
const PIECE = 65_536;

class LiveMailbox implements Mailbox {
  readonly #server: LiveServer;
  readonly #onlookers: Onlookers;
  readonly #uids: readonly string[];
  readonly #retrieved: string[] = [];
  readonly #marked: string[] = [];
  #open = true;

  constructor(server: LiveServer, onlookers: Onlookers) {
    this.#server = server;
    this.#onlookers = onlookers;
    this.#uids = [...server.messages.keys()];
  }

  list(): Promise<Listing> {
    const messages = this.#uids.map((uid, index): Listed => ({
      number: index + 1,
      size: this.#octets(uid).length,
      uid,
    }));
    const octets = messages.reduce((sum, { size }) => sum + size, 0);
    return Promise.resolve({ messages, octets, complete: true, uidl: true, notes: [] });
  }

  async *retrieve(wanted: readonly Listed[]): AsyncGenerator<Retrieved, void, undefined> {
    for (const { number } of wanted) {
      this.#mustBeOpen();
      const uid = this.#uids[number - 1] ?? '';
      // From here on QUIT may delete it on some servers, whether anybody has read it or not.
      this.#retrieved.push(uid);
      const body = inPieces(this.#octets(uid));
      yield { number, body: { [Symbol.asyncIterator]: () => ({ next: () => body.next() }) } };
      while ((await body.next()).done !== true);
    }
  }

  top(): AsyncIterable<Retrieved> {
    throw new Error('nothing is doubtful here, so TOP is not needed');
  }

  async remove(numbers: readonly number[]): Promise<readonly number[]> {
    this.#mustBeOpen();
    const uids = numbers.map((number) => this.#uids[number - 1] ?? '');
    await this.#onlookers.removing(uids);
    this.#marked.push(...uids);
    return numbers;
  }

  quit(): Promise<void> {
    this.#mustBeOpen();
    this.#onlookers.quitting(this.#retrieved);
    for (const uid of this.#marked) this.#server.messages.delete(uid);
    this.#open = false;
    return Promise.resolve();
  }

  close(): void {
    this.#open = false;
  }

  #octets(uid: string): Buffer {
    return this.#server.messages.get(uid) ?? Buffer.alloc(0);
  }

  #mustBeOpen(): void {
    if (!this.#open) throw new Error('a session is used after its end');
  }
}

async function* inPieces(octets: Buffer): AsyncGenerator<Buffer, void, undefined> {
  for (let at = 0; at < octets.length; at += PIECE) {
    yield await Promise.resolve(Buffer.from(octets.subarray(at, at + PIECE)));
  }
}
