/** One account is in trouble: it is told in one line, the exit status says what kind it is, and the other delivers. */
import { readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { certificates, fingerprint } from './support/certificates.js';
import { reach, stored, until, World, said, timeless } from './support/e2e.js';
import { padded, plain } from './support/messages.js';
import type { ServerOptions, TestServer } from './support/server.js';

const MAIL = [plain(1), plain(2)];

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

/** What is told when this account runs beside one that is well, which is seen to be served. */
async function besideAGoodOne(account: object, ...args: readonly string[]): Promise<[number | null, string]> {
  const well = await world.serve({ taro: MAIL });
  await world.configure({ bad: account, good: reach(well) });
  const { code, stdout, stderr } = await world.popfetch(...args);
  expect(stdout).toBe('');
  expect(await world.maildir('good')).toEqual(stored(...MAIL));
  return [code, stderr];
}

async function closedPort(): Promise<TestServer> {
  const server = await world.serve({ taro: MAIL });
  await server.close();
  return server;
}

describe('a server that is not what it should be', () => {
  interface Trouble {
    readonly options?: Omit<Partial<ServerOptions>, 'accounts'>;
    readonly fields?: object;
    readonly code: number;
    /** What is told, after the name of the account. */
    readonly line: string;
  }

  const TROUBLES: Readonly<Record<string, Trouble>> = {
    'refuses the password': {
      fields: { password: 'not this' },
      code: 77,
      line: 'login: the server refused the login: "[AUTH] wrong user or password"; check user and password',
    },
    'says that another session has the mailbox': {
      options: { overrides: { AUTH: '-ERR [IN-USE] somebody else is reading' } },
      code: 75,
      line:
        'login: another session holds the mailbox: "[IN-USE] somebody else is reading"; ' +
        'wait for the other mail program to finish',
    },
    'wants more time between two logins': {
      options: { overrides: { AUTH: '-ERR [LOGIN-DELAY] not so often' } },
      code: 75,
      line:
        'login: the server wants more time between two logins: "[LOGIN-DELAY] not so often"; ' +
        'run popfetch less often for this account',
    },
    'has a temporary problem': {
      options: { overrides: { AUTH: '-ERR [SYS/TEMP] the disk is away' } },
      code: 75,
      line:
        'login: the server has a temporary problem: "[SYS/TEMP] the disk is away"; ' +
        'the server asks to try again later',
    },
    'has a lasting problem with the account': {
      options: { overrides: { AUTH: '-ERR [SYS/PERM] closed' } },
      code: 77,
      line:
        'login: the server has a lasting problem with this account: "[SYS/PERM] closed"; ' +
        'ask the provider',
    },
    'does not want to talk': {
      options: { greeting: '-ERR too busy' },
      code: 75,
      line: 'greeting: the server refuses to talk: "too busy"; the server asks to try again later',
    },
    'is no POP3 server': {
      options: { greeting: '220 mail.example.com ESMTP\x1b[2J' },
      code: 76,
      line:
        'greeting: the server answered with something that is not POP3: ' +
        '"220 mail.example.com ESMTP\\x1b[2J"; run again with --trace FILE',
    },
    'offers no STLS': {
      fields: { tls: 'starttls' },
      code: 76,
      line: 'tls: the server offers no STLS: "not here"; use tls: implicit with port 995',
    },
    'does not speak TLS': {
      fields: { tls: 'implicit' },
      code: 76,
      line:
        'tls: 127.0.0.1 did not answer with TLS; ' +
        'this port may want tls: starttls, or another port (995 is TLS from the start)',
    },
    'has no UIDL': {
      options: { uidl: false },
      code: 76,
      line:
        'list: the server has no UIDL, so that seen mail cannot be told from new; ' +
        'set delete: delivered; or identity: hash, and every run reads all messages again',
    },
    'hangs up while it lists': {
      options: { overrides: { UIDL: 'close' } },
      code: 75,
      line: 'list: the server closed the connection; nothing is lost; the next run goes on',
    },
    'breaks the connection while it lists': {
      options: { pipelining: false, overrides: { UIDL: 'reset' } },
      code: 75,
      line: 'list: the connection broke (ECONNRESET); nothing is lost; the next run goes on',
    },
  };

  test.each(Object.entries(TROUBLES))('%s', async (_name, { options, fields, code, line }) => {
    const server = await world.serve({ taro: MAIL }, options);
    expect(await besideAGoodOne(reach(server, fields))).toEqual([code, `popfetch: bad: ${line}\n`]);
    expect(await world.maildir('bad')).toEqual([]);
    expect(server.mailbox('taro').uids).toHaveLength(2);
  });

  test('refuses connections', async () => {
    const server = await closedPort();
    expect(await besideAGoodOne(reach(server))).toEqual([
      69,
      `popfetch: bad: connect: 127.0.0.1 refuses connections on port ${server.port}; ` +
        'check host and port, and the network\n',
    ]);
  });

  test('refuses one message: the rest is delivered, that one is tried again, and told of when it fails a third time', async () => {
    const server = await world.serve({ taro: [plain(1), plain(2), plain(3)] });
    server.overrides['RETR'] = (_session, [number]) => (number === '2' ? '-ERR it is\tstuck' : undefined);
    expect(await besideAGoodOne(reach(server))).toEqual([75, '']);
    expect(await world.maildir('bad')).toEqual(stored(plain(1), plain(3)));
    const watched = await world.popfetch('-v', '-a', 'bad');
    expect([watched.code, timeless(watched.stderr)[0]]).toEqual([
      75,
      'popfetch: bad: message 2 (76 B) is refused by the server ("it is\\tstuck") and stays there; the next run tries it again',
    ]);
    expect(await world.popfetch('-a', 'bad')).toMatchObject({
      code: 75,
      stderr:
        'popfetch: bad: retrieve: the server refuses to give message 2: "it is\\tstuck"; it is tried once a day\n',
    });
    expect((await world.popfetch('status', '-a', 'bad')).stdout).toContain(
      '  in trouble  1, on the server; tried again, and popfetch list says which\n',
    );
    const asked = said(server, 'RETR').length;
    expect(await world.popfetch('-a', 'bad')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(said(server, 'RETR')).toHaveLength(asked);
  });

  test('refuses one message once: the next run brings it, and nobody is troubled', async () => {
    const server = await world.serve({ taro: [plain(1), plain(2), plain(3)] });
    server.overrides['RETR'] = (_session, [number]) => (number === '2' ? '-ERR busy' : undefined);
    await besideAGoodOne(reach(server));
    delete server.overrides['RETR'];
    expect(await world.popfetch()).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await world.maildir('bad')).toEqual(stored(plain(1), plain(2), plain(3)));
  });

  test.each(['drop', 'reset'] as const)(
    'ends the connection (%s) in the middle of a message: no part of it is delivered',
    async (action) => {
      const big = padded(plain(2), 400_000);
      const server = await world.serve(
        { taro: [plain(1), big] },
        { pipelining: false, faults: [{ at: 'body', verb: 'RETR', nth: 2, action }] },
      );
      const [code, stderr] = await besideAGoodOne(reach(server, { delete: 'delivered' }));
      expect(code).toBe(75);
      expect(stderr).toMatch(
        /^popfetch: bad: (retrieve: )?(the server closed the connection|the connection broke \(ECONNRESET\)); nothing is lost; the next run goes on\n$/,
      );
      expect(await world.maildir('bad')).toEqual(stored(plain(1)));
      expect(await world.leftovers('bad')).toEqual([]);
      expect(server.sessions.some(({ quit }) => quit)).toBe(false);
      expect(await world.popfetch()).toEqual({ code: 0, stdout: '', stderr: '' });
      expect(await world.maildir('bad')).toEqual(stored(plain(1), big));
      expect(server.mailbox('taro').uids).toEqual([]);
    },
  );
});

describe('a server that stops talking', () => {
  const ANSWER = 'the server did not send an answer within 1 s';
  const REST = 'the server did not send the rest of a message or listing within 1 s';
  const reply = { reply: '1s' };

  interface Silence {
    readonly options: Omit<Partial<ServerOptions>, 'accounts'>;
    readonly timeout: object;
    readonly tls?: 'implicit';
    readonly told: string;
  }

  /** By the name of an account. */
  const SILENCES: Readonly<Record<string, Silence>> = {
    secure: {
      options: { greeting: 'stall' },
      timeout: { connect: '1s' },
      tls: 'implicit',
      told: 'tls: no TLS handshake with 127.0.0.1 in time',
    },
    greet: { options: { greeting: 'stall' }, timeout: reply, told: `greeting: ${ANSWER}` },
    capa: { options: { overrides: { CAPA: 'stall' } }, timeout: reply, told: `login: ${ANSWER}` },
    list: { options: { overrides: { LIST: 'stall' } }, timeout: reply, told: `list: ${ANSWER}` },
    retr: { options: { overrides: { RETR: 'stall' } }, timeout: reply, told: `retrieve: ${ANSWER}` },
    body: {
      options: { faults: [{ at: 'body', verb: 'RETR', action: 'stall' }] },
      timeout: { idle: '1s' },
      told: `retrieve: ${REST}`,
    },
    // With a limit of its own, which that of the whole session comes before.
    quit: {
      options: { overrides: { QUIT: 'stall' } },
      timeout: { session: '3s' },
      told: 'quit: the session took longer than 3 s',
    },
  };

  test('in whatever phase is given up after its time, and the other accounts do not wait [108]', async () => {
    const big = padded(plain(1), 400_000);
    const silent = Object.entries(SILENCES).map(async ([name, { options, timeout, tls = 'none' }]) => {
      return [name, reach(await world.serve({ taro: [big] }, options), { timeout, tls })] as const;
    });
    const well = await world.serve({ taro: MAIL });
    const accounts = [...(await Promise.all(silent)), ['good', reach(well)] as const];
    await world.configure(Object.fromEntries(accounts), { parallel: accounts.length });
    const running = world.start([]);
    await until(() => well.sessions[0]?.quit === true, 'the good one is done');
    expect(running.ended).toBe(false);
    const { code, stdout, stderr, elapsed } = await running.done;
    expect([code, stdout.toString()]).toEqual([75, '']);
    // To one that does not even greet something else may have to be said.
    const lines = stderr.replace(/where TLS is spoken on port .*$/m, 'the next run goes on');
    expect(lines.trimEnd().split('\n').sort()).toEqual(
      Object.entries(SILENCES)
        .map(([name, { told }]) => `popfetch: ${name}: ${told}; nothing is lost; the next run goes on`)
        .sort(),
    );
    expect(elapsed).toBeGreaterThan(3000);
    expect(elapsed).toBeLessThan(15_000);
    expect(await world.maildir('good')).toEqual(stored(...MAIL));
    expect(await world.leftovers(...Object.keys(SILENCES))).toEqual([]);
  });
});

describe('a certificate that does not prove who the server is', () => {
  const COMPLAINTS = {
    otherHost:
      'the certificate is for another name than 127.0.0.1; ' +
      'set host (or tls.servername) to a name that the certificate is for',
    selfSigned:
      'the certificate of 127.0.0.1 is self-signed; ' +
      'if it is your own server, set tls.ca to the certificate or tls.pin to its fingerprint',
    expired:
      'the certificate of 127.0.0.1 has expired; ' +
      "ask the server's administrator to renew it; check this machine's clock",
  } as const;

  async function refused(mode: 'implicit' | 'starttls', server: TestServer, trust: object): Promise<string> {
    const [code, stderr] = await besideAGoodOne(reach(server, { tls: { mode, ...trust } }));
    expect(code).toBe(76);
    const verbs = server.sessions.flatMap((session) => session.verbs);
    expect(verbs.filter((verb) => verb !== 'CAPA' && verb !== 'STLS')).toEqual([]);
    return stderr;
  }

  describe.each(['implicit', 'starttls'] as const)('(%s)', (mode) => {
    test.each(['otherHost', 'selfSigned', 'expired'] as const)(
      'ends in 76, and the password is not sent: %s',
      async (name) => {
        const certificate = (await certificates())[name];
        const server = await world.serve({ taro: MAIL }, { tls: mode, certificate });
        expect(await refused(mode, server, { ca: server.ca })).toBe(
          `popfetch: bad: tls: ${COMPLAINTS[name]}\n`,
        );
      },
    );

    test('by an authority that nobody has named ends in 76, and the password is not sent', async () => {
      const server = await world.serve({ taro: MAIL }, { tls: mode });
      expect(await refused(mode, server, {})).toBe(
        'popfetch: bad: tls: no trusted authority vouches for the certificate of 127.0.0.1 ' +
          '(UNABLE_TO_VERIFY_LEAF_SIGNATURE); set tls.ca to a PEM file with the authority, ' +
          'or tls.pin to the fingerprint that popfetch check shows\n',
      );
    });

    test('by another fingerprint than the pinned one ends in 76, and the password is not sent', async () => {
      const { server: certificate } = await certificates();
      const server = await world.serve({ taro: MAIL }, { tls: mode });
      const pinned = `sha256:${'0'.repeat(64)}`;
      expect(await refused(mode, server, { pin: pinned })).toBe(
        'popfetch: bad: tls: the certificate of 127.0.0.1 is not the pinned one: ' +
          `it is sha256:${fingerprint(certificate.cert)}, pinned is ${pinned}; ` +
          'if the server has a new certificate and you know it is right, change tls.pin\n',
      );
    });
  });

  test('is refused whatever the environment says', async () => {
    const { selfSigned } = await certificates();
    const server = await world.serve({ taro: MAIL }, { tls: 'implicit', certificate: selfSigned });
    await world.configure({ bad: reach(server) });
    const { code } = await world.run([], { env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } });
    expect(code).toBe(76);
    expect(server.sessions.flatMap(({ received }) => received)).toEqual([]);
  });
});

describe('a destination that cannot be made', () => {
  test.each([
    [
      'below a file',
      { maildir: '~/file/Mail' },
      'destination: ~/file/Mail: a part of the path is not a directory; choose another path for deliver',
    ],
    [
      'where something else is',
      { mbox: '~/work' },
      'destination: ~/work is not a file, so no mail is written to it; ' +
        'name the mbox itself, by the only path it has',
    ],
  ])('(%s) ends in 73, and no message is asked for', async (_name, deliver, line) => {
    await writeFile(world.sandbox.path('file'), '');
    const server = await world.serve({ taro: MAIL });
    expect(await besideAGoodOne(reach(server, { deliver }))).toEqual([73, `popfetch: bad: ${line}\n`]);
    // Before anybody is asked for a password.
    expect(server.sessions).toEqual([]);
  });
});

describe('a memory that is damaged', () => {
  test('is refused, named with its line, and left as it is', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ bad: reach(server) });
    expect((await world.popfetch()).code).toBe(0);
    const [journal = ''] = await world.journals();
    const lines = (await readFile(journal, 'latin1')).split('\n');
    lines[1] = lines[1]?.replace('INTENT', 'INVENT') ?? '';
    await writeFile(journal, lines.join('\n'), 'latin1');
    server.mailbox('taro').add(plain(3));
    expect(await besideAGoodOne(reach(server))).toEqual([
      74,
      `popfetch: bad: state: ${world.shorten(journal)}: line 2 is damaged, ` +
        'and popfetch does not guess what it said; ' +
        'run popfetch state rebuild, which keeps every line that is whole\n',
    ]);
    expect(await readFile(journal, 'latin1')).toBe(lines.join('\n'));
    expect(await world.maildir('bad')).toHaveLength(2);
  });
});

describe('a config with a mistake', () => {
  test('is not used at all, and every mistake is told with a suggestion', async () => {
    const server = await world.serve({ taro: MAIL });
    const account = reach(server, { limt: 3, deliver: { maildri: '~/x' } });
    await world.configure({ bad: account, good: reach(server, { host: 'localhost' }) });
    expect(await world.popfetch()).toEqual({
      code: 78,
      stdout: '',
      stderr:
        'popfetch: ~/.config/popfetch/config.yaml:5: accounts.bad.deliver.maildri: unknown key; did you mean "maildir"?\n' +
        'popfetch: ~/.config/popfetch/config.yaml:12: accounts.bad.limt: unknown key; did you mean "limit"?\n',
    });
    expect(server.sessions).toEqual([]);
  });
});

describe('the exit status of several accounts in trouble', () => {
  type Kind = 'refused' | 'stalled' | 'password' | 'certificate' | 'destination' | 'fine';

  /** Accounts of these kinds, in this order. `slow`: the first is the last to end. */
  async function statusOf(kinds: readonly Kind[], slow = false): Promise<number | null> {
    const { selfSigned } = await certificates();
    const account = async (kind: Kind, index: number): Promise<object> => {
      const latency = slow && index === 0 ? { latency: 300 } : {};
      switch (kind) {
        case 'refused':
          return reach(await closedPort());
        case 'stalled':
          return reach(await world.serve({ taro: [] }, { greeting: 'stall' }), { timeout: { reply: '1s' } });
        case 'password':
          return reach(await world.serve({ taro: [] }, latency), { password: 'not this' });
        case 'certificate':
          return reach(await world.serve({ taro: [] }, { tls: 'implicit', certificate: selfSigned }));
        case 'destination':
          return reach(await world.serve({ taro: [] }), { deliver: { mbox: '~/work' } });
        case 'fine':
          return reach(await world.serve({ taro: [] }));
      }
    };
    const accounts = await Promise.all(kinds.map(account));
    await world.configure(Object.fromEntries(accounts.map((each, index) => [`a${index}`, each])), {
      parallel: 8,
    });
    const { code, stderr } = await world.popfetch();
    expect(stderr.split('\n')).toHaveLength(kinds.filter((kind) => kind !== 'fine').length + 1);
    return code;
  }

  test.each([
    [77, ['fine', 'password', 'password']],
    [69, ['refused', 'fine', 'refused']],
    [75, ['refused', 'stalled', 'fine']],
    [77, ['refused', 'stalled', 'password']],
    [76, ['stalled', 'certificate', 'password']],
    [73, ['fine', 'destination', 'certificate']],
  ] as const)('is %i for %j', async (status, kinds) => {
    expect(await statusOf(kinds)).toBe(status);
  });

  test('goes by the order of the config, not by which ends first', async () => {
    expect(await statusOf(['password', 'certificate'], true)).toBe(77);
  });
});
