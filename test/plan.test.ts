import { describe, expect, it } from 'vitest';
import type { Entry, Memory } from '../src/seen/memory.js';
import { plan, removalTime, type Decision, type Terms } from '../src/account/plan.js';
import type { Listed, Listing } from '../src/pop3/mailbox.js';
import { entryOf, FakeSeen, listingOf } from './support/fakes.js';

const DAY = 24 * 3600 * 1000;
const NOW = 1_000 * DAY;
const TERMS: Terms = { delete: 'never', limit: 0, maxSize: 1000, order: 'oldest' };

function memoryOf(...entries: readonly Entry[]): Memory {
  return new FakeSeen([], { entries });
}

function listed(...messages: readonly (readonly [uid: string, size: number])[]): Listing {
  const rows = messages.map(([uid, size], index): Listed => ({ number: index + 1, size, uid }));
  return { ...listingOf([]), messages: rows };
}

/** Decisions in short: `fetch 1`, `skip 2 limit`, `keep 3`, `keep 3 until TIME`, `remove 4`. */
function short(decisions: readonly Decision[]): string[] {
  return decisions.map((decision) => {
    const { action, message } = decision;
    const words: (string | number)[] = [action, message.number];
    if (decision.action === 'skip') words.push(decision.reason);
    if (decision.action === 'keep' && decision.removeAt !== undefined) words.push('until', decision.removeAt);
    return words.join(' ');
  });
}

describe('what is new', () => {
  const four = listed(['a', 300], ['b', 100], ['c', 200], ['d', 100]);

  it('is fetched when nothing is remembered, with a memory or without', () => {
    const all = ['fetch 1', 'fetch 2', 'fetch 3', 'fetch 4'];
    expect(short(plan(four, undefined, TERMS, NOW))).toEqual(all);
    expect(short(plan(four, memoryOf(), TERMS, NOW))).toEqual(all);
    expect(plan(listed(), memoryOf(), TERMS, NOW)).toEqual([]);
  });

  it('is what the memory does not hold as done, by the exact octets of its uid', () => {
    const memory = memoryOf(entryOf('A'), entryOf('b ', { size: 100 }), entryOf('c', { size: 200 }));
    expect(short(plan(four, memory, TERMS, NOW))).toEqual(['fetch 1', 'fetch 2', 'fetch 4', 'keep 3']);
  });

  it.each([
    ['oldest', [1, 2, 3, 4]],
    ['newest', [4, 3, 2, 1]],
    ['smallest', [2, 4, 3, 1]],
  ] as const)('comes %s first when asked: %j', (order, numbers) => {
    const decisions = plan(four, undefined, { ...TERMS, order }, NOW);
    expect(decisions.map(({ message }) => message.number)).toEqual(numbers);
  });

  it.each([
    [0, 'oldest', ['fetch 1', 'fetch 2', 'fetch 3', 'fetch 4']],
    [1, 'oldest', ['fetch 1', 'skip 2 limit', 'skip 3 limit', 'skip 4 limit']],
    [3, 'newest', ['fetch 4', 'fetch 3', 'fetch 2', 'skip 1 limit']],
    [4, 'oldest', ['fetch 1', 'fetch 2', 'fetch 3', 'fetch 4']],
    [9, 'smallest', ['fetch 2', 'fetch 4', 'fetch 3', 'fetch 1']],
  ] as const)('goes no further than the limit of %i, %s first', (limit, order, expected) => {
    expect(short(plan(four, undefined, { ...TERMS, limit, order }, NOW))).toEqual(expected);
  });

  it('that is seen or too large does not count against the limit', () => {
    const memory = memoryOf(entryOf('a', { size: 300 }));
    const terms = { ...TERMS, limit: 1, maxSize: 150 };
    expect(short(plan(four, memory, terms, NOW))).toEqual([
      'fetch 2',
      'skip 4 limit',
      'keep 1',
      'skip 3 too large',
    ]);
  });

  it('is left alone when it is larger than maxSize, and not when it is just as large', () => {
    const terms = { ...TERMS, maxSize: 200 };
    expect(short(plan(four, undefined, terms, NOW))).toEqual([
      'fetch 2',
      'fetch 3',
      'fetch 4',
      'skip 1 too large',
    ]);
  });

  it('is left alone when it is known to be larger than that, whatever LIST says', async () => {
    const memory = new FakeSeen([]);
    await memory.outgrew('b', 1001);
    expect(short(plan(four, memory, TERMS, NOW))).toEqual([
      'fetch 1',
      'fetch 3',
      'fetch 4',
      'skip 2 too large',
    ]);
    const terms = { ...TERMS, maxSize: 1001 };
    expect(short(plan(four, memory, terms, NOW))).toEqual(['fetch 1', 'fetch 2', 'fetch 3', 'fetch 4']);
  });

  it('does not change the listing', () => {
    const before = structuredClone(four);
    plan(four, undefined, { ...TERMS, order: 'newest' }, NOW);
    plan(four, undefined, { ...TERMS, order: 'smallest' }, NOW);
    expect(four).toEqual(before);
  });
});

describe('what is done', () => {
  const one = listed(['a', 100]);

  it.each([
    ['never', 0, 'keep 1'],
    ['never', NOW, 'keep 1'],
    ['delivered', NOW - 1, 'remove 1'],
    ['delivered', NOW, 'remove 1'],
    // A clock that was set back.
    ['delivered', NOW + 1, `keep 1 until ${NOW + 1}`],
    [30 * DAY, NOW - 30 * DAY, 'remove 1'],
    [30 * DAY, NOW - 30 * DAY + 1, `keep 1 until ${NOW + 1}`],
    [30 * DAY, NOW, `keep 1 until ${NOW + 30 * DAY}`],
    [0, NOW, 'remove 1'],
  ] as const)('with delete: %s and delivery at %i is: %s', (policy, doneAt, expected) => {
    const memory = memoryOf(entryOf('a', { doneAt }));
    expect(short(plan(one, memory, { ...TERMS, delete: policy }, NOW))).toEqual([expected]);
  });

  it.each([101, 99, 0])('is never removed under another size, here of %i octets', (size) => {
    const memory = memoryOf(entryOf('a', { size }));
    expect(short(plan(one, memory, { ...TERMS, delete: 'delivered' }, NOW))).toEqual(['skip 1 changed']);
    expect(short(plan(one, memory, TERMS, NOW))).toEqual(['keep 1']);
  });

  it('is removed again when an earlier removal did not last, and when it was gone', () => {
    const memory = memoryOf(entryOf('a', { removedAt: 5, goneAt: 6 }));
    expect(short(plan(one, memory, { ...TERMS, delete: 'delivered' }, NOW))).toEqual(['remove 1']);
  });

  it('is neither too large nor beyond the limit', () => {
    const memory = memoryOf(entryOf('a'));
    const terms = { ...TERMS, delete: 'delivered', maxSize: 1, limit: 1 } as const;
    expect(short(plan(one, memory, terms, NOW))).toEqual(['remove 1']);
  });

  it('and is no longer listed is nobody’s business', () => {
    expect(plan(listed(), memoryOf(entryOf('a')), { ...TERMS, delete: 'delivered' }, NOW)).toEqual([]);
  });
});

it.each([
  ['never', undefined],
  ['delivered', 70],
  [30, 100],
] as const)('with delete: %s a message delivered at 70 is due at %s', (policy, due) => {
  expect(removalTime(entryOf('a', { doneAt: 70 }), policy)).toBe(due);
});

it.each([
  'rejected:/refused',
  'command:maildrop#12345678 rejected:/refused',
  'rejected:/refused lmtp:/s/taro',
])('what was refused for good is never due, as it went to %s', (destination) => {
  const entry = entryOf('a', { doneAt: 70, destination });
  for (const policy of ['delivered', 30] as const) expect(removalTime(entry, policy)).toBeUndefined();
  const other = { ...entry, destination: 'maildir:/not-rejected:/x' };
  expect(removalTime(other, 'delivered')).toBe(70);
});
