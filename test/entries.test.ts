/** The table of what is done: what goes in comes out, however many there are and whatever their uids. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena, Column, keyedHash } from '../src/compact.js';
import { Entries } from '../src/seen/entries.js';
import type { Entry } from '../src/seen/memory.js';
import { entryOf } from './support/fakes.js';

const HASH = /^[0-9a-f]{64}$/;
const latin1 = (maxLength: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.nat(255).map((code) => String.fromCharCode(code)), maxLength });
const hash = fc.oneof(fc.constant(''), fc.stringMatching(HASH), latin1(5));
const size = fc.oneof(fc.nat(), fc.maxSafeNat(), fc.constant(NaN));
const time = fc.option(fc.maxSafeNat(), { nil: undefined });
const entry: fc.Arbitrary<Entry> = fc.record({
  uid: fc.oneof(latin1(3), latin1(80)),
  key: fc.oneof(fc.stringMatching(/^[a-z2-7]{26}$/), latin1(3)),
  size,
  octets: size,
  sha256: hash,
  headerSha256: hash,
  destination: fc.constantFrom('maildir:/a', 'mbox:/b maildir:/c', 'stdout', ''),
  doneAt: size,
  removedAt: time,
  goneAt: time,
});

/** All of a table, as its rows have it. */
function contents(entries: Entries): Entry[] {
  return Array.from({ length: entries.size }, (_, row) => entries.entry(row));
}

describe('the table of messages that are done', () => {
  it('gives back what was put in, the last of each uid, in the order of the first', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 200 }), (all) => {
        const table = new Entries();
        const model = new Map<string, Entry>();
        for (const one of all) {
          table.set(one);
          model.set(one.uid, one);
        }
        expect(contents(table)).toEqual([...model.values()]);
        for (const [row, one] of [...model.values()].entries()) {
          expect(table.find(one.uid)).toBe(row);
          expect(table.uid(row)).toBe(one.uid);
          expect(one).toMatchObject(table.outline(row));
        }
        expect(table.find('never there')).toBe(-1);
      }),
      { numRuns: 100 },
    );
  });

  it('takes uids that no record has room for', () => {
    const table = new Entries();
    const uids = ['a'.repeat(4096), 'b'.repeat(4097), 'c'.repeat(100_000), ''];
    for (const uid of uids) table.set(entryOf(uid, { sha256: 'd'.repeat(64), headerSha256: '' }));
    expect(contents(table).map(({ uid }) => uid)).toEqual(uids);
    expect(uids.map((uid) => table.find(uid))).toEqual([0, 1, 2, 3]);
  });

  it('keeps when a message was removed or missed, and forgets it again', () => {
    const table = new Entries();
    for (let number = 0; number < 20_000; number += 1) table.set(entryOf(`u${number}`));
    table.setRemovedAt(12_345, 1);
    table.setGoneAt(12_345, 0);
    table.setGoneAt(table.find('stranger'), 7);
    expect(table.entry(12_345)).toEqual(entryOf('u12345', { removedAt: 1, goneAt: 0 }));
    table.setGoneAt(12_345, undefined);
    expect(table.outline(12_345)).toMatchObject({ removedAt: 1, goneAt: undefined });
    expect(contents(table).filter(({ removedAt }) => removedAt !== undefined)).toHaveLength(1);
  });
});

describe('the hash of uids', () => {
  it('is the same for the same text, and nearly never for another one', () => {
    const texts = Array.from({ length: 50_000 }, (_, number) => `${number}`.padStart(number % 40, '0'));
    const hashes = new Set(texts.map(keyedHash));
    expect(new Set(texts.map(keyedHash))).toEqual(hashes);
    expect(hashes.size).toBeGreaterThan(49_990);
  });

  it('spreads texts that differ in one octet over all slots', () => {
    const slots = new Array<number>(64).fill(0);
    for (let number = 0; number < 64_000; number += 1) {
      slots[keyedHash(`uid-${String.fromCharCode(number & 255, number >> 8)}-uid`) & 63]! += 1;
    }
    expect(Math.min(...slots)).toBeGreaterThan(800);
    expect(Math.max(...slots)).toBeLessThan(1200);
  });
});

describe('the blocks', () => {
  it('hold each piece where it was put, also where one ends and the next begins', () => {
    const arena = new Arena();
    const positions = Array.from({ length: 2000 }, (_, number) => {
      const position = arena.reserve(100);
      arena.block(position).fill(number % 251, Arena.offset(position), Arena.offset(position) + 100);
      return position;
    });
    for (const [number, position] of positions.entries()) {
      const at = Arena.offset(position);
      expect(arena.block(position).subarray(at, at + 100)).toEqual(Buffer.alloc(100, number % 251));
    }
    expect(() => arena.reserve(Arena.LONGEST + 1)).toThrow(RangeError);
    expect(() => new Arena().block(0)).toThrow(RangeError);
  });

  it('of a column hold nothing in rows that were never set', () => {
    for (const [kind, nothing] of [
      ['whole', 0],
      ['any', NaN],
    ] as const) {
      const column = new Column(kind);
      column.set(30_000, 5);
      expect([0, 29_999, 30_000, 30_001, 1e6].map((row) => column.at(row))).toEqual([
        nothing,
        nothing,
        5,
        nothing,
        nothing,
      ]);
    }
  });
});
