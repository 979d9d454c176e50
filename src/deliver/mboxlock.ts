/**
 * An mbox that is open and locked against everyone: by dotlock and by the kernel, in this order, as most mail programs
 * do. Who waits for the second lock lets go of the first, so nobody who takes them the other way round waits for ever.
 */
import type { Stats } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { errno, type DiskFile } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { tryLock } from '../lock.js';
import { fileFault } from '../owner.js';
import { refuseFault } from './failure.js';
import { tryDotlock, type Dotlock, type LockOwner } from './dotlock.js';
import { Turns } from './turns.js';

/** Milliseconds to wait for another program to let go. */
export const LOCK_WAIT = 30_000;

/** Milliseconds between two attempts: at first, and at most. */
const POLL = { first: 5, most: 200 } as const;

/** An mbox that nobody else changes until it is released. */
export interface LockedMbox {
  readonly file: DiskFile;
  readonly stat: Stats;
  /** Never rejects. */
  release(): Promise<void>;
}

/** Accounts of this process that deliver to the same mbox. */
const turns = new Turns<string>();

/**
 * Opens and locks the mbox at `path`; made with mode 0600 when missing.
 * @param wait milliseconds to wait for other programs
 * @throws LOCKED when another program holds it for longer; the reason of the signal when it aborts meanwhile; CREATE when it is no plain file of its own; what the disk throws
 */
export async function lockMbox(
  path: string,
  owner: LockOwner & { readonly signal: AbortSignal },
  wait = LOCK_WAIT,
): Promise<LockedMbox> {
  const endTurn = await turns.take(path);
  try {
    const deadline = performance.now() + wait;
    for (let delay: number = POLL.first; ; delay = Math.min(2 * delay, POLL.most)) {
      const got = await attempt(path, owner);
      if (typeof got !== 'string') return ending(got, endTurn);
      const left = deadline - performance.now();
      if (left <= 0) throw heldBy(got, path, wait);
      await sleep(Math.min(delay, left), undefined, { signal: owner.signal }).catch(() => {
        throw owner.signal.reason;
      });
    }
  } catch (error) {
    endTurn();
    throw error;
  }
}

function ending(locked: LockedMbox, endTurn: () => void): LockedMbox {
  return {
    ...locked,
    async release() {
      await locked.release();
      endTurn();
    },
  };
}

/** One try for both locks; says which one another program holds. */
async function attempt(path: string, owner: LockOwner): Promise<LockedMbox | 'dotlock' | 'kernel'> {
  const dotlock = await tryDotlock(`${path}.lock`, owner);
  if (dotlock === 'held') return 'dotlock';
  try {
    const locked = await openLocked(path, owner);
    if (locked !== undefined) return withDotlock(locked, dotlock);
  } catch (error) {
    await release(dotlock);
    throw error;
  }
  await release(dotlock);
  return 'kernel';
}

function withDotlock(
  { file, stat }: Omit<LockedMbox, 'release'>,
  dotlock: Dotlock | 'forbidden',
): LockedMbox {
  return {
    file,
    stat,
    async release() {
      // In the reverse order. Closing the file gives the kernel's lock back.
      await file.close().catch(() => undefined);
      await release(dotlock);
    },
  };
}

async function release(dotlock: Dotlock | 'forbidden'): Promise<void> {
  if (dotlock !== 'forbidden') await dotlock.release();
}

/** @returns undefined where another program has the lock, or has just put another file in this one's place. */
async function openLocked(
  path: string,
  { disk }: LockOwner,
): Promise<Omit<LockedMbox, 'release'> | undefined> {
  const file = await openMbox(path, { disk });
  try {
    if (tryLock(file.fd)) {
      const stat = await file.stat();
      const now = await disk.lstat(path);
      if (now?.dev === stat.dev && now.ino === stat.ino) return { file, stat };
    }
  } catch (error) {
    await file.close().catch(() => undefined);
    throw error;
  }
  await file.close();
  return undefined;
}

/**
 * Opens the mbox at `path` for appending; made with mode 0600 when missing.
 * @throws CREATE for a symbolic link, a file with a second name, one of another user and whatever is not a file: mail
 * written there would change something else than this path says, or be read by others
 */
export async function openMbox(path: string, { disk }: Pick<LockOwner, 'disk'>): Promise<DiskFile> {
  // Looked at before it is opened: opening a device or a pipe does something.
  const before = await disk.lstat(path);
  if (before !== undefined) refuseOddity(path, before);
  try {
    const file = await disk.open(path, 'append', 0o600);
    try {
      refuseOddity(path, await file.stat());
      return file;
    } catch (error) {
      await file.close().catch(() => undefined);
      throw error;
    }
  } catch (error) {
    if (errno(error) === 'ELOOP') throw odd(path, 'is a symbolic link');
    throw error;
  }
}

function refuseOddity(path: string, stat: Stats): void {
  if (stat.isSymbolicLink()) throw odd(path, 'is a symbolic link');
  if (!stat.isFile()) throw odd(path, 'is not a file');
  if (stat.nlink > 1) throw odd(path, 'is known under a second name (a hard link)');
  refuseFault(fileFault(path, stat));
}

function odd(path: string, what: string): PopfetchError {
  return new PopfetchError('CREATE', `${path} ${what}, so no mail is written to it`, {
    phase: 'destination',
    remedy: 'name the mbox itself, by the only path it has',
  });
}

function heldBy(lock: 'dotlock' | 'kernel', path: string, wait: number): PopfetchError {
  const which = lock === 'dotlock' ? ` (${path}.lock)` : '';
  return new PopfetchError(
    'LOCKED',
    `${path} has been locked by another program for ${wait / 1000} s${which}`,
    {
      phase: 'deliver',
      remedy: 'close the program that has the mailbox open; the next run delivers',
    },
  );
}
