import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isLoopback } from '../src/config/contradictions.js';
import { jsonSchema } from '../src/config/schema.js';
import { ConfigHome, oneAccount } from './support/config-file.js';

let home: ConfigHome;
beforeAll(async () => {
  home = await ConfigHome.create();
});
afterAll(() => home.remove());

const PIN = 'ab'.repeat(32);

describe('an account', () => {
  it('has every default when only what is required is given', async () => {
    expect(await home.account({})).toEqual({
      name: 'work',
      host: 'pop.example.com',
      port: 995,
      tls: { mode: 'implicit', minVersion: 'TLSv1.2' },
      user: 'taro',
      password: { env: 'PW' },
      auth: 'auto',
      insecure: false,
      deliver: ['stdout'],
      delete: 'never',
      limit: 0,
      maxSize: 268_435_456,
      order: 'oldest',
      eol: 'lf',
      identity: 'uidl',
      timeout: { connect: 30_000, reply: 60_000, idle: 60_000, session: 3_600_000, deliver: 300_000 },
      disabled: false,
    });
  });

  it('takes every field', async () => {
    const fields = {
      host: '::1',
      port: 1995,
      tls: {
        mode: 'starttls',
        ca: '/ca.pem',
        pin: `sha256:${PIN}`,
        minVersion: 'TLSv1.3',
        servername: 'pop.example',
      },
      user: 'taro@example.com',
      password: 'correct horse',
      auth: 'plain',
      insecure: true,
      deliver: [
        { maildir: '/m' },
        { mbox: '/b' },
        { command: ['maildrop', '-d', ''] },
        { lmtp: 'mail.example.com:24', recipient: ['taro', 'hanako@example.com'] },
        'stdout',
      ],
      rejected: '/r',
      delete: '30d',
      limit: 7,
      maxSize: '20MiB',
      order: 'smallest',
      eol: 'crlf',
      identity: 'hash',
      timeout: { connect: '1s', reply: '2s', idle: '500ms', session: '1h', deliver: '3s' },
      disabled: true,
    };
    expect(await home.account(fields)).toEqual({
      ...fields,
      name: 'work',
      tls: { ...fields.tls, pin: [PIN] },
      password: { value: 'correct horse' },
      delete: 2_592_000_000,
      maxSize: 20_971_520,
      timeout: { connect: 1000, reply: 2000, idle: 500, session: 3_600_000, deliver: 3000 },
    });
  });

  it.each([
    ['implicit', 995],
    ['starttls', 110],
    [{ mode: 'starttls' }, 110],
    [{}, 995],
  ])('with tls %j uses port %d', async (tls, port) => {
    expect((await home.account({ tls })).port).toBe(port);
  });

  it('uses port 110 without encryption', async () => {
    expect((await home.account({ tls: 'none', host: 'localhost' })).port).toBe(110);
  });

  it('reads pins in any case, with colons, one or several', async () => {
    const colons = `sha256:${PIN.toUpperCase().match(/../g)!.join(':')}`;
    expect((await home.account({ tls: { pin: colons } })).tls.pin).toEqual([PIN]);
    expect((await home.account({ tls: { pin: [colons, `sha256:${PIN}`] } })).tls.pin).toEqual([PIN, PIN]);
  });

  it('takes one destination without a list', async () => {
    expect((await home.account({ deliver: { mbox: '/b' } })).deliver).toEqual([{ mbox: '/b' }]);
  });

  it('takes the arguments of a command as they are: no shell, no paths', async () => {
    const command = ['~/bin/filter', '$HOME', '*', '', 'a b'];
    expect((await home.account({ deliver: { command } })).deliver).toEqual([{ command }]);
  });

  it.each([
    ['127.0.0.1:24', '127.0.0.1:24'],
    ['[::1]:24', '[::1]:24'],
    ['mail.example.com:65535', 'mail.example.com:65535'],
    ['/run/lmtp', '/run/lmtp'],
    ['~/lmtp', undefined],
    ['./lmtp', undefined],
  ])('takes %s as the place of an LMTP server', async (lmtp, place = home.path('lmtp')) => {
    const { deliver } = await home.account({ deliver: { lmtp, recipient: 'taro' } });
    expect(deliver).toEqual([{ lmtp: place, recipient: ['taro'] }]);
  });

  it('takes the password from a file, a variable or a command', async () => {
    expect((await home.account({ password: { file: 'pw' } })).password).toEqual({ file: home.path('pw') });
    expect((await home.account({ password: { command: ['pass', 'show', ''] } })).password).toEqual({
      command: ['pass', 'show', ''],
    });
  });

  it.each([{ keyring: true }, { netrc: true }, { credential: 'work' }, { credential: '..work pop.example' }])(
    'takes the password from %j',
    async (password) => {
      expect((await home.account({ password })).password).toEqual(password);
    },
  );

  it('takes an account without a password, for which a person is asked', async () => {
    expect((await home.account({ password: undefined })).password).toBeUndefined();
  });

  it('keeps the order of the file', async () => {
    const names = ['zulu', 'alpha', 'mike'];
    const accounts = Object.fromEntries(names.map((name) => [name, { user: name }]));
    const defaults = { host: 'h', password: { env: 'PW' }, deliver: 'stdout' };
    const config = await home.load(JSON.stringify({ parallel: 2, defaults, accounts }), 'config.json');
    expect(config.accounts.map(({ name }) => name)).toEqual(names);
    expect(config.parallel).toBe(2);
    expect(config.file).toBe(home.path('config.json'));
  });
});

describe('defaults', () => {
  const load = (defaults: object, own: object) =>
    home
      .load(JSON.stringify({ defaults, ...oneAccount(own) }), 'config.json')
      .then(({ accounts }) => accounts[0]!);

  it('are what an account does not set', async () => {
    const account = await load(
      { limit: 3, order: 'newest', deliver: { maildir: '/d' } },
      { order: 'smallest' },
    );
    expect(account).toMatchObject({ limit: 3, order: 'smallest', deliver: ['stdout'] });
  });

  it('of tls and timeout are completed field by field', async () => {
    const account = await load(
      { tls: { ca: '/ca.pem', mode: 'starttls' }, timeout: { connect: '1s', idle: '2s' } },
      { tls: { mode: 'implicit' }, timeout: { idle: '3s' } },
    );
    expect(account.tls).toEqual({ mode: 'implicit', ca: '/ca.pem', minVersion: 'TLSv1.2' });
    expect(account.timeout).toEqual({
      ...{ connect: 1000, reply: 60_000, idle: 3000 },
      ...{ session: 3_600_000, deliver: 300_000 },
    });
  });

  it('of tls give way wholly to a word', async () => {
    expect((await load({ tls: { ca: '/ca.pem' } }, { tls: 'starttls' })).tls).toEqual({
      mode: 'starttls',
      minVersion: 'TLSv1.2',
    });
  });

  it('of the password are replaced, not mixed', async () => {
    expect((await load({ password: { file: '/pw' } }, { password: { env: 'PW' } })).password).toEqual({
      env: 'PW',
    });
  });

  it('may give what is required', async () => {
    const text =
      'defaults: {host: h, password: {env: PW}, deliver: stdout}\naccounts:\n  a: {user: u}\n  b: {user: v}\n';
    expect((await home.load(text)).accounts.map(({ user, host }) => `${user}@${host}`)).toEqual([
      'u@h',
      'v@h',
    ]);
  });

  it('may be empty', async () => {
    const text = 'defaults:\naccounts:\n  a: {host: h, user: u, password: {env: PW}, deliver: stdout}\n';
    expect((await home.load(text)).accounts).toHaveLength(1);
  });
});

describe('paths', () => {
  const env = { MAIL: '/var/mail', USER: 'taro', EMPTY: '', BAD: 'a\nb' };
  const maildir = async (path: string) =>
    (await home.account({ deliver: { maildir: path } }, { env })).deliver[0];

  it.each([
    ['~', ''],
    ['~/Mail', '/Mail'],
    ['Mail', '/Mail'],
    ['./a/../Mail', '/Mail'],
    ['cost$', '/cost$'],
    ['a~b', '/a~b'],
  ])('%s is below the home or the directory of the file', async (path, below) => {
    expect(await maildir(path)).toEqual({ maildir: home.home + below });
  });

  it.each([
    ['$MAIL/$USER', '/var/mail/taro'],
    ['${MAIL}/x${USER}y', '/var/mail/xtaroy'],
    ['/plain', '/plain'],
  ])('%s is %s', async (path, expected) => {
    expect(await maildir(path)).toEqual({ maildir: expected });
  });

  it.each([
    ['$NOPE/x', '"$NOPE/x" is not valid (expected the environment variable "NOPE" to be set)'],
    ['${EMPTY}/x', '"${EMPTY}/x" is not valid (expected the environment variable "EMPTY" to be set)'],
    ['$BAD', '"$BAD" is not valid (expected variables without line breaks or NUL)'],
    [
      '~hanako/x',
      '"~hanako/x" is not valid (expected "~/" or that home directory in full: "~name" is not expanded)',
    ],
    ['a\nb', '"a\\nb" is not valid (expected a path on one line)'],
  ])('%j is refused', async (path, expected) => {
    expect(await home.faults({ deliver: { maildir: path } }, { env })).toEqual([
      `.deliver.maildir: ${expected}`,
    ]);
    expect(await home.faults({ password: { file: path } }, { env })).toHaveLength(1);
  });

  it('are expanded in tls.ca, mbox, lmtp, rejected and password.file too', async () => {
    const account = await home.account(
      {
        tls: { ca: '~/ca' },
        deliver: [{ mbox: '$MAIL/t' }, { lmtp: '$MAIL/socket', recipient: 'taro' }],
        rejected: 'rejected',
        password: { file: 'pw' },
      },
      { env },
    );
    expect(account.tls.ca).toBe(home.path('ca'));
    expect(account.deliver).toEqual([
      { mbox: '/var/mail/t' },
      { lmtp: '/var/mail/socket', recipient: ['taro'] },
    ]);
    expect(account.rejected).toBe(home.path('rejected'));
    expect(account.password).toEqual({ file: home.path('pw') });
  });
});

describe('a field is refused with what is expected', () => {
  const HOST = 'a host name or an address, without the port';
  const TIMEOUT = 'a duration of at most 24d, such as 90s or 5m';
  const SIZE = 'a size such as 20MiB, 256KiB or 1000000';
  const DESTINATION =
    'one of {maildir: PATH}, {mbox: PATH}, {command: [PROGRAM, ARGUMENT]}, {lmtp: ADDRESS, recipient: USER}, stdout';
  const PROGRAM = 'a list of the program and its arguments, such as [maildrop, -d, taro]';
  const LMTP = 'HOST:PORT, [ADDRESS]:PORT, or the path of a socket';
  const RECIPIENT = 'an address such as taro@example.com, or a list of them';
  const PASSWORD =
    'the password as text in quotes and on one line, or one of env, file, command, keyring, netrc, credential';
  const COMMAND = 'a list of the program and its arguments, such as [pass, show, mail/work]';
  const DELETE = 'never, delivered, or a duration such as 30d';
  it.each<[object, string]>([
    [{ host: '' }, `.host: "" is not valid (expected ${HOST})`],
    [{ host: 'pop.example.com:995' }, `.host: "pop.example.com:995" is not valid (expected ${HOST})`],
    [{ host: 'a b' }, `.host: "a b" is not valid (expected ${HOST})`],
    [{ host: 'a\r\nQUIT' }, `.host: "a\\r\\nQUIT" is not valid (expected ${HOST})`],
    [{ host: undefined }, '.host: missing (expected a host name or an address)'],
    [{ port: 99_999 }, '.port: 99999 is not valid (expected a port, 1 to 65535)'],
    [{ port: '995' }, '.port: "995" is not valid (expected a port, 1 to 65535)'],
    [{ port: 0 }, '.port: 0 is not valid (expected a port, 1 to 65535)'],
    [{ user: 'a\0b' }, '.user: "a\\u0000b" is not valid (expected the user name, on one line)'],
    [{ user: 'a\nb' }, '.user: "a\\nb" is not valid (expected the user name, on one line)'],
    [{ user: null }, '.user: an empty value is not valid (expected the user name, on one line)'],
    [{ password: 12_345 }, `.password: ******** is not valid (expected ${PASSWORD})`],
    [{ password: 'hunter2\n' }, `.password: ******** is not valid (expected ${PASSWORD})`],
    [{ password: 'hun\0ter2' }, `.password: ******** is not valid (expected ${PASSWORD})`],
    [{ password: '' }, `.password: ******** is not valid (expected ${PASSWORD})`],
    [{ password: {} }, `.password: ******** is not valid (expected ${PASSWORD})`],
    [{ password: { env: 'A', file: 'b' } }, `.password: ******** is not valid (expected ${PASSWORD})`],
    [
      { password: { hunter2: null } },
      '.password: unknown key (expected one of env, file, command, keyring, netrc, credential)',
    ],
    [{ password: null }, `.password: ******** is not valid (expected ${PASSWORD})`],
    [{ password: { keyring: 'hunter2' } }, '.password.keyring: ******** is not valid (expected true)'],
    [{ password: { keyring: false } }, '.password.keyring: ******** is not valid (expected true)'],
    [{ password: { netrc: '~/.netrc' } }, '.password.netrc: ******** is not valid (expected true)'],
    [{ password: { keyring: true, netrc: true } }, `.password: ******** is not valid (expected ${PASSWORD})`],
    [{ password: { key_ring: true } }, '.password: unknown key; did you mean "keyring"?'],
    [{ password: { credentials: 'hunter2' } }, '.password: unknown key; did you mean "credential"?'],
    ...['', '.', '..', '../hunter2', 'a/b', '/etc/shadow', 'a\nb', 'a\0b', 3].map(
      (credential): [object, string] => [
        { password: { credential } },
        '.password.credential: ******** is not valid (expected the name of a credential, without a slash, such as work)',
      ],
    ),
    [{ password: { comand: ['hunter2'] } }, '.password: unknown key; did you mean "command"?'],
    [
      { password: { command: 'pass show hunter2' } },
      `.password.command: ******** is not valid (expected ${COMMAND})`,
    ],
    [{ password: { command: [] } }, `.password.command: ******** is not valid (expected ${COMMAND})`],
    [
      { password: { command: ['a', 1] } },
      `.password.command[1]: ******** is not valid (expected ${COMMAND})`,
    ],
    [{ auth: 'PLAIN' }, '.auth: "PLAIN" is not valid; did you mean "plain"?'],
    [
      { auth: 'ntlm' },
      '.auth: "ntlm" is not valid (expected auto, user, apop, plain, login, cram-md5, scram-sha-1, scram-sha-1-plus, scram-sha-256, scram-sha-256-plus, external, xoauth2 or oauthbearer)',
    ],
    [{ insecure: 'yes' }, '.insecure: "yes" is not valid (expected true or false)'],
    [{ tls: 'startls' }, '.tls: "startls" is not valid; did you mean "starttls"?'],
    [{ tls: true }, '.tls: true is not valid (expected implicit, starttls, none, or a mapping)'],
    [{ tls: { mod: 'none' } }, '.tls.mod: unknown key; did you mean "mode"?'],
    [{ tls: { minVersion: 'TLSv1' } }, '.tls.minVersion: "TLSv1" is not valid (expected TLSv1.2 or TLSv1.3)'],
    [
      { tls: { pin: 'sha256:abc' } },
      '.tls.pin: "sha256:abc" is not valid (expected "sha256:" and 64 hexadecimal digits, or a list of them)',
    ],
    [
      { tls: { pin: [] } },
      '.tls.pin: an empty list is not valid (expected "sha256:" and 64 hexadecimal digits, or a list of them)',
    ],
    [{ tls: { servername: 'a\nb' } }, '.tls.servername: "a\\nb" is not valid (expected a host name)'],
    [
      { tls: { cert: 'x' } },
      '.tls.cert: unknown key (expected one of mode, ca, pin, minVersion, servername)',
    ],
    [{ deliver: 'stdot' }, '.deliver: "stdot" is not valid; did you mean "stdout"?'],
    [
      { deliver: [] },
      `.deliver: an empty list is not valid (expected ${DESTINATION.slice('one of '.length)}, or a list of them)`,
    ],
    [{ deliver: {} }, `.deliver: an empty mapping is not valid (expected ${DESTINATION})`],
    [
      { deliver: { maildir: '/a', mbox: '/b' } },
      `.deliver: a mapping is not valid (expected ${DESTINATION})`,
    ],
    [{ deliver: { comand: ['sh'] } }, '.deliver.comand: unknown key; did you mean "command"?'],
    [{ deliver: { command: [] } }, `.deliver.command: an empty list is not valid (expected ${PROGRAM})`],
    [{ deliver: { command: 'sh x' } }, `.deliver.command: "sh x" is not valid (expected ${PROGRAM})`],
    [{ deliver: { command: [''] } }, `.deliver.command: a list is not valid (expected ${PROGRAM})`],
    [{ deliver: { command: ['a\0'] } }, `.deliver.command[0]: "a\\u0000" is not valid (expected ${PROGRAM})`],
    [
      { deliver: { command: ['a'], maildir: '/a' } },
      `.deliver: a mapping is not valid (expected ${DESTINATION})`,
    ],
    ...['localhost', 'localhost:0', 'localhost:65536', '::1:24', 'a b:24', 'lmtp.sock'].map(
      (lmtp): [object, string] => [
        { deliver: { lmtp, recipient: 'taro' } },
        `.deliver.lmtp: "${lmtp}" is not valid (expected ${LMTP})`,
      ],
    ),
    ...['', '<taro>', 'a b', 'a@b@c', 'a\\b', 'a\u202e'].map((recipient): [object, string] => [
      { deliver: { lmtp: 'localhost:24', recipient } },
      `.deliver.recipient: ${shown(recipient)} is not valid (expected ${RECIPIENT})`,
    ]),
    [
      { deliver: { lmtp: 'localhost:24', recipient: [] } },
      `.deliver.recipient: an empty list is not valid (expected ${RECIPIENT})`,
    ],
    [{ deliver: { lmtp: 'localhost:24' } }, `.deliver: a mapping is not valid (expected ${DESTINATION})`],
    [{ deliver: { recipient: 'taro' } }, `.deliver: a mapping is not valid (expected ${DESTINATION})`],
    [
      { deliver: { maildir: '/a', recipient: 'taro' } },
      `.deliver: a mapping is not valid (expected ${DESTINATION})`,
    ],
    [{ rejected: '' }, '.rejected: "" is not valid (expected a path on one line)'],
    [
      { rejected: '/r' },
      '.rejected: has no effect (expected a command or lmtp in "deliver": nothing else refuses a message for good)',
    ],
    [
      { rejected: '/m', deliver: [{ maildir: '/m' }, { command: ['maildrop'] }] },
      '.rejected: is a destination in "deliver" too (expected a Maildir of its own, so that refused messages can be found)',
    ],
    [{ identity: 'uid' }, '.identity: "uid" is not valid; did you mean "uidl"?'],
    [{ identity: 'header' }, '.identity: "header" is not valid (expected uidl or hash)'],
    [
      { deliver: ['stdout', { mailbox: '/a' }] },
      '.deliver[1].mailbox: unknown key (expected one of maildir, mbox, command, lmtp, recipient)',
    ],
    [
      { deliver: [{ mbox: '/a' }, { mbox: '/a' }] },
      '.deliver[1]: in the list twice (expected each destination once)',
    ],
    [{ delete: 'nver' }, `.delete: "nver" is not valid; did you mean "never"?`],
    [{ delete: 30 }, `.delete: 30 is not valid (expected ${DELETE})`],
    [{ delete: '30' }, `.delete: "30" is not valid (expected ${DELETE})`],
    [{ limit: -1 }, '.limit: -1 is not valid (expected a whole number, 0 or more)'],
    [{ limit: 1.5 }, '.limit: 1.5 is not valid (expected a whole number, 0 or more)'],
    [{ maxSize: '20XB' }, `.maxSize: "20XB" is not valid (expected ${SIZE})`],
    [{ maxSize: 0 }, `.maxSize: 0 is not valid (expected ${SIZE})`],
    [{ maxSize: '0' }, `.maxSize: "0" is not valid (expected ${SIZE})`],
    [{ maxSize: '999999999999999GiB' }, `.maxSize: "999999999999999GiB" is not valid (expected ${SIZE})`],
    [{ order: 'largest' }, '.order: "largest" is not valid (expected oldest, newest or smallest)'],
    [{ eol: 'cr' }, '.eol: "cr" is not valid (expected lf or crlf)'],
    [
      { timeout: '30s' },
      '.timeout: "30s" is not valid (expected a mapping of connect, reply, idle, session, deliver to durations)',
    ],
    [{ timeout: { reply: 30 } }, `.timeout.reply: 30 is not valid (expected ${TIMEOUT})`],
    [{ timeout: { reply: '0s' } }, `.timeout.reply: "0s" is not valid (expected ${TIMEOUT})`],
    [{ timeout: { deliver: '0s' } }, `.timeout.deliver: "0s" is not valid (expected ${TIMEOUT})`],
    [{ timeout: { session: '25d' } }, `.timeout.session: "25d" is not valid (expected ${TIMEOUT})`],
    [{ disabled: 1 }, '.disabled: 1 is not valid (expected true or false)'],
    [
      { proxy: 'socks5://u:hunter2@h' },
      '.proxy: unknown key (expected one of host, port, tls, user, password, oauth2, auth, insecure, deliver, rejected, delete, limit, maxSize, order, eol, identity, timeout, disabled)',
    ],
    [{ prot: 995 }, '.prot: unknown key; did you mean "port"?'],
    [{ 'max-size': 1 }, '.max-size: unknown key; did you mean "maxSize"?'],
    [{ username: 'x' }, '.username: unknown key; did you mean "user"?'],
    [{ ssl: true }, '.ssl: unknown key; did you mean "tls"?'],
    [
      { 'password:hunter2': null },
      '."password...": unknown key (expected one of host, port, tls, user, password, oauth2, auth, insecure, deliver, rejected, delete, limit, maxSize, order, eol, identity, timeout, disabled)',
    ],
  ])('%j', async (fields, expected) => {
    expect(await home.faults(fields)).toEqual([expected]);
  });

  it('whatever character outside of printable text its value holds', async () => {
    const [line] = await home.faults({ user: '\u001b[31m\u202e\nx' });
    expect(line).toBe('.user: "\\u001b[31m\ufffd\\nx" is not valid (expected the user name, on one line)');
  });

  it('and shows no more than 60 characters of it', async () => {
    const [line] = await home.faults({ order: 'x'.repeat(100_000) });
    expect(line).toBe(`.order: "${'x'.repeat(57)}..." is not valid (expected oldest, newest or smallest)`);
  });
});

/** A value as a problem shows it. */
function shown(value: string): string {
  return JSON.stringify(value).replace('\u202e', '\ufffd');
}

describe('names of accounts', () => {
  const account = { host: 'h', user: 'u', password: { env: 'PW' }, deliver: 'stdout' };
  const named = (name: string) => JSON.stringify({ accounts: { [name]: account } });

  it.each(['a', 'work', 'a.b@c', 'メール', '1', 'x'.repeat(64)])('may be %s', async (name) => {
    expect((await home.load(named(name), 'config.json')).accounts[0]?.name).toBe(name);
  });

  it.each(['', '-a', 'a b', 'a/b', 'a*', 'a?', 'a[b', 'a\nb', 'a\u200bb', '\u202ea', 'x'.repeat(65)])(
    'may not be %j',
    async (name) => {
      const [line, ...more] = await home.problems(named(name), 'config.json');
      expect(more).toEqual([]);
      expect(line).toContain(
        'not a valid name (expected a name of 1 to 64 printable characters, without blanks and / * ? [, and not starting with -)',
      );
    },
  );
});

describe('what is right by itself and wrong together', () => {
  it.each(['pop.example.com', '10.0.0.1', '127.0.0.1.example.com', '::2', '1'])(
    'a password in clear to %s needs a permission',
    async (host) => {
      expect(await home.faults({ host, tls: 'none' })).toEqual([
        `.tls: would send the password to ${host} unencrypted (expected tls: implicit or tls: starttls, or auth: scram-sha-256 or apop; "insecure: true" allows it all the same)`,
      ]);
      expect((await home.account({ host, tls: 'none', insecure: true })).tls.mode).toBe('none');
      for (const auth of ['apop', 'cram-md5', 'scram-sha-1', 'scram-sha-256'])
        expect((await home.account({ host, tls: 'none', auth })).tls.mode).toBe('none');
    },
  );

  it.each(['localhost', 'LOCALHOST.', '127.0.0.1', '127.255.255.254', '::1', '0:0:0:0:0:0:0:1'])(
    'a password in clear to %s needs none',
    async (host) => {
      expect(isLoopback(host)).toBe(true);
      expect((await home.account({ host, tls: 'none', auth: 'user' })).host).toBe(host);
    },
  );

  it('trust in a certificate without encryption', async () => {
    const tls = { mode: 'none', ca: '/ca.pem', pin: `sha256:${PIN}` };
    expect(await home.faults({ host: 'localhost', tls })).toEqual([
      '.tls.ca: has no effect without encryption (expected tls mode implicit or starttls)',
      '.tls.pin: has no effect without encryption (expected tls mode implicit or starttls)',
    ]);
  });

  it('two accounts that read one mailbox', async () => {
    const text = `accounts:
  one: {host: pop.example.com, user: u, password: {env: PW}, deliver: stdout}
  two: {host: POP.example.com, user: u, password: {env: PW}, deliver: {mbox: /b}}
  other: {host: pop.example.com, port: 1, user: u, password: {env: PW}, deliver: stdout}
`;
    expect(await home.problems(text)).toEqual([
      'config.yaml:3: accounts.two: reads the same mailbox as accounts.one (expected one account for each host, port and user; to store its mail twice, use a list in "deliver")',
    ]);
  });

  it('but not two accounts that share a destination', async () => {
    const text = `defaults: {host: h, password: {env: PW}, deliver: [{mbox: /b}, {maildir: /m}]}
accounts:
  one: {user: u}
  two: {user: v}
`;
    expect((await home.load(text)).accounts).toHaveLength(2);
  });
});

describe('the JSON Schema', () => {
  interface Schema {
    readonly description?: string;
    readonly properties?: Readonly<Record<string, Schema>>;
    readonly additionalProperties?: Schema | boolean;
    readonly anyOf?: readonly Schema[];
    readonly items?: Schema;
    readonly [key: string]: unknown;
  }
  const schema = jsonSchema() as Schema;
  const account = schema.properties?.['accounts']?.additionalProperties as Schema;

  function parts(part: Schema): Schema[] {
    const { additionalProperties: rest, items } = part;
    const below = [...Object.values(part.properties ?? {}), ...(part.anyOf ?? []), ...(items ? [items] : [])];
    return [part, ...[...below, ...(typeof rest === 'object' ? [rest] : [])].flatMap(parts)];
  }

  it('is draft 2020-12 and says what it is', () => {
    expect(schema['$schema']).toBe('https://json-schema.org/draft/2020-12/schema');
    expect(schema['title']).toBe('popfetch configuration');
  });

  it('describes every key and allows no other', () => {
    const mappings = parts(schema).filter(({ properties }) => properties !== undefined);
    expect(mappings.length).toBeGreaterThan(10);
    for (const { properties = {}, additionalProperties } of mappings) {
      expect(additionalProperties).toBe(false);
      for (const [key, { description }] of Object.entries(properties))
        expect(description, key).toMatch(/\w{3}/);
    }
  });

  it('knows the fields of an account, for each account and for the defaults', () => {
    expect(Object.keys(account.properties ?? {})).toEqual([
      ...[
        'host',
        'port',
        'tls',
        'user',
        'password',
        'oauth2',
        'auth',
        'insecure',
        'deliver',
        'rejected',
        'delete',
        'limit',
        'maxSize',
      ],
      ...['order', 'eol', 'identity', 'timeout', 'disabled'],
    ]);
    expect(schema.properties?.['defaults']?.properties).toEqual(account.properties);
  });

  it('says which fields of a destination go together', () => {
    const [destination] = parts(account.properties?.['deliver'] ?? {}).filter(
      ({ properties = {} }) => 'lmtp' in properties,
    );
    expect(Object.keys(destination?.properties ?? {})).toEqual([
      ...['maildir', 'mbox', 'command', 'lmtp', 'recipient'],
    ]);
    expect(destination).toMatchObject({
      minProperties: 1,
      maxProperties: 2,
      dependentRequired: { lmtp: ['recipient'], recipient: ['lmtp'] },
    });
    expect(destination?.properties?.['command']).toMatchObject({ type: 'array', minItems: 1 });
  });

  it('states the defaults as they are written in a file', async () => {
    const stated = Object.fromEntries(
      Object.entries(account.properties ?? {}).flatMap(([key, { default: value }]) =>
        value === undefined ? [] : [[key, value]],
      ),
    );
    expect(stated).toMatchObject({
      tls: 'implicit',
      delete: 'never',
      maxSize: '256MiB',
      limit: 0,
      auth: 'auto',
      identity: 'uidl',
    });
    expect(await home.account(stated)).toEqual(await home.account({}));
  });

  it('writes durations and sizes as text with a pattern that is a regular expression', () => {
    const patterns = parts(schema)
      .map(({ pattern }) => pattern)
      .filter((pattern) => typeof pattern === 'string');
    expect(patterns.length).toBeGreaterThan(10);
    for (const pattern of patterns) expect(() => new RegExp(pattern, 'u')).not.toThrow();
    expect(JSON.stringify(account.properties?.['maxSize'])).toContain('[kKmMgG]');
    expect(JSON.stringify(account.properties?.['timeout'])).toContain('(ms|s|m|h|d)');
  });
});
