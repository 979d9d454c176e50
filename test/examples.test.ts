import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from '../src/cli/request.js';
import type { Account } from '../src/config/account.js';
import { loadConfig } from '../src/config/load.js';
import { readPassword } from '../src/config/secrets.js';
import { ConfigHome } from './support/config-file.js';

const EXAMPLES = fileURLToPath(new URL('../examples/', import.meta.url));
const names = readdirSync(EXAMPLES);
const example = (name: string) => readFileSync(EXAMPLES + name, 'utf8');

let home: ConfigHome;
beforeEach(async () => {
  home = await ConfigHome.create();
});
afterEach(() => home.remove());

async function load(name: string): Promise<Record<string, Account>> {
  const file = await home.write(name, example(name));
  const env = { HOME: home.home, CLUB_PASSWORD: 'pw', FAMILY_PASSWORD: 'pw' };
  const { accounts } = await loadConfig({ ...home.options, env, file });
  return Object.fromEntries(accounts.map((account) => [account.name, account]));
}

it('every kind of example is there, and each is tested here', () => {
  expect(names.sort()).toEqual([
    'crontab',
    'filter.yaml',
    'minimal.yaml',
    'popfetch.service',
    'popfetch.timer',
    'providers.yaml',
    'several-accounts.yaml',
    'several-destinations.yaml',
  ]);
});

describe('an example config', () => {
  it('minimal.yaml is complete', async () => {
    expect(await load('minimal.yaml')).toMatchObject({
      work: {
        host: 'pop.example.com',
        port: 995,
        tls: { mode: 'implicit' },
        password: { value: 'the password' },
        deliver: [{ maildir: home.path('Mail/work') }],
        delete: 'never',
      },
    });
  });

  it('several-accounts.yaml says what its accounts share once', async () => {
    const accounts = await load('several-accounts.yaml');
    expect(Object.keys(accounts)).toEqual(['work', 'home', 'club', 'archive']);
    expect(accounts).toMatchObject({
      work: { port: 995, delete: 'delivered', maxSize: 104_857_600, timeout: { connect: 10_000 } },
      home: { port: 110, tls: { mode: 'starttls' }, delete: 2_592_000_000 },
      club: { deliver: [{ mbox: home.path('Mail/club.mbox') }], order: 'newest', limit: 200 },
      archive: { disabled: true },
    });
    expect(
      await readPassword(accounts['club']!.password, {
        env: { CLUB_PASSWORD: 'pw' },
        account: accounts['club']!,
      }),
    ).toBe('pw');
  });

  it('several-destinations.yaml gives each message to all of them', async () => {
    expect(await load('several-destinations.yaml')).toMatchObject({
      work: {
        password: { file: home.path('work.password') },
        deliver: [{ maildir: home.path('Mail/work') }, { mbox: home.path('backup/work.mbox') }],
      },
      support: { deliver: [{ maildir: home.path('Mail/work') }, { mbox: home.path('backup/support.mbox') }] },
      sales: {
        deliver: [
          { maildir: home.path('Mail/sales') },
          { lmtp: '127.0.0.1:24', recipient: ['sales'] },
          { command: ['notify-send', 'New mail for sales'] },
        ],
      },
    });
  });

  it('filter.yaml hands mail to programs and to an LMTP server', async () => {
    expect(await load('filter.yaml')).toMatchObject({
      work: {
        deliver: [{ command: ['maildrop'] }],
        rejected: home.path('Mail/refused'),
        timeout: { deliver: 120_000 },
      },
      home: { deliver: [{ command: ['sh', '-ec', expect.stringMatching(/^filtered=\$\(mktemp\); trap /)] }] },
      family: {
        deliver: [{ lmtp: '/run/dovecot/lmtp', recipient: ['taro', 'hanako'] }],
        rejected: home.path('Mail/refused'),
      },
    });
  });

  it('providers.yaml uses encryption and no literal password anywhere', async () => {
    const accounts = Object.values(await load('providers.yaml'));
    expect(accounts.map(({ host, port }) => `${host}:${port}`)).toEqual([
      'pop.gmail.com:995',
      'pop.mail.yahoo.com:995',
      'pop.gmx.com:995',
      'pop.provider.example:110',
      'mail.internal.example:995',
    ]);
    for (const { tls, password } of accounts) {
      expect(tls.mode).not.toBe('none');
      expect(password).toHaveProperty('file');
    }
  });
});

describe('every popfetch command in an example is one that popfetch takes', () => {
  /** Command lines, comments included: from `popfetch` and a word to the end of the command. */
  const commands = names.flatMap((name) =>
    [
      ...example(name).matchAll(
        /(?<![\w./-])popfetch ((?:fetch|show|list|check|status|config)\b[^\n|>#),:]*)/g,
      ),
    ].map(
      ([, words = '']) =>
        [
          name,
          words
            .replaceAll('"', '')
            .replace(/\. .*|, .*/, '')
            .trim(),
        ] as const,
    ),
  );

  it('and there are some', () => {
    expect(new Set(commands.map(([name]) => name))).toEqual(
      new Set(['crontab', 'minimal.yaml', 'popfetch.service', 'several-accounts.yaml']),
    );
  });

  it.each(commands)('%s: popfetch %s', async (_, words) => {
    const asked = await parse(words.split(/\s+/));
    expect(asked.command).toBe(words.split(/\s+/)[0]);
  });
});

describe('the units for systemd', () => {
  it('belong together and call a later try a success', () => {
    expect(example('popfetch.service')).toMatch(/^Type=oneshot$/m);
    expect(example('popfetch.service')).toMatch(/^SuccessExitStatus=75$/m);
    expect(example('popfetch.timer')).toMatch(/^OnUnitInactiveSec=5min$/m);
    expect(example('popfetch.timer')).toMatch(/^WantedBy=timers\.target$/m);
  });
});

describe('the crontab', () => {
  it('has settings and lines of five fields and a command only', () => {
    const lines = example('crontab')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(lines.length).toBeGreaterThan(1);
    for (const line of lines) expect(line).toMatch(/^(?:[A-Z]+=\S+|(?:[\d*/,-]+ ){5}popfetch .+)$/);
  });
});

describe('the spam filter of filter.yaml', () => {
  /** Runs the command as popfetch would, with these stand-ins. Gives its exit status. */
  async function filtered(spamc: string, maildrop: string): Promise<number> {
    await home.write('bin/spamc', `#!/bin/sh\n${spamc}\n`, 0o700);
    await home.write('bin/maildrop', `#!/bin/sh\n${maildrop}\n`, 0o700);
    await home.write('tmp/.keep', '');
    const [to] = (await load('filter.yaml'))['home']!.deliver;
    const [program = '', ...args] = typeof to === 'object' && 'command' in to ? to.command : [];
    const PATH = `${home.path('bin')}:${process.env['PATH'] ?? ''}`;
    const env = { PATH, OUT: home.path('out'), TMPDIR: home.path('tmp') };
    return new Promise((resolve) => {
      const child = execFile(program, args, { env }, (error) => {
        resolve(error === null ? 0 : Number(error.code));
      });
      child.stdin?.on('error', () => undefined);
      child.stdin?.end('message\n');
    });
  }

  it('stores what the filter makes of a message, and leaves nothing behind', async () => {
    expect(await filtered('sed s/^/filtered:/', 'cat >"$OUT"')).toBe(0);
    expect(await readFile(home.path('out'), 'utf8')).toBe('filtered:message\n');
    expect(await readdir(home.path('tmp'))).toEqual(['.keep']);
  });

  it('stores nothing when the filter fails, and fails as it does', async () => {
    expect(await filtered('cat; exit 69', 'cat >"$OUT"')).toBe(69);
    expect(await readdir(home.home)).not.toContain('out');
    expect(await readdir(home.path('tmp'))).toEqual(['.keep']);
  });

  it('fails as what stores the message does', async () => {
    expect(await filtered('cat', 'cat >/dev/null; exit 75')).toBe(75);
    expect(await readdir(home.path('tmp'))).toEqual(['.keep']);
  });
});
