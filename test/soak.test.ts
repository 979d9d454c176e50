/** A few seconds of what `npm run soak` does for as long as wanted: mail, faults and kills all the time, then a count. */
import { expect, test } from 'vitest';
import { problemsOf } from './torture/soak-summary.js';
import { soak } from './torture/soak-world.js';

test('sixteen accounts in faults and kills lose nothing, double nothing and leave nothing over', async () => {
  const result = await soak({ minutes: 0.1, seed: 5, span: 1, rate: 15, lanes: 2 });
  expect(problemsOf(result)).toEqual([]);
  expect(result.messages).toBeGreaterThan(20);
  expect([...result.faults.values()].length).toBeGreaterThan(3);
  expect(result.kills).toBeGreaterThan(0);
}, 120_000);
