import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PopfetchError } from '../src/errors.js';
import {
  encodeWrite,
  Journal,
  parseJournal,
  rewriteJournal,
  type JournalRecord,
} from '../src/seen/journal.js';
import { Crash, systemError, WatchedDisk } from './support/watched-disk.js';

let directory: string;
let path: string;
let disk: WatchedDisk;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'popfetch-journal-'));
  path = join(directory, 'abcdefgh.journal');
  disk = new WatchedDisk();
});

afterEach(() => rm(directory, { recursive: true, force: true }));

const record = (verb: string, ...fields: string[]): JournalRecord => ({ verb, fields });

/** The records of a parsed text, without what else a line holds. */
function recordsIn(text: string): JournalRecord[] {
  return parseJournal(text, path).records.map(({ verb, fields }) => ({ verb, fields }));
}

/** One text of all writes, and where each of its lines and writes ends. */
function textOf(writes: readonly (readonly JournalRecord[])[]): {
  text: string;
  lineEnds: number[];
  writeEnds: number[];
} {
  let text = '';
  let next = 1;
  const writeEnds: number[] = [];
  for (const records of writes) {
    text += encodeWrite(records, next);
    next += records.length;
    writeEnds.push(text.length);
  }
  const lineEnds = [...text.matchAll(/\n/g)].map(({ index }) => index + 1);
  return { text, lineEnds, writeEnds };
}

const WRITES: readonly (readonly JournalRecord[])[] = [
  [record('POPFETCH', '1', 'pop.example.com', '995', 'taro')],
  [record('INTENT', 'a', 'key', ''), record('INTENT', 'b\xff\n', 'key', '%41')],
  [record('DONE', 'a', '17')],
  [record('DONE', 'b\xff\n', '18'), record('QUIT_OK', 'a', '19'), record('RUN', 'ok')],
];

describe('the text of a journal', () => {
  it('gives back whatever octets the fields hold, and is printable ASCII', () => {
    const octets = fc.string({ unit: fc.nat(255).map((code) => String.fromCharCode(code)), maxLength: 12 });
    const records = fc.array(
      fc.record({
        verb: fc.constantFrom('DONE', 'INTENT', 'RUN'),
        fields: fc.array(octets, { maxLength: 4 }),
      }),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(fc.array(records, { maxLength: 4 }), (writes) => {
        const { text } = textOf(writes);
        expect(text).toMatch(/^[\x20-\x7e\n]*$/);
        expect(recordsIn(text)).toEqual(writes.flat());
        expect(parseJournal(text, path)).toMatchObject({
          length: text.length,
          next: writes.flat().length + 1,
        });
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['', '%'],
    ['%', '%25'],
    [' ', '%20'],
    ['\0\r\n\x7f\xe9', '%00%0d%0a%7f%e9'],
    ['plain-uid_1~', 'plain-uid_1~'],
  ])('writes the field %j as %s', (field, written) => {
    expect(encodeWrite([record('DONE', field)], 7)).toMatch(
      new RegExp(`^7 7 [0-9a-f]{8} DONE ${written}\n$`),
    );
  });

  it('cut at any octet holds every whole write, and of the torn one nothing but whole lines [83]', () => {
    const { text, lineEnds, writeEnds } = textOf(WRITES);
    const all = WRITES.flat();
    for (let length = 0; length <= text.length; length += 1) {
      const parsed = parseJournal(text.slice(0, length), path);
      const lines = lineEnds.filter((end) => end <= length).length;
      expect(recordsIn(text.slice(0, length))).toEqual(all.slice(0, lines));
      expect(parsed.length).toBe(lineEnds[lines - 1] ?? 0);
      expect(parsed.next).toBe(lines + 1);
      // No promise is broken: all the records of the writes that were whole are there.
      expect(parsed.length).toBeGreaterThanOrEqual(Math.max(0, ...writeEnds.filter((end) => end <= length)));
    }
  });

  it.each([
    ['zeros', '\0'.repeat(4096)],
    ['zeros and a line end', `${'\0'.repeat(40)}\n`],
    ['octets of another file', 'From taro Fri May  1 10:00:00 2026\n\nhello\n'],
  ])('cut at any octet and followed by %s holds the same', (_, junk) => {
    const { text } = textOf(WRITES);
    for (let length = 0; length <= text.length; length += 1) {
      const cut = text.slice(0, length);
      expect(parseJournal(cut + junk, path)).toEqual(parseJournal(cut, path));
    }
  });

  it('in which the file system lost a part of the last write holds what was written before that', () => {
    const { text, writeEnds } = textOf(WRITES);
    const start = writeEnds.at(-2)!;
    for (let length = 1; length < text.length - start; length += 1) {
      const holed = text.slice(0, start) + '\0'.repeat(length) + text.slice(start + length);
      expect(recordsIn(holed)).toEqual(WRITES.slice(0, -1).flat());
    }
  });

  it('with any octet of an earlier write changed is refused, with its line [83]', () => {
    const { text, lineEnds, writeEnds } = textOf(WRITES);
    for (let at = 0; at < writeEnds.at(-2)!; at += 1) {
      const changed = text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ 1) + text.slice(at + 1);
      const line = lineEnds.filter((end) => end <= at).length + 1;
      expect(() => parseJournal(changed, path), `octet ${at}`).toThrow(
        expect.objectContaining({
          code: 'STATE',
          message: `${path}: line ${line} is damaged, and popfetch does not guess what it said`,
          remedy: 'run popfetch state rebuild, which keeps every line that is whole',
        }),
      );
    }
  });

  it('with a line of an earlier write taken out, doubled or moved is refused', () => {
    const lines = textOf(WRITES)
      .text.split('\n')
      .filter((line) => line !== '');
    const [head, first, second, third, ...last] = lines;
    for (const changed of [
      [head, second, third, ...last],
      [head, first, third, ...last],
      [head, first, second, ...last],
      [head, first, first, second, third, ...last],
      [head, second, first, third, ...last],
      [first, second, third, ...last],
    ]) {
      expect(() => parseJournal(`${changed.join('\n')}\n`, path)).toThrow(PopfetchError);
    }
  });
});

describe('appending', () => {
  async function open(next = 1): Promise<Journal> {
    const file = await disk.open(path, 'append');
    return new Journal(file, next, (await file.stat()).size);
  }

  const syncs = (): number => disk.calls.filter((call) => call.startsWith('datasync')).length;
  const writes = (): number => disk.calls.filter((call) => call.startsWith('write')).length;

  it('puts records into the file in the order of the calls', async () => {
    const journal = await open();
    await journal.append(record('A', '1'), record('B', '2'));
    await journal.append(record('C', '3'));
    await journal.close();
    expect(await readFile(path, 'latin1')).toBe(
      encodeWrite([record('A', '1'), record('B', '2')], 1) + encodeWrite([record('C', '3')], 3),
    );
  });

  it('shares one write and one sync among all calls that come while one is under way', async () => {
    const journal = await open();
    const all = Array.from({ length: 50 }, (_, n) => record('DONE', String(n)));
    await Promise.all(all.map((one) => journal.append(one)));
    expect(writes()).toBe(2);
    expect(syncs()).toBe(2);
    expect(recordsIn(await readFile(path, 'latin1'))).toEqual(all);
    await journal.close();
  });

  it('gives its promise only after the sync', async () => {
    const order: string[] = [];
    let sync: () => void = () => undefined;
    const file = {
      ...(await disk.open(path, 'append')),
      datasync: () =>
        new Promise<void>((resolve) => {
          order.push('sync begins');
          sync = resolve;
        }),
    };
    const journal = new Journal(file, 1, 0);
    const promise = journal.append(record('DONE', 'a')).then(() => order.push('promise'));
    await expect.poll(() => order).toEqual(['sync begins']);
    await nextTurn();
    order.push('sync ends');
    sync();
    await promise;
    expect(order).toEqual(['sync begins', 'sync ends', 'promise']);
    await journal.close();
  });

  it.each([
    ['write', 'ENOSPC'],
    ['datasync', 'EIO'],
  ])('after a failed %s promises nothing any more and writes nothing any more', async (call, code) => {
    const journal = await open();
    await journal.append(record('DONE', 'before'));
    disk.before = (made) => {
      if (made === call) throw systemError(code);
    };
    const calls = ['a', 'b', 'c'].map((uid) => journal.append(record('DONE', uid)));
    for (const outcome of await Promise.allSettled(calls)) {
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: {
          code: 'STATE',
          phase: 'state',
          message: `${path}: the memory cannot be written (${code})`,
          cause: { code },
        },
      });
    }
    disk.before = () => undefined;
    const before = disk.calls.length;
    await expect(journal.append(record('DONE', 'later'))).rejects.toMatchObject({ code: 'STATE' });
    expect(disk.calls.slice(before)).toEqual([]);
    await journal.close();
    expect(recordsIn(await readFile(path, 'latin1'))).toEqual([record('DONE', 'before')]);
  });
});

describe('rewriting', () => {
  const OLD = [record('POPFETCH', '1'), record('DONE', 'a', '1'), record('DONE', 'b', '2')];
  const NEW = [record('POPFETCH', '1'), record('SEEN', 'a'), record('SEEN', 'b')];

  it('syncs the new file before it takes the place of the old one, and the directory after', async () => {
    await writeFile(path, encodeWrite(OLD, 1), 'latin1');
    await rewriteJournal(disk, path, NEW);
    const steps = disk.calls
      .map((call) => call.replaceAll(directory, '~'))
      .filter((call) => !call.startsWith('lstat'));
    expect(steps).toEqual([
      'open create ~/abcdefgh.journal.new',
      'write ~/abcdefgh.journal.new',
      'sync ~/abcdefgh.journal.new',
      'close ~/abcdefgh.journal.new',
      'link ~/abcdefgh.journal.old',
      'rename ~/abcdefgh.journal',
      'syncDirectory ~',
    ]);
    expect(recordsIn(await readFile(path, 'latin1'))).toEqual(NEW);
    expect(recordsIn(await readFile(`${path}.old`, 'latin1'))).toEqual(OLD);
    expect((await readdir(directory)).sort()).toEqual(['abcdefgh.journal', 'abcdefgh.journal.old']);
  });

  it.each([false, true])(
    'killed at any step leaves the old journal or the new one, whole, and can be done again (leftovers: %s)',
    async (leftovers) => {
      const outcomes = new Set<string>();
      for (let step = 1; ; step += 1) {
        await writeFile(path, encodeWrite(OLD, 1), 'latin1');
        await rm(`${path}.new`, { force: true });
        await rm(`${path}.old`, { force: true });
        if (leftovers) {
          await writeFile(`${path}.new`, 'torn');
          await writeFile(`${path}.old`, encodeWrite([record('POPFETCH', '1')], 1), 'latin1');
        }
        const crashed = await rewriteUntil(step);
        const left = recordsIn(await readFile(path, 'latin1'));
        expect([OLD, NEW]).toContainEqual(left);
        outcomes.add(JSON.stringify(left));
        await rewriteJournal(new WatchedDisk(), path, NEW);
        expect(recordsIn(await readFile(path, 'latin1'))).toEqual(NEW);
        if (!crashed) break;
      }
      expect([...outcomes]).toEqual([JSON.stringify(OLD), JSON.stringify(NEW)]);
    },
  );

  /** Rewrites, and dies at the given step, half of a write done. @returns whether it came to that */
  async function rewriteUntil(step: number): Promise<boolean> {
    const dying = new WatchedDisk();
    dying.tearing = true;
    let steps = 0;
    dying.before = () => {
      steps += 1;
      if (steps >= step) throw new Crash();
    };
    await rewriteJournal(dying, path, NEW).catch((error: unknown) => {
      if (!(error instanceof Crash)) throw error;
    });
    await dying.die();
    return steps >= step;
  }

  it('replaces the journal also where there are no hard links, and keeps none of the one before', async () => {
    await writeFile(path, encodeWrite(OLD, 1), 'latin1');
    disk.before = (call) => {
      if (call === 'link') throw systemError('EPERM');
    };
    await rewriteJournal(disk, path, NEW);
    expect(recordsIn(await readFile(path, 'latin1'))).toEqual(NEW);
    expect(await disk.lstat(`${path}.old`)).toBeUndefined();
  });

  it('leaves the journal as it was, and no file open, when the disk is full', async () => {
    await writeFile(path, encodeWrite(OLD, 1), 'latin1');
    disk.before = (call) => {
      if (call === 'write') throw systemError('ENOSPC');
    };
    await expect(rewriteJournal(disk, path, NEW)).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(recordsIn(await readFile(path, 'latin1'))).toEqual(OLD);
    expect(disk.openFiles).toBe(0);
    expect(await disk.lstat(`${path}.new`)).toBeUndefined();
  });
});
