/**
 * THE POLICY: one account's session, in order. No I/O of its own: it speaks to a mailbox, a destination and a memory.
 *
 * - A uid is done only after deliver() resolved.
 * - DELE only for a uid that the memory holds as done, on disk.
 * - Never QUIT while a message that RETR gave is not durable: servers with EXPIRE 0, and Gmail, take QUIT after RETR
 *   for deletion. Drop the connection instead.
 * - A uid is forgotten only when a complete listing no longer shows it and 90 days have passed.
 * - After a destination has said yes, no later failure turns it into a no.
 */
import type { Account } from '../config/account.js';
import type { Phase } from '../errors.js';
import type { Listed, Listing, Mailbox } from '../pop3/mailbox.js';
import type { Memory } from '../seen/memory.js';
import type { Parts, Tally } from './parts.js';
import { plan, type Decision, type Terms } from './plan.js';
import { Retrieval } from './retrieval.js';

/** Runs one account to its end. Counts in `tally`. @throws PopfetchError for what ends the account's run early */
export async function runAccount(account: Account, parts: Parts, tally: Tally): Promise<void> {
  const { emit } = parts;
  await recover(parts);
  const mailbox = await parts.connect();
  try {
    emit({ type: 'phase', account: account.name, phase: 'list' });
    const listing = await listed(parts, mailbox);
    const decisions = planned(account, parts, listing, tally);
    await reportSkipped(account, parts, decisions, tally);
    const retrieval = new Retrieval(account, parts, tally);
    await retrieval.run(mailbox, chosen(decisions, 'fetch'));
    await finish(account, parts, { mailbox, listing, tally, clean: retrieval.clean });
  } finally {
    mailbox.close();
  }
}

/** Says what a run would do and changes nothing anywhere. The memory may be missing. */
export async function rehearse(
  account: Account,
  parts: Pick<Parts, 'connect' | 'emit' | 'identify' | 'now' | 'keep'> & {
    readonly seen: Memory | undefined;
  },
  tally: Tally,
): Promise<void> {
  const mailbox = await parts.connect();
  try {
    const decisions = planned(account, parts, await parts.identify(await mailbox.list(), mailbox), tally);
    for (const decision of skippedOf(decisions)) tellSkipped(account, parts, decision, tally);
    for (const { message, action } of decisions) {
      if (action !== 'fetch' && action !== 'remove') continue;
      const { number, uid, size } = message;
      parts.emit({ type: 'would', account: account.name, action, number, uid, octets: size });
    }
    await mailbox.quit();
  } finally {
    mailbox.close();
  }
}

/** Finishes or undoes what an earlier run left half done, before anything new is begun. */
async function recover({ destination, seen }: Parts): Promise<void> {
  const unfinished = seen.unfinished();
  const delivered = new Set(await destination.recover(unfinished, seen));
  for (const uid of new Set(unfinished.map((intent) => intent.uid))) {
    await (delivered.has(uid) ? seen.done(uid) : seen.undone(uid));
  }
}

/** The listing, each message under the uid by which the memory knows it; what has got a new uid is remembered first. */
async function listed({ identify, seen }: Parts, mailbox: Mailbox): Promise<Listing> {
  const listing = await identify(await mailbox.list(), mailbox);
  for (const { uid, known } of listing.adopted) await seen.adopt(uid, known);
  return listing;
}

function planned(
  account: Account,
  { emit, now, seen, keep }: Pick<Parts, 'emit' | 'now' | 'keep'> & { readonly seen: Memory | undefined },
  listing: Listing,
  tally: Tally,
): Decision[] {
  for (const message of listing.notes) emit({ type: 'warning', account: account.name, message });
  const decisions = plan(listing, seen, termsOf(account, keep), now());
  const wanted = chosen(decisions, 'fetch');
  tally.listed = listing.messages.length;
  if (listing.complete) tally.uids = new Set(listing.messages.map(({ uid }) => uid));
  emit({
    type: 'planned',
    account: account.name,
    listed: listing.messages.length,
    seen: listing.messages.filter(({ uid }) => seen?.has(uid)).length,
    wanted: wanted.length,
    octets: wanted.reduce((sum, { size }) => sum + size, 0),
    doomed: chosen(decisions, 'remove').length,
  });
  return decisions;
}

/** The terms of this run: with --keep nothing is removed. */
function termsOf(account: Account, keep: boolean): Terms {
  return keep ? { ...account, delete: 'never' } : account;
}

function chosen(decisions: readonly Decision[], action: Decision['action']): Listed[] {
  return decisions.filter((decision) => decision.action === action).map(({ message }) => message);
}

/** Tells a person once about each message that is left alone; the limit of a run is no news. */
async function reportSkipped(
  account: Account,
  parts: Parts,
  decisions: readonly Decision[],
  tally: Tally,
): Promise<void> {
  const { seen } = parts;
  for (const decision of skippedOf(decisions)) {
    const first = tellSkipped(account, parts, decision, tally);
    if (first && decision.reason !== 'limit') await seen.report(decision.message.uid);
  }
}

type Skipped = Extract<Decision, { readonly action: 'skip' }>;

function skippedOf(decisions: readonly Decision[]): Skipped[] {
  return decisions.filter((decision) => decision.action === 'skip');
}

/** @returns whether it is told for the first time */
function tellSkipped(
  account: Account,
  { emit, seen }: Pick<Parts, 'emit'> & { readonly seen: Memory | undefined },
  { message: { number, uid, size }, reason }: Skipped,
  tally: Tally,
): boolean {
  const first = seen?.reported(uid) !== true;
  tally.skipped += 1;
  emit({ type: 'skipped', account: account.name, number, uid, octets: size, reason, first });
  return first;
}

interface Finish {
  readonly mailbox: Mailbox;
  readonly listing: Listing;
  readonly tally: Tally;
  /** Everything that RETR gave in this session is durable. */
  readonly clean: boolean;
}

/** Removes what is due and says goodbye; in a session of its own where this one must not QUIT. */
async function finish(
  account: Account,
  parts: Parts,
  { mailbox, listing, tally, clean }: Finish,
): Promise<void> {
  const terms = termsOf(account, parts.keep);
  const due = (current: Listing): Listed[] => chosen(plan(current, parts.seen, terms, parts.now()), 'remove');
  if (clean) {
    await removeAndQuit(account, parts, mailbox, due(listing), tally);
    return;
  }
  mailbox.close();
  // An end that came between two messages made nothing fail: what was cut short must not pass for a whole run.
  parts.signal.throwIfAborted();
  if (due(listing).length === 0) return;
  const second = await parts.connect();
  try {
    await removeAndQuit(account, parts, second, due(await listed(parts, second)), tally);
  } finally {
    second.close();
  }
}

async function removeAndQuit(
  account: Account,
  { emit, seen }: Parts,
  mailbox: Mailbox,
  due: readonly Listed[],
  tally: Tally,
): Promise<void> {
  const phase = (name: Phase): void => {
    emit({ type: 'phase', account: account.name, phase: name });
  };
  if (due.length > 0) phase('remove');
  const marked = new Set(due.length > 0 ? await mailbox.remove(due.map(({ number }) => number)) : []);
  phase('quit');
  await mailbox.quit();
  if (marked.size > 0) {
    await seen.removed(due.filter(({ number }) => marked.has(number)).map(({ uid }) => uid));
    tally.removed += marked.size;
    emit({ type: 'removed', account: account.name, messages: marked.size });
  }
  if (marked.size < due.length) {
    const left = due.length - marked.size;
    const message = `the server would not remove ${left} of ${due.length} messages; the next run tries again`;
    emit({ type: 'warning', account: account.name, message });
  }
}
