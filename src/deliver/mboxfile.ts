/** What is done to the octets of a locked mbox: look at its end, append, compare, cut off what was never finished. */
import { createHash } from 'node:crypto';
import type { DiskFile } from '../disk.js';
import { PopfetchError } from '../errors.js';

const FROM = Buffer.from('From ');

/** Octets before the end that show whether the file up to there is still the same. */
const ANCHOR = 4096;

/** Octets written or read at once. */
const PIECE = 1_048_576;

/** Octets that can be read anywhere. */
export interface Octets {
  readonly length: number;
  /** Up to `length` octets from `position`, not to be changed. They may be put `into` memory with room for them, if given. */
  read(position: number, length: number, into?: Buffer): Promise<Buffer>;
}

/** Octets in memory. */
export function octetsOf(buffer: Buffer): Octets {
  const read = (at: number, length: number): Promise<Buffer> =>
    Promise.resolve(buffer.subarray(at, at + length));
  return { length: buffer.length, read };
}

/** Some octets of a file. */
export function octetsIn(file: Pick<DiskFile, 'read'>, from: number, length: number): Octets {
  return { length, read: (at, count, into) => file.read(from + at, Math.min(count, length - at), into) };
}

/** The end of an mbox, where the next message goes. */
export interface MboxEnd {
  /** Octets in the file. */
  readonly size: number;
  /** What is missing there before a `From ` line may follow: the end of a line, an empty line. */
  readonly pad: string;
  /** SHA-256 (hex) of the octets before. */
  readonly anchor: string;
}

/** Looks at the end of an mbox. @throws CREATE when it is something else than an mbox */
export async function mboxEnd(file: DiskFile, size: number, eol: 'lf' | 'crlf'): Promise<MboxEnd> {
  if (size > 0 && !(await file.read(0, FROM.length)).equals(FROM)) {
    throw new PopfetchError('CREATE', `${file.path} is not an mbox: it does not begin with "From "`, {
      phase: 'destination',
      remedy: 'deliver to another file, or move this one away',
    });
  }
  const tail = await tailBefore(file, size);
  const lines = /(?:^|\n\r?\n)$/.test(tail.toString('latin1')) ? 0 : tail[tail.length - 1] === 0x0a ? 1 : 2;
  return { size, pad: (eol === 'crlf' ? '\r\n' : '\n').repeat(lines), anchor: hashOf(tail) };
}

/** SHA-256 (hex) of the last octets before `position`. */
export async function anchorAt(file: DiskFile, position: number): Promise<string> {
  return hashOf(await tailBefore(file, position));
}

function tailBefore(file: DiskFile, position: number): Promise<Buffer> {
  const from = Math.max(0, position - ANCHOR);
  return file.read(from, position - from);
}

function hashOf(octets: Buffer): string {
  return createHash('sha256').update(octets).digest('hex');
}

/** SHA-256 (hex) of all of them. */
export async function sha256Of(octets: Octets): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of piecesOf([octets])) hash.update(piece);
  return hash.digest('hex');
}

/**
 * All octets in order, in pieces of up to 1 MiB. Ends early where a source turns out shorter than it said. A piece
 * holds good until the next one is asked for: all are in the same memory, because one of its own for each would leave
 * a hundred MiB of a large message to the garbage collector before that begins to work.
 */
export async function* piecesOf(parts: readonly Octets[]): AsyncGenerator<Buffer, void, undefined> {
  // Not from Node's pool, so that what stands in it can be told from what does not.
  const memory = Buffer.allocUnsafeSlow(Math.min(PIECE, lengthOf(parts)));
  let filled = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length;) {
      const room = memory.subarray(filled, filled + part.length - at);
      const octets = await part.read(at, room.length, room);
      if (octets.length === 0) break;
      if (octets.buffer !== memory.buffer) octets.copy(room);
      at += octets.length;
      filled += octets.length;
      if (filled < memory.length) continue;
      yield memory;
      filled = 0;
    }
  }
  if (filled > 0) yield memory.subarray(0, filled);
}

/** Writes all parts at the end, and sees that they stand there as a whole. @throws DELIVERY when somebody wrote at the same time */
export async function append(file: DiskFile, end: number, parts: readonly Octets[]): Promise<void> {
  for await (const piece of piecesOf(parts)) await file.write(piece);
  const { size } = await file.stat();
  const length = lengthOf(parts);
  if (size === end + length) return;
  // Somebody wrote without a lock. Before ours or behind it does no harm, in between it does.
  for (const at of new Set([end, size - length])) {
    if (at >= 0 && (await agrees(file, at, size, parts, (a, b) => a === b))) return;
  }
  throw new PopfetchError('DELIVERY', `${file.path}: another program wrote to it without locking it`, {
    phase: 'deliver',
    remedy: 'find out which one, or deliver to a Maildir, which needs no locks',
  });
}

/**
 * Cuts off what an append of `parts` at `from` left unfinished. Does not sync: where a sync has failed, another one on
 * the same file means nothing.
 * @returns false, with nothing changed, when anything else than octets of these parts in their places (or zeros, which
 * a power cut leaves) stands from there to the end of the file
 */
export async function cutOff(file: DiskFile, from: number, parts: readonly Octets[]): Promise<boolean> {
  const { size } = await file.stat();
  if (size === from) return true;
  if (size < from || size > from + lengthOf(parts)) return false;
  if (!(await agrees(file, from, size, parts, (found, ours) => found === ours || found === 0))) return false;
  if ((await file.stat()).size !== size) return false;
  await file.truncate(from);
  return true;
}

function lengthOf(parts: readonly Octets[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

/** Whether the file holds the parts from `from` on, as far as it goes. */
async function agrees(
  file: DiskFile,
  from: number,
  size: number,
  parts: readonly Octets[],
  same: (found: number, ours: number) => boolean,
): Promise<boolean> {
  let at = from;
  for await (const piece of piecesOf(parts)) {
    const count = Math.min(piece.length, size - at);
    const found = await file.read(at, count);
    if (found.length !== count) return false;
    if (
      !piece.subarray(0, count).equals(found) &&
      !found.every((octet, index) => same(octet, piece[index] ?? -1))
    ) {
      return false;
    }
    at += count;
    if (at === size) return true;
  }
  return at === from + lengthOf(parts);
}
