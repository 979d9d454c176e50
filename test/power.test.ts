/**
 * The power of real file systems goes off while a run fetches mail; some cuts for each here, as many as wanted with
 * `npm run torture:power`. Needs root, loop devices and the programs that make these file systems.
 */
import { describe, expect, test } from 'vitest';
import { chance } from './support/chance.js';
import { cutOnce } from './torture/power-cuts.js';
import { Image, KINDS, obstacle } from './torture/power-image.js';

const CUTS = 2;
const SEED = 100;

const kinds = await Promise.all(KINDS.map(async (kind) => ({ kind, reason: await obstacle(kind) })));
for (const { kind, reason } of kinds) {
  if (reason !== undefined) process.stderr.write(`The power cuts on ${kind.name} are skipped: ${reason}.\n`);
}

describe('power cuts', () => {
  for (const { kind, reason } of kinds) {
    test.skipIf(reason !== undefined)(
      `on ${kind.name} lose nothing, double nothing and leave nothing over`,
      async () => {
        const image = await Image.make(kind);
        try {
          for (let n = 1; n <= CUTS; n += 1) {
            const { lost, doubled, problems } = await cutOnce(image, chance(SEED + n));
            expect({ cut: n, lost, doubled, problems }).toEqual({
              cut: n,
              lost: [],
              doubled: [],
              problems: [],
            });
          }
        } finally {
          await image.remove();
        }
      },
      300_000,
    );
  }
});
