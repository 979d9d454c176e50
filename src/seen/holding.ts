/**
 * A memory changed as a whole while its lock is held: what mends, imports and forgets. The journal is replaced, and a
 * crash leaves the old one or the new one.
 */
import { dirname, join } from 'node:path';
import { BEGUN, Book } from './book.js';
import { errno, type Disk } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { mailboxTag, type MailboxAddress } from '../identity.js';
import { parseJournal, rewriteJournal, wholeLines, type JournalRecord } from './journal.js';
import {
  foreignError,
  headOf,
  journalPath,
  readMemory,
  readText,
  sameHead,
  stateError,
  type OpenSeenOptions,
} from './seen.js';
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
  readonly replace: (records: readonly JournalRecord[]) => Promise<string | undefined>;
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
      if (accept === 'sound') await readMemory(directory, address, disk);
      const found = await readAny(path, address, disk);
      // No journal at all: a text that a run refuses, too.
      if (accept === 'sound' && found.condition === 'damaged') throw foreignError(path, address);
      const replace = async (records: readonly JournalRecord[]): Promise<string | undefined> => {
        try {
          const aside = await setAside(path, found, disk, options.now());
          await rewriteJournal(disk, path, [headOf(address), BEGUN, ...records], found.condition === 'sound');
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

type Found = Pick<HeldMemory, 'book' | 'condition' | 'bare'> & { readonly text: string };

async function readAny(path: string, address: MailboxAddress, disk: Disk): Promise<Found> {
  const text = (await readText(disk, path)) ?? '';
  const sound = soundRecords(text, path);
  if (text !== '' && sound !== undefined) {
    const book = new Book(path);
    for (const record of sound) book.apply(record);
    if (!sameHead(sound[0], headOf(address))) throw foreignError(path, address);
    return { book, condition: 'sound', bare: new Set(), text };
  }
  const old = (await readText(disk, `${path}.old`)) ?? '';
  const salvaged = salvage([...wholeLines(old), ...wholeLines(text)], path, address);
  return { ...salvaged, condition: text === '' ? 'missing' : 'damaged', text };
}

/** undefined where the journal is damaged. A torn tail is no damage. */
function soundRecords(text: string, path: string): readonly JournalRecord[] | undefined {
  try {
    const { records } = parseJournal(text, path);
    // Something that is no journal at all looks like one whose first write was torn.
    return records.length === 0 ? undefined : records;
  } catch (error) {
    if (error instanceof PopfetchError) return undefined;
    throw error;
  }
}

/** Adds up what is left. Records that are not known are dropped, but another mailbox or another format is refused. */
function salvage(
  records: readonly JournalRecord[],
  path: string,
  address: MailboxAddress,
): Pick<HeldMemory, 'book' | 'bare'> {
  const all = new Book(path);
  for (const record of records) {
    if (record.verb === 'POPFETCH') {
      all.apply(record);
      if (!sameHead(record, headOf(address))) throw foreignError(path, address);
    } else applyKnown(all, record);
  }
  // DONE without its INTENT: the message is done, and nothing else is known of it.
  const bare = new Set([...all.entries()].filter(({ key }) => key === '').map(({ uid }) => uid));
  const book = new Book(path);
  for (const record of all.records(0)) {
    if (record.verb !== 'SEEN' || !bare.has(record.fields[0] ?? '')) book.apply(record);
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
async function setAside(path: string, found: Found, disk: Disk, now: number): Promise<string | undefined> {
  if (found.condition !== 'damaged') return undefined;
  const time = new Date(now).toISOString().replace(/[-:]|\.\d+/g, '');
  for (let attempt = 1; ; attempt += 1) {
    const aside = `${path}.damaged-${time}${attempt === 1 ? '' : `-${attempt}`}`;
    try {
      const file = await disk.open(aside, 'create');
      try {
        await file.write(Buffer.from(found.text, 'latin1'));
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
