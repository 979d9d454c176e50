/**
 * Telling seen mail from new by its content, for servers without unique-ids and accounts with `identity: hash`. Every
 * message is read; one that the memory knows is recognised at the last moment before it would become visible.
 */
import type { Account } from '../config/account.js';
import type { DeliveryLog, Intent } from '../deliver/destination.js';
import { PopfetchError } from '../errors.js';
import type { Listing } from '../pop3/mailbox.js';
import type { Entry, Memory } from '../seen/memory.js';

/** Whether messages have to be told apart by their content. */
export function isByContent({ uidl, messages }: Listing, { identity }: Pick<Account, 'identity'>): boolean {
  return messages.length > 0 && (identity === 'hash' || !uidl);
}

/**
 * Reading everything again is worth it only where messages do not stay, or where somebody asked for it. And a message
 * that one of several destinations has while another failed could not be told from a new one by the next run.
 * @param keep whether this run removes nothing
 * @throws PROTOCOL where it cannot be done
 */
export function refuseRereading(
  account: Pick<Account, 'identity' | 'delete' | 'deliver'>,
  keep: boolean,
): void {
  if (account.deliver.length > 1) {
    throw new PopfetchError('PROTOCOL', 'mail known by its content only cannot go to several destinations', {
      phase: 'list',
      remedy: 'deliver to one of them, and let that one pass it on',
    });
  }
  if (account.identity === 'hash' || (account.delete === 'delivered' && !keep)) return;
  throw new PopfetchError('PROTOCOL', 'the server has no UIDL, so that seen mail cannot be told from new', {
    phase: 'list',
    remedy: 'set delete: delivered; or identity: hash, and every run reads all messages again',
  });
}

/**
 * The listing with uids that nothing had before and nothing will have: a NUL, the time, and a count. What a message is
 * known by shows only when it has been read.
 * @param now milliseconds since 1970
 */
export function withFreshUids<T extends Listing>(listing: T, memory: Memory | undefined, now: number): T {
  let count = 0;
  const fresh = (): string => {
    for (;;) {
      count += 1;
      const uid = `\0${now}.${count}`;
      if (memory?.has(uid) !== true) return uid;
    }
  };
  return { ...listing, messages: listing.messages.map((message) => ({ ...message, uid: fresh() })) };
}

/** Thrown out of a delivery in place of its intent: the destination undoes what it began. */
export class Recognised extends Error {
  override readonly name = 'Recognised';

  constructor(readonly entry: Entry) {
    super('the message is known');
  }
}

/** Recognises messages of one listing by the hash of all of them; each known message is taken once. */
export class Recognition {
  readonly #known = new Map<string, Entry[]>();

  constructor(memory: Memory) {
    for (const entry of memory.entries()) {
      // What a complete listing no longer showed has been deleted: the same content now is another message.
      if (entry.goneAt !== undefined) continue;
      this.#known.set(entry.sha256, [...(this.#known.get(entry.sha256) ?? []), entry]);
    }
  }

  /** A log that lets the intent of a known message throw {@link Recognised}. */
  guard(log: DeliveryLog): DeliveryLog {
    return {
      intend: async (intent: Intent): Promise<void> => {
        const entry = this.#known.get(intent.sha256)?.shift();
        if (entry !== undefined) throw new Recognised(entry);
        await log.intend(intent);
      },
      stored: (uid, destination) => log.stored(uid, destination),
      isStored: (uid, destination) => log.isStored(uid, destination),
    };
  }
}
