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
  const env = { HOME: home.home, CLUB_PASSWORD: 'pw' };
  const { accounts } = await loadConfig({ ...home.options, env, file });
  return Object.fromEntries(accounts.map((account) => [account.name, account]));
}

it('every kind of example is there, and each is tested here', () => {
  expect(names.sort()).toEqual([
    'crontab',
    'minimal.yaml',
    'popfetch.service',
    'popfetch.timer',
    'providers.yaml',
    'several-accounts.yaml',
    'several-destinations.yaml',
    'spam-filter.sh',
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
      await readPassword(accounts['club']!.password, { env: { CLUB_PASSWORD: 'pw' }, account: 'club' }),
    ).toBe('pw');
  });

  it('several-destinations.yaml gives each message to all of them', async () => {
    expect(await load('several-destinations.yaml')).toMatchObject({
      work: {
        password: { file: home.path('work.password') },
        deliver: [{ maildir: home.path('Mail/work') }, { mbox: home.path('backup/work.mbox') }],
      },
      support: { deliver: [{ maildir: home.path('Mail/work') }, { mbox: home.path('backup/support.mbox') }] },
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
      new Set(['crontab', 'minimal.yaml', 'popfetch.service', 'several-accounts.yaml', 'spam-filter.sh']),
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

describe('spam-filter.sh', () => {
  /** A popfetch that gives out the files in `queue`, one a call, and notes how it was called. */
  const STAND_IN = `#!/bin/sh
echo "$*" >>"$QUEUE/../calls"
for file in "$QUEUE"/*; do
  [ -e "$file" ] || exit "\${STATUS:-0}"
  cat "$file"; rm "$file"; exit 0
done
`;
  async function filtered(filter: string, status = '0'): Promise<{ code: number; stderr: string }> {
    await home.write('bin/popfetch', STAND_IN, 0o700);
    await home.write('queue/1', 'first\n');
    await home.write('queue/2', 'second\n');
    await home.write('tmp/.keep', '');
    const env = {
      PATH: `${home.path('bin')}:${process.env['PATH'] ?? ''}`,
      QUEUE: home.path('queue'),
      OUT: home.path('out'),
      TMPDIR: home.path('tmp'),
      STATUS: status,
    };
    const args = [`${EXAMPLES}spam-filter.sh`, 'work', 'sh', '-c', filter];
    return new Promise((resolve) => {
      execFile('sh', args, { env }, (error, _, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stderr });
      });
    });
  }

  it('gives each message to the command, and leaves nothing behind', async () => {
    expect(await filtered('sed s/^/filtered:/ >>"$OUT"')).toEqual({ code: 0, stderr: '' });
    expect(await readFile(home.path('out'), 'utf8')).toBe('filtered:first\nfiltered:second\n');
    expect(await readdir(home.path('tmp'))).toEqual(['.keep']);
    expect((await readFile(home.path('calls'), 'utf8')).trim().split('\n')).toEqual(
      Array(3).fill('fetch --quiet --account work --stdout --format raw --limit 1'),
    );
  });

  it('stops when the command fails and keeps the message', async () => {
    const { code, stderr } = await filtered('exit 1');
    expect(code).toBe(75);
    const file = /the message is in (\S+)/.exec(stderr)![1]!;
    expect(await readFile(file, 'utf8')).toBe('first\n');
    expect(await readdir(home.path('queue'))).toEqual(['2']);
  });

  it('ends as popfetch does when popfetch fails', async () => {
    expect(await filtered('cat >/dev/null', '69')).toEqual({ code: 69, stderr: '' });
  });
});
