/** The messages of one session on their way: from RETR to durable and remembered. */
import type { Account } from '../config/account.js';
import type { Message } from '../deliver/destination.js';
import { asError, PopfetchError } from '../errors.js';
import type { Listed, Mailbox, Retrieved } from '../pop3/mailbox.js';
import type { Parts, Tally } from './parts.js';

/** Reads messages in their order while earlier ones are still on their way to the disk. */
export class Retrieval {
  readonly #account: Account;
  readonly #parts: Parts;
  readonly #tally: Tally;
  readonly #inFlight = new Set<Promise<void>>();
  /** What ended the retrieval: a failure that reaches further than its message. */
  #failure: Error | undefined;
  #clean = true;

  constructor(account: Account, parts: Parts, tally: Tally) {
    this.#account = account;
    this.#parts = parts;
    this.#tally = tally;
  }

  /** Whether everything that RETR gave is durable, so that QUIT can lose nothing. */
  get clean(): boolean {
    return this.#clean;
  }

  /**
   * Retrieves and delivers. A message that fails by itself is counted and left on the server; the others go on.
   * Resolves when every delivery that was begun is done or undone. @throws what reaches further than one message
   */
  async run(mailbox: Mailbox, wanted: readonly Listed[]): Promise<void> {
    if (wanted.length === 0) return;
    this.#parts.emit({ type: 'phase', account: this.#account.name, phase: 'retrieve' });
    try {
      await this.#loop(mailbox, wanted);
    } catch (error) {
      this.#failed(error);
    }
    await Promise.all(this.#inFlight);
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #loop(mailbox: Mailbox, wanted: readonly Listed[]): Promise<void> {
    const { destination, signal } = this.#parts;
    let index = 0;
    for await (const answer of mailbox.retrieve(wanted, this.#account.maxSize)) {
      const message = wanted[index];
      if (message === undefined) break;
      index += 1;
      await this.#take(message, answer);
      while (this.#inFlight.size >= destination.window) await Promise.race(this.#inFlight);
      if (signal.aborted || this.#failure !== undefined) break;
    }
    // Leaving early: the server may have sent, on request, messages that nobody has read.
    if (index < wanted.length) this.#clean = false;
  }

  /** Resolves when the answer has been read, or cannot be; the delivery goes on. */
  async #take(listed: Listed, answer: Retrieved): Promise<void> {
    if ('refused' in answer) {
      this.#refused(listed, answer.refused);
      return;
    }
    const reading = new Reading(answer.body, (octets) => {
      this.#parts.emit({ type: 'progress', account: this.#account.name, octets });
    });
    const delivery = this.#deliver(listed, reading)
      .catch((error: unknown) => this.#notDelivered(listed, error))
      .catch((error: unknown) => {
        this.#failed(error);
      });
    this.#inFlight.add(delivery);
    const left = (): void => {
      this.#inFlight.delete(delivery);
    };
    void delivery.then(left);
    await Promise.race([reading.ended, delivery]);
  }

  async #deliver(listed: Listed, body: AsyncIterable<Buffer>): Promise<void> {
    const { destination, seen, emit } = this.#parts;
    const { number, uid, size } = listed;
    const key = this.#parts.key(uid);
    const message: Message = { uid, key, number, size, body };
    const delivery = await destination.deliver(message, seen);
    try {
      await seen.done(uid);
    } finally {
      await delivery.release();
    }
    const { octets } = delivery;
    this.#tally.delivered += 1;
    this.#tally.octets += octets;
    emit({
      type: 'delivered',
      account: this.#account.name,
      number,
      uid,
      key,
      octets,
      destination: destination.name,
    });
  }

  #refused({ number, uid, size }: Listed, serverText: string): void {
    this.#tally.skipped += 1;
    this.#tally.errors.push(
      new PopfetchError('REFUSED', `the server refuses to give message ${number}`, {
        phase: 'retrieve',
        serverText,
      }),
    );
    const account = this.#account.name;
    this.#parts.emit({ type: 'skipped', account, number, uid, octets: size, reason: 'refused', first: true });
  }

  /** What is too large is remembered, so that the next run leaves it alone and goes on with the others. */
  async #notDelivered({ uid }: Listed, error: unknown): Promise<void> {
    this.#failed(error);
    const tooLarge = error instanceof PopfetchError && error.code === 'DATA' && error.phase === 'retrieve';
    if (tooLarge) await this.#parts.seen.outgrew(uid, this.#account.maxSize + 1);
  }

  /** A message that was asked for is not stored: from here on this session must not QUIT. */
  #failed(error: unknown): void {
    this.#clean = false;
    if (error instanceof PopfetchError && error.reach === 'message') this.#tally.errors.push(error);
    else this.#failure ??= asError(error);
  }
}

/** A body that tells when its reader has had all of it, or has turned away. */
class Reading implements AsyncIterable<Buffer> {
  readonly ended: Promise<void>;
  readonly #body: AsyncIterable<Buffer>;
  readonly #progress: (octets: number) => void;
  #end: () => void = () => undefined;

  constructor(body: AsyncIterable<Buffer>, progress: (octets: number) => void) {
    this.#body = body;
    this.#progress = progress;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer, void, undefined> {
    const inner = this.#body[Symbol.asyncIterator]();
    return {
      next: async () => {
        try {
          const result = (await inner.next()) as IteratorResult<Buffer, void>;
          if (result.done === true) this.#end();
          else this.#progress(result.value.length);
          return result;
        } catch (error) {
          this.#end();
          throw error;
        }
      },
      return: async () => {
        await inner.return?.();
        this.#end();
        return { done: true, value: undefined };
      },
    };
  }
}
