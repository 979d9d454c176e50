/**
 * The password of an account, in whatever form, is in nothing that a run writes, says, or shows of its processes [30].
 * Every home of every test is looked through for it when it is removed; here it is shown that the look finds something,
 * and what is easiest to let slip is tried on purpose.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { formsOf } from '../../src/pop3/auth.js';
import { PASSWORD, reach, World } from '../support/e2e.js';
import { plain } from '../support/messages.js';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

/** Keeps a command at work until it has been looked at. */
const LINGER = 'cat >/dev/null; sleep 0.3';

describe('the look at everything finds a password [30]', () => {
  const slips: Readonly<Record<string, readonly [found: string, slip: (other: World) => Promise<unknown>]>> =
    {
      'in a file': ['slip', (other) => writeFile(other.sandbox.path('slip'), `a ${PASSWORD}`)],
      'in the name of a file': [
        'a file name',
        (other) => writeFile(other.sandbox.path(encodeURIComponent(PASSWORD)), ''),
      ],
      'in the state': [
        'state',
        (other) => writeFile(join(other.sandbox.state, 'x'), Buffer.from(PASSWORD).toString('hex')),
      ],
      'on standard output': [
        'the output',
        async (other) => {
          const server = await other.serve({ taro: [Buffer.from(`Subject: x\r\n\r\n${PASSWORD}\r\n`)] });
          await other.configure({ work: reach(server) });
          await other.popfetch('--stdout');
        },
      ],
      'in the process list': [
        'the process list, of a child',
        (other) => filtered(other, [LINGER, PASSWORD], {}),
      ],
      'in the environment of a command': [
        'the environment of a child',
        (other) => filtered(other, [LINGER], { LC_SLIP: Buffer.from(PASSWORD).toString('base64') }),
      ],
    };

  async function filtered(
    other: World,
    words: readonly string[],
    env: Record<string, string>,
  ): Promise<void> {
    const server = await other.serve({ taro: [plain(1)] });
    await other.configure({ work: reach(server, { deliver: { command: ['sh', '-c', ...words] } }) });
    await other.run([], { env });
  }

  test.each(Object.entries(slips))('%s', async (_, [found, slip]) => {
    const other = await World.create();
    await slip(other);
    await expect(other.close()).rejects.toThrow(
      `the password is in ${found === 'slip' || found === 'state' ? other.sandbox.home : found}`,
    );
  });
});

describe('a child of popfetch shows no password [30]', () => {
  /** Writes down what anybody can see of the process and of the one that started it. */
  const TELL = 'tr "\\0" "\\n" </proc/$$/environ >>"$0"; cat /proc/$$/cmdline /proc/$PPID/cmdline >>"$0"';

  test.each([
    ['from the environment', { env: 'POP_PASSWORD' }, ''],
    ['from a file', { file: '~/.config/pw' }, ''],
    ['from a command', undefined, 'cat "$HOME/.config/pw"'],
  ])('with a password %s', async (_, source, says) => {
    const env = source !== undefined && 'env' in source ? { POP_PASSWORD: PASSWORD } : {};
    const told = world.sandbox.path('told');
    const server = await world.serve({ taro: [plain(1)] });
    await writeFile(join(world.sandbox.config, 'pw'), `${PASSWORD}\n`, { mode: 0o600 });
    const password = source ?? { command: ['sh', '-c', `${TELL}; ${says}`, told] };
    const deliver = { command: ['sh', '-c', `cat >/dev/null; ${TELL}; sleep 0.1`, told] };
    await world.configure({ work: reach(server, { password, deliver }) });
    const { code, stderr } = await world.run(['-vvv', '--trace', 'talk.log'], { env });
    expect([code, stderr]).toEqual([0, expect.stringContaining('1 new message')]);
    expect(await readFile(told, 'utf8')).toContain('popfetch.js');
  });
});

describe('whatever form a server repeats it in, and whatever stands around it [30]', () => {
  const PASSWORDS = [
    'correct horse battery',
    PASSWORD,
    '\u30d1\u30b9\u30ef\u30fc\u30c9-\u00e9',
    'p'.repeat(180),
    '\\x41\\"%41==',
  ];

  test.each(PASSWORDS)('%s is masked', (password) => {
    const masked = (text: string): string =>
      formsOf([password]).reduce((shown, form) => shown.replaceAll(form, '***'), text);
    const bytes = Buffer.from(password);
    for (const before of ['', '\0taro\0', 'taro:', 'x', 'xy', 'PASS ']) {
      for (const after of ['', '\r\n', 'x', 'xy']) {
        const around = Buffer.concat([Buffer.from(before), bytes, Buffer.from(after)]);
        for (const encoding of ['base64', 'base64url', 'hex', 'latin1', 'utf8'] as const) {
          for (const text of [
            around.toString(encoding),
            around.toString('hex').toUpperCase(),
            encodeURIComponent(around.toString()),
          ]) {
            const left = masked(`-ERR ${text} no`);
            expect(left).toContain('***');
            // What the neighbours share with it may stay: less than one character at either end.
            expect(left.length).toBeLessThan(25 + 3 * 2 * (before.length + after.length));
          }
        }
      }
    }
  });
});
