/** The command: the only file that touches `process`. Decides what is asked, and turns what comes of it into an exit status. */
import { fstatSync, fsync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { promisify } from 'node:util';
import { EXIT_BUG, PopfetchError } from '../errors.js';
import type { Context } from './context.js';
import { print } from './output.js';
import type { Request } from './request.js';

/** Signals that end a run, with their numbers: the exit status is 128 more. */
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** Milliseconds that a run has to end in order: a reader that does not read, or a lock on an mbox, may hold it up for longer. */
const GRACE = 5000;

/**
 * Runs popfetch with the words of its command line and resolves with its exit status; never rejects. The first
 * signal ends the run in order, within five seconds, the second at once.
 */
export async function main(argv: readonly string[]): Promise<number> {
  // Whatever is made from here on is for its owner alone.
  process.umask(0o077);
  // A reader that has gone is met where something is written; without a listener it would be an exception.
  process.stdout.on('error', () => undefined);
  process.stderr.on('error', () => undefined);
  const controller = new AbortController();
  const stopListening = listen(controller);
  try {
    return await run(argv, contextOf(controller.signal));
  } catch (error) {
    return await explain(error);
  } finally {
    stopListening();
    // A name that is being looked up cannot be called off, and would hold the process for seconds.
    if (controller.signal.aborted) setImmediate(() => process.exit());
  }
}

async function run(argv: readonly string[], context: Context): Promise<number> {
  // Asked for by scripts before every run: nothing else is loaded for it.
  if (argv.length === 1 && argv[0] === '--version') return say(context, `${await version()}\n`);
  const { parse } = await import('./request.js');
  const asked = await parse(argv);
  if (asked.command === 'help') return say(context, asked.text);
  if (asked.command === 'version') return say(context, `${await version()}\n`);
  return carryOut(asked, context);
}

/** Loads a command's code only when it is asked for. */
async function carryOut(request: Request, context: Context): Promise<number> {
  switch (request.command) {
    case 'fetch':
      return (await import('./fetch.js')).fetch(request, context);
    case 'show':
      return (await import('./show.js')).show(request, context);
    case 'list':
      return (await import('./list.js')).list(request, context);
    case 'check':
      return (await import('./check.js')).check(request, context);
    case 'status':
      return (await import('./status.js')).status(request, context);
    case 'state':
      return (await import('./state.js')).state(request, context);
    case 'auth':
      return (await import('./auth.js')).auth(request, context);
    case 'config':
      return (await import('./config.js')).config(request, context);
    default:
      return request.command satisfies never;
  }
}

async function say({ stdout }: Context, text: string): Promise<number> {
  await print(stdout, text);
  return 0;
}

/** Has to stay in this file: the path is relative to where it is, in `src/cli` as in `dist/cli`. */
async function version(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}

function contextOf(signal: AbortSignal): Context {
  return {
    env: process.env,
    home: orElse('', homedir),
    // It may have been removed under us.
    cwd: orElse('/', () => process.cwd()),
    uid: process.getuid?.() ?? -1,
    // Opened only by who reads it.
    stdin: () => process.stdin,
    stdout: process.stdout,
    syncStdout: syncOf(process.stdout.fd),
    stderr: process.stderr,
    signal,
    now: Date.now,
  };
}

/** Only a file can be synced; a descriptor that was closed before we were started is no file. */
function syncOf(fd: number): (() => Promise<void>) | undefined {
  const isFile = orElse(false, () => fstatSync(fd).isFile());
  return isFile ? () => promisify(fsync)(fd) : undefined;
}

function orElse<T>(fallback: T, ask: () => T): T {
  try {
    return ask();
  } catch {
    return fallback;
  }
}

/** @returns what stops listening. */
function listen(controller: AbortController): () => void {
  const ends = Object.entries(SIGNALS).map(([name, number]) => {
    const onSignal = (): void => {
      if (controller.signal.aborted) process.exit(128 + number);
      controller.abort(interruption(name, 128 + number));
      // Nothing is lost: a run may end anywhere, and the next one goes on.
      setTimeout(() => process.exit(128 + number), GRACE).unref();
    };
    process.on(name, onSignal);
    return () => process.off(name, onSignal);
  });
  process.on('uncaughtException', onBug);
  ends.push(() => process.off('uncaughtException', onBug));
  return () => {
    for (const end of ends) end();
  };
}

/** Nothing that is still under way can be trusted: no server is told goodbye, and no file is touched. */
function onBug(error: unknown): void {
  process.stderr.write(bugReport(error));
  process.exit(EXIT_BUG);
}

function bugReport(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return `popfetch: this is a bug in popfetch; please report it with what follows and with what you did:\n${stack}\n`;
}

function interruption(name: string, exit: number): PopfetchError {
  const remedy = 'nothing is lost; the next run goes on';
  return new PopfetchError('ABORTED', `interrupted by ${name}`, { exit, remedy });
}

async function explain(error: unknown): Promise<number> {
  if (error instanceof PopfetchError) {
    const { formatError, formatInterruption } = await import('../report/sentences.js');
    const format = error.code === 'ABORTED' ? formatInterruption : formatError;
    await print(process.stderr, `${format(error, 'popfetch: ')}\n`).catch(() => undefined);
    return error.exit;
  }
  await print(process.stderr, bugReport(error)).catch(() => undefined);
  return EXIT_BUG;
}
