import { describe, expect, test } from 'vitest';
import { parse, type Flags, type Request } from '../src/cli/request.js';

const DEFAULT: Flags = {
  account: [],
  config: undefined,
  json: false,
  quiet: false,
  verbose: 0,
  trace: undefined,
  progress: true,
  color: undefined,
  dryRun: false,
  keep: false,
  acceptReset: false,
  limit: undefined,
  maxSize: undefined,
  parallel: undefined,
  wait: undefined,
  stdout: false,
  format: undefined,
  headers: false,
  lines: undefined,
  all: false,
};

/** A command line, its words parted by blanks. */
function line(text: string): ReturnType<typeof parse> {
  return parse(text.split(' ').filter(Boolean));
}

/** What is said about a command line that is wrong: sentence and remedy. */
async function complaint(text: string): Promise<string> {
  const error: unknown = await line(text).then(
    () => 'nothing',
    (error: unknown) => error,
  );
  expect(error).toMatchObject({ name: 'PopfetchError', code: 'USAGE', exit: 64 });
  const { message, remedy } = error as { message: string; remedy: string };
  return `${message}; ${remedy}`;
}

describe('a command line', () => {
  test.each<[string, Partial<Request>]>([
    ['', { command: 'fetch', flags: DEFAULT }],
    ['fetch', { command: 'fetch', flags: DEFAULT }],
    ['--account work', { command: 'fetch', flags: { ...DEFAULT, account: ['work'] } }],
    ['-a work -a h* list', { command: 'list', flags: { ...DEFAULT, account: ['work', 'h*'] } }],
    ['status -c f --json', { command: 'status', flags: { ...DEFAULT, config: 'f', json: true } }],
    ['-vqv check', { command: 'check', flags: { ...DEFAULT, quiet: true, verbose: 2 } }],
    ['--verbose --verbose', { command: 'fetch', flags: { ...DEFAULT, verbose: 2 } }],
    ['show 012', { command: 'show', words: ['012'], flags: DEFAULT }],
    ['show uid:1e5 --lines 0', { command: 'show', words: ['uid:1e5'], flags: { ...DEFAULT, lines: 0 } }],
    [
      'state forget a b --all',
      { command: 'state', words: ['forget', 'a', 'b'], flags: { ...DEFAULT, all: true } },
    ],
    ['state list --wait', { command: 'state', words: ['list'], flags: { ...DEFAULT, wait: Infinity } }],
    ['config print', { command: 'config', words: ['print'], flags: DEFAULT }],
    ['--no-progress --no-color', { flags: { ...DEFAULT, progress: false, color: false } }],
    ['--color', { flags: { ...DEFAULT, color: true } }],
    ['--color --no-color', { flags: { ...DEFAULT, color: false } }],
    ['--trace t.log --json --json', { flags: { ...DEFAULT, trace: 't.log', json: true } }],
    ['--limit 1 --limit=2', { flags: { ...DEFAULT, limit: 2 } }],
    ['--max-size 20MiB --parallel 8', { flags: { ...DEFAULT, maxSize: 20 * 1024 ** 2, parallel: 8 } }],
    [
      '--stdout --format json --keep --dry-run',
      {
        flags: { ...DEFAULT, stdout: true, format: 'json', keep: true, dryRun: true },
      },
    ],
    ['--wait fetch', { command: 'fetch', flags: { ...DEFAULT, wait: Infinity } }],
    ['--wait=90', { flags: { ...DEFAULT, wait: 90_000 } }],
    ['--wait=5m', { flags: { ...DEFAULT, wait: 300_000 } }],
  ])('%j', async (text, expected) => {
    expect(await line(text)).toMatchObject(expected);
  });

  test('a value may hold anything, even an equals sign or a dash inside', async () => {
    expect(await parse(['-c', 'a=b -c.yaml', '--account=-x'])).toMatchObject({
      flags: { config: 'a=b -c.yaml', account: ['-x'] },
    });
  });
});

describe('a wrong command line is one sentence with what to do', () => {
  test.each([
    ['fetsch', 'unknown command "fetsch"; did you mean fetch?'],
    ['work', 'unknown command "work"; see popfetch --help'],
    ['fetch work', 'fetch does not take "work"; choose accounts with -a; see popfetch fetch --help'],
    ['fetch -- -a', 'fetch does not take "-a"; choose accounts with -a; see popfetch fetch --help'],
    ['show', 'show needs one of N, uid:UID, newest or oldest; see popfetch show --help'],
    ['show 1 2', 'show does not take "2"; see popfetch --help'],
    ['config', 'config needs one of path, print, validate or schema; see popfetch config --help'],
    ['--limt 3', 'unknown option --limt; did you mean --limit?'],
    ['list --jsn', 'unknown option --jsn; did you mean --json?'],
    ['-x', 'unknown option -x; see popfetch --help'],
    ['--no-keep', 'unknown option --no-keep; did you mean --keep?'],
    ['--dryRun', 'unknown option --dryRun; did you mean --dry-run?'],
    ['--constructor 3', 'unknown option --constructor; see popfetch --help'],
    ['--__proto__ 3', 'unknown option --__proto__; see popfetch --help'],
    ['list --limit 3', '--limit is an option of fetch, not of list; see popfetch list --help'],
    ['list --all', '--all is an option of state, not of list; see popfetch list --help'],
    ['list --wait', '--wait is an option of fetch, not of list; see popfetch list --help'],
    ['state forget --al', 'unknown option --al; did you mean --all?'],
    ['--headers', '--headers is an option of show, not of fetch; see popfetch fetch --help'],
    ['--limit', '--limit needs a value; see popfetch --help'],
    ['--config=', '--config needs a value; see popfetch --help'],
    ['-a --json', '--account needs a value; see popfetch --help'],
    ['--limit abc', '--limit takes a whole number from 0, not "abc"; see popfetch --help'],
    ['--limit -5', '--limit takes a whole number from 0, not "-5"; see popfetch --help'],
    ['--limit 1e3', '--limit takes a whole number from 0, not "1e3"; see popfetch --help'],
    ['--parallel 0', '--parallel takes a whole number from 1, not "0"; see popfetch --help'],
    ['--max-size 20x', '--max-size takes a size such as 20MiB, not "20x"; see popfetch --help'],
    ['--max-size 0', '--max-size takes a size such as 20MiB, not "0"; see popfetch --help'],
    ['--wait 5', '--wait takes its seconds with "="; did you mean --wait=5?'],
    ['--wait=soon', '--wait takes seconds (--wait=90) or nothing, not "soon"; see popfetch --help'],
    ['--format mbox', '--format takes raw, mboxrd, json, not "mbox"; see popfetch --help'],
    ['--keep=no', '--keep takes no value; see popfetch --help'],
    ['--verbose=2', '--verbose takes no value; see popfetch --help'],
    ['f\x1b[2J', 'unknown command "f\\x1b[2J"; see popfetch --help'],
  ])('%j', async (text, expected) => {
    expect(await complaint(text)).toBe(expected);
  });
});

describe('the help', () => {
  const pages = [
    '--help',
    'fetch --help',
    'show -h',
    'list --help',
    'check --help',
    'status --help',
    'config --help',
    'state --help',
    'state',
  ];

  test.each(pages)('%s fits into 80 columns and begins with what it is and examples', async (text) => {
    const asked = await line(text);
    if (asked.command !== 'help') throw new Error('no help');
    const [title, blank, examples] = asked.text.split('\n');
    expect(title).toMatch(/^popfetch( [a-z]+)?: ./);
    expect([blank, examples]).toEqual(['', 'Examples:']);
    expect(asked.text).toMatch(/\n\nUsage: popfetch .*\[options\]\n/);
    expect(asked.text).toMatch(/\n\nEverywhere:\n {2}-a, --account /);
    expect(asked.text.split('\n').filter((row) => row.length > 80)).toEqual([]);
    expect(asked.text).not.toMatch(/\[(string|boolean|array|count)\]/);
  });

  test('of a command shows its own options and no others', async () => {
    expect(await line('show --help')).toMatchObject({
      text: `popfetch show: one message, as it is, to stdout; records and deletes nothing

Examples:
  popfetch show newest                    the message that came last
  popfetch show 3 -a work --headers       the header of number 3 of one account
  popfetch show uid:0001a2b3 > saved.eml  the one with this unique-id

Usage: popfetch show (N | uid:UID | newest | oldest) [options]

Options of show:
      --headers  only the header
      --lines    the header and the first N lines of the body

Everywhere:
  -a, --account      only account NAME, or all that match ("w*"); may be
                     repeated
  -c, --config       read FILE and no other config
      --json         for programs: JSON to stdout
  -q, --quiet        only errors
  -v, --verbose      a line for each account, -vv for each message
      --trace        write the conversation with the server to FILE, secrets
                     masked
      --no-progress  no moving display on a terminal
      --color        colours even where there is no terminal
      --no-color     no colours (as the environment variable NO_COLOR)
  -h, --help         this help, or the help of a command
      --version      the version
`,
    });
  });

  test('comes before everything that is wrong', async () => {
    expect((await line('fetch --help --bogus')).command).toBe('help');
    expect((await line('fetsch --help')).command).toBe('help');
    expect((await line('list --version')).command).toBe('version');
  });
});
