/** Files that are written once, from their start, by a message on its way. */
import { grouped, type Disk, type DiskFile } from '../disk.js';
import { failure } from './failure.js';
import type { Filter } from './lines.js';

/** Octets collected before a write. */
const WRITE = 65_536;

/**
 * A file that is written once, from its start, in pieces of useful size; it comes into being with the first write.
 * Every method throws PopfetchError DELIVERY when the disk fails.
 */
export class NewFile {
  readonly #disk: Disk;
  readonly #create: () => Promise<DiskFile>;
  readonly #where: string;
  readonly #collect: number;
  #file: DiskFile | undefined;
  #closed = false;
  #pieces: Buffer[] = [];
  #pending = 0;
  #length = 0;
  #memory: Buffer = Buffer.alloc(0);

  /**
   * @param where the path to name in errors while there is no file
   * @param create makes the file; called at most once
   * @param collect octets to collect before each write
   */
  constructor(disk: Disk, where: string, create: () => Promise<DiskFile>, collect = WRITE) {
    this.#disk = disk;
    this.#where = where;
    this.#create = create;
    this.#collect = collect;
  }

  /** Octets taken so far, written or not. */
  get length(): number {
    return this.#length;
  }

  /** Whether flush() is due. */
  get full(): boolean {
    return this.#pending >= this.#collect;
  }

  /** Whether there is a file by now. */
  get written(): boolean {
    return this.#file !== undefined;
  }

  /** The file's path, once there is one. */
  get path(): string {
    return this.#file?.path ?? this.#where;
  }

  /** Takes a piece; the octets must not change after. */
  add(piece: Buffer): void {
    if (piece.length === 0) return;
    this.#pieces.push(piece);
    this.#pending += piece.length;
    this.#length += piece.length;
  }

  /** What was collected and not written, in one piece. The file no longer has it. */
  take(): Buffer {
    const [first] = this.#pieces;
    const all = this.#pieces.length === 1 && first !== undefined ? first : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#pending = 0;
    return all;
  }

  /** Writes what was collected. Makes the file even when that is nothing. */
  flush(): Promise<void> {
    return this.#try(async () => {
      this.#file ??= await this.#create();
      if (this.#pending > 0) await this.#file.write(this.#gather());
    });
  }

  /** Resolves when the octets are on stable storage; the file's name is not yet. */
  sync(): Promise<void> {
    return this.#try(async () => this.#file?.sync());
  }

  close(): Promise<void> {
    this.#closed = true;
    return this.#try(async () => this.#file?.close());
  }

  /** Leaves nothing behind, as far as the disk allows. Never rejects. */
  async discard(): Promise<void> {
    const file = this.#file;
    if (file === undefined) return;
    if (!this.#closed) await file.close().catch(ignore);
    await this.#disk.unlink(file.path).catch(ignore);
  }

  /**
   * What was collected, like take(), in memory that the next write uses again: pieces of their own would leave tens of
   * MiB of a large message to the garbage collector before that begins to work.
   */
  #gather(): Buffer {
    if (this.#pieces.length < 2) return this.take();
    if (this.#memory.length < this.#pending) this.#memory = Buffer.allocUnsafe(this.#pending);
    let filled = 0;
    for (const piece of this.#pieces) filled += piece.copy(this.#memory, filled);
    this.#pieces = [];
    this.#pending = 0;
    return this.#memory.subarray(0, filled);
  }

  async #try(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      throw failure(error, this.path);
    }
  }
}

/** Puts a whole body through a filter into a file; the last piece may wait there unwritten. @throws also what the body throws */
export async function fill(file: NewFile, body: AsyncIterable<Buffer>, filter?: Filter): Promise<void> {
  for await (const piece of body) {
    file.add(filter === undefined ? piece : filter.push(piece));
    if (file.full) await file.flush();
  }
  if (filter !== undefined) file.add(filter.end());
}

/** Syncs the names in a directory, once for all who ask at the same time. What it returns throws PopfetchError DELIVERY. */
export function directorySync(disk: Disk, path: string): () => Promise<void> {
  return grouped(async () => {
    try {
      await disk.syncDirectory(path);
    } catch (error) {
      throw failure(error, path);
    }
  });
}

function ignore(): void {
  // For clean-up whose failure changes nothing.
}
