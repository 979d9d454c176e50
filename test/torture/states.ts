/**
 * Crashes by chance until it is stopped or has tried as many states as it was told to:
 * `npx tsx test/torture/states.ts [--states N] [--seed S]`. Ends with 1 at the first crash that is not survived, and says
 * the seed that finds it again.
 */
import { parseArgs } from 'node:util';
import { Explorer, Unrecovered } from '../support/weak-disk-explorer.js';
import { FORGETFUL, GROUPED, HALF_MADE, LONG, SERIAL, STDOUT } from '../support/weak-disk-scenarios.js';
import { SOURCE } from '../support/weak-disk-system.js';

/** States between two lines, each with a seed of its own: what is remembered of them takes memory. */
const ROUND = 20_000;

const { values } = parseArgs({
  options: {
    states: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: String(Date.now()) },
  },
});

const scenarios = [...GROUPED, ...SERIAL, ...HALF_MADE, ...FORGETFUL, STDOUT, ...LONG];
const wanted = Number(values.states);
if (!(wanted > 0)) throw new RangeError('--states takes a number');
let states = 0;
for (let round = 1; states < wanted; round += 1) {
  // The first round is that of the seed itself, so that the seed of a failure finds it at once.
  const seed = round === 1 ? values.seed : `${values.seed}.${round}`;
  const explorer = new Explorer(SOURCE, seed);
  try {
    await explorer.wander(scenarios, Math.min(ROUND, wanted - states));
  } catch (error) {
    if (!(error instanceof Unrecovered)) throw error;
    console.error(error.message);
    process.exit(1);
  } finally {
    explorer.remove();
  }
  states += explorer.states;
  console.log(`${states} states, ${Math.round(states / process.uptime())} a second`);
}
