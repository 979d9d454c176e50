/** `popfetch state rebuild`: a memory from what is left of it, from the Maildirs, and from the server. */
import { identify } from '../account/identify.js';
import { listed } from '../account/listed.js';
import { asSeen, recognise, recogniseAll } from '../account/recognise.js';
import type { Account } from '../config/account.js';
import { readable, shellWord } from '../escape.js';
import { messageKey } from '../identity.js';
import type { Listing, Messages } from '../pop3/mailbox.js';
import { plural } from '../report/quantities.js';
import { openMailbox, type SessionOptions } from '../run.js';
import { seenRecord } from '../seen/book.js';
import { mayPipeline, type Entry } from '../seen/memory.js';
import type { HeldMemory } from '../seen/holding.js';
import { note, withSession, type Context } from './context.js';
import { maildirsOf, storedMessages, syncMaildirs } from './maildirs.js';
import type { Request } from './request.js';
import { withHeld } from './held.js';
import { onlyAccount, report } from './oneaccount.js';

/** What came of it, in messages. */
interface Rebuilt {
  /** Known by the memory, or by what is left of it. */
  readonly kept: number;
  /** Found in a Maildir. */
  readonly recognised: number;
  /** On the server, and to be fetched by the next run. */
  readonly fresh: number;
  readonly notes: readonly string[];
}

/** Retrieves and removes nothing. @throws LOCKED, STATE, DELIVERY for a Maildir that cannot be read, and what a session throws */
export async function rebuild({ flags }: Request, context: Context): Promise<number> {
  const account = await onlyAccount(flags, context, 'state rebuild');
  return withSession(flags, [account], context, (session) =>
    withHeld(account, flags, context, 'any', async (held) => {
      const { notes, ...numbers } = await rebuildHeld(account, held, session, context.now());
      await syncMaildirs(account);
      const aside = await held.replace(held.book.records(context.now()));
      const { condition } = held;
      const sentence = describe(account, { ...numbers, notes }, condition, aside);
      await report(account, flags, context, sentence, { ...numbers, memory: condition, damaged: aside });
      for (const text of notes) await note(flags, context, `${readable(account.name)}: ${text}`);
      return 0;
    }),
  );
}

async function rebuildHeld(
  account: Account,
  { book, bare }: HeldMemory,
  session: SessionOptions,
  now: number,
): Promise<Rebuilt> {
  const { keys, find } = await storedMessages(account);
  const mailbox = await openMailbox(account, { ...session, pipelining: mayPipeline(book, now) });
  try {
    const parts = {
      identify: (all: Listing) => identify(all, mailbox, book),
      seen: book,
      now: () => now,
    };
    const { listing, byContent } = await listed(account, parts, mailbox);
    const { messages, adopted, notes } = listing;
    let kept = book.size;
    for (const { uid, known } of adopted) {
      book.apply(seenRecord({ ...known, uid, removedAt: undefined, goneAt: undefined }));
    }
    const sources = { mailbox, find, now, key: (uid: string) => messageKey(account, uid) };
    const recognised = byContent
      ? await recogniseAll(keys, book, sources)
      : await recognise(messages, book, sources);
    for (const entry of recognised) book.apply(seenRecord(entry));
    const done = messages.filter(({ uid }) => bare.has(uid) && !book.has(uid));
    for (const entry of await asSeen(done, sources)) book.apply(seenRecord(entry));
    kept += done.length;
    await mailbox.quit();
    // Where only the content tells, every message has to be read to be known.
    const fresh = byContent ? 0 : countNew(messages, recognised, book);
    return { kept, recognised: recognised.length, fresh, notes };
  } finally {
    mailbox.close();
  }
}

/** What the next run will fetch: neither known, nor recognised under another name, nor on its way. */
function countNew(messages: Messages, recognised: readonly Entry[], book: HeldMemory['book']): number {
  const begun = new Set(book.unfinished().map(({ uid }) => uid));
  const uids = new Set(messages.map(({ uid }) => uid));
  const renamed = recognised.filter(({ uid }) => !uids.has(uid)).length;
  return messages.filter(({ uid }) => !book.has(uid) && !begun.has(uid)).length - renamed;
}

function describe(
  account: Account,
  { kept, recognised, fresh }: Rebuilt,
  condition: HeldMemory['condition'],
  aside: string | undefined,
): string {
  const maildirs = maildirsOf(account);
  const places = maildirs.map(readable).join(', ');
  const from = {
    sound: 'remembered as before',
    damaged: 'recovered from the damaged file',
    missing: 'recovered',
  };
  const parts = [
    ...(maildirs.length === 0 ? [] : [`${plural(recognised, 'message')} recognised in ${places}`]),
    ...(kept === 0 && maildirs.length > 0 ? [] : [`${kept} ${from[condition]}`]),
    `${fresh} on the server ${fresh === 1 ? 'is' : 'are'} new`,
  ];
  const file = aside === undefined ? '' : `; the damaged file is kept as ${readable(aside)}`;
  const hint =
    maildirs.length > 0 || fresh === 0
      ? ''
      : `; without a Maildir nothing more can be recognised, and popfetch state mark-seen --all ` +
        `-a ${shellWord(account.name)} would keep the next fetch from bringing them`;
  return `${parts.join(', ')}${file}${hint}`;
}
