/** The real disk, with somebody looking at every call before it is made, who may refuse it or pull the plug. */
import type { Stats } from 'node:fs';
import { nodeDisk, type Disk, type DiskFile, type OpenMode } from '../../src/disk.js';

/** What a process sees of its own death: nothing. It is thrown out of every call from then on. */
export class Crash extends Error {
  override readonly name = 'Crash';
}

/** A failed system call, as Node throws it. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: a test says so`), { code });
}

export class WatchedDisk implements Disk {
  /** Every call so far: `link`, `open append`, `write`, … and its path. */
  readonly calls: string[] = [];
  /** Called before each call. Throws to refuse it. */
  before: (call: string, path: string) => void = () => undefined;
  /** Called when a call has been made. Throws to deny that it was. */
  after: (call: string, path: string) => void = () => undefined;
  /** With `tracing`: where in src/ each of the calls was made, as FILE:LINE. */
  readonly callers: string[] = [];
  tracing = false;
  /** Writes and syncs of an open file after a sync of it had failed: nobody knows what they would mean. */
  readonly afterFailedSync: string[] = [];
  /** Whether half of the data is written before a refused write. */
  tearing = false;
  readonly #open = new Set<DiskFile>();
  readonly #disk: Disk;

  /** @param disk the one that is watched */
  constructor(disk: Disk = nodeDisk) {
    this.#disk = disk;
  }

  /** Takes all open files away, as the system does when a process dies: their locks are free. */
  async die(): Promise<void> {
    this.before = () => {
      throw new Crash();
    };
    for (const file of this.#open) await file.close().catch(() => undefined);
    this.#open.clear();
  }

  /** Files that were opened and not closed. */
  get openFiles(): number {
    return this.#open.size;
  }

  async #close(file: DiskFile): Promise<void> {
    this.#open.delete(file);
    await file.close();
  }

  #look(call: string, path: string, caller: string | undefined): void {
    this.calls.push(`${call} ${path}`);
    if (caller !== undefined) this.callers.push(caller);
    this.before(call, path);
  }

  #caller(): string | undefined {
    return this.tracing ? callerInSource() : undefined;
  }

  async open(path: string, how: OpenMode, mode?: number): Promise<DiskFile> {
    const caller = this.#caller();
    await Promise.resolve();
    this.#look(`open ${how}`, path, caller);
    const file = await this.#disk.open(path, how, mode);
    this.#open.add(file);
    return this.#watched(file);
  }

  #watched(file: DiskFile): DiskFile {
    let syncFailed = false;
    const look = async <T>(call: string, work: () => Promise<T>): Promise<T> => {
      const caller = this.#caller();
      const sync = call.endsWith('sync');
      await Promise.resolve();
      if (syncFailed && (sync || call === 'write')) this.afterFailedSync.push(`${call} ${file.path}`);
      try {
        this.#look(call, file.path, caller);
        const result = await work();
        this.after(call, file.path);
        return result;
      } catch (error) {
        syncFailed ||= sync;
        throw error;
      }
    };
    return {
      fd: file.fd,
      path: file.path,
      write: async (data) => {
        const made = { begun: false };
        try {
          await look('write', () => {
            made.begun = true;
            return file.write(data);
          });
        } catch (error) {
          const torn = !made.begun && this.tearing && this.#open.has(file);
          if (torn) await file.write(data.subarray(0, data.length >> 1));
          throw error;
        }
      },
      read: (position, length, into) => look('read', () => file.read(position, length, into)),
      stat: () => look('stat', () => file.stat()),
      truncate: (length) => look('truncate', () => file.truncate(length)),
      sync: () => look('sync', () => file.sync()),
      datasync: () => look('datasync', () => file.datasync()),
      close: async () => {
        try {
          await look('close', () => Promise.resolve());
        } catch (error) {
          // The file is closed even so, as close(2) does it; only a death leaves that to die().
          if (!(error instanceof Crash)) await this.#close(file);
          throw error;
        }
        await this.#close(file);
      },
    };
  }

  async #call<T>(call: string, path: string, work: () => Promise<T>): Promise<T> {
    const caller = this.#caller();
    await Promise.resolve();
    this.#look(call, path, caller);
    const result = await work();
    this.after(call, path);
    return result;
  }

  mkdir(path: string, mode?: number): Promise<void> {
    return this.#call('mkdir', path, () => this.#disk.mkdir(path, mode));
  }
  link(from: string, to: string): Promise<void> {
    return this.#call('link', to, () => this.#disk.link(from, to));
  }
  rename(from: string, to: string): Promise<void> {
    return this.#call('rename', to, () => this.#disk.rename(from, to));
  }
  unlink(path: string): Promise<void> {
    return this.#call('unlink', path, () => this.#disk.unlink(path));
  }
  readdir(path: string): Promise<string[]> {
    return this.#call('readdir', path, () => this.#disk.readdir(path));
  }
  lstat(path: string): Promise<Stats | undefined> {
    return this.#call('lstat', path, () => this.#disk.lstat(path));
  }
  stat(path: string): Promise<Stats | undefined> {
    return this.#call('stat', path, () => this.#disk.stat(path));
  }
  /** Changes nothing and never fails, so that nobody looks at it. */
  room(path: string): Promise<number | undefined> {
    return this.#disk.room(path);
  }
  syncDirectory(path: string): Promise<void> {
    return this.#call('syncDirectory', path, () => this.#disk.syncDirectory(path));
  }
}

/** The line of src/ that asked for what is being done, as FILE:LINE. */
function callerInSource(): string {
  const { stack = '' } = new Error();
  return /\/src\/([\w/]+\.ts:\d+)/.exec(stack)?.[1] ?? 'unknown';
}

/** The disk's methods as properties, so that a test can replace some of them. */
export function methodsOf(disk: WatchedDisk): Disk {
  return {
    open: disk.open.bind(disk),
    mkdir: disk.mkdir.bind(disk),
    link: disk.link.bind(disk),
    rename: disk.rename.bind(disk),
    unlink: disk.unlink.bind(disk),
    readdir: disk.readdir.bind(disk),
    lstat: disk.lstat.bind(disk),
    stat: disk.stat.bind(disk),
    room: disk.room.bind(disk),
    syncDirectory: disk.syncDirectory.bind(disk),
  };
}
