/** Unique-ids, host names and clocks that are made to do harm: no file is called by them, and none depends on them. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDestination } from '../../src/deliver/index.js';
import { nodeDisk } from '../../src/disk.js';
import { mailboxTag, messageKey } from '../../src/identity.js';
import { openSeen } from '../../src/seen/seen.js';
import { fetchInto, message, NOW, Place, recover, TAG } from '../support/delivery.js';
import { MemoryLog } from '../support/log.js';
import { maildirMessages, mboxMessages } from '../support/stored.js';

const MAIL = Buffer.from('Subject: x\r\n\r\nbody\r\n');
const ADDRESS = { host: 'pop.example', port: 995, user: 'taro' };

let place: Place;
let log: MemoryLog;
beforeEach(async () => {
  place = await Place.create();
  log = new MemoryLog();
});
afterEach(() => place.remove());

const UIDS: readonly string[] = [
  ...[
    '../../../etc/passwd',
    '/etc/passwd',
    '..',
    '.',
    '.hidden',
    'a/b',
    'a\\b',
    'a\0b',
    'a\nb',
    'a\r\nDELE 1',
    'a:2,S',
  ],
  ...[
    '%u',
    '%s%n',
    '$(reboot)',
    '`reboot`',
    '; reboot',
    '-rf',
    '~',
    '*',
    '\u00ff\u00fe',
    'con',
    'x'.repeat(1024),
    ' ',
  ],
];

describe('what a server or a user is called [88]', () => {
  it.each(UIDS)('is never in the name of a file: unique-id %j', async (uid) => {
    const key = messageKey(ADDRESS, uid);
    expect(key).toMatch(/^[a-z2-7]{26}$/);
    const destination = await openDestination([{ maildir: place.path('box') }], place.context());
    await recover(destination, log);
    await fetchInto(destination, log, { ...message(1, MAIL), uid, key });
    const [stored] = await maildirMessages(place.path('box'));
    expect(stored?.name).toBe(`${NOW / 1000}.A${TAG}K${key}.host.example`);
    expect((await readdir(place.directory)).sort()).toEqual(['box', 'spool']);
  });

  it.each(['../../x', '/', 'a/../b', 'x\0y', 'a b', 'a\nb', '.', ''])(
    'is never in the name of a journal: user and host %j',
    (name) => {
      const tags = [mailboxTag({ ...ADDRESS, user: name }), mailboxTag({ ...ADDRESS, host: name })];
      expect(tags.every((tag) => /^[a-z2-7]{8}$/.test(tag))).toBe(true);
    },
  );

  it.each([
    ['a/b', 'a\\057b'],
    ['../x', '..\\057x'],
    ['a:b', 'a\\072b'],
  ])('does not lead elsewhere: this machine is %j', async (host, written) => {
    const destination = await openDestination([{ maildir: place.path('box') }], place.context({ host }));
    await recover(destination, log);
    await fetchInto(destination, log, message(1, MAIL));
    const [stored] = await maildirMessages(place.path('box'));
    expect(stored?.name.endsWith(`.${written}`)).toBe(true);
    expect(await readdir(place.path('box', 'tmp'))).toEqual([]);
  });

  it('makes no two names that differ only in the case of their letters, or in how Unicode writes them [97]', () => {
    const uids = ['a', 'A', '\u00e9', 'e\u0301', 'ss', '\u00df', 'i', 'I', '\u0131'];
    const keys = uids.map((uid) => messageKey(ADDRESS, uid).toLowerCase().normalize('NFKC'));
    expect(new Set(keys).size).toBe(uids.length);
  });
});

describe('a clock [95]', () => {
  const TIMES = [0, -1, 1000 * 2 ** 31 - 1, 1000 * 2 ** 31, 1000 * 2 ** 32, 253_402_300_800_000];

  it.each(TIMES)('that shows %i stores every message once, in a Maildir and in an mbox', async (time) => {
    const configs = [{ maildir: place.path('box') }, { mbox: place.path('mail', 'mbox') }];
    const destination = await openDestination(configs, place.context({ now: () => time }));
    await recover(destination, log);
    for (const n of [1, 2, 3]) await fetchInto(destination, log, message(n, MAIL));
    await destination.close();
    const names = (await maildirMessages(place.path('box'))).map(({ name }) => name);
    expect(new Set(names).size).toBe(3);
    expect(await mboxMessages(place.path('mail', 'mbox'))).toHaveLength(3);
  });

  it('that jumps back between two messages, and stands still, makes no name twice', async () => {
    const times = [NOW, NOW - 86_400_000, 0, NOW, NOW];
    const context = place.context({ now: () => times[0] ?? NOW });
    const destination = await openDestination([{ maildir: place.path('box') }], context);
    await recover(destination, log);
    for (const n of [1, 2, 3, 4, 5]) {
      await fetchInto(destination, log, message(n, MAIL));
      times.shift();
    }
    expect(await maildirMessages(place.path('box'))).toHaveLength(5);
  });

  it('that jumps back forgets nothing that is remembered', async () => {
    const state = await mkdtemp(join(tmpdir(), 'popfetch-clock-'));
    try {
      const open = (now: number) =>
        openSeen(state, ADDRESS, nodeDisk, { wait: 0, signal: new AbortController().signal, now: () => now });
      const details = {
        uid: 'a',
        key: messageKey(ADDRESS, 'a'),
        destination: 'x',
        size: 1,
        octets: 1,
        sha256: '0',
        headerSha256: '0',
        details: {},
      };
      const ended = { time: NOW, result: 'ok', listed: 0, delivered: 0, removed: 0 };
      const first = await open(NOW);
      await first.intend(details);
      await first.done('a');
      await first.close(ended, new Set());
      // Gone since the first run; by this clock, half a century before.
      for (let run = 0; run < 3; run += 1) await (await open(0)).close({ ...ended, time: 0 }, new Set());
      const last = await open(NOW);
      expect(last.has('a')).toBe(true);
      await last.close(ended, new Set());
    } finally {
      await rm(state, { recursive: true });
    }
  });
});
