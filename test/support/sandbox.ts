/** A home of its own for each test, and the real command run in it as a black box. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Watch } from './secrets.js';

const PROGRAM = fileURLToPath(new URL('../../bin/popfetch.js', import.meta.url));

/** How one run is to go. */
export interface RunOptions {
  readonly stdin?: string | Buffer;
  /** Added to the clean environment; undefined takes a variable out of it. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Default: an empty directory of the sandbox. */
  readonly cwd?: string;
  /** Milliseconds until it is killed and the run rejects. Default 60,000. */
  readonly timeout?: number;
  /** Measure {@link Result.peakMemory}. Starts a few milliseconds slower. */
  readonly measure?: boolean;
  /** Options for node itself. */
  readonly nodeOptions?: readonly string[];
  /** A program that is to run node, and its arguments. */
  readonly under?: readonly string[];
}

/** What a run came to. */
export interface Result {
  /** null where a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: Buffer;
  readonly stderr: string;
  /** Milliseconds. */
  readonly elapsed: number;
  /** Peak resident memory in octets; only with `measure`, and only where it exited by itself. */
  readonly peakMemory: number | undefined;
}

/** A run under way. */
export interface Running {
  readonly pid: number;
  readonly child: ChildProcess;
  /** Whether it has ended. */
  readonly ended: boolean;
  /** Default SIGKILL. False when it had ended already. */
  kill(signal?: NodeJS.Signals): boolean;
  readonly done: Promise<Result>;
}

/** The home. Everything in it goes when {@link Sandbox.remove} is called. */
export class Sandbox {
  readonly home: string;
  /** Looks for passwords in the outputs, files and processes of this home; only its config may hold any. */
  readonly secrets = new Watch();
  readonly #runs = new Set<Running>();
  #measured = 0;

  private constructor(home: string) {
    this.home = home;
  }

  /** @param parent the directory in which the home is made */
  static async create(parent = tmpdir()): Promise<Sandbox> {
    const sandbox = new Sandbox(await mkdtemp(join(parent, 'popfetch-home-')));
    const directories = [sandbox.config, sandbox.state, sandbox.cache, sandbox.runtime, sandbox.work];
    for (const directory of directories) await mkdir(directory, { recursive: true, mode: 0o700 });
    return sandbox;
  }

  /** A path in the home. */
  path(...parts: readonly string[]): string {
    return join(this.home, ...parts);
  }

  /** XDG_CONFIG_HOME and its fellows. */
  get config(): string {
    return this.path('.config');
  }
  get state(): string {
    return this.path('.local/state');
  }
  get cache(): string {
    return this.path('.cache');
  }
  get runtime(): string {
    return this.path('run');
  }
  /** Where commands are run: an empty directory. */
  get work(): string {
    return this.path('work');
  }

  /** Writes `config.yaml` (0600) where popfetch looks for it. A value is written as JSON, which YAML understands. */
  async writeConfig(config: string | object): Promise<string> {
    const directory = join(this.config, 'popfetch');
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const file = join(directory, 'config.yaml');
    await writeFile(file, typeof config === 'string' ? config : JSON.stringify(config, null, 2));
    await chmod(file, 0o600);
    return file;
  }

  /** Runs `popfetch ARGS` to its end. Rejects only when it does not end in time. */
  run(args: readonly string[], options: RunOptions = {}): Promise<Result> {
    return this.start(args, options).done;
  }

  /** Starts `popfetch ARGS`. */
  start(args: readonly string[], options: RunOptions = {}): Running {
    const memoryFile = options.measure === true ? this.path(`memory-${(this.#measured += 1)}`) : undefined;
    const preload = memoryFile === undefined ? [] : ['--import', MEASURE];
    const node = [process.execPath, ...preload, ...(options.nodeOptions ?? []), PROGRAM, ...args];
    const [program = process.execPath, ...words] = [...(options.under ?? []), ...node];
    const child = spawn(program, words, {
      cwd: options.cwd ?? this.work,
      env: this.#environment(options, memoryFile),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const running = watch(child, args, options, memoryFile);
    const unfollow = this.secrets.follow(running.pid);
    running.done
      .then(({ stdout, stderr }) => {
        this.secrets.see(stdout, 'the output');
        this.secrets.see(stderr, 'the output');
      })
      .catch(() => undefined)
      .finally(unfollow);
    this.#runs.add(running);
    return running;
  }

  /** Ends what still runs, looks at all that was said and written, and removes everything. @throws Error where a password is in it */
  async remove(): Promise<void> {
    for (const running of this.#runs) {
      running.kill();
      await running.done.catch(() => undefined);
    }
    try {
      await this.secrets.walk(this.home, this.config);
      this.secrets.verdict();
    } finally {
      await rm(this.home, { recursive: true, force: true, maxRetries: 5 });
    }
  }

  #environment(options: RunOptions, memoryFile: string | undefined): NodeJS.ProcessEnv {
    return {
      PATH: process.env['PATH'],
      HOME: this.home,
      XDG_CONFIG_HOME: this.config,
      XDG_STATE_HOME: this.state,
      XDG_CACHE_HOME: this.cache,
      XDG_RUNTIME_DIR: this.runtime,
      TZ: 'UTC',
      LANG: 'C.UTF-8',
      [MEMORY_FILE]: memoryFile,
      ...options.env,
    };
  }
}

const MEMORY_FILE = 'POPFETCH_TEST_MEMORY_FILE';
/**
 * Runs before the program. The peak is the kernel's VmHWM, because the maxRSS of a process starts with what its parent
 * had when it was forked; where there is no /proc, maxRSS (KiB) has to do.
 */
const MEASURE = `data:text/javascript,${encodeURIComponent(`
  import { readFileSync, writeFileSync } from 'node:fs';
  process.on('exit', () => {
    let kib = process.resourceUsage().maxRSS;
    try { kib = Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]); } catch {}
    writeFileSync(process.env.${MEMORY_FILE}, String(kib * 1024));
  });
`)}`;

function watch(
  child: ChildProcess,
  args: readonly string[],
  { stdin = '', timeout = 60_000 }: RunOptions,
  memoryFile: string | undefined,
): Running {
  const start = performance.now();
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  // A program that does not read its input is none of our business.
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(stdin);
  let late = false;
  const timer = setTimeout(() => {
    late = child.kill('SIGKILL');
  }, timeout);
  const done = new Promise<Result>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      if (late) {
        const output = `${Buffer.concat(stdout).toString()}${Buffer.concat(stderr).toString()}`;
        reject(new Error(`popfetch ${args.join(' ')} did not end within ${timeout} ms; it said: ${output}`));
        return;
      }
      const result = {
        code,
        signal,
        stdout: Buffer.concat(stdout),
        stderr: Buffer.concat(stderr).toString('utf8'),
        elapsed: performance.now() - start,
      };
      void peakFrom(memoryFile).then((peakMemory) => {
        resolve({ ...result, peakMemory });
      });
    });
  });
  // Whoever started it may look at the outcome later, or never.
  done.catch(() => undefined);
  return {
    pid: child.pid ?? 0,
    child,
    get ended() {
      return child.exitCode !== null || child.signalCode !== null;
    },
    kill: (signal = 'SIGKILL') => child.kill(signal),
    done,
  };
}

function collect(stream: NodeJS.ReadableStream | null): Buffer[] {
  const chunks: Buffer[] = [];
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
  return chunks;
}

async function peakFrom(file: string | undefined): Promise<number | undefined> {
  if (file === undefined) return undefined;
  const text = await readFile(file, 'utf8').catch(() => '');
  return text === '' ? undefined : Number(text);
}
