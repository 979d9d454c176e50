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
import { PopfetchError } from '../errors.js';
import { shellWord } from '../escape.js';
import type { Listed, Mailbox } from '../pop3/mailbox.js';
import type { Memory } from '../seen/memory.js';
import type { Identified } from './identify.js';
import { refuseLost } from './lost.js';
import type { Parts, Tally } from './parts.js';
import { Plan, type Skipped } from './plan.js';
import { listed, type ListedMailbox } from './listed.js';
import { Recognition, refuseRereading } from './content.js';
import { finish, reconnect, termsOf } from './removal.js';
import { Retrieval } from './retrieval.js';

/** Sessions that messages which broke one before may break in a run. */
const BREAKS = 3;

/** Runs one account to its end. Counts in `tally`. @throws PopfetchError for what ends the account's run early */
export async function runAccount(account: Account, parts: Parts, tally: Tally): Promise<void> {
  await recover(account, parts);
  const again = await session(account, parts, tally);
  for (let left = BREAKS; again.size > 0 && left > 0; left -= 1) {
    parts.signal.throwIfAborted();
    await retry(account, parts, tally, again);
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
    const { listing, byContent } = await listed(account, parts, mailbox);
    if (byContent) refuseRereading(account, parts.keep);
    if (listing.question !== undefined) warn(account, parts, listing.question);
    const plan = planned(account, parts, listing, tally);
    for (const decision of plan.skipped()) {
      tellSkipped(account, parts, decision, tally);
      await breath(tally.skipped);
    }
    for (const action of ['fetch', 'retry', 'remove'] as const) {
      for (const { number, uid, size } of plan.of(action)) {
        const would = { action: action === 'remove' ? action : 'fetch', number, uid, octets: size } as const;
        parts.emit({ type: 'would', account: account.name, ...would });
      }
    }
    await mailbox.quit();
  } finally {
    mailbox.close();
  }
}

/** Finishes or undoes what an earlier run left half done, before anything new is begun. */
async function recover(account: Account, { destination, seen }: Parts): Promise<void> {
  await refuseLost(account, seen, destination);
  const unfinished = seen.unfinished();
  const delivered = new Set(await destination.recover(unfinished, seen));
  for (const uid of new Set(unfinished.map((intent) => intent.uid))) {
    await (delivered.has(uid) ? seen.done(uid) : seen.undone(uid));
  }
}

/** Fetches what is new, removes what is due. @returns the uids to try again by themselves */
async function session(account: Account, parts: Parts, tally: Tally): Promise<Set<string>> {
  const mailbox = await parts.connect();
  try {
    parts.emit({ type: 'phase', account: account.name, phase: 'list' });
    const { listing, byContent } = await demandListed(account, parts, mailbox);
    const plan = planned(account, parts, listing, tally);
    await reportSkipped(account, parts, plan, tally);
    // Uids that were made up for this listing say nothing about what the memory holds, however the session ends.
    if (byContent) tally.uids = undefined;
    const recognition = byContent ? new Recognition(parts.seen) : undefined;
    const retrieval = new Retrieval(account, parts, tally, recognition);
    await retrieval.run(mailbox, [...plan.of('fetch')]);
    const known = retrieval.asKnown(listing);
    if (byContent && known.complete && known.messages.every(({ uid }) => parts.seen.has(uid)))
      tally.uids = uidsOf(known.messages);
    await finish(account, parts, { mailbox, listing: known, retrieval, tally }, relist(account, parts));
    return new Set(uidsOf(plan.of('retry')));
  } finally {
    mailbox.close();
  }
}

/**
 * Tries messages that could not be delivered in earlier runs, one at a time, so that they harm nobody else; until one
 * of them breaks the session. What has been tried is taken out of `again`.
 */
async function retry(account: Account, parts: Parts, tally: Tally, again: Set<string>): Promise<void> {
  const mailbox = await reconnect(parts);
  if (mailbox === undefined) {
    again.clear();
    return;
  }
  const retrieval = new Retrieval(account, parts, tally);
  try {
    const { listing } = await demandListed(account, parts, mailbox);
    const due = listing.messages.filter(({ uid }) => again.has(uid));
    if (due.length === 0) again.clear();
    for (const message of due) {
      again.delete(message.uid);
      await retrieval.run(mailbox, [message]);
    }
    await finish(account, parts, { mailbox, listing, retrieval, tally }, relist(account, parts));
    again.clear();
  } catch (error) {
    // It is known which message that was, and what is to be said of it has been said.
    if (!retrieval.broken) throw error;
  } finally {
    mailbox.close();
  }
}

/** How the mailbox is listed anew for what has to be done in another session. */
function relist(account: Account, parts: Parts): (mailbox: Mailbox) => Promise<Identified> {
  return async (mailbox) => (await demandListed(account, parts, mailbox)).listing;
}

/** The mailbox listed for a run: what has got a new uid is remembered first. @throws PROTOCOL where a person has to decide */
async function demandListed(account: Account, parts: Parts, mailbox: Mailbox): Promise<ListedMailbox> {
  const all = await listed(account, parts, mailbox);
  if (all.byContent) refuseRereading(account, parts.keep);
  const { question } = all.listing;
  if (question !== undefined && !parts.acceptReset) {
    const name = shellWord(account.name);
    throw new PopfetchError('PROTOCOL', question, {
      phase: 'list',
      remedy: `look at it with popfetch list -a ${name}; if all of that is to be fetched, run popfetch fetch -a ${name} --accept-uid-reset`,
    });
  }
  for (const { uid, known } of all.listing.adopted) await parts.seen.adopt(uid, known);
  return all;
}

function planned(
  account: Account,
  { emit, now, seen, keep }: Pick<Parts, 'emit' | 'now' | 'keep'> & { readonly seen: Memory | undefined },
  listing: Identified,
  tally: Tally,
): Plan {
  for (const message of listing.notes) warn(account, { emit }, message);
  const plan = new Plan(listing, seen, termsOf(account, keep), now());
  tally.listed = listing.messages.length;
  if (listing.complete) tally.uids = uidsOf(listing.messages);
  let octets = 0;
  for (const { size } of plan.of('fetch')) octets += size;
  for (const { size } of plan.of('retry')) octets += size;
  emit({
    type: 'planned',
    account: account.name,
    listed: listing.messages.length,
    seen: plan.count('keep') + plan.count('remove') + plan.count('changed'),
    wanted: plan.count('fetch') + plan.count('retry'),
    octets,
    doomed: plan.count('remove'),
  });
  return plan;
}

function warn(account: Account, { emit }: Pick<Parts, 'emit'>, message: string): void {
  emit({ type: 'warning', account: account.name, message });
}

/** Made anew each time they are read: a million of them at once would be too much. */
function uidsOf(messages: Iterable<Listed>): Iterable<string> {
  return {
    *[Symbol.iterator]() {
      for (const { uid } of messages) yield uid;
    },
  };
}

/** Tells a person once about each message that is left alone; the limit of a run is no news. */
async function reportSkipped(account: Account, parts: Parts, plan: Plan, tally: Tally): Promise<void> {
  const { seen } = parts;
  for (const decision of plan.skipped()) {
    const first = tellSkipped(account, parts, decision, tally);
    await breath(tally.skipped);
    if (first && decision.reason !== 'limit') await seen.report(decision.message.uid);
  }
}

/** Where a million messages are told of, what has been said has to be written before more is. */
async function breath(told: number): Promise<void> {
  if (told % 500 === 0) await new Promise((resolve) => setImmediate(resolve));
}

/** @returns whether it is told for the first time; of what failed a person was told when it did */
function tellSkipped(
  account: Account,
  { emit, seen }: Pick<Parts, 'emit'> & { readonly seen: Memory | undefined },
  { message: { number, uid, size }, reason }: Skipped,
  tally: Tally,
): boolean {
  const first = reason !== 'failed' && seen?.reported(uid) !== true;
  tally.skipped += 1;
  emit({ type: 'skipped', account: account.name, number, uid, octets: size, reason, first });
  return first;
}
