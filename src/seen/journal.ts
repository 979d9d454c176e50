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
  return records
    .map(({ verb, fields }, index) => {
      const head = `${next + index} ${next}`;
      const tail = [verb, ...fields.map(escapeField)].join(' ');
      return `${head} ${checksum(head, tail)} ${tail}\n`;
    })
    .join('');
}

function checksum(head: string, tail: string): string {
  return crc32(`${head} ${tail}`).toString(16).padStart(8, '0');
}

interface Line extends JournalRecord {
  readonly sequence: number;
  readonly start: number;
}

function parseLine(line: string): Line | undefined {
  const [, sequence, start, sum, tail] = /^(\d{1,15}) (\d{1,15}) ([0-9a-f]{8}) (.+)$/.exec(line) ?? [];
  if (sequence === undefined || start === undefined || tail === undefined) return undefined;
  if (checksum(`${sequence} ${start}`, tail) !== sum) return undefined;
  const [verb = '', ...fields] = tail.split(' ');
  return { sequence: Number(sequence), start: Number(start), verb, fields: fields.map(unescapeField) };
}

/**
 * Takes a journal's text (latin1) apart. @throws PopfetchError STATE when a line is bad that a later write follows:
 * somebody or something changed the file.
 */
export function parseJournal(text: string, path: string): ParsedJournal {
  const records: JournalRecord[] = [];
  let next = 1;
  let at = 0;
  while (at < text.length) {
    const end = text.indexOf('\n', at);
    const line = end < 0 ? undefined : parseLine(text.slice(at, end));
    if (line?.sequence !== next) break;
    records.push(line);
    next += 1;
    at = end + 1;
  }
  if (at < text.length) refuseDamage(text.slice(at), next, path);
  return { records, length: at, next };
}

/** Every whole line of a damaged journal (latin1), in order; what stood between them is not known. */
export function wholeLines(text: string): JournalRecord[] {
  return text
    .split('\n')
    .map(parseLine)
    .filter((line) => line !== undefined);
}

/** Throws when a whole line of a later write stands after the bad line number `bad`. */
function refuseDamage(rest: string, bad: number, path: string): void {
  const later = rest
    .split('\n')
    .map(parseLine)
    .find((line) => line !== undefined && line.start > bad);
  if (later === undefined) return;
  throw new PopfetchError(
    'STATE',
    `${path}: line ${bad} is damaged, and popfetch does not guess what it said`,
    {
      phase: 'state',
      remedy: 'run popfetch state rebuild, which keeps every line that is whole',
    },
  );
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
  records: readonly JournalRecord[],
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
  records: readonly JournalRecord[],
  keep: boolean,
): Promise<void> {
  if ((await disk.lstat(fresh)) !== undefined) await disk.unlink(fresh);
  const file = await disk.open(fresh, 'create');
  try {
    await file.write(Buffer.from(encodeWrite(records, 1), 'latin1'));
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
