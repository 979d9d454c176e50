/** The transcript of a conversation in a file, for `--trace`. */
import { constants, writeSync, type Stats } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { errno } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { printable } from '../escape.js';
import type { Trace } from '../run.js';

/** Octets of one line that are shown; longer ones say how much is missing. */
const LINE = 4096;

/** What {@link openTrace} needs to know of the process. */
export interface TraceOptions {
  /** User id that an existing file must belong to; undefined where there are no user ids. */
  readonly uid?: number | undefined;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** A transcript that is being written. */
export interface TraceFile {
  readonly trace: Trace;
  /** Resolves when the file is closed. @throws DELIVERY when lines are missing from it because of a failed write. */
  readonly close: () => Promise<void>;
}

/**
 * Starts a transcript at `path`: created 0600, or emptied when it is a regular file of our own. Every line is written
 * before the conversation goes on, so that nothing is missing after a kill: `2026-01-01T00:00:00.000Z work C: NOOP`.
 * Refuses symbolic links, files of other users, files with a second name, and everything that is not a regular
 * file: mail may be in a transcript, and emptying somebody's file through a link must not happen.
 * @throws CREATE
 */
export async function openTrace(
  path: string,
  { uid, now = Date.now }: TraceOptions = {},
): Promise<TraceFile> {
  const file = await openOwn(path, uid);
  let failure: unknown;
  const trace: Trace = (account, direction, text) => {
    if (failure !== undefined) return;
    const time = new Date(now()).toISOString();
    try {
      writeSync(file.fd, `${time} ${printable(account)} ${direction}: ${printable(text, LINE)}\n`);
    } catch (error) {
      failure = error;
    }
  };
  const close = async (): Promise<void> => {
    await file.close();
    if (failure !== undefined) throw writeError(path, failure);
  };
  return { trace, close };
}

async function openOwn(path: string, uid: number | undefined): Promise<FileHandle> {
  // Without O_NONBLOCK the opening of a FIFO would wait for a reader.
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(path, flags, 0o600).catch((cause: unknown) => {
    const why = errno(cause) === 'ELOOP' ? 'it is a symbolic link' : (errno(cause) ?? 'unknown reason');
    throw createError(path, why, cause);
  });
  const why = objection(await file.stat(), uid);
  if (why !== undefined) {
    await file.close();
    throw createError(path, why);
  }
  await file.chmod(0o600);
  await file.truncate(0);
  return file;
}

function objection(stats: Stats, uid: number | undefined): string | undefined {
  if (!stats.isFile()) return 'it is not a regular file';
  if (uid !== undefined && stats.uid !== uid) return 'it belongs to another user';
  return stats.nlink > 1 ? 'it has a second name (hard link)' : undefined;
}

function createError(path: string, why: string, cause?: unknown): PopfetchError {
  const details = { remedy: 'give --trace a new file in a directory of your own', cause };
  return new PopfetchError('CREATE', `cannot write the trace to ${path}: ${why}`, details);
}

function writeError(path: string, cause: unknown): PopfetchError {
  const why = errno(cause) ?? 'unknown reason';
  return new PopfetchError('DELIVERY', `the trace in ${path} is not complete: ${why}`, {
    remedy: 'mail is not affected; check the space on that disk',
    cause,
  });
}
