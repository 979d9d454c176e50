/** A mailbox as a run sees it: every message under the uid by which the memory knows it or will. */
import type { Account } from '../config/account.js';
import type { Mailbox } from '../pop3/mailbox.js';
import type { Memory } from '../seen/memory.js';
import type { Identified } from './identify.js';
import type { Parts } from './parts.js';
import { isByContent, withFreshUids } from './content.js';

export interface ListedMailbox {
  readonly listing: Identified;
  /** Whether its uids are made up, because only the content tells what is known. */
  readonly byContent: boolean;
}

/** Lists the mailbox. The memory may be missing. @throws what listing and TOP throw */
export async function listed(
  account: Pick<Account, 'identity'>,
  { identify, seen, now }: Pick<Parts, 'identify' | 'now'> & { readonly seen: Memory | undefined },
  mailbox: Mailbox,
): Promise<ListedMailbox> {
  const listing = await mailbox.list();
  if (isByContent(listing, account)) {
    const fresh = withFreshUids(listing, seen, now());
    return { listing: { ...fresh, adopted: [], question: undefined }, byContent: true };
  }
  return { listing: await identify(listing, mailbox), byContent: false };
}
