/**
 * Messages that go wrong elsewhere, and a mixed mailbox of any size. All of them are the octets that a server holds:
 * lines end in CRLF unless the point of the message is that they do not.
 */
import type { MessageSource } from './mailbox.js';

const ESC = '\x1b';
/** A header without its empty line. */
const HEADER = 'From: someone@example.com\r\nSubject: awkward\r\nMessage-ID: <awkward@example.com>\r\n';
/** テストメールです。(^^)/~ in ISO-2022-JP: JIS X 0208 between escape sequences, seven bits throughout. */
const BODY_JIS = `${ESC}$B%F%9%H%a!<%k$G$9!#${ESC}(B(^^)/~`;

/** The body of {@link hogehogeUtf8} and {@link hogehogeJis}, decoded. */
export const HOGEHOGE_BODY = 'テストメールです。(^^)/~';
/** Their From, decoded. */
export const HOGEHOGE_FROM = 'ほげほげマン <hogehoge@hogehoge.or.jp>';

/** The test mail of ほげほげマン, UTF-8 in eight bits. */
export const hogehogeUtf8 = lines(
  'Return-Path: <hogehoge@hogehoge.or.jp>',
  'From: =?UTF-8?B?44G744GS44G744GS44Oe44Oz?= <hogehoge@hogehoge.or.jp>',
  'To: taro@hogehoge.or.jp',
  'Subject: test mail',
  'Date: Fri, 01 May 2026 10:00:00 +0900',
  'Message-ID: <20260501100000.1132@hogehoge.or.jp>',
  'MIME-Version: 1.0',
  'Content-Type: text/plain; charset=UTF-8',
  'Content-Transfer-Encoding: 8bit',
  '',
  HOGEHOGE_BODY,
);

/** The same mail as Japanese mailers wrote it for decades: ISO-2022-JP in seven bits. */
export const hogehogeJis = lines(
  'Return-Path: <hogehoge@hogehoge.or.jp>',
  'From: =?ISO-2022-JP?B?GyRCJFskMiRbJDIlXiVzGyhC?= <hogehoge@hogehoge.or.jp>',
  'To: taro@hogehoge.or.jp',
  'Subject: test mail',
  'Date: Fri, 01 May 2026 10:00:01 +0900',
  'Message-ID: <20260501100001.1132@hogehoge.or.jp>',
  'MIME-Version: 1.0',
  'Content-Type: text/plain; charset=ISO-2022-JP',
  'Content-Transfer-Encoding: 7bit',
  '',
  BODY_JIS,
);

/** Messages by what is awkward about them. Whatever stores or carries mail must keep each one as it is. */
export const awkward: Readonly<Record<string, Buffer>> = {
  'UTF-8 in eight bits': hogehogeUtf8,
  'ISO-2022-JP': hogehogeJis,
  'leading dots': withBody('.', '..', '...', '.hidden', '..\tx', 'a.b', '. ', 'end.'),
  'From lines': withBody('From here on', '>From there', '>>From', 'From: no', ' From', 'From', 'From '),
  'From line first in the body': withBody('From taro@example.com Fri May  1 10:00:00 2026', '', 'From x'),
  'From line as header': bytes('From taro Fri May  1 10:00:00 2026\r\nSubject: x\r\n\r\nbody\r\n'),
  'bare CR': bytes(`${HEADER}\r\na\rb\r\r\n\r\n\r.\r\nend\r`),
  'bare LF': bytes(`${HEADER}\r\na\nb\n\nFrom x\n.\n.\r\nend\n`),
  'LF dot LF': bytes(`${HEADER}\r\nbefore\n.\nafter\n.\r\n\r.\r\nlast\r\n`),
  NULs: bytes(`${HEADER}\r\n\0a\0\0b\r\n\0\r\n`),
  'all octets': Buffer.concat([bytes(`${HEADER}\r\n`), allOctets(), bytes('\r\n')]),
  'eight bits in the header': Buffer.from('Subject: äöü ほげ\r\nFrom: é@example.com\r\n\r\nx\r\n'),
  'invalid UTF-8': bytes('Subject: \xff\xfe\xc3\r\n\r\n\xe3\x83\r\n'),
  'a line of 1,200 characters': withBody('x'.repeat(1200), 'y'),
  'a line of 70,000 characters': withBody('z'.repeat(70_000), '.'),
  'no CRLF at the end': bytes(`${HEADER}\r\nno newline at the end`),
  'ends in CR': bytes(`${HEADER}\r\nends in CR\r`),
  'ends in a dot line': withBody('x', '.'),
  'empty lines at the end': withBody('x', '', '', ''),
  'empty body': bytes(`${HEADER}\r\n`),
  'header only': bytes(HEADER),
  'no header': bytes('\r\nonly a body\r\n'),
  'a single CRLF': bytes('\r\n'),
  'nothing at all': Buffer.alloc(0),
  'escape sequences': withBody(`${ESC}[31mred${ESC}[0m`, `${ESC}]0;title\x07`, '\x9b2J'),
  '1 MB': oneMegabyte(),
};

/** A message with a plain header whose body has these lines. */
export function withBody(...body: readonly string[]): Buffer {
  return bytes(`${HEADER}\r\n${body.map((line) => `${line}\r\n`).join('')}`);
}

/** Short and distinct: message `n` of a mailbox in which only the order and the number matter. */
export function plain(n: number): Buffer {
  return lines(`Subject: message ${n}`, `Message-ID: <plain-${n}@example.com>`, '', `body of message ${n}`);
}

/**
 * The message with a header field added so that it is exactly `octets` long.
 * Throws a RangeError where it is too long for that already.
 */
export function padded(message: Buffer, octets: number): Buffer {
  const missing = octets - message.length;
  const field = 'X-Padding: \r\n';
  if (missing < field.length) throw new RangeError(`cannot pad ${message.length} octets to ${octets}`);
  const chunks = ['X-Padding: '];
  // Folded, so that no line is longer than a mail may have.
  let left = missing - field.length;
  while (left > 70 + 3) {
    chunks.push('x'.repeat(70), '\r\n ');
    left -= 70 + 3;
  }
  chunks.push('x'.repeat(left), '\r\n');
  return Buffer.concat([bytes(chunks.join('')), message]);
}

/** A message of exactly `octets` octets that is made while it is sent and never held whole. */
export function huge(octets: number): MessageSource {
  const start = bytes(`Subject: ${octets} octets\r\nMessage-ID: <huge-${octets}@example.com>\r\n\r\n`);
  const line = bytes(`${'0123456789abcdef'.repeat(4)}\r\n`);
  const block = Buffer.concat(Array.from({ length: 992 }, () => line));
  function* generate(): Generator<Buffer> {
    yield start;
    let left = octets - start.length - 2;
    while (left > 0) {
      const piece = block.subarray(0, left);
      yield piece;
      left -= piece.length;
    }
    yield bytes('\r\n');
  }
  return { size: octets, generate };
}

/** The same octets with LF for every CRLF. */
export function toLf(data: Buffer): Buffer {
  return Buffer.from(data.toString('latin1').replaceAll('\r\n', '\n'), 'latin1');
}

/** The lines, each ended by CRLF, in UTF-8. */
export function lines(...text: readonly string[]): Buffer {
  return Buffer.from(text.map((line) => `${line}\r\n`).join(''), 'utf8');
}

function bytes(latin1: string): Buffer {
  return Buffer.from(latin1, 'latin1');
}

function allOctets(): Buffer {
  return Buffer.from(Array.from({ length: 256 }, (_, octet) => octet));
}

function oneMegabyte(): Buffer {
  const line = '.From the middle of a megabyte, line by line, to its end it goes';
  return padded(withBody(...Array.from({ length: 15_100 }, () => line)), 1_000_000);
}
