/** What a command sees of the process it runs in, and what every command does with it. */
import { isAbsolute, join, resolve } from 'node:path';
import type { Account, Config } from '../config/account.js';
import { PopfetchError } from '../errors.js';
import type { Terminal } from '../report/progress.js';
import type { SessionOptions } from '../run.js';
import { formatError, formatInterruption } from '../report/sentences.js';
import { chooseAccounts } from './accounts.js';
import { print } from './output.js';
import type { Flags } from './request.js';

export interface Context {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Absolute, or '' where there is none. */
  readonly home: string;
  readonly cwd: string;
  readonly uid: number;
  readonly stdin: () => NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stdout: Terminal;
  /** fsync of stdout, where that is a file. */
  readonly syncStdout: (() => Promise<void>) | undefined;
  readonly stderr: Terminal;
  /** Aborts with a PopfetchError ABORTED as its reason. */
  readonly signal: AbortSignal;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Writes a line for people, unless `--quiet`. */
export async function note(flags: Flags, { stderr }: Context, sentence: string): Promise<void> {
  if (!flags.quiet) await print(stderr, `popfetch: ${sentence}\n`);
}

/** Tells people what went wrong, an interruption only once. */
export async function tell({ stderr }: Context, errors: readonly PopfetchError[]): Promise<void> {
  const interrupted = errors.find(({ code }) => code === 'ABORTED');
  for (const error of errors) {
    if (error.code !== 'ABORTED') await print(stderr, `${formatError(error, 'popfetch: ')}\n`);
    else if (error === interrupted) await print(stderr, `${formatInterruption(error, 'popfetch: ')}\n`);
  }
}

/** Where the memories are. @throws CONFIG when there is no such place */
export function stateDirectory({ env, home }: Pick<Context, 'env' | 'home'>): string {
  const { XDG_STATE_HOME: named = '' } = env;
  // The XDG specification says to ignore a relative path.
  if (isAbsolute(named)) return join(named, 'popfetch');
  if (isAbsolute(home)) return join(home, '.local', 'state', 'popfetch');
  throw new PopfetchError('CONFIG', 'there is no home directory to remember in what was fetched', {
    remedy: 'set HOME, or XDG_STATE_HOME',
  });
}

/** The config and the accounts that `--account` chooses in it. @throws CONFIG, PERMISSION, USAGE */
export async function loadAccounts(
  flags: Flags,
  context: Context,
): Promise<{ readonly config: Config; readonly accounts: readonly Account[] }> {
  const { loadConfig } = await import('../config/load.js');
  const { env, home, cwd, uid } = context;
  const config = await loadConfig({ file: flags.config, env, home, cwd, uid });
  const accounts = chooseAccounts(config.accounts, flags.account);
  if (accounts.length === 0) {
    await note(flags, context, 'every account is disabled; choose one with -a NAME');
  }
  return { config, accounts };
}

/**
 * Does `work` with what opening a session of these accounts takes. A person is asked for the passwords that no config
 * has, before anything else happens; with `--trace` the transcript is closed afterwards. @throws CREATE, DELIVERY, ABORTED
 */
export async function withSession<T>(
  flags: Flags,
  accounts: readonly Account[],
  context: Context,
  work: (session: SessionOptions) => Promise<T>,
): Promise<T> {
  const { env, home, cwd, uid, signal } = context;
  const { readPassword, readToken } = await import('../config/secrets.js');
  const typed = await askPasswords(accounts, context);
  const password = (account: Account): Promise<string> =>
    readPassword(account.password, { env, home, account, signal, typed: typed.get(account.name) });
  // Of an account without a source of tokens none is ever asked for.
  const token = (account: Account): Promise<string> =>
    readToken(account.oauth2 ?? { command: [] }, { env, account, signal });
  if (flags.trace === undefined) return work({ password, token, signal });
  const { openTrace } = await import('../report/trace.js');
  const { trace, close } = await openTrace(resolve(cwd, flags.trace), { uid });
  const result = await work({ password, token, signal, trace }).catch(async (error: unknown) => {
    // What went wrong with the mail matters more than what went wrong with its transcript.
    await close().catch(() => undefined);
    throw error;
  });
  await close();
  return result;
}

/** Asks for the password of each account that has none, once and one after the other; of nobody without a terminal. */
async function askPasswords(
  accounts: readonly Account[],
  context: Context,
): Promise<ReadonlyMap<string, string>> {
  const typed = new Map<string, string>();
  const without = accounts.filter(
    ({ password, oauth2, auth }) => password === undefined && oauth2 === undefined && auth !== 'external',
  );
  if (without.length === 0) return typed;
  const { askSecret, canAsk, questionFor } = await import('./prompt.js');
  if (!canAsk(context)) return typed;
  for (const account of without) typed.set(account.name, await askSecret(questionFor(account), context));
  return typed;
}
