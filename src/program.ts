/**
 * Other people's programs: found, started without a shell, and ended together with all that they started. The one
 * file that knows of child processes.
 */
import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { access, constants, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { execPath, kill } from 'node:process';
import type { Readable } from 'node:stream';
import { errno } from './disk.js';

export type Environment = Readonly<Record<string, string | undefined>>;

/** The program that runs popfetch: node. */
export const NODE = execPath;

/** Octets kept of what a program writes; the rest is read and dropped. */
const KEPT = 64 * 1024;

/** Where the system looks when there is no PATH. */
const DEFAULT_PATH = '/usr/bin:/bin';

/**
 * What a program that mail is handed to may know of popfetch's environment: where things are, whose they are, and how
 * people are spoken to. It reads what strangers have written, and tokens of other programs are often in an environment.
 */
const PASSED_ON =
  /^(?:PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LANGUAGE|LC_[A-Z]+|XDG_[A-Z_]+|MAIL|MAILDIR)$/;

/** The part of an environment that a program is given to which mail is handed. @param secrets variables that hold a password, whatever they are called */
export function mailEnvironment(env: Environment, secrets: ReadonlySet<string>): Environment {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => PASSED_ON.test(name) && !secrets.has(name)),
  );
}

/**
 * Starts a program in a process group of its own, so that what it starts can be ended with it, and no key on the
 * terminal ends it. Most failures come as the event `error`. @throws the others, as the system's errors
 */
export function startProgram(
  [program = '', ...args]: readonly string[],
  { env, stdio }: { readonly env: Environment; readonly stdio: StdioOptions },
): ChildProcess {
  return spawn(program, args, { env, detached: true, stdio });
}

/** Sends a signal to a program and all it started; 0 only asks. @returns whether anybody of them is left */
export function signalGroup({ pid }: ChildProcess, signal: 'SIGTERM' | 'SIGKILL' | 0): boolean {
  if (pid === undefined) return false;
  try {
    kill(-pid, signal);
    return true;
  } catch (error) {
    // A member that has become another user's cannot be signalled, and is left all the same.
    return errno(error) === 'EPERM';
  }
}

/** Keeps the first 64 KiB of a stream; call the result for what has come so far. */
export function collect(stream: Readable | null): () => Buffer {
  let kept = Buffer.alloc(0);
  stream?.on('data', (chunk: Buffer) => {
    if (kept.length < KEPT) kept = Buffer.concat([kept, chunk.subarray(0, KEPT - kept.length)]);
  });
  return () => kept;
}

/** Why a program could not be started, as it follows its name: `was not found`. */
export function notStarted(error: unknown): string {
  const code = errno(error);
  return code === 'ENOENT' ? 'was not found' : `cannot be started (${code ?? 'unknown reason'})`;
}

/** How a program ended, as it follows its name: `ended with status 1`; undefined when it ended well. */
export function howEnded(status: number | null, by: string | null): string | undefined {
  if (status === 0) return undefined;
  return status === null ? `was ended by ${by ?? 'a signal'}` : `ended with status ${status}`;
}

/**
 * Whether a program could be started: a path, or a name to be found on the PATH of `env`, as the system does it.
 * @returns undefined, or why not, in the words of {@link notStarted}
 */
export async function programFault(program: string, env: Environment): Promise<string | undefined> {
  const { PATH = DEFAULT_PATH } = env;
  const places = program.includes('/')
    ? [program]
    : PATH.split(delimiter).map((directory) => join(directory === '' ? '.' : directory, program));
  let worst = 'ENOENT';
  for (const place of places) {
    const fault = await faultAt(place);
    if (fault === undefined) return undefined;
    if (fault !== 'ENOENT' && fault !== 'ENOTDIR') worst = fault;
  }
  return notStarted(Object.assign(new Error(worst), { code: worst }));
}

async function faultAt(path: string): Promise<string | undefined> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile() ? undefined : 'EACCES';
  } catch (error) {
    return errno(error) ?? 'EACCES';
  }
}
