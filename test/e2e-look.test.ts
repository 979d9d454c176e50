/** The commands that only look: show, list, check, status and config leave the server, the disk and the memory as they are. */
import { readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { certificates } from './support/certificates.js';
import { lf, reach, said, until, World } from './support/e2e.js';
import { awkward, hogehogeUtf8, huge, padded, plain } from './support/messages.js';
import type { ServerOptions, TestServer } from './support/server.js';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

describe('popfetch show', () => {
  const MAIL = [plain(1), awkward['leading dots']!, awkward['all octets']!, awkward['no CRLF at the end']!];

  test('writes any message as it would be stored, and never QUITs after RETR', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    const before = await world.everything();
    const shown: string[] = [];
    for (const word of ['oldest', '2', 'uid:uid-3', 'newest']) {
      const { code, stdout, stderr } = await world.run(['show', word]);
      expect([code, stderr]).toEqual([0, '']);
      shown.push(stdout.toString('latin1'));
    }
    const wired = MAIL.map((message) => lf(message.toString('latin1')));
    expect(shown).toEqual([...wired.slice(0, 3), `${wired[3] ?? ''}\n`]);
    expect(said(server, 'RETR')).toEqual(['RETR 1', 'RETR 2', 'RETR 3', 'RETR 4']);
    expect(said(server, 'QUIT', 'DELE')).toEqual([]);
    expect(server.sessions.map(({ quit }) => quit)).toEqual([false, false, false, false]);
    expect(await world.everything()).toEqual(before);
    // What was shown is still new.
    expect((await world.popfetch()).code).toBe(0);
    expect(await world.maildir('work')).toHaveLength(4);
  });

  test('--headers and --lines ask with TOP, and stop where they are told', async () => {
    const body = Array.from({ length: 10 }, (_, index) => `.line ${index}`);
    const server = await world.serve({ taro: [Buffer.from(`Subject: x\r\n\r\n${body.join('\r\n')}\r\n`)] });
    await world.configure({ work: reach(server) });
    expect((await world.popfetch('show', '1', '--headers')).stdout).toBe('Subject: x\n\n');
    expect((await world.popfetch('show', '1', '--lines', '2')).stdout).toBe(
      'Subject: x\n\n.line 0\n.line 1\n',
    );
    expect((await world.popfetch('show', '1', '--lines=0')).stdout).toBe('Subject: x\n\n');
    expect(said(server, 'TOP', 'RETR')).toEqual(['TOP 1 0', 'TOP 1 2', 'TOP 1 0']);
  });

  test('shows one that is too large to be fetched, and stops when its reader has enough', async () => {
    const server = await world.serve({ taro: [huge(300_000_000)] });
    await world.configure({ work: reach(server, { maxSize: '1MB' }) });
    const { stdout, stderr } = await world.shell('(popfetch show 1; echo "status $?" >&2) | head -n 1');
    expect([stdout, stderr]).toEqual(['Subject: 300000000 octets\n', 'status 0\n']);
    expect(server.sessions[0]?.octetsSent).toBeLessThan(100_000_000);
  });

  test.each(['close', 'reset'] as const)(
    'a session that breaks in the middle (%s) is told, not taken for the end',
    async (action) => {
      const server = await world.serve(
        { taro: [padded(plain(1), 400_000)] },
        { faults: [{ at: 'body', verb: 'RETR', action }] },
      );
      await world.configure({ work: reach(server) });
      const { code, stdout, stderr } = await world.run(['show', '1']);
      expect(code).toBe(75);
      // Whether a reset is seen as one depends on what the kernel still had to hand over.
      expect(stderr).toMatch(
        /^popfetch: work: retrieve: (the server closed the connection|the connection broke \(ECONNRESET\)); nothing is lost; the next run goes on\n$/,
      );
      expect(stdout.length).toBeLessThan(400_000);
    },
  );
});

describe('popfetch list', () => {
  test('shows what the next fetch would do with each message, and asks only for headers', async () => {
    const server = await world.serve({ taro: [plain(1), hogehogeUtf8, padded(plain(3), 5000), plain(4)] });
    await world.configure({ work: reach(server, { delete: '30d' }) });
    expect((await world.popfetch('--limit', '1')).code).toBe(0);
    await world.configure({ work: reach(server, { delete: 'delivered', maxSize: '1KB', limit: 1 }) });
    const before = await world.everything();
    const size = (message: Buffer): string => `${message.length} B`.padStart(8);
    expect(await world.popfetch('list')).toEqual({
      code: 0,
      stderr: '',
      stdout: [
        'NUMBER      SIZE  DATE              SEEN  NEXT             FROM                                    SUBJECT',
        `     1  ${size(plain(1))}                    seen  remove                                                   message 1`,
        `     2  ${size(hogehogeUtf8)}  2026-05-01 01:00  new   fetch            ほげほげマン <hogehoge@hogehoge.or.jp>  test mail`,
        '     3   4.9 KiB                    new   skip: too large                                          message 3',
        `     4  ${size(plain(4))}                    new   skip: limit                                              message 4`,
        '',
      ].join('\n'),
    });
    const { stdout } = await world.popfetch('list', '--json');
    const { accounts } = JSON.parse(stdout) as { readonly accounts: readonly object[] };
    expect(accounts).toMatchObject([
      {
        ...{ account: 'work', notes: [] },
        octets: plain(1).length + hogehogeUtf8.length + 5000 + plain(4).length,
        messages: [
          { number: 1, uid: 'uid-1', seen: true, next: { action: 'remove' } },
          { number: 2, uid: 'uid-2', seen: false, subject: 'test mail', next: { action: 'fetch' } },
          { number: 3, uid: 'uid-3', size: 5000, next: { action: 'skip', reason: 'too large' } },
          { number: 4, uid: 'uid-4', next: { action: 'skip', reason: 'limit' } },
        ],
      },
    ]);
    expect(await world.everything()).toEqual(before);
    expect(said(server, 'RETR')).toEqual(['RETR 1']);
    expect(said(server, 'DELE')).toEqual([]);
  });

  test('lets nothing in a header or a unique-id steer the terminal', async () => {
    const message = Buffer.from(
      'From: \x1b[31m =?UTF-8?Q?=1B[2J_x?= <a@b>\r\nSubject: a\x07b =?UTF-8?Q?=E2=80=AEc?=\r\n\r\nx\r\n',
    );
    const server = await world.serve({ taro: [{ uid: '\x1b]0;t\x07', data: message }] });
    await world.configure({ work: reach(server) });
    for (const args of [['list'], ['list', '--json'], ['-vv'], ['--json']]) {
      const { stdout, stderr } = await world.popfetch(...args);
      // Neither controls nor what turns the direction of writing.
      expect(stdout + stderr).not.toMatch(/[^\P{C}\n]/u);
    }
  });
});

/** So long that the resolver turns it down by itself: no question leaves this machine. */
const NO_SUCH_HOST = Array.from({ length: 4 }, () => 'a'.repeat(63)).join('.');

describe('popfetch check', () => {
  interface Case {
    readonly server?: Omit<Partial<ServerOptions>, 'accounts'>;
    readonly fields?: object;
    readonly code: number;
    readonly line: string;
  }

  const REASONS: Readonly<Record<string, Case>> = {
    'the name cannot be looked up': {
      fields: { host: NO_SUCH_HOST, tls: 'implicit' },
      code: 69,
      line: `  FAIL  dns          the name ${NO_SUCH_HOST} cannot be looked up (ENOTFOUND); check host and port, and the network`,
    },
    'the certificate is for another host': {
      code: 76,
      fields: { servername: 'other' },
      line:
        '  FAIL  tls          the certificate is for another name than other; ' +
        'set host (or tls.servername) to a name that the certificate is for',
    },
    'the password is wrong': {
      fields: { password: 'not this' },
      code: 77,
      line: '  FAIL  login        the server refused the login: "[AUTH] wrong user or password"; check user and password',
    },
    'the password cannot be had': {
      fields: { password: { command: ['false'] } },
      code: 78,
      line: '  FAIL  config       the password command false ended with status 1; run it by hand to see what it says',
    },
    'there is no UIDL': {
      server: { uidl: false },
      code: 76,
      line:
        '  FAIL  uidl         the server has no UIDL, so that seen mail cannot be told from new; ' +
        'set delete: delivered; or identity: hash, and every run reads all messages again',
    },
    'the destination is something else': {
      fields: { deliver: { maildir: '~/file' } },
      code: 73,
      line: '  FAIL  destination  no mail can be written to ~/file: it is not a directory; check the path and its permissions',
    },
  };

  test.each(Object.entries(REASONS))(
    'fails where %s, with what to do',
    async (_why, { server: options, fields = {}, code, line }) => {
      await writeFile(world.sandbox.path('file'), '');
      const secure = 'servername' in fields;
      const server = await world.serve(
        { taro: [plain(1)] },
        { ...options, tls: secure ? 'implicit' : 'none' },
      );
      const account = secure ? { tls: { mode: 'implicit', ca: server.ca, ...fields } } : fields;
      await world.configure({ work: reach(server, account) });
      const before = await world.everything();
      const seen = await world.popfetch('check');
      expect([seen.code, seen.stderr]).toEqual([code, '']);
      expect(seen.stdout.split('\n')).toContain(line);
      expect(seen.stdout.match(/FAIL/g)).toHaveLength(1);
      expect(await world.everything()).toEqual(before);
      expect(said(server, 'RETR', 'DELE')).toEqual([]);
    },
  );

  test('finds a memory that is damaged', async () => {
    const server = await world.serve({ taro: [plain(1)] });
    await world.configure({ work: reach(server) });
    expect((await world.popfetch()).code).toBe(0);
    const [journal = ''] = await world.journals();
    await writeFile(journal, (await readFile(journal, 'latin1')).replace('DONE', 'GONE'), 'latin1');
    for (const command of ['check', 'status', 'list']) {
      const { code, stdout, stderr } = await world.popfetch(command);
      expect(code).toBe(74);
      expect(stdout + stderr).toContain(
        'line 3 is damaged, and popfetch does not guess what it said; ' +
          'run popfetch state rebuild, which keeps every line that is whole\n',
      );
    }
  });

  test('ends with the status that fetch would have, whatever else is well', async () => {
    const { expired } = await certificates();
    const bad = await world.serve({ taro: [] }, { tls: 'implicit', certificate: expired });
    const good = await world.serve({ taro: [] });
    await world.configure({ bad: reach(bad), good: reach(good) });
    const { code, stdout } = await world.popfetch('check', '--json');
    expect([code, (await world.popfetch()).code]).toEqual([76, 76]);
    const { accounts } = JSON.parse(stdout) as {
      readonly accounts: readonly { readonly findings: readonly { readonly level: string }[] }[];
    };
    expect(accounts.map(({ findings }) => findings.filter(({ level }) => level === 'fail').length)).toEqual([
      1, 0,
    ]);
  });
});

describe('popfetch status', () => {
  async function result(): Promise<unknown> {
    const { code, stdout } = await world.popfetch('status', '--json');
    expect(code).toBe(0);
    const { accounts } = JSON.parse(stdout) as { readonly accounts: readonly [Record<string, unknown>] };
    return accounts[0];
  }

  test('tells how the last run ended, and asks no server', async () => {
    const server = await world.serve({ taro: [plain(1), plain(2)] });
    await world.configure({ work: reach(server) });
    expect(await result()).toMatchObject({ lastRun: null, remembered: 0 });
    await world.popfetch('--limit', '1');
    expect(await result()).toMatchObject({
      lastRun: { result: 'ok', listed: 2, delivered: 1 },
      remembered: 1,
    });
    await world.configure({ work: reach(server, { password: 'not this' }) });
    await world.popfetch();
    const sessions = server.sessions.length;
    expect(await result()).toMatchObject({
      lastRun: { result: 'AUTH', listed: 0, delivered: 0 },
      remembered: 1,
    });
    expect(server.sessions).toHaveLength(sessions);
  });

  test('tells of a delivery that was cut off, which the next fetch finishes', async () => {
    const server = await world.serve({ taro: [padded(plain(1), 2_000_000)] });
    await world.configure({ work: reach(server, { deliver: 'stdout' }) });
    const running = world.start([]);
    // Nobody reads what is written, so that the delivery is under way until the run is killed.
    running.child.stdout?.pause();
    await until(() => (running.child.stdout?.readableLength ?? 0) > 0, 'the delivery has begun');
    running.kill();
    running.child.stdout?.resume();
    await running.done;
    expect(await result()).toMatchObject({ lastRun: null, remembered: 0, unfinished: 1 });
    const cutOff = '  unfinished  1; the next fetch finishes what was cut off\n';
    expect((await world.popfetch('status')).stdout).toContain(cutOff);
    await until(() => !server.mailbox('taro').locked, 'the server has noticed');
    expect((await world.popfetch('check')).stdout).toContain(
      '  ok    state        0 messages remembered; 1 cut off, which the next fetch finishes\n',
    );
    expect((await world.popfetch()).stdout.length).toBeGreaterThan(2_000_000 - 60_000);
    expect(await result()).toMatchObject({ lastRun: { result: 'ok' }, remembered: 1, unfinished: 0 });
  });
});

describe('popfetch config', () => {
  test('print shows every account as it comes out, and none of its secrets', async () => {
    await world.configure(
      {
        literal: { host: 'pop.example.com', user: 'a', password: 'x y z secret' },
        command: { host: 'pop.example.com', user: 'b', password: { command: ['pass', 'show', 'mail'] } },
        file: { host: 'pop.example.com', user: 'c', password: { file: '~/pw' }, tls: 'starttls' },
      },
      { parallel: 2, defaults: { delete: '30d', maxSize: '20MiB' } },
    );
    world.keepSecret('x y z secret');
    const { code, stdout, stderr } = await world.popfetch('config', 'print', '--json');
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout)).toMatchObject({
      parallel: 2,
      accounts: {
        literal: { port: 995, password: '********', delete: '30d', maxSize: '20MiB' },
        command: { password: { command: ['pass', 'show', 'mail'] } },
        file: { port: 110, password: { file: '~/pw' } },
      },
    });
    const yaml = await world.popfetch('config', 'print');
    expect(yaml.code).toBe(0);
    // What is printed can be read again.
    await writeFile(world.sandbox.path('printed.yaml'), yaml.stdout, { mode: 0o600 });
    expect(await world.popfetch('-c', world.sandbox.path('printed.yaml'), 'config', 'validate')).toEqual({
      code: 0,
      stdout: '~/printed.yaml: no problems, 3 accounts\n',
      stderr: '',
    });
  });

  test('path and validate name the file, and schema is a JSON Schema that knows every field', async () => {
    await world.configure({ work: reach(await deadServer()) });
    const file = '~/.config/popfetch/config.yaml';
    expect(await world.popfetch('config', 'path')).toEqual({ code: 0, stdout: `${file}\n`, stderr: '' });
    expect((await world.popfetch('config', 'validate')).stdout).toBe(`${file}: no problems, 1 account\n`);
    const { stdout } = await world.popfetch('config', 'schema');
    const schema = JSON.parse(stdout) as {
      readonly $schema: string;
      readonly properties: Record<
        string,
        { readonly additionalProperties?: { readonly properties: object } }
      >;
    };
    expect(schema.$schema).toBe('https://json-schema.org/draft/2020-12/schema');
    expect(Object.keys(schema.properties['accounts']?.additionalProperties?.properties ?? {}).sort()).toEqual(
      [
        ...['auth', 'delete', 'deliver', 'disabled', 'eol', 'host', 'identity', 'insecure'],
        ...['limit', 'maxSize', 'oauth2', 'order', 'password', 'port', 'rejected', 'timeout', 'tls', 'user'],
      ],
    );
  });

  async function deadServer(): Promise<TestServer> {
    const server = await world.serve({ taro: [] });
    await server.close();
    return server;
  }
});
