/** Every way to log in that a real Dovecot offers. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Credentials } from '../src/pop3/client.js';
import { Pop3Client } from '../src/pop3/client.js';
import { openSession } from '../src/pop3/open.js';
import type { PopfetchError } from '../src/errors.js';
import { findDovecot, startDovecot, type Dovecot } from './support/dovecot.js';
import { plain } from './support/messages.js';

const SASL = ['cram-md5', 'scram-sha-1', 'scram-sha-256', 'xoauth2', 'oauthbearer'] as const;
const TOKENS: readonly string[] = ['xoauth2', 'oauthbearer'];
const WAYS = ['user', 'apop', 'plain', 'login', ...SASL] as const;

const USERS = {
  taro: 'himitsu-no-kotoba',
  blank: ' two  words ',
  kanji: 'ひみつ pässwörd',
  long: 'p'.repeat(1000),
} as const;

describe.skipIf(findDovecot() === undefined)('with Dovecot', () => {
  let dovecot: Dovecot;
  beforeAll(async () => {
    const users = Object.entries(USERS).map(([user, password]) => [user, { password, messages: [plain(1)] }]);
    const mechanisms = SASL;
    dovecot = await startDovecot({ apop: true, mechanisms, users: Object.fromEntries(users) as Users });
  });
  afterAll(() => dovecot.close());
  type Users = Parameters<typeof startDovecot>[0]['users'];

  /** Logs in; the method that did it, or the error. */
  async function logIn(
    method: Credentials['method'],
    user: string,
    secret: string,
  ): Promise<string | PopfetchError> {
    const own = TOKENS.includes(method) ? { token: secret } : { password: secret };
    const session = openSession({
      ...{ host: 'localhost', port: dovecot.tlsPort, signal: new AbortController().signal },
      tls: { mode: 'implicit', ca: dovecot.ca, minVersion: 'TLSv1.2' },
      timeouts: { connect: 20_000, reply: 20_000, idle: 20_000 },
      credentials: () => Promise.resolve({ user, method, insecure: false, ...own }),
    });
    const client = await session.catch((error: unknown) => error as PopfetchError);
    if (!(client instanceof Pop3Client)) return client;
    expect((await client.list()).messages).toHaveLength(1);
    await client.quit();
    return client.method ?? '';
  }

  it('auto takes the strongest way', async () => {
    expect(await logIn('auto', 'taro', USERS.taro)).toBe('scram-sha-256');
  });

  describe.each(WAYS)('auth: %s', (way) => {
    it('logs in', async () => {
      expect(await logIn(way, 'taro', USERS.taro)).toBe(way);
    });

    it('is refused with a wrong secret, which is told', async () => {
      const error = await logIn(way, 'taro', 'wrong-secret');
      expect(error).toMatchObject({ code: 'AUTH', phase: 'login', exit: 77 });
      expect((error as PopfetchError).message).toContain(TOKENS.includes(way) ? 'access token' : 'login');
    });

    const carried = (['blank', 'kanji', 'long'] as const).filter((user) => {
      // A token has neither blanks nor letters beyond ASCII, and PASS has no room for a thousand.
      return TOKENS.includes(way) ? user === 'long' : way !== 'user' || user !== 'long';
    });

    it.each(carried)('logs in with the secret of %s', async (user) => {
      expect(await logIn(way, user, USERS[user])).toBe(way);
    });
  });

  it('PASS says of a secret of a thousand letters that it is too long', async () => {
    expect(await logIn('user', 'long', USERS.long)).toMatchObject({
      message: 'a command longer than 255 octets was not sent',
      remedy: 'the user name or password is too long for this way to log in; try another auth',
    });
  });
});
