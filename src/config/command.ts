/** Runs a program without a shell and collects what it says, for a limited time. */
import { spawn, type ChildProcess } from 'node:child_process';
import { kill } from 'node:process';
import type { Readable } from 'node:stream';
import { errno } from '../disk.js';

export interface CommandOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds until the program and all it started are killed. */
  readonly limit: number;
  /** Kills them earlier. */
  readonly signal?: AbortSignal | undefined;
}

export interface CommandOutcome {
  /** The first 64 KiB at most. */
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** undefined when the program ended with status 0, else what happened instead: `ended with status 1`. */
  readonly fault: string | undefined;
}

/** Octets kept of each stream; the rest is read and dropped. */
const KEPT = 64 * 1024;

/**
 * Resolves when the program has ended and its output is there, or when it is out of time. stdin is empty. A program
 * that leaves a daemon behind, which keeps stdout open, is not waited for once it has ended well and said a line.
 */
export async function outputOf(
  [program = '', ...args]: readonly string[],
  { env, limit, signal }: CommandOptions,
): Promise<CommandOutcome> {
  signal?.throwIfAborted();
  // A process group of its own: what the program starts is killed with it.
  const child = spawn(program, args, { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  const fault = await new Promise<string | undefined>((resolve) => {
    const settle = (what: string | undefined): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
      resolve(what);
    };
    const stop = (): void => {
      killGroup(child);
      settle(child.exitCode === 0 ? undefined : `did not end within ${limit / 1000} s`);
    };
    const timer = setTimeout(stop, limit);
    signal?.addEventListener('abort', stop);
    onEnd(child, () => stdout().includes('\n'), settle);
  });
  child.stdout.destroy();
  child.stderr.destroy();
  signal?.throwIfAborted();
  return { stdout: stdout(), stderr: stderr(), fault };
}

/** Calls `ended` when the program has ended and its streams with it, or has ended well and has said a line. */
function onEnd(
  child: ChildProcess,
  hasLine: () => boolean,
  ended: (fault: string | undefined) => void,
): void {
  const enough = (): void => {
    if (child.exitCode === 0 && hasLine()) ended(undefined);
  };
  child.on('error', (error) => {
    ended(notStarted(error));
  });
  child.on('exit', enough);
  child.stdout?.on('data', enough);
  child.on('close', (status, by) => {
    ended(howEnded(status, by));
  });
}

/** Keeps the beginning of a stream; call the result for what has come so far. */
function collect(stream: Readable): () => Buffer {
  let kept = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    if (kept.length < KEPT) kept = Buffer.concat([kept, chunk.subarray(0, KEPT - kept.length)]);
  });
  return () => kept;
}

function notStarted(error: Error): string {
  const code = errno(error);
  return code === 'ENOENT' ? 'was not found' : `cannot be started (${code ?? error.name})`;
}

function howEnded(status: number | null, by: string | null): string | undefined {
  if (status === 0) return undefined;
  return status === null ? `was ended by ${by ?? 'a signal'}` : `ended with status ${status}`;
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    kill(-pid, 'SIGKILL');
  } catch {
    // Nobody of the group is left.
  }
}
