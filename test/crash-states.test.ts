/**
 * Whatever a crash leaves, the next run ends with every message in its place once, and the one after it has nothing to
 * do. A message that the server no longer has is safe in every one of these states, before anything recovers.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Explorer } from './support/weak-disk-explorer.js';
import { FORGETFUL, FULL, GROUPED, HALF_MADE, SERIAL, STDOUT } from './support/weak-disk-scenarios.js';
import { SOURCE } from './support/weak-disk-system.js';

/** The same for every run of the tests, so that a failure is of the change at hand. `npm run torture:states` takes others. */
const SEED = process.env['POPFETCH_CRASH_SEED'] ?? '1';

/** More than one moment has: all are tried. */
const ALL = 100_000;

let explorer: Explorer;
let total = 0;

beforeEach(() => {
  explorer = new Explorer(SOURCE, SEED);
});

afterEach(() => {
  total += explorer.states;
  explorer.remove();
});

describe('three messages, one after the other, and every state that a power cut can leave: [98]', () => {
  const some = SERIAL.filter(({ name }) => name.startsWith('Maildir') || /^mbox,.*never/.test(name));

  it.each(some.map((scenario) => [scenario.name, scenario] as const))(
    '%s',
    { timeout: 300_000 },
    async (_, scenario) => {
      await explorer.explore(scenario, { cuts: ALL });
      expect(explorer.sampled).toBe(0);
      expect(explorer.states).toBeGreaterThan(scenario.name.startsWith('mbox') ? 30_000 : 200);
    },
  );
});

describe('three messages at once, with every write torn at each of its octets: [98]', () => {
  const some = GROUPED.filter(({ name }) => /^(Maildir|mbox), delete: delivered/.test(name));

  it.each(some.map((scenario) => [scenario.name, scenario] as const))(
    '%s',
    { timeout: 300_000 },
    async (_, scenario) => {
      await explorer.explore(scenario, { cuts: 50, torn: 1500 });
      expect(explorer.states).toBeGreaterThan(3000);
    },
  );
});

describe('three messages at once, a death of the process at every moment, and a power cut at every moment of the next run:', () => {
  const some = [
    ...HALF_MADE,
    ...GROUPED.filter(({ name }) => name.endsWith('delivered')),
    ...FORGETFUL,
    STDOUT,
  ];

  it.each(some.map((scenario) => [scenario.name, scenario] as const))(
    '%s',
    { timeout: 300_000 },
    async (_, scenario) => {
      await explorer.explore(scenario, { cuts: 20, second: 0 });
      expect(explorer.states).toBeGreaterThan(300);
    },
  );
});

it.each(FULL.map((scenario) => [scenario.name, scenario] as const))('%s', async (_, scenario) => {
  await explorer.explore(scenario, { cuts: 100 });
  expect(explorer.states).toBeGreaterThan(500);
});

it('crashes by chance, of calls that overlap by chance, once or twice', { timeout: 300_000 }, async () => {
  await explorer.wander([...GROUPED, ...HALF_MADE, ...FORGETFUL, STDOUT], 10_000);
  expect(explorer.states).toBeGreaterThanOrEqual(10_000);
});

it('these come, with those of an mbox that has mail in it, to far more than 100,000 states', () => {
  expect(total).toBeGreaterThan(80_000);
});
