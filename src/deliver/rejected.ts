/**
 * Where a message goes that a command or an LMTP server refuses for good: a Maildir, exactly once, however many refuse
 * it. There it counts as stored, and what the memory holds of it says so for ever, since it is never to be removed from
 * the server.
 */
import type { PopfetchError } from '../errors.js';
import { printable } from '../escape.js';
import { drained } from './drained.js';
import type { DestinationContext } from './context.js';
import type { Delivery, DeliveryLog, Intent, Message } from './destination.js';
import { Maildir } from './maildir.js';

/** Characters of a server's words that are shown. */
const WORDS = 200;

/** The Maildir `rejected` of an account. */
export class Rejected {
  /** `rejected:PATH`. */
  readonly name: string;
  readonly #path: string;
  readonly #maildir: Maildir;
  readonly #note: (sentence: string) => void;

  constructor(path: string, context: DestinationContext) {
    this.#path = path;
    this.#maildir = new Maildir(path, context, 'rejected');
    this.name = this.#maildir.name;
    this.#note = (sentence) => context.note?.(sentence);
  }

  /**
   * Makes the Maildir, and finishes what an earlier run began there: the destination that refused a message is recorded
   * as done with it, if it is one of `names`.
   * @returns the uids that are here and were refused by another one
   * @throws CREATE, DELIVERY, STATE
   */
  async recover(
    unfinished: readonly Intent[],
    names: ReadonlySet<string>,
    log: DeliveryLog,
  ): Promise<readonly string[]> {
    const here = new Set(await this.#maildir.recover(unfinished, log));
    const others: string[] = [];
    for (const { uid, details } of unfinished.filter((intent) => here.has(intent.uid))) {
      const refuser = String(details['refuser']);
      if (names.has(refuser)) await log.stored(uid, refuser);
      else others.push(uid);
    }
    return others;
  }

  /**
   * Takes a message that `refuser` refused with this error.
   * @throws DELIVERY, STATE, or what the body threw
   */
  async take(message: Message, refuser: string, error: PopfetchError, log: DeliveryLog): Promise<Delivery> {
    if (log.isStored(message.uid, this.name)) return drained(message);
    const delivery = await this.#maildir.deliver(message, {
      intend: (intent) => log.intend({ ...intent, details: { ...intent.details, refuser } }),
      stored: (uid, destination) => log.stored(uid, destination),
      isStored: (uid, destination) => log.isStored(uid, destination),
    });
    // Another one may refuse it too, now or in a later run.
    await log.stored(message.uid, this.name);
    const { message: what, serverText = '' } = error;
    const words = serverText === '' ? '' : `: "${printable(serverText, WORDS)}"`;
    this.#note(`message ${message.number} is in ${this.#path} now, and stays on the server: ${what}${words}`);
    return delivery;
  }

  /**
   * The memory as it is told of a message that has been here since an earlier run: whatever is intended for it, this
   * place is intended too.
   */
  remembering(log: DeliveryLog): DeliveryLog {
    return {
      intend: async (intent) => {
        const again = intent.destination !== this.name && log.isStored(intent.uid, this.name);
        if (again) await log.intend({ ...intent, destination: this.name, details: {} });
        await log.intend(intent);
      },
      stored: (uid, destination) => log.stored(uid, destination),
      isStored: (uid, destination) => log.isStored(uid, destination),
    };
  }
}
