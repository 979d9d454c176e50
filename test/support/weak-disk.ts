/**
 * A disk over a weak file system in memory. Every change is shown to whoever records it, and a sync holds only for what
 * was there when it began. Only locks are real: they are taken on scratch files, one for each file that is locked.
 */
import { closeSync, constants, openSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import type { Disk, DiskFile, OpenMode } from '../../src/disk.js';
import {
  changed,
  directoryOf,
  fileOf,
  find,
  linksOf,
  namesIn,
  renamed,
  ROOT,
  synced,
  type Change,
  type DirectoryNode,
  type FileNode,
  type Image,
  type Naming,
  type Node,
} from './weak-disk-model.js';
import { systemError } from './watched-disk.js';

export interface WeakDiskOptions {
  /** A directory of the real disk for locks. */
  readonly locks: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Turns of the event queue that a call takes: `sync` for one that waits for the storage. */
  readonly turns?: (call: 'sync' | 'other') => number;
  /** Called after each change with what is there now. */
  readonly record?: (image: Image, call: string) => void;
  /** The disk is full at the n-th write to this path: half of it is written. */
  readonly full?: { readonly path: string; readonly nth: number };
  /** Whether the file system has hard links. Default true. */
  readonly hardLinks?: boolean;
}

/** Where a call hands over to the next: a turn for most, some for a sync, so that others come in between. */
const TURNS = { sync: 3, other: 1 } as const;

/** The disk of one life, from boot or from where the process before died. */
export class WeakDisk implements Disk {
  readonly #options: WeakDiskOptions;
  readonly #open = new Set<WeakFile>();
  #nodes: Map<number, Node>;
  #next: number;
  #writes = 0;

  constructor(image: Image, options: WeakDiskOptions) {
    this.#nodes = new Map(image);
    this.#next = Math.max(ROOT, ...image.keys()) + 1;
    this.#options = options;
  }

  /** What is there now. */
  get image(): Image {
    return this.#nodes;
  }

  /** Closes what is open, as the system does for a process that ends. */
  die(): void {
    for (const file of this.#open) file.letGo();
  }

  /** Lets others come in, as often as a call of this kind takes. */
  async turn(call: 'sync' | 'other' = 'other'): Promise<void> {
    const turns = this.#options.turns?.(call) ?? TURNS[call];
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
  }

  async open(path: string, how: OpenMode): Promise<DiskFile> {
    await this.turn();
    return this.openNow(path, how);
  }

  /** Opens without waiting. */
  openNow(path: string, how: OpenMode): WeakFile {
    const known = find(this.#nodes, path);
    if (known !== undefined && how === 'create') throw systemError('EEXIST');
    if (known === undefined && how === 'read') throw systemError('ENOENT');
    const ino = known ?? this.#make(path, `open ${how}`, (number, mtimeMs) => fileOf(number, mtimeMs));
    if (this.#nodes.get(ino)?.kind !== 'file') throw systemError('EISDIR');
    const lock = join(this.#options.locks, String(ino));
    const file = new WeakFile(this, ino, path, how === 'append', lock, () => this.#open.delete(file));
    this.#open.add(file);
    return file;
  }

  #make(path: string, call: string, make: (ino: number, mtimeMs: number) => Node): number {
    const parent = this.#directory(dirname(path));
    const ino = this.#next;
    this.#next += 1;
    this.#nodes.set(ino, make(ino, this.#options.now()));
    this.#name(parent.ino, [[basename(path), ino]], `${call} ${path}`);
    return ino;
  }

  async mkdir(path: string): Promise<void> {
    await this.turn();
    if (find(this.#nodes, path) === undefined) {
      await this.mkdir(dirname(path));
      if (find(this.#nodes, path) === undefined) this.mkdirNow(path);
    }
    await this.syncDirectory(dirname(path));
  }

  /** Makes one directory without waiting, and without a sync. */
  mkdirNow(path: string): void {
    if (find(this.#nodes, path) !== undefined) throw systemError('EEXIST');
    this.#make(path, 'mkdir', (ino, mtimeMs) => directoryOf(ino, mtimeMs));
  }

  async link(from: string, to: string): Promise<void> {
    await this.turn();
    if (this.#options.hardLinks === false) throw systemError('EPERM');
    const ino = this.#present(from);
    if (find(this.#nodes, to) !== undefined) throw systemError('EEXIST');
    this.#name(this.#directory(dirname(to)).ino, [[basename(to), ino]], `link ${to}`);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.turn();
    this.renameNow(from, to);
  }

  /** Renames without waiting. Within a directory it is one change; across directories each half stands by itself. */
  renameNow(from: string, to: string): void {
    const ino = this.#present(from);
    const [source, target] = [this.#directory(dirname(from)).ino, this.#directory(dirname(to)).ino];
    const call = `rename ${from} ${to}`;
    const halves: Naming = [
      [basename(to), ino],
      [basename(from), undefined],
    ];
    if (source === target) this.#name(source, halves, call);
    else {
      this.#name(target, halves.slice(0, 1), undefined);
      this.#name(source, halves.slice(1), call);
    }
  }

  async unlink(path: string): Promise<void> {
    await this.turn();
    this.#present(path);
    this.#name(this.#directory(dirname(path)).ino, [[basename(path), undefined]], `unlink ${path}`);
  }

  async readdir(path: string): Promise<string[]> {
    await this.turn();
    this.#directory(path);
    return namesIn(this.#nodes, path);
  }

  async lstat(path: string): Promise<Stats | undefined> {
    await this.turn();
    const ino = find(this.#nodes, path);
    return ino === undefined ? undefined : this.statOf(ino);
  }

  /** There are no symbolic links. */
  stat(path: string): Promise<Stats | undefined> {
    return this.lstat(normalize(path));
  }

  /** It keeps no figures. */
  room(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  syncDirectory(path: string): Promise<void> {
    return this.sync(this.#directory(path).ino);
  }

  /** What was changed when it was called is on stable storage when it resolves. */
  async sync(ino: number): Promise<void> {
    const begun = this.node(ino).pending;
    await this.turn('sync');
    this.#nodes.set(ino, synced(this.node(ino), begun));
  }

  /** Appends to a file without waiting, all or nothing. */
  writeNow(path: string, data: Buffer): void {
    const ino = this.#present(path);
    this.change(ino, { at: (this.node(ino) as FileNode).content.length, data, whole: true }, `write ${path}`);
  }

  /** Syncs the names in a directory without waiting. */
  syncDirectoryNow(path: string): void {
    const node = this.#directory(path);
    this.#nodes.set(node.ino, synced(node, node.pending));
  }

  node(ino: number): Node {
    const node = this.#nodes.get(ino);
    if (node === undefined) throw new Error(`nothing has the number ${ino}`);
    return node;
  }

  /** Whether a write to this path finds no room; to be asked once for each. */
  isFull(path: string): boolean {
    const { full } = this.#options;
    if (full?.path !== path) return false;
    this.#writes += 1;
    return this.#writes === full.nth;
  }

  /** Changes a file's content. */
  change(ino: number, change: Change, call: string): void {
    const node = this.node(ino) as FileNode;
    const content = changed(node.content, change);
    const pending = [...node.pending, change];
    this.#nodes.set(ino, { ...node, content, pending, mtimeMs: this.#options.now() });
    this.#recorded(call);
  }

  statOf(ino: number): Stats {
    const node = this.node(ino);
    const isFile = node.kind === 'file';
    // Only what is asked for: every field would take longer than the rest of the call.
    const stat = {
      ...{ dev: 1, ino, mtimeMs: node.mtimeMs, nlink: linksOf(this.#nodes, ino) },
      // All of it is the user's who asks.
      ...{ uid: UID, gid: GID, mode: isFile ? 0o100600 : 0o040700 },
      size: isFile ? node.content.length : 0,
      isFile: isFile ? yes : no,
      isDirectory: isFile ? no : yes,
      isSymbolicLink: no,
    };
    return stat as unknown as Stats;
  }

  #name(ino: number, naming: Naming, call: string | undefined): void {
    const node = this.node(ino) as DirectoryNode;
    this.#nodes.set(ino, { ...node, names: renamed(node.names, naming), pending: [...node.pending, naming] });
    if (call !== undefined) this.#recorded(call);
  }

  #recorded(call: string): void {
    const { record } = this.#options;
    if (record === undefined) return;
    record(this.#nodes, call);
    this.#nodes = new Map(this.#nodes);
  }

  #present(path: string): number {
    const ino = find(this.#nodes, path);
    if (ino === undefined) throw systemError('ENOENT');
    return ino;
  }

  #directory(path: string): DirectoryNode {
    const node = this.node(this.#present(path));
    if (node.kind !== 'directory') throw systemError('ENOTDIR');
    return node;
  }
}

const [UID, GID] = [process.geteuid?.() ?? -1, process.getegid?.() ?? -1];
const yes = (): boolean => true;
const no = (): boolean => false;

/** An open file of it. */
export class WeakFile implements DiskFile {
  #lock: number | undefined;

  constructor(
    private readonly disk: WeakDisk,
    readonly ino: number,
    readonly path: string,
    private readonly appends: boolean,
    private readonly lockPath: string,
    private readonly closed: () => void,
  ) {}

  #at = 0;

  /** Only locks ask for it. */
  get fd(): number {
    this.#lock ??= openSync(this.lockPath, constants.O_RDWR | constants.O_CREAT, 0o600);
    return this.#lock;
  }

  get #content(): Buffer {
    return (this.disk.node(this.ino) as FileNode).content;
  }

  async write(data: Buffer): Promise<void> {
    await this.disk.turn();
    const at = this.appends ? this.#content.length : this.#at;
    const full = this.disk.isFull(this.path);
    // The memory is its owner's, who may use it again.
    const written = Buffer.from(full ? data.subarray(0, data.length >> 1) : data);
    this.disk.change(this.ino, { at, data: written }, `write ${this.path}`);
    if (full) throw systemError('ENOSPC');
    this.#at = at + data.length;
  }

  async read(position: number, length: number, into?: Buffer): Promise<Buffer> {
    await this.disk.turn();
    const found = this.#content.subarray(position, position + length);
    if (into === undefined) return Buffer.from(found);
    found.copy(into);
    return into.subarray(0, found.length);
  }

  async stat(): Promise<Stats> {
    await this.disk.turn();
    return this.disk.statOf(this.ino);
  }

  async truncate(length: number): Promise<void> {
    await this.disk.turn();
    this.disk.change(this.ino, { length }, `truncate ${this.path}`);
  }

  sync(): Promise<void> {
    return this.disk.sync(this.ino);
  }

  datasync(): Promise<void> {
    return this.disk.sync(this.ino);
  }

  async close(): Promise<void> {
    await this.disk.turn();
    this.letGo();
  }

  /** Closes without waiting. */
  letGo(): void {
    if (this.#lock !== undefined) closeSync(this.#lock);
    this.#lock = undefined;
    this.closed();
  }
}
