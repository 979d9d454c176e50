/**
 * A memory changed as a whole while its lock is held: what mends, imports and forgets. The journal is replaced, and a
 * crash leaves the old one or the new one.
 */
import { dirname, join } from 'node:path';
import { BEGUN, Book } from './book.js';
import { errno, type Disk } from '../disk.js';
import { asError, PopfetchError } from '../errors.js';
import { mailboxTag, type MailboxAddress } from '../identity.js';
import { rewriteJournal, WholeLines, type JournalRecord } from './journal.js';
import {
  after,
  foreignError,
  headOf,
  journalPath,
  refuseLost,
  sameHead,
  type OpenSeenOptions,
} from './seen.js';
import { BookReading, readFile, stateError } from './reading.js';
import { lockRun } from './runlock.js';

/** A memory whose lock is held. */
export interface HeldMemory {
  /** What it says. May be added to; nothing of that is on disk before {@link replace}. */
  readonly book: Book;
  /** `sound`, `damaged` (whole lines were salvaged) or `missing` (perhaps salvaged from the generation before). */
  readonly condition: 'sound' | 'damaged' | 'missing';
  /** Messages that are done by a whole line, while the line with their facts is lost. Not in the book. */
  readonly bare: ReadonlySet<string>;
  /**
   * Makes these records the memory, durably: whole, or not at all. It counts as begun from then on. A damaged journal
   * is kept beside it. @returns the path under which it is kept @throws STATE
   */
  readonly replace: (records: Iterable<JournalRecord>) => Promise<string | undefined>;
  /** Gives the lock back. To be called once. */
  release(): Promise<void>;
}

/**
 * Takes the lock of a mailbox and reads its memory; makes the directory (0700), but no journal.
 * @param accept `sound`: refuses what a run would refuse; `any`: salvages what can be
 * @throws LOCKED when a run holds it; STATE when it is damaged or lost, or when it is of another mailbox or from a newer
 * popfetch, or cannot be read
 */
export async function holdMemory(
  directory: string,
  address: MailboxAddress,
  disk: Disk,
  options: OpenSeenOptions,
  accept: 'sound' | 'any',
): Promise<HeldMemory> {
  const path = journalPath(directory, address);
  try {
    await disk.mkdir(directory);
    const lock = await lockRun(join(directory, `${mailboxTag(address)}.lock`), disk, options);
    try {
      const found = await read(path, address, disk, accept);
      // No journal at all: a text that a run refuses, too.
      if (accept === 'sound' && found.condition === 'damaged') throw foreignError(path, address);
      const replace = async (records: Iterable<JournalRecord>): Promise<string | undefined> => {
        try {
          const damaged = found.condition === 'damaged';
          const aside = damaged ? await setAside(path, disk, options.now()) : undefined;
          const all = after([headOf(address), BEGUN], records);
          await rewriteJournal(disk, path, all, found.condition === 'sound');
          return aside;
        } catch (error) {
          throw stateError(error, path);
        }
      };
      return { ...found, replace, release: () => lock.release() };
    } catch (error) {
      await lock.release();
      throw error;
    }
  } catch (error) {
    throw stateError(error, path);
  }
}

type Found = Pick<HeldMemory, 'book' | 'condition' | 'bare'>;

async function read(
  path: string,
  address: MailboxAddress,
  disk: Disk,
  accept: 'sound' | 'any',
): Promise<Found> {
  const reading = new BookReading(new Book(path));
  const size = await readFile(disk, path, (piece) => {
    reading.push(piece);
  });
  if (accept === 'sound' && (size ?? 0) === 0) await refuseLost(path, disk);
  if (isSound(reading, accept)) {
    if (!sameHead(reading.head, headOf(address))) throw foreignError(path, address);
    return { book: reading.book, condition: 'sound', bare: new Set() };
  }
  const salvaged = await salvage(path, address, disk);
  return { ...salvaged, condition: (size ?? 0) === 0 ? 'missing' : 'damaged' };
}

/** A torn tail is no damage. @throws STATE for what is not known, and for damage where just what is sound is accepted */
function isSound(reading: BookReading, accept: 'sound' | 'any'): boolean {
  try {
    reading.end();
    // Something that is no journal at all looks like one whose first write was torn.
    return reading.count > 0;
  } catch (error) {
    if (accept === 'any' && reading.damaged) return false;
    throw error;
  }
}

/**
 * Adds up what is left, of the generation before first. Records that are not known are dropped, but another mailbox or
 * another format is refused.
 */
async function salvage(
  path: string,
  address: MailboxAddress,
  disk: Disk,
): Promise<Pick<HeldMemory, 'book' | 'bare'>> {
  const all = new Book(path);
  let failure: Error | undefined;
  const take = (record: JournalRecord): void => {
    try {
      if (record.verb !== 'POPFETCH') applyKnown(all, record);
      else {
        all.apply(record);
        if (!sameHead(record, headOf(address))) throw foreignError(path, address);
      }
    } catch (error) {
      failure ??= asError(error);
    }
  };
  for (const file of [`${path}.old`, path]) {
    const lines = new WholeLines(take);
    await readFile(disk, file, (piece) => {
      lines.push(piece);
    });
    lines.end();
  }
  if (failure !== undefined) throw failure;
  return withoutBare(all);
}

/** DONE without its INTENT: the message is done, and nothing else is known of it. */
function withoutBare(all: Book): Pick<HeldMemory, 'book' | 'bare'> {
  const bare = new Set<string>();
  const book = new Book(all.path);
  for (const record of all.records(0)) {
    const [uid = '', key] = record.fields;
    if (record.verb === 'SEEN' && key === '') bare.add(uid);
    else book.apply(record);
  }
  return { book, bare };
}

function applyKnown(book: Book, record: JournalRecord): void {
  try {
    book.apply(record);
  } catch (error) {
    if (!(error instanceof PopfetchError)) throw error;
  }
}

/** Keeps a copy of a damaged journal, which lasts when this resolves. @returns its path */
async function setAside(path: string, disk: Disk, now: number): Promise<string> {
  const time = new Date(now).toISOString().replace(/[-:]|\.\d+/g, '');
  for (let attempt = 1; ; attempt += 1) {
    const aside = `${path}.damaged-${time}${attempt === 1 ? '' : `-${attempt}`}`;
    try {
      const file = await disk.open(aside, 'create');
      try {
        await readFile(disk, path, (piece) => file.write(piece));
        await file.sync();
      } finally {
        await file.close();
      }
      await disk.syncDirectory(dirname(path));
      return aside;
    } catch (error) {
      if (errno(error) !== 'EEXIST' || attempt === 9) throw error;
    }
  }
}
