/** All accounts at once: opens the parts of each, lets the policy run, and collects the outcomes. */
import { hostname } from 'node:os';
import { join } from 'node:path';
import pLimit from 'p-limit';
import { rehearse, runAccount } from './account/account.js';
import { identify } from './account/identify.js';
import { Tally, type Parts } from './account/parts.js';
import type { Account } from './config/account.js';
import type { Out } from './deliver/context.js';
import { openDestination } from './deliver/index.js';
import { nodeDisk } from './disk.js';
import { asError, exitCode, PopfetchError } from './errors.js';
import type { Emit, Outcome } from './events.js';
import { mailboxTag, messageKey } from './identity.js';
import { demandOwn } from './owner.js';
import type { Credentials, Pop3Client } from './pop3/client.js';
import { openSession, type SessionSettings } from './pop3/open.js';
import { mayPipeline, type Memory, type Seen } from './seen/memory.js';
import { openSeen, readMemory } from './seen/seen.js';

/** One line of a conversation, or a remark about it. `text` is unescaped; secrets are already masked. */
export type Trace = (account: string, direction: 'C' | 'S' | '*', text: string) => void;

/** What opening a session needs besides the account. */
export interface SessionOptions {
  /** Fetches the password of an account; asked when the server has greeted. @throws PopfetchError */
  readonly password: (account: Account) => Promise<string>;
  /** Fetches an access token of an account that has `oauth2`; needed only where one has. @throws PopfetchError */
  readonly token?: ((account: Account) => Promise<string>) | undefined;
  /** Aborts with a PopfetchError ABORTED as its reason. */
  readonly signal: AbortSignal;
  readonly trace?: Trace | undefined;
  /** Told of what crosses the network in clear because the account permits it. */
  readonly warn?: SessionSettings['warn'];
  /** How a server is reached; over TCP unless given. */
  readonly connect?: SessionSettings['connect'];
  /** False sends one command at a time, whatever the server announces. */
  readonly pipelining?: boolean | undefined;
}

/** Where --stdout sends mail. */
export interface StdoutDelivery {
  readonly format: 'raw' | 'mboxrd' | 'json';
  readonly out: Out;
}

/** What a run needs besides the accounts. Times in milliseconds. */
export interface FetchOptions extends SessionOptions {
  /** Directory of the journals; made 0700 when missing. */
  readonly state: string;
  /** Accounts at once. */
  readonly parallel: number;
  readonly emit: Emit;
  readonly dryRun?: boolean | undefined;
  /** Remove nothing in this run. */
  readonly keep?: boolean | undefined;
  /** Fetch what is new even where a mailbox looks like another one. */
  readonly acceptReset?: boolean | undefined;
  /** How long to wait for another run of the same account; Infinity for ever; 0 (default) not at all. */
  readonly wait?: number | undefined;
  /** The environment of commands that messages are delivered to; empty unless given. Must hold no password. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Needed where an account delivers to stdout. */
  readonly stdout?: StdoutDelivery | undefined;
}

/**
 * Fetches new mail of all accounts, `parallel` at once, and gives their outcomes in the order of `accounts`. Never
 * throws for one account's trouble: it is in that account's outcome, and the others go on. A bug in popfetch is thrown.
 */
export async function fetchAll(
  accounts: readonly Account[],
  options: FetchOptions,
): Promise<readonly Outcome[]> {
  const { emit, parallel } = options;
  emit({ type: 'run-start', accounts: accounts.map(({ name }) => name) });
  const outcomes = await atOnce(accounts, parallel, (account) => fetchOne(account, options));
  emit({ type: 'run-end', outcomes, exitCode: exitCode(outcomes.flatMap(({ errors }) => errors)) });
  return outcomes;
}

/** Does `work` for every item, at most `parallel` at once; the results are in the order of the items. Stops at a throw. */
export async function atOnce<T, R>(
  items: readonly T[],
  parallel: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const limit = pLimit(parallel);
  try {
    return await limit.map(items, work);
  } finally {
    limit.clearQueue();
  }
}

/** Connects, secures and logs in. The caller must quit() or close(). @throws PopfetchError with account and phase */
export async function openMailbox(account: Account, options: SessionOptions): Promise<Pop3Client> {
  const { name, host, port, tls, timeout } = account;
  const { trace, signal, warn, connect, pipelining } = options;
  try {
    return await openSession({
      ...{ warn, connect },
      host,
      port,
      tls,
      timeouts: timeout,
      credentials: () => credentialsOf(account, options),
      signal,
      pipelining,
      tap:
        trace === undefined
          ? undefined
          : (direction, text) => {
              trace(name, direction, text);
            },
    });
  } catch (error) {
    throw ofAccount(error, name);
  }
}

async function credentialsOf(account: Account, options: SessionOptions): Promise<Credentials> {
  const { user, auth: method, insecure, oauth2 } = account;
  const who = { user, method, insecure };
  if (oauth2 !== undefined) {
    if (options.token !== undefined) return { ...who, token: await options.token(account) };
    throw new PopfetchError('CONFIG', 'nothing was given to get access tokens with', { phase: 'login' });
  }
  return method === 'external' ? who : { ...who, password: await options.password(account) };
}

async function fetchOne(account: Account, options: FetchOptions): Promise<Outcome> {
  const { emit } = options;
  const start = performance.now();
  const tally = new Tally();
  const errors: PopfetchError[] = [];
  emit({ type: 'account-start', account: account.name });
  const deadline = sessionDeadline(account, options.signal);
  try {
    options.signal.throwIfAborted();
    const session = options.dryRun === true ? rehearsal : retrieval;
    const warn = once((message) => {
      emit({ type: 'warning', account: account.name, message });
    });
    await session(account, { ...options, warn, signal: deadline.signal }, tally);
  } catch (error) {
    errors.push(ofAccount(error, account.name));
  } finally {
    deadline.clear();
  }
  errors.push(...tally.errors.map((error) => ofAccount(error, account.name)));
  for (const error of errors) emit({ type: 'failed', account: account.name, error });
  errors.push(...tally.untold.map((error) => ofAccount(error, account.name)));
  const { listed, delivered, octets, removed, skipped } = tally;
  const elapsed = Math.round(performance.now() - start);
  const outcome = { account: account.name, listed, delivered, octets, removed, skipped, elapsed, errors };
  emit({ type: 'account-end', account: account.name, outcome });
  return outcome;
}

/** Says a thing once, however many sessions a run needs. */
function once(say: (message: string) => void): (message: string) => void {
  const said = new Set<string>();
  return (message) => {
    if (!said.has(message)) say(message);
    said.add(message);
  };
}

/** Aborts with `signal`, or when the session has taken longer than it may. */
function sessionDeadline(account: Account, signal: AbortSignal): { signal: AbortSignal; clear: () => void } {
  const { session } = account.timeout;
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(new PopfetchError('TIMEOUT', `the session took longer than ${session / 1000} s`));
  }, session);
  return {
    signal: AbortSignal.any([signal, controller.signal]),
    clear: () => {
      clearTimeout(timer);
    },
  };
}

/** --dry-run: reads the memory, asks the server, and writes nothing. */
async function rehearsal(account: Account, options: FetchOptions, tally: Tally): Promise<void> {
  const { emit, keep = false } = options;
  const seen = await readMemory(options.state, account, nodeDisk);
  const pipelining = mayPipeline(seen, Date.now());
  const connect = (): Promise<Pop3Client> => openMailbox(account, { ...options, pipelining });
  const parts = { connect, identify: identifier(seen), seen, emit, keep, now: Date.now };
  await rehearse(account, parts, tally);
}

async function retrieval(account: Account, options: FetchOptions, tally: Tally): Promise<void> {
  const { state, signal, wait = 0 } = options;
  const seen = await openSeen(state, account, nodeDisk, { wait, signal, now: Date.now });
  let failure: Error | undefined;
  try {
    await withDestination(account, options, seen, tally);
  } catch (error) {
    failure = asError(error);
  }
  const { listed, delivered, removed } = tally;
  const worst = failure ?? tally.errors[0] ?? tally.untold[0];
  const result = worst === undefined ? 'ok' : worst instanceof PopfetchError ? worst.code : 'BUG';
  try {
    await seen.close({ time: Date.now(), result, listed, delivered, removed }, tally.uids);
  } catch (error) {
    failure ??= asError(error);
  }
  if (failure !== undefined) throw failure;
}

async function withDestination(
  account: Account,
  options: FetchOptions,
  seen: Seen,
  tally: Tally,
): Promise<void> {
  const { emit, signal, keep = false, acceptReset = false } = options;
  const spool = join(options.state, 'spool');
  await makeSpool(spool);
  const destination = await openDestination(account.deliver, {
    account: account.name,
    tag: mailboxTag(account),
    eol: account.eol,
    spool,
    disk: nodeDisk,
    host: hostname(),
    now: Date.now,
    timeLimit: account.timeout.deliver,
    env: options.env ?? {},
    signal,
    note: (message) => {
      emit({ type: 'warning', account: account.name, message });
    },
    ...(account.rejected === undefined ? {} : { rejected: account.rejected }),
    ...(options.stdout === undefined ? {} : { stdout: options.stdout }),
  });
  const sessions = new Sessions(account, options, seen);
  const parts: Parts = {
    destination,
    seen,
    emit,
    signal,
    keep,
    acceptReset,
    connect: () => sessions.open(),
    identify: identifier(seen),
    key: (uid) => messageKey(account, uid),
    now: Date.now,
  };
  try {
    await runAccount(account, parts, tally);
  } finally {
    // Where even that cannot be written down, the end of the run cannot either, and that is told.
    await sessions.learn().catch(() => undefined);
    await destination.close();
  }
}

/** @throws STATE; PERMISSION where others can change what is in it */
async function makeSpool(path: string): Promise<void> {
  try {
    await demandOwn(nodeDisk, path);
    await nodeDisk.mkdir(path);
  } catch (cause) {
    if (cause instanceof PopfetchError) throw cause;
    throw new PopfetchError('STATE', `${path}: the directory for messages on their way cannot be made`, {
      phase: 'state',
      remedy: 'see that it and what is above it are yours and can be written',
      cause,
    });
  }
}

function identifier(memory: Memory | undefined): Parts['identify'] {
  return (listing, mailbox) => identify(listing, mailbox, memory);
}

/** The sessions of one run: what one of them shows of the server is remembered for those to come. */
class Sessions {
  readonly #account: Account;
  readonly #options: FetchOptions;
  readonly #seen: Seen;
  #last: Pop3Client | undefined;

  constructor(account: Account, options: FetchOptions, seen: Seen) {
    this.#account = account;
    this.#options = options;
    this.#seen = seen;
  }

  async open(): Promise<Pop3Client> {
    await this.learn();
    this.#options.emit({ type: 'phase', account: this.#account.name, phase: 'connect' });
    const pipelining = mayPipeline(this.#seen, Date.now());
    this.#last = await openMailbox(this.#account, { ...this.#options, pipelining });
    return this.#last;
  }

  /** @throws STATE */
  async learn(): Promise<void> {
    const fell = this.#last?.outOfStep === true;
    this.#last = undefined;
    // A session that was ended from here proves nothing.
    if (fell && !this.#options.signal.aborted) await this.#seen.fellOutOfStep();
  }
}

/** The error as this account's; a bug stays a bug. */
function ofAccount(error: unknown, account: string): PopfetchError {
  if (error instanceof PopfetchError) return error.within({ account });
  throw error;
}
