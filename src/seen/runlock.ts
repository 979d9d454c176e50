/** One run at a time for one mailbox: a kernel lock, gone with the process that holds it, however it ends. */
import { hostname } from 'node:os';
import { pid } from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Disk, DiskFile } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { tryLock } from '../lock.js';

/** A held lock. */
export interface RunLock {
  /** Gives it back; the file stays, since removing it would let two runs lock two files of one name. */
  release(): Promise<void>;
}

/** Milliseconds between two tries while waiting. */
const RETRY = 100;

/**
 * Takes the lock on the file at `path`. What the file says of its holder is for the message only: the kernel decides.
 * @param options.wait milliseconds to wait for another holder; Infinity for ever
 * @throws LOCKED with the other run's pid, host and start; ABORTED while waiting
 */
export async function lockRun(
  path: string,
  disk: Disk,
  options: { readonly wait: number; readonly signal: AbortSignal; readonly now: () => number },
): Promise<RunLock> {
  const file = await disk.open(path, 'update');
  try {
    const deadline = performance.now() + options.wait;
    while (!tryLock(file.fd)) {
      if (performance.now() >= deadline) throw await lockedError(file);
      await sleep(RETRY, undefined, { signal: options.signal });
    }
    await file.truncate(0);
    await file.write(Buffer.from(`${pid} ${hostname()} ${new Date(options.now()).toISOString()}\n`));
  } catch (error) {
    await file.close();
    throw options.signal.aborted ? options.signal.reason : error;
  }
  return { release: () => file.close() };
}

async function lockedError(file: DiskFile): Promise<PopfetchError> {
  const [holder, host, since] = (await file.read(0, 512)).toString('latin1').trim().split(' ');
  const who = since === undefined ? '' : ` (process ${holder ?? ''} on ${host ?? ''}, since ${since})`;
  return new PopfetchError('LOCKED', `another run of popfetch is fetching this mailbox${who}`, {
    phase: 'state',
  });
}
