import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { link, readdir, readFile, rename, unlink, utimes, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeDisk } from '../src/disk.js';
import { PopfetchError } from '../src/errors.js';
import { failingDisk, fetchInto, message, NOW, type Place, recover, TAG } from './support/delivery.js';
import type { MemoryLog } from './support/log.js';
import { ENTRY, MAIL, MboxPlace, OTHERS } from './support/mbox.js';
import { methodsOf, systemError } from './support/watched-disk.js';

const children = new Set<ChildProcess>();
let place: Place;
let log: MemoryLog;
let mbox: string;
let box: MboxPlace;

beforeEach(async () => {
  box = await MboxPlace.create();
  ({ place, log, mbox } = box);
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
  await box.remove();
});

/** Another process that holds the kernel's lock on the mbox until it is told to let go. */
async function otherProcessLocks(path: string): Promise<{ letGo(): Promise<void> }> {
  const program = `
    const fs = require('node:fs');
    const fd = fs.openSync(process.argv[1], 'r+');
    if (!require('fs-native-extensions').tryLock(fd)) process.exit(1);
    process.stdout.write('locked');
    process.stdin.on('data', () => process.exit(0));`;
  const cwd = new URL('..', import.meta.url);
  const child = spawn(process.execPath, ['-e', program, path], { cwd, stdio: ['pipe', 'pipe', 'inherit'] });
  children.add(child);
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', reject);
  });
  return {
    letGo: () =>
      new Promise((resolve) => {
        child.once('exit', () => {
          resolve();
        });
        child.stdin.write('x');
      }),
  };
}

/** A process id that was used and is free. */
function deadPid(): number {
  return Number(execFileSync(process.execPath, ['-e', 'process.stdout.write(String(process.pid))']));
}

describe('an mbox that another program has locked [92]', () => {
  it('by the kernel makes the delivery give up after a while, with nothing written', async () => {
    await box.given(OTHERS);
    await otherProcessLocks(mbox);
    const error: unknown = await box
      .impatient(60)
      .deliver(message(1, MAIL), log)
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'LOCKED',
      exit: 75,
      message: `${mbox} has been locked by another program for 0.06 s`,
    });
    expect(await box.text()).toBe(OTHERS);
    expect(await readdir(box.directory)).toEqual(['box']);
    expect(await place.spooled()).toEqual([]);
    expect(log.intents()).toEqual([]);
  });

  it('by the kernel ends the waiting when the run is interrupted, with nothing written', async () => {
    await box.given(OTHERS);
    await otherProcessLocks(mbox);
    const controller = new AbortController();
    const interruption = new PopfetchError('ABORTED', 'interrupted by SIGINT');
    const delivered = box
      .impatient(60_000, { signal: controller.signal })
      .deliver(message(1, MAIL), log)
      .catch((reason: unknown) => reason);
    await readUntilDotlock();
    controller.abort(interruption);
    expect(await delivered).toBe(interruption);
    expect(await box.text()).toBe(OTHERS);
    expect(await place.spooled()).toEqual([]);
  });

  it('by the kernel makes the delivery wait until it lets go', async () => {
    await box.given(OTHERS);
    const other = await otherProcessLocks(mbox);
    const delivered = fetchInto(box.impatient(20_000), log, message(1, MAIL));
    const early = await Promise.race([delivered.then(() => 'early'), readUntilDotlock()]);
    expect(early).toBe('tried');
    await other.letGo();
    await delivered;
    expect(await box.text()).toBe(OTHERS + ENTRY);
  });

  it('by dotlock makes the delivery give up, and the lock stays', async () => {
    await box.given(OTHERS);
    await writeFile(`${mbox}.lock`, `${process.pid}\n`);
    await expect(box.impatient(30).deliver(message(1, MAIL), log)).rejects.toMatchObject({
      code: 'LOCKED',
      message: `${mbox} has been locked by another program for 0.03 s (${mbox}.lock)`,
    });
    expect(await readFile(`${mbox}.lock`, 'latin1')).toBe(`${process.pid}\n`);
    expect(await box.text()).toBe(OTHERS);
  });

  it('keeps recovery out as well', async () => {
    await box.interrupted([MAIL]);
    await unlink(`${mbox}.lock`);
    await writeFile(`${mbox}.lock`, '');
    await expect(box.impatient(30).recover(log.unfinished(), log)).rejects.toMatchObject({ code: 'LOCKED' });
  });

  it('is opened again where that program put another file in its place', async () => {
    await box.given(OTHERS);
    const disk = failingDisk(() => undefined);
    let armed = true;
    const replacing = {
      ...methodsOf(disk),
      // The look at the path after the lock is the second one of an attempt; a dotlock has its own path.
      lstat: async (path: string) => {
        if (path === mbox && disk.calls.some((call) => call === `stat ${mbox}`) && armed) {
          armed = false;
          await writeFile(place.path('fresh'), `${OTHERS}${OTHERS}`);
          await rename(place.path('fresh'), mbox);
        }
        return disk.lstat(path);
      },
    };
    await fetchInto(box.impatient(5000, { disk: replacing }), log, message(1, MAIL));
    expect(armed).toBe(false);
    expect(await box.text()).toBe(`${OTHERS}${OTHERS}${ENTRY}`);
    expect(disk.openFiles).toBe(0);
  });
});

/** Resolves when a delivery has tried both locks: it has made the dotlock and taken it away again. */
async function readUntilDotlock(): Promise<'tried'> {
  const present = async (): Promise<boolean> => (await readdir(box.directory)).includes('box.lock');
  while (!(await present()));
  while (await present());
  return 'tried';
}

describe('a dotlock [92]', () => {
  const minute = 60;

  async function lockOf(content: string, age: number): Promise<void> {
    await box.given(OTHERS);
    await writeFile(`${mbox}.lock`, content);
    const then = NOW / 1000 - age;
    await utimes(`${mbox}.lock`, then, then);
  }

  it.each([
    ['of a dead process that is 3 minutes old', () => `${deadPid()}\n`, 3 * minute],
    [
      'of a dead process of this machine that is 3 minutes old',
      () => `${deadPid()}:host.example`,
      3 * minute,
    ],
    ['that says nothing and is 11 minutes old', () => '', 11 * minute],
    ['of another machine that is 11 minutes old', () => `${process.pid} elsewhere ${TAG}`, 11 * minute],
    ['of an earlier run of this account, just made', () => `${process.pid} host.example ${TAG}`, 0],
  ])('%s is taken over', async (_, content, age) => {
    await lockOf(content(), age);
    await fetchInto(box.impatient(1000), log, message(1, MAIL));
    expect(await box.text()).toBe(OTHERS + ENTRY);
    expect(await readdir(box.directory)).toEqual(['box']);
  });

  it.each([
    ['of a dead process that is 1 minute old', () => `${deadPid()}\n`, minute],
    ['of a living process, however old', () => `${process.pid}\n`, 1000 * minute],
    ['of a living process of this machine', () => `${process.pid}:host.example`, 1000 * minute],
    ['that says nothing and is 3 minutes old', () => '', 3 * minute],
    ['of another machine that is 3 minutes old', () => `${deadPid()} elsewhere ${TAG}`, 3 * minute],
    ['of another account of this machine', () => `${process.pid} host.example zzzzzzzz\n`, 1000 * minute],
  ])('%s is respected', async (_, content, age) => {
    await lockOf(content(), age);
    await expect(box.impatient(20).deliver(message(1, MAIL), log)).rejects.toMatchObject({ code: 'LOCKED' });
    expect(await box.text()).toBe(OTHERS);
  });

  it.each(['EACCES', 'EROFS', 'EPERM'])(
    'is done without where the directory cannot be written (%s)',
    async (code) => {
      await box.given(OTHERS);
      const disk = failingDisk((call, path) =>
        call === 'open create' && path.startsWith(`${mbox}.lock`) ? systemError(code) : undefined,
      );
      await fetchInto(box.impatient(1000, { disk }), log, message(1, MAIL));
      expect(await box.text()).toBe(OTHERS + ENTRY);
      // The kernel's lock still counts.
      await otherProcessLocks(mbox);
      await expect(box.impatient(20, { disk }).deliver(message(2, MAIL), log)).rejects.toMatchObject({
        code: 'LOCKED',
      });
    },
  );

  it.each(['EPERM', 'EOPNOTSUPP'])('is made where there are no hard links (%s)', async (code) => {
    const disk = failingDisk((call) => (call === 'link' ? systemError(code) : undefined));
    const destination = box.impatient(1000, { disk });
    await destination.recover([], log);
    const delivery = await destination.deliver(message(1, MAIL), log);
    expect(await readFile(`${mbox}.lock`, 'latin1')).toBe(`${process.pid} host.example ${TAG}\n`);
    await delivery.release();
    expect(await readdir(box.directory)).toEqual(['box']);
  });

  it('that was made although link() reported an error is held [93]', async () => {
    const nfs = {
      ...nodeDisk,
      link: async (from: string, to: string) => {
        await nodeDisk.link(from, to);
        throw systemError('EEXIST');
      },
    };
    await recover(await box.open(), log);
    await fetchInto(box.impatient(1000, { disk: nfs }), log, message(1, MAIL));
    expect(await box.text()).toBe(ENTRY);
    expect(await readdir(box.directory)).toEqual(['box']);
  });

  it('of a dead run of this account goes when the mbox is opened, mail or not', async () => {
    await lockOf(`1 host.example ${TAG}`, 0);
    await writeFile(`${mbox}.lock.${TAG}`, '');
    await recover(await box.open(), log);
    expect(await readdir(box.directory)).toEqual(['box']);
    await lockOf('1 host.example zzzzzzzz\n', 1000 * minute);
    await recover(await box.open(), log);
    expect(await readdir(box.directory)).toEqual(['box', 'box.lock']);
  });

  it('that is stale may be removed by another run at the same moment', async () => {
    await lockOf(`${deadPid()} host.example zzzzzzzz\n`, 10 * minute);
    const disk = {
      ...nodeDisk,
      unlink: async (path: string) => {
        if (path === `${mbox}.lock`) await unlink(path);
        await nodeDisk.unlink(path);
      },
    };
    expect(await recover(await box.open({ disk }), log)).toEqual([]);
    expect(await readdir(box.directory)).toEqual(['box']);
  });

  it('that a power cut has emptied goes when the mbox is opened: its second name tells whose it was', async () => {
    await lockOf('', 0);
    await link(`${mbox}.lock`, `${mbox}.lock.${TAG}`);
    await recover(await box.open(), log);
    expect(await readdir(box.directory)).toEqual(['box']);
    await lockOf('', 0);
    await writeFile(`${mbox}.lock.${TAG}`, '');
    await recover(await box.open(), log);
    expect(await readdir(box.directory)).toEqual(['box', 'box.lock']);
  });

  it('has its second name as long as it is held', async () => {
    const destination = box.impatient(1000);
    await destination.recover([], log);
    const delivery = await destination.deliver(message(1, MAIL), log);
    expect(await readdir(box.directory)).toEqual(['box', 'box.lock', `box.lock.${TAG}`]);
    await delivery.release();
    expect(await readdir(box.directory)).toEqual(['box']);
  });

  it('that somebody has taken over meanwhile is not removed', async () => {
    const destination = box.impatient(1000);
    await destination.recover([], log);
    const delivery = await destination.deliver(message(1, MAIL), log);
    await unlink(`${mbox}.lock`);
    await writeFile(place.path('mail', 'new'), 'theirs');
    await rename(place.path('mail', 'new'), `${mbox}.lock`);
    await delivery.release();
    expect(await readFile(`${mbox}.lock`, 'latin1')).toBe('theirs');
  });
});
