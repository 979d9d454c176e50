/** The commands that speak to a server, as black boxes. */
import { execFile, spawnSync } from 'node:child_process';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify, stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { certificates, fingerprint, issue } from './support/certificates.js';
import { hogehogeJis, hogehogeUtf8, plain, padded, toLf } from './support/messages.js';
import { Sandbox } from './support/sandbox.js';
import { PASSWORD } from './support/secrets.js';
import { startServer, type ServerOptions, type TestServer } from './support/server.js';

const PROGRAM = fileURLToPath(new URL('../bin/popfetch.js', import.meta.url));
const execute = promisify(execFile);

let sandbox: Sandbox;
const servers: TestServer[] = [];
beforeEach(async () => {
  sandbox = await Sandbox.create();
});
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
  await sandbox.remove();
});

const MESSAGES = [hogehogeUtf8, hogehogeJis, plain(3)];

async function serve(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const accounts = { taro: { password: PASSWORD, messages: MESSAGES } };
  const server = await startServer({ accounts, tls: 'implicit', ...options });
  servers.push(server);
  return server;
}

function account({ port, ca }: TestServer, fields: object = {}): object {
  return {
    ...{ host: 'localhost', port, user: 'taro', password: PASSWORD },
    tls: ca === '' ? 'none' : { mode: 'implicit', ca },
    deliver: { maildir: '~/Mail' },
    ...fields,
  };
}

async function configure(accounts: Record<string, object>): Promise<void> {
  await sandbox.writeConfig({ accounts });
}

/** Exit status, stdout (latin1 where it is mail) and stderr, the sandbox's home written as `~`. */
async function popfetch(...args: string[]): Promise<[number | null, string, string]> {
  const { code, stdout, stderr } = await sandbox.run(args);
  const shorten = (text: string): string => text.replaceAll(sandbox.home, '~');
  return [code, shorten(stdout.toString('utf8')), shorten(stderr)];
}

describe('popfetch list', () => {
  test('shows what is there and what the next fetch would do', async () => {
    const server = await serve();
    await configure({ work: account(server) });
    expect(await popfetch('list')).toEqual([
      0,
      [
        'NUMBER      SIZE  DATE              SEEN  NEXT   FROM                                    SUBJECT',
        `     1   ${String(hogehogeUtf8.length).padStart(5)} B  2026-05-01 01:00  new   fetch  ほげほげマン <hogehoge@hogehoge.or.jp>  test mail`,
        `     2   ${String(hogehogeJis.length).padStart(5)} B  2026-05-01 01:00  new   fetch  ほげほげマン <hogehoge@hogehoge.or.jp>  test mail`,
        `     3      ${plain(3).length} B                    new   fetch                                          message 3`,
        '',
      ].join('\n'),
      '',
    ]);
    const [session] = server.sessions;
    expect(session?.verbs).not.toContain('RETR');
    expect(session?.quit).toBe(true);
    expect(server.mailbox('taro').messages).toHaveLength(3);
  });

  test('knows what has been fetched, what is too large and what is beyond the limit', async () => {
    const server = await serve();
    await configure({ work: account(server, { limit: 1, delete: '30d' }) });
    expect((await popfetch())[0]).toBe(0);
    server.mailbox('taro').add(padded(plain(4), 5000));
    await configure({ work: account(server, { limit: 1, delete: '30d', maxSize: '1KB' }) });
    const [code, stdout] = await popfetch('list', '--json');
    expect(code).toBe(0);
    const { accounts } = JSON.parse(stdout) as { accounts: { messages: Record<string, unknown>[] }[] };
    expect(accounts[0]?.messages).toMatchObject([
      { number: 1, seen: true, next: { action: 'keep', removeAt: expect.any(String) as string } },
      { number: 2, seen: false, next: { action: 'fetch' } },
      { number: 3, seen: false, next: { action: 'skip', reason: 'limit' } },
      { number: 4, seen: false, size: 5000, next: { action: 'skip', reason: 'too large' } },
    ]);
    expect(accounts[0]?.messages[0]).toEqual({
      number: 1,
      uid: expect.any(String) as string,
      size: hogehogeUtf8.length,
      date: '2026-05-01T01:00:00.000Z',
      from: 'ほげほげマン <hogehoge@hogehoge.or.jp>',
      subject: 'test mail',
      seen: true,
      next: { action: 'keep', removeAt: expect.any(String) as string },
    });
  });

  test('an account that fails does not keep the others from being listed', async () => {
    const server = await serve({
      accounts: { taro: { password: PASSWORD, messages: [plain(1)] }, jiro: { password: PASSWORD } },
    });
    await configure({
      bad: account(server, { password: 'wrong' }),
      empty: account(server, { user: 'jiro' }),
      work: account(server, { host: '127.0.0.1' }),
    });
    const [code, stdout, stderr] = await popfetch('list');
    expect([code, stdout]).toEqual([
      77,
      'bad: cannot be listed\n' +
        'empty: no messages\n' +
        `work: 1 message, ${plain(1).length} B\n` +
        'NUMBER      SIZE  DATE  SEEN  NEXT   FROM  SUBJECT\n' +
        `     1      ${plain(1).length} B        new   fetch        message 1\n`,
    ]);
    expect(stderr).toMatch(
      /^popfetch: bad: login: the server refused the login: ".*"; check user and password\n$/,
    );
  });

  test('a server that refuses TOP leaves the columns empty, with one note', async () => {
    const server = await serve({ overrides: { TOP: '-ERR not today' } });
    await configure({ work: account(server) });
    const [code, stdout, stderr] = await popfetch('list');
    expect([code, stderr]).toEqual([
      0,
      'popfetch: work: the server refuses TOP for 3 messages: "not today"\n',
    ]);
    expect(stdout).not.toContain('test mail');
    expect(stdout.split('\n')).toHaveLength(5);
    expect((await popfetch('list', '--quiet'))[2]).toBe('');
  });

  test('a server that offers no TOP is not asked for it', async () => {
    const server = await serve({ capa: ['USER', 'UIDL'] });
    await configure({ work: account(server) });
    const [code, , stderr] = await popfetch('list');
    expect([code, stderr]).toEqual([
      0,
      'popfetch: work: the server has no TOP: date, sender and subject are not known\n',
    ]);
    expect(server.sessions[0]?.verbs).not.toContain('TOP');
  });
});

describe('popfetch show', () => {
  test.each([
    ['1', hogehogeUtf8],
    ['2', hogehogeJis],
    ['oldest', hogehogeUtf8],
    ['newest', plain(3)],
  ])('%s writes that message with LF, drops the connection and records nothing', async (word, message) => {
    const server = await serve();
    await configure({ work: account(server, { delete: 'delivered' }) });
    const { code, stdout, stderr } = await sandbox.run(['show', word]);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.equals(toLf(message))).toBe(true);
    expect(server.sessions[0]?.quit).toBe(false);
    expect(server.sessions[0]?.verbs).not.toContain('DELE');
    await expect(stat(join(sandbox.state, 'popfetch'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('uid: finds a message whatever its number', async () => {
    const server = await serve();
    await configure({ work: account(server) });
    const [, json] = await popfetch('list', '--json');
    const { accounts } = JSON.parse(json) as { accounts: { messages: { uid: string }[] }[] };
    const { stdout } = await sandbox.run(['show', `uid:${accounts[0]?.messages[1]?.uid ?? ''}`]);
    expect(stdout.equals(toLf(hogehogeJis))).toBe(true);
  });

  test('with eol: crlf the message comes as it was sent', async () => {
    const server = await serve();
    await configure({ work: account(server, { eol: 'crlf' }) });
    const { stdout } = await sandbox.run(['show', '1']);
    expect(stdout.equals(hogehogeUtf8)).toBe(true);
  });

  test('--headers and --lines ask for no more than that', async () => {
    const server = await serve();
    await configure({ work: account(server) });
    const header = toLf(hogehogeUtf8).toString('utf8').split('\n\n')[0] ?? '';
    expect(await popfetch('show', '1', '--headers')).toEqual([0, `${header}\n\n`, '']);
    expect(await popfetch('show', '1', '--lines', '1')).toEqual([0, toLf(hogehogeUtf8).toString('utf8'), '']);
    expect(
      server.sessions.flatMap(({ received }) => received).filter((line) => /^(TOP|RETR)/.test(line)),
    ).toEqual(['TOP 1 0', 'TOP 1 1']);
  });

  test('--json gives the octets in base64', async () => {
    const server = await serve();
    await configure({ work: account(server) });
    const [code, stdout] = await popfetch('show', '2', '--json');
    expect(code).toBe(0);
    const { raw, ...rest } = JSON.parse(stdout) as { raw: string };
    expect(rest).toEqual({ number: 2, uid: expect.any(String) as string, size: hogehogeJis.length });
    expect(Buffer.from(raw, 'base64').equals(toLf(hogehogeJis))).toBe(true);
  });

  test('a message that is not there, or not given, is told', async () => {
    const server = await serve({ overrides: { RETR: '-ERR it is stuck' } });
    await configure({ work: account(server) });
    expect(await popfetch('show', '4')).toEqual([
      64,
      '',
      'popfetch: there is no message "4" among 3 messages; popfetch list shows what there is\n',
    ]);
    expect(await popfetch('show', '1')).toEqual([
      75,
      '',
      'popfetch: work: retrieve: the server does not give message 1: "it is stuck"; the next run tries it again\n',
    ]);
  });

  test('a reader that has read enough ends it quietly', async () => {
    const big = padded(plain(1), 5_000_000);
    const server = await serve({ accounts: { taro: { password: PASSWORD, messages: [big] } } });
    await configure({ work: account(server) });
    const running = sandbox.start(['show', '1']);
    running.child.stdout?.once('data', () => running.child.stdout?.destroy());
    const { code, stderr } = await running.done;
    expect([code, stderr]).toEqual([0, '']);
  });
});

describe('popfetch check', () => {
  test('finds nothing wrong where nothing is wrong, and changes nothing', async () => {
    const server = await serve();
    await configure({ work: account(server) });
    const [code, stdout, stderr] = await popfetch('check');
    expect([code, stderr]).toEqual([0, '']);
    expect(
      stdout.replace(/localhost is .*/, 'localhost is …').replace(/offered: .*; of/, 'offered: …; of'),
    ).toBe(
      [
        'ok    config       ~/.config/popfetch/config.yaml, 1 account',
        'work',
        '  ok    dns          localhost is …',
        '  ok    tls          TLSv1.3, localhost < popfetch test authority',
        '  ok    tls          the certificate is good for 29 more days',
        '  ok    capa         offered: …; of use: PIPELINING UIDL TOP UTF8',
        '  ok    login        as taro by PLAIN, the strongest of what is offered: PLAIN',
        '  ok    uidl         3 messages, all with a unique-id',
        '  ok    destination  maildir:~/Mail will be made',
        '  ok    state        nothing remembered yet',
        '',
      ].join('\n'),
    );
    await expect(stat(sandbox.path('Mail'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(stat(join(sandbox.state, 'popfetch'))).rejects.toMatchObject({ code: 'ENOENT' });
    expect(server.sessions[0]?.quit).toBe(true);
  });

  test('--quiet shows only what fails, with its remedy', async () => {
    const server = await serve();
    await configure({
      bad: account(server, { password: 'wrong' }),
      work: account(server, { host: '127.0.0.1' }),
    });
    const [code, stdout] = await popfetch('check', '-q');
    expect(code).toBe(77);
    expect(stdout).toMatch(
      /^bad\n {2}FAIL {2}login +the server refused the login: ".*"; check user and password\n$/,
    );
  });

  test('shows the fingerprint of a certificate that nobody vouches for', async () => {
    const { selfSigned } = await certificates();
    const server = await serve({ certificate: selfSigned });
    await configure({ work: account(server, { tls: 'implicit' }) });
    const [code, stdout] = await popfetch('check');
    expect(code).toBe(76);
    expect(stdout).toContain(
      '  FAIL  tls          the certificate of localhost is self-signed; if it is your own server, ' +
        'set tls.ca to the certificate or tls.pin to its fingerprint\n' +
        `  warn  tls          the certificate is sha256:${fingerprint(selfSigned.cert)}; ` +
        'if you know from elsewhere that it is right, set tls.pin to it\n',
    );
    // The password was never sent.
    expect(server.sessions.flatMap(({ received }) => received)).toEqual([]);
  });

  test('warns of a certificate that ends soon', async () => {
    const set = await certificates();
    const soon = await issue(
      'soon',
      { commonName: 'localhost', dns: ['localhost'], until: 5, issuer: set.authority },
      sandbox.home,
    );
    const server = await serve({ certificate: soon });
    await configure({ work: account(server) });
    const [code, stdout] = await popfetch('check');
    expect(code).toBe(0);
    expect(stdout).toContain(
      "  warn  tls          the certificate is good for 4 more days; ask the server's administrator to renew it\n",
    );
  });

  test('warns of unique-ids that are shared or too long', async () => {
    const uids = `+OK\r\n1 same\r\n2 same\r\n3 ${'x'.repeat(71)}\r\n.\r\n`;
    const server = await serve({ overrides: { UIDL: uids } });
    await configure({ work: account(server) });
    const [code, stdout] = await popfetch('check');
    expect(code).toBe(0);
    expect(stdout).toContain(
      '  warn  uidl         1 message with the unique-id of another one; tell the provider\n',
    );
    expect(stdout).toContain('  warn  uidl         1 unique-id of more than 70 octets\n');
  });

  test('a server that is not there, and a destination that cannot be', async () => {
    const server = await serve();
    await configure({ work: account(server, { deliver: { maildir: '/dev/null/Mail' } }) });
    servers.length = 0;
    await server.close();
    const [code, stdout] = await popfetch('check');
    expect(code).toBe(73);
    expect(stdout).toMatch(/^ {2}FAIL {2}connect +localhost refuses connections on port \d+; /m);
    expect(stdout).toContain(
      '  FAIL  destination  no mail can be written to /dev/null/Mail: /dev/null is not a directory; ' +
        'check the path and its permissions\n',
    );
  });

  test('--json is one document', async () => {
    const server = await serve();
    await configure({ work: account(server, { password: 'wrong' }) });
    const [code, stdout, stderr] = await popfetch('check', '--json');
    expect([code, stderr]).toEqual([77, '']);
    expect(JSON.parse(stdout)).toMatchObject({
      accounts: [
        {
          account: 'work',
          findings: [
            { level: 'ok', subject: 'dns' },
            { level: 'fail', subject: 'login', error: { code: 'AUTH', exit: 77 } },
            { level: 'ok', subject: 'destination' },
            { level: 'ok', subject: 'state' },
          ],
        },
      ],
    });
  });
});

describe('popfetch fetch', () => {
  test('is silent when all is well, and says more when asked to', async () => {
    const server = await serve();
    await configure({ work: account(server) });
    expect(await popfetch()).toEqual([0, '', '']);
    expect(await readdir(sandbox.path('Mail/new'))).toHaveLength(3);
    const [code, stdout, stderr] = await popfetch('-v');
    expect([code, stdout]).toEqual([0, '']);
    expect(stderr).toMatch(/^popfetch: work: nothing new in \d\.\d s\n$/);
  });

  test('a dry run says what it would do and does not do it', async () => {
    const server = await serve();
    await configure({ work: account(server) });
    const octets = MESSAGES.reduce((sum, { length }) => sum + length, 0);
    expect(await popfetch('--dry-run')).toEqual([
      0,
      '',
      `popfetch: work: would fetch 3 messages (${octets} B)\n`,
    ]);
    expect(server.sessions[0]?.verbs).not.toContain('RETR');
    await expect(stat(sandbox.path('Mail'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('one line for each problem, and the other accounts are delivered', async () => {
    const server = await serve();
    await configure({
      bad: account(server, { password: 'wrong' }),
      work: account(server, { host: '127.0.0.1' }),
    });
    const [code, stdout, stderr] = await popfetch();
    expect([code, stdout]).toEqual([77, '']);
    expect(stderr).toMatch(
      /^popfetch: bad: login: the server refused the login: ".*"; check user and password\n$/,
    );
    expect(await readdir(sandbox.path('Mail/new'))).toHaveLength(3);
  });

  test('--limit, --max-size and --keep go before the config', async () => {
    const server = await serve();
    await configure({ work: account(server, { delete: 'delivered' }) });
    expect((await popfetch('--limit', '1', '--keep'))[0]).toBe(0);
    expect(await readdir(sandbox.path('Mail/new'))).toHaveLength(1);
    expect(server.mailbox('taro').messages).toHaveLength(3);
    const [code, , stderr] = await popfetch('--max-size', '200');
    expect(code).toBe(0);
    expect(stderr).toMatch(
      /^popfetch: work: message 2 \(\d+ B\) is larger than maxSize and stays on the server; raise maxSize, or run popfetch show uid:\S+ -a work\n$/,
    );
    // Told once, not in every run from cron.
    expect(await popfetch('--max-size', '200')).toEqual([0, '', '']);
  });

  test('--stdout takes the place of the destination and consumes', async () => {
    const server = await serve();
    await configure({ work: account(server) });
    const first = await sandbox.run(['--stdout', '--limit', '1']);
    expect([first.code, first.stderr]).toEqual([0, '']);
    expect(first.stdout.equals(toLf(hogehogeUtf8))).toBe(true);
    const [code, stdout, stderr] = await popfetch('--stdout');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.match(/^From /gm)).toHaveLength(2);
    expect(await popfetch('--stdout')).toEqual([0, '', '']);
    await expect(stat(sandbox.path('Mail'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('--json writes one event a line to stdout and nothing to stderr', async () => {
    const server = await serve();
    await configure({
      bad: account(server, { password: 'wrong' }),
      work: account(server, { host: '127.0.0.1' }),
    });
    const [code, stdout, stderr] = await popfetch('--json');
    expect([code, stderr]).toEqual([77, '']);
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; time: string; account?: string });
    expect(events[0]).toMatchObject({ type: 'run-start', accounts: ['bad', 'work'] });
    expect(events.at(-1)).toMatchObject({ type: 'run-end', exitCode: 77 });
    expect(events.filter(({ type }) => type === 'delivered')).toHaveLength(3);
    expect(events.filter(({ type }) => type === 'failed')).toMatchObject([
      { account: 'bad', error: { code: 'AUTH', phase: 'login', exit: 77 } },
    ]);
    expect(events.every(({ time }) => new Date(time).toISOString() === time)).toBe(true);
  });

  test('a reader of --json that goes away does not keep the mail from its destination', async () => {
    const server = await serve();
    await configure({ work: account(server) });
    const running = sandbox.start(['--json']);
    running.child.stdout?.destroy();
    const { code, stderr } = await running.done;
    expect([code, stderr]).toEqual([0, '']);
    expect(await readdir(sandbox.path('Mail/new'))).toHaveLength(3);
  });

  test('--trace writes what was said, without the password, for nobody else to read', async () => {
    const server = await serve({ capa: false });
    await configure({ work: account(server, { auth: 'user' }) });
    expect(await popfetch('--trace', 'talk.log')).toEqual([0, '', '']);
    const file = join(sandbox.work, 'talk.log');
    const talk = await readFile(file, 'utf8');
    expect(talk).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z work C: USER taro$/m);
    expect(talk).toContain(' work C: PASS ********\n');
    expect(talk).not.toContain(PASSWORD);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const [code, , stderr] = await popfetch('--trace', 'no/talk.log');
    expect([code, stderr]).toEqual([
      73,
      'popfetch: cannot write the trace to ~/work/no/talk.log: ENOENT; ' +
        'give --trace a new file in a directory of your own\n',
    ]);
  });

  test('what it makes is for its owner alone', async () => {
    const server = await serve();
    await configure({ work: account(server) });
    await popfetch();
    const [name = ''] = await readdir(sandbox.path('Mail/new'));
    expect((await stat(sandbox.path('Mail/new', name))).mode & 0o777).toBe(0o600);
    expect((await stat(join(sandbox.state, 'popfetch'))).mode & 0o777).toBe(0o700);
  });
});

describe('popfetch status', () => {
  test('tells of the last run and of what waits to be removed', async () => {
    const server = await serve();
    await configure({ work: account(server, { delete: '30d' }) });
    await popfetch();
    const sessions = server.sessions.length;
    const [code, stdout, stderr] = await popfetch('status');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout.replace(/\d{4}-\d\d-\d\d \d\d:\d\d/g, 'DATE').replace(/\d+(\.\d)? s ago/, 'SPAN ago')).toBe(
      'work\n' +
        '  last run    DATE (SPAN ago)\n' +
        '  result      ok\n' +
        '  messages    3 on the server, 3 delivered, 0 removed\n' +
        '  remembered  3 messages\n' +
        '  to remove   3, 0 due now, the next on DATE\n',
    );
    await configure({ work: account(server, { delete: 'delivered' }) });
    expect((await popfetch('status'))[1]).toContain('  to remove   3, 3 due now\n');
    await popfetch();
    expect((await popfetch('status'))[1]).toContain('  to remove   nothing\n');
    const [, json] = await popfetch('status', '--json');
    expect(JSON.parse(json)).toMatchObject({
      accounts: [
        { account: 'work', lastRun: { result: 'ok', removed: 3 }, waiting: 0, due: 0, nextDue: null },
      ],
    });
    // Only the two runs of fetch spoke to the server.
    expect(server.sessions).toHaveLength(sessions + 1);
  });
});

describe('a signal', () => {
  /** A run whose two accounts wait for a server that has stopped talking. */
  async function waiting(): Promise<ReturnType<Sandbox['start']>> {
    const user = { password: PASSWORD, messages: MESSAGES };
    let reached: () => void = () => undefined;
    const both = new Promise<void>((resolve) => {
      reached = resolve;
    });
    let stalled = 0;
    const LIST = (): 'stall' => {
      stalled += 1;
      if (stalled === 2) reached();
      return 'stall';
    };
    const server = await serve({ accounts: { taro: user, jiro: user }, overrides: { LIST } });
    await configure({ a: account(server), b: account(server, { user: 'jiro' }) });
    const running = sandbox.start([]);
    await both;
    return running;
  }

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('%s ends the run in order with %i, in one line', async (signal, exit) => {
    const running = await waiting();
    running.kill(signal);
    const { code, stderr } = await running.done;
    expect([code, stderr]).toEqual([
      exit,
      `popfetch: interrupted by ${signal}; nothing is lost; the next run goes on\n`,
    ]);
  });

  test('the second one ends it at once', async () => {
    const directory = join(sandbox.config, 'popfetch');
    await mkdir(directory, { recursive: true });
    // A config that is a program and never comes to an end.
    const code =
      "process.on('SIGTERM', () => process.stderr.write('one'));\n" +
      "process.stderr.write('ready');\nawait new Promise(() => setInterval(() => {}, 1000));\n";
    await writeFile(join(directory, 'config.mjs'), code, { mode: 0o600 });
    const running = sandbox.start([]);
    const said = (text: string): Promise<void> =>
      new Promise<void>((resolve) => {
        running.child.stderr?.on('data', (data) => {
          if (String(data) === text) resolve();
        });
      });
    await said('ready');
    running.kill('SIGTERM');
    await said('one');
    running.kill('SIGTERM');
    const { code: exit, signal } = await running.done;
    expect([exit, signal]).toEqual([143, null]);
  });
});

/** `script` of util-linux gives a command a terminal of its own. */
const hasScript = (
  spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout as string | null
)?.includes('util-linux');

describe.skipIf(!hasScript)('on a real terminal', () => {
  /** What popfetch writes to a terminal of so many columns. */
  async function onTerminal(columns: number): Promise<string> {
    const command = `stty cols ${columns} rows 24; exec '${process.execPath}' '${PROGRAM}'`;
    const { stdout } = await execute('script', ['-qec', command, '/dev/null'], {
      env: { PATH: process.env['PATH'], HOME: sandbox.home, TERM: 'xterm', LANG: 'C.UTF-8' },
      timeout: 20_000,
    });
    return stdout;
  }

  test('a moving line, then a line for each account', async () => {
    const server = await serve({ latency: 100 });
    await configure({ work: account(server) });
    const text = await onTerminal(80);
    expect(stripVTControlCharacters(text)).toMatch(/work (start|connect|login)/);
    expect(text).toContain('\x1b[32mwork\x1b[39m: 3 new messages (833 B) in ');
    // The cursor is left as it was found.
    expect(text.endsWith('\x1b[?25h')).toBe(true);
  });

  test('a terminal of 0 columns does not hang', async () => {
    const server = await serve({ latency: 100 });
    await configure({ work: account(server) });
    const text = await onTerminal(0);
    expect(stripVTControlCharacters(text)).toMatch(/^work: 3 new messages \(833 B\) in \d\.\d s\r\n$/);
  });
});
