/**
 * `npm run test:nodes [-- VERSION… FILTER…]`: the suite under each supported Node, taken from the registry's own Node
 * packages into a cache outside the checkout. Prints a table; exits with 1 when any of them fails.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const VERSIONS = ['20.19.0', '22', '24', '26'];
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PACKAGE = `node-${process.platform}-${process.arch}`;

interface Row {
  readonly version: string;
  readonly summary: string;
  readonly seconds: number;
  readonly ok: boolean;
}

/** The executable of a Node version, installed at the first use. */
function executable(version: string): string {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const directory = join(cache, 'popfetch-nodes', version);
  const path = join(directory, 'node_modules', PACKAGE, 'bin', 'node');
  if (existsSync(path)) return path;
  mkdirSync(directory, { recursive: true });
  const wanted = `${PACKAGE}@${version}`;
  const args = ['install', '--no-save', '--ignore-scripts', '--prefix', directory, wanted];
  const { status } = spawnSync('npm', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error(`npm could not install ${wanted}`);
  return path;
}

function run(version: string, filters: readonly string[]): Row {
  const node = executable(version);
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const args = [vitest, 'run', '--config', join(ROOT, 'test/vitest.config.ts'), ...filters];
  const start = performance.now();
  const { status, stdout } = spawnSync(node, args, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 64 * 1024 * 1024,
  });
  process.stdout.write(stdout);
  const summary = /^\d+ passed, \d+ failed.*$/m.exec(stdout)?.[0] ?? 'did not run';
  const { stdout: exact } = spawnSync(node, ['--version'], { encoding: 'utf8' });
  return { version: exact.trim(), summary, seconds: (performance.now() - start) / 1000, ok: status === 0 };
}

const words = process.argv.slice(2);
const versions = words.filter((word) => /^\d/.test(word));
const filters = words.filter((word) => !/^\d/.test(word));
const rows = (versions.length > 0 ? versions : VERSIONS).map((version) => run(version, filters));
for (const { version, summary, seconds, ok } of rows) {
  process.stdout.write(
    `${ok ? 'ok  ' : 'FAIL'}  ${version.padEnd(10)} ${summary} in ${seconds.toFixed(0)} s\n`,
  );
}
process.exitCode = rows.every(({ ok }) => ok) ? 0 : 1;
