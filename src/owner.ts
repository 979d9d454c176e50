/**
 * Whose a place is. Mail and memory go only where nobody else can put something of theirs in the way: a link that leads
 * elsewhere, a file that they can read, another directory under the same name.
 */
import type { Stats } from 'node:fs';
import { dirname } from 'node:path';
import { getegid, geteuid } from 'node:process';
import type { Disk } from './disk.js';
import { PopfetchError } from './errors.js';
import { shellWord } from './escape.js';

/** Who this process is for the file system. */
export interface User {
  readonly uid: number;
  /** The primary group: many systems give every user one of their own, and make directories that it may change. */
  readonly gid: number;
}

/** Why nothing is written to a place. */
export interface PlaceFault {
  /** A sentence without its full stop. */
  readonly what: string;
  readonly remedy: string;
}

/** `shared`: root may own it, as it owns /var/mail. `own`: for this user alone. */
export type Trust = 'shared' | 'own';

const ROOT = 0;
const GROUP_WRITES = 0o020;
const ALL_WRITE = 0o002;
const STICKY = 0o1000;

/** The effective user and group of this process. */
export function thisUser(): User {
  return { uid: geteuid?.() ?? -1, gid: getegid?.() ?? -1 };
}

/**
 * Looks at a directory that mail or memory is to go to; where it is missing, at the nearest one above it, where it would
 * be made. The directory above is looked at as well, and the owner of a symbolic link in the last place. Makes nothing.
 * @param trust of the directory itself; what is above it may be root's
 * @returns undefined where nobody but this user and root can change what is in it. @throws what the disk throws
 */
export async function placeFault(
  disk: Pick<Disk, 'lstat' | 'stat'>,
  directory: string,
  trust: Trust = 'shared',
  user: User = thisUser(),
): Promise<PlaceFault | undefined> {
  for (let at = directory; ; at = dirname(at)) {
    const found = await disk.stat(at);
    if (found === undefined && dirname(at) !== at) continue;
    if (found?.isDirectory() !== true) return undefined;
    const link = await disk.lstat(at);
    const leads = link?.isSymbolicLink() === true;
    const own = directoryFault(at, found, at === directory ? trust : 'shared', user);
    if (own !== undefined) return own;
    if (leads && isForeign(link, user, 'shared')) return foreign(at, link, user);
    // As the system sees it: behind a symbolic link, the one above is another one than the path says.
    const above = `${at}/..`;
    const parent = await disk.stat(above);
    return parent && directoryFault(leads ? above : dirname(at), parent, 'shared', user);
  }
}

/**
 * For what is this user's alone: the memory, and messages on their way.
 * @throws PERMISSION where others can change what is in a directory; what the disk throws
 */
export async function demandOwn(disk: Pick<Disk, 'lstat' | 'stat'>, directory: string): Promise<void> {
  const fault = await placeFault(disk, directory, 'own');
  if (fault === undefined) return;
  throw new PopfetchError('PERMISSION', fault.what, { phase: 'state', remedy: fault.remedy });
}

/** What is wrong with the owner of a file that mail is written to; undefined where it is this user's. Pure. */
export function fileFault(path: string, stats: Stats, user: User = thisUser()): PlaceFault | undefined {
  return isForeign(stats, user, 'own') ? foreign(path, stats, user) : undefined;
}

/** The same of a directory, and of who may change what is in it. Pure. */
export function directoryFault(
  path: string,
  stats: Stats,
  trust: Trust,
  user: User = thisUser(),
): PlaceFault | undefined {
  const { mode, uid, gid } = stats;
  if (isForeign(stats, user, trust)) return foreign(path, stats, user);
  if ((mode & ALL_WRITE) !== 0 && (trust === 'own' || (mode & STICKY) === 0))
    return changeable(path, mode, 'everybody', 'o-w');
  const trusted = trust === 'shared' && (uid === ROOT || gid === user.gid);
  if ((mode & GROUP_WRITES) === 0 || trusted) return undefined;
  return changeable(path, mode, `its group (group id ${gid})`, 'g-w');
}

function isForeign({ uid }: Stats, user: User, trust: Trust): boolean {
  return uid !== user.uid && !(uid === ROOT && trust === 'shared');
}

function foreign(path: string, { uid }: Stats, user: User): PlaceFault {
  if (user.uid === ROOT) {
    const what = `${path} belongs to another user (user id ${uid}), and popfetch runs as root`;
    return { what, remedy: `run it as that user: sudo -u '#${uid}' popfetch` };
  }
  const what = `${path} belongs to somebody else (user id ${uid})`;
  return { what, remedy: `choose another path, or run chown ${user.uid} ${shellWord(path)} (as root)` };
}

function changeable(path: string, mode: number, who: string, change: string): PlaceFault {
  const octal = (mode & 0o7777).toString(8).padStart(4, '0');
  return {
    what: `${path} can be changed by ${who} (mode ${octal})`,
    remedy: `run chmod ${change} ${shellWord(path)}`,
  };
}
