/** Readers of what a POP3 server says. */
import { createHash } from 'node:crypto';
import { PopfetchError } from '../../src/errors.js';
import { formsOf } from '../../src/pop3/auth.js';
import {
  assembleListing,
  Lines,
  parseCapabilities,
  parseChallenge,
  parseStat,
  parseStatus,
  parseTimestamp,
} from '../../src/pop3/replies.js';
import { Dots } from '../../src/wire/dots.js';
import { MESSAGES } from '../../src/wire/limits.js';
import type { Chance } from '../support/chance.js';
import { pieces } from './mutate.js';
import { must, same, type Subject } from './subject.js';

/** What the work gives, or undefined where it throws PROTOCOL: nothing else may be thrown. */
function orProtocol<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof PopfetchError && error.code === 'PROTOCOL') return undefined;
    throw error;
  }
}

const status: Subject = {
  name: 'status line',
  corpus: [
    '+OK',
    '-ERR',
    '+OK 2 320',
    '-ERR [SYS/TEMP] later',
    '+OK <1896.697170952@dbc.mtview.ca.us>',
    '+ cGFzcw==',
    '+OK [in-use] x',
  ],
  check(line) {
    const got = parseStatus(line);
    const word = /^(?:\+OK|-ERR)/.exec(line)?.[0];
    const next = line[word?.length ?? 0];
    same(
      got !== undefined,
      word !== undefined && (next === undefined || next === ' '),
      'whether it is a status',
    );
    if (got !== undefined) {
      same(got.ok, word === '+OK', 'ok');
      same(`${word ?? ''} ${got.text}`.trimEnd(), line.trimEnd(), 'text');
      must(got.code === undefined || /^[A-Z0-9/_-]{1,64}$/.test(got.code), 'a code is what RFC 2449 allows');
    }
    const challenge = parseChallenge(line);
    must(challenge === undefined || line.startsWith('+'), 'a challenge begins with +');
    must(!(challenge !== undefined && got !== undefined), 'nothing is a challenge and a status');
    const timestamp = parseTimestamp(line);
    must(
      timestamp === undefined || (line.includes(timestamp) && /^<[!-~]+@[!-~]+>$/.test(timestamp)),
      'a timestamp',
    );
  },
};

const capabilities: Subject = {
  name: 'CAPA',
  corpus: [
    'TOP\r\nUIDL\r\nSASL PLAIN LOGIN\r\nSTLS\r\nEXPIRE 60\r\nLOGIN-DELAY 900\r\nIMPLEMENTATION x',
    'top\n Top \nPIPELINING',
  ],
  check(text) {
    const lines = text.split(/\r?\n/);
    const { tags } = parseCapabilities(lines);
    must(tags.size <= lines.length, 'no tag out of nothing');
    for (const [tag, parameters] of tags) {
      must(tag !== '' && tag === tag.toUpperCase() && !tag.includes(' '), 'a tag is one word in upper case');
      must(
        parameters.every((each) => !each.includes(' ')),
        'parameters are words',
      );
    }
  },
};

const stat: Subject = {
  name: 'STAT',
  corpus: ['2 320', '0 0', '1000000 1', '1000001 1', '3 300 trailing', '999999999999999 1'],
  check(text) {
    const got = parseStat(text);
    if (got === undefined) return;
    must(Number.isInteger(got.count) && got.count >= 0 && got.count <= MESSAGES, 'a count is within bounds');
    must(Number.isSafeInteger(got.octets) && got.octets >= 0, 'octets can be counted');
    must(/^\d+ \d+(?: |$)/.test(text), 'two plain numbers');
  },
};

const LISTS = [
  '1 120\r\n2 200\r\n',
  '1 whqtswO00WBw418f9t5JxYwZ\r\n2 QhdPYR:00WBw1Ph7x7\r\n',
  '1 a\n2 b\n3 c\n',
  '3 x\r\n1 y\r\n2 z\r\n',
];

function linesOf(parts: readonly Buffer[]): string[] | undefined {
  const lines = new Lines(1024);
  return orProtocol(() => parts.flatMap((piece) => lines.push(piece)));
}

const listing: Subject = {
  name: 'LIST and UIDL',
  corpus: LISTS,
  check(text, by) {
    const whole = linesOf([Buffer.from(text, 'latin1')]);
    const cut = linesOf(pieces(text, by));
    same(cut === undefined, whole === undefined, 'refused under a cut');
    if (whole === undefined || cut === undefined) return;
    same(cut, whole, 'lines under a cut');
    const count = by.between(0, 5);
    const other = by.happens(0.3) ? undefined : by.happens(0.5) ? cut : ['1 a', '2 b', '3 a'];
    const got = orProtocol(() => assembleListing({ count, octets: 1 }, whole, other));
    if (got === undefined) return;
    const numbers = got.messages.map(({ number }) => number);
    same(
      numbers,
      [...new Set(numbers)].sort((a, b) => a - b),
      'numbers',
    );
    must(
      numbers.every((number) => number >= 1 && number <= count),
      'no number is out of range',
    );
    same(got.complete, numbers.length === count, 'complete');
    must(
      got.messages.every(({ size }) => Number.isSafeInteger(size) && size >= 0),
      'sizes can be counted',
    );
    must(other === undefined || got.messages.every(({ uid }) => uid !== ''), 'no unique-id is empty');
  },
};

/** Decodes with the class under test. @returns the text, and what followed the end; undefined where there is no end */
function undotted(parts: readonly Buffer[]): { readonly text: string; readonly rest: string | undefined } {
  const dots = new Dots();
  const out: Buffer[] = [];
  for (const [index, piece] of parts.entries()) {
    const end = dots.push(piece, out);
    if (end < 0) continue;
    const rest = Buffer.concat([piece.subarray(end), ...parts.slice(index + 1)]).toString('latin1');
    return { text: Buffer.concat(out).toString('latin1'), rest };
  }
  return { text: Buffer.concat(out).toString('latin1'), rest: undefined };
}

const dots: Subject = {
  name: 'dot-stuffing',
  corpus: [
    'line\r\n..dot\r\n.\r\n',
    '.\r\n',
    'a\n.\r\nb\r\n.\r\n',
    '\r\n.\r\r\n.\r\n',
    'x\r\n.y\r\n..\r\n.\r\n+OK',
  ],
  check(text, by) {
    const whole = undotted([Buffer.from(text, 'latin1')]);
    same(undotted(pieces(text, by)), whole, 'under a cut');
    must(whole.text.length <= text.length, 'nothing is added');
    const stop = text.startsWith('.\r\n') ? 0 : text.indexOf('\r\n.\r\n') + 2;
    const found = stop !== 1;
    same(whole.rest, found ? text.slice(stop + 3) : undefined, 'what follows the end');
    if (found) same(whole.text, text.slice(0, stop).replace(/(?<=^|\r\n)\./g, ''), 'the text');
    const message = `${text}\r\n`;
    const stuffed = `${message.replace(/(?<=^|\r\n)\./g, '..')}.\r\n+OK`;
    same(undotted(pieces(stuffed, by)), { text: message, rest: '+OK' }, 'what was stuffed');
  },
};

const masking: Subject = {
  name: 'masking of a password',
  corpus: ['secret', 'p&ss w%rd', '\xe3\x83\x91\xe3\x82\xb9', '"\\', 'a', 'aaaa'],
  check(text, by: Chance) {
    if (text === '') return;
    const password = Buffer.from(text, 'latin1').toString('utf8');
    const forms = formsOf([password]);
    must(forms.includes(password), 'a password is a form of itself');
    const said = `${createHash('md5').update(text).digest('hex')} ${by.pick(forms)} -`;
    const masked = forms.reduce((shown, secret) => shown.replaceAll(secret, '********'), said);
    must(password.length < 8 || !masked.includes(password), 'the password is masked');
  },
};

export const REPLIES: readonly Subject[] = [status, capabilities, stat, listing, dots, masking];
