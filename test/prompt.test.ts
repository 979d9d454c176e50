/** A person who is asked for a password: on a terminal, once, unseen, and never where there is nobody. */
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest';
import { askSecret, canAsk, questionFor, type Asking } from '../src/cli/prompt.js';
import { PopfetchError } from '../src/errors.js';
import { caught } from './support/config-file.js';
import { formsOfSecret, PASSWORD, reach, said, World } from './support/e2e.js';
import { plain } from './support/messages.js';
import { hasTerminal, onTerminal, type Session } from './support/terminal.js';

describe('a question', () => {
  /** A terminal on which `keys` are typed. */
  class Keyboard extends PassThrough {
    isTTY = true;
    readonly modes: boolean[] = [];
    setRawMode(raw: boolean): void {
      this.modes.push(raw);
    }
  }
  let keyboard: Keyboard;
  let screen: PassThrough & { isTTY?: boolean };
  let abort: AbortController;
  let asking: Asking;
  beforeEach(() => {
    keyboard = new Keyboard();
    screen = Object.assign(new PassThrough(), { isTTY: true });
    abort = new AbortController();
    asking = { stdin: () => keyboard, stderr: screen, signal: abort.signal };
  });

  const shown = (): string => String(screen.read() ?? '');

  it.each([
    ['as they are', 'himitsu\r', 'himitsu'],
    ['with the line end of a paste', 'himitsu\n', 'himitsu'],
    ['of every script', 'pässwörd パス🔑\r', 'pässwörd パス🔑'],
    ['with one taken back', 'himitsuu\x7f\r', 'himitsu'],
    ['with one of two units taken back', 'a🔑\x7fb\r', 'ab'],
    ['all taken back', 'wrong\x15himitsu\r', 'himitsu'],
    ['with blanks around', '  a b  \r', '  a b  '],
    ['and keys that write nothing', 'hi\x1b[A\x1b[Bmi\x1b[5~tsu\r', 'himitsu'],
    ['and more lines, which are dropped', 'himitsu\rmore\rmore\r', 'himitsu'],
    ['none', '\r', ''],
  ])('takes the keys %s, and shows nothing of them', async (_what, keys, line) => {
    const answer = askSecret('password: ', asking);
    keyboard.write(keys);
    expect(await answer).toBe(line);
    expect(shown()).toBe('password: \n');
    expect(keyboard.modes).toEqual([true, false]);
    expect(keyboard.isPaused()).toBe(true);
  });

  it('reads keys unseen before it shows itself: who is quick is not seen either', async () => {
    const order: string[] = [];
    keyboard.setRawMode = (raw) => void order.push(`raw ${raw}`);
    screen.on('data', (text: Buffer) => order.push(text.toString()));
    const answer = askSecret('password: ', asking);
    keyboard.write('x\r');
    await answer;
    expect(order.slice(0, 2)).toEqual(['raw true', 'password: ']);
  });

  it.each([
    ['Ctrl-C', 'him\x03', 'interrupted by Ctrl-C'],
    ['Ctrl-D', '\x04', 'no password was typed'],
  ])('ends with 130 at %s', async (_key, keys, message) => {
    const answer = caught(askSecret('password: ', asking));
    keyboard.write(keys);
    expect(await answer).toMatchObject({ code: 'ABORTED', exit: 130, message });
    expect(keyboard.modes).toEqual([true, false]);
    expect(shown()).toBe('password: \n');
  });

  it('ends when the terminal goes away', async () => {
    const answer = caught(askSecret('password: ', asking));
    keyboard.end('him');
    expect(await answer).toMatchObject({ code: 'ABORTED', message: 'no password was typed' });
  });

  it('ends when the run does, with its reason, and leaves the terminal as it was', async () => {
    const answer = caught(askSecret('password: ', asking));
    const reason = new PopfetchError('ABORTED', 'interrupted by SIGTERM', { exit: 143 });
    abort.abort(reason);
    expect(await answer).toBe(reason);
    expect(keyboard.modes).toEqual([true, false]);
    expect(await caught(askSecret('password: ', asking))).toBe(reason);
  });

  it.each([
    [true, true, true],
    [true, false, false],
    [false, true, false],
    [false, false, false],
  ])('is put only where keys (%j) and screen (%j) are a terminal', (keys, seen, expected) => {
    keyboard.isTTY = keys;
    screen.isTTY = seen;
    expect(canAsk(asking)).toBe(expected);
  });

  it('says whose password it wants, and nothing that steers the terminal', () => {
    expect(questionFor({ name: 'work', user: 'ta\x1bro', host: 'pop.example.com' })).toBe(
      'password of ta\ufffdro at pop.example.com (work): ',
    );
  });
});

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

describe.skipIf(!hasTerminal())('on a terminal', () => {
  const ASKED = 'password of taro';

  /** As {@link onTerminal}, and the password is nowhere to be seen. */
  async function run(args: readonly string[], typing: Parameters<typeof onTerminal>[2]): Promise<Session> {
    const session = await onTerminal(world.sandbox, args, typing);
    expect(formsOfSecret(PASSWORD).filter((form) => session.shown.includes(form))).toEqual([]);
    return session;
  }

  test('every account without a password is asked for once, before anything moves', async () => {
    const server = await world.serve({ taro: [plain(1)], hanako: [plain(2)], jiro: [plain(3)] });
    await world.configure({
      one: reach(server, { password: undefined }),
      two: reach(server, { user: 'hanako' }),
      three: reach(server, { user: 'jiro', password: undefined }),
      off: reach(server, { user: 'off', password: undefined, disabled: true }),
    });
    const { code, shown } = await run(
      ['fetch'],
      [
        [ASKED, `${PASSWORD}\r`],
        ['password of jiro', `${PASSWORD}\r`],
      ],
    );
    expect(code).toBe(0);
    const questions = ['taro', 'jiro'].map((user, index) => {
      return `password of ${user} at ${server.host} (${['one', 'three'][index]}): \n`;
    });
    expect(shown.startsWith(questions.join(''))).toBe(true);
    expect(shown.split('password of')).toHaveLength(3);
    for (const name of ['one', 'two', 'three']) expect(await world.maildir(name)).toHaveLength(1);
  });

  test.each([['list'], ['check'], ['show', '1'], ['fetch', '--dry-run'], ['state', 'rebuild']])(
    '%s %s asks too, once',
    async (...args) => {
      const server = await world.serve({ taro: [plain(1)] });
      await world.configure({ work: reach(server, { password: undefined }) });
      const { code, shown } = await run(args, [[ASKED, `${PASSWORD}\r`]]);
      expect([code, shown.split(ASKED)]).toEqual([0, ['', expect.any(String)]]);
    },
  );

  test('Ctrl-C ends it with 130, before any server is spoken to', async () => {
    const server = await world.serve({ taro: [plain(1)] });
    await world.configure({ work: reach(server, { password: undefined }) });
    expect(await run(['fetch'], [[ASKED, 'him\x03']])).toEqual({
      code: 130,
      shown: `password of taro at ${server.host} (work): \npopfetch: interrupted by Ctrl-C; nothing was done\n`,
    });
    expect(server.sessions).toEqual([]);
  });

  test('a wrong password is refused, and not asked for again', async () => {
    const server = await world.serve({ taro: [plain(1)] });
    await world.configure({ work: reach(server, { password: undefined }) });
    const { code, shown } = await run(['fetch'], [[ASKED, 'wrong\r']]);
    expect([code, shown.split(ASKED).length]).toEqual([77, 2]);
    expect(shown).not.toContain('wrong');
  });

  test.each([['status'], ['config', 'print'], ['config', 'validate'], ['state', 'list']])(
    '%s %s needs no password and asks for none',
    async (...args) => {
      await world.configure({ work: { host: 'localhost', user: 'taro' } });
      const { code, shown } = await run(args, []);
      expect([code, shown.includes(ASKED)]).toEqual([0, false]);
    },
  );

  test('auth set-password asks, and says what is wrong with an empty answer', async () => {
    await world.configure({ work: { host: 'localhost', user: 'taro', password: { keyring: true } } });
    expect(await run(['auth', 'set-password'], [[ASKED, '\r']])).toEqual({
      code: 78,
      shown:
        'password of taro at localhost (work): \npopfetch: work: the password that was typed is empty; put the password there\n',
    });
  });
});

describe('without a terminal', () => {
  test('nobody is asked: it is an error that says every way to give one, and the other accounts go on', async () => {
    const server = await world.serve({ taro: [plain(1)], hanako: [plain(2)] });
    await world.configure({
      one: reach(server, { password: undefined }),
      two: reach(server, { user: 'hanako' }),
    });
    const { code, stderr } = world.seen(await world.run(['fetch'], { stdin: `${PASSWORD}\n` }));
    expect([code, stderr]).toEqual([
      78,
      'popfetch: one: config: no password is configured, and nobody can be asked without a terminal; set password to one of {command: [PROGRAM, ARGUMENT]}, {file: PATH}, {env: NAME}, {keyring: true}, {netrc: true}, {credential: NAME}\n',
    ]);
    expect(said(server, 'USER', 'AUTH').length).toBe(1);
    expect(await world.maildir('two')).toHaveLength(1);
  });

  test('check says it in its place', async () => {
    const server = await world.serve({ taro: [] });
    await world.configure({ work: reach(server, { password: undefined }) });
    const { code, stdout } = await world.popfetch('check');
    expect(code).toBe(78);
    expect(stdout).toMatch(/FAIL {2}config +no password is configured, and nobody can be asked/);
  });
});
