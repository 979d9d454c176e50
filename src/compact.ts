/**
 * What lets a mailbox of a million messages fit into little memory: many short texts and numbers in few large blocks,
 * and things that are made when they are asked for. Blocks are never moved or copied, so that growing costs no peak. Pure.
 */
import { randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';

/** Octets in a block of an {@link Arena}. */
const BLOCK_BITS = 16;
const BLOCK = 2 ** BLOCK_BITS;

/** The last position that 32 bits can name. */
const FARTHEST = 0xffff_ffff;

/** Octets one after the other, up to 4 GiB of them. What is put in stays where it is. */
export class Arena {
  readonly #blocks: Buffer[] = [];
  #used = BLOCK;

  /** Makes room for `length` octets in one piece. @returns their position @throws RangeError beyond {@link Arena.LONGEST} */
  reserve(length: number): number {
    if (length > Arena.LONGEST) throw new RangeError(`${length} octets are too many for one piece`);
    if (this.#used + length > BLOCK) {
      this.#blocks.push(Buffer.allocUnsafeSlow(BLOCK));
      this.#used = 0;
    }
    const position = (this.#blocks.length - 1) * BLOCK + this.#used;
    if (position > FARTHEST) throw new RangeError('there is no room for so much');
    this.#used += length;
    return position;
  }

  /** The block in which a position lies; the octets begin there at {@link Arena.offset}. */
  block(position: number): Buffer {
    const block = this.#blocks[position >>> BLOCK_BITS];
    if (block === undefined) throw new RangeError(`nothing is at ${position}`);
    return block;
  }

  /** Where in its block a position lies. */
  static offset(position: number): number {
    return position & (BLOCK - 1);
  }

  /** Octets of the longest piece. */
  static readonly LONGEST = BLOCK;
}

/** Numbers in a {@link Column} block. */
const ROWS_BITS = 13;
const ROWS = 2 ** ROWS_BITS;

type Numbers = Uint32Array | Float64Array;

/** Numbers by row, 0, 1, 2, … and up to 2^31. A block in which no row was set takes no memory, and its rows hold nothing. */
export class Column {
  readonly #blocks: (Numbers | undefined)[] = [];
  readonly #make: (length: number) => Numbers;
  readonly #nothing: number;

  /** @param kind `whole`: 32 bits, 0 where nothing is; `any`: any number, NaN where nothing is */
  constructor(kind: 'whole' | 'any') {
    this.#make = kind === 'whole' ? (length) => new Uint32Array(length) : (length) => emptyTimes(length);
    this.#nothing = kind === 'whole' ? 0 : NaN;
  }

  at(row: number): number {
    return this.#blocks[row >>> ROWS_BITS]?.[row & (ROWS - 1)] ?? this.#nothing;
  }

  set(row: number, value: number): void {
    const index = row >>> ROWS_BITS;
    while (this.#blocks.length <= index) this.#blocks.push(undefined);
    const block = (this.#blocks[index] ??= this.#make(ROWS));
    block[row & (ROWS - 1)] = value;
  }
}

function emptyTimes(length: number): Float64Array {
  return new Float64Array(length).fill(NaN);
}

/** Things in order, each made when it is asked for. As far as it goes, it does what an array does. */
export abstract class Sequence<T> implements Iterable<T> {
  abstract readonly length: number;

  /** Makes the one at this place, which is there. */
  protected abstract make(index: number): T;

  /** The one at this place, from 0. */
  at(index: number): T | undefined {
    return index >= 0 && index < this.length ? this.make(index) : undefined;
  }

  *[Symbol.iterator](): Generator<T> {
    for (let index = 0; index < this.length; index += 1) yield this.make(index);
  }

  find(is: (one: T) => boolean): T | undefined {
    for (const one of this) if (is(one)) return one;
    return undefined;
  }

  filter(keep: (one: T) => boolean): T[] {
    const kept: T[] = [];
    for (const one of this) if (keep(one)) kept.push(one);
    return kept;
  }

  map<R>(turn: (one: T) => R): R[] {
    return Array.from(this, (one) => turn(one));
  }

  every(is: (one: T) => boolean): boolean {
    return this.find((one) => !is(one)) === undefined;
  }
}

/**
 * To be called before very much is read that leaves a lot to be cleared away: from now on it is cleared away more often,
 * which spares some 40 MiB and costs a little time.
 */
export function clearOften(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}

const [KEY0, KEY1] = new Int32Array(randomBytes(8).buffer.slice(0, 8)) as unknown as [number, number];

/**
 * 32 bits from a latin1 text, with a key that each process draws: HalfSipHash-1-3 (Aumasson and Bernstein). Whoever
 * chooses the texts cannot choose which of them fall together.
 */
export function keyedHash(text: string): number {
  let [v0, v1, v2, v3] = [KEY0, KEY1, 0x6c796765 ^ KEY0, 0x74656462 ^ KEY1];
  const words = (text.length >>> 2) + 1;
  for (let index = 0; index < words + 3; index += 1) {
    const word = index < words ? wordAt(text, index * 4) : 0;
    if (index === words) v2 ^= 0xff;
    v3 ^= word;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  return (v1 ^ v3) >>> 0;
}

/** Four octets as a number; the last word of a text is what is left of it, and its length. */
function wordAt(text: string, at: number): number {
  const end = text.length - at;
  if (end >= 4) {
    const high = (text.charCodeAt(at + 2) << 16) | (text.charCodeAt(at + 3) << 24);
    return text.charCodeAt(at) | (text.charCodeAt(at + 1) << 8) | high;
  }
  let word = text.length << 24;
  for (let index = 0; index < end; index += 1) word |= text.charCodeAt(at + index) << (8 * index);
  return word;
}
