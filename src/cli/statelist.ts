/** `popfetch state list`: what is remembered of each message. No network, no password. */
import type { Account } from '../config/account.js';
import { nodeDisk } from '../disk.js';
import { exitCode, PopfetchError } from '../errors.js';
import { printable, readable } from '../escape.js';
import { table } from '../report/columns.js';
import { moment, plural, size } from '../report/quantities.js';
import { errorFields, toJson } from '../report/sentences.js';
import type { Entry } from '../seen/memory.js';
import { readMemory } from '../seen/seen.js';
import { loadAccounts, stateDirectory, tell, type Context } from './context.js';
import { print } from './output.js';
import type { Request } from './request.js';
import { attributed } from './oneaccount.js';

type Found =
  | { readonly account: string; readonly entries: readonly Entry[] }
  | { readonly account: string; readonly error: PopfetchError };

/** @returns 0, or the exit status of the memories that cannot be read */
export async function list({ flags }: Request, context: Context): Promise<number> {
  const { accounts } = await loadAccounts(flags, context);
  const state = stateDirectory(context);
  const found = await Promise.all(accounts.map((account) => examine(account, state)));
  const text = flags.json
    ? `${toJson({ accounts: found.map(fields) }, 2)}\n`
    : found.map((one) => describe(one, found.length > 1)).join('');
  await print(context.stdout, text);
  const errors = found.flatMap((one) => ('error' in one ? [one.error] : []));
  await tell(context, errors);
  return exitCode(errors);
}

async function examine(account: Account, state: string): Promise<Found> {
  try {
    const memory = await attributed(account, () => readMemory(state, account, nodeDisk));
    return { account: account.name, entries: [...(memory?.entries() ?? [])] };
  } catch (error) {
    if (error instanceof PopfetchError) return { account: account.name, error };
    throw error;
  }
}

const HEADING = ['DONE', 'SIZE'.padStart(8), 'SERVER', 'UID', 'WHERE'];

function describe(one: Found, several: boolean): string {
  const name = readable(one.account);
  if ('error' in one) return several ? `${name}: cannot be listed\n` : '';
  const count = one.entries.length === 0 ? 'no messages' : plural(one.entries.length, 'message');
  if (one.entries.length === 0) return `${name}: ${count}\n`;
  const lines = table([HEADING, ...one.entries.map(cells)]);
  return `${several ? `${name}: ${count}\n` : ''}${lines.join('\n')}\n`;
}

function cells(entry: Entry): string[] {
  const { doneAt, size: octets, uid, destination } = entry;
  return [
    moment(doneAt),
    size(octets).padStart(8),
    serverState(entry),
    printable(uid),
    readable(destination),
  ];
}

/** `removal asked`: the server said yes, and no listing has shown yet that it is true. */
function serverState({ removedAt, goneAt }: Entry): string {
  if (goneAt !== undefined) return 'gone';
  return removedAt === undefined ? 'there' : 'removal asked';
}

function fields(one: Found): object {
  if ('error' in one) return { account: one.account, error: errorFields(one.error) };
  const iso = (time: number | undefined): string | null =>
    time === undefined ? null : new Date(time).toISOString();
  const messages = one.entries.map((entry) => ({
    uid: printable(entry.uid),
    key: entry.key,
    size: entry.size,
    octets: entry.octets,
    destination: entry.destination,
    server: serverState(entry),
    done: iso(entry.doneAt),
    removed: iso(entry.removedAt),
    gone: iso(entry.goneAt),
  }));
  return { account: one.account, messages };
}
