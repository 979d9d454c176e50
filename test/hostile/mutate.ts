/**
 * `npm run mutations -- [WORD…] [--record]`: takes each guard that `mutations/` lists out of a copy of the source, one
 * at a time, and sees that the tests named beside it fail. With words: only those whose file or text has one of them.
 * Ends with 1 where a guard is not missed by any test.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { Mutation } from '../support/mutation.js';
import { circumstances, record } from '../torture/results.js';
import { mutations } from './mutations/all.js';

const TOP = fileURLToPath(new URL('../..', import.meta.url));

/** What is copied; packages are shared. */
const PARTS = [
  'bin',
  'src',
  'test',
  'examples',
  'package.json',
  'tsconfig.json',
  'README.md',
  'README.ja.md',
];

interface Verdict {
  /** Undefined where the tests did not run at all. */
  readonly failed: number | undefined;
  readonly output: string;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { record: { type: 'boolean', default: false } },
});
const chosen = mutations.filter(
  (each) => positionals.length === 0 || positionals.some((word) => has(each, word)),
);
const copy = mkdtempSync(join(tmpdir(), 'popfetch-mutations-'));
const survivors: string[] = [];
try {
  for (const part of PARTS) cpSync(join(TOP, part), join(copy, part), { recursive: true });
  symlinkSync(join(TOP, 'node_modules'), join(copy, 'node_modules'));
  for (const [index, mutation] of chosen.entries()) {
    const { failed, output } = judged(mutation);
    const missed = failed !== undefined && failed > 0;
    const name = `${mutation.file}: ${shown(mutation.find)} -> ${shown(mutation.replace)}`;
    if (!missed) survivors.push(name);
    const verdict = missed ? `${failed} failed` : failed === 0 ? 'NOT MISSED' : `NO TESTS RAN\n${output}`;
    process.stdout.write(`${index + 1}/${chosen.length} ${name}: ${verdict}\n`);
  }
} finally {
  rmSync(copy, { recursive: true });
}
if (values.record) {
  record('Guards taken away', [
    ...circumstances(['npm run mutations --', ...positionals].join(' ').replace(/ --$/, '')),
    `- ${chosen.length} guards taken away, one at a time; ${chosen.length - survivors.length} were missed by a test`,
    ...survivors.map((name) => `- NOT MISSED: ${name}`),
  ]);
}
process.exitCode = survivors.length > 0 ? 1 : 0;

/** Runs the tests of one mutation. */
function judged({ file, find, replace, tests, filter }: Mutation): Verdict {
  const path = join(copy, file);
  const text = readFileSync(path, 'utf8');
  if (text.split(find).length !== 2) throw new Error(`${file} does not have ${shown(find)} exactly once`);
  writeFileSync(
    path,
    text.replace(find, () => replace),
  );
  try {
    const built = run('npm', ['run', '-s', 'build:js']);
    if (built.status !== 0) return { failed: undefined, output: built.output };
    const report = join(copy, 'report.json');
    rmSync(report, { force: true });
    const only = filter === undefined ? [] : ['-t', filter];
    const words = ['vitest', 'run', '--config', 'test/vitest.config.ts', '--reporter=json', '--bail=1'];
    const { output } = run('npx', [
      ...words,
      `--outputFile=${report}`,
      ...only,
      ...tests.map((each) => `test/${each}`),
    ]);
    return { failed: failures(report), output };
  } finally {
    writeFileSync(path, text);
  }
}

/** Failed tests in vitest's report; a file that cannot even be loaded counts as none that ran. */
function failures(report: string): number | undefined {
  try {
    const { numFailedTests, numTotalTests } = JSON.parse(readFileSync(report, 'utf8')) as {
      readonly numFailedTests: number;
      readonly numTotalTests: number;
    };
    return numTotalTests === 0 ? undefined : numFailedTests;
  } catch {
    return undefined;
  }
}

function run(
  program: string,
  args: readonly string[],
): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: copy, encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

function has({ file, find }: Mutation, word: string): boolean {
  return file.includes(word) || find.includes(word);
}

function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
