/** One message handed to a program: how long the program may take, how it is ended then, and what it said. */
import type { ChildProcess } from 'node:child_process';
import { collect, howEnded, signalGroup, startProgram, type Environment } from '../program.js';

/** Milliseconds. */
export interface Patience {
  /** From SIGTERM to SIGKILL where a program takes longer than it may. */
  readonly ending: number;
  /** For which a program may go on when the run is to end, until SIGTERM. */
  readonly aborted: number;
  /** From SIGTERM to SIGKILL then: the run itself has five seconds. */
  readonly hurried: number;
}

export const PATIENCE: Patience = { ending: 2000, aborted: 3000, hurried: 1000 };

/** Milliseconds to wait for what a program wrote last, where something that it left behind keeps stderr open. */
const LAST_WORDS = 100;

/** Milliseconds between two looks at what is left of a program that was ended. */
const LOOK = 20;

export interface Handover {
  readonly argv: readonly string[];
  readonly env: Environment;
  /** An open file, at its start: the message. */
  readonly stdin: number;
  /** Milliseconds. */
  readonly limit: number;
  readonly signal: AbortSignal;
  readonly patience: Patience;
}

/** What a program came to. */
export interface Verdict {
  /** undefined where it did not end by itself. */
  readonly status: number | undefined;
  /** What went wrong, as it follows "it": `ended with status 75`; undefined with status 0. */
  readonly fault: string | undefined;
  /** The first 64 KiB. */
  readonly stderr: Buffer;
}

/**
 * Runs a program to its end, with all it started when it is out of time; what it leaves behind when it ends by itself
 * is left alone. Its stdout goes nowhere. A program that had to be ended has not done its work, whatever it says then.
 * @throws the reason of `signal` when that ended it; the system's error when it could not be started
 */
export async function handOver(handover: Handover): Promise<Verdict> {
  const { argv, env, stdin } = handover;
  const child = startProgram(argv, { env, stdio: [stdin, 'ignore', 'pipe'] });
  const stderr = collect(child.stderr);
  const closed = new Promise<void>((resolve) => {
    child.once('close', () => {
      resolve();
    });
  });
  try {
    const end = await endOf(child, handover);
    await atMost(LAST_WORDS, closed);
    return { ...end, stderr: stderr() };
  } finally {
    child.stderr?.destroy();
  }
}

/** Waits for the end of a program, or brings it about. */
function endOf(
  child: ChildProcess,
  { limit, signal, patience }: Handover,
): Promise<Pick<Verdict, 'status' | 'fault'>> {
  return new Promise((resolve, reject) => {
    let over = false;
    let hurry: NodeJS.Timeout | undefined;
    /** Whoever comes first decides. */
    const once = (decide: () => void): void => {
      if (over) return;
      over = true;
      clearTimeout(late);
      clearTimeout(hurry);
      signal.removeEventListener('abort', onAbort);
      decide();
    };
    const cutOff = (grace: number, decide: () => void): void => {
      once(() => void endGroup(child, grace).then(decide));
    };
    const onAbort = (): void => {
      hurry = setTimeout(cutOff, patience.aborted, patience.hurried, () => {
        reject(signal.reason as Error);
      });
    };
    const late = setTimeout(cutOff, limit, patience.ending, () => {
      resolve({ status: undefined, fault: `did not end within ${limit / 1000} s` });
    });
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    child.once('error', (error) => {
      once(() => {
        reject(error);
      });
    });
    child.once('exit', (status, by) => {
      once(() => {
        resolve({ status: status ?? undefined, fault: howEnded(status, by) });
      });
    });
  });
}

/** Ends a program and all it started: asked first, killed after `grace` milliseconds. */
async function endGroup(child: ChildProcess, grace: number): Promise<void> {
  signalGroup(child, 'SIGTERM');
  if (await comesAbout(() => !signalGroup(child, 0), grace)) return;
  signalGroup(child, 'SIGKILL');
  // What the system cannot end (it waits for a disk) must not hold up the run for ever. Nor must the dead of the group
  // that nobody has buried yet, so that this looks at the program alone.
  await comesAbout(() => child.exitCode !== null || child.signalCode !== null, grace);
}

/** @returns whether it is so within this many milliseconds */
async function comesAbout(isSo: () => boolean, within: number): Promise<boolean> {
  for (const end = performance.now() + within; performance.now() < end;) {
    if (isSo()) return true;
    await new Promise((resolve) => setTimeout(resolve, LOOK));
  }
  return isSo();
}

async function atMost(milliseconds: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([work, over]);
  clearTimeout(timer);
}
