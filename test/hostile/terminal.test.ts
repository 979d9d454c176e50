/**
 * Text from others never steers a terminal, a log or a reader of JSON: not from a server, a message, a certificate, a
 * command or a config, in no output [52].
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PopfetchError } from '../../src/errors.js';
import type { Event } from '../../src/events.js';
import { ndjson } from '../../src/report/ndjson.js';
import { createReporter } from '../../src/report/report.js';
import { reach, World } from '../support/e2e.js';
import type { Override } from '../support/session.js';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

/** Octets, as latin1, that some terminal obeys: screens cleared, titles set, text turned round, lines faked. */
const HOSTILE: Readonly<Record<string, string>> = {
  'escape sequences': 'a\x1b[2J\x1b]0;title\x07\x1bP+q\x1b\\\x1b[6nb',
  'C1 controls': 'a\x9b2J\x9d0;title\x9c\x84\x85\x90b',
  'C1 controls in UTF-8': 'a\xc2\x9b2J\xc2\x85b',
  'text turned round': 'a\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8f\xe2\x80\xa8\xef\xbb\xbfb',
  'what is no UTF-8': 'a\xff\xfe\xc0\xaf\xed\xa0\x80\xf5b',
  'backspaces and returns': 'a\x08\x08\x7f\rpopfetch: all is well\x0b\x0cb',
  'a NUL': 'a\0b',
};

const OUTPUTS: readonly (readonly string[])[] = [
  ['-vvv', '--trace', 'talk.log'],
  ['--json', '--keep'],
  ['--dry-run', '-v'],
  ['list'],
  ['list', '--json'],
  ['check'],
  ['check', '--json'],
  ['status'],
  ['status', '--json'],
];

/** Fails where something in these octets would steer a terminal. Line ends are left to those who print lines. */
function refuseSteering(octets: Buffer | string, what: string): void {
  const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(octets as Buffer));
  const found = /[^\P{Cc}\n]|[\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe]/u.exec(text);
  expect(
    found === null ? undefined : JSON.stringify(text.slice(Math.max(0, found.index - 60))),
    what,
  ).toBeUndefined();
}

/** Runs each command and looks at all that it says and writes. @returns everything, joined */
async function look(outputs = OUTPUTS): Promise<string> {
  let all = '';
  for (const args of outputs) {
    const { stdout, stderr, code } = await world.run(args);
    expect(code, `${args.join(' ')}: ${stderr}`).not.toBe(70);
    refuseSteering(stdout, `stdout of ${args.join(' ')}`);
    refuseSteering(stderr, `stderr of ${args.join(' ')}`);
    all += stdout.toString() + stderr;
    if (!args.includes('--trace')) continue;
    const trace = await readFile(join(world.sandbox.work, 'talk.log')).catch(() => Buffer.alloc(0));
    expect(trace.toString('latin1')).toMatch(/^[\n -~]*$/);
    all += trace.toString('latin1');
  }
  return all;
}

const mail = (subject: string): Buffer =>
  Buffer.from(
    `From: ${subject} <a@b.example>\r\nSubject: ${subject}\r\nDate: ${subject}\r\n\r\nx\r\n`,
    'latin1',
  );

/** All of them: each run of the command takes a while. */
const ALL = Object.values(HOSTILE).join('|');

describe('all of that, said by a server [52]', () => {
  const text = ALL;
  const line = text.replace(/[\r\n]/g, '');
  /** Where a server can say it. */
  const places: Readonly<Record<string, Readonly<Record<string, Override>>>> = {
    'in refusals': {
      RETR: `-ERR ${line}`,
      TOP: `-ERR ${line}`,
      DELE: `-ERR ${line}`,
      QUIT: `-ERR ${line}`,
    },
    'in what every verb says, and in CAPA': {
      CAPA: `+OK ${line}\r\nIMPLEMENTATION ${line}\r\n${line}\r\nUIDL\r\nTOP\r\n.\r\n`,
      USER: `+OK ${line}`,
      PASS: `+OK ${line}`,
    },
    'in a refused login': { AUTH: `-ERR [AUTH] ${line}`, PASS: `-ERR ${line}` },
    'in place of a reply': { STAT: line },
  };

  test.each(Object.entries(places))('%s', async (_place, overrides) => {
    const server = await world.serve({ taro: [mail('x')] }, { overrides });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    const said = await look();
    expect(said).toContain('a');
  });

  test('in a greeting, in unique-ids, and in the headers of mail', async () => {
    const greeting = `+OK ${line}`;
    const server = await world.serve({ taro: [mail(text), mail(line)] }, { greeting });
    server.overrides['UIDL'] = `+OK ${line}\r\n1 1${line}\r\n2 2${line}\r\n.\r\n`;
    await world.configure({ work: reach(server) });
    await look([['list'], ['list', '--json'], ...OUTPUTS]);
    expect(await world.maildir('work')).toHaveLength(2);
    for (const args of [
      ['state', 'list'],
      ['state', 'list', '--json'],
    ])
      refuseSteering((await world.run(args)).stdout, args.join(' '));
  });
});

test('all of that, from a command and from an LMTP server [52]', async () => {
  const line = ALL.replace(/[\0\r\n]/g, '');
  const lmtp = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(Buffer.from(`554 ${line}\r\n`, 'latin1'));
  });
  await new Promise<void>((resolve) => lmtp.listen(0, '127.0.0.1', resolve));
  world.atEnd(() => lmtp.close());
  const server = await world.serve({ taro: [mail('x')] });
  await writeFile(world.sandbox.path('said'), Buffer.from(line, 'latin1'));
  const script = ['sh', '-c', 'cat >/dev/null; cat "$0" >&2; exit 65', world.sandbox.path('said')];
  await world.configure({
    command: reach(server, { deliver: { command: script } }),
    lmtp: reach(server, {
      deliver: { lmtp: `127.0.0.1:${(lmtp.address() as AddressInfo).port}`, recipient: 'a@b.example' },
    }),
  });
  await look([['-vvv'], ['--json'], ['status']]);
});

test('all of that, in a config: names, values and keys [52]', async () => {
  const text = Buffer.from(ALL, 'latin1').toString('utf8').replaceAll('\0', '');
  const wrong = { host: `h${text}`, port: text, user: `u${text}`, password: { env: text }, [text]: text };
  await world.configure({ [text]: { ...wrong, tls: text, deliver: { maildir: `~/${text}` } } });
  await look([[], ['config', 'validate'], ['config', 'print'], ['config', 'print', '--json'], ['-a', text]]);
  const server = await world.serve({ taro: [mail('x')] });
  await world.configure({
    [`name${text}`]: reach(server, { deliver: { maildir: `~/dir${text.replaceAll('/', '')}` } }),
  });
  await look();
});

test('a file name that steers is shown as text [52]', async () => {
  const name = `c\x1b[2J\u202e.yaml`;
  await mkdir(world.sandbox.path('d\x1b[31m'));
  const path = world.sandbox.path('d\x1b[31m', name);
  await writeFile(path, 'accounts: {work: {host: 3}}\n');
  await look([
    ['-c', path],
    ['-c', path, 'config', 'validate'],
    ['-c', `${path}.missing`],
  ]);
});

describe.each(Object.entries(HOSTILE))('%s [52]', (_, octets) => {
  /** As it stands in a config, or in the decoded header of a message. */
  const name = Buffer.from(octets, 'latin1').toString('utf8');
  const error = new PopfetchError('AUTH', 'no', {
    account: name,
    phase: 'login',
    serverText: octets,
    remedy: name,
  });
  const refused = {
    number: 1,
    uid: octets,
    octets: 1,
    reason: 'refused',
    serverText: octets,
    first: true,
  } as const;
  const stored = { number: 1, uid: octets, key: 'k', octets: 1, destination: name } as const;
  const outcome = {
    account: name,
    listed: 1,
    delivered: 1,
    octets: 1,
    removed: 1,
    skipped: 1,
    elapsed: 1,
    errors: [error],
  };
  const events: readonly Event[] = [
    { type: 'failed', account: name, error },
    { type: 'warning', account: name, message: name, serverText: octets },
    { type: 'skipped', account: name, ...refused },
    { type: 'skipped', account: name, ...refused, reason: 'too large' },
    { type: 'delivered', account: name, ...stored },
    { type: 'would', account: name, action: 'fetch', number: 1, uid: octets, octets: 1 },
    { type: 'account-end', account: name, outcome },
    { type: 'run-end', outcomes: [outcome], exitCode: 77 },
  ];

  test.each(events.map((event) => [event.type, event] as const))(
    'in %s, for people and for programs',
    (_type, event) => {
      let shown = '';
      const take = { isTTY: false, write: (text: string) => (shown += text) };
      const style = { quiet: false, verbose: 3, progress: false, color: false, env: {} };
      createReporter({ ...style, json: false, stderr: take as never, stdout: take }).emit(event);
      refuseSteering(shown, 'for people');
      expect(ndjson(event, 0)).toMatch(/^[ -~]+\n$/);
    },
  );
});
