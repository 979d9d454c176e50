/** The end of a session: what is due goes from the server, and only then goodbye. */
import type { Account } from '../config/account.js';
import { PopfetchError, type Phase } from '../errors.js';
import type { Listed, Listing, Mailbox } from '../pop3/mailbox.js';
import type { Parts, Tally } from './parts.js';
import { Plan, type Terms } from './plan.js';
import type { Retrieval } from './retrieval.js';

/** Messages marked before the server has to confirm that they are gone: a lost session would keep all it has marked. */
const CHECKPOINT = 500;

/** A session in which everything that was wanted has been retrieved. */
export interface Finish {
  readonly mailbox: Mailbox;
  readonly listing: Listing;
  readonly retrieval: Retrieval;
  readonly tally: Tally;
}

/** What is to be removed: the first of it, as many as one session takes, and how many there are in all. */
interface Due {
  readonly batch: readonly Listed[];
  readonly count: number;
}

/** Lists a mailbox that has just been opened. */
type List = (mailbox: Mailbox) => Promise<Listing>;

/** The terms of this run: with --keep nothing is removed. */
export function termsOf(account: Account, keep: boolean): Terms {
  return keep ? { ...account, delete: 'never' } : account;
}

/**
 * Removes what is due and says goodbye; in a session of its own where this one must not QUIT, and in several where
 * there is much. Closes only the sessions that it has opened.
 */
export async function finish(account: Account, parts: Parts, session: Finish, list: List): Promise<void> {
  const removal = new Removal(account, parts, session);
  if (!(await removal.first())) return;
  for (let more = true; more;) {
    const mailbox = await reconnect(parts);
    if (mailbox === undefined) {
      removal.warn('the server asks to come back later; the next run removes the rest');
      return;
    }
    try {
      more = await removal.remove(mailbox, await removal.due(await list(mailbox)));
    } finally {
      mailbox.close();
    }
  }
}

/** One more session of a run; undefined where the server asks to come back later. @throws what connecting throws */
export async function reconnect({ connect, signal }: Parts): Promise<Mailbox | undefined> {
  signal.throwIfAborted();
  try {
    return await connect();
  } catch (error) {
    if (error instanceof PopfetchError && error.code === 'BUSY') return undefined;
    throw error;
  }
}

class Removal {
  readonly #account: Account;
  readonly #parts: Parts;
  readonly #session: Finish;
  #warned = false;

  constructor(account: Account, parts: Parts, session: Finish) {
    this.#account = account;
    this.#parts = parts;
    this.#session = session;
  }

  /** What the session in which messages were retrieved can still do. @returns whether another one is needed */
  async first(): Promise<boolean> {
    const { mailbox, listing, retrieval } = this.#session;
    const due = await this.due(listing);
    if (retrieval.clean) return this.remove(mailbox, due);
    mailbox.close();
    // An end that came between two messages made nothing fail: what was cut short must not pass for a whole run.
    this.#parts.signal.throwIfAborted();
    return due.count > 0;
  }

  /** What is to be removed, and whose copy is where it was put. */
  async due(listing: Listing): Promise<Due> {
    const { seen, keep, now } = this.#parts;
    const plan = new Plan(listing, seen, termsOf(this.#account, keep), now());
    const batch: Listed[] = [];
    let [count, missing] = [0, 0];
    for (const message of plan.of('remove')) {
      if (!(await this.#session.retrieval.stands(message.uid))) missing += 1;
      else if ((count += 1) <= CHECKPOINT) batch.push(message);
    }
    if (missing > 0 && !this.#warned) {
      this.#warned = true;
      this.warn(
        `${missing} of ${missing + count} copies cannot be found where they were stored a moment ago; ` +
          'the next run removes those messages from the server',
      );
    }
    return { batch, count };
  }

  /** Marks as many as one session takes, and quits. @returns whether there are more */
  async remove(mailbox: Mailbox, { batch, count }: Due): Promise<boolean> {
    const { seen, emit } = this.#parts;
    if (batch.length > 0) this.#phase('remove');
    const marked = new Set(batch.length > 0 ? await mailbox.remove(batch.map(({ number }) => number)) : []);
    this.#phase('quit');
    await mailbox.quit();
    if (marked.size > 0) {
      await seen.removed(batch.filter(({ number }) => marked.has(number)).map(({ uid }) => uid));
      this.#session.tally.removed += marked.size;
      emit({ type: 'removed', account: this.#account.name, messages: marked.size });
    }
    if (marked.size < batch.length) {
      const left = batch.length - marked.size;
      this.warn(`the server would not remove ${left} of ${batch.length} messages; the next run tries again`);
      return false;
    }
    return count > batch.length;
  }

  /** Tells a person what stops nothing. */
  warn(message: string): void {
    this.#parts.emit({ type: 'warning', account: this.#account.name, message });
  }

  #phase(phase: Phase): void {
    this.#parts.emit({ type: 'phase', account: this.#account.name, phase });
  }
}
