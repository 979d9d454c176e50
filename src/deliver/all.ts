/**
 * All destinations of an account as one: each gets every message, one after the other. What one has taken is recorded
 * at once, so that a failure or a crash later on never gives it the message a second time.
 */
import type { Delivery, DeliveryLog, Destination, Intent, Message } from './destination.js';
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

  /** @param elsewhere called in recover() for destinations that are not among `parts` */
  constructor(parts: readonly Destination[], spool: Spool, elsewhere: FinishElsewhere) {
    this.#parts = parts;
    this.name = parts.map(({ name }) => name).join(', ');
    this.window = Math.min(...parts.map(({ window }) => window));
    this.#spool = spool;
    this.#elsewhere = elsewhere;
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
    const elsewhere = new Set<string>();
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

  async deliver(message: Message, log: DeliveryLog): Promise<Delivery> {
    const missing = this.#parts.filter(({ name }) => !log.isStored(message.uid, name));
    const [only] = missing;
    if (only === undefined) return drained(message);
    if (missing.length === 1) return only.deliver(message, log);
    const held = await this.#spool.hold(message.key, message.body, undefined, false);
    try {
      return await this.#deliverEach(missing, message, held, log);
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
    const body = copies(held);
    if (rest.length === 0) {
      const last = await first.deliver({ ...message, body }, log);
      return { ...last, stands: () => allStand([...earlier, last]) };
    }
    const delivery = await first.deliver({ ...message, body }, log);
    try {
      await log.stored(message.uid, first.name);
    } finally {
      await delivery.release();
    }
    return this.#deliverEach(rest, message, held, log, [...earlier, delivery]);
  }

  async close(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.close()));
  }
}

async function allStand(deliveries: readonly Delivery[]): Promise<boolean> {
  for (const delivery of deliveries) if ((await delivery.stands?.()) === false) return false;
  return true;
}

/** Pieces that their reader may change. */
async function* copies(held: Held): AsyncGenerator<Buffer, void, undefined> {
  for await (const piece of held.pieces()) yield held.memory === undefined ? piece : Buffer.from(piece);
}

/** Reads a message that every destination has, because the session cannot go on before it is read. */
async function drained(message: Message): Promise<Delivery> {
  let octets = 0;
  for await (const piece of message.body) octets += piece.length;
  return { octets, release: () => Promise.resolve() };
}
