/** A memory for destinations that is kept in memory, and outlives them: what a journal would hold after a crash. */
import type { DeliveryLog, Intent } from '../../src/deliver/destination.js';

/** Records what a destination says. Intents stay unfinished until a test calls {@link MemoryLog.done}. */
export class MemoryLog implements DeliveryLog {
  readonly #intents = new Map<string, Intent>();
  readonly #stored = new Set<string>();
  readonly #done = new Set<string>();

  /** Called before each record: may wait, or throw to refuse it. */
  before: (verb: 'intend' | 'stored') => Promise<void> = () => Promise.resolve();
  /** Called after it, while the promise is not yet given. */
  after: (verb: 'intend' | 'stored') => Promise<void> = () => Promise.resolve();

  async intend(intent: Intent): Promise<void> {
    await this.before('intend');
    this.#intents.set(`${intent.uid}\n${intent.destination}`, intent);
    await this.after('intend');
  }

  async stored(uid: string, destination: string): Promise<void> {
    await this.before('stored');
    this.#stored.add(`${uid}\n${destination}`);
    await this.after('stored');
  }

  isStored(uid: string, destination: string): boolean {
    return this.#stored.has(`${uid}\n${destination}`);
  }

  /** The message is wholly delivered. */
  done(uid: string): void {
    this.#done.add(uid);
  }

  isDone(uid: string): boolean {
    return this.#done.has(uid);
  }

  /** The intents that are not settled, the latest for each message and destination. */
  unfinished(): Intent[] {
    return this.intents().filter(
      ({ uid, destination }) => !this.isDone(uid) && !this.isStored(uid, destination),
    );
  }

  /** All intents. */
  intents(): Intent[] {
    return [...this.#intents.values()];
  }
}
