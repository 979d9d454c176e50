/**
 * The memory of one mailbox: what has been delivered, what is on its way, what waits for removal. Written down before
 * it is acted on, kept as a journal that a person can read with grep.
 */
import { dirname, join } from 'node:path';
import { Book, intentRecord, runRecord, seenRecord, toOctets, troubleRecord, VERSION } from './book.js';
import type { Intent } from '../deliver/destination.js';
import type { Disk } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { mailboxTag, type MailboxAddress } from '../identity.js';
import { demandOwn } from '../owner.js';
import { Journal, rewriteJournal, type JournalRecord } from './journal.js';
import type { Entry, RunRecord, Seen, Trouble, TroubleKind } from './memory.js';
import { BookReading, eachPiece, readFile, stateError } from './reading.js';
import { lockRun, type RunLock } from './runlock.js';

/** Records that may be superseded before a journal is rewritten. */
const SLACK = 1000;

/** Records of one write when a run ends. */
const PORTION = 10_000;

/** The journal file of a mailbox. */
export function journalPath(directory: string, address: MailboxAddress): string {
  return join(directory, `${mailboxTag(address)}.journal`);
}

/** Reads a memory without locking it; undefined when there is none yet. @throws STATE when it is damaged, lost or unreadable */
export async function readMemory(
  directory: string,
  address: MailboxAddress,
  disk: Disk,
): Promise<Book | undefined> {
  const path = journalPath(directory, address);
  const reading = new BookReading(new Book(path));
  const size = await readFile(disk, path, (piece) => {
    reading.push(piece);
  });
  if (size === undefined || size === 0) await refuseLost(path, disk);
  if (size === undefined) return undefined;
  reading.end();
  return reading.book;
}

export interface OpenSeenOptions {
  /** Milliseconds to wait for another run to give the lock back; Infinity for ever. */
  readonly wait: number;
  readonly signal: AbortSignal;
  readonly now: () => number;
}

/**
 * Opens the memory of a mailbox for the one run that may hold it; made when missing, in a directory of mode 0700.
 * @throws LOCKED when another run holds it, PERMISSION when others can change that directory, STATE when it is damaged or lost, or cannot be read or written
 */
export async function openSeen(
  directory: string,
  address: MailboxAddress,
  disk: Disk,
  options: OpenSeenOptions,
): Promise<Seen> {
  const path = journalPath(directory, address);
  try {
    await demandOwn(disk, directory);
    await disk.mkdir(directory);
    const lock = await lockRun(join(directory, `${mailboxTag(address)}.lock`), disk, options);
    try {
      return await openLocked(path, address, disk, lock, options.now);
    } catch (error) {
      await lock.release();
      throw error;
    }
  } catch (error) {
    throw stateError(error, path);
  }
}

async function openLocked(
  path: string,
  address: MailboxAddress,
  disk: Disk,
  lock: RunLock,
  now: () => number,
): Promise<Seen> {
  const head = headOf(address);
  const isNew = ((await disk.lstat(path))?.size ?? 0) === 0;
  if (isNew) {
    await refuseLost(path, disk);
    await rewriteJournal(disk, path, [head]);
  }
  const file = await disk.open(path, 'append');
  try {
    const finish = async (book: Book): Promise<void> => {
      try {
        const time = now();
        if (reading.count > 2 * (1 + book.count(time)) + SLACK)
          await rewriteJournal(disk, path, after([head], book.records(time)));
      } finally {
        await lock.release();
      }
    };
    const reading = new BookReading(new LockedBook(path, now, finish));
    const size = await eachPiece(file, (piece) => {
      reading.push(piece);
    });
    const { length, next } = reading.end();
    const seen = reading.book.over(new Journal(file, next, length));
    if (!sameHead(reading.head, head)) throw foreignError(path, address);
    if (size > length) await file.truncate(length);
    // A run that was killed may have left what it wrote, and the file's very name, to the system's memory.
    if (!isNew) await Promise.all([file.sync(), disk.syncDirectory(dirname(path))]);
    return seen;
  } catch (error) {
    await file.close();
    throw error;
  }
}

export function foreignError(path: string, { user, host }: MailboxAddress): PopfetchError {
  return new PopfetchError('STATE', `${path}: this is not the memory of ${user} at ${host}`, {
    phase: 'state',
    remedy: 'move it away, then run popfetch state rebuild',
  });
}

/** @throws STATE where there is no journal, although there was one: its generation before is there */
export async function refuseLost(path: string, disk: Disk): Promise<void> {
  const old = `${path}.old`;
  const found = await disk.lstat(old).catch((error: unknown) => {
    throw stateError(error, path);
  });
  if ((found?.size ?? 0) === 0) return;
  throw new PopfetchError(
    'STATE',
    `${path}: the memory of this mailbox is missing, although ${old} is there`,
    {
      phase: 'state',
      remedy: 'run popfetch state rebuild, or popfetch state forget --all to start anew',
    },
  );
}

/** The first record: format and mailbox. */
export function headOf({ host, port, user }: MailboxAddress): JournalRecord {
  return { verb: 'POPFETCH', fields: [VERSION, host.toLowerCase(), String(port), toOctets(user)] };
}

export function sameHead(got: JournalRecord | undefined, expected: JournalRecord): boolean {
  return got?.verb === expected.verb && got.fields.join(' ') === expected.fields.join(' ');
}

/** These records, and then those. */
export function* after(
  first: readonly JournalRecord[],
  rest: Iterable<JournalRecord>,
): Generator<JournalRecord> {
  yield* first;
  yield* rest;
}

/** The memory while its lock is held: every fact goes to the journal first and counts once it is on disk. */
class LockedBook extends Book implements Seen {
  #journal: Journal | undefined;
  readonly #now: () => number;
  readonly #finish: (book: Book) => Promise<void>;

  constructor(path: string, now: () => number, finish: (book: Book) => Promise<void>) {
    super(path);
    this.#now = now;
    this.#finish = finish;
  }

  /** From now on facts go to this journal, which says all that this book holds. Before that none can be recorded. */
  over(journal: Journal): this {
    this.#journal = journal;
    return this;
  }

  intend(intent: Intent): Promise<void> {
    return this.#record(intentRecord(intent));
  }

  stored(uid: string, destination: string): Promise<void> {
    return this.#record({ verb: 'STORED', fields: [uid, toOctets(destination)] });
  }

  done(uid: string): Promise<void> {
    return this.#record(...this.#stamped('DONE', [uid]));
  }

  undone(uid: string): Promise<void> {
    return this.#record({ verb: 'UNDONE', fields: [uid] });
  }

  adopt(uid: string, known: Entry): Promise<void> {
    return this.#record(seenRecord({ ...known, uid, removedAt: undefined, goneAt: undefined }));
  }

  report(uid: string): Promise<void> {
    return this.#record({ verb: 'REPORTED', fields: [uid] });
  }

  outgrew(uid: string, octets: number): Promise<void> {
    return this.#record({ verb: 'OUTGREW', fields: [uid, String(octets)] });
  }

  async failed(uid: string, kind: TroubleKind): Promise<Trouble> {
    const trouble = { kind, count: (this.trouble(uid)?.count ?? 0) + 1, lastAt: this.#now() };
    await this.#record(troubleRecord(uid, trouble));
    return trouble;
  }

  fellOutOfStep(): Promise<void> {
    return this.#record({ verb: 'OUT_OF_STEP', fields: [String(this.#now())] });
  }

  removed(uids: readonly string[]): Promise<void> {
    return this.#record(...this.#stamped('QUIT_OK', uids));
  }

  async close(run: RunRecord, listed: Iterable<string> | undefined): Promise<void> {
    try {
      await this.#closing(run, listed).finally(() => this.#release());
    } catch (error) {
      throw stateError(error, this.path);
    }
  }

  /** In one write, unless there is very much of it. */
  async #closing(run: RunRecord, listed: Iterable<string> | undefined): Promise<void> {
    const now = String(this.#now());
    let records: JournalRecord[] = [];
    for (const { uid, gone } of listed === undefined ? [] : this.absences(listed)) {
      records.push(gone ? { verb: 'GONE', fields: [uid, now] } : { verb: 'BACK', fields: [uid] });
      if (records.length < PORTION) continue;
      await this.#record(...records);
      records = [];
    }
    await this.#record(...records, runRecord(run));
  }

  async #release(): Promise<void> {
    try {
      await this.#journal?.close();
    } finally {
      await this.#finish(this);
    }
  }

  #stamped(verb: string, uids: readonly string[]): JournalRecord[] {
    const now = String(this.#now());
    return uids.map((uid) => ({ verb, fields: [uid, now] }));
  }

  async #record(...records: readonly JournalRecord[]): Promise<void> {
    if (this.#journal === undefined) throw new Error('the journal has not been read yet');
    await this.#journal.append(...records);
    for (const record of records) this.apply(record);
  }
}
