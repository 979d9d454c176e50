/** Readers of messages on their way to a destination. */
import { createHash } from 'node:crypto';
import { readHeader } from '../../src/cli/headers.js';
import { Intake, FromQuoting, LineFeeds, chain, type Filter } from '../../src/deliver/lines.js';
import { mailFrom, OneLineEnd } from '../../src/deliver/lmtplines.js';
import { MboxEntry } from '../../src/deliver/mboxformat.js';
import { MboxScan } from '../../src/deliver/mboxscan.js';
import { envelopeSender } from '../../src/deliver/sender.js';
import { pieces } from './mutate.js';
import { must, same, type Subject } from './subject.js';

const MAILS = [
  'Return-Path: <a@b.example>\r\nSubject: x\r\n\r\nFrom me\r\n>From you\r\n.\r\n',
  'From: =?utf-8?B?5pel5pys?= <a@b.example>\r\nDate: Fri, 01 May 2026 10:00:00 +0900 (JST)\r\n\r\nx\r\n',
  '\r\n\r\n\r\n',
  'no header',
  'a\r\r\nb\rc\nd\r\n\r\r',
  '>>>From \r\nFrom: \r\nFro',
];

function through(filter: Filter, parts: readonly Buffer[]): string {
  const out = parts.map((piece) => filter.push(piece).toString('latin1'));
  return [...out, filter.end().toString('latin1')].join('');
}

/** A filter against what it must come to, however it is cut. */
function filtering(name: string, make: () => Filter, expected: (text: string) => string): Subject {
  return {
    name,
    corpus: MAILS,
    check(text, by) {
      same(through(make(), pieces(text, by)), expected(text), 'what comes out');
    },
  };
}

const lf = (text: string): string => text.replaceAll('\r\n', '\n');
const quoted = (text: string): string => text.replace(/(?<=^|\n)(?=>*From )/g, '>');
const hash = (text: string): string => createHash('sha256').update(text, 'latin1').digest('hex');

const facts: Subject = {
  name: 'facts of a message',
  corpus: MAILS,
  check(text, by) {
    for (const eol of ['lf', 'crlf'] as const) {
      const intake = new Intake(eol);
      same(through(intake, pieces(text, by)), eol === 'lf' ? lf(text) : text, 'what is stored');
      const plain = lf(text);
      const end = plain.startsWith('\n') ? 1 : plain.indexOf('\n\n') + 2;
      const header = end === 1 && !plain.startsWith('\n') ? plain : plain.slice(0, end);
      const expected = { octets: text.length, sha256: hash(plain), headerSha256: hash(header) };
      same(intake.facts(), expected, 'facts');
    }
  },
};

function found(text: string, parts: readonly Buffer[]): string[] {
  const contents: string[] = [];
  const scan = new MboxScan((content) => contents.push(content));
  for (const piece of parts) scan.push(piece);
  scan.end();
  must(contents.length <= text.split('From ').length - 1, 'no message out of nothing');
  return contents;
}

const mbox: Subject = {
  name: 'mbox',
  corpus: [
    ...MAILS,
    'From a Thu Jan  1 00:00:00 1970\nStatus: RO\nSubject: x\n\nhi\n\nFrom b\n\nContent-Length: 3\n',
  ],
  check(text, by) {
    const contents = found(text, [Buffer.from(text, 'latin1')]);
    same(found(text, pieces(text, by)), contents, 'messages under a cut');
    const plain = lf(text);
    // What comes out may hold a CRLF again, where a CR stood before one.
    if (!plain.includes('\r\n'))
      same(found(plain, [Buffer.from(plain, 'latin1')]), contents, 'messages with LF');
    same(contents.length, lf(text).split(/(?<=^|\n)From /).length - 1, 'how many');
    const entry = through(chain(new LineFeeds(), new MboxEntry(0, 'lf')), pieces(text, by));
    const [, opening = '', stored = ''] = /^(From [^\n]*\n)([^]*)$/.exec(entry) ?? [];
    must(/^From [!-~]+ Thu Jan {2}1 00:00:00 1970\n$/.test(opening), 'a From line of printable ASCII');
    const missing = /(?:^|\n)$/.test(lf(text)) ? '' : '\n';
    same(stored, `${quoted(lf(text))}${missing}\n`, 'an entry');
    same(found(entry, [Buffer.from(entry, 'latin1')]).length, 1, 'entries that one message makes');
  },
};

// Everything that is no letter of a script, and steers.
const STEERS = /[\p{Cc}\p{Cs}\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/u;

const header: Subject = {
  name: 'header of a message',
  corpus: [
    ...MAILS,
    'Subject: =?iso-2022-jp?B?GyRCJUYlOSVIGyhC?=\r\n =?utf-8?Q?=1b[2J=e2=80=ae?=\r\nDate: (((\r\n',
  ],
  check(text) {
    const { from, subject, date } = readHeader(Buffer.from(text, 'latin1'));
    must(!STEERS.test(from) && !STEERS.test(subject), 'nothing steers a terminal');
    must(date === undefined || Number.isFinite(date), 'a date is a number');
    const sender = envelopeSender(Buffer.from(text, 'latin1'));
    must(/^[!-~]{0,320}$/.test(sender) && !/[<>]/.test(sender), 'a sender is one word');
    const address = mailFrom(Buffer.from(text, 'latin1'));
    must(address === '' || (address === sender && /^[^\s<>"]+@[a-z0-9.-]+$/i.test(address)), 'an address');
  },
};

export const MAIL: readonly Subject[] = [
  filtering('line ends', () => new LineFeeds(), lf),
  filtering('From quoting', () => new FromQuoting(), quoted),
  filtering(
    'one line end',
    () => new OneLineEnd(),
    (text) => text.replace(/\r\r\n/g, '\r\n'),
  ),
  facts,
  mbox,
  header,
];
