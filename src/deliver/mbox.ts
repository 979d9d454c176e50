/**
 * Delivery to an mbox, exactly once. Messages that wait are appended together: their octets are spooled and synced,
 * the file is locked, each intent is recorded with the place its message will have, all are appended and synced, and
 * the lock is held until the memory has them as done. So a crash leaves at the end of the file what the spool says in
 * full, and the next run knows whether it is whole.
 */
import { basename, dirname } from 'node:path';
import { asError } from '../errors.js';
import type { DestinationContext } from './context.js';
import type { Delivery, DeliveryLog, Destination, Intent, Message } from './destination.js';
import type { DiskFile } from '../disk.js';
import { clearDotlock } from './dotlock.js';
import { failure, refusal, refuseUnsafe } from './failure.js';
import { chain, Checksum, Intake, type Facts } from './lines.js';
import { append, cutOff, mboxEnd, octetsOf, type MboxEnd, type Octets } from './mboxfile.js';
import { MboxEntry } from './mboxformat.js';
import { LOCK_WAIT, lockMbox, openMbox, type LockedMbox } from './mboxlock.js';
import { MboxRecovery } from './mboxrecovery.js';
import type { Held, Spool } from './spool.js';

/** Messages appended under one lock. */
const BATCH = 32;

/** Octets from which on a batch takes no further message. */
const BATCH_OCTETS = 8 * 1_048_576;

/** A message that is whole, formatted and waiting to be appended. */
interface Waiting {
  readonly uid: string;
  readonly size: number;
  readonly key: string;
  readonly held: Held;
  readonly facts: Facts;
  /** SHA-256 (hex) of the octets in `held`. */
  readonly sum: string;
  readonly log: DeliveryLog;
  readonly resolve: (delivery: Delivery) => void;
  readonly reject: (error: unknown) => void;
}

/** Where the octets of a message are spooled. */
interface Spooled {
  readonly spool: string;
  readonly from: number;
}

/** An mbox; made with mode 0600 when missing. */
export class Mbox implements Destination {
  readonly name: string;
  /** One batch on its way to the disk while the next one gathers. */
  readonly window = 2 * BATCH;
  readonly #path: string;
  readonly #context: DestinationContext;
  readonly #spool: Spool;
  readonly #wait: number;
  #queue: Waiting[] = [];
  #working: Promise<void> | undefined;
  /** Why something stands half in the mbox that could not be cut off. */
  #stuck: Error | undefined;
  #closed = false;
  /** Ends the waiting for release(). */
  #letGo: () => void = () => undefined;

  /** @param wait milliseconds to wait for programs that hold the mbox */
  constructor(path: string, context: DestinationContext, spool: Spool, wait = LOCK_WAIT) {
    this.name = `mbox:${path}`;
    this.#path = path;
    this.#context = context;
    this.#spool = spool;
    this.#wait = wait;
  }

  async recover(unfinished: readonly Intent[], log: DeliveryLog): Promise<string[]> {
    try {
      await refuseUnsafe(this.#context.disk, dirname(this.#path));
      await this.#context.disk.mkdir(dirname(this.#path));
      await clearDotlock(`${this.#path}.lock`, this.#context);
      if (unfinished.length > 0) return await this.#recoverLocked(unfinished, log);
      const file = await openMbox(this.#path, this.#context);
      try {
        await mboxEnd(file, (await file.stat()).size, this.#context.eol);
      } finally {
        await file.close();
      }
      return [];
    } catch (error) {
      throw refusal(error, this.#path);
    }
  }

  async #recoverLocked(unfinished: readonly Intent[], log: DeliveryLog): Promise<string[]> {
    const locked = await lockMbox(this.#path, this.#context, this.#wait);
    try {
      const recovery = new MboxRecovery(locked.file, this.#spool, (sentence) =>
        this.#context.note?.(sentence),
      );
      const delivered = await recovery.run(unfinished);
      await this.#context.disk.syncDirectory(dirname(this.#path));
      await Promise.all(delivered.map((uid) => log.stored(uid, this.name)));
      await mboxEnd(locked.file, (await locked.file.stat()).size, this.#context.eol);
      return delivered;
    } finally {
      await locked.release();
    }
  }

  async deliver(message: Message, log: DeliveryLog): Promise<Delivery> {
    const { eol } = this.#context;
    const intake = new Intake(eol);
    const checksum = new Checksum();
    const filter = chain(chain(intake, new MboxEntry(this.#context.now(), eol)), checksum);
    const held = await this.#spool.hold(message.key, message.body, filter, true);
    return new Promise((resolve, reject) => {
      const { uid, key, size } = message;
      const [facts, sum] = [intake.facts(), checksum.value()];
      this.#queue.push({ uid, key, size, held, facts, sum, log, resolve, reject });
      this.#working ??= this.#work();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#letGo();
    await this.#working;
  }

  /** Never rejects. */
  async #work(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, batchLength(this.#queue));
      const stuck = this.#stuck;
      try {
        // What is written behind a message that is only half there would keep the next run from cutting it off.
        if (stuck !== undefined) throw stuck;
        await this.#commit(batch);
      } catch (error) {
        // What stopped this batch stops those that wait, too.
        const waiting = this.#queue.splice(0);
        const needed = this.#stuck === stuck ? [] : batch;
        const dropped = needed.length > 0 ? waiting : [...batch, ...waiting];
        await Promise.all([
          ...needed.map(({ held }) => held.close()),
          ...dropped.map(({ held }) => held.drop()),
        ]);
        for (const { reject } of [...batch, ...waiting]) reject(failure(error, this.#path));
      }
    }
    // At once with the look at the queue: whoever comes a moment later must find nobody at work, and begin.
    this.#working = undefined;
  }

  async #commit(batch: readonly Waiting[]): Promise<void> {
    const small = batch.flatMap(({ held }) => held.memory ?? []);
    const spooled = small.length === 0 ? undefined : await this.#spool.store(batch[0]?.key ?? '', small);
    const removeSpool = async (): Promise<void> => {
      if (spooled !== undefined) await this.#spool.remove(spooled);
    };
    let locked: LockedMbox;
    try {
      locked = await this.#append(batch, spooled);
    } catch (error) {
      // Only with its spool can the next run tell what is ours and cut it off.
      if (this.#stuck === undefined) await removeSpool();
      throw error;
    }
    const finish = async (remembered: boolean): Promise<void> => {
      await locked.release();
      if (remembered) await removeSpool();
      await Promise.all(batch.map(({ held }) => (remembered ? held.drop() : held.close())));
    };
    const size = batch.reduce((sum, { held }) => sum + held.length, locked.stat.size);
    const stands = async (): Promise<boolean> => {
      const found = await this.#context.disk.lstat(this.#path);
      return found?.ino === locked.stat.ino && found.size >= size;
    };
    // What was not released may be unknown to the memory, and then the next run needs the spool.
    if (!(await this.#resolve(batch, finish, stands))) await locked.release();
  }

  /** @returns the mbox, still locked, when all of the batch are in it for good. */
  async #append(batch: readonly Waiting[], spooled: string | undefined): Promise<LockedMbox> {
    const locked = await lockMbox(this.#path, this.#context, this.#wait);
    const { file, stat } = locked;
    try {
      const end = await mboxEnd(file, stat.size, this.#context.eol);
      await Promise.all(this.#intents(batch, end, locked, spooled));
      const parts = [octetsOf(Buffer.from(end.pad)), ...batch.map(({ held }) => held)];
      await this.#write(locked, end, parts, async () => {
        await Promise.allSettled(this.#intents(batch, end, locked, spooled, { unsynced: 1 }));
      });
      return locked;
    } catch (error) {
      await locked.release();
      throw error;
    }
  }

  /** Writes and syncs all parts, or takes back what it wrote. @param doubt called where they stand there, unsynced, for good */
  async #write(
    { file }: LockedMbox,
    end: MboxEnd,
    parts: readonly Octets[],
    doubt: () => Promise<void>,
  ): Promise<void> {
    let whole = false;
    try {
      await append(file, end.size, parts);
      whole = true;
      await file.sync();
      if (end.size === 0) await this.#context.disk.syncDirectory(dirname(this.#path));
    } catch (error) {
      const cut = await cutOff(file, end.size, parts).catch(() => false);
      if (cut && !whole && (await isSynced(file))) throw error;
      // A failed sync is not tried again on this file: whether the cut holds, the next run sees, with the spool.
      this.#stuck = asError(error);
      if (whole && !cut) await doubt();
      throw error;
    }
  }

  /**
   * @param doubt where the octets stand there and could not be synced: the system may show them to the next run and
   * forget them later, so that run must not take them for delivered
   */
  #intents(
    batch: readonly Waiting[],
    end: MboxEnd,
    { stat }: LockedMbox,
    spooled: string | undefined,
    doubt: { readonly unsynced?: 1 } = {},
  ): Promise<void>[] {
    let offset = end.size + end.pad.length;
    let from = 0;
    return batch.map(({ uid, key, size, held, facts, sum, log }, index) => {
      const where: Spooled =
        held.path === undefined
          ? { spool: basename(spooled ?? ''), from }
          : { spool: basename(held.path), from: 0 };
      const details = {
        ...{ ino: stat.ino, start: end.size, anchor: end.anchor },
        ...{ pad: index === 0 ? end.pad : '', offset, length: held.length, sum },
        ...where,
        ...doubt,
      };
      offset += held.length;
      if (held.path === undefined) from += held.length;
      return log.intend({ uid, key, size, destination: this.name, ...facts, details });
    });
  }

  /** Says yes to all; true when all have been released and finish() is done, false when close() came first. */
  #resolve(
    batch: readonly Waiting[],
    finish: (remembered: boolean) => Promise<void>,
    stands: () => Promise<boolean>,
  ): Promise<boolean> {
    return new Promise((done) => {
      this.#letGo = () => {
        done(false);
      };
      if (this.#closed) this.#letGo();
      let left = batch.length;
      let all = true;
      const leave = async (remembered: boolean): Promise<void> => {
        all &&= remembered;
        left -= 1;
        if (left > 0) return;
        await finish(all);
        done(true);
      };
      for (const { resolve, facts } of batch) {
        let leaving: Promise<void> | undefined;
        const release = (remembered = true): Promise<void> => (leaving ??= leave(remembered));
        resolve({ octets: facts.octets, release, stands });
      }
    });
  }
}

async function isSynced(file: DiskFile): Promise<boolean> {
  return file.sync().then(
    () => true,
    () => false,
  );
}

/** How many of those that wait go into one batch. */
function batchLength(queue: readonly Waiting[]): number {
  let octets = 0;
  const full = queue.findIndex(({ held }) => (octets += held.length) >= BATCH_OCTETS);
  return Math.min(BATCH, full < 0 ? queue.length : full + 1);
}
