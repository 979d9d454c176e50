/** Crashes that were not survived once. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DestinationContext } from '../src/deliver/context.js';
import { openDestination } from '../src/deliver/index.js';
import { grouped } from '../src/disk.js';
import { Journal } from '../src/seen/journal.js';
import { openSeen } from '../src/seen/seen.js';
import { NOW, TAG } from './support/delivery.js';
import { intentOf } from './support/fakes.js';
import { MemoryLog } from './support/log.js';
import { WeakDisk } from './support/weak-disk.js';
import { contentAt, emptyImage, find, namesIn, type Image } from './support/weak-disk-model.js';
import { builtWithout } from './support/syncs.js';

const ADDRESS = { host: 'pop.example.com', port: 995, user: 'taro' };

let locks: string;
let time: number;

beforeEach(() => {
  locks = mkdtempSync(join(tmpdir(), 'popfetch-locks-'));
  time = NOW;
});

afterEach(() => {
  rmSync(locks, { recursive: true });
});

function diskWith(image: Image, record?: (image: Image, call: string) => void): WeakDisk {
  return new WeakDisk(image, { locks, now: () => time, ...(record === undefined ? {} : { record }) });
}

/** What is not on stable storage: the paths of files and directories with unsynced changes. */
function unsynced(image: Image, paths: readonly string[]): string[] {
  return paths.filter((path) => (image.get(find(image, path) ?? 0)?.pending.length ?? 0) > 0);
}

function context(disk: WeakDisk): DestinationContext {
  return {
    ...{ account: 'work', tag: TAG, eol: 'lf', spool: '/spool', disk, host: 'host.example', now: () => time },
    ...{ timeLimit: 1000, env: {}, signal: new AbortController().signal },
  };
}

describe('after a run that was killed', () => {
  const { signal } = new AbortController();
  const options = { wait: 0, signal, now: (): number => time };

  it('the memory relies on nothing in its journal that a power cut could still take away', async () => {
    const moments: Image[] = [];
    const dying = diskWith(emptyImage(), (image) => moments.push(image));
    await (await openSeen('/state', ADDRESS, dying, options)).intend(intentOf('a'));
    dying.die();
    for (const image of moments) {
      const disk = diskWith(image);
      await openSeen('/state', ADDRESS, disk, options);
      disk.die();
      const journal = namesIn(disk.image, '/state').find((name) => name.endsWith('.journal')) ?? '';
      expect(unsynced(disk.image, ['/', '/state', `/state/${journal}`])).toEqual([]);
    }
    expect(moments.length).toBeGreaterThan(5);
  });

  it('a Maildir relies on no folder that a power cut could still take away', async () => {
    const moments: Image[] = [];
    const dying = diskWith(emptyImage(), (image) => moments.push(image));
    await (await openDestination([{ maildir: '/Mail/box' }], context(dying))).recover([], new MemoryLog());
    for (const image of moments) {
      const disk = diskWith(image);
      await (await openDestination([{ maildir: '/Mail/box' }], context(disk))).recover([], new MemoryLog());
      expect(unsynced(disk.image, ['/', '/Mail', '/Mail/box'])).toEqual([]);
    }
    expect(moments).toHaveLength(5);
  });

  it.each(['/a', '/a/b', '/a/b/c'])(
    'the directory %s that it made is for good when the next run has it',
    async (last) => {
      const { onItsDisk } = await builtWithout(undefined);
      const disk = diskWith(emptyImage());
      for (const made of ['/a', '/a/b', '/a/b/c'].filter((each) => last.startsWith(each))) {
        // One is made when the name of the one before is on disk.
        await disk.syncDirectory('/');
        if (made === '/a/b/c') await disk.syncDirectory('/a');
        disk.mkdirNow(made);
      }
      await onItsDisk.diskOver!(disk).mkdir('/a/b/c');
      expect(unsynced(disk.image, ['/', '/a', '/a/b'])).toEqual([]);
      expect(namesIn(disk.image, '/a/b')).toEqual(['c']);
    },
  );
});

describe('grouped work', () => {
  it('is never under way twice at once, however close upon its end it is asked for again', async () => {
    for (let turns = 0; turns < 12; turns += 1) {
      let underWay = 0;
      let most = 0;
      const ask = grouped(async () => {
        underWay += 1;
        most = Math.max(most, underWay);
        for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
        underWay -= 1;
      });
      const asked = [ask(), ask()];
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      asked.push(ask());
      await Promise.all(asked);
      expect(most, `asked after ${turns} turns`).toBe(1);
    }
  });

  it('makes no promise about a record of the journal that is on its way to the disk for another', async () => {
    for (let turns = 0; turns < 12; turns += 1) {
      const disk = diskWith(emptyImage());
      const journal = new Journal(disk.openNow('/journal', 'append'), 1, 0);
      const record = (uid: string): Promise<void> => journal.append({ verb: 'DONE', fields: [uid] });
      const kept = async (uid: string): Promise<void> => {
        await record(uid);
        const node = disk.image.get(find(disk.image, '/journal') ?? 0);
        expect(node?.kind === 'file' && node.durable.includes(`DONE ${uid}\n`), `${uid} after ${turns}`).toBe(
          true,
        );
      };
      const all = [kept('a'), kept('b')];
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      all.push(kept('c'));
      await Promise.all(all);
    }
  });
});

describe('after a power cut', () => {
  /** A disk on which a dotlock has this content. */
  async function locked(content: string): Promise<WeakDisk> {
    const disk = diskWith(emptyImage());
    await disk.mkdir('/spool');
    await disk.openNow('/box', 'append').write(Buffer.from('From a\nx\n\n'));
    await disk.openNow('/box.lock', 'create').write(Buffer.from(content));
    return disk;
  }

  it.each([
    ['empty', ''],
    ['cut off within the number of a process that is there now', String(process.pid)],
    ['cut off behind it', `${process.pid} `],
    ['cut off within the name of this machine', `${process.pid} host.ex`],
    ['nothing but zeros', '\0'.repeat(20)],
  ])('a dotlock that is %s is removed after five minutes, mail or not', async (_, content) => {
    const disk = await locked(content);
    const open = async (): Promise<void> => {
      await (await openDestination([{ mbox: '/box' }], context(disk))).recover([], new MemoryLog());
    };
    time += 290_000;
    await open();
    expect(contentAt(disk.image, '/box.lock')?.toString()).toBe(content);
    time += 20_000;
    await open();
    expect(contentAt(disk.image, '/box.lock')).toBeUndefined();
  });

  it('a dotlock of another program that is alive stays', async () => {
    for (const content of [`${process.pid}\n`, `${process.pid}:host.example`]) {
      const disk = await locked(content);
      time += 600_000;
      await (await openDestination([{ mbox: '/box' }], context(disk))).recover([], new MemoryLog());
      expect(contentAt(disk.image, '/box.lock')?.toString()).toBe(content);
    }
  });
});
