/**
 * No secret is in any output, transcript or file, whatever the way it comes from and the way it is used. Every test of
 * the end-to-end suites looks for it when it ends (see {@link World.close}); here are the places where it would be
 * easiest to let it slip.
 */
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PasswordSource } from '../src/config/account.js';
import { formsOfSecret, lateHook, PASSWORD, reach, until, World } from './support/e2e.js';
import { keyringProblem, KeyringSession } from './support/keyring.js';
import { plain } from './support/messages.js';
import type { ServerOptions } from './support/server.js';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

const CHALLENGE = '<1896.697170952@dbc.mtview.ca.us>';

describe('the test itself [30]', () => {
  test.each(formsOfSecret(PASSWORD))('finds %s in a file', async (form) => {
    const other = await World.create();
    await writeFile(other.sandbox.path('slip'), `before ${form} after`);
    await expect(other.close()).rejects.toThrow('slip');
  });

  test.each([0, 1, 2, 3])(
    'finds the password in the base64 of something longer (%i octets before it)',
    async (before) => {
      const other = await World.create();
      const text = Buffer.from(`${'\0'.repeat(before)}${PASSWORD}\0more`).toString('base64');
      await writeFile(other.sandbox.path('slip'), text);
      await expect(other.close()).rejects.toThrow('slip');
    },
  );
});

describe('--trace [30]', () => {
  const METHODS: Readonly<Record<string, Omit<Partial<ServerOptions>, 'accounts'>>> = {
    user: {},
    plain: {},
    apop: { apop: CHALLENGE },
  };

  test.each(Object.entries(METHODS))(
    'with auth: %s is whole, for its owner alone, and without the password',
    async (auth, options) => {
      const server = await world.serve({ taro: [plain(1)] }, options);
      await world.configure({ work: reach(server, { auth, delete: 'delivered' }) });
      expect(await world.popfetch('--trace', 'talk.log')).toEqual({ code: 0, stdout: '', stderr: '' });
      const file = join(world.sandbox.work, 'talk.log');
      expect((await stat(file)).mode & 0o777).toBe(0o600);
      const talk = (await readFile(file, 'utf8')).trimEnd().split('\n');
      const line = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z work ([CS*]): (.*)$/;
      const parsed = talk.map((text) => line.exec(text)?.slice(1));
      expect(parsed).not.toContain(undefined);
      const client = parsed.filter((each) => each?.[0] === 'C').map((each) => each?.[1]);
      const login = {
        user: ['USER taro', 'PASS ********'],
        plain: ['AUTH PLAIN ********'],
        apop: ['APOP taro ********'],
      }[auth];
      expect(client).toEqual([
        'CAPA',
        'UTF8',
        ...(login ?? []),
        'CAPA',
        'STAT',
        'LIST',
        'UIDL',
        'RETR 1',
        'DELE 1',
        'QUIT',
      ]);
      expect(talk.join('\n')).toContain(`S: [${plain(1).length} octets]`);
      expect(talk.join('\n')).not.toContain('body of message 1');
    },
  );

  test('takes the place of an older one that others could read', async () => {
    const server = await world.serve({ taro: [] });
    await world.configure({ work: reach(server) });
    const file = join(world.sandbox.work, 'talk.log');
    await writeFile(file, 'something old\n', { mode: 0o644 });
    await chmod(file, 0o644);
    expect((await world.popfetch('--trace', 'talk.log')).code).toBe(0);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, 'utf8')).not.toContain('something old');
  });

  test('is written by every command that speaks to a server', async () => {
    const server = await world.serve({ taro: [plain(1)] }, { capa: false });
    await world.configure({ work: reach(server, { auth: 'user' }) });
    for (const args of [['list'], ['check'], ['show', '1'], ['--dry-run']]) {
      expect((await world.popfetch(...args, '--trace', 'talk.log')).code).toBe(0);
      expect(await readFile(join(world.sandbox.work, 'talk.log'), 'utf8')).toContain(
        'work C: PASS ********\n',
      );
    }
  });
});

describe('a server that repeats the password [30]', () => {
  const base64 = Buffer.from(`\0taro\0${PASSWORD}`).toString('base64');

  test.each([
    ['as it is', `-ERR ${PASSWORD} is not right`],
    ['in base64', `-ERR bad: ${base64}`],
    ['in hex', `-ERR ${Buffer.from(PASSWORD).toString('hex')}`],
    ['as in a URL', `-ERR pop://taro:${encodeURIComponent(PASSWORD)}@example.com`],
    ['in a line that is no reply', `PASS ${PASSWORD}`],
  ])('(%s) is masked in every output', async (_how, answer) => {
    const server = await world.serve({ taro: [] }, { overrides: { AUTH: answer, PASS: answer } });
    await world.configure({ work: reach(server) });
    for (const args of [
      ['-vvv', '--trace', 'talk.log'],
      ['--json'],
      ['list'],
      ['check'],
      ['check', '--json'],
      ['show', '1'],
    ]) {
      const { code, stdout, stderr } = await world.popfetch(...args);
      expect([76, 77]).toContain(code);
      expect(stdout + stderr).toContain('********');
    }
    expect((await world.popfetch('status')).code).toBe(0);
  });

  test('after the login, in a refusal, is masked too', async () => {
    const server = await world.serve(
      { taro: [plain(1), plain(2)] },
      { overrides: { DELE: `-ERR not for ${PASSWORD}`, TOP: `-ERR ${PASSWORD}` } },
    );
    server.overrides['RETR'] = (_session, [number]) => (number === '2' ? `-ERR ${PASSWORD}` : undefined);
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    const { code, stderr } = await world.popfetch('-vvv', '--trace', 'talk.log');
    expect(code).toBe(75);
    expect(stderr).toContain('message 2 (76 B) is refused by the server ("********") and stays there');
    const list = await world.popfetch('list');
    expect([list.code, list.stderr]).toEqual([
      0,
      'popfetch: work: the server refuses TOP for 2 messages: "********"\n',
    ]);
  });
});

describe('wherever the password comes from [30]', () => {
  const inKeyring: [string, PasswordSource] = ['the keyring', { keyring: true }];
  test.each<[string, PasswordSource]>([
    ['the environment', { env: 'POP_PASSWORD' }],
    ['a file', { file: '~/.config/pw' }],
    ['a command', { command: ['sh', '-c', 'cat "$HOME/.config/pw"'] }],
    ['netrc', { netrc: true }],
    ['a credential', { credential: 'pw' }],
    ...(keyringProblem() === undefined ? [inKeyring] : []),
  ])('(%s) it is in no error, print or process list', async (_where, password) => {
    const late = lateHook();
    const server = await world.serve({ taro: [plain(1)] }, { onEvent: late.onEvent });
    await writeFile(join(world.sandbox.config, 'pw'), `${PASSWORD}\n`, { mode: 0o600 });
    const NETRC = join(world.sandbox.config, 'netrc');
    const quoted = PASSWORD.replace(/["\\]/g, '\\$&');
    await writeFile(NETRC, `machine ${server.host} login taro password "${quoted}"\n`, { mode: 0o600 });
    const places = { NETRC, CREDENTIALS_DIRECTORY: world.sandbox.config };
    const env = { ...places, ...('env' in password ? { POP_PASSWORD: PASSWORD } : {}) };
    await world.configure({ work: reach(server, { password }) });
    if ('keyring' in password) {
      const session = await KeyringSession.start(world.sandbox.home);
      world.atEnd(() => void session.stop());
      const stored = await world.run(['auth', 'set-password', '-vv'], { stdin: `${PASSWORD}\n` });
      expect([stored.code, stored.stderr]).toEqual([0, '']);
    }
    let release: () => void = () => undefined;
    const free = new Promise<undefined>((resolve) => {
      release = () => {
        resolve(undefined);
      };
    });
    world.atEnd(release);
    let waiting = false;
    late.hook = ({ kind, verb }) => {
      if (kind !== 'command' || verb !== 'STAT') return undefined;
      waiting = true;
      return free;
    };
    const running = world.start(['-vvv'], { env });
    await until(() => waiting || running.ended, 'it is logged in');
    const commandLine = await readFile(`/proc/${running.pid}/cmdline`, 'utf8').catch(() => '');
    expect(formsOfSecret(PASSWORD).filter((form) => commandLine.includes(form))).toEqual([]);
    release();
    expect((await running.done).code).toBe(0);
    const printed = await world.run(['config', 'print'], { env });
    expect(printed.code).toBe(0);
    const wrong = await world.run(['check', '-vvv', '--trace', 'talk.log'], { env: {} });
    const needsVariable = ['env', 'netrc', 'credential'].some((place) => place in password);
    expect(wrong.code).toBe(needsVariable ? 78 : 0);
    expect(await world.maildir('work')).toHaveLength(1);
  });

  test('(a mapping by mistake) it is in no error', async () => {
    await world.sandbox.writeConfig(
      `accounts:\n  work:\n    host: pop.example.com\n    user: taro\n    password: {${PASSWORD}}\n    deliver: stdout\n`,
    );
    const { code, stderr } = await world.popfetch();
    expect(code).toBe(78);
    expect(stderr).toContain('accounts.work.password');
  });
});
