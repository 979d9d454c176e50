/** `popfetch fetch`: new mail of the chosen accounts to their destinations. */
import type { Account } from '../config/account.js';
import { exitCode, PopfetchError } from '../errors.js';
import { mailEnvironment } from '../program.js';
import { createReporter } from '../report/report.js';
import { fetchAll, type StdoutDelivery } from '../run.js';
import { loadAccounts, stateDirectory, withSession, type Context } from './context.js';
import type { Flags, Request } from './request.js';

/** @returns the exit status of all accounts together. @throws USAGE, CONFIG, PERMISSION, CREATE */
export async function fetch({ flags }: Request, context: Context): Promise<number> {
  const { config, accounts: chosen } = await loadAccounts(flags, context);
  const accounts = chosen.map((account) => withFlags(account, flags));
  const stdout = await stdoutDelivery(accounts, flags, context);
  const { env, stderr, now } = context;
  const reporter = createReporter({ ...flags, stderr, stdout: context.stdout, env, now });
  try {
    const outcomes = await withSession(flags, accounts, context, (session) =>
      fetchAll(accounts, {
        ...session,
        state: stateDirectory(context),
        parallel: flags.parallel ?? config.parallel,
        emit: reporter.emit,
        dryRun: flags.dryRun,
        keep: flags.keep,
        acceptReset: flags.acceptReset,
        wait: flags.wait,
        stdout,
        env: programEnvironment(env, config.accounts),
      }),
    );
    return exitCode(outcomes.flatMap(({ errors }) => errors));
  } finally {
    reporter.done();
  }
}

/** The environment for programs that mail is handed to: no variable that holds a password of any account is in it. */
function programEnvironment(env: Context['env'], accounts: readonly Account[]): Context['env'] {
  const secret = accounts.flatMap(({ password }) =>
    password !== undefined && 'env' in password ? [password.env] : [],
  );
  return mailEnvironment(env, new Set(secret));
}

function withFlags(account: Account, { limit, maxSize, stdout }: Flags): Account {
  return {
    ...account,
    limit: limit ?? account.limit,
    maxSize: maxSize ?? account.maxSize,
    deliver: stdout ? ['stdout'] : account.deliver,
  };
}

/** How mail goes to stdout in this run; undefined when none does. @throws USAGE where that would be a mess */
async function stdoutDelivery(
  accounts: readonly Account[],
  { json, format, dryRun }: Flags,
  { stdout, syncStdout }: Context,
): Promise<StdoutDelivery | undefined> {
  const affected = accounts.filter(({ deliver }) => deliver.includes('stdout'));
  if (affected.length === 0) {
    if (format === undefined) return undefined;
    throw usage('--format says how mail is written to stdout, and none is', 'add --stdout');
  }
  if (dryRun) return undefined;
  if (json) {
    throw usage(
      'the events of --json and the mail both want stdout',
      'leave out --json; --format json writes each message as JSON',
    );
  }
  const single = affected.length === 1 && affected[0]?.limit === 1;
  if (format === 'raw' && !single) {
    throw usage(
      'raw messages on stdout cannot be told apart, and there may be more than one',
      'use --limit 1 and one account, or --format mboxrd',
    );
  }
  const { outTo } = await import('../deliver/stdout.js');
  return { format: format ?? (single ? 'raw' : 'mboxrd'), out: outTo(stdout, syncStdout) };
}

function usage(sentence: string, remedy: string): PopfetchError {
  return new PopfetchError('USAGE', sentence, { remedy });
}
