/**
 * An append-only file of records, one a line, that survives being cut off at any octet.
 *
 * A line is `SEQ START CRC VERB FIELD…`: its number, the number of the first line of the write it belongs to, and the
 * CRC-32 of all else. A write is begun only when the one before it is on disk. So a bad line is a torn write, whose
 * promise was never given, exactly when no later write follows it; otherwise the file is damaged and is refused.
 */
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { errno, grouped, hasNoLinks, type Disk, type DiskFile } from '../disk.js';
import { asError, PopfetchError } from '../errors.js';

/** One record: a verb and its fields, which may hold any latin1 text. */
export interface JournalRecord {
  readonly verb: string;
  readonly fields: readonly string[];
}

/** What a journal's text holds. */
export interface ParsedJournal {
  readonly records: readonly JournalRecord[];
  /** Octets up to the end of the last whole line; what follows is torn and to be cut off. */
  readonly length: number;
  /** The number of the next line. */
  readonly next: number;
}

/** `%HH` for what would break a line or a field: blanks, controls, `%`, and everything beyond ASCII. */
function escapeField(field: string): string {
  if (field === '') return '%';
  return field.replace(/[^\x21-\x24\x26-\x7e]/g, (character) => {
    return `%${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
}

function unescapeField(field: string): string {
  if (!field.includes('%')) return field;
  if (field === '%') return '';
  return field.replace(/%([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
}

/** The lines of one write; `next` is the number of its first line. */
export function encodeWrite(records: readonly JournalRecord[], next: number): string {
  return records.map((record, index) => encodeLine(record, next + index, next)).join('');
}

function encodeLine({ verb, fields }: JournalRecord, sequence: number, start: number): string {
  const head = `${sequence} ${start}`;
  const tail = [verb, ...fields.map(escapeField)].join(' ');
  return `${head} ${checksum(head, tail)} ${tail}\n`;
}

function checksum(head: string, tail: string): string {
  return crc32(`${head} ${tail}`).toString(16).padStart(8, '0');
}

interface Line extends JournalRecord {
  readonly sequence: number;
  readonly start: number;
}

/** `SEQ START CRC ` at the beginning of a line: without the rest, so that little has to be copied. */
const HEAD = /^(\d{1,15}) (\d{1,15}) [0-9a-f]{8} /;

function parseLine(line: string): Line | undefined {
  const [head, sequence, start] = HEAD.exec(line) ?? [];
  if (head === undefined || head.length === line.length) return undefined;
  const tail = line.slice(head.length);
  // The head without its checksum of eight digits.
  const text = head.slice(0, -9) + tail;
  if (crc32(text) !== parseInt(head.slice(-9), 16)) return undefined;
  const [verb = '', ...fields] = tail.split(' ');
  const plain = tail.includes('%') ? fields.map(unescapeField) : fields;
  return { sequence: Number(sequence), start: Number(start), verb, fields: plain };
}

/** Takes a journal's text (latin1) apart. @throws PopfetchError STATE as {@link JournalReader.end} does */
export function parseJournal(text: string, path: string): ParsedJournal {
  const records: JournalRecord[] = [];
  const reader = new JournalReader((record) => records.push(record));
  reader.push(Buffer.from(text, 'latin1'));
  return { records, ...reader.end(path) };
}

/** Octets that no line of a journal comes near: whatever is longer is none. */
const LONGEST_LINE = 1024 * 1024;

/** Splits a file into lines without their ends (latin1), cut anywhere. What is too long to be one comes as an empty line. */
class FileLines {
  readonly #take: (line: string, octets: number) => void;
  #rest: Buffer[] = [];
  #octets = 0;

  /** @param take is given each line, and its octets with its end */
  constructor(take: (line: string, octets: number) => void) {
    this.#take = take;
  }

  push(piece: Buffer): void {
    let at = 0;
    for (let end = piece.indexOf(0x0a); end >= 0; end = piece.indexOf(0x0a, at)) {
      const octets = this.#octets + end - at + 1;
      this.#take(this.#line(piece.toString('latin1', at, end)), octets);
      at = end + 1;
    }
    this.#keep(piece.subarray(at));
  }

  /** @returns what stands behind the last line end */
  end(): string {
    return this.#line('');
  }

  #line(last: string): string {
    if (this.#octets === 0) return last;
    const line = this.#octets > LONGEST_LINE ? '' : Buffer.concat(this.#rest).toString('latin1') + last;
    this.#rest = [];
    this.#octets = 0;
    return line;
  }

  /** The piece is its reader's, who will use its memory again. */
  #keep(piece: Buffer): void {
    this.#octets += piece.length;
    if (this.#octets > LONGEST_LINE) this.#rest = [];
    else if (piece.length > 0) this.#rest.push(Buffer.from(piece));
  }
}

/** Takes a journal apart as it is read, piece by piece. */
export class JournalReader {
  readonly #take: (record: JournalRecord) => void;
  readonly #lines = new FileLines((line, octets) => {
    this.#line(line, octets);
  });
  #next = 1;
  #length = 0;
  /** Whether a line was bad: no later one is taken. */
  #torn = false;
  #damaged = false;

  /** @param take is given the records in order, and must not throw */
  constructor(take: (record: JournalRecord) => void) {
    this.#take = take;
  }

  /** Whether a whole line of a later write stands after a bad one. */
  get damaged(): boolean {
    return this.#damaged;
  }

  push(piece: Buffer): void {
    this.#lines.push(piece);
  }

  /**
   * To be called when all has been pushed. @throws PopfetchError STATE when a line is bad that a later write follows:
   * somebody or something changed the file.
   */
  end(path: string): Omit<ParsedJournal, 'records'> {
    const rest = this.#lines.end();
    if (rest !== '') this.#bad(parseLine(rest));
    if (!this.#damaged) return { length: this.#length, next: this.#next };
    throw new PopfetchError(
      'STATE',
      `${path}: line ${this.#next} is damaged, and popfetch does not guess what it said`,
      {
        phase: 'state',
        remedy: 'run popfetch state rebuild, which keeps every line that is whole',
      },
    );
  }

  #line(text: string, octets: number): void {
    const line = parseLine(text);
    if (this.#torn || line?.sequence !== this.#next) {
      this.#bad(line);
      return;
    }
    this.#next += 1;
    this.#length += octets;
    this.#take(line);
  }

  /** Takes a line that is bad, or that follows a bad one. */
  #bad(line: Line | undefined): void {
    this.#torn = true;
    if (line !== undefined && line.start > this.#next) this.#damaged = true;
  }
}

/** Finds every whole line of a damaged journal as it is read, in order; what stood between them is not known. */
export class WholeLines {
  readonly #take: (record: JournalRecord) => void;
  readonly #lines = new FileLines((line) => {
    this.#line(line);
  });

  constructor(take: (record: JournalRecord) => void) {
    this.#take = take;
  }

  push(piece: Buffer): void {
    this.#lines.push(piece);
  }

  /** To be called when all has been pushed. */
  end(): void {
    this.#line(this.#lines.end());
  }

  #line(text: string): void {
    const line = parseLine(text);
    if (line !== undefined) this.#take(line);
  }
}

/** Appends to a journal file that its caller has locked. */
export class Journal {
  readonly #file: DiskFile;
  #next: number;
  /** Octets that are on disk: what a run may trust. */
  #length: number;
  #queue: JournalRecord[] = [];
  #failure: PopfetchError | undefined;
  readonly #flush: () => Promise<void>;

  /** @param length octets in the file, all of them whole lines */
  constructor(file: DiskFile, next: number, length: number) {
    this.#file = file;
    this.#next = next;
    this.#length = length;
    this.#flush = grouped(() => this.#write());
  }

  /** Resolves when the records are on disk; calls while a sync is under way share the next one. @throws STATE, and for ever after */
  append(...records: readonly JournalRecord[]): Promise<void> {
    this.#queue.push(...records);
    return this.#flush();
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #write(): Promise<void> {
    // After a failed write or sync nobody knows what is on disk: nothing may be promised on this file again.
    if (this.#failure !== undefined) throw this.#failure;
    const records = this.#queue;
    if (records.length === 0) return;
    this.#queue = [];
    try {
      const lines = Buffer.from(encodeWrite(records, this.#next), 'latin1');
      await this.#file.write(lines);
      await this.#file.datasync();
      this.#next += records.length;
      this.#length += lines.length;
    } catch (cause) {
      this.#failure = unwritable(this.#file.path, cause);
      // Lines whose sync failed can still be read, until the system forgets them: the next run must not believe them.
      await this.#file.truncate(this.#length).catch(ignore);
      throw this.#failure;
    }
  }
}

function unwritable(path: string, cause: unknown): PopfetchError {
  const code = errno(cause);
  const why = code === undefined ? '' : ` (${code})`;
  return new PopfetchError('STATE', `${path}: the memory cannot be written${why}`, {
    phase: 'state',
    remedy: 'make room on that file system and see that it can be written; the mail is still on the server',
    cause,
  });
}

function unlessLinkless(error: unknown): void {
  if (!hasNoLinks(error)) throw asError(error);
}

function ignore(): void {
  // For clean-up whose failure changes nothing.
}

/**
 * Replaces a journal by one that holds just `records`: whole, or not at all. The previous one, unless it is empty, is
 * kept as `PATH.old`. There is a journal at `path` at every moment from the first time on.
 * @param keep false leaves `PATH.old` as it is: where the previous one is damaged, that may be all that is left
 */
export async function rewriteJournal(
  disk: Disk,
  path: string,
  records: Iterable<JournalRecord>,
  keep = true,
): Promise<void> {
  const fresh = `${path}.new`;
  try {
    await replaceJournal(disk, path, fresh, records, keep);
  } catch (error) {
    await disk.unlink(fresh).catch(ignore);
    throw error;
  }
}

async function replaceJournal(
  disk: Disk,
  path: string,
  fresh: string,
  records: Iterable<JournalRecord>,
  keep: boolean,
): Promise<void> {
  if ((await disk.lstat(fresh)) !== undefined) await disk.unlink(fresh);
  const file = await disk.open(fresh, 'create');
  try {
    for (const piece of encodeAll(records)) await file.write(piece);
    await file.sync();
  } finally {
    await file.close();
  }
  if (keep && ((await disk.lstat(path))?.size ?? 0) > 0) {
    if ((await disk.lstat(`${path}.old`)) !== undefined) await disk.unlink(`${path}.old`);
    // Where there are no hard links the one before is not kept: it is a help after damage, and no more.
    await disk.link(path, `${path}.old`).catch(unlessLinkless);
  }
  await disk.rename(fresh, path);
  await disk.syncDirectory(dirname(path));
}

/** Octets from which on a piece of a journal is written before the next one is made. */
const PIECE = 256 * 1024;

/** All lines of a new journal as those of one write, in pieces. */
function* encodeAll(records: Iterable<JournalRecord>): Generator<Buffer> {
  let text = '';
  let next = 1;
  for (const record of records) {
    text += encodeLine(record, next, 1);
    next += 1;
    if (text.length < PIECE) continue;
    yield Buffer.from(text, 'latin1');
    text = '';
  }
  yield Buffer.from(text, 'latin1');
}
