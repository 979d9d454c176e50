/** What the long runs stand on: names that repeat a point, a choice that a seed repeats, and a file for results. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { countsIn } from './support/strace.js';
import { choose, nameOf, pointOf } from './torture/points.js';
import type { Course } from './torture/points.js';
import { record } from './torture/results.js';

const COURSES: readonly Course[] = (['maildir', 'mbox'] as const).map((destination) => ({
  destination,
  deletion: 'delivered',
  events: ['connect of ', 'command of CAPA', 'body of RETR 1'],
  calls: { write: 3, fsync: 2 },
}));

describe('a point', () => {
  test('has a name that says all of it', () => {
    const name = 'mbox:delivered:fsync.7:event.12:write.3x4';
    expect(pointOf(name)).toEqual({
      destination: 'mbox',
      deletion: 'delivered',
      kills: [
        { at: 'fsync', nth: 7, threads: 1 },
        { at: 'event', nth: 12, threads: 4 },
        { at: 'write', nth: 3, threads: 4 },
      ],
    });
    expect(nameOf(pointOf(name))).toBe(name);
  });

  test.each(['mbox:delivered', 'mbox:always:fsync.1', 'mbox:never:fsync.0', 'mbox:never:close.1', ''])(
    'is not %j',
    (name) => {
      expect(() => pointOf(name)).toThrow(/is no p(oint|lace)/);
    },
  );
});

describe('a choice of points', () => {
  const names = (count: number, seed: number): string[] => choose(COURSES, count, seed, 'all').map(nameOf);

  test('is the same for the same seed, and another for another', () => {
    expect(names(50, 7)).toEqual(names(50, 7));
    expect(names(50, 8)).not.toEqual(names(50, 7));
    expect(new Set(names(50, 7).map((name) => name.split(':').length - 2))).toEqual(new Set([1, 2, 3]));
  });

  test('has an example of each call and each event up front, and comes round to every first death', () => {
    const firsts = (count: number): string[] => names(count, 7).map((name) => name.split(':', 3).join(':'));
    const kinds = firsts(7).map((name) => (name.includes('event') ? name.split(':')[2] : name.split('.')[0]));
    expect(kinds.sort()).toEqual([
      ...['event.1', 'event.2', 'event.3'],
      ...['maildir:delivered:fsync', 'maildir:delivered:write'],
      ...['mbox:delivered:fsync', 'mbox:delivered:write'],
    ]);
    expect(new Set(firsts(16)).size).toBe(16);
    expect(names(40, 7)).toHaveLength(40);
  });
});

test('calls are counted by what they do, whatever their name on this processor', () => {
  const text =
    '71 openat(AT_FDCWD, ""..., 0) = 3\n72 linkat(…) = 0\n72  <... link resumed>) = 0\n7 link(…) = -1\n';
  expect(countsIn(text)).toMatchObject({ openat: 1, link: 2, write: 0 });
});

test('a result takes the place of the one before it, and of no other', () => {
  const directory = mkdtempSync(join(tmpdir(), 'popfetch-results-'));
  onTestFinished(() => {
    rmSync(directory, { recursive: true });
  });
  const file = join(directory, 'RESULTS.md');
  record('One', ['- first'], file);
  record('Two', ['- other'], file);
  const before = readFileSync(file, 'utf8');
  expect(before).toMatch(/^# .+\n\n.+\n\n## One\n\n- first\n\n## Two\n\n- other\n$/);
  record('One', ['- second'], file);
  expect(readFileSync(file, 'utf8')).toBe(before.replace('first', 'second'));
});
