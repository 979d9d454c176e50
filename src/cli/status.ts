/** `popfetch status`: what the memories say. No network, no password. */
import type { Account } from '../config/account.js';
import { nodeDisk } from '../disk.js';
import { exitCode, PopfetchError } from '../errors.js';
import { readable } from '../escape.js';
import type { Memory, RunRecord } from '../seen/memory.js';
import { removalTime } from '../account/plan.js';
import { moment, plural, span } from '../report/quantities.js';
import { readMemory } from '../seen/seen.js';
import { errorFields, toJson } from '../report/sentences.js';
import { loadAccounts, stateDirectory, tell, type Context } from './context.js';
import { print } from './output.js';
import type { Request } from './request.js';

/** What one memory comes to. Times in milliseconds since 1970. */
interface State {
  readonly account: string;
  readonly lastRun: RunRecord | undefined;
  /** Messages that will not be fetched again. */
  readonly remembered: number;
  /** Deliveries that were cut off and that the next fetch finishes. */
  readonly unfinished: number;
  /** Messages that could not be delivered and are tried again. */
  readonly troubled: number;
  /** Delivered messages that are still to be removed from the server. */
  readonly waiting: number;
  /** Those of them whose time has come. */
  readonly due: number;
  /** When the next one is due; undefined when none waits for its time. */
  readonly nextDue: number | undefined;
}

type Found = State | { readonly account: string; readonly error: PopfetchError };

/** @returns 0, or the exit status of the memories that cannot be read. */
export async function status({ flags }: Request, context: Context): Promise<number> {
  const { accounts } = await loadAccounts(flags, context);
  const state = stateDirectory(context);
  const found = await Promise.all(accounts.map((account) => examine(account, state, context.now())));
  if (flags.json) {
    await print(context.stdout, `${toJson({ accounts: found.map(fields) }, 2)}\n`);
  } else {
    const now = context.now();
    await print(context.stdout, found.flatMap((one) => ('error' in one ? [] : describe(one, now))).join(''));
  }
  const errors = found.flatMap((one) => ('error' in one ? [one.error] : []));
  await tell(context, errors);
  return exitCode(errors);
}

async function examine(account: Account, state: string, now: number): Promise<Found> {
  try {
    const memory = await readMemory(state, account, nodeDisk);
    return stateOf(account, memory, now);
  } catch (error) {
    if (!(error instanceof PopfetchError)) throw error;
    return { account: account.name, error: error.within({ account: account.name, phase: 'state' }) };
  }
}

function stateOf(account: Account, memory: Memory | undefined, now: number): State {
  let [waiting, due, nextDue] = [0, 0, Infinity];
  for (const outline of memory?.outlines() ?? []) {
    if (outline.removedAt !== undefined || outline.goneAt !== undefined) continue;
    const time = removalTime(outline, account.delete);
    if (time === undefined) continue;
    waiting += 1;
    if (time <= now) due += 1;
    else nextDue = Math.min(nextDue, time);
  }
  return {
    account: account.name,
    lastRun: memory?.lastRun,
    remembered: memory?.size ?? 0,
    unfinished: memory?.unfinished().length ?? 0,
    troubled: [...(memory?.troubles() ?? [])].length,
    waiting,
    due,
    nextDue: nextDue === Infinity ? undefined : nextDue,
  };
}

function describe(state: State, now: number): string[] {
  const { account, lastRun, remembered, unfinished, troubled, waiting, due, nextDue } = state;
  const facts: string[][] = [
    [
      'last run',
      lastRun === undefined ? 'never' : `${moment(lastRun.time)} (${span(now - lastRun.time)} ago)`,
    ],
  ];
  if (lastRun !== undefined) {
    const { result, listed, delivered, removed } = lastRun;
    facts.push(['result', readable(result)]);
    facts.push(['messages', `${listed} on the server, ${delivered} delivered, ${removed} removed`]);
  }
  facts.push(['remembered', plural(remembered, 'message')]);
  if (unfinished > 0) facts.push(['unfinished', `${unfinished}; the next fetch finishes what was cut off`]);
  if (troubled > 0)
    facts.push(['in trouble', `${troubled}, on the server; tried again, and popfetch list says which`]);
  const next = nextDue === undefined ? '' : `, the next on ${moment(nextDue)}`;
  facts.push(['to remove', waiting === 0 ? 'nothing' : `${waiting}, ${due} due now${next}`]);
  return [
    `${readable(account)}\n`,
    ...facts.map(([name = '', fact = '']) => `  ${name.padEnd(12)}${fact}\n`),
  ];
}

function fields(one: Found): object {
  if ('error' in one) return { account: one.account, error: errorFields(one.error) };
  const iso = (time: number | undefined): string | null =>
    time === undefined ? null : new Date(time).toISOString();
  const { lastRun, nextDue, ...rest } = one;
  return {
    ...rest,
    lastRun: lastRun === undefined ? null : { ...lastRun, time: iso(lastRun.time) },
    nextDue: iso(nextDue),
  };
}
