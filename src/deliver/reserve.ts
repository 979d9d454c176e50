/**
 * Room that is left alone: no message is begun, and none goes on, where the disk would be left with next to nothing, for
 * there the memory could not be written, and whatever else needs that disk would fail, too.
 */
import type { Disk } from '../disk.js';
import { PopfetchError } from '../errors.js';

const MIB = 1_048_576;

/** Octets that must be free before a message is taken in. */
export const RESERVE = 64 * MIB;

/** A message needs room for this many copies of what LIST says: one may be in the spool. */
const COPIES = 2;

/** Octets taken in between two looks at the file systems; what others write meanwhile comes as the disk's own error. */
const STRIDE = 8 * MIB;

/** Octets that a message takes at least: a block and its name. */
const LEAST = 8192;

/** The room on the file systems of some directories, which are there. */
export class Reserve {
  readonly #disk: Pick<Disk, 'room'>;
  readonly #places: readonly string[];
  /** Octets in the fullest of them at the last look; Infinity where none of them keeps figures. */
  #room = 0;
  #fullest = '';
  /** Octets taken in since. Before the first look: so many that one is due. */
  #since = STRIDE;
  #looking: Promise<void> | undefined;

  constructor(disk: Pick<Disk, 'room'>, places: readonly string[]) {
    this.#disk = disk;
    this.#places = [...new Set(places)];
  }

  /** The octets of a message as they come, as long as there is room. @throws DELIVERY, before the first or between two pieces */
  async *guard(body: AsyncIterable<Buffer>, size: number): AsyncGenerator<Buffer, void, undefined> {
    await this.#take(LEAST, Math.max(RESERVE, COPIES * size));
    for await (const piece of body) {
      yield piece;
      this.#since += piece.length;
      if (this.#since >= STRIDE) await this.#take(0, RESERVE);
    }
  }

  /** Counts octets that are about to come. @throws DELIVERY where less than `needed` is free */
  async #take(octets: number, needed: number): Promise<void> {
    this.#since += octets;
    if (this.#since >= STRIDE || this.#room - this.#since < needed) await (this.#looking ??= this.#look());
    if (this.#room < needed) throw full(this.#fullest, this.#room, needed);
  }

  async #look(): Promise<void> {
    let [room, fullest] = [Infinity, ''];
    for (const place of this.#places) {
      const found = (await this.#disk.room(place)) ?? Infinity;
      if (found < room) [room, fullest] = [found, place];
    }
    [this.#room, this.#fullest, this.#since, this.#looking] = [room, fullest, 0, undefined];
  }
}

function full(place: string, room: number, needed: number): PopfetchError {
  const words = `${Math.floor(room / MIB)} MiB are free, and ${Math.ceil(needed / MIB)} MiB are needed`;
  return new PopfetchError('DELIVERY', `${place}: the disk is almost full: ${words}`, {
    phase: 'deliver',
    remedy: 'make room on that file system, then run popfetch again: the message is still on the server',
  });
}
