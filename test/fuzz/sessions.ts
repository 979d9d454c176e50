/** The session fuzzer: cases by chance, and the smallest one that still fails. */
import { mkdtempSync, rmSync } from 'node:fs';
import { statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCase, type Effort } from './case.js';
import { planOf, type Plan } from './plan.js';

/** A case that failed, as small as it could be made. */
export interface FoundCase {
  readonly seed: number;
  readonly plan: Plan;
  readonly problem: string;
}

/** What a row of cases came to. */
export interface SessionsResult {
  readonly cases: number;
  readonly runs: number;
  readonly sessions: number;
  readonly delivered: number;
  readonly codes: ReadonlyMap<string, number>;
  readonly found: readonly FoundCase[];
}

/** Where cases write: a disk that is memory, where there is one. */
export function scratch(): string {
  const shared = '/dev/shm';
  const parent = statSync(shared, { throwIfNoEntry: false })?.isDirectory() === true ? shared : tmpdir();
  return mkdtempSync(join(parent, 'popfetch-fuzz-'));
}

/** What is wrong with a case; undefined where all is well. */
export async function problemOf(plan: Plan, home: string): Promise<string | undefined> {
  try {
    await runCase(plan, home);
    return undefined;
  } catch (error) {
    return problemText(error);
  }
}

/**
 * Plays cases until there were so many sessions, or enough has been found.
 * @param until milliseconds since 1970 at which it ends in any case
 */
export async function fuzzSessions(
  seed: number,
  sessions: number,
  {
    most = 5,
    until = Infinity,
    tell = () => undefined,
  }: { most?: number; until?: number; tell?: (line: string) => void } = {},
): Promise<SessionsResult> {
  const home = scratch();
  const sum = { cases: 0, runs: 0, sessions: 0, delivered: 0 };
  const codes = new Map<string, number>();
  const found: FoundCase[] = [];
  try {
    for (let at = seed; sum.sessions < sessions && found.length < most && Date.now() < until; at += 1) {
      const plan = planOf(at);
      sum.cases += 1;
      try {
        count(sum, codes, await runCase(plan, home));
      } catch (error) {
        const small = await smallest(plan, problemText(error), home);
        found.push({ seed: at, ...small });
        tell(`seed ${at}: ${small.problem}`);
      }
      if (sum.cases % 2000 === 0) tell(`${sum.sessions} sessions`);
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
  return { ...sum, codes, found };
}

function count(
  sum: { runs: number; sessions: number; delivered: number },
  codes: Map<string, number>,
  effort: Effort,
): void {
  sum.runs += effort.runs;
  sum.sessions += effort.sessions;
  sum.delivered += effort.delivered;
  for (const code of effort.codes) codes.set(code, (codes.get(code) ?? 0) + 1);
}

/** Takes things out of a case as long as it fails, in whatever way. */
async function smallest(plan: Plan, problem: string, home: string): Promise<{ plan: Plan; problem: string }> {
  let best = { plan, problem };
  for (let smaller = true; smaller;) {
    smaller = false;
    for (const candidate of simpler(best.plan)) {
      const still = await problemOf(candidate, home);
      if (still === undefined) continue;
      best = { plan: candidate, problem: still };
      smaller = true;
      break;
    }
  }
  return best;
}

function* simpler(plan: Plan): Generator<Plan> {
  const without = <T>(items: readonly T[], index: number): T[] => items.filter((_, at) => at !== index);
  for (const index of plan.mischief.keys()) yield { ...plan, mischief: without(plan.mischief, index) };
  for (const index of plan.mails.keys()) yield { ...plan, mails: without(plan.mails, index) };
  for (const key of ['pipelining', 'plain', 'joined'] as const)
    if (plan[key]) yield { ...plan, [key]: false };
  if (plan.pieces.length > 0) yield { ...plan, pieces: [] };
  if (plan.limit > 0) yield { ...plan, limit: 0 };
  if (plan.identity === 'hash') yield { ...plan, identity: 'uidl' };
  if (plan.mails.some(({ text }) => text.length > 40)) {
    const mails = plan.mails.map((mail, n) => ({ ...mail, text: `Subject: ${n}\r\n\r\n${n}\r\n` }));
    yield { ...plan, mails };
  }
}

function problemText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { stack = '' } = error;
  return error.name === 'Violation' || error.name === 'Hung' ? `${error.name}: ${error.message}` : stack;
}
