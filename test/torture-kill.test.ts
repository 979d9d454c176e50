/**
 * Runs that are killed wherever something happens between them and the server, and wherever they are about to change a
 * file, up to three in a row: no message is lost at any moment, and the next run brings each exactly once.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { CALLS, straceProblem } from './support/strace.js';
import { choose, nameOf } from './torture/points.js';
import type { Course, Places } from './torture/points.js';
import { courses, sweep } from './torture/sweep.js';
import type { Tally } from './torture/sweep.js';

/** How many points are tried at the same time, each in a world of its own. */
const LANES = 2;
const PATIENCE = 600_000;
/** Any one will do; every one tries each kind of call and each event. */
const SEED = 20_261_124;

describe('SIGKILL loses nothing, doubles nothing and leaves nothing behind [98]', () => {
  let all: Course[] = [];
  beforeAll(async () => {
    all = await courses();
  });

  async function tallyOf(count: number, places: Places): Promise<Tally> {
    const points = choose(all, count, SEED, places);
    const tally = await sweep(points, LANES);
    // Each of these names is one that `npm run torture -- --point NAME` repeats.
    expect(tally.failed.map(({ point, findings }) => [nameOf(point), ...findings])).toEqual([]);
    expect(tally.points).toBe(count);
    return tally;
  }

  test(
    'at any event of the server',
    async () => {
      const labels = new Set(all.flatMap(({ events }) => events));
      for (let number = 1; number <= 5; number += 1) expect(labels).toContain(`body of RETR ${number}`);
      const count = 98;
      expect(count).toBeGreaterThan(labels.size);
      // After the last answer there is a moment in which the run may end by itself.
      expect((await tallyOf(count, 'events')).dead).toBeGreaterThanOrEqual(94);
    },
    PATIENCE,
  );

  test.skipIf(straceProblem() !== undefined)(
    'at the entry to any system call that changes a file, or is to make that last',
    async () => {
      const { dead, torn, kills, by } = await tallyOf(216, 'calls');
      // With those at events that makes 300.
      expect(dead).toBeGreaterThanOrEqual(206);
      expect(torn).toBeGreaterThan(0);
      for (const call of CALLS) expect([call, (kills.get(call) ?? 0) > 0]).toEqual([call, true]);
      for (const deaths of ['1 death', '2 deaths', '3 deaths']) expect(by.get(deaths)).toBeGreaterThan(10);
    },
    PATIENCE,
  );
});
