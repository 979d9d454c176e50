/** What the words of `popfetch state` share: the memory of an account under its lock, and what a word means in it. */
import type { Account } from '../config/account.js';
import { nodeDisk } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { printable } from '../escape.js';
import { holdMemory, type HeldMemory } from '../seen/holding.js';
import { stateDirectory, type Context } from './context.js';
import { attributed } from './oneaccount.js';
import type { Flags } from './request.js';

/** Does `work` with the memory of an account under its lock. Every error says whose it is. @throws LOCKED, STATE */
export async function withHeld<T>(
  account: Account,
  flags: Flags,
  context: Context,
  accept: 'sound' | 'any',
  work: (held: HeldMemory) => Promise<T>,
): Promise<T> {
  const { signal, now } = context;
  const options = { wait: flags.wait ?? 0, signal, now };
  return attributed(account, async () => {
    const held = await holdMemory(stateDirectory(context), account, nodeDisk, options, accept);
    try {
      return await work(held);
    } finally {
      await held.release();
    }
  });
}

/**
 * What of `uids` these words mean: each as it is, or as popfetch shows it.
 * @param what begins the sentence about a word that means none
 * @throws USAGE for such a word
 */
export function meant<T extends { readonly uid: string }>(
  words: readonly string[],
  among: Iterable<T>,
  what: string,
  remedy: string,
): T[] {
  const asked = new Set(words);
  const byUid = new Map<string, T>();
  const byShown = new Map<string, T>();
  for (const one of among) {
    const shown = printable(one.uid);
    if (asked.has(one.uid)) byUid.set(one.uid, one);
    if (asked.has(shown)) byShown.set(shown, one);
  }
  const chosen = words.map((word) => {
    const one = byUid.get(word) ?? byShown.get(word);
    if (one !== undefined) return one;
    throw new PopfetchError('USAGE', `${what} "${printable(word, 100)}"`, { remedy });
  });
  return [...new Set(chosen)];
}
