/** A memory that is missing although what it should remember is there. */
import type { Account } from '../config/account.js';
import type { Destination } from '../deliver/destination.js';
import { PopfetchError } from '../errors.js';
import { shellWord } from '../escape.js';
import type { Memory } from '../seen/memory.js';

/**
 * To be called before anything is begun or recorded.
 * @throws STATE where messages of this mailbox lie in a destination, and the memory has never heard of any: a run would
 * bring each of them a second time. Also what looking at the destination throws.
 */
export async function refuseLost(
  { name }: Pick<Account, 'name'>,
  memory: Pick<Memory, 'fresh'>,
  destination: Pick<Destination, 'name' | 'traces'>,
): Promise<void> {
  if (!memory.fresh) return;
  const there = (await destination.traces?.()) ?? 0;
  if (there === 0) return;
  const what = there === 1 ? '1 message of it is' : `${there} messages of it are`;
  throw new PopfetchError(
    'STATE',
    `the memory of this mailbox is missing, although ${what} in ${destination.name}`,
    { phase: 'state', remedy: `run popfetch state rebuild -a ${shellWord(name)}` },
  );
}
