/** TLS cannot be talked down: whatever the server says, no octet of a password crosses a network in clear. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PopfetchError } from '../../src/errors.js';
import { openSession, type SessionSettings } from '../../src/pop3/open.js';
import {
  certificates,
  fingerprint,
  issue,
  type Certificate,
  type Certificates,
} from '../support/certificates.js';
import { connectElsewhere } from '../support/elsewhere.js';
import { startServer, type TestServer } from '../support/server.js';
import { answerCapa, answerStls, cells, outcome, shown, title, type Cell } from '../support/tls-cells.js';
import type { Reply } from '../support/session.js';

const PASSWORD = 'himitsu-4tana-mo/+?';
const octets = (text: string): Buffer => Buffer.from(text);
/** Every form in which the password, or the user's name with it, could go over the wire. */
const SECRETS = [
  PASSWORD,
  ...[PASSWORD, `\0taro\0${PASSWORD}`].flatMap((text) => [
    octets(text).toString('base64'),
    octets(text).toString('base64url'),
    octets(text).toString('hex'),
  ]),
  encodeURIComponent(PASSWORD),
];

const servers = new Map<string, TestServer>();
let set: Certificates & { readonly otherAddress: Certificate };
/** What the servers do now. */
let current: Cell;

beforeAll(async () => {
  const given = await certificates();
  const names = { commonName: 'other', ip: ['192.0.2.1'], issuer: given.authority };
  set = { ...given, otherAddress: await issue('otherAddress', names, given.directory) };
});

afterAll(async () => {
  for (const server of servers.values()) await server.close();
});

/** One server for each mode and certificate, for all cells. */
async function serverFor(cell: Cell): Promise<TestServer> {
  const certificate = shown(cell, set);
  const name = `${cell.mode} ${certificate.certFile}`;
  const server =
    servers.get(name) ??
    (await startServer({
      accounts: { taro: { password: PASSWORD } },
      tls: cell.mode,
      certificate,
      overrides: {
        CAPA: (session) => answerCapa(current, session) as Reply,
        STLS: async (session) => (await answerStls(current, session)) as Reply | undefined,
      },
    }));
  servers.set(name, server);
  return server;
}

function settingsFor(cell: Cell, { host, port }: TestServer): SessionSettings {
  const { certificate, mode, pin, elsewhere, insecure } = cell;
  const pinned = fingerprint((pin === 'pinned' ? shown(cell, set) : set.authority).cert);
  return {
    ...{ host, port },
    tls: {
      mode,
      minVersion: 'TLSv1.2',
      ca: certificate === 'of an unknown authority' ? undefined : set.authority.certFile,
      pin: pin === 'not pinned' ? undefined : [pinned],
    },
    timeouts: { connect: 20_000, reply: 20_000, idle: 20_000 },
    signal: new AbortController().signal,
    credentials: () => Promise.resolve({ user: 'taro', password: PASSWORD, method: 'auto', insecure }),
    authorities: () => Promise.resolve(undefined),
    ...(elsewhere ? { connect: connectElsewhere } : {}),
  };
}

async function outcomeOf(settings: SessionSettings): Promise<string> {
  try {
    const client = await openSession(settings);
    client.close();
    return 'logged in';
  } catch (error) {
    return error instanceof PopfetchError ? error.code : String(error);
  }
}

describe('TLS is not talked down [1] [2] [3] [4] [5] [7] [9] [33]', () => {
  it.each(cells().map((cell) => [title(cell), outcome(cell), cell] as const))(
    '%s: %s',
    async (_, expected, cell) => {
      current = cell;
      const server = await serverFor(cell);
      const before = server.sessions.length;
      expect(await outcomeOf(settingsFor(cell, server))).toBe(expected);
      const sessions = server.sessions.slice(before);
      const overheard = sessions.map((session) => session.overheard).join('');
      const said = SECRETS.filter((secret) => overheard.includes(secret));
      // Where it may go in clear it does, so this counts something.
      const allowed = cell.mode === 'none' && expected === 'logged in';
      expect(said.length > 0).toBe(allowed);
      expect(/USER|PASS|AUTH|taro/i.test(overheard)).toBe(allowed);
      // One that hung up on CAPA has been asked once more without it, if it came to CAPA at all.
      const again = cell.capa === 'dropped' && !(cell.mode === 'implicit' && expected === 'TLS');
      if (expected !== 'logged in') expect(sessions).toHaveLength(again ? 2 : 1);
    },
  );
});
