/** `oauth2` and `auth` in a config: what goes together, where a token comes from, and that none is shown. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mask } from '../src/config/print.js';
import { readToken } from '../src/config/secrets.js';
import type { PopfetchError } from '../src/errors.js';
import { ConfigHome } from './support/config-file.js';

let home: ConfigHome;
beforeAll(async () => {
  home = await ConfigHome.create();
});
afterAll(() => home.remove());

const oauth2 = { command: ['oama', 'access', 'taro@example.com'] };
const token = { password: undefined, oauth2 };

describe('an account with oauth2', () => {
  it.each(['auto', 'xoauth2', 'oauthbearer'])('needs no password with auth: %s', async (auth) => {
    const account = await home.account({ ...token, auth });
    expect([account.auth, account.oauth2, account.password]).toEqual([auth, oauth2, undefined]);
  });

  it('is printed as it would be written', async () => {
    const config = await home.load(JSON.stringify({ accounts: { work: { host: 'h', user: 'u', deliver: 'stdout', oauth2 } } }), 'config.json'); // prettier-ignore
    expect(mask(config)).toMatchObject({ accounts: { work: { oauth2 } } });
    expect(JSON.stringify(mask(config))).not.toContain('password');
  });

  it('takes the place of a password of the defaults, and gives way to a password', async () => {
    const load = (defaults: object, own: object): Promise<object | undefined> =>
      home
        .load(
          JSON.stringify({ defaults, accounts: { a: { host: 'h', user: 'u', deliver: 'stdout', ...own } } }),
          'config.json',
        )
        .then(({ accounts }) => accounts[0]);
    const password = { env: 'PW' };
    expect(await load({ password }, { oauth2 })).toMatchObject({ oauth2, password: undefined });
    expect(await load({ oauth2 }, { password })).toMatchObject({ oauth2: undefined, password });
    expect(await load({ oauth2 }, {})).toMatchObject({ oauth2, password: undefined });
  });

  it.each([
    [{ oauth2 }, '.oauth2: stands beside a password (expected one of password and oauth2)'],
    [
      { ...token, auth: 'plain' },
      '.auth: plain has no use for an access token (expected auth: auto, oauthbearer or xoauth2, or a password in place of oauth2)',
    ],
    [
      { auth: 'xoauth2' },
      '.auth: xoauth2 needs an access token (expected oauth2: {command: [PROGRAM, ARGUMENT]} in place of the password)',
    ],
    [
      { ...token, host: 'pop.example.com', tls: 'none' },
      '.tls: would send the access token to pop.example.com unencrypted (expected tls: implicit or tls: starttls; "insecure: true" allows it all the same)',
    ],
    [{ password: undefined, oauth2: {} }, '.oauth2: ******** is not valid (expected command, with a program that prints an access token)'], // prettier-ignore
    // A token by mistake is shown no more than a password.
    [{ password: undefined, oauth2: 'ya29.secret' }, '.oauth2: ******** is not valid (expected command, with a program that prints an access token)'], // prettier-ignore
    [{ password: undefined, oauth2: { 'ya29.secret': null } }, '.oauth2: unknown key (expected one of command)'], // prettier-ignore
  ])('%o is a mistake', async (fields, problem) => {
    expect(await home.faults(fields)).toEqual([problem]);
  });
});

it('auth: external needs neither', async () => {
  expect(await home.account({ password: undefined, auth: 'external' })).toMatchObject({
    password: undefined,
    auth: 'external',
  });
});

describe('a token', () => {
  const read = (script: string): Promise<string> =>
    readToken(
      { command: ['sh', '-c', script] },
      {
        env: { PATH: process.env['PATH'] },
        account: { name: 'work', host: 'pop.example.com', user: 'taro' },
      },
    );

  it('is the first line that the program prints', async () => {
    expect(await read('echo ya29.token; echo expires in an hour')).toBe('ya29.token');
    const long = 'x'.repeat(5000);
    expect(await read(`echo ${long}`)).toBe(long);
  });

  it.each([
    [
      'echo ya29.secret; echo oops ya29.secret >&2; exit 1',
      'the token command sh ended with status 1: oops ********',
    ],
    ['exit 0', 'the output of the token command sh is empty'],
  ])('that cannot be had (%s) is a problem of the account, and is not shown', async (script, message) => {
    const error = await read(script).catch((thrown: unknown) => thrown as PopfetchError);
    expect(error).toMatchObject({ code: 'CONFIG', account: 'work', phase: 'config', message });
  });
});
