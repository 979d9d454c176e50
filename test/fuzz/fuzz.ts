/**
 * Fuzzes the readers of what others write, then whole sessions:
 * `npm run fuzz -- [--executions N] [--sessions N] [--seed S] [--minutes M] [--record]`. What fails is written to
 * test/fuzz/found/, as small as it could be made, and the program ends in 1.
 */
import { parseArgs } from 'node:util';
import { circumstances, record } from '../torture/results.js';
import { keepFound } from './found.js';
import { fuzzParsers, SUBJECTS, type ParsersResult } from './parsers.js';
import { HONEST, LYING } from './plan.js';
import { fuzzSessions, type SessionsResult } from './sessions.js';

const { values } = parseArgs({
  options: {
    executions: { type: 'string', default: '2000000' },
    sessions: { type: 'string', default: '20000' },
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '60' },
    record: { type: 'boolean', default: false },
  },
});

const [executions, sessions, seed, minutes] = [
  values.executions,
  values.sessions,
  values.seed,
  values.minutes,
].map(Number);
if (![executions, sessions, seed, minutes].every((value) => Number.isFinite(value))) {
  throw new RangeError('--executions, --sessions, --seed and --minutes take numbers');
}

/** Executions during which it is counted which parts of the source are reached. */
const GUIDED = 20_000;

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

const start = Date.now();
const until = start + minutes! * 60_000;
const guided = Math.min(GUIDED, Math.floor(executions! / 10));
const parsers = fuzzParsers(seed!, executions!, { guided, until, tell: say });
const parsed = Date.now();
const played = await fuzzSessions(seed!, sessions!, { until, tell: say });
for (const each of [...parsers.found, ...played.found]) say(`kept as ${keepFound(each)}`);
const summary = [
  ...circumstances(`npm run fuzz -- --executions ${executions!} --sessions ${sessions!} --seed ${seed!}`),
  ...parserLines(parsers, parsed - start),
  ...sessionLines(played, Date.now() - parsed),
];
say(summary.join('\n'));
if (values.record) record('Fuzzing', summary);
process.exitCode = parsers.found.length + played.found.length > 0 ? 1 : 0;

function parserLines(result: ParsersResult, time: number): string[] {
  const names = SUBJECTS.map(({ name }) => name).join(', ');
  return [
    `- Readers: ${result.executions} texts in ${Math.round(time / 1000)} s (${names})`,
    `- Kept because they reached new code: ${result.kept} of the first ${guided} texts; parts of the source reached: ${result.parts}`,
    `- Most processor time for one text: ${Math.round(result.slowest)} ms`,
    `- Texts with something wrong: ${result.found.length}`,
  ];
}

function sessionLines(result: SessionsResult, time: number): string[] {
  const codes = [...result.codes].sort(([, a], [, b]) => b - a).map(([code, count]) => `${code} ${count}`);
  return [
    `- Sessions: ${result.sessions} in ${result.runs} runs of ${result.cases} cases, ${Math.round(time / 1000)} s`,
    `- Kinds of trouble: ${HONEST.length} that say nothing untrue about mail, ${LYING.length} that do`,
    `- Messages delivered: ${result.delivered}; runs that ended in an error: ${codes.join(', ')}`,
    `- Cases with something wrong (lost, doubled, deleted undelivered, left over, hung, a bug): ${result.found.length}`,
  ];
}
