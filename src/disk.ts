/**
 * The file system calls that durability rests on, behind one seam. `deliver/` and `seen.ts` reach the disk through
 * a {@link Disk} only, so that tests can record every call, refuse any of them, or play a file system that forgets.
 */
import { constants } from 'node:fs';
import type { Stats } from 'node:fs';
import * as fs from 'node:fs/promises';
import { dirname } from 'node:path';

/** How a file is opened. All refuse to follow a symbolic link in the last component (O_NOFOLLOW). */
export type OpenMode =
  /** Must not exist yet (O_EXCL); for writing from the start. */
  | 'create'
  /** Created when missing; every write goes to the end (O_APPEND), whoever else writes; may be read too. */
  | 'append'
  /** Created when missing; reading and writing. */
  | 'update'
  /** Must exist; for reading. */
  | 'read';

/** An open file. Errors are Node's own, with `code` (ENOSPC, EIO, …); nothing is retried after a failed sync. */
export interface DiskFile {
  readonly fd: number;
  readonly path: string;
  /** Writes all of it, going on after a short write; one system call for the usual case. */
  write(data: Buffer): Promise<void>;
  /** Up to `length` bytes from `position`; shorter only at the end of the file. They are put `into` memory with room for them, if given. */
  read(position: number, length: number, into?: Buffer): Promise<Buffer>;
  stat(): Promise<Stats>;
  truncate(length: number): Promise<void>;
  /** fsync: data and metadata are on stable storage when it resolves. */
  sync(): Promise<void>;
  /** fdatasync: data, and the metadata needed to read it back. */
  datasync(): Promise<void>;
  close(): Promise<void>;
}

/** The calls. `mode` is a permission such as 0o600; the umask applies (the command sets 0o077 when it starts). */
export interface Disk {
  open(path: string, how: OpenMode, mode?: number): Promise<DiskFile>;
  /**
   * Makes the directory (0o700 unless told) and its missing parents; an existing one is left as it is. Its name is on
   * stable storage when it resolves, whoever made it, unless it is in a directory that this user cannot read.
   */
  mkdir(path: string, mode?: number): Promise<void>;
  link(from: string, to: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  readdir(path: string): Promise<string[]>;
  /** undefined when nothing is there. Never follows a symbolic link in the last component. */
  lstat(path: string): Promise<Stats | undefined>;
  /** The same of what a symbolic link leads to. */
  stat(path: string): Promise<Stats | undefined>;
  /**
   * Octets that may still be written to the file system of `path` by who has no privileges; undefined where nobody can
   * say: it keeps no such figures, or nothing is there. Never rejects.
   */
  room(path: string): Promise<number | undefined>;
  /** fsync on a directory: the names in it are on stable storage when it resolves. */
  syncDirectory(path: string): Promise<void>;
}

const FLAGS: Readonly<Record<OpenMode, number>> = {
  create: constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
  append: constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW,
  update: constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW,
  read: constants.O_RDONLY | constants.O_NOFOLLOW,
};

class NodeFile implements DiskFile {
  readonly #handle: fs.FileHandle;

  constructor(
    handle: fs.FileHandle,
    readonly path: string,
  ) {
    this.#handle = handle;
  }

  get fd(): number {
    return this.#handle.fd;
  }

  async write(data: Buffer): Promise<void> {
    let done = 0;
    while (done < data.length) {
      const { bytesWritten } = await this.#handle.write(data, done, data.length - done);
      done += bytesWritten;
    }
  }

  async read(position: number, length: number, into?: Buffer): Promise<Buffer> {
    const buffer = into ?? Buffer.allocUnsafe(length);
    let done = 0;
    while (done < length) {
      const { bytesRead } = await this.#handle.read(buffer, done, length - done, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return buffer.subarray(0, done);
  }

  stat(): Promise<Stats> {
    return this.#handle.stat();
  }

  truncate(length: number): Promise<void> {
    return this.#handle.truncate(length);
  }

  sync(): Promise<void> {
    return this.#handle.sync();
  }

  datasync(): Promise<void> {
    return this.#handle.datasync();
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

/** The real file system. */
export const nodeDisk: Disk = {
  async open(path, how, mode = 0o600) {
    return new NodeFile(await fs.open(path, FLAGS[how], mode), path);
  },

  async mkdir(path, mode = 0o700) {
    const parent = dirname(path);
    if (await isDirectory(path)) {
      // A process that was killed may have made it and not synced it.
      await nodeDisk.syncDirectory(parent).catch(ignoreUnsyncable);
      return;
    }
    if (parent !== path) await nodeDisk.mkdir(parent, mode);
    try {
      // One at a time: Node's own `recursive` tries for ever where a file system such as /proc has no room for any.
      await fs.mkdir(path, mode);
    } catch (error) {
      // Another account may have made it meanwhile; its name is synced all the same before anyone relies on it.
      if (errno(error) !== 'EEXIST' || !(await isDirectory(path))) throw error;
    }
    try {
      await nodeDisk.syncDirectory(parent);
    } catch (error) {
      // An existing directory is taken as it is, and this one may be gone tomorrow: the next run must make it anew.
      await fs.rmdir(path).catch(() => undefined);
      throw error;
    }
  },

  link: (from, to) => fs.link(from, to),
  rename: (from, to) => fs.rename(from, to),
  unlink: (path) => fs.unlink(path),
  readdir: (path) => fs.readdir(path),

  lstat: (path) => unlessMissing(fs.lstat(path)),
  stat: (path) => unlessMissing(fs.stat(path)),

  async room(path) {
    try {
      const { bsize, blocks, bavail } = await fs.statfs(path);
      return blocks > 0 ? bsize * bavail : undefined;
    } catch {
      return undefined;
    }
  },

  async syncDirectory(path) {
    const handle = await fs.open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
};

async function unlessMissing(look: Promise<Stats>): Promise<Stats | undefined> {
  try {
    return await look;
  } catch (error) {
    if (errno(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** The errno name of a failed system call ('ENOSPC', …), or undefined when it is no such error. */
export function errno(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** What fsync on a directory answers, or opening it, where there is nothing that this process could have made or could sync. */
const UNSYNCABLE = new Set(['EACCES', 'EPERM', 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'EROFS']);

function ignoreUnsyncable(error: unknown): void {
  if (!UNSYNCABLE.has(errno(error) ?? '')) throw error;
}

/** What link() answers where a file system or a mount has no hard links. */
const NO_LINKS = new Set(['EPERM', 'EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'EXDEV', 'EMLINK']);

/** Whether link() failed because there are no hard links here, so that something else has to do. */
export function hasNoLinks(error: unknown): boolean {
  return NO_LINKS.has(errno(error) ?? '');
}

async function isDirectory(path: string): Promise<boolean> {
  return (await unlessMissing(fs.stat(path)))?.isDirectory() === true;
}

/**
 * Shares one run of `work` among all who ask while the previous run is under way: a caller's promise settles with a
 * run that began after the call, and there is one run at a time. This is how many deliveries share one sync.
 */
export function grouped(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = (): Promise<void> => {
    next = undefined;
    const run = work().finally(() => {
      // Where somebody waits, the next run is as good as under way: who asks now must not begin another beside it.
      if (next === undefined) running = undefined;
    });
    running = run;
    return run;
  };
  return () => {
    if (running === undefined) return start();
    next ??= running.then(start, start);
    return next;
  };
}
