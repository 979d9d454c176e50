/** The messages of one session on their way: from RETR to durable and remembered. */
import type { Account } from '../config/account.js';
import type { Delivery, DeliveryLog, Message } from '../deliver/destination.js';
import { asError, PopfetchError } from '../errors.js';
import type { Listed, Listing, Mailbox, Retrieved } from '../pop3/mailbox.js';
import type { TroubleKind } from '../seen/memory.js';
import type { Parts, Tally } from './parts.js';
import { PATIENCE } from './plan.js';
import { Reading } from './reading.js';
import { Recognised, type Recognition } from './content.js';

/** Messages that a destination may refuse one after the other before the rest is left for the next run. */
const REFUSALS = 5;

/** Reads messages in their order while earlier ones are still on their way to the disk. */
export class Retrieval {
  readonly #account: Account;
  readonly #parts: Parts;
  readonly #tally: Tally;
  readonly #recognition: Recognition | undefined;
  readonly #inFlight = new Set<Promise<void>>();
  /** By uid: what was delivered in this session. */
  readonly #deliveries = new Map<string, Delivery>();
  /** By number: the uid of what was recognised when it had been read. */
  readonly #recognised = new Map<number, string>();
  /** What ended the retrieval: a failure that reaches further than its message. */
  #failure: Error | undefined;
  #clean = true;
  #broken = false;
  #refusals = 0;

  /** @param recognition where messages are known by their content only */
  constructor(account: Account, parts: Parts, tally: Tally, recognition?: Recognition) {
    this.#account = account;
    this.#parts = parts;
    this.#tally = tally;
    this.#recognition = recognition;
  }

  /** Whether everything that RETR gave is durable, so that QUIT can lose nothing. */
  get clean(): boolean {
    return this.#clean;
  }

  /** Whether a message broke the session, as far as anybody can tell. */
  get broken(): boolean {
    return this.#broken;
  }

  /** The listing, with what was recognised under the uid by which the memory knows it. */
  asKnown<T extends Listing>(listing: T): T {
    if (this.#recognised.size === 0) return listing;
    const messages = listing.messages.map((message) => ({
      ...message,
      uid: this.#recognised.get(message.number) ?? message.uid,
    }));
    return { ...listing, messages };
  }

  /** Whether the copy is still where this session has put it; true for what it has not delivered. Never rejects. */
  async stands(uid: string): Promise<boolean> {
    return (
      (await this.#deliveries
        .get(uid)
        ?.stands?.()
        .catch(() => false)) ?? true
    );
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
    // What is recognised rejects its intent, and an mbox that writes several at once would reject the others with it.
    const window = this.#recognition === undefined ? destination.window : 1;
    let index = 0;
    try {
      for await (const answer of mailbox.retrieve(wanted, this.#account.maxSize)) {
        const message = wanted[index];
        if (message === undefined) break;
        index += 1;
        if (!(await this.#take(message, answer))) break;
        while (this.#inFlight.size >= window) await Promise.race(this.#inFlight);
        if (signal.aborted || this.#failure !== undefined) break;
      }
    } catch (error) {
      // The answer that did not come is that of the next message.
      const due = wanted[index];
      if (due !== undefined && this.#breaks(error)) await this.#blame(due, 'server', error);
      throw error;
    }
    // Leaving early: the server may have sent, on request, messages that nobody has read.
    if (index < wanted.length) this.#clean = false;
  }

  /** Resolves when the answer has been read, or cannot be; the delivery goes on. @returns whether more can be read */
  async #take(listed: Listed, answer: Retrieved): Promise<boolean> {
    if ('refused' in answer) {
      await this.#refused(listed, answer.refused);
      return true;
    }
    const reading = new Reading(answer.body, listed, (octets) => {
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
    return !reading.broken;
  }

  async #deliver(listed: Listed, body: AsyncIterable<Buffer>): Promise<void> {
    const { destination, seen, emit } = this.#parts;
    const { number, uid, size } = listed;
    const key = this.#parts.key(uid);
    const message: Message = { uid, key, number, size, body };
    const log: DeliveryLog = this.#recognition?.guard(seen) ?? seen;
    const delivery = await destination.deliver(message, log);
    let remembered = false;
    try {
      await seen.done(uid);
      remembered = true;
    } finally {
      await delivery.release(remembered);
    }
    const { octets } = delivery;
    this.#refusals = 0;
    this.#deliveries.set(uid, delivery);
    this.#tally.delivered += 1;
    this.#tally.octets += octets;
    const where = { key, octets, destination: destination.name };
    emit({ type: 'delivered', account: this.#account.name, number, uid, ...where });
  }

  async #refused(listed: Listed, serverText: string): Promise<void> {
    const { number } = listed;
    const message = `the server refuses to give message ${number}`;
    const remedy = 'it is tried once a day';
    const error = new PopfetchError('REFUSED', message, { phase: 'retrieve', serverText, remedy });
    const told = await this.#blame(listed, 'server', error);
    this.#skipped(listed, told, serverText);
  }

  /** What is too large is remembered, so that the next run leaves it alone and goes on with the others. */
  async #notDelivered(listed: Listed, error: unknown): Promise<void> {
    if (error instanceof Recognised) {
      this.#recognised.set(listed.number, error.entry.uid);
      return;
    }
    if (this.#breaks(error)) await this.#blame(listed, 'server', error);
    if (!(error instanceof PopfetchError) || error.reach !== 'message') {
      this.#failed(error);
      return;
    }
    this.#clean = false;
    if (error.code === 'DATA' && error.phase === 'retrieve') {
      this.#tally.errors.push(error);
      await this.#parts.seen.outgrew(listed.uid, this.#account.maxSize + 1);
      return;
    }
    if (error.code === 'REFUSED' && error.phase === 'retrieve') {
      await this.#withoutContent(listed, error);
      return;
    }
    await this.#blame(listed, error.code === 'DATA' ? 'rejected' : 'later', error);
    this.#refusals += 1;
    if (this.#refusals >= REFUSALS) this.#failed(this.#givenUp(error));
  }

  /** The server has a fault, or this message: as good as refused, but for a RETR that was answered. */
  async #withoutContent(listed: Listed, error: PopfetchError): Promise<void> {
    const first = await this.#blame(listed, 'server', error);
    this.#skipped(listed, first);
  }

  #skipped({ number, uid, size }: Listed, first: boolean, serverText?: string): void {
    this.#tally.skipped += 1;
    const skip = { number, uid, octets: size, reason: 'refused', first } as const;
    const words = serverText === undefined ? {} : { serverText };
    this.#parts.emit({ type: 'skipped', account: this.#account.name, ...skip, ...words });
  }

  #givenUp(cause: PopfetchError): PopfetchError {
    const { name } = this.#parts.destination;
    const sentence = `${name} refused ${REFUSALS} messages one after the other; the rest waits for the next run`;
    return new PopfetchError('DELIVERY', sentence, {
      phase: 'deliver',
      remedy: 'see the lines before',
      cause,
    });
  }

  /**
   * Remembers that a message stood in the way, so that the next run tries it after all others, and counts the error.
   * What the server does may pass, and a person is told of it only when it has not.
   * @returns whether a person is told
   */
  async #blame({ uid, number }: Listed, kind: TroubleKind, error: PopfetchError): Promise<boolean> {
    // A message that has no name for ever would be blamed under a new one each time.
    if (this.#recognition !== undefined) {
      if (error.reach === 'message') this.#tally.errors.push(error);
      return true;
    }
    const { count } = await this.#parts.seen.failed(uid, kind);
    const told = kind !== 'server' || count >= PATIENCE;
    const own = error.reach === 'message';
    this.#broken ||= !own;
    (told ? this.#tally.errors : this.#tally.untold).push(own ? error : breaking(number, count, error));
    return told;
  }

  /** Whether this error may be the doing of the message that was being read. */
  #breaks(error: unknown): error is PopfetchError {
    if (!(error instanceof PopfetchError) || this.#parts.signal.aborted) return false;
    return error.code === 'LOST' || error.code === 'TIMEOUT' || error.code === 'PROTOCOL';
  }

  /** A message that was asked for is not stored: from here on this session must not QUIT. */
  #failed(error: unknown): void {
    this.#clean = false;
    this.#failure ??= asError(error);
  }
}

/** What a person is told of a message at which session after session ends. */
function breaking(number: number, count: number, cause: PopfetchError): PopfetchError {
  const sentence = `the session has ended at message ${number} in ${count} runs (${cause.message})`;
  return new PopfetchError('REFUSED', sentence, {
    phase: 'retrieve',
    remedy:
      'it stays on the server and is tried once a day; popfetch show reads it, popfetch state mark-seen gives it up',
    cause,
  });
}
