/** Messages that lie in a Maildir: found by the key in their names, and what they are told by read off their files. */
import { join } from 'node:path';
import type { Disk, DiskFile } from '../disk.js';
import { Digest, Intake, type Facts } from './lines.js';

/** Octets read at once. */
const READ = 1_048_576;

const CR = 0x0d;
const LF = 0x0a;

/**
 * The messages of a mailbox in new/ and cur/ of a Maildir, by key; none where there is no such folder.
 * @param tag the mailbox (`mailboxTag()`)
 * @returns the path of each. A reader may move it at any moment. @throws what the disk throws
 */
export async function storedFiles(disk: Disk, path: string, tag: string): Promise<Map<string, string>> {
  const pattern = new RegExp(`A${tag}K([a-z2-7]{26})`);
  const found = new Map<string, string>();
  // In this order: a reader moves messages from new to cur, and one that moves meanwhile is seen at least once.
  for (const folder of ['new', 'cur'].map((name) => join(path, name))) {
    if ((await disk.lstat(folder)) === undefined) continue;
    for (const name of await disk.readdir(folder)) {
      const key = pattern.exec(name)?.[1];
      if (key !== undefined) found.set(key, join(folder, name));
    }
  }
  return found;
}

/** What is known of a message from its file. */
export interface StoredMail extends Facts {
  /** When the file was last changed, in milliseconds since 1970. */
  readonly time: number;
}

/**
 * Reads a message's facts off its file, stored with `eol: lf` or `crlf`. Where it is LF, every line is taken to have
 * ended in CRLF when it was received: a message with bare LFs is counted as longer than it was.
 * @throws what the disk throws
 */
export async function readStored(disk: Disk, path: string): Promise<StoredMail> {
  const file = await disk.open(path, 'read');
  try {
    const { mtimeMs } = await file.stat();
    return { ...(await factsOf(file)), time: Math.floor(mtimeMs) };
  } finally {
    await file.close();
  }
}

async function factsOf(file: DiskFile): Promise<Facts> {
  let position = 0;
  let reader: Reader | undefined;
  for (;;) {
    const piece = await file.read(position, READ);
    if (piece.length === 0) return (reader ?? new LfReader()).facts();
    reader ??= endsInCrlf(piece) ? new CrlfReader() : new LfReader();
    position += piece.length;
    reader.push(piece);
  }
}

function endsInCrlf(piece: Buffer): boolean {
  const end = piece.indexOf(LF);
  return end > 0 && piece[end - 1] === CR;
}

interface Reader {
  push(piece: Buffer): void;
  /** To be called once. */
  facts(): Facts;
}

/** Of a message that is stored as it came. */
class CrlfReader implements Reader {
  readonly #intake = new Intake('lf');

  push(piece: Buffer): void {
    this.#intake.push(piece);
  }

  facts(): Facts {
    this.#intake.end();
    return this.#intake.facts();
  }
}

/** Of a message whose every CRLF is stored as LF. */
class LfReader implements Reader {
  readonly #digest = new Digest();
  #octets = 0;

  push(piece: Buffer): void {
    this.#digest.push(piece);
    this.#octets += piece.length;
    for (let at = piece.indexOf(LF); at >= 0; at = piece.indexOf(LF, at + 1)) this.#octets += 1;
  }

  facts(): Facts {
    return { octets: this.#octets, ...this.#digest.end() };
  }
}
