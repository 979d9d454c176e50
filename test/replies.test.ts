import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  assembleListing,
  Lines,
  NO_CAPABILITIES,
  parseCapabilities,
  parseChallenge,
  parseStat,
  parseStatus,
  parseTimestamp,
  responseCode,
} from '../src/pop3/replies.js';
import type { Listing } from '../src/pop3/mailbox.js';
import { plainly } from './support/fakes.js';

const refused = (message: string): unknown => expect.objectContaining({ code: 'PROTOCOL', message });

describe('a status line', () => {
  it.each([
    ['+OK', true, '', undefined],
    ['-ERR', false, '', undefined],
    ['+OK ', true, '', undefined],
    ['+OK 2 320', true, '2 320', undefined],
    ['+OK  two blanks', true, ' two blanks', undefined],
    ['-ERR no such message', false, 'no such message', undefined],
    ['-ERR [IN-USE] busy', false, '[IN-USE] busy', 'IN-USE'],
    ['-ERR [in-use]', false, '[in-use]', 'IN-USE'],
    ['-ERR [SYS/TEMP] later', false, '[SYS/TEMP] later', 'SYS/TEMP'],
    ['-ERR [X_1-a/b] x', false, '[X_1-a/b] x', 'X_1-A/B'],
    ['-ERR sorry [IN-USE]', false, 'sorry [IN-USE]', undefined],
    ['-ERR  [IN-USE]', false, ' [IN-USE]', undefined],
    ['-ERR [IN-USE', false, '[IN-USE', undefined],
    ['-ERR [] x', false, '[] x', undefined],
    ['-ERR [IN USE] x', false, '[IN USE] x', undefined],
    [`-ERR [${'x'.repeat(65)}]`, false, `[${'x'.repeat(65)}]`, undefined],
    ['+OK \x1b[31m\xe9\0', true, '\x1b[31m\xe9\0', undefined],
    ['-ERR a\rb\nc', false, 'a\rb\nc', undefined],
  ])('%j is understood', (line, ok, text, code) => {
    expect(parseStatus(line)).toEqual({ ok, text, code });
  });

  it.each([
    ...[
      '',
      ' ',
      '+',
      '+ ',
      'OK',
      '+OKAY',
      '+OK\t1',
      '+ok',
      '+Ok 1',
      ' +OK',
      '-err',
      '-ERROR',
      '--ERR',
      '+OK-1',
    ],
    ...[
      '+Do you care?',
      'HTTP/1.1 400 Bad Request',
      'SSH-2.0-OpenSSH_9.2p1',
      '220 ESMTP',
      '* OK IMAP4rev1',
      '\xff',
    ],
    ...['\0+OK', 'x\n+OK'],
  ])('%j is none [21]', (line) => {
    expect(parseStatus(line)).toBeUndefined();
  });
});

it.each([
  ...(['AUTH', 'IN-USE', 'LOGIN-DELAY', 'SYS/TEMP', 'SYS/PERM'].flatMap((code) => [
    [code, code],
    [code.toLowerCase(), code],
    [`${code}/DISK/full`, code],
    [`${code}X`, undefined],
    [`X/${code}`, undefined],
  ]) as [string, string | undefined][]),
  ['SYS', undefined],
  ['SYS/', undefined],
  ['SYS/TEMP/', 'SYS/TEMP'],
  ['X-NEW', undefined],
] as [string, string | undefined][])('the response code [%s] means %s [27]', (code, known) => {
  expect(responseCode(parseStatus(`-ERR [${code}] words`)!)).toBe(known);
});

it.each([
  ['+', ''],
  ['+ ', ''],
  ['+ dGVzdA==', 'dGVzdA=='],
  ['+  x', ' x'],
  ['+OK', undefined],
  ['-ERR', undefined],
  ['', undefined],
  ['+x', undefined],
])('the challenge in %j is %j', (line, data) => {
  expect(parseChallenge(line)).toBe(data);
});

describe('the timestamp of a greeting [33]', () => {
  it.each([
    ['POP3 server ready <1896.697170952@dbc.mtview.ca.us>', '<1896.697170952@dbc.mtview.ca.us>'],
    ['<a@b> first of <c@d>', '<a@b>'],
    ['x<a@b>y', '<a@b>'],
    ['<<a@b>>', '<a@b>'],
    ['no timestamp', undefined],
    ['<nothing at all>', undefined],
    ['<@b>', undefined],
    ['<a@>', undefined],
    ['<a b@c>', undefined],
    ['<a@b\x01>', undefined],
    ['<a@b\xe9>', undefined],
    ['<a@b', undefined],
    [`<${'a'.repeat(201)}@b>`, undefined],
  ])('%j is %j', (greeting, timestamp) => {
    expect(parseTimestamp(greeting)).toBe(timestamp);
  });

  it('is looked for in a time that does not explode with the greeting [33]', () => {
    const start = performance.now();
    for (const part of ['<', '<a', '<a@', '@', '<@<']) parseTimestamp(part.repeat(4096));
    expect(performance.now() - start).toBeLessThan(2_000);
  });
});

describe('capabilities', () => {
  it('are tags in any case with their parameters, and the first of a repeated tag counts [24]', () => {
    const lines = [
      'TOP',
      'sasl PLAIN  login',
      ' Expire 30 ',
      'SASL CRAM-MD5',
      '',
      '   ',
      'IMPLEMENTATION x y',
    ];
    expect(parseCapabilities(lines)).toEqual({
      known: true,
      tags: new Map([
        ['TOP', []],
        ['SASL', ['PLAIN', 'login']],
        ['EXPIRE', ['30']],
        ['IMPLEMENTATION', ['x', 'y']],
      ]),
    });
  });

  it('may be none, which is not the same as unknown', () => {
    expect(parseCapabilities([])).toEqual({ known: true, tags: new Map() });
    expect(NO_CAPABILITIES).toEqual({ known: false, tags: new Map() });
  });
});

describe('the answer to STAT', () => {
  it.each([
    ['0 0', 0, 0],
    ['2 320', 2, 320],
    ['2 320 octets, or so', 2, 320],
    ['1000000 999999999999999', 1_000_000, 999_999_999_999_999],
    ['007 08', 7, 8],
  ])('%j is understood', (text, count, octets) => {
    expect(parseStat(text)).toEqual({ count, octets });
  });

  it.each([
    ...[
      '',
      '3',
      '3 ',
      ' 3 4',
      '-1 5',
      '3 -5',
      '1e3 5',
      '0x10 5',
      '3  4',
      '3 4x',
      'three four',
      '3.0 4',
      '١ ٢',
    ],
    ...['1000001 1', '2147483648 1', '99999999999999999999 1', '1 9999999999999999'],
  ])('%j is no answer [53]', (text) => {
    expect(parseStat(text)).toBeUndefined();
  });
});

describe('lines', () => {
  const push = (limit: number, text: string, cuts: readonly number[]): string[] => {
    const octets = Buffer.from(text, 'latin1');
    const lines = new Lines(limit);
    return [0, ...cuts].flatMap((from, index) =>
      lines.push(octets.subarray(from, cuts[index] ?? octets.length)),
    );
  };

  it.each([
    ['', []],
    ['a', []],
    ['a\r\n', ['a']],
    ['a\r\nb\nc\r\n', ['a', 'b', 'c']],
    ['\r\n\n\r\n', ['', '', '']],
    ['a\rb\r\r\nc', ['a\rb\r']],
    ['\0\xff\r\n', ['\0\xff']],
  ] as const)('of %j are %j, wherever it is cut once or twice', (text, expected) => {
    for (let first = 0; first <= text.length; first += 1) {
      for (let second = first; second <= text.length; second += 1) {
        expect(push(10, text, [first, second])).toEqual(expected);
      }
    }
  });

  it('are the same at every cut', () => {
    const part = fc.constantFrom('\r', '\n', '\r\n', '1 uid', ' ', '\xff', '.');
    fc.assert(
      fc.property(fc.array(part), fc.array(fc.nat(80)), (parts, positions) => {
        const text = `${parts.join('')}\r\n`;
        const cuts = positions.map((at) => Math.min(at, text.length)).sort((a, b) => a - b);
        const expected = text
          .split('\n')
          .slice(0, -1)
          .map((line) => line.replace(/\r$/, ''));
        expect(push(1000, text, cuts)).toEqual(expected);
      }),
      { numRuns: 1_000 },
    );
  });

  it('longer than the limit are refused, whole, open or in pieces', () => {
    const long = 'x'.repeat(11);
    const cut = Array.from({ length: 10 }, (_, at) => at + 1);
    for (const text of [long, `${long}\r\n`, `a\r\n${long}`, `a\r\n${long}\nb`]) {
      for (const cuts of [[], [5], cut]) {
        expect(() => push(10, text, cuts)).toThrow(
          refused('the server sent a listing line of more than 10 octets'),
        );
      }
    }
    expect(push(10, `${'x'.repeat(9)}\r\n${'y'.repeat(10)}\n`, [3])).toEqual(['x'.repeat(9), 'y'.repeat(10)]);
  });
});

describe('a listing', () => {
  const stat = { count: 3, octets: 600 };
  const short = ({ messages }: Listing): string[] =>
    messages.map(({ number, size, uid }) => `${number} ${size} ${uid}`);

  it('is LIST and UIDL together', () => {
    const listing = assembleListing(stat, ['1 100', '2 200', '3 300'], ['1 a', '2 b', '3 c']);
    expect(plainly(listing)).toEqual({
      messages: [
        { number: 1, size: 100, uid: 'a' },
        { number: 2, size: 200, uid: 'b' },
        { number: 3, size: 300, uid: 'c' },
      ],
      octets: 600,
      complete: true,
      uidl: true,
      notes: [],
    });
  });

  it('is in the order of the numbers, in whatever order the rows came', () => {
    const listing = assembleListing(stat, ['3 300', '1 100', '2 200'], ['2 b', '3 c', '1 a']);
    expect(short(listing)).toEqual(['1 100 a', '2 200 b', '3 300 c']);
  });

  it('may be empty', () => {
    const empty = { count: 0, octets: 0 };
    expect(plainly(assembleListing(empty, [], []))).toEqual({
      messages: [],
      octets: 0,
      complete: true,
      uidl: true,
      notes: [],
    });
  });

  it.each([' a', 'a b', 'x'.repeat(300), '\xff\x01/../%', 'A', 'a '])(
    'keeps the uid %j as it is [58] [59]',
    (uid) => {
      const listing = assembleListing({ count: 1, octets: 1 }, ['1 1'], [`1 ${uid}`]);
      expect([...listing.messages]).toEqual([{ number: 1, size: 1, uid }]);
    },
  );

  it('keeps messages that share a uid apart [57]', () => {
    expect(short(assembleListing(stat, ['1 1', '2 2', '3 3'], ['1 a', '2 a', '3 a']))).toEqual([
      ...['1 1 a', '2 2 a', '3 3 a'],
    ]);
  });

  it('takes what is there when rows are missing, and is not complete [55]', () => {
    const listing = assembleListing(stat, ['1 100', '3 300'], ['3 c']);
    expect(short(listing)).toEqual(['3 300 c']);
    expect(listing).toMatchObject({
      complete: false,
      notes: ['2 of 3 messages have no unique-id and are left alone'],
    });
  });

  it('takes the size for 0 where LIST does not say, or says no number [64]', () => {
    const listing = assembleListing(stat, ['1 -1', '2 12 octets'], ['1 a', '2 b', '3 c']);
    expect(short(listing)).toEqual(['1 0 a', '2 12 b', '3 0 c']);
    expect(listing.complete).toBe(true);
  });

  it.each([
    ...[
      '',
      '1',
      '1 ',
      'x a',
      '0 a',
      '-1 a',
      '4 a',
      '1e0 a',
      '+1 a',
      ' 1 a',
      '99999999999999999999 a',
      '1\ta',
    ],
    ...['18446744073709551617 a', '0x1 a', '.'],
  ])('leaves out the row %j of UIDL with a note [56]', (row) => {
    const listing = assembleListing({ count: 3, octets: 3 }, ['2 2', '3 3'], [row, '2 b', '3 c']);
    expect(short(listing)).toEqual(['2 2 b', '3 3 c']);
    expect(listing.complete).toBe(false);
    expect(listing.notes).toEqual([
      '1 lines of UIDL were not understood and left out',
      '1 of 3 messages have no unique-id and are left alone',
    ]);
  });

  it('leaves out what came after STAT counted [54]', () => {
    const listing = assembleListing({ count: 1, octets: 100 }, ['1 100', '2 200'], ['1 a', '2 b']);
    expect(short(listing)).toEqual(['1 100 a']);
    expect(listing).toMatchObject({
      complete: true,
      notes: [
        '1 lines of LIST were not understood and left out',
        '1 lines of UIDL were not understood and left out',
      ],
    });
  });

  it.each([
    [['1 1', '1 1'], ['1 a'], 'the server listed message 1 twice in its LIST'],
    [['1 1'], ['2 a', '1 b', '2 a'], 'the server listed message 2 twice in its UIDL'],
    [['1 1', '01 1'], ['1 a'], 'the server listed message 1 twice in its LIST'],
  ])('that gives a number twice is worthless: %j %j [56]', (list, uidl, message) => {
    expect(() => assembleListing(stat, list, uidl)).toThrow(refused(message));
  });

  it('holds only numbers of messages that STAT counted, whatever the rows say [56]', () => {
    const row = fc.oneof(
      fc
        .tuple(fc.integer({ min: -2, max: 8 }), fc.string({ maxLength: 4 }))
        .map(([n, text]) => `${n} ${text}`),
      fc.string({ maxLength: 6 }),
    );
    fc.assert(
      fc.property(fc.nat(5), fc.array(row), fc.array(row), (count, list, uidl) => {
        let listing: Listing;
        try {
          listing = assembleListing({ count, octets: 0 }, list, uidl);
        } catch (error) {
          expect(error).toMatchObject({ code: 'PROTOCOL' });
          return;
        }
        const numbers = listing.messages.map(({ number }) => number);
        expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
        for (const { number, size, uid } of listing.messages) {
          expect(number >= 1 && number <= count && size >= 0 && uid !== '').toBe(true);
        }
        expect(listing.complete).toBe(numbers.length === count);
      }),
      { numRuns: 1_000 },
    );
  });
});
