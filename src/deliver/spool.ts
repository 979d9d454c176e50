/** Whole messages, kept until their destinations have them. */
import { basename, join } from 'node:path';
import { errno, type Disk, type DiskFile } from '../disk.js';
import { failure, refusal } from './failure.js';
import type { Filter } from './lines.js';
import { directorySync, fill, NewFile } from './newfile.js';

/** Octets up to which a message is kept in memory. */
const MEMORY = 131_072;

/** Octets read at once from a spooled message. */
const READ = 65_536;

/** A whole message, to be read as often as need be: in memory, or in a file when it is large. */
export class Held {
  readonly length: number;
  /** All of it, where it is small. */
  readonly memory: Buffer | undefined;
  /** Its file, where it is large. */
  readonly path: string | undefined;
  readonly #disk: Disk;
  #file: Promise<DiskFile> | undefined;

  constructor(disk: Disk, length: number, where: { readonly memory: Buffer } | { readonly path: string }) {
    this.#disk = disk;
    this.length = length;
    this.memory = 'memory' in where ? where.memory : undefined;
    this.path = 'path' in where ? where.path : undefined;
  }

  /** Up to `length` octets from `position`, not to be changed; from a file they come `into` memory, if given. @throws DELIVERY */
  async read(position: number, length: number, into?: Buffer): Promise<Buffer> {
    if (this.path === undefined) return this.memory?.subarray(position, position + length) ?? Buffer.alloc(0);
    try {
      this.#file ??= this.#disk.open(this.path, 'read');
      return await (await this.#file).read(position, length, into);
    } catch (error) {
      throw failure(error, this.path);
    }
  }

  /** All of it, in pieces of up to `size` octets that are not to be changed. */
  async *pieces(size = READ): AsyncGenerator<Buffer, void, undefined> {
    for (let at = 0; at < this.length;) {
      const piece = await this.read(at, Math.min(size, this.length - at));
      if (piece.length === 0) throw new Error(`${this.path ?? 'a message'} has become shorter`);
      yield piece;
      at += piece.length;
    }
  }

  /** Gives back what it holds; afterwards it cannot be read. Never rejects. */
  async drop(): Promise<void> {
    await this.close();
    if (this.path !== undefined) await this.#disk.unlink(this.path).catch(ignore);
  }

  /** The same, and its file stays for the next run. Never rejects. */
  async close(): Promise<void> {
    const file = await this.#file?.catch(ignore);
    await file?.close().catch(ignore);
  }
}

/** A file in the spool that is only read. */
export type SpoolFile = Pick<DiskFile, 'read' | 'stat' | 'close'>;

/** The files of one mailbox in the spool directory. */
export class Spool {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #tag: string;
  readonly #sync: () => Promise<void>;
  #count = 0;

  constructor(disk: Disk, directory: string, tag: string) {
    this.#disk = disk;
    this.#directory = directory;
    this.#tag = tag;
    this.#sync = directorySync(disk, directory);
  }

  /**
   * Keeps a whole message. `durable`: where it takes a file, that file is on stable storage when this resolves; `file`:
   * so it is, and it takes one however small it is.
   */
  async hold(
    key: string,
    body: AsyncIterable<Buffer>,
    filter: Filter | undefined,
    durable: boolean | 'file',
  ): Promise<Held> {
    const file = this.#file(key);
    try {
      await fill(file, body, filter);
      if (!file.written && durable !== 'file') {
        return new Held(this.#disk, file.length, { memory: file.take() });
      }
      await file.flush();
      if (durable === false) await file.close();
      else await this.#settle(file);
      return new Held(this.#disk, file.length, { path: file.path });
    } catch (error) {
      await file.discard();
      throw error;
    }
  }

  /** Makes a file of these octets, durable when it resolves. @returns its path */
  async store(key: string, octets: readonly Buffer[]): Promise<string> {
    const file = this.#file(key);
    try {
      for (const each of octets) file.add(each);
      await file.flush();
      await this.#settle(file);
      return file.path;
    } catch (error) {
      await file.discard();
      throw error;
    }
  }

  /** Opens a file of an earlier run by its bare name; undefined when it is not there. It and its methods throw as while a destination is opened. */
  async open(name: string): Promise<SpoolFile | undefined> {
    const path = join(this.#directory, basename(name));
    const named = <T>(work: Promise<T>): Promise<T> =>
      work.catch((error: unknown) => {
        throw refusal(error, path);
      });
    if ((await named(this.#disk.lstat(path))) === undefined) return undefined;
    const file = await named(this.#disk.open(path, 'read'));
    return {
      read: (position, length, into) => named(file.read(position, length, into)),
      stat: () => named(file.stat()),
      close: () => named(file.close()),
    };
  }

  /** Removes a file that is no longer needed. Never rejects: what stays is swept by a later run. */
  async remove(path: string): Promise<void> {
    await this.#disk.unlink(path).catch(ignore);
  }

  /** Removes everything that earlier runs left. Never rejects. */
  async sweep(): Promise<void> {
    const names = await this.#disk.readdir(this.#directory).catch(() => []);
    for (const name of names.filter((each) => each.startsWith(`A${this.#tag}K`))) {
      await this.remove(join(this.#directory, name));
    }
  }

  #file(key: string): NewFile {
    const create = async (): Promise<DiskFile> => {
      for (;;) {
        this.#count += 1;
        const path = join(this.#directory, `A${this.#tag}K${key}.${this.#count}`);
        try {
          return await this.#disk.open(path, 'create');
        } catch (error) {
          if (errno(error) !== 'EEXIST') throw error;
        }
      }
    };
    return new NewFile(this.#disk, this.#directory, create, MEMORY);
  }

  async #settle(file: NewFile): Promise<void> {
    await file.sync();
    await file.close();
    await this.#sync();
  }
}

function ignore(): void {
  // For clean-up whose failure changes nothing.
}
