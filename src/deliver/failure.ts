/** What the disk says, in words for a person: every errno that a destination can meet, in one place. */
import { errno, type Disk } from '../disk.js';
import { PopfetchError } from '../errors.js';
import type { ErrorCode, Phase } from '../errors.js';
import { placeFault, type PlaceFault } from '../owner.js';

interface Words {
  /** Follows the path: `PATH: the disk is full`. */
  readonly happened: string;
  readonly remedy: string;
}

const AGAIN = 'then run popfetch again: the message is still on the server';

const WORDS: Readonly<Record<string, Words>> = {
  ENOSPC: { happened: 'the disk is full', remedy: `make room on that file system, ${AGAIN}` },
  EDQUOT: { happened: 'your disk quota is used up', remedy: `remove files or ask for more quota, ${AGAIN}` },
  EFBIG: { happened: 'the file would become too large', remedy: 'archive older mail, or raise ulimit -f' },
  EIO: { happened: 'the disk reports an input/output error', remedy: 'see dmesg and check the disk' },
  EROFS: { happened: 'the file system is read-only', remedy: 'mount it writable; see dmesg if it was' },
  EACCES: {
    happened: 'permission denied',
    remedy: 'make the directory and its files yours: ls -ld shows whose',
  },
  EPERM: {
    happened: 'the operation is not permitted',
    remedy: 'look at the owner and at chattr flags (lsattr)',
  },
  ENOENT: { happened: 'a directory is missing', remedy: 'was it moved or unmounted? Run popfetch again' },
  ENOTDIR: { happened: 'a part of the path is not a directory', remedy: 'choose another path for deliver' },
  EEXIST: {
    happened: 'something else is in the way',
    remedy: 'move it away, or choose another path for deliver',
  },
  EISDIR: { happened: 'it is a directory', remedy: 'choose another path for deliver' },
  ELOOP: { happened: 'it is a symbolic link', remedy: 'name the file that the link points to' },
  ENAMETOOLONG: { happened: 'the name is too long', remedy: 'choose a shorter path for deliver' },
  EMFILE: { happened: 'too many files are open', remedy: 'raise ulimit -n, or lower --parallel' },
  ENFILE: { happened: 'too many files are open on this machine', remedy: 'close programs, then run again' },
  EXDEV: {
    happened: 'its tmp and new are on two file systems',
    remedy: 'put the whole Maildir on one file system',
  },
  ESTALE: {
    happened: 'the network file system has lost it',
    remedy: 'mount it again, then run popfetch again',
  },
  ENOLCK: {
    happened: 'the file system cannot lock files',
    remedy: 'start its lock service, or use a Maildir',
  },
};

/** Where nothing but another path or other permissions would help: the destination cannot be created as configured. */
const REFUSED = new Set(
  'EROFS EACCES EPERM ENOENT ENOTDIR EEXIST EISDIR ELOOP ENAMETOOLONG ENXIO ENODEV EXDEV'.split(' '),
);

/**
 * A failed system call on `path`, while a message was stored, as PopfetchError DELIVERY. What is no system error
 * (a PopfetchError, a bug) comes back as it is.
 */
export function failure(error: unknown, path: string): unknown {
  return translated(error, path, 'deliver', () => 'DELIVERY');
}

/** The same while a destination is opened: CREATE where it cannot exist as configured, else DELIVERY. */
export function refusal(error: unknown, path: string): unknown {
  return translated(error, path, 'destination', (code) => (REFUSED.has(code) ? 'CREATE' : 'DELIVERY'));
}

/** @throws CREATE where others can change what is in a directory that mail is to go to; what the disk throws */
export async function refuseUnsafe(disk: Disk, directory: string): Promise<void> {
  refuseFault(await placeFault(disk, directory));
}

/** @throws CREATE where there is a fault */
export function refuseFault(fault: PlaceFault | undefined): void {
  if (fault === undefined) return;
  const what = `${fault.what}, so no mail is written there`;
  throw new PopfetchError('CREATE', what, { phase: 'destination', remedy: fault.remedy });
}

function translated(
  error: unknown,
  path: string,
  phase: Phase,
  codeOf: (code: string) => ErrorCode,
): unknown {
  const code = errno(error);
  // Node's ERR_… codes mean wrong use of its interfaces: a bug, not a disk.
  if (code === undefined || code.startsWith('ERR_') || error instanceof PopfetchError) return error;
  const words = WORDS[code] ?? {
    happened: `the system reports ${code}`,
    remedy: 'nothing is lost; run popfetch again',
  };
  return new PopfetchError(codeOf(code), `${path}: ${words.happened}`, {
    phase,
    remedy: words.remedy,
    cause: error,
  });
}
