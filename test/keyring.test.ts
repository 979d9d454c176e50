/** Passwords in a keyring: against gnome-keyring, and where there is none, none that opens, or one that is silent. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { deletePassword, getPassword, setPassword } from '../src/config/keyring.js';
import { PopfetchError } from '../src/errors.js';
import { caught, UID } from './support/config-file.js';
import { PASSWORD, reach, World } from './support/e2e.js';
import { keyringProblem, KeyringSession, silentBus } from './support/keyring.js';
import { plain } from './support/messages.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const OWNER = { host: 'pop.example.com', user: 'taro' };
const KEYRING = { keyring: true };
const ELSEWHERE = 'or take the password from {file: PATH} or {command: [PROGRAM, ARGUMENT]}';

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'popfetch-keyring-'));
});
afterAll(() => rm(home, { recursive: true, force: true, maxRetries: 5 }));

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

describe.skipIf(keyringProblem() !== undefined)('with gnome-keyring', () => {
  let session: KeyringSession;
  beforeAll(async () => {
    session = await KeyringSession.start(home);
  });
  afterAll(() => session.stop());

  /** Runs in the session. */
  const within = (stdin = ''): { env: NodeJS.ProcessEnv; stdin: string } => ({
    env: { XDG_RUNTIME_DIR: session.env['XDG_RUNTIME_DIR'] },
    stdin,
  });

  test('set-password keeps what it reads, fetch logs in with it, delete-password forgets it', async () => {
    const server = await world.serve({ taro: [plain(1)] });
    await world.configure({ work: reach(server, { password: KEYRING }) });
    const { host } = server;
    const run = async (stdin: string, ...args: string[]) => world.seen(await world.run(args, within(stdin)));
    const missing = {
      code: 78,
      stdout: '',
      stderr: `popfetch: work: config: the keyring has no password of taro at ${host}; run popfetch auth set-password -a work\n`,
    };
    expect(await run('', 'fetch')).toEqual(missing);
    expect(await run(`${PASSWORD}\nmore\n`, 'auth', 'set-password', '-a', 'work')).toEqual({
      code: 0,
      stdout: `work: the password of taro at ${host} is in the keyring\n`,
      stderr: '',
    });
    expect(await run('', 'fetch')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await world.maildir('work')).toHaveLength(1);
    expect(await run('', 'auth', 'delete-password', '--json')).toEqual({
      code: 0,
      stdout: '{"account":"work","deleted":true}\n',
      stderr: '',
    });
    expect(await run('', 'auth', 'delete-password')).toEqual({
      code: 0,
      stdout: `work: no password of taro at ${host} was in the keyring\n`,
      stderr: '',
    });
    expect((await run('', 'fetch')).code).toBe(78);
  });

  test('set-password says so where the config does not use the keyring', async () => {
    await world.configure({ work: { host: 'a.example', user: 'taro', password: { env: 'PW' } } });
    const { code, stdout } = world.seen(await world.run(['auth', 'set-password'], within(PASSWORD)));
    expect([code, stdout]).toEqual([
      0,
      'work: the password of taro at a.example is in the keyring; to have it used, set password: {keyring: true} in the config\n',
    ]);
    const { stdout: json } = await world.run(['auth', 'set-password', '--json'], within(PASSWORD));
    expect(JSON.parse(json.toString())).toEqual({ account: 'work', stored: true, used: false });
  });

  test('keeps every password as it is, each for its user of its host', async () => {
    const options = { env: session.env };
    for (const password of ['pässwörd "x" \\ 🔑', ' ', '{"verb":1}', '-e', 'x'.repeat(1000)]) {
      await setPassword(OWNER, password, options);
      expect(await getPassword({ ...OWNER, host: 'POP.Example.com' }, options)).toBe(password);
    }
    expect(await getPassword({ ...OWNER, user: 'Taro' }, options)).toBeUndefined();
    expect(await getPassword({ ...OWNER, host: 'example.com' }, options)).toBeUndefined();
    expect(await deletePassword(OWNER, options)).toBe(true);
    expect(await getPassword(OWNER, options)).toBeUndefined();
  });

  test('is found from cron, which tells nothing of the session, by the place of its socket', async () => {
    const sessions = await mkdtemp(join(home, 'run-user-'));
    await symlink(session.env['XDG_RUNTIME_DIR'] ?? '', join(sessions, String(UID)));
    const env = { PATH: process.env['PATH'], HOME: home };
    await setPassword(OWNER, PASSWORD, { env, sessions });
    expect(await getPassword(OWNER, { env, sessions })).toBe(PASSWORD);
    // A socket that is told comes first, even where nobody listens.
    const told = { ...env, DBUS_SESSION_BUS_ADDRESS: 'unix:path=/nope' };
    expect(await caught(getPassword(OWNER, { env: told, sessions }))).toMatchObject({ code: 'CONFIG' });
    expect(await caught(getPassword(OWNER, { env, sessions: home }))).toMatchObject({ code: 'CONFIG' });
  });

  test('a locked keyring is one line and exit 77, at once, and is not opened by anybody', async () => {
    const server = await world.serve({ taro: [] });
    await world.configure({ work: reach(server, { password: KEYRING }) });
    expect((await world.run(['auth', 'set-password'], within(PASSWORD))).code).toBe(0);
    await session.lock();
    for (const args of [['fetch'], ['auth', 'set-password']]) {
      const { code, stderr } = await world.run(args, within(PASSWORD));
      expect(code).toBe(77);
      expect(stderr).toMatch(
        /^popfetch: work: (config: )?the keyring is locked, and was not unlocked: [^\n]*\n$/,
      );
      expect(stderr).toContain(`; unlock it by logging in to the desktop, ${ELSEWHERE}`);
    }
  });
});

describe('without a keyring', () => {
  test.skipIf(keyringProblem() === 'the optional package @napi-rs/keyring is not installed')(
    'that can be reached it is one line and exit 78',
    async () => {
      const server = await world.serve({ taro: [] });
      await world.configure({ work: reach(server, { password: KEYRING }) });
      const { code, stderr } = await world.run(['fetch'], {
        env: { DBUS_SESSION_BUS_ADDRESS: `unix:path=${world.sandbox.path('nope')}` },
      });
      expect(code).toBe(78);
      expect(stderr).toMatch(/^popfetch: work: config: there is no keyring to ask: [^\n]*\n$/);
      expect(stderr).toContain(
        `start a keyring service, such as gnome-keyring, in this session, ${ELSEWHERE}`,
      );
    },
  );

  test('and without the optional package everything else works, and this says what is missing', async () => {
    const bare = await mkdtemp(join(home, 'bare-'));
    for (const name of ['bin', 'dist', 'package.json']) {
      await cp(join(ROOT, name), join(bare, name), { recursive: true });
    }
    await world.configure({ work: { host: 'localhost', user: 'taro', password: KEYRING } });
    const { home: HOME, config: XDG_CONFIG_HOME } = world.sandbox;
    const run = (...args: string[]) =>
      promisify(execFile)(process.execPath, [join(bare, 'bin/popfetch.js'), ...args], {
        env: { HOME, XDG_CONFIG_HOME },
      });
    expect((await run('config', 'validate')).stdout).toContain('no problems, 1 account');
    expect(await caught(run('auth', 'delete-password'))).toMatchObject({
      code: 78,
      stdout: '',
      stderr: `popfetch: work: the package @napi-rs/keyring, which reaches the keyring, cannot be loaded; run npm install --global popfetch @napi-rs/keyring, ${ELSEWHERE}\n`,
    });
  });
});

describe.skipIf(keyringProblem() !== undefined)('with a keyring that does not answer', () => {
  let bus: Server & { readonly met: Promise<unknown> };
  let env: NodeJS.ProcessEnv;
  beforeEach(async () => {
    const path = world.sandbox.path('silent');
    bus = await silentBus(path);
    env = { PATH: process.env['PATH'], DBUS_SESSION_BUS_ADDRESS: `unix:path=${path}` };
  });
  afterEach(() => new Promise((resolve) => bus.close(resolve)));

  test('the wait has an end, and so has the process that asked', async () => {
    const error = await caught(setPassword(OWNER, PASSWORD, { env, limit: 1500 }));
    expect(error).toBeInstanceOf(PopfetchError);
    expect(error).toMatchObject({
      code: 'PERMISSION',
      exit: 77,
      message: 'the keyring gave no answer (the process that asks it did not end within 1.5 s)',
    });
    // The bus closes only when nobody is connected any more: see afterEach.
  });

  test('Ctrl-C ends the wait, with 130', async () => {
    await world.configure({ work: { host: 'localhost', user: 'taro', password: KEYRING } });
    const running = world.start(['auth', 'delete-password'], { env });
    await bus.met;
    running.kill('SIGINT');
    const { code, elapsed } = await running.done;
    expect(code).toBe(130);
    expect(elapsed).toBeLessThan(20_000);
  });

  test('the password is on no command line and in no environment meanwhile', async () => {
    const abort = new AbortController();
    const waiting = caught(setPassword(OWNER, PASSWORD, { env, signal: abort.signal }));
    await bus.met;
    const seen = await Promise.all((await children(process.pid)).map(shown));
    expect(seen.some((text) => text.includes('--input-type=commonjs'))).toBe(true);
    expect(seen.filter((text) => text.includes(PASSWORD))).toEqual([]);
    abort.abort(new PopfetchError('ABORTED', 'enough'));
    expect(await waiting).toMatchObject({ code: 'ABORTED' });
  });
});

describe('popfetch auth', () => {
  const ask = async (stdin: string, ...args: string[]) =>
    world.seen(await world.run(['auth', ...args], { stdin }));

  test.each<[string, number, string]>([
    ['', 78, 'work: the first line of stdin is empty; put the password there'],
    ['\nhimitsu\n', 78, 'work: the first line of stdin is empty; put the password there'],
    [
      'a\0b',
      78,
      'work: the first line of stdin holds a line break or NUL, which no server takes; put the password alone there',
    ],
    [
      'a\rb\n',
      78,
      'work: the first line of stdin holds a line break or NUL, which no server takes; put the password alone there',
    ],
    ['x'.repeat(70_000), 64, 'the first line of stdin is longer than 64 KiB; write it to stdin, from a pipe'],
  ])('set-password refuses what is no password: %#', async (stdin, code, line) => {
    await world.configure({ work: { host: 'localhost', user: 'taro', password: KEYRING } });
    expect(await ask(stdin, 'set-password')).toEqual({ code, stdout: '', stderr: `popfetch: ${line}\n` });
  });

  test.each([
    [['set-pasword'], 'auth knows nothing of "set-pasword"; did you mean set-password?'],
    [['constructor'], 'auth knows nothing of "constructor"; use set-password or delete-password'],
    [['set-password'], 'auth set-password needs one account; there are: home, work; choose it with -a NAME'],
    [
      ['delete-password'],
      'auth delete-password needs one account; there are: home, work; choose it with -a NAME',
    ],
    [['set-password', '-a', 'wrk'], 'there is no account "wrk"; there are: home, work; did you mean work?'],
    [['set-password', 'work'], 'auth does not take "work"; see popfetch --help'],
    [[], 'auth needs one of set-password or delete-password; see popfetch auth --help'],
  ])('%j is a mistake that is explained', async (args, line) => {
    const account = { host: 'localhost', password: KEYRING };
    await world.configure({ home: { ...account, user: 'a' }, work: { ...account, user: 'b' } });
    expect(await ask('', ...args)).toEqual({ code: 64, stdout: '', stderr: `popfetch: ${line}\n` });
  });
});

/** The processes that a process has started, on Linux. */
async function children(parent: number): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')));
  return pids.filter((_, index) => stats[index]?.split(') ')[1]?.split(' ')[1] === String(parent));
}

/** What everybody, or the user, can see of a process. */
async function shown(pid: string): Promise<string> {
  const files = ['cmdline', 'environ'].map((name) => readFile(`/proc/${pid}/${name}`, 'latin1'));
  return (await Promise.all(files)).join('');
}
