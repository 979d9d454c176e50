/** A journal's file, read in pieces, on its way into a book. */
import { clearOften } from '../compact.js';
import type { Disk, DiskFile } from '../disk.js';
import { asError, PopfetchError } from '../errors.js';
import type { Book } from './book.js';
import { JournalReader, type JournalRecord, type ParsedJournal } from './journal.js';

/** Takes a journal's file, piece by piece, into a book. */
export class BookReading<B extends Book = Book> {
  readonly book: B;
  readonly #reader = new JournalReader((record) => {
    this.#take(record);
  });
  #head: JournalRecord | undefined;
  #failure: unknown;
  #count = 0;

  constructor(book: B) {
    this.book = book;
  }

  /** The first record. */
  get head(): JournalRecord | undefined {
    return this.#head;
  }

  /** Whether a whole line of a later write stands after a bad one. */
  get damaged(): boolean {
    return this.#reader.damaged;
  }

  /** Records read so far. */
  get count(): number {
    return this.#count;
  }

  push(piece: Buffer): void {
    this.#reader.push(piece);
  }

  /** To be called when all has been pushed. @throws STATE when it is damaged, or else when it says what is not known */
  end(): Omit<ParsedJournal, 'records'> {
    const parsed = this.#reader.end(this.book.path);
    if (this.#failure !== undefined) throw asError(this.#failure);
    return parsed;
  }

  #take(record: JournalRecord): void {
    this.#head ??= record;
    this.#count += 1;
    try {
      if (this.#failure === undefined) this.book.apply(record);
    } catch (error) {
      this.#failure = error;
    }
  }
}

/** Reads a file as it is at this moment, in pieces whose memory is used again. @returns its octets; undefined where there is none @throws STATE */
export async function readFile(
  disk: Disk,
  path: string,
  take: (piece: Buffer) => unknown,
): Promise<number | undefined> {
  try {
    if ((await disk.lstat(path)) === undefined) return undefined;
    const file = await disk.open(path, 'read');
    try {
      return await eachPiece(file, take);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw stateError(error, path);
  }
}

/** Octets of a journal of some 50,000 messages. */
const LARGE = 16 * 1024 * 1024;

/** Octets that are read at once. */
const PIECE = 256 * 1024;

/** The same of an open file. Errors are those of the disk, and of `take`. */
export async function eachPiece(file: DiskFile, take: (piece: Buffer) => unknown): Promise<number> {
  const { size } = await file.stat();
  if (size > LARGE) clearOften();
  const room = Buffer.allocUnsafeSlow(Math.min(size, PIECE));
  let position = 0;
  while (position < size) {
    const piece = await file.read(position, Math.min(size - position, PIECE), room);
    if (piece.length === 0) break;
    await take(piece);
    position += piece.length;
  }
  return position;
}

/** An error of the disk as that of a memory; any other one stays as it is. */
export function stateError(error: unknown, path: string): unknown {
  if (error instanceof PopfetchError) return error;
  const code = (error as NodeJS.ErrnoException).code;
  if (code === undefined) return error;
  return new PopfetchError('STATE', `${path}: the memory cannot be used (${code})`, {
    phase: 'state',
    remedy: 'see that the file and its directory are yours and can be written',
    cause: error,
  });
}
