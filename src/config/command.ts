/** Runs a program without a shell and collects what it says, for a limited time. */
import type { ChildProcess } from 'node:child_process';
import { collect, howEnded, notStarted, signalGroup, startProgram, type Environment } from '../program.js';

export interface CommandOptions {
  readonly env: Environment;
  /** Milliseconds until the program and all it started are killed. */
  readonly limit: number;
  /** Kills them earlier. */
  readonly signal?: AbortSignal | undefined;
  /** What the program finds on stdin; nothing unless given. */
  readonly input?: string | undefined;
}

export interface CommandOutcome {
  /** The first 64 KiB at most. */
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  /** undefined when the program ended with status 0, else what happened instead: `ended with status 1`. */
  readonly fault: string | undefined;
}

/**
 * Resolves when the program has ended and its output is there, or when it is out of time. A program
 * that leaves a daemon behind, which keeps stdout open, is not waited for once it has ended well and said a line.
 */
export async function outputOf(argv: readonly string[], options: CommandOptions): Promise<CommandOutcome> {
  const { env, signal, input } = options;
  signal?.throwIfAborted();
  let child: ChildProcess;
  try {
    child = startProgram(argv, { env, stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] });
  } catch (error) {
    return { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0), fault: notStarted(error) };
  }
  // A program that does not read its input says by its end what that means.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(input);
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  const fault = await faultOf(child, () => stdout().includes('\n'), options);
  child.stdout?.destroy();
  child.stderr?.destroy();
  signal?.throwIfAborted();
  return { stdout: stdout(), stderr: stderr(), fault };
}

/** Waits for the end of a program, or brings it about. */
function faultOf(
  child: ChildProcess,
  hasLine: () => boolean,
  { limit, signal }: CommandOptions,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const settle = (what: string | undefined): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
      resolve(what);
    };
    const stop = (): void => {
      signalGroup(child, 'SIGKILL');
      settle(child.exitCode === 0 ? undefined : `did not end within ${limit / 1000} s`);
    };
    const timer = setTimeout(stop, limit);
    signal?.addEventListener('abort', stop);
    onEnd(child, hasLine, settle);
  });
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
