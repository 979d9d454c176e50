/**
 * Where messages go. A destination has one verb. Whole message first, then visible: resolving means durable,
 * rejecting means that no trace is left, and no byte of a message that did not arrive whole is ever visible.
 */

/** A message on its way. */
export interface Message {
  /** Unique-id as sent by the server: opaque octets as latin1 (RFC 1939 section 7). Never part of a path. */
  readonly uid: string;
  /** 26 characters of lower-case base32 that name this message for ever; safe in a file name. */
  readonly key: string;
  /** Message number in this session. */
  readonly number: number;
  /** Octets by LIST: a hint, never a length. */
  readonly size: number;
  /**
   * The octets that RETR sent, without dot-stuffing, CRLF and all. Throws where the message does not arrive whole.
   * The pieces are the consumer's: it may change them in place. Can be read once.
   */
  readonly body: AsyncIterable<Buffer>;
}

/** Enough to find a delivery again after a crash. On disk before the message can become visible. */
export interface Intent {
  readonly uid: string;
  readonly key: string;
  /** {@link Destination.name} of the destination that wrote it. */
  readonly destination: string;
  /** {@link Message.size}: octets by LIST. */
  readonly size: number;
  /** Octets received (wire form, CRLF). */
  readonly octets: number;
  /** SHA-256 (hex) of the message with every CRLF as LF: what identifies it wherever it is stored. */
  readonly sha256: string;
  /** SHA-256 (hex) of its header, the empty line included, with every CRLF as LF. */
  readonly headerSha256: string;
  /** What this destination needs to find its work again: names, offsets, hashes. */
  readonly details: Readonly<Record<string, string | number>>;
}

/** The memory as a destination sees it. */
export interface DeliveryLog {
  /** Resolves when the intent is on disk. Many calls share one sync. */
  intend(intent: Intent): Promise<void>;
  /** Resolves when it is on disk that this one of several destinations has the message. */
  stored(uid: string, destination: string): Promise<void>;
  /** Whether an earlier delivery already put this message into that destination. */
  isStored(uid: string, destination: string): boolean;
}

/** A message that is durable at its destination. */
export interface Delivery {
  /** Octets received (wire form, CRLF). */
  readonly octets: number;
  /**
   * To be called once the memory holds the message as done, on disk, or cannot: drops what was kept for a crash in
   * between (temporary name, spool, lock). Where it is not `remembered`, what the next run needs to find it stays. Never rejects: the message is stored, and no later failure changes that.
   * May wait for the release of others that were delivered together, but not for another deliver().
   */
  release(remembered?: boolean): Promise<void>;
  /**
   * Looks once more, before the message is removed from the server: false where its copy is not there as it was
   * written. A copy that a reader has moved within its mailbox is there. Where nobody can look it is not defined.
   */
  stands?(): Promise<boolean>;
}

/** A place that takes messages. */
export interface Destination {
  /** For people and for the journal: `maildir:/home/taro/Mail`, `mbox:/var/mail/taro`, `stdout`. */
  readonly name: string;
  /** How many deliveries may be between {@link deliver} and release() at once. 1 where a crash may double what is in between. */
  readonly window: number;
  /**
   * How many messages of this mailbox, of whichever run, are there, where that can be told without changing anything.
   * @throws PopfetchError CREATE or DELIVERY when it cannot be looked at
   */
  traces?(): Promise<number>;
  /**
   * Called once, under the account's lock, before the first delivery and before login. Makes what is missing, checks
   * that it can be written, finishes or undoes every unfinished delivery of an earlier run, and removes leftovers.
   * @returns the uids that are now wholly and durably delivered; the others leave no trace.
   * @throws PopfetchError CREATE, PERMISSION or DELIVERY when the destination cannot take mail.
   */
  recover(unfinished: readonly Intent[], log: DeliveryLog): Promise<string[]>;
  /**
   * Takes one message. The body is read to its end before the promise of the next message can be asked for, so
   * several calls may be in progress: one reading, the others on their way to the disk.
   * When it rejects, the intent stands: what could not be undone is found by it, so the memory keeps it until recover().
   * @throws PopfetchError DATA (this message can never be stored), DELIVERY (disk), or what the body threw.
   */
  deliver(message: Message, log: DeliveryLog): Promise<Delivery>;
  /** Gives back what it holds. Deliveries not yet released are left for the next run to finish. */
  close(): Promise<void>;
}
