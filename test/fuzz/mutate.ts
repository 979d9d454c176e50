/** Texts by chance: known ones, changed in the ways that have broken readers of network text before. */
import type { Chance } from '../support/chance.js';

/** Octets that mean something to one reader or another, as latin1. */
const TOKENS = [
  '\r\n',
  '\n',
  '\r',
  '\0',
  '.',
  '\r\n.\r\n',
  '\n.\r\n',
  '\r\n..',
  '+OK',
  '-ERR',
  '+OK ',
  '-ERR [SYS/TEMP] ',
  '[IN-USE]',
  '[',
  ']',
  '<',
  '>',
  '@',
  ' ',
  '\t',
  '%',
  '%00',
  '\\',
  '"',
  '{',
  '}',
  ':',
  ',',
  'From ',
  '>From ',
  '=?utf-8?B?4oCu?=',
  '=?x?Q?=00=1b?=',
  '\x1b[2J',
  '\x9b',
  '\x7f',
  '\xe2\x80\xae',
  '\xff',
  '\xc0\x80',
  '(',
  ')',
  '~',
  '$HOME',
  '${',
  '-1',
  '0',
  '1',
  '2147483648',
  '18446744073709551616',
  '999999999999999',
  '1000000',
  '1e309',
  '__proto__',
  'constructor',
  'return-path:',
  'subject:',
] as const;

/** Octets beyond which a text is cut off, most of the time. */
const SHORT = 2_000;
const LONG = 100_000;

/** One of these texts, changed a few times. */
export function mutated(corpus: readonly string[], by: Chance): string {
  let text = by.pick(corpus);
  for (let times = by.between(0, 5); times > 0; times -= 1) text = once(text, corpus, by);
  return text.slice(0, by.happens(0.001) ? LONG : SHORT);
}

function once(text: string, corpus: readonly string[], by: Chance): string {
  const from = by.between(0, text.length);
  const to = by.between(from, Math.min(text.length, from + by.pick([1, 2, 4, 16, 200])));
  const before = text.slice(0, from);
  const piece = text.slice(from, to);
  const after = text.slice(to);
  switch (by.between(0, 8)) {
    case 0:
      return before + by.pick(TOKENS) + text.slice(from);
    case 1:
      return before + by.pick(TOKENS) + after;
    case 2:
      return before + String.fromCharCode(by.between(0, 255)) + text.slice(from + 1);
    case 3:
      return before + after;
    case 4:
      return before + piece + piece + after;
    case 5:
      return before + by.pick(corpus).slice(0, SHORT);
    case 6:
      return before + piece.repeat(by.happens(0.05) ? by.between(2, 500) : 3) + after;
    case 7:
      return text.replace(/\d+/, by.pick(TOKENS));
    default:
      return (
        before +
        (by.happens(0.5)
          ? piece.replace(/[a-z]+/g, (word) => word.toUpperCase())
          : piece
              .split(/(?<=[^])/)
              .reverse()
              .join('')) +
        after
      );
  }
}

/** The octets of a text, cut anywhere, in pieces that whoever gets them may change. */
export function pieces(text: string, by: Chance): Buffer[] {
  const most = by.pick([1, 2, 3, 7, 64, text.length]);
  const cut: Buffer[] = [];
  for (let at = 0; at < text.length;) {
    const length = by.between(1, Math.max(1, most));
    cut.push(Buffer.from(text.slice(at, at + length), 'latin1'));
    at += length;
  }
  return cut;
}
