/**
 * All destinations of an account as one: each gets every message, one after the other. What one has taken is recorded
 * at once, so that a failure or a crash later on never gives it the message a second time.
 */
import { PopfetchError } from '../errors.js';
import { drained } from './drained.js';
import type { Delivery, DeliveryLog, Destination, Intent, Message } from './destination.js';
import type { Rejected } from './rejected.js';
import type { Reserve } from './reserve.js';
import type { Held, Spool } from './spool.js';

/** Finishes deliveries to a place where nothing is delivered any more; gives the uids that are there. */
export type FinishElsewhere = (
  destination: string,
  unfinished: readonly Intent[],
  log: DeliveryLog,
) => Promise<readonly string[]>;

/** One or more destinations. */
export class All implements Destination {
  readonly name: string;
  readonly window: number;
  readonly #parts: readonly Destination[];
  readonly #spool: Spool;
  readonly #elsewhere: FinishElsewhere;
  readonly #rejected: Rejected | undefined;
  readonly #reserve: Reserve;

  /**
   * @param elsewhere called in recover() for destinations that are not among `parts`
   * @param reserve of the file systems that a message may go through
   * @param rejected takes what one of `parts` refuses for good, which is otherwise thrown
   */
  constructor(
    parts: readonly Destination[],
    spool: Spool,
    elsewhere: FinishElsewhere,
    reserve: Reserve,
    rejected?: Rejected,
  ) {
    this.#parts = parts;
    this.name = parts.map(({ name }) => name).join(', ');
    this.window = Math.min(...parts.map(({ window }) => window));
    this.#spool = spool;
    this.#elsewhere = elsewhere;
    this.#reserve = reserve;
    this.#rejected = rejected;
  }

  async traces(): Promise<number> {
    let count = 0;
    for (const part of this.#parts) count += (await part.traces?.()) ?? 0;
    return count;
  }

  async recover(unfinished: readonly Intent[], log: DeliveryLog): Promise<string[]> {
    const byName = new Map<string, Intent[]>();
    // Where a message is known to be, nobody looks for it again: its reader may have removed it.
    for (const intent of unfinished.filter(({ uid, destination }) => !log.isStored(uid, destination))) {
      byName.set(intent.destination, [...(byName.get(intent.destination) ?? []), intent]);
    }
    const has = new Map<string, Set<string>>();
    for (const part of this.#parts) {
      has.set(part.name, new Set(await part.recover(byName.get(part.name) ?? [], log)));
      byName.delete(part.name);
    }
    const elsewhere = new Set(await this.#recoverRejected(byName, log));
    for (const [name, intents] of byName) {
      for (const uid of await this.#elsewhere(name, intents, log)) elsewhere.add(uid);
    }
    // All that was begun is decided by now, so nothing in the spool is needed.
    await this.#spool.sweep();
    const arrived = (uid: string) => (part: Destination) =>
      log.isStored(uid, part.name) || has.get(part.name)?.has(uid) === true;
    return [...new Set(unfinished.map(({ uid }) => uid))].filter((uid) => {
      if (this.#parts.every(arrived(uid))) return true;
      // Delivered whole to where the config used to say; no destination of today has begun with it.
      return elsewhere.has(uid) && !this.#parts.some(arrived(uid));
    });
  }

  /** @returns the uids that were refused by a destination of which the config knows nothing any more */
  async #recoverRejected(byName: Map<string, Intent[]>, log: DeliveryLog): Promise<readonly string[]> {
    if (this.#rejected === undefined) return [];
    const { name } = this.#rejected;
    const intents = byName.get(name) ?? [];
    byName.delete(name);
    return this.#rejected.recover(intents, new Set(this.#parts.map((part) => part.name)), log);
  }

  async deliver(message: Message, log: DeliveryLog): Promise<Delivery> {
    const missing = this.#parts.filter(({ name }) => !log.isStored(message.uid, name));
    const [only] = missing;
    if (only === undefined) return drained(message);
    const body = this.#reserve.guard(message.body, message.size);
    if (missing.length === 1 && this.#rejected === undefined) return only.deliver({ ...message, body }, log);
    const held = await this.#spool.hold(message.key, body, undefined, false);
    try {
      return await this.#deliverEach(missing, message, held, this.#rejected?.remembering(log) ?? log);
    } finally {
      await held.drop();
    }
  }

  /**
   * All but the last are released as soon as it is on disk that they have the message. Waiting for the last one would
   * hold several locks at once, and two accounts with the same mboxes in another order would wait for each other.
   */
  async #deliverEach(
    parts: readonly Destination[],
    message: Message,
    held: Held,
    log: DeliveryLog,
    earlier: readonly Delivery[] = [],
  ): Promise<Delivery> {
    const [first, ...rest] = parts;
    if (first === undefined) throw new Error('no destination');
    const delivery = await this.#deliverOne(first, message, held, log);
    if (rest.length === 0) return { ...delivery, stands: () => allStand([...earlier, delivery]) };
    let remembered = false;
    try {
      await log.stored(message.uid, first.name);
      remembered = true;
    } finally {
      await delivery.release(remembered);
    }
    return this.#deliverEach(rest, message, held, log, [...earlier, delivery]);
  }

  async #deliverOne(part: Destination, message: Message, held: Held, log: DeliveryLog): Promise<Delivery> {
    try {
      return await part.deliver({ ...message, body: copies(held) }, log);
    } catch (error) {
      if (this.#rejected === undefined || !isRefusal(error)) throw error;
      return this.#rejected.take({ ...message, body: copies(held) }, part.name, error, log);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.close()));
  }
}

async function allStand(deliveries: readonly Delivery[]): Promise<boolean> {
  for (const delivery of deliveries) if ((await delivery.stands?.()) === false) return false;
  return true;
}

/** Whether a destination will never take this message. */
function isRefusal(error: unknown): error is PopfetchError {
  return error instanceof PopfetchError && error.code === 'DATA' && error.phase === 'deliver';
}

/** Pieces that their reader may change. */
async function* copies(held: Held): AsyncGenerator<Buffer, void, undefined> {
  for await (const piece of held.pieces()) yield held.memory === undefined ? piece : Buffer.from(piece);
}
