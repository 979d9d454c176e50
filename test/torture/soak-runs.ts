/** The runs of a soak: started again and again like cron does, several at once, some killed; and what they came to. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Chance } from '../support/chance.js';
import type { World } from '../support/e2e.js';
import type { Result, Running } from '../support/sandbox.js';

/** What cron may have in its table: mostly all accounts, at times some of them, waiting or not. */
const COMMANDS: readonly (readonly string[])[] = [
  ...Array.from({ length: 6 }, () => []),
  ['-a', 'soak0*'],
  ['-a', 'soak1*', '--wait=2'],
  ['--wait=1', '--parallel', '8'],
  ['--parallel', '16'],
  ['--limit', '3'],
  ['--keep'],
  ['status'],
];

/** The most memory that a run over all accounts took. */
export interface Peak {
  /** Minutes since the start. */
  readonly minutes: number;
  readonly kib: number;
}

/** Starts runs, kills some, and keeps account of how they end. */
export class Runs {
  readonly peaks: Peak[] = [];
  /** By exit status, or the signal's name. */
  readonly ends = new Map<string, number>();
  /** By sentence, without what is different each time. */
  readonly sentences = new Map<string, number>();
  kills = 0;
  readonly #under = new Set<Running>();
  readonly #start = performance.now();

  constructor(
    readonly world: World,
    readonly random: Chance,
  ) {}

  /** Runs one command after the other until `goesOn` says no. */
  async lane(goesOn: () => boolean): Promise<void> {
    while (goesOn()) {
      await this.run(this.random.pick(COMMANDS));
      await sleep(this.random.between(0, 700));
    }
  }

  /** Ends a run every few seconds, wherever it is: mostly by SIGKILL. */
  async killer(goesOn: () => boolean): Promise<void> {
    while (goesOn()) {
      await sleep(this.random.between(500, 4000));
      if (this.#under.size === 0) continue;
      const running = this.random.pick([...this.#under]);
      const signal = this.random.happens(0.15) ? 'SIGTERM' : 'SIGKILL';
      if (running.kill(signal)) this.kills += 1;
    }
  }

  /** One run to its end. */
  async run(args: readonly string[]): Promise<Result> {
    const running = this.world.start(args, { measure: args.length === 0, timeout: 120_000 });
    this.#under.add(running);
    const result = await running.done.finally(() => this.#under.delete(running));
    count(this.ends, result.signal ?? String(result.code));
    for (const line of result.stderr.split('\n')) if (line !== '') count(this.sentences, general(line));
    if (result.peakMemory !== undefined) {
      const minutes = (performance.now() - this.#start) / 60_000;
      this.peaks.push({ minutes, kib: result.peakMemory / 1024 });
    }
    return result;
  }

  /** Octets by which runs need more memory as time goes by: least squares over all peaks, in KiB a minute. */
  get slope(): number {
    const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
    const [x, y] = [mean(this.peaks.map(({ minutes }) => minutes)), mean(this.peaks.map(({ kib }) => kib))];
    const above = this.peaks.map(({ minutes, kib }) => (minutes - x) * (kib - y));
    const below = this.peaks.map(({ minutes }) => (minutes - x) ** 2);
    return mean(above) / mean(below);
  }
}

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

/** A line without account, numbers and paths, so that lines that say the same are the same. */
function general(line: string): string {
  return line
    .replace(/soak\d\d/g, 'ACCOUNT')
    .replace(/\S*\/(?=ACCOUNT|shared)/g, '~/')
    .replace(/process \d+ on \S+, since \S+Z/, 'process N on HOST, since TIME')
    .replace(/\d+(\.\d+)?/g, 'N');
}
