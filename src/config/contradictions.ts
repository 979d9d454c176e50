/** Rules that no single field can break: what is right by itself and wrong together. */
import type { Account, DestinationConfig } from './account.js';
import { renderPath, type Finding } from './problems.js';

/** What is wrong within one complete account. */
export function contradictions(account: Account): Finding[] {
  return [
    ...unfitSecret(account),
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

const FOR_TOKENS: readonly Account['auth'][] = ['xoauth2', 'oauthbearer'];

/** A password where a token is needed, the other way round, or both. */
function unfitSecret({ name, auth, password, oauth2 }: Account): Finding[] {
  const path = ['accounts', name, 'auth'];
  if (oauth2 === undefined) {
    if (!FOR_TOKENS.includes(auth)) return [];
    const expected = 'oauth2: {command: [PROGRAM, ARGUMENT]} in place of the password';
    return [{ path, what: `${auth} needs an access token`, expected }];
  }
  if (password !== undefined) {
    const expected = 'one of password and oauth2';
    return [{ path: ['accounts', name, 'oauth2'], what: 'stands beside a password', expected }];
  }
  if (auth === 'auto' || FOR_TOKENS.includes(auth)) return [];
  const what = `${auth} has no use for an access token`;
  return [{ path, what, expected: 'auth: auto, oauthbearer or xoauth2, or a password in place of oauth2' }];
}

/** What sends no secret as it is. With `auto` the server decides, so `auto` counts as clear text. */
const WITHOUT_SECRET: readonly Account['auth'][] = [
  'apop',
  'cram-md5',
  'scram-sha-1',
  'scram-sha-256',
  'external',
];

function clearTextLogin({ name, host, tls, auth, insecure, oauth2 }: Account): Finding[] {
  if (tls.mode !== 'none' || WITHOUT_SECRET.includes(auth) || insecure || isLoopback(host)) return [];
  const [secret, otherwise] =
    oauth2 === undefined
      ? ['password', 'tls: implicit or tls: starttls, or auth: scram-sha-256 or apop']
      : ['access token', 'tls: implicit or tls: starttls'];
  const what = `would send the ${secret} to ${host} unencrypted`;
  const expected = `${otherwise}; "insecure: true" allows it all the same`;
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
