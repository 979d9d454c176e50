/** The rows of LIST and UIDL as they come, and the messages they make: some 30 octets for each. Pure. Texts are latin1. */
import { Arena, Column, Sequence } from '../compact.js';
import { PopfetchError } from '../errors.js';
import type { Listed } from './mailbox.js';

/** Beyond any number of rows: what numbers are multiplied by, so that they can be sorted together with their rows. */
const MANY = 2 ** 22;

/** The answer to LIST or UIDL (RFC 1939 sections 5 and 7), row by row. Only rows that came take memory. */
abstract class Rows {
  /** Lines that cannot be right and were left out. */
  strange = 0;
  readonly #verb: string;
  /** Numbers are 1 to this. */
  readonly #count: number;
  /** Only of rows whose number is not their place: most servers give 1, 2, 3, … */
  readonly #numbers = new Column('whole');
  #length = 0;
  #last = 0;
  #sorted = true;
  /** The rows by number, where they did not come that way. */
  #order: Uint32Array | undefined;

  constructor(verb: string, count: number) {
    this.#verb = verb;
    this.#count = count;
  }

  /** Takes a line. */
  take(line: string): void {
    const space = line.indexOf(' ');
    const number = space < 1 || space > 15 || space === line.length - 1 ? NaN : decimal(line, space);
    if (!(number >= 1 && number <= this.#count)) {
      this.strange += 1;
      return;
    }
    if (number <= this.#last) this.#sorted = false;
    this.#last = number;
    if (number !== this.#length + 1) this.#numbers.set(this.#length, number);
    this.keep(this.#length, line.slice(space + 1));
    this.#length += 1;
  }

  /** To be called when all have been taken. @throws PROTOCOL where a number came twice: the listing is worthless */
  sort(): void {
    if (this.#sorted) return;
    const keys = new Float64Array(this.#length);
    for (let row = 0; row < keys.length; row += 1) keys[row] = this.#came(row) * MANY + row;
    keys.sort();
    this.#order = new Uint32Array(this.#length);
    for (const [index, key] of keys.entries()) this.#order[index] = key % MANY;
    for (let index = 1; index < this.#length; index += 1) {
      const number = this.number(index);
      if (number !== this.number(index - 1)) continue;
      throw new PopfetchError('PROTOCOL', `the server listed message ${number} twice in its ${this.#verb}`, {
        phase: 'list',
      });
    }
  }

  get length(): number {
    return this.#length;
  }

  /** The number of the row that is `index`th by number, from 0. */
  number(index: number): number {
    return this.#came(this.row(index));
  }

  /** The number of the row that came in this place. */
  #came(row: number): number {
    return this.#numbers.at(row) || row + 1;
  }

  /** In which place that row came. */
  protected row(index: number): number {
    return this.#order?.[index] ?? index;
  }

  /** Remembers what follows the number. */
  protected abstract keep(row: number, value: string): void;

  /** Where this number stands, from 0; -1 where nowhere. @param guess tried first */
  find(number: number, guess: number): number {
    if (guess < this.#length && this.number(guess) === number) return guess;
    let [low, high] = [0, this.#length - 1];
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const found = this.number(middle);
      if (found === number) return middle;
      if (found < number) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }
}

/** The number that the first `length` characters are, or NaN. */
function decimal(line: string, length: number): number {
  let number = 0;
  for (let at = 0; at < length; at += 1) {
    const digit = line.charCodeAt(at) - 48;
    if (!(digit >= 0 && digit <= 9)) return NaN;
    number = number * 10 + digit;
  }
  return number;
}

/** In place of a size that is none. */
const UNSIZED = 0xffff_ffff;

/** The answer to LIST. */
export class SizeRows extends Rows {
  readonly #sizes = new Column('whole');
  /** By row: those that do not fit into 32 bits. */
  readonly #large = new Map<number, number>();

  constructor(count: number) {
    super('LIST', count);
  }

  protected override keep(row: number, value: string): void {
    const match = /^(\d{1,15})(?: |$)/.exec(value);
    const size = match === null ? UNSIZED : Number(match[1]);
    if (size > UNSIZED || (size === UNSIZED && match !== null)) this.#large.set(row, size);
    else this.#sizes.set(row, size);
  }

  /** undefined where LIST gives no number. */
  size(index: number): number | undefined {
    if (index < 0) return undefined;
    const row = this.row(index);
    const size = this.#large.get(row) ?? this.#sizes.at(row);
    return size === UNSIZED && !this.#large.has(row) ? undefined : size;
  }
}

/** The answer to UIDL. */
export class UidRows extends Rows {
  readonly #arena = new Arena();
  readonly #positions = new Column('whole');

  constructor(count: number) {
    super('UIDL', count);
  }

  protected override keep(row: number, value: string): void {
    const position = this.#arena.reserve(2 + value.length);
    const block = this.#arena.block(position);
    const at = block.writeUInt16LE(value.length, Arena.offset(position));
    block.write(value, at, 'latin1');
    this.#positions.set(row, position);
  }

  uid(index: number): string {
    const position = this.#positions.at(this.row(index));
    const block = this.#arena.block(position);
    const at = Arena.offset(position) + 2;
    return block.toString('latin1', at, at + block.readUInt16LE(at - 2));
  }
}

/** The messages of sorted rows. Each is made when it is asked for. */
export class RowMessages extends Sequence<Listed> {
  readonly #sizes: SizeRows;
  readonly #uids: UidRows | undefined;

  /** @param uids undefined where the server has no UIDL; then every row of LIST is a message */
  constructor(sizes: SizeRows, uids: UidRows | undefined) {
    super();
    this.#sizes = sizes;
    this.#uids = uids;
  }

  override get length(): number {
    return (this.#uids ?? this.#sizes).length;
  }

  protected override make(index: number): Listed {
    const number = (this.#uids ?? this.#sizes).number(index);
    const size = this.#sizes.size(this.#sizes.find(number, index));
    const uid = this.#uids?.uid(index) ?? '';
    return size === undefined ? { number, size: 0, uid, unsized: true } : { number, size, uid };
  }
}
