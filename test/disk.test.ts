import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { errno, grouped, nodeDisk } from '../src/disk.js';

/** Work whose runs end when a test says so. */
class Runs {
  readonly ends: { resolve(): void; reject(error: Error): void }[] = [];
  readonly work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      this.ends.push({ resolve, reject });
    });
}

describe('grouped work', () => {
  it('begins at once when nothing runs', () => {
    const runs = new Runs();
    void grouped(runs.work)();
    expect(runs.ends).toHaveLength(1);
  });

  it('gives all who ask during a run the next run, and only one', async () => {
    const runs = new Runs();
    const ask = grouped(runs.work);
    const settled: string[] = [];
    const first = ask().then(() => settled.push('first'));
    const later = [1, 2, 3].map((n) => ask().then(() => settled.push(`later ${n}`)));
    expect(runs.ends).toHaveLength(1);
    runs.ends[0]!.resolve();
    await first;
    expect(settled).toEqual(['first']);
    await new Promise(setImmediate);
    expect(runs.ends).toHaveLength(2);
    const latest = ask();
    runs.ends[1]!.resolve();
    await Promise.all(later);
    await new Promise(setImmediate);
    expect(runs.ends).toHaveLength(3);
    runs.ends[2]!.resolve();
    await latest;
  });

  it('tells only those of a run that it failed, and runs again for those who wait', async () => {
    const runs = new Runs();
    const ask = grouped(runs.work);
    const first = ask();
    const second = ask();
    runs.ends[0]!.reject(new Error('disk'));
    await expect(first).rejects.toThrow('disk');
    await new Promise(setImmediate);
    runs.ends[1]!.resolve();
    await second;
    const third = ask();
    expect(runs.ends).toHaveLength(3);
    runs.ends[2]!.resolve();
    await third;
  });

  it('never settles a promise by a run that began before it was asked for', async () => {
    let started = 0;
    let finished = 0;
    const ask = grouped(async () => {
      started += 1;
      await new Promise(setImmediate);
      finished += 1;
    });
    const asks = Array.from({ length: 200 }, async (_, n) => {
      for (let wait = 0; wait < n % 7; wait += 1) await Promise.resolve();
      if (n % 11 === 0) await new Promise(setImmediate);
      const before = started;
      await ask();
      expect(finished).toBeGreaterThan(before);
    });
    await Promise.all(asks);
    expect(started).toBeLessThan(20);
  });
});

describe('the real disk', () => {
  let home: string;
  const path = (...parts: readonly string[]): string => join(home, ...parts);

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'popfetch-disk-'));
  });

  afterEach(() => rm(home, { recursive: true, force: true }));

  it('creates a file only where there is none, with the mode it is told', async () => {
    const file = await nodeDisk.open(path('a'), 'create', 0o600);
    await file.write(Buffer.from('text'));
    await file.sync();
    await file.close();
    expect(await readFile(path('a'), 'utf8')).toBe('text');
    expect((await stat(path('a'))).mode & 0o777).toBe(0o600);
    await expect(nodeDisk.open(path('a'), 'create')).rejects.toMatchObject({ code: 'EEXIST' });
  });

  it('appends behind what others have appended, and reads anywhere', async () => {
    const one = await nodeDisk.open(path('a'), 'append');
    const other = await nodeDisk.open(path('a'), 'append');
    await one.write(Buffer.from('1'));
    await other.write(Buffer.from('2'));
    await one.write(Buffer.from('3'));
    expect((await one.read(0, 100)).toString()).toBe('123');
    expect((await one.read(1, 1)).toString()).toBe('2');
    expect(await one.read(3, 10)).toHaveLength(0);
    await one.truncate(1);
    expect((await other.stat()).size).toBe(1);
    await one.datasync();
    await Promise.all([one.close(), other.close()]);
  });

  it('keeps what is in a file that it opens for an update', async () => {
    await writeFile(path('a'), 'old');
    const file = await nodeDisk.open(path('a'), 'update');
    expect((await file.read(0, 10)).toString()).toBe('old');
    await file.write(Buffer.from('n'));
    expect((await file.read(0, 10)).toString()).toBe('nld');
    expect(file.path).toBe(path('a'));
    await file.close();
  });

  it.each(['create', 'append', 'update', 'read'] as const)('follows no symbolic link to %s', async (how) => {
    await writeFile(path('real'), 'x');
    await symlink(path('real'), path('link'));
    await expect(nodeDisk.open(path('link'), how)).rejects.toMatchObject({
      code: how === 'create' ? 'EEXIST' : 'ELOOP',
    });
  });

  it('reads only what is there', async () => {
    await expect(nodeDisk.open(path('a'), 'read')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('makes directories with all their parents, private, and leaves existing ones alone', async () => {
    await nodeDisk.mkdir(path('a', 'b', 'c'));
    for (const made of [path('a'), path('a', 'b'), path('a', 'b', 'c')]) {
      expect((await stat(made)).mode & 0o777).toBe(0o700);
    }
    await mkdir(path('open'), { mode: 0o755 });
    await nodeDisk.mkdir(path('open'));
    expect((await stat(path('open'))).mode & 0o777).toBe(0o755);
    await writeFile(path('file'), '');
    await expect(nodeDisk.mkdir(path('file'))).rejects.toMatchObject({ code: 'EEXIST' });
  });

  it('follows a symbolic link to a directory, and refuses one to nowhere', async () => {
    await mkdir(path('real'));
    await symlink(path('real'), path('link'));
    await nodeDisk.mkdir(path('link', 'made'));
    expect((await stat(path('real', 'made'))).isDirectory()).toBe(true);
    await symlink(path('nowhere'), path('dangling'));
    await expect(nodeDisk.mkdir(path('dangling'))).rejects.toMatchObject({ code: 'EEXIST' });
  });

  it.skipIf(process.platform !== 'linux')(
    'gives up where a file system has no room for directories',
    async () => {
      await expect(nodeDisk.mkdir('/proc/popfetch/x')).rejects.toMatchObject({ code: 'ENOENT' });
    },
  );

  it('links, renames, lists and removes', async () => {
    await writeFile(path('a'), 'x');
    await nodeDisk.link(path('a'), path('b'));
    expect((await nodeDisk.lstat(path('b')))?.nlink).toBe(2);
    await expect(nodeDisk.link(path('a'), path('b'))).rejects.toMatchObject({ code: 'EEXIST' });
    await nodeDisk.rename(path('b'), path('c'));
    expect((await nodeDisk.readdir(home)).sort()).toEqual(['a', 'c']);
    await nodeDisk.unlink(path('a'));
    expect(await nodeDisk.lstat(path('a'))).toBeUndefined();
  });

  it('looks at a symbolic link itself', async () => {
    await symlink(path('nowhere'), path('link'));
    expect((await nodeDisk.lstat(path('link')))?.isSymbolicLink()).toBe(true);
    await writeFile(path('file'), '');
    await expect(nodeDisk.lstat(path('file', 'x'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  });

  it('syncs directories, and nothing else that is called one', async () => {
    await nodeDisk.syncDirectory(home);
    await writeFile(path('file'), '');
    await expect(nodeDisk.syncDirectory(path('file'))).rejects.toMatchObject({ code: 'ENOTDIR' });
  });
});

it('an error has an errno only where the system said so', () => {
  expect(errno(Object.assign(new Error('x'), { code: 'EIO' }))).toBe('EIO');
  expect(errno(Object.assign(new Error('x'), { code: 5 }))).toBeUndefined();
  expect(errno(new Error('x'))).toBeUndefined();
  expect(errno({ code: 'EIO' })).toBeUndefined();
  expect(errno(undefined)).toBeUndefined();
});
