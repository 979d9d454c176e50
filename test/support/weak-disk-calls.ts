/** The calls of node:fs/promises that the real disk makes, over a weak disk: for code that is built upon them. */
import { constants } from 'node:fs';
import type { Stats } from 'node:fs';
import { find } from './weak-disk-model.js';
import type { OpenMode } from '../../src/disk.js';
import { systemError } from './watched-disk.js';
import type { WeakDisk, WeakFile } from './weak-disk.js';

/** What stands in the place of node:fs/promises. */
export interface Calls {
  open(path: string, flags: number): Promise<unknown>;
  mkdir(path: string): Promise<void>;
  link(from: string, to: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  readdir(path: string): Promise<string[]>;
  lstat(path: string): Promise<Stats>;
  stat(path: string): Promise<Stats>;
}

/** The names of them all. */
export const CALLS = ['open', 'mkdir', 'link', 'rename', 'unlink', 'readdir', 'lstat', 'stat'] as const;

/** None of them syncs anything but what it is told to. */
export function callsOver(disk: WeakDisk): Calls {
  const stat = async (path: string): Promise<Stats> => {
    const found = await disk.lstat(path);
    if (found === undefined) throw systemError('ENOENT');
    return found;
  };
  return {
    open: async (path, flags) => {
      await disk.turn();
      if ((flags & constants.O_DIRECTORY) !== 0) return directoryHandle(disk, path);
      return fileHandle(disk.openNow(path, modeOf(flags)));
    },
    mkdir: async (path) => {
      await disk.turn();
      disk.mkdirNow(path);
    },
    link: (from, to) => disk.link(from, to),
    rename: (from, to) => disk.rename(from, to),
    unlink: (path) => disk.unlink(path),
    readdir: (path) => disk.readdir(path),
    lstat: stat,
    stat,
  };
}

function modeOf(flags: number): OpenMode {
  if ((flags & constants.O_EXCL) !== 0) return 'create';
  if ((flags & constants.O_APPEND) !== 0) return 'append';
  return (flags & constants.O_CREAT) !== 0 ? 'update' : 'read';
}

function directoryHandle(disk: WeakDisk, path: string): object {
  const ino = find(disk.image, path);
  if (ino === undefined) throw systemError('ENOENT');
  return { sync: () => disk.sync(ino), close: () => disk.turn() };
}

function fileHandle(file: WeakFile): object {
  return {
    get fd() {
      return file.fd;
    },
    write: async (data: Buffer, from: number, length: number) => {
      await file.write(data.subarray(from, from + length));
      return { bytesWritten: length };
    },
    read: async (buffer: Buffer, at: number, length: number, position: number) => {
      const found = await file.read(position, length);
      return { bytesRead: found.copy(buffer, at) };
    },
    stat: () => file.stat(),
    truncate: (length: number) => file.truncate(length),
    sync: () => file.sync(),
    datasync: () => file.datasync(),
    close: () => file.close(),
  };
}
