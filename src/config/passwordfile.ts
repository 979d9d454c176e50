/** Files with a password in them: read through one handle, so that what is checked is what is read. */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { errno } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { refuseReadable } from './permissions.js';

export interface PasswordFile {
  readonly path: string;
  /** What it is, for errors: `the password file /home/taro/pw`. */
  readonly from: string;
  /** Octets that are read at most. */
  readonly most: number;
  /** Whether the place of the file keeps others away, whatever the mode of the file says. */
  readonly sheltered?: boolean;
}

/**
 * The beginning of a file.
 * @throws PopfetchError PERMISSION when others can read it or we cannot, CONFIG when it is not there or no regular file.
 */
export async function readPasswordFile({
  path,
  from,
  most,
  sheltered = false,
}: PasswordFile): Promise<Buffer> {
  const handle = await openFile(path, from);
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw failure('CONFIG', `${from} is not a regular file`, 'name a file');
    if (!sheltered) refuseReadable(path, stats);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(most), 0, most, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

async function openFile(path: string, from: string): Promise<FileHandle> {
  try {
    // A pipe would keep a blocking open() waiting for its writer.
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = errno(error);
    const kind = code === 'EACCES' ? 'PERMISSION' : 'CONFIG';
    throw failure(kind, `cannot read ${from}: ${code ?? 'error'}`, 'check its name and permissions');
  }
}

/** The octets as text. @throws PopfetchError CONFIG when they are not UTF-8: it would be another password. */
export function textOf(octets: Buffer, from: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(octets);
  } catch {
    throw failure('CONFIG', `${from} is not UTF-8 text`, 'save it as UTF-8');
  }
}

/** The first line, without its end. @throws PopfetchError CONFIG when it is not UTF-8 */
export function firstLine(octets: Buffer, from: string): string {
  const end = octets.indexOf('\n');
  return textOf(end === -1 ? octets : octets.subarray(0, end), from).replace(/\r$/, '');
}

function failure(code: 'CONFIG' | 'PERMISSION', what: string, remedy: string): PopfetchError {
  return new PopfetchError(code, what, { remedy });
}
