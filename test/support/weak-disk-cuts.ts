/**
 * What a power cut may leave of a weak file system: for every change that was not synced, whether it survived, and of
 * the last write to a file also how much of it. All of them, or one by chance.
 */
import { createHash } from 'node:crypto';
import {
  changed,
  directoryOf,
  fileOf,
  find,
  renamed,
  ROOT,
  type Change,
  type DirectoryNode,
  type FileNode,
  type Image,
  type Naming,
  type Node,
} from './weak-disk-model.js';
import { pick, type Random } from './random.js';

/** Unsynced changes of one file, or renames that hang together, of which every subset is tried. */
const MOST = 8;

/** What may have become of some names of one directory. */
type Names = ReadonlyMap<string, number | undefined>;

interface NameChoice {
  readonly directory: number;
  readonly outcomes: readonly Names[];
}

/** What can be found from the root. */
interface Reached {
  readonly directories: readonly Node[];
  readonly files: readonly FileNode[];
}

/** The power cuts that are possible at one moment. Equal outcomes of one file or name count once. */
export class Cuts {
  readonly #image: Image;
  readonly #coarse: ReadonlySet<number | undefined>;
  readonly #choices: readonly NameChoice[];
  readonly #contents = new Map<number, readonly Buffer[]>();

  /** @param coarse paths of files whose content decides nothing: it is there or not, and not cut to pieces */
  constructor(image: Image, coarse: readonly string[] = []) {
    this.#image = image;
    this.#coarse = new Set(coarse.map((path) => find(image, path)));
    this.#choices = [...image.values()].flatMap((node) => (node.kind === 'directory' ? choicesOf(node) : []));
  }

  /** Whether there are no more than `limit`. */
  atMost(limit: number): boolean {
    let left = limit;
    const product = this.#choices.reduce((count, { outcomes }) => count * outcomes.length, 1);
    if (product > limit) return false;
    for (const names of this.#allNames()) {
      left -= this.#reachable(names).files.reduce((count, file) => count * this.#contentsOf(file).length, 1);
      if (left < 0) return false;
    }
    return true;
  }

  /** Every one of them. */
  *all(): Generator<Image> {
    for (const names of this.#allNames()) {
      const { directories, files } = this.#reachable(names);
      yield* this.#withContents(directories, files, (file) => this.#contentsOf(file));
    }
  }

  /** Nothing that was not synced survives, or all of it does. */
  *extremes(): Generator<Image> {
    for (const { directories, files, content } of this.#extremes()) {
      yield* this.#withContents(directories, files, (file) => [content(file)]);
    }
  }

  /** Those in which one write of no more than `most` octets is cut at each of them, and of all else nothing or all survives. */
  *torn(most: number): Generator<Image> {
    for (const { directories, files, content } of this.#extremes()) {
      for (const file of files) {
        const last = file.pending.at(-1);
        if (
          last?.data === undefined ||
          last.whole === true ||
          last.data.length > most ||
          this.#coarse.has(file.ino)
        )
          continue;
        const before = file.pending.slice(0, -1).reduce<Buffer>(changed, file.durable);
        const cuts: Buffer[] = [];
        for (let octets = 0; octets < last.data.length; octets += 1) cuts.push(tear(before, last, octets, 0));
        yield* this.#withContents(directories, files, (each) => (each === file ? cuts : [content(each)]));
      }
    }
  }

  #extremes(): (Reached & { content: (file: FileNode) => Buffer })[] {
    return [
      { ...this.#reach(({ durable }) => durable), content: ({ durable }) => durable },
      { ...this.#reach(({ names }) => names), content: ({ content }) => content },
    ];
  }

  /** Any of them, and such in which several writes are torn at any octet. */
  random(random: Random): Image {
    const { directories, files } = this.#reachable(
      this.#choices.map(({ directory, outcomes }) => [directory, pick(random, outcomes)]),
    );
    const contents = (file: FileNode): Buffer[] => [
      this.#coarse.has(file.ino) ? pick(random, this.#contentsOf(file)) : chance(file, random),
    ];
    for (const image of this.#withContents(directories, files, contents)) return image;
    throw new Error('a power cut leaves something');
  }

  *#allNames(): Generator<(readonly [number, Names])[]> {
    yield* product(
      this.#choices.map(({ directory, outcomes }) => outcomes.map((names) => [directory, names] as const)),
    );
  }

  /** What there is when these names have survived. */
  #reachable(chosen: readonly (readonly [number, Names])[]): Reached {
    return this.#reach(({ ino, durable }) => {
      const changes = chosen.filter(([directory]) => directory === ino).flatMap(([, names]) => [...names]);
      return changes.length === 0 ? durable : renamed(durable, changes);
    });
  }

  #reach(namesOf: (node: DirectoryNode) => ReadonlyMap<string, number>): Reached {
    const directories: Node[] = [];
    const files = new Set<FileNode>();
    const visit = (node: DirectoryNode): void => {
      const names = namesOf(node);
      directories.push(directoryOf(node.ino, node.mtimeMs, names));
      for (const number of names.values()) {
        const found = this.#image.get(number);
        if (found?.kind === 'file') files.add(found);
        else if (found !== undefined) visit(found);
      }
    };
    visit(this.#image.get(ROOT) as DirectoryNode);
    return { directories, files: [...files] };
  }

  *#withContents(
    directories: readonly Node[],
    files: readonly FileNode[],
    contents: (file: FileNode) => readonly Buffer[],
  ): Generator<Image> {
    for (const chosen of product(files.map(contents))) {
      const image = new Map(directories.map((node) => [node.ino, node]));
      for (const [index, { ino, mtimeMs }] of files.entries()) {
        image.set(ino, fileOf(ino, mtimeMs, chosen[index]));
      }
      yield image;
    }
  }

  #contentsOf(file: FileNode): readonly Buffer[] {
    const known = this.#contents.get(file.ino);
    if (known !== undefined) return known;
    const found = this.#coarse.has(file.ino) ? [file.durable, file.content] : contentsOf(file);
    const distinct = [...new Map(found.map((content) => [contentId(content), content])).values()];
    this.#contents.set(file.ino, distinct);
    return distinct;
  }
}

/** Names that no rename ties together are free of each other. */
function choicesOf(node: DirectoryNode): NameChoice[] {
  const groups: { names: Set<string>; namings: Naming[] }[] = [];
  for (const naming of node.pending) {
    const names = naming.map(([name]) => name);
    const tied = groups.filter((group) => names.some((name) => group.names.has(name)));
    const merged = {
      names: new Set([...names, ...tied.flatMap((group) => [...group.names])]),
      namings: node.pending.filter(
        (each) => each === naming || tied.some((group) => group.namings.includes(each)),
      ),
    };
    groups.splice(0, groups.length, ...groups.filter((group) => !tied.includes(group)), merged);
  }
  return groups.map(({ names, namings }) => ({
    directory: node.ino,
    outcomes: outcomesOf(node, [...names], namings),
  }));
}

function outcomesOf(node: DirectoryNode, names: readonly string[], namings: readonly Naming[]): Names[] {
  // The last survivor decides on a single name, however many there were.
  const survivors = names.length === 1 ? [[], ...namings.map((each) => [each])] : subsets(namings);
  const outcomes = new Map<string, Names>();
  for (const survived of survivors) {
    const result = survived.reduce<ReadonlyMap<string, number>>(renamed, node.durable);
    outcomes.set(
      names.map((name) => result.get(name) ?? '').join(' '),
      new Map(names.map((name) => [name, result.get(name)])),
    );
  }
  return [...outcomes.values()];
}

/** Every subset in order, the empty one first and the whole last. */
function subsets<T>(items: readonly T[]): T[][] {
  if (items.length > MOST) throw new Error(`${items.length} changes hang together: too many`);
  return Array.from({ length: 1 << items.length }, (_, bits) =>
    items.filter((_item, n) => ((bits >> n) & 1) === 1),
  );
}

function contentsOf(file: FileNode): Buffer[] {
  return subsets(file.pending).flatMap((survived) => {
    const last = survived.at(-1);
    const whole = survived.reduce<Buffer>(changed, file.durable);
    if (last?.data === undefined || last.whole === true) return [whole];
    const before = survived.slice(0, -1).reduce<Buffer>(changed, file.durable);
    const { length } = last.data;
    const half = length >> 1;
    return [
      tear(before, last, 1, 0),
      tear(before, last, half, 0),
      tear(before, last, length - 1, 0),
      // The length is there, and the octets are not: zeros for all, for the end, for the beginning.
      tear(before, last, 0, length),
      tear(before, last, half, length - half),
      changed(changed(before, { at: last.at, data: Buffer.alloc(length) }), {
        at: last.at + half,
        data: last.data.subarray(half),
      }),
      whole,
    ];
  });
}

/** The content when only the first octets of a write came through, with zeros behind them. */
function tear(
  before: Buffer,
  { at, data }: Extract<Change, { at: number }>,
  octets: number,
  zeros: number,
): Buffer {
  const torn = Buffer.concat([data.subarray(0, octets)], octets + zeros);
  return torn.length === 0 ? before : changed(before, { at, data: torn });
}

/** Each change by itself survives, or not, or (a write) in part. */
function chance(file: FileNode, random: Random): Buffer {
  let content = file.durable;
  for (const change of file.pending) {
    const luck = random();
    if (luck < 0.3) continue;
    if (change.data === undefined || change.whole === true || luck < 0.7) content = changed(content, change);
    else {
      const octets = Math.floor(random() * change.data.length);
      const zeros = luck < 0.85 ? 0 : Math.floor(random() * (change.data.length - octets + 1));
      content = tear(content, change, octets, zeros);
    }
  }
  return content;
}

function* product<T>(choices: readonly (readonly T[])[], from = 0): Generator<T[]> {
  const options = choices[from];
  if (options === undefined) {
    yield [];
    return;
  }
  for (const rest of product(choices, from + 1)) for (const option of options) yield [option, ...rest];
}

const ids = new WeakMap<Buffer, number>();
const known = new Map<string, number>();

/** Equal for equal content. */
function contentId(content: Buffer): number {
  const id = ids.get(content);
  if (id !== undefined) return id;
  const text =
    content.length <= 512 ? content.toString('latin1') : createHash('sha256').update(content).digest('hex');
  let number = known.get(text);
  if (number === undefined) known.set(text, (number = known.size));
  ids.set(content, number);
  return number;
}

/** Equal for disks on which the same names lead to the same files with the same content. */
export function imageId(image: Image): string {
  let id = '';
  const visit = (ino: number): void => {
    const node = image.get(ino);
    if (node?.kind === 'file') id += `${ino}=${contentId(node.content)};`;
    if (node?.kind !== 'directory') return;
    id += '{';
    for (const name of [...node.names.keys()].sort()) {
      id += `${name}:`;
      visit(node.names.get(name) ?? 0);
    }
    id += '}';
  };
  visit(ROOT);
  return id;
}
