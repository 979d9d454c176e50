/** The messages that are done, by their uids: some 140 octets for each, so that a million of them can be remembered. */
import { Arena, Column, keyedHash } from '../compact.js';
import type { Entry, Outline } from './memory.js';

/** Octets of a size or a time: enough for 256 TiB, and for the year 10,000. */
const NUMBER = 6;
/** Octets in front of the uid: flags, its length, and that of the key. */
const HEAD = 4;
/** Octets between the key and the hashes: destination, size, octets, time. */
const FIXED = 4 + 3 * NUMBER;
/** Octets of a hash. */
const HASH = 32;

const HAS_SHA = 1;
const HAS_HEADER = 2;
/** The key is the usual 26 characters of base32, written as {@link PACKED} octets. */
const HAS_KEY = 4;
const PACKED = 17;

/**
 * A table of {@link Entry}. A row, once given, belongs to its uid for ever, and rows are in the order in which their uids
 * first came. A record is: flags, length of the uid (2 octets), length of the key, uid, key, the fixed part, hashes.
 */
export class Entries {
  readonly #arena = new Arena();
  /** By row: where its record is. */
  readonly #positions = new Column('whole');
  /** By row: the hash of its uid. */
  readonly #hashes = new Column('whole');
  readonly #removedAt = new Column('any');
  readonly #goneAt = new Column('any');
  /** By row: what does not fit into a record, because its hashes, numbers or lengths are not the usual ones. */
  readonly #odd = new Map<number, Entry>();
  readonly #destinations: string[] = [];
  readonly #destinationNumbers = new Map<string, number>();
  /** By hash, with open addressing: a row and 1, or 0. At most two thirds are taken. */
  #slots = new Int32Array(64);
  #size = 0;

  /** How many there are: rows 0 to `size` - 1. */
  get size(): number {
    return this.#size;
  }

  /** The row of a uid, or -1. */
  find(uid: string): number {
    return (this.#slots[this.#slotOf(uid, keyedHash(uid))] ?? 0) - 1;
  }

  /** Puts an entry in, in place of another one with its uid. */
  set(entry: Entry): void {
    const hash = keyedHash(entry.uid);
    const slot = this.#slotOf(entry.uid, hash);
    let row = (this.#slots[slot] ?? 0) - 1;
    if (row < 0) {
      row = this.#size;
      this.#slots[slot] = row + 1;
      this.#hashes.set(row, hash);
      this.#size += 1;
    }
    this.#odd.delete(row);
    if (isUsual(entry)) this.#positions.set(row, this.#store(entry));
    else this.#odd.set(row, { ...entry });
    this.setRemovedAt(row, entry.removedAt);
    this.setGoneAt(row, entry.goneAt);
    if (this.#size * 3 > this.#slots.length * 2) this.#grow();
  }

  /** Sets a time; nothing happens where the row is -1. */
  setRemovedAt(row: number, time: number | undefined): void {
    setTime(this.#removedAt, row, time);
  }

  removedAt(row: number): number | undefined {
    return timeAt(this.#removedAt, row);
  }

  goneAt(row: number): number | undefined {
    return timeAt(this.#goneAt, row);
  }

  /** Sets a time; nothing happens where the row is -1. */
  setGoneAt(row: number, time: number | undefined): void {
    setTime(this.#goneAt, row, time);
  }

  uid(row: number): string {
    const odd = this.#odd.get(row);
    if (odd !== undefined) return odd.uid;
    const { block, at } = this.#record(row);
    return block.toString('latin1', at + HEAD, at + HEAD + block.readUInt16LE(at + 1));
  }

  /** What decides what is done with the message. */
  outline(row: number): Outline {
    const times = { removedAt: this.removedAt(row), goneAt: this.goneAt(row) };
    const odd = this.#odd.get(row);
    if (odd !== undefined) {
      const { size, destination, doneAt } = odd;
      return { size, destination, doneAt, ...times };
    }
    const { block, fixed } = this.#record(row);
    return {
      size: block.readUIntLE(fixed + 4, NUMBER),
      destination: this.#destinations[block.readUInt32LE(fixed)] ?? '',
      doneAt: block.readUIntLE(fixed + 4 + 2 * NUMBER, NUMBER),
      ...times,
    };
  }

  entry(row: number): Entry {
    const odd = this.#odd.get(row);
    if (odd !== undefined) return { ...odd, ...this.outline(row) };
    const { block, at, fixed } = this.#record(row);
    const flags = block.readUInt8(at);
    const key = at + HEAD + block.readUInt16LE(at + 1);
    const sha = fixed + FIXED;
    const header = (flags & HAS_SHA) === 0 ? sha : sha + HASH;
    const end = (flags & HAS_HEADER) === 0 ? header : header + HASH;
    const { size, destination, doneAt, removedAt, goneAt } = this.outline(row);
    return {
      uid: this.uid(row),
      key: (flags & HAS_KEY) === 0 ? block.toString('latin1', key, fixed) : unpackKey(block, key),
      size,
      octets: block.readUIntLE(fixed + 4 + NUMBER, NUMBER),
      sha256: block.toString('hex', sha, header),
      headerSha256: block.toString('hex', header, end),
      destination,
      doneAt,
      removedAt,
      goneAt,
    };
  }

  /** @returns its position */
  #store(entry: Entry): number {
    const { uid, key, destination, size, octets, doneAt, sha256, headerSha256 } = entry;
    const hashes = (sha256.length + headerSha256.length) / 2;
    const packed = KEY.test(key);
    const keyLength = packed ? PACKED : key.length;
    const position = this.#arena.reserve(HEAD + uid.length + keyLength + FIXED + hashes);
    const block = this.#arena.block(position);
    let at = Arena.offset(position);
    const hashFlags = (sha256 === '' ? 0 : HAS_SHA) | (headerSha256 === '' ? 0 : HAS_HEADER);
    at = block.writeUInt8(hashFlags | (packed ? HAS_KEY : 0), at);
    at = block.writeUInt16LE(uid.length, at);
    at = block.writeUInt8(keyLength, at);
    at += block.write(uid, at, 'latin1');
    at += packed ? packKey(key, block, at) : block.write(key, at, 'latin1');
    at = block.writeUInt32LE(this.#numberOf(destination), at);
    at = block.writeUIntLE(size, at, NUMBER);
    at = block.writeUIntLE(octets, at, NUMBER);
    at = block.writeUIntLE(doneAt, at, NUMBER);
    at += block.write(sha256, at, 'hex');
    block.write(headerSha256, at, 'hex');
    return position;
  }

  #record(row: number): { readonly block: Buffer; readonly at: number; readonly fixed: number } {
    const position = this.#positions.at(row);
    const block = this.#arena.block(position);
    const at = Arena.offset(position);
    return { block, at, fixed: at + HEAD + block.readUInt16LE(at + 1) + block.readUInt8(at + 3) };
  }

  #numberOf(destination: string): number {
    const known = this.#destinationNumbers.get(destination);
    if (known !== undefined) return known;
    this.#destinationNumbers.set(destination, this.#destinations.length);
    return this.#destinations.push(destination) - 1;
  }

  /** The slot that holds the row of this uid, or the free one where it would be. */
  #slotOf(uid: string, hash: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const row = (this.#slots[slot] ?? 0) - 1;
      if (row < 0 || (this.#hashes.at(row) === hash && this.#isUid(row, uid))) return slot;
    }
  }

  /** Compared in place, so that looking one up leaves nothing to be cleared away. */
  #isUid(row: number, uid: string): boolean {
    const odd = this.#odd.get(row);
    if (odd !== undefined) return odd.uid === uid;
    const position = this.#positions.at(row);
    const block = this.#arena.block(position);
    const at = Arena.offset(position);
    if (block.readUInt16LE(at + 1) !== uid.length) return false;
    for (let index = 0; index < uid.length; index += 1) {
      if (block[at + HEAD + index] !== uid.charCodeAt(index)) return false;
    }
    return true;
  }

  #grow(): void {
    this.#slots = new Int32Array(this.#slots.length * 2);
    const mask = this.#slots.length - 1;
    for (let row = 0; row < this.#size; row += 1) {
      let slot = this.#hashes.at(row) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = row + 1;
    }
  }
}

const KEY = /^[a-z2-7]{26}$/;
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** Five bits for each character (RFC 4648 section 6, lower case). @returns {@link PACKED} */
function packKey(key: string, block: Buffer, start: number): number {
  let [bits, value, at] = [0, 0, start];
  for (let index = 0; index < key.length; index += 1) {
    const code = key.charCodeAt(index);
    value = ((value << 5) | (code >= 97 ? code - 97 : code - 24)) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    block[at] = value >>> bits;
    at += 1;
  }
  block[at] = value << (8 - bits);
  return PACKED;
}

function unpackKey(block: Buffer, start: number): string {
  let key = '';
  for (let index = 0; index < 26; index += 1) {
    const at = start + ((index * 5) >>> 3);
    const pair = (block.readUInt8(at) << 8) | (block[at + 1] ?? 0);
    key += ALPHABET.charAt((pair >>> (11 - ((index * 5) & 7))) & 31);
  }
  return key;
}

const HEX = /^(?:[0-9a-f]{64})?$/;

/** Whether it can be written as a record and read again without a change. */
function isUsual({ uid, key, size, octets, doneAt, sha256, headerSha256 }: Entry): boolean {
  return (
    uid.length <= 4096 &&
    key.length < 256 &&
    fits(size) &&
    fits(octets) &&
    fits(doneAt) &&
    HEX.test(sha256) &&
    HEX.test(headerSha256)
  );
}

function fits(number: number): boolean {
  return Number.isInteger(number) && number >= 0 && number < 2 ** (8 * NUMBER);
}

function timeAt(column: Column, row: number): number | undefined {
  const time = column.at(row);
  return Number.isNaN(time) ? undefined : time;
}

/** Where nothing is to be forgotten, nothing is set: most messages have neither time. */
function setTime(column: Column, row: number, time: number | undefined): void {
  if (row >= 0 && (time !== undefined || !Number.isNaN(column.at(row)))) column.set(row, time ?? NaN);
}
