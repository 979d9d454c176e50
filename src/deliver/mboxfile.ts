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
  /** Up to `length` octets from `position`, not to be changed. */
  read(position: number, length: number): Promise<Buffer>;
}

/** Octets in memory. */
export function octetsOf(buffer: Buffer): Octets {
  const read = (at: number, length: number): Promise<Buffer> =>
    Promise.resolve(buffer.subarray(at, at + length));
  return { length: buffer.length, read };
}

/** Some octets of a file. */
export function octetsIn(file: DiskFile, from: number, length: number): Octets {
  return { length, read: (at, count) => file.read(from + at, Math.min(count, length - at)) };
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

/** All octets in order, in pieces of up to 1 MiB. Ends early where a source turns out shorter than it said. */
export async function* piecesOf(parts: readonly Octets[]): AsyncGenerator<Buffer, void, undefined> {
  let pending: Buffer[] = [];
  let size = 0;
  for (const part of parts) {
    for (let at = 0; at < part.length;) {
      const piece = await part.read(at, Math.min(PIECE - size, part.length - at));
      if (piece.length === 0) break;
      at += piece.length;
      pending.push(piece);
      size += piece.length;
      if (size < PIECE) continue;
      yield joined(pending);
      pending = [];
      size = 0;
    }
  }
  if (size > 0) yield joined(pending);
}

/** One piece of many; a single one is not copied. */
function joined(pieces: readonly Buffer[]): Buffer {
  const [first] = pieces;
  return pieces.length === 1 && first !== undefined ? first : Buffer.concat(pieces);
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
 * Cuts off what an append of `parts` at `from` left unfinished.
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
  await file.sync();
  return true;
}

export function lengthOf(parts: readonly Octets[]): number {
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
