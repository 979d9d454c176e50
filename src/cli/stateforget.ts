/** `popfetch state forget`: some messages, or all, become new again. */
import { plural } from '../report/quantities.js';
import type { JournalRecord } from '../seen/journal.js';
import type { Context } from './context.js';
import type { Request } from './request.js';
import { meant, withHeld } from './held.js';
import { onlyAccount, report } from './oneaccount.js';

/** Records of a message that is done, or could not be had. What is on its way stays: the next run has to finish it. */
const ABOUT_DONE = new Set(['SEEN', 'REPORTED', 'OUTGREW', 'TROUBLE']);

/**
 * Forgets whole or not at all. With --all a memory that is lost or damaged is begun anew, too.
 * @throws USAGE for a UID of which nothing is remembered, LOCKED, STATE
 */
export async function forget({ flags, words }: Request, context: Context): Promise<number> {
  const account = await onlyAccount(flags, context, 'state forget');
  return withHeld(account, flags, context, flags.all ? 'any' : 'sound', async ({ book, replace }) => {
    const chosen = flags.all
      ? []
      : meant(
          words,
          book.entries(),
          'nothing is remembered of',
          'popfetch state list shows what is remembered',
        );
    const uids = new Set(chosen.map(({ uid }) => uid));
    const forgotten = flags.all ? book.size : uids.size;
    const concerns = ({ verb, fields: [uid = ''] }: JournalRecord): boolean =>
      ABOUT_DONE.has(verb) && (flags.all || uids.has(uid));
    await replace(without(book.records(context.now()), concerns));
    const count = plural(forgotten, 'message');
    const what = `${count} forgotten; the next fetch brings again what is still on the server`;
    await report(account, flags, context, what, { forgotten });
    return 0;
  });
}

function* without(
  records: Iterable<JournalRecord>,
  concerns: (record: JournalRecord) => boolean,
): Generator<JournalRecord> {
  for (const record of records) if (!concerns(record)) yield record;
}
