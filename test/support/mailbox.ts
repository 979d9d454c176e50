/** The mailboxes of the in-memory POP3 server: live objects that a test may look into and change at any time. */
import { pieces, wireLength } from './body.js';

/** A message to put into a mailbox. A unique-id is given to it where it brings none. */
export type MessageSource =
  | { readonly uid?: string; readonly data: Buffer }
  /** One that is made while it is sent: `size` octets that end in CRLF. */
  | {
      readonly uid?: string;
      readonly size: number;
      readonly generate: () => Iterable<Buffer> | AsyncIterable<Buffer>;
    };

/** A message in a mailbox. */
export interface StoredMessage {
  /** Latin1, sent as it is, whatever RFC 1939 section 7 allows. */
  readonly uid: string;
  /** Octets that RETR sends, without dot-stuffing and the final dot line. What LIST says. */
  readonly size: number;
  /** The octets in pieces. */
  content(): AsyncIterable<Buffer>;
}

/** One user's messages. Tests may look and change at any time; a session sees what was there when it logged in. */
export class ServerMailbox {
  readonly user: string;
  password: string;
  readonly #messages: StoredMessage[] = [];
  #given = 0;
  #holder: object | undefined;

  constructor(user: string, password: string, messages: readonly (MessageSource | Buffer)[] = []) {
    this.user = user;
    this.password = password;
    for (const message of messages) this.add(message);
  }

  /** What is there now, oldest first. */
  get messages(): readonly StoredMessage[] {
    return [...this.#messages];
  }

  get uids(): string[] {
    return this.#messages.map((message) => message.uid);
  }

  /** Whether a session has it open. */
  get locked(): boolean {
    return this.#holder !== undefined;
  }

  /** New mail. */
  add(message: MessageSource | Buffer): StoredMessage {
    const source = Buffer.isBuffer(message) ? { data: message } : message;
    this.#given += 1;
    const stored = store(source, source.uid ?? `uid-${this.#given}`);
    this.#messages.push(stored);
    return stored;
  }

  /** Removes these messages at once, as another session's QUIT would. */
  remove(messages: Iterable<StoredMessage>): void {
    for (const message of messages) {
      const index = this.#messages.indexOf(message);
      if (index >= 0) this.#messages.splice(index, 1);
    }
  }

  /** Takes the lock of RFC 1939 section 4 for `holder`; false when another has it. */
  lock(holder: object): boolean {
    if (this.#holder !== undefined && this.#holder !== holder) return false;
    this.#holder = holder;
    return true;
  }

  /** Gives the lock back, if `holder` has it. */
  unlock(holder: object): void {
    if (this.#holder === holder) this.#holder = undefined;
  }
}

function store(source: MessageSource, uid: string): StoredMessage {
  if ('data' in source) {
    const { data } = source;
    return { uid, size: wireLength(data), content: () => pieces(data) };
  }
  const { size, generate } = source;
  return { uid, size, content: () => made(generate()) };
}

async function* made(chunks: Iterable<Buffer> | AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield* chunks;
}
