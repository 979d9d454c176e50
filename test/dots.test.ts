import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Dots } from '../src/wire/dots.js';

/** Feeds `wire` cut at the given positions; gives the message and what was left over, or undefined without an end. */
function decode(wire: string, cuts: readonly number[]): { body: string; rest: string } | undefined {
  const bytes = Buffer.from(wire, 'latin1');
  const dots = new Dots();
  const pieces: Buffer[] = [];
  let from = 0;
  for (const to of [...cuts, bytes.length]) {
    const chunk = Buffer.from(bytes.subarray(from, to));
    const end = dots.push(chunk, pieces);
    if (end >= 0) {
      return {
        body: Buffer.concat(pieces).toString('latin1'),
        rest: bytes.subarray(from + end).toString('latin1'),
      };
    }
    from = to;
  }
  return undefined;
}

const SAMPLES: readonly (readonly [wire: string, body: string, rest: string])[] = [
  ['.\r\n', '', ''],
  ['a\r\n.\r\n', 'a\r\n', ''],
  ['\r\n.\r\n', '\r\n', ''],
  ['..\r\n.\r\n', '.\r\n', ''],
  ['..a\r\n..b\r\n.\r\n+OK', '.a\r\n.b\r\n', '+OK'],
  ['.a\r\n.\r\n', 'a\r\n', ''],
  ['a\r\n..\r\n.\r\n+OK next\r\n', 'a\r\n.\r\n', '+OK next\r\n'],
  ['a\n.\n.\r\nb\r\n.\r\n', 'a\n.\n.\r\nb\r\n', ''],
  ['a\r.\r\nb\r\n.\r\n', 'a\r.\r\nb\r\n', ''],
  ['a\n.\r\n.\r\n', 'a\n.\r\n', ''],
  ['.\rX\r\n.\r\n', '\rX\r\n', ''],
  ['.\r\r\n.\r\n', '\r\r\n', ''],
  ['..\r\r\n.\r\n', '.\r\r\n', ''],
  ['a\r\r\n.\r\n', 'a\r\r\n', ''],
  ['a.\r\n.b.\r\n.\r\n', 'a.\r\nb.\r\n', ''],
  ['\0\xff\r\n.\r\n..', '\0\xff\r\n', '..'],
];

describe('the body of a multi-line reply [37] [39] [40] [43]', () => {
  it.each(SAMPLES)('of %j is %j, leaving %j, wherever it is cut once or twice', (wire, body, rest) => {
    const expected = { body, rest };
    for (let first = 0; first <= wire.length; first += 1) {
      for (let second = first; second <= wire.length; second += 1) {
        const got = decode(wire, [first, second]);
        // Cuts after the end leave less in the last chunk; what matters is that nothing before it differs.
        expect(got?.body).toBe(expected.body);
        expect(got?.rest).toBe(expected.rest);
      }
    }
  });

  it('does not end before CRLF dot CRLF, at any cut of it', () => {
    const wire = 'a\r\nb\r\n.\r\n';
    for (let length = 0; length < wire.length; length += 1) {
      expect(decode(wire.slice(0, length), [])).toBeUndefined();
    }
  });

  it('gives back any message that was stuffed, cut anywhere', () => {
    const alphabet = fc.constantFrom('\r', '\n', '.', '\r\n', '\r\n.', 'a', '\0', '\xff');
    fc.assert(
      fc.property(fc.array(alphabet), fc.array(fc.nat(60)), (parts, positions) => {
        const body = `${parts.join('')}\r\n`;
        const stuffed = `${body.replace(/(^|\r\n)\./g, '$1..')}.\r\n`;
        const cuts = positions.map((at) => Math.min(at, stuffed.length)).sort((a, b) => a - b);
        expect(decode(stuffed, cuts)).toEqual({ body, rest: '' });
      }),
      { numRuns: 2_000 },
    );
  });

  it('refuses octets after its end', () => {
    const dots = new Dots();
    expect(dots.push(Buffer.from('.\r\n'), [])).toBe(3);
    expect(dots.ended).toBe(true);
    expect(() => dots.push(Buffer.from('x'), [])).toThrow('after the end');
  });
});
