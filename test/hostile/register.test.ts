/** The list of what others do is true: every line of it has a test, and every guard that is taken away is there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { mutations } from './mutations/all.js';

const TOP = fileURLToPath(new URL('../..', import.meta.url));
const NUMBERS = [...readFileSync(join(TOP, 'test/hostile/README.md'), 'utf8').matchAll(/^(\d+)\. /gm)].map(
  ([, number]) => Number(number),
);

/** Where no tests are. */
const OTHERS = new Set(['node_modules', 'mutations', 'torture', 'bench']);

/** Numbers in square brackets at the end of the titles in a file: those of tests, and of what several test files share. */
function numbersIn(file: string): number[] {
  const tags = readFileSync(file, 'utf8').matchAll(/((?:\[\d{1,3}(?:, \d{1,3})*\] ?)+)['`"]/g);
  return [...tags].flatMap(([, tag = '']) => [...tag.matchAll(/\d+/g)].map(([number]) => Number(number)));
}

function testFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return OTHERS.has(entry.name) ? [] : testFiles(path);
    return entry.name.endsWith('.ts') ? [path] : [];
  });
}

describe('the list of what servers, disks and neighbours do', () => {
  it('has the numbers 1 to 110, in their order', () => {
    expect(NUMBERS).toEqual(Array.from({ length: 110 }, (_, index) => index + 1));
  });

  it('has a test for each of its lines', () => {
    const shown = new Set(testFiles(join(TOP, 'test')).flatMap(numbersIn));
    expect(NUMBERS.filter((number) => !shown.has(number))).toEqual([]);
  });
});

describe('a guard that can be taken away', () => {
  it.each(mutations.map((each) => [each.file, each.find, each] as const))(
    'is in %s: %j',
    (file, find, { tests }) => {
      expect(readFileSync(join(TOP, file), 'utf8').split(find)).toHaveLength(2);
      expect(tests.filter((each) => !existsSync(join(TOP, 'test', each)))).toEqual([]);
    },
  );
});
