/** Rules that no single field can break: what is right by itself and wrong together. */
import type { Account, DestinationConfig } from './account.js';
import { renderPath, type Finding } from './problems.js';

/** What is wrong within one complete account. */
export function contradictions(account: Account): Finding[] {
  return [
    ...clearTextLogin(account),
    ...meaninglessTls(account),
    ...repeatedDestinations(account),
    ...uselessRejected(account),
  ];
}

/**
 * Accounts with the same host, port and user read the same mailbox and would share one memory of what was fetched:
 * what one has stored the other would never see.
 */
export function sharedMailboxes(accounts: readonly Account[]): Finding[] {
  const first = new Map<string, Account>();
  return accounts.flatMap((account) => {
    const mailbox = JSON.stringify([account.host.toLowerCase(), account.port, account.user]);
    const other = first.get(mailbox);
    if (other === undefined) {
      first.set(mailbox, account);
      return [];
    }
    const what = `reads the same mailbox as ${renderPath(['accounts', other.name])}`;
    const expected =
      'one account for each host, port and user; to store its mail twice, use a list in "deliver"';
    return [{ path: ['accounts', account.name], what, expected }];
  });
}

const OCTET = '(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)';
const LOOPBACK = new RegExp(`^(?:localhost\\.?|127(?:\\.${OCTET}){3}|(?:0{0,4}:){2,7}0{0,3}1)$`, 'i');

/** Whether a host as written in a config is this machine: localhost, 127.0.0.0/8 or ::1. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}

/** APOP sends no password; with `auto` the server decides, so `auto` counts as clear text. */
function clearTextLogin({ name, host, tls, auth, insecure }: Account): Finding[] {
  if (tls.mode !== 'none' || auth === 'apop' || insecure || isLoopback(host)) return [];
  const what = `would send the password to ${host} unencrypted`;
  const expected = 'tls: implicit or tls: starttls, or auth: apop; "insecure: true" allows it all the same';
  return [{ path: ['accounts', name, 'tls'], what, expected, value: tls.mode }];
}

function meaninglessTls({ name, tls }: Account): Finding[] {
  if (tls.mode !== 'none') return [];
  return (['ca', 'pin', 'servername'] as const)
    .filter((field) => tls[field] !== undefined)
    .map((field) => ({
      path: ['accounts', name, 'tls', field],
      what: 'has no effect without encryption',
      expected: 'tls mode implicit or starttls',
    }));
}

function repeatedDestinations({ name, deliver }: Account): Finding[] {
  const seen = new Set<string>();
  return deliver.flatMap((destination, index) => {
    const id = identity(destination);
    if (!seen.has(id)) {
      seen.add(id);
      return [];
    }
    const path = ['accounts', name, 'deliver', index];
    return [{ path, what: 'in the list twice', expected: 'each destination once' }];
  });
}

function uselessRejected({ name, deliver, rejected }: Account): Finding[] {
  if (rejected === undefined) return [];
  const path = ['accounts', name, 'rejected'];
  const places = deliver.filter((destination) => destination !== 'stdout');
  if (places.some((place) => 'maildir' in place && place.maildir === rejected)) {
    const expected = 'a Maildir of its own, so that refused messages can be found';
    return [{ path, what: 'is a destination in "deliver" too', expected }];
  }
  if (places.some((place) => 'command' in place || 'lmtp' in place)) return [];
  const expected = 'a command or lmtp in "deliver": nothing else refuses a message for good';
  return [{ path, what: 'has no effect', expected }];
}

function identity(destination: DestinationConfig): string {
  return JSON.stringify(destination);
}
