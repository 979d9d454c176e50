/**
 * Sixteen accounts in all weathers: `npm run soak -- --minutes M [--seed N] [--record]`. Ends in 1 where a message was
 * lost or doubled, or anything else was left that should not be.
 */
import { parseArgs } from 'node:util';
import { record } from './results.js';
import { soak } from './soak-world.js';
import { summaryOf, isClean } from './soak-summary.js';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    record: { type: 'boolean', default: false },
  },
});

const say = (sentence: string): void => {
  process.stdout.write(`${sentence}\n`);
};

const seed = Number(values.seed);
const result = await soak({ minutes: Number(values.minutes), seed, span: 5, rate: 6, lanes: 3, tell: say });
const summary = summaryOf(result, seed);
say(summary.join('\n'));
if (values.record) record('Soak', summary);
process.exitCode = isClean(result) ? 0 : 1;
