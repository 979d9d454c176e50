/** Listings that are wrong, incomplete or meant to do harm. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UNLISTED } from '../../src/wire/limits.js';
import { Box, mail, subject } from '../support/inprocess.js';
import type { Override } from '../support/session.js';
import { mboxMessages } from '../support/stored.js';

let box: Box;
beforeEach(async () => {
  box = await Box.create();
});
afterEach(() => box.remove());

const boxOf = (count: number): { uid: string; data: Buffer }[] =>
  Array.from({ length: count }, (_, index) => ({ uid: `u${index + 1}`, data: mail(index + 1) }));

/** UIDL gives these rows; what is asked by number is answered as usual, or in this way. */
const gappy =
  (rows: readonly string[], one?: string): Override =>
  (_, [number]) => {
    if (number !== undefined) return one;
    return `+OK\r\n${rows.map((row) => `${row}\r\n`).join('')}.\r\n`;
  };

describe('messages that UIDL leaves out', () => {
  it.each([
    [['1 u1', '3 u3']],
    [['3 u3', '1 u1']],
    [[]],
    [['1 u1', '2 ', '3 u3']],
    [['1 u1', 'two u2', '3 u3']],
    [['2 u2', '4 u4', '0 u0']],
  ])('are asked for by number: %j [55] [56]', async (rows) => {
    for (const pipelining of [true, false]) {
      const server = await box.serve(boxOf(3), { pipelining, overrides: { UIDL: gappy(rows) } });
      await box.fetch(server, { delete: 'delivered' });
      expect(await box.subjects()).toEqual(
        pipelining ? [1, 2, 3].map(subject) : [1, 1, 2, 2, 3, 3].map(subject),
      );
      expect(server.mailbox('taro').uids).toEqual([]);
    }
  });

  it.each(['-ERR no such message', '+OK', '+OK 2', '+OK 2 ', '+OK 3 u3', '+OK 02 u2', '+OK u2', '+OK -2 u2'])(
    'and whose number is answered %j are left alone, with a note [55] [58]',
    async (answer) => {
      const server = await box.serve(boxOf(3), { overrides: { UIDL: gappy(['1 u1', '3 u3'], answer) } });
      const { events } = await box.fetch(server, { delete: 'delivered' });
      expect(await box.subjects()).toEqual([1, 3].map(subject));
      expect(server.mailbox('taro').uids).toEqual(['u2']);
      expect(events).toContainEqual(
        expect.objectContaining({ message: '1 of 3 messages have no unique-id and are left alone' }),
      );
    },
  );

  it('are not asked for in any number [55]', async () => {
    const count = UNLISTED + 44;
    const overrides = { UIDL: gappy([], '-ERR no'), STAT: `+OK ${count} 1`, LIST: '+OK\r\n.\r\n' };
    const server = await box.serve([], { overrides });
    await box.fetch(server);
    const asked = server.sessions[0]!.received.filter((line) => /^UIDL \d/.test(line));
    expect(asked).toHaveLength(UNLISTED);
  });

  it('are not asked for where none is left out [55]', async () => {
    const server = await box.serve(boxOf(3));
    await box.fetch(server);
    expect(server.sessions[0]!.received.filter((line) => line.startsWith('UIDL'))).toEqual(['UIDL']);
  });
});

describe('a number that cannot be', () => {
  const NUMBERS = [
    '0',
    '-1',
    '18446744073709551616',
    '9223372036854775808',
    '4294967297',
    '4',
    'x',
    '1.0',
    '1e0',
    '',
  ];

  it.each(NUMBERS)(
    '(%j) makes its row count for nothing, and no message of another is taken [53] [54] [56]',
    async (number) => {
      const rows = ['1 u1', '2 u2', '3 u3', `${number} evil`];
      const server = await box.serve(boxOf(3), { overrides: { UIDL: gappy(rows) } });
      const { asked } = await box.fetch(server);
      expect(asked).toEqual([['RETR 1', 'RETR 2', 'RETR 3']]);
    },
  );

  it.each([
    '2147483648 1',
    '4294967296 1',
    '999999999999999 1',
    '1000001 1',
    '-3 1',
    '',
    '3',
    '3 x',
    '1e3 1',
  ])('in STAT (+OK %s) ends the session at once, without room made for it [53]', async (stat) => {
    const server = await box.serve(boxOf(3), { overrides: { STAT: `+OK ${stat}` } });
    const before = process.memoryUsage().rss;
    const { outcome } = await box.run(server);
    expect(outcome.errors).toMatchObject([{ code: 'PROTOCOL', phase: 'list' }]);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
    expect(await box.subjects()).toEqual([]);
  });
});

describe('a unique-id', () => {
  const EVIL = [
    '../../evil',
    '/etc/passwd',
    '.',
    '..',
    '~',
    '$HOME',
    '%00',
    '%2e%2e%2f',
    'a:2,S',
    'C:\\x',
    '`id`',
  ];
  const octets = Array.from({ length: 256 }, (_, octet) => String.fromCharCode(octet)).filter(
    (c) => c !== '\n',
  );
  const uids = [
    ...octets.flatMap((c) => [`a${c}b`, `${c}c`]),
    ...octets.filter((c) => /[^a-z]/.test(c)),
    ...EVIL,
    ...EVIL.map((name) => `${name}\0`),
    'x'.repeat(71),
    'x'.repeat(1000),
  ];

  it('of whatever octets is in no path: nothing but the expected names appears [58] [59]', async () => {
    const messages = uids.map((uid, index) => ({ uid, data: mail(index) }));
    const mbox = join(box.home, 'mbox');
    const deliver = [{ maildir: box.maildir }, { mbox }];
    const server = await box.serve(messages);
    const { outcome } = await box.fetch(server, { deliver });
    expect(outcome.delivered).toBe(messages.length);
    const names = await readdir(box.home, { recursive: true });
    const strange = names.filter((name) => !EXPECTED.some((pattern) => pattern.test(name)));
    expect(strange).toEqual([]);
    expect(await box.subjects()).toHaveLength(messages.length);
    expect(await mboxMessages(mbox)).toHaveLength(messages.length);
    const again = (await box.fetch(server, { deliver })).asked.flat();
    // What looks like a name of our own making is looked at once more, and fetched no more.
    expect(again.filter((line) => !line.startsWith('TOP '))).toEqual([]);
  });

  const EXPECTED = [
    /^Mail(?:\/(?:new|cur|tmp))?$/,
    /^Mail\/new\/\d+\.[A-Za-z0-9]+K[a-z2-7]{26}\.[A-Za-z0-9._-]+$/,
    /^mbox$/,
    /^state(?:\/spool)?$/,
    /^state\/[a-z2-7]{8}\.(?:journal|lock)$/,
  ];

  it.each(['x'.repeat(1_030), 'x'.repeat(65_536)])('that is too long ends the session [58]', async (uid) => {
    const server = await box.serve([{ uid, data: mail(1) }]);
    expect((await box.run(server)).outcome.errors).toMatchObject([{ code: 'PROTOCOL', phase: 'list' }]);
  });

  it.each([
    ['a', 'A'],
    ['a', 'a '],
    ['a', ' a'],
    ['a', 'a\0'],
    ['\xe9', 'e'],
    ['a%20b', 'a b'],
  ])('is another than one that only looks like it: %j and %j [59]', async (one, other) => {
    const server = await box.serve([{ uid: one, data: mail(1) }]);
    await box.fetch(server);
    server.mailbox('taro').add({ uid: other, data: mail(2) });
    expect((await box.fetch(server)).asked).toEqual([['RETR 2']]);
  });
});
