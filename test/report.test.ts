import { EventEmitter } from 'node:events';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test, vi } from 'vitest';
import { ConfigError } from '../src/config/problems.js';
import { PopfetchError } from '../src/errors.js';
import type { Event, Outcome } from '../src/events.js';
import { canMove, Progress, type Terminal } from '../src/report/progress.js';
import { createReporter, formatError, type ReporterOptions } from '../src/report/report.js';
import { toJson } from '../src/report/sentences.js';

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5);

/** Takes what is written; may pass for a terminal. */
class Screen extends EventEmitter {
  text = '';
  isTTY: boolean | undefined;
  columns: number | undefined;

  constructor(columns?: number) {
    super();
    if (columns === undefined) return;
    this.isTTY = true;
    this.columns = columns;
  }
  write(text: string): boolean {
    this.text += text;
    return true;
  }
  cursorTo(): boolean {
    return true;
  }
  moveCursor(): boolean {
    return true;
  }
  clearLine(): boolean {
    return true;
  }
  /** What a person reads. */
  get plain(): string {
    return stripVTControlCharacters(this.text);
  }
  get terminal(): Terminal {
    return this as unknown as Terminal;
  }
}

function report(
  events: readonly Event[],
  options: Partial<Omit<ReporterOptions, 'stderr' | 'stdout'>> = {},
  stderr = new Screen(),
): { stderr: string; stdout: string } {
  const stdout = new Screen();
  const reporter = createReporter({
    json: false,
    quiet: false,
    verbose: 0,
    progress: true,
    color: undefined,
    env: {},
    now: () => NOW,
    ...options,
    stderr: stderr.terminal,
    stdout,
  });
  for (const event of events) reporter.emit(event);
  reporter.done();
  return { stderr: stderr.text, stdout: stdout.text };
}

function outcome(parts: Partial<Outcome> = {}): Outcome {
  return {
    account: 'work',
    listed: 5,
    delivered: 2,
    octets: 3000,
    removed: 1,
    skipped: 0,
    elapsed: 1234,
    errors: [],
    ...parts,
  };
}

const REFUSED = new PopfetchError('AUTH', 'the server refused the login', {
  account: 'work',
  phase: 'login',
  serverText: '[AUTH] no\x1b[2J such "user"',
});

const WELL: readonly Event[] = [
  { type: 'run-start', accounts: ['work'] },
  { type: 'account-start', account: 'work' },
  { type: 'phase', account: 'work', phase: 'connect' },
  { type: 'planned', account: 'work', listed: 5, seen: 3, wanted: 2, octets: 3000, doomed: 1 },
  { type: 'progress', account: 'work', octets: 1500 },
  {
    type: 'delivered',
    account: 'work',
    number: 4,
    uid: 'a',
    key: 'k',
    octets: 1500,
    destination: 'maildir:/home/taro/Mail',
  },
  { type: 'removed', account: 'work', messages: 1 },
  { type: 'account-end', account: 'work', outcome: outcome() },
  { type: 'run-end', outcomes: [outcome()], exitCode: 0 },
];

const TOO_LARGE: Event = {
  type: 'skipped',
  account: 'work',
  number: 7,
  uid: '0001a',
  octets: 300 * 1024 ** 2,
  reason: 'too large',
  first: true,
};

const TROUBLE: readonly Event[] = [
  { type: 'warning', account: 'work', message: 'QUIT was refused', serverText: 'later\r\n\x9b' },
  TOO_LARGE,
  { ...TOO_LARGE, number: 8, first: false },
  { ...TOO_LARGE, number: 9, reason: 'limit' },
  { type: 'failed', account: 'work', error: REFUSED },
  { type: 'account-end', account: 'work', outcome: outcome({ delivered: 0, removed: 0, errors: [REFUSED] }) },
];

const FAILURE =
  'popfetch: work: login: the server refused the login: "[AUTH] no\\x1b[2J such "user""; check user and password\n';

describe('an error for people', () => {
  test('says account, phase, what happened, the words of the server and what to do', () => {
    expect(`${formatError(REFUSED, 'popfetch: ')}\n`).toBe(FAILURE);
  });

  test('leaves out what is not known', () => {
    expect(formatError(new PopfetchError('CONFIG', 'no config'))).toBe('no config');
    expect(formatError(new PopfetchError('AUTH', 'no', { account: 'a', serverText: '' }))).toBe(
      'a: no; check user and password',
    );
  });

  test('puts a remedy that is a text to paste on lines of its own', () => {
    const error = new PopfetchError('CONFIG', 'no config found', {
      phase: 'config',
      remedy: 'save this:\n\na: 1\n',
    });
    expect(formatError(error, 'popfetch: ')).toBe('popfetch: no config found\nsave this:\n\na: 1\n');
  });

  test('lists every problem of a config', () => {
    const problem = { file: '/c.yaml', what: 'unknown key', path: 'accounts.a.prot', line: 3 };
    const error = new ConfigError('/c.yaml', [
      { ...problem, suggestion: 'port' },
      { ...problem, line: 4, path: 'accounts.a.port', what: '"x" is not valid', expected: 'a number' },
    ]);
    expect(formatError(error, 'popfetch: ')).toBe(
      'popfetch: /c.yaml:3: accounts.a.prot: unknown key; did you mean "port"?\n' +
        'popfetch: /c.yaml:4: accounts.a.port: "x" is not valid (expected a number)',
    );
  });
});

describe('without a terminal', () => {
  test('a run in which all is well is silent', () => {
    expect(report(WELL)).toEqual({ stderr: '', stdout: '' });
  });

  test('each problem is one line, and none is told twice', () => {
    expect(report(TROUBLE).stderr).toBe(
      'popfetch: work: warning: QUIT was refused: "later\\r\\n\\x9b"\n' +
        'popfetch: work: message 7 (300 MiB) is larger than maxSize and stays on the server; ' +
        'raise maxSize, or run popfetch show uid:0001a -a work\n' +
        FAILURE,
    );
  });

  test('--quiet leaves only errors', () => {
    expect(report(TROUBLE, { quiet: true, verbose: 3 }).stderr).toBe(FAILURE);
  });

  test('-v adds a line for each account', () => {
    expect(report(WELL, { verbose: 1 }).stderr).toBe(
      'popfetch: work: 2 new messages (2.9 KiB), 1 removed in 1.2 s\n',
    );
  });

  test('-vv adds lines for the plan and for each message, -vvv for each step', () => {
    const account = 'popfetch: work: 2 new messages (2.9 KiB), 1 removed in 1.2 s\n';
    const messages =
      'popfetch: work: 5 on the server, 3 seen, 2 to fetch (2.9 KiB), 1 to remove\n' +
      'popfetch: work: message 4 (1.5 KiB) to maildir:/home/taro/Mail\n' +
      'popfetch: work: 1 message removed from the server\n';
    expect(report(WELL, { verbose: 2 }).stderr).toBe(messages + account);
    expect(report(WELL, { verbose: 3 }).stderr).toBe(`popfetch: work: connect\n${messages}${account}`);
  });

  test('an account that ended in an error says what it did before, if it did anything', () => {
    const end = (parts: Partial<Outcome>): Event => ({
      type: 'account-end',
      account: 'work',
      outcome: outcome({ errors: [REFUSED], ...parts }),
    });
    expect(report([end({ removed: 0, skipped: 2 })], { verbose: 1 }).stderr).toBe(
      'popfetch: work: 2 new messages (2.9 KiB), 2 left on the server in 1.2 s\n',
    );
    expect(report([end({ removed: 0, delivered: 0 })], { verbose: 1 }).stderr).toBe('');
  });

  test('a dry run says what it would do', () => {
    const would = { type: 'would', account: 'work', uid: 'a', octets: 1500 } as const;
    const events: Event[] = [
      { ...would, action: 'fetch', number: 1 },
      { ...would, action: 'fetch', number: 2 },
      { ...would, action: 'remove', number: 3 },
      { type: 'account-end', account: 'work', outcome: outcome({ delivered: 0, removed: 0 }) },
    ];
    expect(report(events).stderr).toBe('popfetch: work: would fetch 2 messages (2.9 KiB) and remove 1\n');
    expect(report(events, { verbose: 1 }).stderr).toBe(
      'popfetch: work: would fetch message 1 (1.5 KiB)\n' +
        'popfetch: work: would fetch message 2 (1.5 KiB)\n' +
        'popfetch: work: would remove message 3 (1.5 KiB)\n' +
        'popfetch: work: would fetch 2 messages (2.9 KiB) and remove 1\n',
    );
    expect(report(events, { quiet: true }).stderr).toBe('');
  });

  test('a unique-id that a shell would not take as it is is not put into a command', () => {
    expect(report([{ ...TOO_LARGE, uid: '$(reboot)', account: 'my mail' }]).stderr).toContain(
      "run popfetch show 7 -a 'my mail'\n",
    );
  });

  test('names that would steer a terminal do not', () => {
    expect(report([{ type: 'warning', account: 'w\x1b[2J\u202e', message: 'a\nb' }]).stderr).toBe(
      'popfetch: w\ufffd[2J\ufffd: warning: a\ufffdb\n',
    );
  });
});

describe('on a terminal', () => {
  const still = { progress: false } as const;

  test('each account ends with a line', () => {
    expect(report(WELL, { ...still, color: false }, new Screen(80)).stderr).toBe(
      'work: 2 new messages (2.9 KiB), 1 removed in 1.2 s\n',
    );
    const nothing: Event = {
      type: 'account-end',
      account: 'work',
      outcome: outcome({ delivered: 0, removed: 0 }),
    };
    expect(report([nothing], { ...still, color: false }, new Screen(80)).stderr).toBe(
      'work: nothing new in 1.2 s\n',
    );
  });

  test('colours say how it went', () => {
    expect(report(WELL, still, new Screen(80)).stderr).toBe(
      '\x1b[32mwork\x1b[39m: 2 new messages (2.9 KiB), 1 removed in 1.2 s\n',
    );
    const red = `\x1b[31m${FAILURE.trimEnd().replace('popfetch: ', '')}\x1b[39m\n`;
    expect(report(TROUBLE, { ...still, quiet: true }, new Screen(80)).stderr).toBe(red);
  });

  test('NO_COLOR, TERM=dumb and --no-color take the colours away, --color brings them', () => {
    const colored = (options: Partial<ReporterOptions>, screen = new Screen(80)): boolean =>
      report(WELL, { ...still, verbose: 1, ...options }, screen).stderr.includes('\x1b');
    expect(colored({})).toBe(true);
    expect(colored({ env: { NO_COLOR: '1' } })).toBe(false);
    expect(colored({ env: { NO_COLOR: '' } })).toBe(true);
    expect(colored({ env: { TERM: 'dumb' } })).toBe(false);
    expect(colored({ color: false })).toBe(false);
    expect(colored({ color: true, env: { NO_COLOR: '1' } })).toBe(true);
    expect(colored({}, new Screen())).toBe(false);
    expect(colored({ color: true }, new Screen())).toBe(true);
  });

  test('every running account is on the moving line, which goes when all is done', async () => {
    const screen = new Screen(80);
    const reporter = createReporter({
      ...{ json: false, quiet: false, verbose: 0, progress: true, color: false, env: {} },
      stderr: screen.terminal,
      stdout: new Screen(),
    });
    reporter.emit({ type: 'run-start', accounts: ['work', 'home'] });
    reporter.emit({ type: 'account-start', account: 'work' });
    reporter.emit({ type: 'account-start', account: 'home' });
    reporter.emit({ type: 'phase', account: 'home', phase: 'login' });
    await vi.waitFor(() => {
      expect(screen.plain).toContain('work start · home login');
    });
    reporter.emit({ type: 'account-end', account: 'work', outcome: outcome() });
    expect(screen.plain).toContain('work: 2 new messages (2.9 KiB), 1 removed in 1.2 s\n');
    reporter.done();
    const { text } = screen;
    // Cursor shown again: the very last thing.
    expect(text.endsWith('\x1b[?25h')).toBe(true);
    expect(screen.listenerCount('resize')).toBe(0);
  });

  test('a terminal of 0 columns, CI, TERM=dumb and a pipe get no moving line', () => {
    expect(canMove(new Screen(80).terminal, {})).toBe(true);
    expect(canMove(new Screen(0).terminal, {})).toBe(false);
    expect(canMove(new Screen().terminal, {})).toBe(false);
    expect(canMove(new Screen(80).terminal, { CI: 'true' })).toBe(false);
    expect(canMove(new Screen(80).terminal, { CI: 'false' })).toBe(true);
    expect(canMove(new Screen(80).terminal, { TERM: 'dumb' })).toBe(false);
  });

  test('a terminal of 0 columns still gets its lines, and the run ends', () => {
    expect(report(WELL, { color: false }, new Screen(0)).stderr).toBe(
      'work: 2 new messages (2.9 KiB), 1 removed in 1.2 s\n',
    );
  });

  test('a window that shrinks to nothing stops the moving line', async () => {
    const screen = new Screen(80);
    const progress = new Progress(screen.terminal, () => NOW);
    await progress.start(false);
    expect(screen.text).not.toBe('');
    screen.columns = 0;
    screen.emit('resize');
    expect(screen.text.endsWith('\x1b[?25h')).toBe(true);
  });

  test('nothing is drawn when all is done before ora is loaded', async () => {
    const screen = new Screen(80);
    const progress = new Progress(screen.terminal, () => NOW);
    const started = progress.start(false);
    progress.stop();
    await started;
    expect(screen.text).toBe('');
  });
});

describe('the moving line', () => {
  function line(columns: number, events: readonly Event[]): string {
    let now = NOW;
    const progress = new Progress(new Screen(columns).terminal, () => now);
    for (const event of events) progress.see(event);
    now += 2000;
    return progress.line();
  }

  const start: Event = { type: 'account-start', account: 'work' };
  const planned: Event = {
    ...{ type: 'planned', account: 'work', listed: 5, seen: 3 },
    ...{ wanted: 2, octets: 3000, doomed: 1 },
  };

  test('shows messages, octets and rate while mail comes', () => {
    const events: Event[] = [
      start,
      planned,
      { type: 'phase', account: 'work', phase: 'retrieve' },
      { type: 'progress', account: 'work', octets: 2048 },
      { type: 'delivered', account: 'work', number: 1, uid: 'a', key: 'k', octets: 2048, destination: 'd' },
      { type: 'progress', account: 'work', octets: 2048 },
    ];
    expect(line(80, events)).toBe('work 1/2 4.0 KiB 2.0 KiB/s');
  });

  test('drops accounts that have ended, and ignores those that never began', () => {
    const end: Event = { type: 'account-end', account: 'work', outcome: outcome() };
    expect(line(80, [start, end])).toBe('');
    expect(line(80, [{ type: 'progress', account: 'other', octets: 1 }])).toBe('');
  });

  test('never is wider than the terminal, whatever the letters', () => {
    const long: Event[] = ['受信箱一', '受信箱二', '受信箱三'].map((account) => ({
      type: 'account-start',
      account,
    }));
    expect(line(24, long)).toBe('受信箱一 start · 受…');
    expect(line(3, long)).toBe('');
  });
});

describe('for programs', () => {
  test('every event but progress is one line with its time', () => {
    const { stdout, stderr } = report(WELL, { json: true });
    expect(stderr).toBe('');
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text) as Record<string, unknown>);
    expect(events.map(({ type }) => type)).toEqual([
      ...['run-start', 'account-start', 'phase', 'planned', 'delivered'],
      ...['removed', 'account-end', 'run-end'],
    ]);
    expect(new Set(events.map(({ time }) => time))).toEqual(new Set(['2026-01-02T03:04:05.000Z']));
    expect(stdout.split('\n')[4]).toBe(
      '{"time":"2026-01-02T03:04:05.000Z","type":"delivered","account":"work","number":4,"uid":"a","key":"k",' +
        '"octets":1500,"destination":"maildir:/home/taro/Mail"}',
    );
  });

  test('an error is its fields, the words of the server escaped', () => {
    const { stdout } = report([{ type: 'failed', account: 'work', error: REFUSED }], { json: true });
    expect(JSON.parse(stdout)).toEqual({
      time: '2026-01-02T03:04:05.000Z',
      type: 'failed',
      account: 'work',
      error: {
        code: 'AUTH',
        account: 'work',
        phase: 'login',
        message: 'the server refused the login',
        serverText: '[AUTH] no\\x1b[2J such "user"',
        remedy: 'check user and password',
        exit: 77,
      },
    });
  });

  test('outcomes carry their errors as fields', () => {
    const bad = outcome({ errors: [REFUSED] });
    const { stdout } = report(
      [
        { type: 'account-end', account: 'work', outcome: bad },
        { type: 'run-end', outcomes: [bad], exitCode: 77 },
      ],
      { json: true, quiet: true },
    );
    const [end, all] = stdout
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text) as { outcome?: unknown; outcomes?: unknown[]; exitCode?: number });
    expect(end?.outcome).toMatchObject({ delivered: 2, errors: [{ code: 'AUTH', exit: 77 }] });
    expect(all).toMatchObject({ exitCode: 77, outcomes: [{ account: 'work', errors: [{ code: 'AUTH' }] }] });
  });

  test('unique-ids and warnings are escaped, and all of it is ASCII', () => {
    const { stdout } = report(
      [
        { ...TOO_LARGE, uid: 'a\x1b\xe9', account: '受信' },
        { type: 'warning', account: 'w', message: 'm', serverText: '\x9bx' },
      ],
      { json: true },
    );
    expect(stdout).toMatch(/^[\n -~]*$/);
    const [skipped, warning] = stdout.trimEnd().split('\n');
    expect(JSON.parse(skipped!)).toMatchObject({ account: '受信', uid: 'a\\x1b\\xe9' });
    expect(JSON.parse(warning!)).toMatchObject({ serverText: '\\x9bx' });
  });

  test('JSON in ASCII means what it meant', () => {
    const value = { a: 'テ\u{1f600}\u007f\ud800', b: [1] };
    expect(JSON.parse(toJson(value))).toEqual(value);
    expect(toJson(value, 2)).toMatch(/^[\n -~]*$/);
  });
});
