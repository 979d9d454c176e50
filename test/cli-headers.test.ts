import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readHeader } from '../src/cli/headers.js';

/** A header of these lines, every character one octet. */
function header(...lines: string[]): ReturnType<typeof readHeader> {
  return readHeader(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'));
}

const utf8 = (text: string): string => Buffer.from(text).toString('latin1');

test('sender, subject and date are found whatever the case, the first of each', () => {
  expect(
    header(
      'Received: x',
      'FROM: Taro <t@example.com>',
      'subject:hello',
      'Subject: other',
      'Date: Fri, 2 Jan 2026 03:04:05 +0900 (JST)',
    ),
  ).toEqual({ from: 'Taro <t@example.com>', subject: 'hello', date: Date.UTC(2026, 0, 1, 18, 4, 5) });
});

test('what is not there is empty, and a date that is none is no date', () => {
  expect(header('X: y')).toEqual({ from: '', subject: '', date: undefined });
  expect(header('Date: soon').date).toBeUndefined();
  expect(readHeader(Buffer.alloc(0))).toEqual({ from: '', subject: '', date: undefined });
});

test('the body is no header', () => {
  expect(readHeader(Buffer.from('From: a\n\nSubject: b\n'))).toEqual({
    from: 'a',
    subject: '',
    date: undefined,
  });
});

test.each([
  ['=?utf-8?B?44OG44K544OI?=', 'テスト'],
  ['=?ISO-2022-JP?B?GyRCJUYlOSVIGyhC?=', 'テスト'],
  ['=?utf-8?Q?caf=C3=A9_=26?= bar', 'café & bar'],
  ['=?utf-8?B?44OG?=\r\n =?utf-8?B?44K544OI?=', 'テスト'],
  ['folded\r\n\tline', 'folded line'],
  [utf8('テスト 8-bit'), 'テスト 8-bit'],
  ['\x1b$B%F%9%H\x1b(B', 'テスト'],
  ['caf\xe9', 'café'],
  ['=?no-such-charset?B?!!!?=', expect.any(String)],
])('the subject %j reads %j', (subject, expected) => {
  expect(header(`Subject: ${subject}`).subject).toEqual(expected);
});

test('nothing that steers a terminal is left, whether it was encoded or not', () => {
  expect(header('Subject: a\x1b[2Jb').subject).toBe('a\ufffd[2Jb');
  expect(header('Subject: =?utf-8?Q?a=1B[2J=E2=80=AE=0Ab?=').subject).not.toMatch(/[\p{Cc}\u202e]/u);
});

test('any octets at all give three fields without control characters', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.constantFrom('Subject: ', 'From: =?utf-8?B?', 'Date: '),
      (octets, name) => {
        const { from, subject, date } = readHeader(Buffer.concat([Buffer.from(name), octets]));
        expect(from + subject).not.toMatch(/\p{Cc}/u);
        expect(date === undefined || Number.isFinite(date)).toBe(true);
      },
    ),
  );
});
