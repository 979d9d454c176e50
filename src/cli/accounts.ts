/** Which accounts a run is for. Pure. */
import type { Account } from '../config/account.js';
import { nearest } from '../config/problems.js';
import { PopfetchError } from '../errors.js';
import { printable, readable } from '../escape.js';

/** Names that an error lists. */
const SHOWN = 20;

/**
 * The accounts that any of `patterns` names, in the order of the config; without patterns all that are not disabled.
 * A name said in full chooses a disabled account too, a glob (`*`, `?`) does not.
 * @throws USAGE for a pattern that chooses nothing
 */
export function chooseAccounts(
  accounts: readonly Account[],
  patterns: readonly string[],
): readonly Account[] {
  if (patterns.length === 0) return accounts.filter(({ disabled }) => !disabled);
  const chosen = new Set<Account>();
  for (const pattern of patterns) {
    const matching = accounts.filter((account) => matches(account, pattern));
    if (matching.length === 0) throw noSuchAccount(accounts, pattern);
    for (const account of matching) chosen.add(account);
  }
  return accounts.filter((account) => chosen.has(account));
}

/** The names of accounts for people: `home, work`. */
export function namesOf(accounts: readonly Pick<Account, 'name'>[]): string {
  const names = accounts.slice(0, SHOWN).map(({ name }) => readable(name));
  return [...names, ...(accounts.length > SHOWN ? ['…'] : [])].join(', ');
}

function matches({ name, disabled }: Account, pattern: string): boolean {
  if (name === pattern) return true;
  if (disabled || !/[*?]/.test(pattern)) return false;
  const source = pattern
    .replace(/[\\^$+.()|[\]{}]/g, '\\$&')
    .replace(/\*+/g, '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 'su').test(name);
}

function noSuchAccount(accounts: readonly Account[], pattern: string): PopfetchError {
  const names = accounts.map(({ name }) => name);
  const meant = nearest(pattern, names);
  const what = /[*?]/.test(pattern) ? 'no account in use matches' : 'there is no account';
  return new PopfetchError('USAGE', `${what} "${printable(pattern, 60)}"; there are: ${namesOf(accounts)}`, {
    remedy: meant === undefined ? 'choose one of them with -a' : `did you mean ${readable(meant)}?`,
  });
}
