/** The sixteen accounts of a soak: every destination that keeps mail exactly once, alone and in lists, and every way to delete. */
import { reach } from '../support/e2e.js';
import type { TestServer } from '../support/server.js';

/** A place in the home where messages arrive. */
export interface Place {
  readonly kind: 'maildir' | 'mbox';
  /** Its name in the home. */
  readonly name: string;
}

/** An account and all that is known about it. */
export interface SoakAccount {
  readonly name: string;
  /** Each of them gets every message. */
  readonly places: readonly Place[];
  /** As in the config. */
  readonly delete: string;
  readonly fields: object;
}

/** Two accounts deliver there. */
const SHARED = 'shared.mbox';

const DESTINATIONS: readonly (readonly Place['kind'][])[] = [
  ['maildir'],
  ['mbox'],
  ['maildir'],
  ['mbox'],
  ['maildir', 'mbox'],
  ['mbox', 'maildir'],
  ['maildir', 'maildir'],
  ['mbox', 'mbox'],
];
const EXTRAS: readonly object[] = [
  {},
  { order: 'newest' },
  { eol: 'crlf' },
  { limit: 7 },
  { order: 'smallest' },
];

/** @param span a duration after which mail is deleted, such as `5s` */
export function soakAccounts(span: string): SoakAccount[] {
  const ways = ['delivered', 'never', span, 'delivered', span];
  return Array.from({ length: 16 }, (_, index) => {
    const name = `soak${String(index).padStart(2, '0')}`;
    const kinds = DESTINATIONS[index % DESTINATIONS.length]!;
    const own = kinds.map((kind, n) => ({ kind, name: `${name}-${n + 1}.${kind}` }));
    const places = [9, 11].includes(index) ? [{ kind: 'mbox' as const, name: SHARED }] : own;
    return { name, places, delete: ways[index % ways.length]!, fields: EXTRAS[(index * 3) % EXTRAS.length]! };
  });
}

/** The account as a config has it. */
export function configOf({ name, places, delete: way, fields }: SoakAccount, server: TestServer): object {
  const deliver = places.map(({ kind, name: file }) => ({ [kind]: `~/${file}` }));
  return reach(server, {
    user: name,
    deliver,
    delete: way,
    timeout: { connect: '2s', reply: '1s', idle: '1s', session: '60s' },
    ...fields,
  });
}
