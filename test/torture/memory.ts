/**
 * Memory and fairness of the real command, at full size: `npm run torture:memory -- [--count N] [--record]`. A mailbox of
 * N messages (a million) that are all remembered, and the first run of one; sixteen servers that flood at once; and
 * accounts beside others that stall. Ends in 1 where a bound on memory is broken; times depend on the machine.
 */
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { CROWD_USER, rememberCrowd, serveCrowd, type Crowd } from '../support/crowd.js';
import { FLOODS, serveFlood, type Flood } from '../support/floods.js';
import { Sandbox, type Result } from '../support/sandbox.js';
import { circumstances, record } from './results.js';

const { values } = parseArgs({
  options: { count: { type: 'string', default: '1000000' }, record: { type: 'boolean', default: false } },
});
const MIB = 1024 * 1024;
const lines: string[] = [];

function say(line: string): void {
  process.stdout.write(`${line}\n`);
  lines.push(`- ${line}`);
}

interface Server {
  readonly crowd: Crowd;
  readonly more?: object;
}

/** Runs the command over these servers, each an account, all at once. */
async function run(
  servers: readonly Server[],
  args: readonly string[] = ['fetch', '--json'],
  prepare?: (state: string) => Promise<unknown>,
  parent?: string,
): Promise<Result> {
  const sandbox = await Sandbox.create(parent);
  try {
    const accounts = servers.map(({ crowd: { host, port }, more }, index) => [
      `a${index}`,
      {
        ...{ host, port, tls: 'none', user: CROWD_USER, password: 'x' },
        deliver: { maildir: `~/Mail/a${index}` },
        ...more,
      },
    ]);
    await sandbox.writeConfig({ parallel: 16, accounts: Object.fromEntries(accounts) as object });
    await prepare?.(`${sandbox.state}/popfetch`);
    const nodeOptions = ['--import', CPU];
    return await sandbox.run(args, { measure: true, timeout: 1_800_000, nodeOptions });
  } finally {
    await sandbox.remove();
    for (const { crowd } of servers) await crowd.close();
  }
}

/** Says at the end on stderr how many milliseconds of the processor were used. */
const CPU = `data:text/javascript,${encodeURIComponent(
  "process.on('exit',()=>{const u=process.cpuUsage();process.stderr.write('cpu '+Math.round((u.user+u.system)/1000)+'\\n')})",
)}`;

interface End {
  readonly account: string;
  readonly elapsed: number;
  readonly listed: number;
  readonly codes: string;
}

/** How the accounts ended. */
function endsOf({ stdout }: Result): End[] {
  const events = stdout.toString().matchAll(/^.*"type":"account-end".*$/gm);
  return [...events].map(([line]) => {
    const { account, ...event } = JSON.parse(line) as Record<string, unknown> & { readonly account: string };
    const outcome = (event['outcome'] ?? event) as {
      elapsed: number;
      listed: number;
      errors: { code: string }[];
    };
    return { account, ...outcome, codes: outcome.errors.map(({ code }) => code).join(' ') || 'ok' };
  });
}

function measured(what: string, result: Result, bound: number): void {
  const peak = (result.peakMemory ?? Infinity) / MIB;
  const cpu = Number(/cpu (\d+)/.exec(result.stderr)?.[1]) / 1000;
  if (!(peak < bound)) process.exitCode = 1;
  const figures = `${peak.toFixed(0)} MiB at its peak (bound ${bound}), ${(result.elapsed / 1000).toFixed(1)} s, of which processor ${cpu.toFixed(1)} s`;
  say(`${what}: ${figures}`);
}

const count = Number(values.count);

async function large(): Promise<void> {
  const crowd = await serveCrowd(count);
  const address = { host: crowd.host, port: crowd.port, user: CROWD_USER };
  const known = await run([{ crowd }], ['fetch', '-v'], (state) => rememberCrowd(state, address, count));
  if (known.code !== 0) process.exitCode = 1;
  measured(`${count} messages, all remembered, nothing new`, known, 256);
  const first = await run([{ crowd: await serveCrowd(count), more: { limit: 10 } }], ['fetch', '-v']);
  if (first.code !== 0) process.exitCode = 1;
  measured(`${count} messages, none remembered, limit 10`, first, 256);
  const told = await run([{ crowd: await serveCrowd(count), more: { limit: 10 } }]);
  measured('the same, each message told of with --json', told, 256);
}

async function floods(): Promise<void> {
  const kinds = Object.keys(FLOODS) as Flood[];
  const all = Array.from({ length: 16 }, (_, index) => kinds[index % kinds.length] ?? 'silence');
  const more = { maxSize: '256MiB', timeout: { reply: '20s', idle: '20s' } };
  const result = await run(
    await Promise.all(all.map(async (kind) => ({ crowd: await serveFlood(kind), more }))),
  );
  measured('16 accounts that flood at once, maxSize 256MiB', result, 128);
  const ends = endsOf(result).map(({ account, codes }) => `${all[Number(account.slice(1))] ?? ''}: ${codes}`);
  say(`their ends: ${[...new Set(ends)].sort().join('; ')}`);
}

/** Milliseconds after which a silent server is given up. */
const DEADLINE = 5000;

const ROUNDS = 8;

/** Kept in memory, where there is such a file system: how fast a disk is depends on what it did the moment before. */
const QUIET = existsSync('/dev/shm') ? '/dev/shm' : undefined;

/** Runs good accounts beside others. @returns how all of them ended */
async function beside(others: readonly Server[]): Promise<End[]> {
  const good = await Promise.all(Array.from({ length: 8 }, async () => ({ crowd: await serveCrowd(1000) })));
  return endsOf(await run([...good, ...others], ['fetch', '--json'], undefined, QUIET));
}

/** Milliseconds that the good accounts took, in the mean. */
function meanOf(ends: readonly End[]): number {
  const good = ends.filter(({ listed }) => listed > 0);
  return good.reduce((sum, { elapsed }) => sum + elapsed, 0) / good.length;
}

async function stalls(): Promise<void> {
  const eight = (serve: () => Promise<Crowd>, more: object = {}): Promise<Server[]> =>
    Promise.all(Array.from({ length: 8 }, async () => ({ crowd: await serve(), more })));
  const [calm, stalled, late]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < ROUNDS; round += 1) {
    calm.push(meanOf(await beside(await eight(() => serveCrowd(0)))));
    const more = { timeout: { reply: `${DEADLINE}ms` } };
    const ends = await beside(await eight(() => serveFlood('silence'), more));
    stalled.push(meanOf(ends));
    late.push(...ends.filter(({ codes }) => codes === 'TIMEOUT').map(({ elapsed }) => elapsed));
  }
  const least = (times: readonly number[]): string => (Math.min(...times) / 1000).toFixed(2);
  const times = `${least(calm)} s beside 8 that are empty, ${least(stalled)} s beside 8 that stall`;
  say(`8 accounts of 1000 messages, fastest of ${ROUNDS} rounds: ${times}`);
  const last = (Math.max(...late) / 1000).toFixed(2);
  say(`stalled accounts: ${late.length} ended, the last after ${last} s of ${DEADLINE / 1000} s`);
}

await large();
await floods();
await stalls();
if (values.record) record('Memory', [...circumstances('npm run torture:memory'), ...lines]);
