/** What the words of `popfetch state` share: one account, its memory under its lock, and what is said of it. */
import type { Account } from '../config/account.js';
import { nodeDisk } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { printable, readable } from '../escape.js';
import { toJson } from '../report/sentences.js';
import { holdMemory, type HeldMemory } from '../seen/holding.js';
import { namesOf } from './accounts.js';
import { loadAccounts, stateDirectory, type Context } from './context.js';
import { print } from './output.js';
import type { Flags } from './request.js';

/** The one account of a command that changes something. @throws USAGE when it is not just one */
export async function onlyAccount(flags: Flags, context: Context, word: string): Promise<Account> {
  const { accounts } = await loadAccounts(flags, context);
  const [account, second] = accounts;
  if (account !== undefined && second === undefined) return account;
  throw new PopfetchError('USAGE', `state ${word} needs one account; there are: ${namesOf(accounts)}`, {
    remedy: 'choose it with -a NAME',
  });
}

/** Does `work` with the memory of an account under its lock. Every error says whose it is. @throws LOCKED, STATE */
export async function withHeld<T>(
  account: Account,
  flags: Flags,
  context: Context,
  accept: 'sound' | 'any',
  work: (held: HeldMemory) => Promise<T>,
): Promise<T> {
  const { signal, now } = context;
  const options = { wait: flags.wait ?? 0, signal, now };
  return attributed(account, async () => {
    const held = await holdMemory(stateDirectory(context), account, nodeDisk, options, accept);
    try {
      return await work(held);
    } finally {
      await held.release();
    }
  });
}

/** Says whose an error is; a word that names nothing is nobody's. */
export async function attributed<T>({ name }: Account, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof PopfetchError) || error.code === 'USAGE') throw error;
    throw error.within({ account: name });
  }
}

/** Says in one line what was done, for people or for programs. */
export async function report(
  { name }: Account,
  { json, quiet }: Flags,
  { stdout }: Context,
  sentence: string,
  numbers: Readonly<Record<string, unknown>>,
): Promise<void> {
  if (json) await print(stdout, `${toJson({ account: name, ...numbers })}\n`);
  else if (!quiet) await print(stdout, `${readable(name)}: ${sentence}\n`);
}

/**
 * What of `uids` these words mean: each as it is, or as popfetch shows it.
 * @param what begins the sentence about a word that means none
 * @throws USAGE for such a word
 */
export function meant<T extends { readonly uid: string }>(
  words: readonly string[],
  among: readonly T[],
  what: string,
  remedy: string,
): T[] {
  const byUid = new Map(among.map((one) => [one.uid, one]));
  const byShown = new Map(among.map((one) => [printable(one.uid), one]));
  const chosen = words.map((word) => {
    const one = byUid.get(word) ?? byShown.get(word);
    if (one !== undefined) return one;
    throw new PopfetchError('USAGE', `${what} "${printable(word, 100)}"`, { remedy });
  });
  return [...new Set(chosen)];
}
