import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { STARTER_CONFIG } from '../src/config/search.js';
import { Sandbox } from './support/sandbox.js';
import { PASSWORD } from './support/secrets.js';

let sandbox: Sandbox;
beforeEach(async () => {
  sandbox = await Sandbox.create();
});
afterEach(async () => {
  await sandbox.remove();
});

/** Exit status, stdout and stderr of `popfetch ARGS`, the sandbox's home written as `~`. */
async function popfetch(...args: string[]): Promise<[number | null, string, string]> {
  const { code, stdout, stderr } = await sandbox.run(args);
  const shorten = (text: string): string => text.replaceAll(sandbox.home, '~');
  return [code, shorten(stdout.toString('utf8')), shorten(stderr)];
}

const ACCOUNT = { host: 'pop.example.com', user: 'taro', password: PASSWORD };

async function twoAccounts(): Promise<void> {
  await sandbox.writeConfig({
    accounts: {
      work: { ...ACCOUNT, deliver: { maildir: '~/Mail/work' }, delete: '30d' },
      home: { ...ACCOUNT, host: 'pop.example.org', deliver: 'stdout', limit: 1 },
      old: { ...ACCOUNT, host: 'pop.example.net', deliver: { mbox: '~/old' }, disabled: true },
    },
  });
}

describe('popfetch --version and --help', () => {
  test('go to stdout and succeed', async () => {
    const { version } = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect(await popfetch('--version')).toEqual([0, `${version}\n`, '']);
    expect(await popfetch('list', '--version')).toEqual([0, `${version}\n`, '']);
    const [code, stdout, stderr] = await popfetch('--help');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^popfetch: mail from POP3 servers: nothing lost, nothing doubled\n\nExamples:\n/);
    for (const command of ['fetch', 'show', 'list', 'check', 'status', 'state', 'config']) {
      expect(stdout).toMatch(new RegExp(`^  popfetch ${command} +\\S`, 'm'));
    }
  });
});

describe('a wrong command line', () => {
  test('is one line on stderr and ends in 64', async () => {
    expect(await popfetch('fetsch')).toEqual([
      64,
      '',
      'popfetch: unknown command "fetsch"; did you mean fetch?\n',
    ]);
    expect(await popfetch('--limt', '3')).toEqual([
      64,
      '',
      'popfetch: unknown option --limt; did you mean --limit?\n',
    ]);
    expect(await popfetch('config', 'prnt')).toEqual([
      64,
      '',
      'popfetch: config knows nothing of "prnt"; did you mean print?\n',
    ]);
    expect(await popfetch('show', 'x')).toEqual([
      64,
      '',
      'popfetch: "x" names no message; name it by its number, by uid:UID, or as newest or oldest\n',
    ]);
    expect(await popfetch('show', '1', '--headers', '--lines', '3')).toEqual([
      64,
      '',
      'popfetch: --headers and --lines together; --lines shows the header too\n',
    ]);
  });

  test('names the accounts there are', async () => {
    await twoAccounts();
    expect(await popfetch('-a', 'wrok')).toEqual([
      64,
      '',
      'popfetch: there is no account "wrok"; there are: work, home, old; did you mean work?\n',
    ]);
    expect(await popfetch('show', '1')).toEqual([
      64,
      '',
      'popfetch: show needs one account; there are: work, home; choose it with -a NAME\n',
    ]);
  });

  test('does not let two things fight over stdout', async () => {
    await twoAccounts();
    const fight =
      'popfetch: the events of --json and the mail both want stdout; ' +
      'leave out --json; --format json writes each message as JSON\n';
    expect(await popfetch('--stdout', '--json', '-a', 'work')).toEqual([64, '', fight]);
    // The config sends mail to stdout.
    expect(await popfetch('--json')).toEqual([64, '', fight]);
  });

  test('does not let raw messages run into each other', async () => {
    await twoAccounts();
    const refusal = [
      64,
      '',
      'popfetch: raw messages on stdout cannot be told apart, and there may be more than one; ' +
        'use --limit 1 and one account, or --format mboxrd\n',
    ];
    expect(await popfetch('--stdout', '--format', 'raw', '-a', 'work')).toEqual(refusal);
    expect(await popfetch('--stdout', '--format', 'raw', '--limit', '1')).toEqual(refusal);
    expect(await popfetch('--format', 'raw', '-a', 'work')).toEqual([
      64,
      '',
      'popfetch: --format says how mail is written to stdout, and none is; add --stdout\n',
    ]);
  });
});

describe('without a config', () => {
  const advice =
    'popfetch: no config found; looked for ~/.config/popfetch/config.{yaml,yml,json,toml,js,cjs,mjs,ts}, ' +
    '~/.popfetchrc{,.yaml,.yml,.json,.toml}, /etc/popfetch/config.{yaml,yml,json,toml}\n' +
    'save this as ~/.config/popfetch/config.yaml, with your own values, ' +
    'run chmod 600 ~/.config/popfetch/config.yaml, then popfetch check:\n\n' +
    `${STARTER_CONFIG}\n`;

  test.each([[[]], [['list']], [['status', '--json']], [['config', 'path']], [['config', 'print']]])(
    'popfetch %j says what to do next, with a config to paste',
    async (args) => {
      expect(await popfetch(...args)).toEqual([78, '', advice]);
    },
  );

  test('the pasted config is one that works', async () => {
    const [, , stderr] = await popfetch();
    const pasted = stderr.slice(stderr.indexOf('accounts:'));
    await sandbox.writeConfig(pasted);
    expect(await popfetch('config', 'validate')).toEqual([
      0,
      '~/.config/popfetch/config.yaml: no problems, 1 account\n',
      '',
    ]);
  });

  test('a file that was named is asked for by its name', async () => {
    expect(await popfetch('-c', 'nope.yaml')).toEqual([
      78,
      '',
      'popfetch: there is no config file ~/work/nope.yaml; check its name\n',
    ]);
  });

  test('the schema is there all the same', async () => {
    const [code, stdout, stderr] = await popfetch('config', 'schema');
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toMatchObject({ type: 'object', properties: { accounts: {} } });
  });
});

describe('popfetch config', () => {
  test('path says which file is read', async () => {
    await twoAccounts();
    expect(await popfetch('config', 'path')).toEqual([0, '~/.config/popfetch/config.yaml\n', '']);
  });

  test('print shows what the config comes to, without the password', async () => {
    await twoAccounts();
    const [code, stdout, stderr] = await popfetch('config', 'print');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain("    password: '********'\n");
    expect(stdout).toContain('    deliver:\n      maildir: ~/Mail/work\n    delete: 30d\n');
    expect(stdout).not.toContain(PASSWORD);
    const [, json] = await popfetch('config', 'print', '--json');
    expect(JSON.parse(json)).toMatchObject({
      parallel: 4,
      accounts: { work: { port: 995, password: '********' } },
    });
  });

  test('validate is silent about nothing: every problem with its line', async () => {
    const { host, user, password } = ACCOUNT;
    await sandbox.writeConfig(
      `accounts:\n  work:\n    host: ${host}\n    prot: 110\n    user: ${user}\n    password: ${password}\n` +
        '    deliver: stdout\n    limt: 3\n',
    );
    const problems =
      'popfetch: ~/.config/popfetch/config.yaml:4: accounts.work.prot: unknown key; did you mean "port"?\n' +
      'popfetch: ~/.config/popfetch/config.yaml:8: accounts.work.limt: unknown key; did you mean "limit"?\n';
    expect(await popfetch('config', 'validate')).toEqual([78, '', problems]);
    expect(await popfetch()).toEqual([78, '', problems]);
    const [code, stdout, stderr] = await popfetch('config', 'validate', '--json');
    expect([code, stderr]).toEqual([78, '']);
    expect(JSON.parse(stdout)).toMatchObject({
      valid: false,
      problems: [
        { line: 4, path: 'accounts.work.prot', suggestion: 'port' },
        { line: 8, path: 'accounts.work.limt', suggestion: 'limit' },
      ],
      error: { code: 'CONFIG', exit: 78 },
    });
  });

  test('validate says that all is well, but not with --quiet', async () => {
    await twoAccounts();
    const fine = '~/.config/popfetch/config.yaml: no problems, 3 accounts\n';
    expect(await popfetch('config', 'validate')).toEqual([0, fine, '']);
    expect(await popfetch('config', 'validate', '--quiet')).toEqual([0, '', '']);
    const [code, stdout] = await popfetch('config', 'validate', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ file: '~/.config/popfetch/config.yaml', valid: true, problems: [] });
  });

  test('a password that others can read is refused with the command that mends it', async () => {
    await twoAccounts();
    await chmod(join(sandbox.config, 'popfetch', 'config.yaml'), 0o644);
    expect(await popfetch('status')).toEqual([
      77,
      '',
      'popfetch: ~/.config/popfetch/config.yaml holds a password and can be read by others (mode 0644); ' +
        'run chmod 600 ~/.config/popfetch/config.yaml\n',
    ]);
  });
});

describe('popfetch status', () => {
  test('knows of nothing before the first run', async () => {
    await twoAccounts();
    const never = '  last run    never\n  remembered  0 messages\n  to remove   nothing\n';
    expect(await popfetch('status')).toEqual([0, `work\n${never}home\n${never}`, '']);
    const [code, stdout, stderr] = await popfetch('status', '--json', '-a', 'old');
    expect([code, stderr]).toEqual([0, '']);
    const nothing = { remembered: 0, unfinished: 0, troubled: 0, waiting: 0, due: 0 };
    expect(JSON.parse(stdout)).toEqual({
      accounts: [{ account: 'old', lastRun: null, ...nothing, nextDue: null }],
    });
  });

  test('makes nothing', async () => {
    await twoAccounts();
    await popfetch('status');
    await expect(stat(join(sandbox.state, 'popfetch'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('the current directory', () => {
  test('is neither read nor executed', async () => {
    const planted = join(sandbox.work, '.config');
    await mkdir(planted);
    const mark = sandbox.path('executed');
    const code = `require('node:fs').writeFileSync(${JSON.stringify(mark)}, '')`;
    await writeFile(join(planted, 'config.js'), `${code}; module.exports = {};`);
    await writeFile(join(planted, 'config.yaml'), 'cosmiconfig:\n  searchPlaces: [evil.json]\n');
    await writeFile(
      join(sandbox.work, 'evil.json'),
      JSON.stringify({ accounts: { evil: { ...ACCOUNT, password: 'x' } } }),
    );
    await writeFile(
      join(sandbox.work, 'package.json'),
      JSON.stringify({ popfetch: { accounts: { evil: { ...ACCOUNT, password: 'x' } } } }),
    );
    expect((await popfetch('config', 'path'))[0]).toBe(78);
    await twoAccounts();
    expect((await popfetch('status'))[1]).not.toContain('evil');
    await expect(stat(mark)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('when every account is disabled', () => {
  test('fetch says so, succeeds, and is quiet with --quiet', async () => {
    await sandbox.writeConfig({ accounts: { old: { ...ACCOUNT, deliver: 'stdout', disabled: true } } });
    const told = 'popfetch: every account is disabled; choose one with -a NAME\n';
    expect(await popfetch()).toEqual([0, '', told]);
    expect(await popfetch('-q')).toEqual([0, '', '']);
  });
});

describe('a bug', () => {
  test('ends in 70 with the stack and the wish to hear of it', async () => {
    const directory = join(sandbox.config, 'popfetch');
    await mkdir(directory, { recursive: true });
    // Code of a config that throws when nobody waits for it stands for any code that does.
    const code = "await new Promise(() => setTimeout(() => { throw new RangeError('oops'); }, 1));";
    await writeFile(join(directory, 'config.mjs'), code, { mode: 0o600 });
    const [exit, stdout, stderr] = await popfetch('status');
    expect([exit, stdout]).toEqual([70, '']);
    expect(stderr).toMatch(
      /^popfetch: this is a bug in popfetch; please report it with what follows and with what you did:\nRangeError: oops\n +at /,
    );
  });
});

describe('without a home directory', () => {
  test('nothing is remembered in the current directory instead', async () => {
    const file = await sandbox.writeConfig({ accounts: { work: { ...ACCOUNT, deliver: 'stdout' } } });
    const { code, stderr } = await sandbox.run(['status', '-c', file], {
      env: { HOME: '', XDG_STATE_HOME: 'relative' },
    });
    expect([code, stderr]).toEqual([
      78,
      'popfetch: there is no home directory to remember in what was fetched; set HOME, or XDG_STATE_HOME\n',
    ]);
    expect(await readdir(sandbox.work)).toEqual([]);
  });
});
