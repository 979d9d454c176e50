/**
 * The real file system without the wait for a thread: each call is made at once, within the process that asks. Ten
 * times as fast on a disk that is memory, for tests that run whole accounts by the thousand.
 */
import * as fs from 'node:fs';
import { dirname } from 'node:path';
import { errno, type Disk, type DiskFile, type OpenMode } from '../../src/disk.js';

const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR, O_WRONLY } = fs.constants;

const FLAGS: Readonly<Record<OpenMode, number>> = {
  create: O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
  append: O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW,
  update: O_RDWR | O_CREAT | O_NOFOLLOW,
  read: O_RDONLY | O_NOFOLLOW,
};

/** The result of work that is done now, as a promise. */
function now<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => {
    resolve(work());
  });
}

function fileOf(fd: number, path: string): DiskFile {
  return {
    fd,
    path,
    write: (data) =>
      now(() => {
        for (let done = 0; done < data.length;) done += fs.writeSync(fd, data, done);
      }),
    read: (position, length, into = Buffer.allocUnsafe(length)) =>
      now(() => into.subarray(0, fs.readSync(fd, into, 0, length, position))),
    stat: () => now(() => fs.fstatSync(fd)),
    truncate: (length) =>
      now(() => {
        fs.ftruncateSync(fd, length);
      }),
    sync: () =>
      now(() => {
        fs.fsyncSync(fd);
      }),
    datasync: () =>
      now(() => {
        fs.fdatasyncSync(fd);
      }),
    close: () =>
      now(() => {
        fs.closeSync(fd);
      }),
  };
}

function unlessMissing(look: () => fs.Stats): fs.Stats | undefined {
  try {
    return look();
  } catch (error) {
    if (errno(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Promises what `Disk` promises; reads of a file end where it ends. */
export const promptDisk: Disk = {
  open: (path, how, mode = 0o600) => now(() => fileOf(fs.openSync(path, FLAGS[how], mode), path)),
  mkdir: (path, mode = 0o700) =>
    now(() => {
      const missing: string[] = [];
      for (let at = path; !fs.existsSync(at); at = dirname(at)) missing.unshift(at);
      for (const each of missing) fs.mkdirSync(each, mode);
    }),
  link: (from, to) =>
    now(() => {
      fs.linkSync(from, to);
    }),
  rename: (from, to) =>
    now(() => {
      fs.renameSync(from, to);
    }),
  unlink: (path) =>
    now(() => {
      fs.unlinkSync(path);
    }),
  readdir: (path) => now(() => fs.readdirSync(path)),
  lstat: (path) => now(() => unlessMissing(() => fs.lstatSync(path))),
  stat: (path) => now(() => unlessMissing(() => fs.statSync(path))),
  // What is in memory may be small: nobody fills it here.
  room: () => Promise.resolve(undefined),
  syncDirectory: (path) =>
    now(() => {
      const fd = fs.openSync(path, O_RDONLY);
      fs.fsyncSync(fd);
      fs.closeSync(fd);
    }),
};
