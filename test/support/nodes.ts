/**
 * `npm run test:nodes [-- VERSION… FILTER…]`: the suite under each supported Node, taken from the registry's own Node
 * packages into a cache outside the checkout. Prints a table; exits with 1 when any of them fails.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const VERSIONS = ['20.19.0', '22', '24', '26'];
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PACKAGE = `node-${process.platform}-${process.arch}`;
/** The last line of a run. */
const SUMMARY = /^(\d+) passed, (\d+) failed, (\d+) skipped$/m;

interface Row {
  readonly version: string;
  /** Passed, failed, skipped; undefined where the run did not get as far as counting. */
  readonly counts: readonly string[] | undefined;
  readonly seconds: number;
  readonly ok: boolean;
}

/** A relative path is to be ignored (XDG Base Directory Specification); here it would also be inside the checkout. */
function cacheDirectory(): string {
  const { XDG_CACHE_HOME: named = '' } = process.env;
  return join(isAbsolute(named) ? named : join(homedir(), '.cache'), 'popfetch-nodes');
}

/** What a Node says its version is; undefined where there is none that runs. */
function exactVersion(node: string): string | undefined {
  const { status, stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

/** The executable of a Node version, installed at the first use; undefined where it cannot be had. */
function executable(version: string): string | undefined {
  const directory = join(cacheDirectory(), version);
  const path = join(directory, 'node_modules', PACKAGE, 'bin', 'node');
  if (exactVersion(path) !== undefined) return path;
  mkdirSync(directory, { recursive: true });
  const wanted = `${PACKAGE}@${version}`;
  const args = ['install', '--no-save', '--ignore-scripts', '--prefix', directory, wanted];
  spawnSync('npm', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  return exactVersion(path) === undefined ? undefined : path;
}

/** Runs the suite, or the files of it that match, and shows its output as it comes. */
function suite(node: string, filters: readonly string[]): Promise<{ status: number | null; output: string }> {
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const args = [vitest, 'run', '--config', join(ROOT, 'test/vitest.config.ts'), ...filters];
  const PATH = [dirname(node), process.env['PATH']].join(delimiter);
  const child = spawn(node, args, {
    cwd: ROOT,
    // Whatever a test starts as `node` is this one, too.
    env: { ...process.env, PATH },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    process.stdout.write(text);
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => {
      resolve({ status, output });
    });
  });
}

async function run(version: string, filters: readonly string[]): Promise<Row> {
  const node = executable(version);
  if (node === undefined) return { version, counts: undefined, seconds: 0, ok: false };
  const start = performance.now();
  const { status, output } = await suite(node, filters);
  const counts = SUMMARY.exec(output)?.slice(1);
  const seconds = (performance.now() - start) / 1000;
  return {
    version: exactVersion(node) ?? version,
    counts,
    seconds,
    ok: status === 0 && counts !== undefined,
  };
}

function describe({ version, counts = ['-', '-', '-'], seconds, ok }: Row): string {
  const cells = [...counts, seconds.toFixed(0)].map((cell) => cell.padStart(8));
  return `${version.padEnd(10)}${cells.join('')}  ${ok ? 'ok' : 'FAILED'}`;
}

const words = process.argv.slice(2);
const isVersion = (word: string): boolean => /^v?\d/.test(word);
const versions = words.filter(isVersion).map((word) => word.replace(/^v/, ''));
const filters = words.filter((word) => !isVersion(word));
const rows: Row[] = [];
for (const version of versions.length > 0 ? versions : VERSIONS) rows.push(await run(version, filters));
const heading = ['passed', 'failed', 'skipped', 'seconds'].map((name) => name.padStart(8)).join('');
process.stdout.write(`\n${'node'.padEnd(10)}${heading}\n${rows.map((row) => `${describe(row)}\n`).join('')}`);
process.exitCode = rows.every(({ ok }) => ok) ? 0 : 1;
