/**
 * The three folders of a Maildir, and the names in them. A name is `SECONDS.A<tag>K<key>.HOST`: other programs append
 * to it (`:2,S`, `,U=7`), but `A<tag>K<key>` stays in it, and that is how a delivery is found again.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { errno, hasNoLinks, type Disk, type DiskFile } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { directoryFault } from '../owner.js';
import type { DestinationContext } from './context.js';
import { failure, refuseFault, refuseUnsafe } from './failure.js';
import { LineFeeds } from './lines.js';
import { directorySync } from './newfile.js';
import { storedFiles } from './storedmail.js';

/** Names tried where one is taken. */
const ATTEMPTS = 10;

/** Milliseconds after which a file in tmp/ is dead by the rules of Maildir. */
const ABANDONED = 36 * 3600 * 1000;

/** Octets read at once. */
const READ = 1_048_576;

/** What a file must hold to be the message that was meant. */
export interface Expected {
  /** Octets in the file. */
  readonly size: number;
  /** SHA-256 (hex) of its content with every CRLF as LF. */
  readonly sha256: string;
  /** How its lines end. */
  readonly eol: 'lf' | 'crlf';
}

/** Methods throw what the disk throws, except where they say otherwise. */
export class MaildirFolders {
  readonly #path: string;
  readonly #disk: Disk;
  readonly #tag: string;
  readonly #host: string;
  readonly #now: () => number;
  /** Until the file system says that it has none. */
  #hardLinks = true;
  /** Resolves when the names in tmp/ are on stable storage. @throws DELIVERY */
  readonly syncTmp: () => Promise<void>;
  readonly #syncNew: () => Promise<void>;

  constructor(path: string, context: DestinationContext) {
    this.#path = path;
    this.#disk = context.disk;
    this.#tag = context.tag;
    this.#host = context.host.replaceAll('/', '\\057').replaceAll(':', '\\072');
    this.#now = () => context.now();
    this.syncTmp = directorySync(context.disk, this.tmp());
    this.#syncNew = directorySync(context.disk, this.#new());
  }

  /** A path in tmp/, or tmp/ itself. */
  tmp(name = ''): string {
    return join(this.#path, 'tmp', name);
  }

  #new(name = ''): string {
    return join(this.#path, 'new', name);
  }

  /** Makes what is missing, for good. @throws CREATE where something else stands in the place of a folder, or others may put it there */
  async prepare(): Promise<void> {
    await refuseUnsafe(this.#disk, this.#path);
    await this.#disk.mkdir(this.#path);
    for (const folder of ['tmp', 'new', 'cur']) {
      const path = join(this.#path, folder);
      let found = await this.#disk.lstat(path);
      if (found === undefined) {
        await this.#disk.mkdir(path);
        found = await this.#disk.lstat(path);
      }
      if (found?.isDirectory() === true) {
        refuseFault(directoryFault(path, found, 'shared'));
        continue;
      }
      const what = found?.isSymbolicLink() === true ? 'is a symbolic link' : 'is not a directory';
      throw new PopfetchError('CREATE', `${path} ${what}, so ${this.#path} is no Maildir`, {
        phase: 'destination',
        remedy: 'move it away, or deliver to another Maildir',
      });
    }
    // Those that were there may be the work of a run that was killed before it could sync them.
    await this.#disk.syncDirectory(this.#path);
  }

  /** A new file in tmp/, for a message. */
  async create(key: string): Promise<DiskFile> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#disk.open(this.tmp(this.#name(key, attempt)), 'create', 0o600);
      } catch (error) {
        if (errno(error) !== 'EEXIST' || attempt >= ATTEMPTS) throw error;
      }
    }
  }

  /** Whether that file in tmp/ is there, and how many names it has; 0 when it is not. */
  async links(name: string): Promise<number> {
    const found = await this.#disk.lstat(this.tmp(name));
    return found?.isFile() === true ? Math.max(1, found.nlink) : 0;
  }

  /**
   * Makes a file of tmp/ visible in new/. Its name in tmp/ stays where there are hard links, else it moves.
   * @returns its name in new/
   */
  async show(name: string, key: string): Promise<string> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const visible = attempt === 0 ? name : this.#name(key, attempt);
      if (await this.#place(this.tmp(name), this.#new(visible))) return visible;
    }
    throw failure(Object.assign(new Error('every name is taken'), { code: 'EEXIST' }), this.#new(name));
  }

  /** @returns false where another message has that name. */
  async #place(from: string, to: string): Promise<boolean> {
    if (!this.#hardLinks) return this.#move(from, to);
    try {
      await this.#disk.link(from, to);
      return true;
    } catch (error) {
      // Over NFS a repeated request may be answered with an error although the first one made the link.
      if (((await this.#disk.lstat(from))?.nlink ?? 0) > 1) return true;
      if (errno(error) === 'EEXIST') return this.#same(from, to);
      if (!hasNoLinks(error)) throw error;
      this.#hardLinks = false;
      return this.#move(from, to);
    }
  }

  /** rename() replaces what it finds, so this looks first: nobody else uses a name with our tag and key. */
  async #move(from: string, to: string): Promise<boolean> {
    if ((await this.#disk.lstat(to)) !== undefined) return this.#same(from, to);
    await this.#disk.rename(from, to);
    return true;
  }

  async #same(one: string, other: string): Promise<boolean> {
    return (await this.#hash(one)) === (await this.#hash(other));
  }

  /** Octets of a file in new/; undefined where it is not there. */
  async sizeOf(name: string): Promise<number | undefined> {
    return (await this.#disk.lstat(this.#new(name)))?.size;
  }

  /** Resolves when what show() did is on stable storage. @throws DELIVERY */
  async syncShown(): Promise<void> {
    await this.#syncNew();
    if (!this.#hardLinks) await this.syncTmp();
  }

  /**
   * Takes back a delivery that failed half-way, as far as the disk allows: what stays (a message that a reader has
   * moved meanwhile) keeps its name in tmp/, by which the next run finds it. Never rejects.
   * @param visible its name in new/, where it got that far
   */
  async withdraw(name: string, visible: string | undefined): Promise<void> {
    try {
      if (visible !== undefined) await this.#disk.unlink(this.#new(visible));
      // Without a visible name this tells whether show() got further than it could say.
      else if ((await this.links(name)) !== 1) return;
      await this.drop(name);
    } catch {
      // The intent is on disk, and with it the next run decides.
    }
  }

  /** Removes a name from tmp/. Never rejects: what stays is swept by a later run. */
  async drop(name: string): Promise<void> {
    await this.#disk.unlink(this.tmp(name)).catch(() => undefined);
  }

  /** The keys of all messages of this mailbox in new/ and cur/. */
  async keys(): Promise<Set<string>> {
    return new Set((await storedFiles(this.#disk, this.#path, this.#tag)).keys());
  }

  /** Syncs new/ and cur/: what was found there is there to stay. */
  async syncFound(): Promise<void> {
    await this.syncShown();
    await this.#disk.syncDirectory(join(this.#path, 'cur'));
  }

  /** Whether a file in tmp/ holds just that message. */
  async holds(name: string, expected: Expected): Promise<boolean> {
    const path = this.tmp(name);
    if ((await this.#disk.lstat(path))?.size !== expected.size) return false;
    return (await this.#hash(path, expected.eol)) === expected.sha256;
  }

  /** Removes what earlier runs for this mailbox left in tmp/. */
  async sweep(): Promise<void> {
    for (const name of await this.#disk.readdir(this.tmp())) {
      if (name.includes(`.A${this.#tag}K`) && (await this.#dead(name))) await this.drop(name);
    }
  }

  /** Another machine may deliver the same mailbox here at this moment, with a run lock of its own. */
  async #dead(name: string): Promise<boolean> {
    if (name.endsWith(`.${this.#host}`)) return true;
    const found = await this.#disk.lstat(this.tmp(name));
    return found !== undefined && this.#now() - found.mtimeMs > ABANDONED;
  }

  async #hash(path: string, eol: 'lf' | 'crlf' = 'lf'): Promise<string> {
    const file = await this.#disk.open(path, 'read');
    try {
      const hash = createHash('sha256');
      const lineFeeds = eol === 'crlf' ? new LineFeeds() : undefined;
      for (let at = 0; ;) {
        const piece = await file.read(at, READ);
        if (piece.length === 0) break;
        at += piece.length;
        hash.update(lineFeeds?.push(piece) ?? piece);
      }
      if (lineFeeds !== undefined) hash.update(lineFeeds.end());
      return hash.digest('hex');
    } finally {
      await file.close();
    }
  }

  #name(key: string, attempt: number): string {
    const again = attempt === 0 ? '' : `Q${attempt}`;
    return `${Math.floor(this.#now() / 1000)}.A${this.#tag}K${key}${again}.${this.#host}`;
  }
}
