/** Looks for a crash that shows that a sync is needed: one that the code does not survive without it. */
import { Explorer, Unrecovered, type Depth } from './weak-disk-explorer.js';
import type { Scenario, System } from './weak-disk-runs.js';
import { FORGETFUL, FULL, GROUPED, HALF_MADE, SERIAL, STDOUT } from './weak-disk-scenarios.js';
import type { Built, Sync } from './syncs.js';

/** From what finds most in the shortest time to what finds the rest; each with every scenario before the next begins. */
const SEARCHES: readonly (readonly Depth[])[] = [
  [{ cuts: 4 }, { cuts: 0, second: 0 }],
  [{ cuts: 40 }, { cuts: 0, second: 2 }],
];

/** The code as this sync matters to it: what is in the disk itself is tried on that disk. */
export function systemOf(built: Built, { file }: Pick<Sync, 'file'>): System {
  return file === 'src/disk.ts' ? built.onItsDisk : built;
}

/** What the first crash comes to that is not survived; undefined where every one is. */
export async function firstUnrecovered(
  system: System,
  file: string,
  seed: string,
): Promise<{ readonly story: string | undefined; readonly states: number }> {
  const explorer = new Explorer(system, seed);
  try {
    for (const depths of SEARCHES) {
      for (const scenario of concerning(file)) await crash(explorer, scenario, depths);
    }
    return { story: undefined, states: explorer.states };
  } catch (error) {
    if (!(error instanceof Unrecovered)) throw error;
    return { story: error.message, states: explorer.states };
  } finally {
    explorer.remove();
  }
}

async function crash(explorer: Explorer, scenario: Scenario, depths: readonly Depth[]): Promise<void> {
  for (const depth of depths) {
    // That one is for a single crash.
    if (depth.second !== undefined && FULL.includes(scenario)) continue;
    await explorer.explore(scenario, depth);
  }
}

/** The scenarios that a file has to do with, those that hardly concern others first. */
function concerning(file: string): readonly Scenario[] {
  const word = /mbox|spool/.test(file) ? 'mbox' : file.includes('stdout') ? 'stdout' : 'Maildir';
  const all = [...FULL, ...HALF_MADE, ...GROUPED, STDOUT, ...FORGETFUL, ...SERIAL];
  return all.filter(({ name }) => name.startsWith(word));
}
