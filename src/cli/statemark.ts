/** `popfetch state mark-seen`: messages on the server count as fetched, and are not. */
import { identify } from '../account/identify.js';
import { listed } from '../account/listed.js';
import { refuseLost } from '../account/lost.js';
import { asSeen } from '../account/recognise.js';
import type { Account } from '../config/account.js';
import { exitCode, PopfetchError } from '../errors.js';
import { messageKey } from '../identity.js';
import type { Listed, Listing } from '../pop3/mailbox.js';
import { plural } from '../report/quantities.js';
import { atOnce, openMailbox, type SessionOptions } from '../run.js';
import { seenRecord } from '../seen/book.js';
import { mayPipeline } from '../seen/memory.js';
import type { HeldMemory } from '../seen/holding.js';
import { loadAccounts, tell, withSession, type Context } from './context.js';
import { placesOf } from './maildirs.js';
import type { Flags, Request } from './request.js';
import { meant, withHeld } from './held.js';
import { onlyAccount, report } from './oneaccount.js';

/**
 * With --all of every chosen account, else of one. The messages have to be on the server: their size and header are what
 * they are known by later.
 * @returns the exit status of all accounts together @throws USAGE for a UID that is not on the server
 */
export async function markSeen({ flags, words }: Request, context: Context): Promise<number> {
  const { config, accounts } = await loadAccounts(flags, context);
  const chosen = flags.all ? accounts : [await onlyAccount(flags, context, 'state mark-seen')];
  const errors = await withSession(flags, chosen, context, (session) =>
    atOnce(chosen, config.parallel, (account) => markOne(account, flags, words, context, session)),
  );
  const failed = errors.filter((error) => error !== undefined);
  await tell(context, failed);
  return exitCode(failed);
}

async function markOne(
  account: Account,
  flags: Flags,
  words: readonly string[],
  context: Context,
  session: SessionOptions,
): Promise<PopfetchError | undefined> {
  try {
    await withHeld(account, flags, context, 'sound', async (held) => {
      // Some marked as seen would hide that all the others are missing.
      if (!flags.all) await refuseLost(account, held.book, placesOf(account));
      const { marked, known } = await mark(account, flags, words, context, session, held);
      const already = known === 0 ? '' : `; ${known} ${known === 1 ? 'was' : 'were'} known already`;
      const what = `${plural(marked, 'message')} marked as seen, never to be fetched${already}`;
      await report(account, flags, context, what, { marked, known });
    });
    return undefined;
  } catch (error) {
    if (error instanceof PopfetchError && error.code !== 'USAGE') return error;
    throw error;
  }
}

async function mark(
  account: Account,
  flags: Flags,
  words: readonly string[],
  context: Context,
  session: SessionOptions,
  { book, replace }: HeldMemory,
): Promise<{ readonly marked: number; readonly known: number }> {
  const pipelining = mayPipeline(book, context.now());
  const mailbox = await openMailbox(account, { ...session, pipelining });
  try {
    const parts = { identify: (all: Listing) => identify(all, mailbox, book), seen: book, now: context.now };
    const { listing, byContent } = await listed(account, parts, mailbox);
    if (byContent) throw unnamed();
    for (const { uid, known } of listing.adopted)
      book.apply(seenRecord({ ...known, uid, removedAt: undefined, goneAt: undefined }));
    const wanted = flags.all ? [...listing.messages] : onServer(words, listing.messages);
    const fresh = wanted.filter(({ uid }) => !book.has(uid));
    const key = (uid: string): string => messageKey(account, uid);
    for (const entry of await asSeen(fresh, { mailbox, key, now: context.now() })) {
      book.apply(seenRecord(entry));
    }
    await mailbox.quit();
    await replace(book.records(context.now()));
    return { marked: fresh.length, known: wanted.length - fresh.length };
  } finally {
    mailbox.close();
  }
}

function unnamed(): PopfetchError {
  return new PopfetchError(
    'USAGE',
    'here messages are known by their content only, and none can be marked as seen',
    {
      remedy: 'fetch them with popfetch fetch',
    },
  );
}

function onServer(words: readonly string[], messages: Iterable<Listed>): readonly Listed[] {
  return meant(
    words,
    messages,
    'there is no message on the server with the unique-id',
    'see popfetch list --json',
  );
}
