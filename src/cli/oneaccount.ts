/** What commands share that change something of one account: which it is, whose an error is, and what is said of it. */
import type { Account } from '../config/account.js';
import { PopfetchError } from '../errors.js';
import { readable } from '../escape.js';
import { toJson } from '../report/sentences.js';
import { namesOf } from './accounts.js';
import { loadAccounts, type Context } from './context.js';
import { print } from './output.js';
import type { Flags } from './request.js';

/** The one account of a command that changes something. @throws USAGE when it is not just one */
export async function onlyAccount(flags: Flags, context: Context, word: string): Promise<Account> {
  const { accounts } = await loadAccounts(flags, context);
  const [account, second] = accounts;
  if (account !== undefined && second === undefined) return account;
  throw new PopfetchError('USAGE', `${word} needs one account; there are: ${namesOf(accounts)}`, {
    remedy: 'choose it with -a NAME',
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
