/**
 * A weak file system, as a value: what programs see, and what is on stable storage. Between the two stand changes that
 * nobody has synced. Every one of them may survive a power cut or not, whatever becomes of the others.
 */

/** A change to a file's content: octets put somewhere (`whole`: not to be torn), or another length. */
export type Change =
  | { readonly at: number; readonly data: Buffer; readonly whole?: boolean }
  | { readonly length: number; readonly data?: undefined };

/** Changes to the names of one directory that happen all or none: `undefined` removes the name. */
export type Naming = readonly (readonly [name: string, ino: number | undefined])[];

export interface FileNode {
  readonly kind: 'file';
  readonly ino: number;
  readonly mtimeMs: number;
  /** What programs read. */
  readonly content: Buffer;
  /** What is on stable storage, without the changes. */
  readonly durable: Buffer;
  readonly pending: readonly Change[];
}

export interface DirectoryNode {
  readonly kind: 'directory';
  readonly ino: number;
  readonly mtimeMs: number;
  readonly names: ReadonlyMap<string, number>;
  readonly durable: ReadonlyMap<string, number>;
  readonly pending: readonly Naming[];
}

export type Node = FileNode | DirectoryNode;

/** All files and directories of a moment, by number. Never changed: the next moment is another map. */
export type Image = ReadonlyMap<number, Node>;

/** The number of `/`. */
export const ROOT = 2;

/** A disk with nothing on it. */
export function emptyImage(): Image {
  return new Map([[ROOT, directoryOf(ROOT, 0)]]);
}

export function directoryOf(
  ino: number,
  mtimeMs: number,
  names: ReadonlyMap<string, number> = new Map(),
): DirectoryNode {
  return { kind: 'directory', ino, mtimeMs, names, durable: names, pending: [] };
}

export function fileOf(ino: number, mtimeMs: number, content: Buffer = Buffer.alloc(0)): FileNode {
  return { kind: 'file', ino, mtimeMs, content, durable: content, pending: [] };
}

/** The content after a change; what a write leaves out before it is zeros. */
export function changed(content: Buffer, change: Change): Buffer {
  if (change.data === undefined) {
    if (change.length <= content.length) return content.subarray(0, change.length);
    return Buffer.concat([content], change.length);
  }
  const { at, data } = change;
  if (at === content.length) return content.length === 0 ? data : Buffer.concat([content, data]);
  const result = Buffer.alloc(Math.max(content.length, at + data.length));
  content.copy(result);
  data.copy(result, at);
  return result;
}

/** The names after a change. */
export function renamed(names: ReadonlyMap<string, number>, naming: Naming): Map<string, number> {
  const result = new Map(names);
  for (const [name, ino] of naming) {
    if (ino === undefined) result.delete(name);
    else result.set(name, ino);
  }
  return result;
}

/** The node after a sync that began when `begun` were its unsynced changes: those are on stable storage. */
export function synced(node: Node, begun: readonly unknown[]): Node {
  const stays = (change: unknown): boolean => !begun.includes(change);
  const goes = (change: unknown): boolean => begun.includes(change);
  if (node.kind === 'file') {
    const durable = node.pending.filter(goes).reduce<Buffer>(changed, node.durable);
    return { ...node, durable, pending: node.pending.filter(stays) };
  }
  const durable = node.pending.filter(goes).reduce<ReadonlyMap<string, number>>(renamed, node.durable);
  return { ...node, durable, pending: node.pending.filter(stays) };
}

/** The number of what is at a path, by what programs see; undefined where nothing is. */
export function find(image: Image, path: string): number | undefined {
  let ino: number | undefined = ROOT;
  for (const name of path.split('/')) {
    if (name === '') continue;
    const node: Node | undefined = image.get(ino);
    if (node?.kind !== 'directory') return undefined;
    ino = node.names.get(name);
    if (ino === undefined) return undefined;
  }
  return ino;
}

/** How many names a file has. */
export function linksOf(image: Image, ino: number): number {
  let links = 0;
  for (const node of image.values()) {
    if (node.kind !== 'directory') continue;
    for (const each of node.names.values()) if (each === ino) links += 1;
  }
  return links;
}

/** The names in a directory, sorted; none where it is not there. */
export function namesIn(image: Image, path: string): string[] {
  const node = image.get(find(image, path) ?? 0);
  return node?.kind === 'directory' ? [...node.names.keys()].sort() : [];
}

/** What programs read in a file; undefined where it is not there. */
export function contentAt(image: Image, path: string): Buffer | undefined {
  const node = image.get(find(image, path) ?? 0);
  return node?.kind === 'file' ? node.content : undefined;
}
