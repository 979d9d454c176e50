/** The largest part of the states that a power cut can leave, in a file of its own, so that it runs beside the others. */
import { expect, it } from 'vitest';
import { Explorer } from './support/weak-disk-explorer.js';
import { SERIAL } from './support/weak-disk-scenarios.js';
import { SOURCE } from './support/weak-disk-system.js';

it(
  'three messages, one after the other, into an mbox with mail in it: every state that a power cut can leave is survived',
  { timeout: 300_000 },
  async () => {
    const scenario = SERIAL.find(({ name }) => /^mbox with.*delivered/.test(name));
    const explorer = new Explorer(SOURCE, 'exhaustive');
    await explorer.explore(scenario!, { cuts: 100_000 });
    expect(explorer.sampled).toBe(0);
    expect(explorer.states).toBeGreaterThan(50_000);
    explorer.remove();
  },
);
