/** Every sync is needed: without any one of them there is a crash that is not survived. */
import { describe, expect, it } from 'vitest';
import { Explorer } from './support/weak-disk-explorer.js';
import { GROUPED } from './support/weak-disk-scenarios.js';
import { firstUnrecovered, systemOf } from './support/mutants.js';
import { builtWithout, findSyncs, nameOf } from './support/syncs.js';

const SEED = process.env['POPFETCH_CRASH_SEED'] ?? 'mutations';

const KEPT_FOR_PEOPLE =
  'popfetch state rebuild keeps the damaged journal for a person to look at; no run reads it again';

/** Syncs that no crash in the model needs, each with the reason why it is there. */
const UNPROVEN: Readonly<Record<string, string>> = {
  'deliver/maildirfolders.ts syncShown: this.syncTmp()':
    'without hard links a crash may leave a moved file under both names, and on FAT they share their octets without ' +
    'knowing of each other: removing the old name would take them from the new one. In the model they know.',
  'seen/holding.ts setAside: file.sync()': KEPT_FOR_PEOPLE,
  'seen/holding.ts setAside: disk.syncDirectory(dirname(path))': KEPT_FOR_PEOPLE,
};

const syncs = findSyncs();
const proven = syncs.filter((sync) => !(nameOf(sync) in UNPROVEN));

describe('without one sync, a message is lost or doubled or a run refused:', () => {
  it.each(proven.map((sync) => [nameOf(sync), sync] as const))(
    '%s',
    { timeout: 300_000 },
    async (_, sync) => {
      const { story } = await firstUnrecovered(systemOf(await builtWithout(sync), sync), sync.file, SEED);
      expect(story, 'every crash was survived without it').toBeDefined();
    },
  );
});

it('the source has syncs in each place that must have some, each under a name of its own', () => {
  const names = syncs.map(nameOf);
  expect(names.length).toBeGreaterThan(25);
  expect(new Set(names).size).toBe(names.length);
  for (const file of ['maildir', 'maildirfolders', 'mbox', 'mboxrecovery', 'newfile', 'spool']) {
    expect(
      names.some((name) => name.startsWith(`deliver/${file}.ts `)),
      file,
    ).toBe(true);
  }
  for (const file of ['seen/journal', 'seen/seen', 'disk']) {
    expect(
      names.some((name) => name.startsWith(`${file}.ts `)),
      file,
    ).toBe(true);
  }
  expect(Object.keys(UNPROVEN).filter((name) => !names.includes(name))).toEqual([]);
});

it('nothing is found in the code as it is, on its own disk, killed at every moment, with a power cut at every moment of the next run', async () => {
  const explorer = new Explorer((await builtWithout(undefined)).onItsDisk, SEED);
  await explorer.explore(GROUPED[0]!, { cuts: 4, second: 0 });
  expect(explorer.states).toBeGreaterThan(200);
  explorer.remove();
});
