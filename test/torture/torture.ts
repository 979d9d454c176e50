/**
 * `npm run torture -- [--points N] [--seed S] [--lanes L] [--record] | --point NAME…`: the kill sweep, as long as one
 * likes. Says of each failure how to repeat it alone; exits with 1 when there was one.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { straceProblem } from '../support/strace.js';
import type { Finding, Outcome } from './point.js';
import { choose, nameOf, pointOf } from './points.js';
import { circumstances, record } from './results.js';
import { courses, sweep } from './sweep.js';
import type { Tally } from './sweep.js';

/** Milliseconds between two lines about how far it is. */
const OFTEN = 15_000;

const { values } = parseArgs({
  options: {
    points: { type: 'string', default: '300' },
    seed: { type: 'string', default: '1' },
    lanes: { type: 'string', default: String(availableParallelism()) },
    point: { type: 'string', multiple: true },
    record: { type: 'boolean', default: false },
  },
});

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function sayFailure({ point, findings }: Outcome): void {
  if (findings.length === 0) return;
  say(`FAILED: npm run torture -- --point ${nameOf(point)}`);
  for (const { wrong, what } of findings) say(`  ${wrong}: ${what}`);
}

/** Tells each failure at once, and now and then how far it is. */
function progress(total: number): (outcome: Outcome) => void {
  const start = performance.now();
  let last = start;
  let done = 0;
  return (outcome) => {
    sayFailure(outcome);
    done += 1;
    const now = performance.now();
    if (now - last < OFTEN) return;
    last = now;
    const each = (now - start) / done;
    const left = Math.ceil(((total - done) * each) / 60_000);
    say(`${done} of ${total} points, ${(1000 / each).toFixed(1)} a second, about ${left} min left`);
  };
}

function list(counts: ReadonlyMap<string, number>): string {
  const sorted = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([name, number]) => `${name} ${number}`).join(', ');
}

function summary(tally: Tally, asked: number, seconds: number): string[] {
  const { points, dead, deaths, missed, torn, kills, by, wrong, failed } = tally;
  return [
    `- Points: ${points} of ${asked}, in ${dead} of which the first run died by SIGKILL (${list(by)})`,
    `- Deaths: ${deaths} (${list(kills)}), ${torn} of them in the middle of an mbox's message`,
    `- Runs that ended before they came to the place of their death: ${missed}`,
    `- Points with something wrong: ${failed.length} (${list(wrong)})`,
    `- Time: ${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`,
  ];
}

function number(text: string, what: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`--${what} wants a number, not ${text}`);
  return Number(text);
}

async function main(): Promise<void> {
  const { points: count, seed, lanes } = values;
  const problem = straceProblem();
  if (problem !== undefined) say(`Only events of the server are tried, without strace: ${problem}.`);
  const named = values.point?.map(pointOf);
  const points = named ?? choose(await courses(), number(count, 'points'), number(seed, 'seed'), 'all');
  const start = performance.now();
  const tally = await sweep(points, number(lanes, 'lanes'), progress(points.length), interruption());
  const lines = summary(tally, points.length, (performance.now() - start) / 1000);
  for (const line of lines) say(line);
  const command = `npm run torture -- --points ${count} --seed ${seed} --lanes ${lanes}`;
  if (values.record) record('Kill sweep', [...circumstances(command), ...lines, ...failures(tally)]);
  process.exitCode = tally.failed.length > 0 || tally.points === 0 ? 1 : 0;
}

/** Ctrl-C ends the sweep with what has been tried by then. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  process.once('SIGINT', () => {
    controller.abort();
  });
  return controller.signal;
}

function failures({ failed }: Tally): string[] {
  const told = ({ wrong, what }: Finding): string => `${wrong} (${what})`;
  return failed.map(({ point, findings }) => `- \`${nameOf(point)}\`: ${findings.map(told).join(', ')}`);
}

await main();
