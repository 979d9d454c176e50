/** A memory that is replaced as a whole: what is salvaged of a damaged one, and what a crash leaves. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mailboxTag } from '../src/identity.js';
import { BEGUN, intentRecord, seenRecord } from '../src/seen/book.js';
import { holdMemory, type HeldMemory } from '../src/seen/holding.js';
import { encodeWrite, parseJournal, type JournalRecord } from '../src/seen/journal.js';
import { openSeen, readMemory } from '../src/seen/seen.js';
import { entryOf, intentOf } from './support/fakes.js';
import { Crash, systemError, WatchedDisk } from './support/watched-disk.js';

const ADDRESS = { host: 'pop.example.com', port: 995, user: 'taro' };
const NOW = Date.UTC(2026, 10, 24, 12);
const HEAD: JournalRecord = { verb: 'POPFETCH', fields: ['1', ADDRESS.host, '995', 'taro'] };

let directory: string;
let disk: WatchedDisk;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'popfetch-holding-'));
  disk = new WatchedDisk();
});
afterEach(async () => {
  await disk.die();
  await rm(directory, { recursive: true, force: true });
});

const journal = (): string => join(directory, `${mailboxTag(ADDRESS)}.journal`);

function options(): Parameters<typeof openSeen>[3] {
  return { wait: 0, signal: new AbortController().signal, now: () => NOW };
}

function hold(accept: 'sound' | 'any' = 'any', on = disk): Promise<HeldMemory> {
  return holdMemory(directory, ADDRESS, on, options(), accept);
}

/** A journal with one write for each record. */
function journalOf(...records: readonly JournalRecord[]): string {
  return [HEAD, ...records].map((record, index) => encodeWrite([record], index + 1)).join('');
}

const done = (uid: string): JournalRecord => ({ verb: 'DONE', fields: [uid, String(NOW)] });
const seen = (uid: string): JournalRecord => seenRecord(entryOf(uid));
const uidsOf = (held: HeldMemory): string[] => [...held.book.entries()].map(({ uid }) => uid);

/** Spoils the line that has this in it. */
const spoil = (text: string, part: string): string => text.replace(part, part.toLowerCase());

describe('what is salvaged', () => {
  it('of a damaged journal is every line that is whole, on top of the generation before', async () => {
    await writeFile(`${journal()}.old`, journalOf(seen('old'), seen('both')));
    const text = journalOf(seen('both'), seen('lost'), intentRecord(intentOf('begun')), seen('last'));
    await writeFile(journal(), spoil(text, 'SEEN lost'));
    await expect(readMemory(directory, ADDRESS, disk)).rejects.toMatchObject({ code: 'STATE' });
    const held = await hold();
    expect([held.condition, uidsOf(held)]).toEqual(['damaged', ['old', 'both', 'last']]);
    expect(held.book.unfinished()).toEqual([intentOf('begun')]);
    await held.release();
  });

  it('leaves out records that nobody knows, and refuses a format that is newer', async () => {
    const strange = { verb: 'STRANGE', fields: ['x'] };
    await writeFile(journal(), spoil(journalOf(seen('a'), seen('b'), strange), 'SEEN a'));
    const held = await hold();
    expect(uidsOf(held)).toEqual(['b']);
    await held.release();
    const newer = encodeWrite([{ verb: 'POPFETCH', fields: ['2', 'x', '1', 'x'] }], 1);
    await writeFile(journal(), spoil(journalOf(seen('a'), seen('b')), 'SEEN a') + newer);
    await expect(hold()).rejects.toMatchObject({
      code: 'STATE',
      remedy: 'a newer popfetch wrote it: use that one',
    });
  });

  it('tells what is done although the line with its facts is damaged', async () => {
    const text = journalOf(intentRecord(intentOf('a')), done('a'), seen('b'));
    await writeFile(journal(), spoil(text, 'INTENT a'));
    const held = await hold();
    expect([uidsOf(held), [...held.bare]]).toEqual([['b'], ['a']]);
    await held.release();
  });

  it('is nothing where there is nothing, and no journal is made', async () => {
    const held = await hold();
    expect([held.condition, uidsOf(held), held.book.fresh]).toEqual(['missing', [], true]);
    await held.release();
    expect(await readdir(directory)).toEqual([`${mailboxTag(ADDRESS)}.lock`]);
  });

  it('is nothing of another text, which is kept', async () => {
    await writeFile(journal(), 'shopping list\nmilk\n');
    await expect(hold('sound')).rejects.toMatchObject({ code: 'STATE' });
    const held = await hold();
    expect(held.condition).toBe('damaged');
    const aside = await held.replace([]);
    expect(aside).toBe(`${journal()}.damaged-20261124T120000Z`);
    expect(await readFile(aside ?? '', 'latin1')).toBe('shopping list\nmilk\n');
    // A second one in the same second has a name of its own.
    await writeFile(journal(), 'milk\n');
    await held.release();
    const again = await hold();
    expect(await again.replace([])).toBe(`${journal()}.damaged-20261124T120000Z-2`);
    await again.release();
  });

  it.each([
    ['damaged', spoil(journalOf(seen('a'), seen('b')), 'SEEN a'), undefined],
    ['lost', undefined, journalOf(seen('a'))],
    ['of another mailbox', encodeWrite([{ verb: 'POPFETCH', fields: ['1', 'x', '110', 'x'] }], 1), undefined],
  ])('is not asked for where a memory that is %s would be refused by a run, too', async (_, text, old) => {
    if (text !== undefined) await writeFile(journal(), text);
    if (old !== undefined) await writeFile(`${journal()}.old`, old);
    await expect(hold('sound')).rejects.toMatchObject({ code: 'STATE' });
    expect(disk.openFiles).toBe(0);
  });
});

describe('replacing', () => {
  it('takes the lock that a run takes', async () => {
    const run = await openSeen(directory, ADDRESS, disk, options());
    await expect(hold()).rejects.toMatchObject({ code: 'LOCKED' });
    await run.close({ time: NOW, result: 'ok', listed: 0, delivered: 0, removed: 0 }, undefined);
    const held = await hold();
    await expect(openSeen(directory, ADDRESS, disk, options())).rejects.toMatchObject({ code: 'LOCKED' });
    await held.release();
  });

  it('makes a memory that counts as begun, although it holds nothing', async () => {
    const held = await hold();
    await held.replace([]);
    await held.release();
    expect((await readMemory(directory, ADDRESS, disk))?.fresh).toBe(false);
  });

  it('that fails is the failure of the state, and changes nothing', async () => {
    const text = journalOf(seen('a'));
    await writeFile(journal(), text);
    const held = await hold();
    disk.before = (call, path) => {
      if (call === 'write' && path.endsWith('.new')) throw systemError('ENOSPC');
    };
    await expect(held.replace([])).rejects.toMatchObject({ code: 'STATE' });
    await held.release();
    expect(await readFile(journal(), 'latin1')).toBe(text);
  });

  const damaged = spoil(journalOf(seen('a'), seen('b'), seen('c')), 'SEEN b');
  it.each<[string, string | undefined, string | undefined]>([
    ['a sound one', journalOf(seen('a'), seen('b'), seen('c')), undefined],
    ['a damaged one', damaged, undefined],
    ['a damaged one with the generation before', damaged, journalOf(seen('b'))],
    ['a lost one', undefined, journalOf(seen('a'), seen('b'))],
    ['one that has become empty', '', journalOf(seen('a'), seen('b'))],
    ['none', undefined, undefined],
  ])('%s, killed at any step, leaves the old memory or the new one', async (_, text, old) => {
    const records = [seen('a'), seen('new')];
    const expected = encodeWrite([HEAD, BEGUN, ...records], 1);
    let kills = 0;
    for (let step = 1; ; step += 1) {
      await rm(directory, { recursive: true, force: true });
      await mkdir(directory);
      if (text !== undefined) await writeFile(journal(), text, 'latin1');
      if (old !== undefined) await writeFile(`${journal()}.old`, old, 'latin1');
      const before = await told();
      const dying = new WatchedDisk();
      dying.tearing = step % 2 === 1;
      let steps = 0;
      dying.before = () => {
        steps += 1;
        if (steps >= step) throw new Crash();
      };
      const life = async (): Promise<void> => {
        const held = await hold('any', dying);
        await held.replace(records);
        await held.release();
      };
      await life().catch(() => undefined);
      await dying.die();
      const after = await readFile(journal(), 'latin1').catch(() => undefined);
      if (after === expected) kills += 1;
      // What a run makes of it is what it made of it before, and so is what can be salvaged.
      else expect([after, await told()], `killed at step ${step}`).toEqual([text, before]);
      await life2();
      expect(await readFile(journal(), 'latin1')).toBe(expected);
      if (steps < step) break;
    }
    expect(kills).toBeGreaterThan(1);

    async function life2(): Promise<void> {
      const held = await hold();
      await held.replace(records);
      await held.release();
    }
  });

  /** What a run and what a salvage would say. */
  async function told(): Promise<unknown> {
    const run: unknown = await readMemory(directory, ADDRESS, disk).then(
      (book) => book && [...book.entries()],
      (error: unknown) => String(error),
    );
    const held = await hold();
    const salvaged = [held.condition, uidsOf(held)];
    await held.release();
    return { run, salvaged };
  }

  it('keeps what it replaced', async () => {
    const text = journalOf(seen('a'));
    await writeFile(journal(), text);
    const held = await hold();
    expect(await held.replace([seen('b')])).toBeUndefined();
    await held.release();
    expect(await readFile(`${journal()}.old`, 'latin1')).toBe(text);
    expect(
      parseJournal(await readFile(journal(), 'latin1'), journal()).records.map(({ verb }) => verb),
    ).toEqual(['POPFETCH', 'BEGUN', 'SEEN']);
  });
});
