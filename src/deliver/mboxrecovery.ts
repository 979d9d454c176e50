/** After a crash: which messages are in the mbox, and away with what is only half in it. */
import type { Stats } from 'node:fs';
import type { DiskFile } from '../disk.js';
import type { Intent } from './destination.js';
import { anchorAt, cutOff, octetsIn, octetsOf, piecesOf, sha256Of, type Octets } from './mboxfile.js';
import { MboxScan } from './mboxscan.js';
import type { Spool, SpoolFile } from './spool.js';

/** Octets of a message by which a fragment of it is recognised. */
const GLIMPSE = 64;

/** An intent, read. */
interface Work {
  readonly uid: string;
  /** Of the file when it was locked. (Its device number may change with a reboot.) */
  readonly ino: number;
  /** Where the batch began, and the hash of what was before. */
  readonly start: number;
  readonly anchor: string;
  /** What was written just before this message to end the one before. */
  readonly pad: string;
  readonly offset: number;
  readonly length: number;
  readonly sum: string;
  /** Whether its sync failed: what can be read there now may be gone later. */
  readonly unsynced: boolean;
  readonly spool: string;
  readonly from: number;
}

/** Goes through the intents of a locked mbox. Methods throw what the disk throws. */
export class MboxRecovery {
  readonly #file: DiskFile;
  readonly #spool: Spool;
  readonly #note: (sentence: string) => void;
  readonly #spools = new Map<string, Promise<SpoolFile | undefined>>();

  constructor(file: DiskFile, spool: Spool, note: (sentence: string) => void) {
    this.#file = file;
    this.#spool = spool;
    this.#note = note;
  }

  /** @returns the uids that are durably and wholly in the mbox. Of the others nothing is left, if nobody wrote behind them. */
  async run(unfinished: readonly Intent[]): Promise<string[]> {
    try {
      const work = unfinished.map(read).sort((a, b) => a.offset - b.offset);
      const delivered = await this.#decide(work, await this.#file.stat());
      await this.#file.sync();
      return [...delivered].map(({ uid }) => uid);
    } finally {
      for (const file of this.#spools.values()) await file.then((each) => each?.close()).catch(ignore);
    }
  }

  async #decide(work: readonly Work[], stat: Stats): Promise<ReadonlySet<Work>> {
    const whole = new Set<Work>();
    for (const each of work) if (await this.#stands(each, stat)) whole.add(each);
    const open: Work[] = [];
    let end = Infinity;
    for (const each of work) {
      if (whole.has(each) || each.offset >= end) continue;
      // What stands behind a message that is cut off was never synced either: it goes, too.
      if (await this.#cut(each, work, stat)) end = each.offset;
      else open.push(each);
    }
    const standing = [...whole].filter(({ offset }) => offset < end);
    return new Set([...standing, ...(await this.#search(open))]);
  }

  /** Whether the message is where it was meant to be, and no sync of it has failed. */
  async #stands({ offset, length, sum, unsynced }: Work, { size }: Stats): Promise<boolean> {
    if (unsynced) return false;
    return offset + length <= size && (await sha256Of(octetsIn(this.#file, offset, length))) === sum;
  }

  /** Cuts the mbox where this message would begin; false where anything but unfinished work of ours stands there. */
  async #cut(first: Work, work: readonly Work[], stat: Stats): Promise<boolean> {
    if (!(await this.#untouched(first, stat))) return false;
    const parts: Octets[] = [];
    let end = first.offset - first.pad.length;
    const begin = end;
    for (const each of work) {
      if (each.offset - each.pad.length !== end) continue;
      parts.push(octetsOf(Buffer.from(each.pad)), await this.#octets(each));
      end = each.offset + each.length;
    }
    return cutOff(this.#file, begin, parts);
  }

  /** Whether the file up to this batch is what it was. */
  async #untouched({ ino, start, anchor }: Work, stat: Stats): Promise<boolean> {
    if (stat.ino !== ino || stat.size < start) return false;
    return (await anchorAt(this.#file, start)) === anchor;
  }

  /** The octets that were to be written; nothing but zeros where the spool no longer has them. */
  async #octets({ spool, from, length }: Work): Promise<Octets> {
    const file = await this.#open(spool);
    if (file !== undefined && (await file.stat()).size >= from + length) return octetsIn(file, from, length);
    return { length, read: (_, count) => Promise.resolve(Buffer.alloc(count)) };
  }

  #open(name: string): Promise<SpoolFile | undefined> {
    const known = this.#spools.get(name);
    if (known !== undefined) return known;
    const opened = this.#spool.open(name);
    this.#spools.set(name, opened);
    return opened;
  }

  /**
   * Looks through the whole mbox, because a mail reader may have rewritten it since. Each message found counts once.
   */
  async #search(work: readonly Work[]): Promise<Work[]> {
    const stat = await this.#file.stat();
    if (work.length === 0 || stat.size === 0) return [];
    const found = new Map<string, number>();
    await scan(octetsIn(this.#file, 0, stat.size), (content) => {
      found.set(content, (found.get(content) ?? 0) + 1);
    });
    const delivered: Work[] = [];
    for (const each of work) {
      const content = await this.#content(each);
      const left = content === undefined ? 0 : (found.get(content) ?? 0);
      if (content !== undefined && left > 0) {
        found.set(content, left - 1);
        delivered.push(each);
      } else await this.#noteFragment(each, stat);
    }
    return delivered;
  }

  async #content(work: Work): Promise<string | undefined> {
    const octets = await this.#octets(work);
    if ((await sha256Of(octets)) !== work.sum) return undefined;
    let content: string | undefined;
    await scan(octets, (each) => {
      content = each;
    });
    return content;
  }

  async #noteFragment(work: Work, stat: Stats): Promise<void> {
    if (stat.size <= work.offset || !(await this.#untouched(work, stat))) return;
    const ours = await (await this.#octets(work)).read(0, GLIMPSE);
    if (!(await this.#file.read(work.offset, ours.length)).equals(ours)) return;
    this.#note(
      `${this.#file.path}: octet ${work.offset} begins a part of a message that was interrupted; another program ` +
        'wrote behind it, so it stays, and the whole message is delivered as well',
    );
  }
}

/** Reports the content of each message in an mbox. */
async function scan(octets: Octets, found: (content: string) => void): Promise<void> {
  const messages = new MboxScan(found);
  for await (const piece of piecesOf([octets])) messages.push(piece);
  messages.end();
}

function read({ uid, details }: Intent): Work {
  const { ino, start, anchor, pad, offset, length, sum, unsynced, spool, from } = details;
  return {
    uid,
    ...{ ino: Number(ino), start: Number(start), anchor: String(anchor), pad: String(pad) },
    ...{ offset: Number(offset), length: Number(length), sum: String(sum) },
    unsynced: unsynced !== undefined,
    ...{ spool: String(spool), from: Number(from) },
  };
}

function ignore(): void {
  // Of a file that was only read nothing is lost.
}
