/** `popfetch state`: what the memory says is shown and changed, and a lost or damaged one is mended without doubling anything. */
import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { encodeWrite, parseJournal } from '../src/seen/journal.js';
import { lateHook, reach, said, stored, until, World } from './support/e2e.js';
import { awkward, plain } from './support/messages.js';
import type { TestServer } from './support/server.js';

const MAIL = [plain(1), awkward['leading dots']!, awkward['From lines']!, plain(4)];
const SILENCE = { code: 0, stdout: '', stderr: '' };

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

/** An account that has fetched all of these into the Maildir `work`. */
async function fetched(mail: readonly Buffer[] = MAIL, fields: object = {}): Promise<TestServer> {
  const server = await world.serve({ taro: mail });
  await world.configure({ work: reach(server, fields) });
  expect(await world.popfetch()).toEqual(SILENCE);
  return server;
}

async function journal(): Promise<string> {
  const [path = ''] = await world.journals();
  return path;
}

/** Damages the line of the journal that has this in it. */
async function damage(text: string): Promise<string> {
  const path = await journal();
  const before = await readFile(path, 'latin1');
  const after = before.replace(text, (found) => `x${found.slice(1)}`);
  expect(after).not.toBe(before);
  await writeFile(path, after, 'latin1');
  return after;
}

/** What is remembered, but for the time and the order of deliveries. */
async function facts(): Promise<string[]> {
  const { stdout } = await world.popfetch('state', 'export');
  return stdout
    .replace(/"doneAt":"[^"]+"/g, '')
    .split('\n')
    .sort();
}

/** Moves everything to cur/, as a reader does. */
async function readAll(box = 'work'): Promise<void> {
  const path = world.sandbox.path(box);
  for (const name of await readdir(join(path, 'new'))) {
    await rename(join(path, 'new', name), join(path, 'cur', `${name},U=7:2,RS`));
  }
}

/** The next run fetches just these, and the Maildir then holds all that it should. */
async function fetchesOnly(
  server: TestServer,
  retr: readonly string[],
  all: readonly Buffer[],
): Promise<void> {
  const before = said(server, 'RETR').length;
  expect(await world.popfetch()).toEqual(SILENCE);
  expect(said(server, 'RETR').slice(before)).toEqual(retr);
  expect(await world.maildir('work')).toEqual(stored(...all));
}

describe('popfetch state list', () => {
  test('shows each message with what is known of it, without the network', async () => {
    const server = await fetched([plain(1), plain(2)], { delete: 'delivered', limit: 1 });
    server.mailbox('taro').add({ uid: '\xe9 x', data: plain(3) });
    expect((await world.popfetch()).code).toBe(0);
    expect((await world.popfetch()).code).toBe(0);
    await server.close();
    const { code, stdout, stderr } = await world.popfetch('state', 'list');
    expect([code, stderr]).toEqual([0, '']);
    const lines = stdout.replace(/\d{4}-\d\d-\d\d \d\d:\d\d/g, 'TIME').replace(/ +\d+ B/g, ' N B');
    expect(lines.split('\n').map((line) => line.replace(/ +/g, ' '))).toEqual([
      'DONE SIZE SERVER UID WHERE',
      'TIME N B gone uid-1 maildir:~/work',
      'TIME N B gone uid-2 maildir:~/work',
      'TIME N B removal asked \\xe9 x maildir:~/work',
      '',
    ]);
    const json = JSON.parse((await world.popfetch('state', 'list', '--json')).stdout) as object;
    expect(json).toMatchObject({
      accounts: [
        {
          account: 'work',
          messages: [
            { uid: 'uid-1', server: 'gone', size: plain(1).length },
            { uid: 'uid-2', removed: expect.stringMatching(/Z$/) as string },
            { uid: '\\xe9 x', server: 'removal asked', gone: null },
          ],
        },
      ],
    });
  });

  test('says where nothing is remembered, and tells of the memory that cannot be read', async () => {
    const server = await fetched();
    await world.configure({ work: reach(server), new: { ...reach(server), user: 'jiro' } });
    await damage('DONE uid-1');
    const { code, stdout, stderr } = await world.popfetch('state', 'list');
    expect([code, stdout]).toEqual([74, 'work: cannot be listed\nnew: no messages\n']);
    expect(stderr).toMatch(/^popfetch: work: state: .* is damaged/);
  });
});

describe('popfetch state forget', () => {
  /** A file in a Maildir is named by the second: the same message in the same second is one file. */
  async function anotherSecond(): Promise<void> {
    const second = Math.floor(Date.now() / 1000);
    await until(() => Math.floor(Date.now() / 1000) > second, 'the next second');
  }

  test('makes one message new again, by its unique-id as it is shown', async () => {
    const server = await world.serve({ taro: [{ uid: '\xe9\\', data: plain(1) }, plain(2)] });
    await world.configure({ work: reach(server) });
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await world.popfetch('state', 'forget', '-a', 'work', '\\xe9\\\\')).toEqual({
      ...SILENCE,
      stdout: 'work: 1 message forgotten; the next fetch brings again what is still on the server\n',
    });
    await anotherSecond();
    await fetchesOnly(server, ['RETR 1'], [plain(1), plain(1), plain(2)]);
  });

  test('forgets nothing where one of several is not known', async () => {
    await fetched();
    const before = await readFile(await journal());
    expect(await world.popfetch('state', 'forget', 'uid-1', 'uid-9')).toEqual({
      code: 64,
      stdout: '',
      stderr: 'popfetch: nothing is remembered of "uid-9"; popfetch state list shows what is remembered\n',
    });
    expect(await readFile(await journal())).toEqual(before);
  });

  test('--all begins anew, also where the memory is lost, and the next run is not refused', async () => {
    const server = await fetched([plain(1)]);
    await rm(await journal());
    expect((await world.popfetch()).code).toBe(74);
    expect(await world.popfetch('state', 'forget', '--all', '-q')).toEqual(SILENCE);
    await anotherSecond();
    await fetchesOnly(server, ['RETR 1'], [plain(1), plain(1)]);
    expect(JSON.parse((await world.popfetch('state', 'forget', '--all', '--json')).stdout)).toEqual({
      account: 'work',
      forgotten: 1,
    });
    await anotherSecond();
    await fetchesOnly(server, ['RETR 1'], [plain(1), plain(1), plain(1)]);
  });
});

test('popfetch state forget --all forgets in which messages there was trouble, too', async () => {
  const server = await world.serve({ taro: [plain(1)] });
  server.overrides['RETR'] = '-ERR not now';
  await world.configure({ work: reach(server) });
  for (let runs = 0; runs < 3; runs += 1) expect((await world.popfetch()).code).toBe(75);
  delete server.overrides['RETR'];
  // Told of, it would wait for a day.
  expect((await world.popfetch()).code).toBe(0);
  expect(said(server, 'RETR')).toHaveLength(3);
  expect((await world.popfetch('state', 'forget', '--all', '-q')).code).toBe(0);
  await fetchesOnly(server, ['RETR 1'], [plain(1)]);
});

describe('popfetch state mark-seen', () => {
  test('--all keeps the next runs from fetching and from removing what is there now', async () => {
    const server = await world.serve({ taro: [plain(1), plain(2)] });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    expect(await world.popfetch('state', 'mark-seen', '--all')).toEqual({
      ...SILENCE,
      stdout: 'work: 2 messages marked as seen, never to be fetched\n',
    });
    server.mailbox('taro').add(plain(3));
    expect(await world.popfetch('fetch')).toEqual(SILENCE);
    expect(await world.popfetch('fetch')).toEqual(SILENCE);
    expect(await world.maildir('work')).toEqual(stored(plain(3)));
    expect(server.mailbox('taro').uids).toEqual(['uid-1', 'uid-2']);
    expect((await world.popfetch('state', 'mark-seen', '--all', '--json')).stdout).toBe(
      '{"account":"work","marked":0,"known":2}\n',
    );
    // Neither is it asked for with TOP again at each run.
    expect(said(server, 'TOP')).toEqual(['TOP 1 0', 'TOP 2 0']);
  });

  test('marks single messages, which must be on the server', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server) });
    expect(await world.popfetch('state', 'mark-seen', 'uid-2', 'uid-9')).toMatchObject({
      code: 64,
      stderr:
        'popfetch: there is no message on the server with the unique-id "uid-9"; see popfetch list --json\n',
    });
    expect((await world.popfetch('state', 'mark-seen', 'uid-2', 'uid-3')).code).toBe(0);
    await fetchesOnly(server, ['RETR 1', 'RETR 4'], [plain(1), plain(4)]);
  });

  test('of single messages does not hide that the memory is lost', async () => {
    const server = await fetched([plain(1), plain(2)]);
    await rm(await journal());
    const { code, stderr } = await world.popfetch('state', 'mark-seen', 'uid-1');
    expect([code, stderr]).toEqual([
      74,
      'popfetch: work: state: the memory of this mailbox is missing, although 2 messages of it are in ' +
        'maildir:~/work; run popfetch state rebuild -a work\n',
    ]);
    expect((await world.popfetch()).code).toBe(74);
    expect((await world.popfetch('state', 'mark-seen', '--all')).code).toBe(0);
    await fetchesOnly(server, [], [plain(1), plain(2)]);
  });

  test('of several accounts tells of one that fails, and marks the others', async () => {
    const server = await world.serve({ taro: [plain(1)] });
    await world.configure({
      bad: reach(server, { password: 'wrong' }),
      good: reach(server, { host: 'localhost' }),
    });
    const { code, stdout, stderr } = await world.popfetch('state', 'mark-seen', '--all');
    expect([code, stdout]).toEqual([77, 'good: 1 message marked as seen, never to be fetched\n']);
    expect(stderr).toMatch(/^popfetch: bad: login: /);
  });
});

describe('popfetch state rebuild', () => {
  test.each([
    ['', () => Promise.resolve()],
    [', after a reader moved all to cur/', () => readAll()],
  ])('makes a lost memory from the Maildir: nothing is downloaded or doubled%s', async (_, meanwhile) => {
    const server = await fetched(MAIL, { delete: '30d' });
    const before = await facts();
    await meanwhile();
    await rm(await journal());
    server.mailbox('taro').add(plain(5));
    expect(await world.popfetch()).toMatchObject({
      code: 74,
      stderr:
        'popfetch: work: state: the memory of this mailbox is missing, although 4 messages of it are in ' +
        'maildir:~/work; run popfetch state rebuild -a work\n',
    });
    expect(await world.popfetch('state', 'rebuild', '-a', 'work')).toEqual({
      ...SILENCE,
      stdout: 'work: 4 messages recognised in ~/work, 1 on the server is new\n',
    });
    // The same facts that the deliveries recorded: sizes, keys, places.
    expect(await facts()).toEqual(before);
    await fetchesOnly(server, ['RETR 5'], [...MAIL, plain(5)]);
    expect(said(server, 'TOP', 'DELE')).toEqual([]);
  });

  test.each(['lf', 'crlf'])('reads the same hashes off the files as were recorded (eol: %s)', async (eol) => {
    const unterminated = awkward['no CRLF at the end']!;
    await fetched([...MAIL, unterminated], { eol });
    const before = await facts();
    await rm(await journal());
    expect((await world.popfetch('state', 'rebuild')).code).toBe(0);
    expect(await facts()).toEqual(before);
  });

  test('makes a lost memory from the Maildir where only the content tells messages apart', async () => {
    const server = await world.serve({ taro: MAIL }, { uidl: false });
    await world.configure({ work: reach(server, { identity: 'hash' }) });
    expect(await world.popfetch()).toEqual(SILENCE);
    await rm(await journal());
    expect((await world.popfetch()).code).toBe(74);
    expect((await world.popfetch('check')).stdout).toContain(
      'the memory of this mailbox is missing, although 4 messages of it are in maildir:~/work',
    );
    expect((await world.popfetch('state', 'mark-seen', '--all')).code).toBe(64);
    expect((await world.popfetch('state', 'rebuild')).stdout).toBe(
      'work: 4 messages recognised in ~/work, 0 on the server are new\n',
    );
    server.mailbox('taro').add(plain(5));
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await world.maildir('work')).toEqual(stored(...MAIL, plain(5)));
  });

  test('mends a damaged memory, keeps the damaged file, and goes on', async () => {
    const server = await fetched();
    const text = await damage('DONE uid-2');
    const path = await journal();
    await rm(world.sandbox.path('work', 'new'), { recursive: true });
    expect((await world.popfetch()).code).toBe(74);
    const { code, stdout } = await world.popfetch('state', 'rebuild');
    expect(code).toBe(0);
    // The others were done by lines that are whole; the intent of this one is finished or undone by the next run.
    expect(stdout).toMatch(
      /^work: 0 messages recognised in ~\/work, 3 recovered from the damaged file, 0 on the server are new; the damaged file is kept as \S+\n$/,
    );
    const names = (await readdir(join(path, '..'))).filter((name) => name.includes('.damaged-'));
    expect(names).toEqual([expect.stringMatching(/\.journal\.damaged-\d{8}T\d{6}Z$/) as string]);
    expect(await readFile(join(path, '..', names[0]!), 'latin1')).toBe(text);
    await fetchesOnly(server, ['RETR 2'], [MAIL[1]!]);
  });

  test('knows what is done although the line with its facts is damaged, and never removes it', async () => {
    const server = await world.serve({ taro: [plain(1), plain(2)] });
    await world.configure({ work: reach(server, { deliver: { mbox: '~/box' }, delete: '1d' }) });
    expect(await world.popfetch()).toEqual(SILENCE);
    await damage('INTENT uid-1');
    const { code, stdout } = await world.popfetch('state', 'rebuild');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^work: 2 recovered from the damaged file, 0 on the server are new; /);
    await world.configure({ work: reach(server, { deliver: { mbox: '~/box' }, delete: 'delivered' }) });
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await world.mbox('box')).toHaveLength(2);
    expect(server.mailbox('taro').uids).toEqual(['uid-1']);
  });

  test('takes the generation before where the journal is gone', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server, { deliver: { mbox: '~/box' } }) });
    expect(await world.popfetch()).toEqual(SILENCE);
    const path = await journal();
    await rename(path, `${path}.old`);
    expect((await world.popfetch()).stderr).toContain('the memory of this mailbox is missing, although ');
    expect((await world.popfetch('status')).code).toBe(74);
    expect((await world.popfetch('state', 'rebuild')).stdout).toBe(
      'work: 4 recovered, 0 on the server are new\n',
    );
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await world.mbox('box')).toHaveLength(4);
  });

  test('says without a Maildir what else there is', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server, { deliver: { mbox: '~/box' } }) });
    expect((await world.popfetch('state', 'rebuild')).stdout).toBe(
      'work: 0 recovered, 4 on the server are new; without a Maildir nothing more can be recognised, and popfetch ' +
        'state mark-seen --all -a work would keep the next fetch from bringing them\n',
    );
  });

  test('does not take another message under an old unique-id for the one in the Maildir', async () => {
    const server = await fetched([plain(1), plain(2)]);
    await rm(await journal());
    const mailbox = server.mailbox('taro');
    mailbox.remove(mailbox.messages);
    mailbox.add({ uid: 'uid-1', data: awkward['From lines']! });
    mailbox.add({ uid: 'uid-2', data: plain(2) });
    expect((await world.popfetch('state', 'rebuild')).stdout).toBe(
      'work: 1 message recognised in ~/work, 1 on the server is new\n',
    );
    await fetchesOnly(server, ['RETR 1'], [plain(1), plain(2), awkward['From lines']!]);
  });

  test('recognises messages that share a unique-id, the one that came first, too', async () => {
    const server = await world.serve({ taro: [{ uid: 'same', data: plain(1) }] });
    await world.configure({ work: reach(server) });
    expect(await world.popfetch()).toEqual(SILENCE);
    server.mailbox('taro').add({ uid: 'same', data: plain(2) });
    expect(await world.popfetch()).toEqual(SILENCE);
    await rm(await journal());
    expect((await world.popfetch('state', 'rebuild')).stdout).toBe(
      'work: 2 messages recognised in ~/work, 0 on the server are new\n',
    );
    await fetchesOnly(server, [], [plain(1), plain(2)]);
  });

  test('of a sound memory changes nothing of what it knows', async () => {
    const server = await fetched();
    const before = await world.popfetch('state', 'export');
    expect((await world.popfetch('state', 'rebuild', '--json')).stdout).toBe(
      '{"account":"work","kept":4,"recognised":0,"fresh":0,"memory":"sound"}\n',
    );
    expect(await world.popfetch('state', 'export')).toEqual(before);
    await fetchesOnly(server, [], MAIL);
  });

  test('leaves all as it is where the server cannot be asked, and refuses the memory of another mailbox', async () => {
    const server = await fetched();
    const text = await damage('DONE uid-1');
    const path = await journal();
    await world.configure({ work: reach(server, { password: 'wrong' }) });
    expect((await world.popfetch('state', 'rebuild')).code).toBe(77);
    expect(await readFile(path, 'latin1')).toBe(text);
    await writeFile(path, encodeWrite([{ verb: 'POPFETCH', fields: ['1', 'x', '110', 'jiro'] }], 1));
    const { code, stderr } = await world.popfetch('state', 'rebuild');
    expect([code, stderr]).toEqual([74, expect.stringContaining('this is not the memory of taro') as string]);
  });
});

describe('popfetch state export and import', () => {
  test('on another machine lead to the same decisions, whatever the unique-ids are', async () => {
    const odd = Array.from({ length: 255 }, (_, octet) => String.fromCharCode(octet + 1)).filter(
      (character) => !'\r\n '.includes(character),
    );
    const mail = [
      ...MAIL,
      { uid: odd.slice(0, 70).join(''), data: plain(5) },
      { uid: odd.slice(70, 140).join(''), data: plain(6) },
      { uid: odd.slice(140).join(''), data: plain(7) },
    ];
    const server = await world.serve({ taro: mail });
    await world.configure({ work: reach(server, { delete: '30d' }) });
    expect(await world.popfetch('--limit', '6')).toEqual(SILENCE);
    const decisions = async (): Promise<unknown> =>
      JSON.parse((await world.popfetch('list', '--json')).stdout);
    const before = await decisions();
    const file = (await world.run(['state', 'export'])).stdout;
    expect(file.toString('latin1')).toMatch(/^[\n -~]+$/);
    await rm(join(world.sandbox.state, 'popfetch'), { recursive: true });
    expect(await decisions()).not.toEqual(before);
    const first = world.seen(await world.run(['state', 'import', '-a', 'work'], { stdin: file }));
    expect(first).toEqual({ ...SILENCE, stdout: 'work: 6 messages imported, 0 known already\n' });
    expect(await decisions()).toEqual(before);
    expect((await world.run(['state', 'export'])).stdout).toEqual(file);
    const second = world.seen(await world.run(['state', 'import', '-', '-a', 'work'], { stdin: file }));
    expect(second.stdout).toBe('work: 0 messages imported, 6 known already\n');
    expect((await world.run(['state', 'export'])).stdout).toEqual(file);
  });

  test('keep what is known of messages that are left alone', async () => {
    const server = await world.serve({ taro: [plain(1), plain(2)] });
    await world.configure({ work: reach(server, { maxSize: '1B' }) });
    expect((await world.popfetch()).stderr).toContain('is larger than maxSize');
    const file = (await world.run(['state', 'export'])).stdout;
    await rm(join(world.sandbox.state, 'popfetch'), { recursive: true });
    expect((await world.run(['state', 'import'], { stdin: file })).code).toBe(0);
    // Nobody is told a second time.
    expect(await world.popfetch()).toEqual(SILENCE);
  });

  test('of several accounts are told apart by their mailboxes', async () => {
    const one = await world.serve({ taro: [plain(1)] });
    const two = await world.serve({ taro: [plain(2), plain(3)] });
    await world.configure({ one: reach(one), two: reach(two) });
    expect(await world.popfetch()).toEqual(SILENCE);
    const { stdout } = await world.popfetch('state', 'export');
    await writeFile(world.sandbox.path('work', 'state.ndjson'), stdout);
    await rm(join(world.sandbox.state, 'popfetch'), { recursive: true });
    expect((await world.popfetch('state', 'import', 'state.ndjson', '-a', 'two')).stdout).toBe(
      'two: 2 messages imported, 0 known already\n',
    );
    await world.configure({ three: { ...reach(one), user: 'jiro' } });
    expect(await world.popfetch('state', 'import', 'state.ndjson')).toEqual({
      code: 65,
      stdout: '',
      stderr:
        `popfetch: this export cannot be imported: it is of taro at 127.0.0.1:${one.port}, taro at 127.0.0.1:${two.port}; ` +
        `account three is jiro at 127.0.0.1:${one.port}; choose another with -a\n`,
    });
    expect((await world.popfetch('state', 'import', 'nope')).stderr).toBe(
      'popfetch: nope cannot be read (ENOENT); see popfetch --help\n',
    );
    expect(await world.run(['state', 'import'], { stdin: '' })).toMatchObject({ code: 65 });
  });

  test('name each line that is wrong, and then import nothing', async () => {
    const server = await fetched([plain(1), plain(2)]);
    const lines = (await world.popfetch('state', 'export')).stdout.trim().split('\n');
    const [head = '', first = '', second = ''] = lines;
    const changed = (change: object): string =>
      JSON.stringify({ ...(JSON.parse(second) as object), uid: 'new', ...change });
    const bad = [
      first,
      head,
      first,
      '',
      'milk',
      '["uid"]',
      changed({ size: -1 }),
      changed({ uid: '例' }),
      changed({ doneAt: 'today' }),
      changed({ key: '../../x' }),
      changed({ sha256: undefined }),
      changed({ more: '\x1b[2J' }),
      head.replace('"popfetch":1', '"popfetch":2'),
      '{"uid":"x","exceeds":"1"}',
    ];
    await rm(await journal());
    const { code, stderr } = await world.run(['state', 'import'], { stdin: bad.join('\n') });
    expect([code, stderr.trimEnd().split('\n')]).toEqual([
      65,
      [
        'line 1: there is no line {"popfetch":1,"host":…,"port":…,"user":…} before it',
        'line 5: not a JSON object',
        'line 6: not a JSON object',
        'line 7: size must be a whole number',
        'line 8: uid must be a text of characters up to U+00FF',
        'line 9: doneAt must be a time such as "2026-01-31T09:05:00.000Z"',
        'line 10: key must be 26 characters of base32',
        'line 11: sha256 is missing',
        'line 12: unknown field "more"',
        'line 13: popfetch must be 1: another popfetch wrote this',
        'line 14: exceeds must be a whole number',
      ].map((line) => `popfetch: ${line}; nothing was imported`),
    ]);
    expect(await world.journals()).toEqual([]);
    expect(said(server, 'RETR')).toHaveLength(2);
  });

  test('tell of what is cut off, which only the next run can finish', async () => {
    const late = lateHook();
    const server = await world.serve({ taro: [plain(1)] }, { onEvent: late.onEvent });
    await world.configure({ work: reach(server) });
    expect(await world.popfetch()).toEqual(SILENCE);
    const path = await journal();
    const { records } = parseJournal(await readFile(path, 'latin1'), path);
    const begun = records.findIndex(({ verb }) => verb === 'DONE');
    await writeFile(path, encodeWrite(records.slice(0, begun), 1), 'latin1');
    const { code, stdout, stderr } = await world.popfetch('state', 'export');
    expect([code, stdout.trim().split('\n').length]).toEqual([0, 1]);
    expect(stderr).toBe(
      'popfetch: work: 1 delivery was cut off and left out; run popfetch, which finishes it, and export again\n',
    );
  });
});

describe('popfetch state', () => {
  test('alone explains its words, and suggests the one that was meant', async () => {
    const { code, stdout, stderr } = await world.popfetch('state');
    expect([code, stderr]).toEqual([0, '']);
    for (const word of ['list', 'forget', 'mark-seen', 'rebuild', 'export', 'import']) {
      expect(stdout).toContain(`  popfetch state ${word}`);
    }
    for (const [args, complaint] of [
      ['lst', 'state knows nothing of "lst"; did you mean list?'],
      ['x', 'state knows nothing of "x"; popfetch state shows what it takes'],
      ['constructor', 'state knows nothing of "constructor"; popfetch state shows what it takes'],
      ['list work', 'state list does not take "work"; see popfetch state --help'],
      ['rebuild --all', 'state rebuild does not take --all; see popfetch state --help'],
      ['forget', 'state forget needs UIDs, or --all; see popfetch state --help'],
      ['mark-seen a --all', 'state mark-seen takes UIDs or --all, not both; see popfetch state --help'],
      ['import a b', 'state import does not take "b"; see popfetch state --help'],
    ] as const) {
      expect(await world.popfetch('state', ...args.split(' '))).toEqual({
        code: 64,
        stdout: '',
        stderr: `popfetch: ${complaint}\n`,
      });
    }
  });

  test('changes one account at a time', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server), home: reach(server, { host: 'localhost' }) });
    for (const words of [['rebuild'], ['forget', '--all'], ['import'], ['mark-seen', 'uid-1']]) {
      expect((await world.popfetch('state', ...words)).stderr).toBe(
        `popfetch: state ${words[0] ?? ''} needs one account; there are: work, home; choose it with -a NAME\n`,
      );
    }
  });

  test('waits for a run that is under way only when asked to', async () => {
    const late = lateHook();
    const server = await world.serve({ taro: [plain(1)] }, { onEvent: late.onEvent });
    await world.configure({ work: reach(server) });
    let goOn: () => void = () => undefined;
    world.atEnd(() => {
      goOn();
    });
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const reached = new Promise<void>((resolve) => {
      late.hook = async ({ verb, kind }) => {
        if (verb === 'RETR' && kind === 'body') {
          resolve();
          await held;
        }
        return undefined;
      };
    });
    const run = world.start([]);
    await reached;
    for (const words of [['rebuild'], ['forget', '--all'], ['mark-seen', '--all']]) {
      const { code, stderr } = await world.popfetch('state', ...words);
      expect([code, stderr]).toEqual([
        75,
        expect.stringMatching(/^popfetch: work: state: another run of popfetch is fetching this mailbox /),
      ]);
    }
    const waiting = world.start(['state', 'forget', '--all', '--wait']);
    goOn();
    expect((await run.done).code).toBe(0);
    expect(world.seen(await waiting.done).stdout).toContain('work: 1 message forgotten');
  });

  test('leaves files that are for their owner alone', async () => {
    await fetched();
    await damage('DONE uid-1');
    expect((await world.popfetch('state', 'rebuild')).code).toBe(0);
    const directory = join(world.sandbox.state, 'popfetch');
    for (const name of (await readdir(directory)).filter((each) => each.includes('.'))) {
      expect((await stat(join(directory, name))).mode & 0o777, basename(name)).toBe(0o600);
    }
  });
});
