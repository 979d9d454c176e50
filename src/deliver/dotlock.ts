/**
 * Dotlocks: a file `PATH.lock` that exists while PATH is being changed, for programs that do not ask the kernel. Ours
 * holds `PID HOST TAG`, so that others can see who holds it, and a later run of the same account that it is dead.
 */
import type { Stats } from 'node:fs';
import { getPriority } from 'node:os';
import { pid } from 'node:process';
import { errno, hasNoLinks, type Disk } from '../disk.js';
import { asError } from '../errors.js';

/** Milliseconds after which a lock is stale when its process is gone. */
const DEAD = 2 * 60 * 1000;

/** Milliseconds after which a lock is stale when nobody can tell whose it is: it says nothing, or names another machine. */
const UNKNOWN = 5 * 60 * 1000;

/** Octets of a lock that are read. */
const READ = 256;

/** Which file it is. */
type Identity = Pick<Stats, 'dev' | 'ino' | 'mtimeMs'>;

/** Who asks for a lock. */
export interface LockOwner {
  readonly disk: Disk;
  readonly host: string;
  readonly tag: string;
  now(): number;
}

/** A lock that is held. */
export interface Dotlock {
  /** Removes it, if it is still ours. Never rejects. */
  release(): Promise<void>;
}

/**
 * Tries once to take the dotlock at `path`; a stale one is removed on the way.
 * @returns `held` while another program holds it; `forbidden` where its directory cannot be written by us: programs
 * that lock a mailbox there must all use the kernel's lock.
 * @throws what the disk throws
 */
export async function tryDotlock(path: string, owner: LockOwner): Promise<Dotlock | 'held' | 'forbidden'> {
  for (let attempt = 0; attempt < 2; attempt += 1) {
    try {
      return await create(path, owner);
    } catch (error) {
      const code = errno(error) ?? '';
      if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return 'forbidden';
      if (code !== 'EEXIST') throw error;
    }
    if (await isStale(path, owner)) await owner.disk.unlink(path).catch(() => undefined);
    else return 'held';
  }
  return 'held';
}

/**
 * Makes the lock with its content in it at once, by a link. It keeps both names while it is held: a power cut may take
 * the content, which is not worth a sync, and then the second name says whose it is. Where there are no hard links the
 * lock is made first and filled then.
 */
async function create(path: string, owner: LockOwner): Promise<Dotlock> {
  const { disk } = owner;
  const draft = draftOf(path, owner);
  await disk.unlink(draft).catch(() => undefined);
  const id = await write(draft, owner);
  try {
    await disk.link(draft, path);
  } catch (error) {
    // Over NFS a repeated request may be answered with an error although the first one made the link.
    const made = await disk.lstat(draft).catch(() => undefined);
    if ((made?.nlink ?? 0) < 2) {
      await disk.unlink(draft).catch(() => undefined);
      if (!hasNoLinks(error)) throw error;
      return lockAs(path, await write(path, owner), owner);
    }
  }
  return lockAs(path, id, owner);
}

/**
 * The name of the lock before it is one, and beside it. Only one run of an account is alive, so a file of that name that
 * it has not made was left by a crash.
 */
function draftOf(path: string, { tag }: LockOwner): string {
  return `${path}.${tag}`;
}

async function write(path: string, { disk, host, tag }: LockOwner): Promise<Identity> {
  const file = await disk.open(path, 'create', 0o644);
  try {
    await file.write(Buffer.from(`${pid} ${host} ${tag}\n`));
    const { dev, ino, mtimeMs } = await file.stat();
    await file.close();
    return { dev, ino, mtimeMs };
  } catch (error) {
    await file.close().catch(() => undefined);
    await disk.unlink(path).catch(() => undefined);
    throw error;
  }
}

function lockAs(path: string, id: Identity, owner: LockOwner): Dotlock {
  const { disk } = owner;
  const held = async (): Promise<boolean> => {
    const found = await disk.lstat(path);
    // The time as well: a file that replaced ours may have got its inode number.
    return isSame(found, id) && found?.mtimeMs === id.mtimeMs;
  };
  return {
    async release() {
      try {
        if (await held()) await disk.unlink(path).catch(() => undefined);
        // What could not be removed is stale from now on, and its second name says whose it is.
        if (!(await held())) await disk.unlink(draftOf(path, owner));
      } catch {
        // The next run of this account takes it over.
      }
    },
  };
}

/** Removes the dotlock at `path` where a dead run of this account left it, or it is stale. @throws what the disk throws */
export async function clearDotlock(path: string, owner: LockOwner): Promise<void> {
  const { disk } = owner;
  const draft = draftOf(path, owner);
  const [found, second] = [await disk.lstat(path), await disk.lstat(draft)];
  if (found?.isFile() === true && (isSame(second, found) || (await isStale(path, owner)))) {
    await disk.unlink(path).catch(unlessGone);
  }
  // The last to go: until then it tells whose the lock is.
  if (second !== undefined) await disk.unlink(draft);
}

/** Another run that delivers to the same mbox may remove the same stale lock at this moment. */
function unlessGone(error: unknown): void {
  if (errno(error) !== 'ENOENT') throw asError(error);
}

function isSame(found: Identity | undefined, id: Identity): boolean {
  return found?.dev === id.dev && found.ino === id.ino;
}

interface Content {
  readonly pid: string;
  readonly host: string;
  readonly tag: string;
}

/** Within a run there is one lock on a path at a time, so one that is not being held was left by a crash. */
function isOurs(content: Content, { host, tag }: LockOwner): boolean {
  return content.host === host && content.tag === tag;
}

async function isStale(path: string, owner: LockOwner): Promise<boolean> {
  const found = await owner.disk.lstat(path);
  if (found === undefined) return true;
  if (!found.isFile()) return false;
  const content = await contentOf(path, owner.disk);
  if (isOurs(content, owner)) return true;
  const age = owner.now() - found.mtimeMs;
  const known = /^[1-9]\d{0,9}$/.test(content.pid) && (content.host === '' || content.host === owner.host);
  return known ? age > DEAD && !isAlive(Number(content.pid)) : age > UNKNOWN;
}

/** Nothing in it where it cannot be read, is gone this moment or was cut short: it is judged by its age then. */
async function contentOf(path: string, disk: Disk): Promise<Content> {
  let text = '';
  try {
    const file = await disk.open(path, 'read');
    try {
      text = (await file.read(0, READ)).toString('latin1');
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errno(error) === undefined) throw error;
  }
  const [pid = '', host = '', tag = ''] = text.trim().split(/[\s:]+/);
  // A power cut may leave the first digits of a number, and some other process may have that one.
  return { pid: /[\n:]/.test(text) ? pid : '', host, tag };
}

/** Whether a process is there. Asking for a priority is allowed for every process, sending even signal 0 is not. */
function isAlive(pid: number): boolean {
  try {
    getPriority(pid);
    return true;
  } catch (error) {
    const info = (error as { info?: { code?: unknown } }).info;
    return info?.code !== 'ESRCH';
  }
}
