/**
 * strace around a run: it counts the system calls that change files, kills at one of them, and takes hard links away.
 * Only where strace is installed and processes may be traced.
 */
import { spawnSync } from 'node:child_process';

/** The system calls that make or change files, by the name under which they are spoken of. */
export const CALLS = [
  'openat',
  'write',
  'fsync',
  'fdatasync',
  'link',
  'rename',
  'unlink',
  'ftruncate',
  'mkdir',
] as const;
export type Call = (typeof CALLS)[number];

/** What each is called on one processor or another; strace passes over those with `?` that this one does not have. */
const NAMES: Readonly<Record<Call, string>> = {
  openat: '?open,openat',
  write: 'write,pwrite64,writev,pwritev',
  fsync: 'fsync',
  fdatasync: 'fdatasync',
  link: '?link,linkat',
  rename: '?rename,?renameat,renameat2',
  unlink: '?unlink,unlinkat',
  ftruncate: 'ftruncate',
  mkdir: '?mkdir,mkdirat',
};

const REFUSE_LINKS = ['-e', `inject=${NAMES.link}:error=EPERM`];

/** How a run is to be traced. */
export interface Tracing {
  /** Kill with SIGKILL at the entry to the `nth` such call (of any one thread) that concerns one of `paths`. */
  readonly kill?: { readonly call: Call; readonly nth: number; readonly paths: readonly string[] };
  /** Answer every link() with EPERM, as a file system without hard links does. A kill at `link` undoes it. */
  readonly linkless?: boolean;
}

/** Whether strace is installed. */
export function findStrace(): boolean {
  return spawnSync('strace', ['--version'], { stdio: 'ignore' }).status === 0;
}

/** Why strace cannot be used here; undefined where it can. */
export function straceProblem(): string | undefined {
  if (process.platform !== 'linux') return 'it is a program for Linux';
  if (!findStrace()) return 'it is not installed';
  const { status } = spawnSync('strace', ['-qq', '-o', '/dev/null', 'true'], { stdio: 'ignore' });
  return status === 0 ? undefined : 'processes may not be traced here';
}

/**
 * What to put before a command so that it is traced; nothing where there is nothing to trace for. The command stays
 * our own child (-D), so that its number, its status and its signals are its own.
 */
export function traced({ kill, linkless = false }: Tracing): string[] {
  if (kill === undefined && !linkless) return [];
  const links = linkless ? REFUSE_LINKS : [];
  const calls = [...(linkless ? [NAMES.link] : []), ...(kill === undefined ? [] : [NAMES[kill.call]])];
  const start = ['strace', '-D', '-f', '-qq', '-o', '/dev/null', '-e', `trace=${calls.join(',')}`, ...links];
  // Far cheaper, but with it strace sends no signals.
  if (kill === undefined) return [...start, '--seccomp-bpf'];
  const death = `inject=${NAMES[kill.call]}:signal=KILL:when=${kill.nth}`;
  return [...start, '-e', death, ...kill.paths.flatMap((path) => ['-P', path])];
}

/** What to put before a command so that its calls on `paths` are written to `file`, one a line, without any content. */
export function counting(file: string, paths: readonly string[], linkless = false): string[] {
  const names = CALLS.map((call) => NAMES[call]).join(',');
  const start = ['strace', '-D', '-f', '-qq', '-s', '0', '-o', file, '-e', `trace=${names}`];
  return [...start, ...(linkless ? REFUSE_LINKS : []), ...paths.flatMap((path) => ['-P', path])];
}

/** How many calls of each kind there are in the text of such a file. */
export function countsIn(text: string): Record<Call, number> {
  const names = text.split('\n').map((line) => /^\d+ +(\w+)\(/.exec(line)?.[1] ?? '');
  const entries = CALLS.map((call) => {
    const same = NAMES[call].replaceAll('?', '').split(',');
    return [call, names.filter((name) => same.includes(name)).length];
  });
  return Object.fromEntries(entries) as Record<Call, number>;
}
