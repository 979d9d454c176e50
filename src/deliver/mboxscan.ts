/** Tells messages in an mbox apart by what mail readers leave alone when they rewrite it. Pure. */
import { createHash, type Hash } from 'node:crypto';
import { LineFeeds } from './lines.js';

const LF = 0x0a;
const LFS = Buffer.alloc(4096, LF);

/** Header fields in which mail readers keep their notes. */
const NOTES = /^(?:status|x-status|x-keywords|x-uid|x-imap|x-imapbase|content-length|lines):/i;

/** Octets of a line that show what it is: the longest name above and its colon. */
const SHOWN = 'content-length:'.length;

/**
 * Reads an mbox, or one message of it with its `From ` line, in pieces of any size, and reports a hash of each
 * message's content: without its `From ` line, the notes of mail readers, and empty lines at its end; CRLF counts as LF.
 */
export class MboxScan {
  readonly #found: (content: string) => void;
  readonly #lineFeeds = new LineFeeds();
  /** Of the message that is being read. */
  #hash: Hash | undefined;
  #inHeader = true;
  /** Whether the line (and what continues it) is left out. */
  #leftOut = false;
  /** The first octets of a line, while they do not yet show what it is; undefined within a line. */
  #opening: string | undefined = '';
  /** Line ends that count only if something follows them. */
  #lineEnds = 0;

  /** @param found called with SHA-256 (hex) at the end of each message */
  constructor(found: (content: string) => void) {
    this.#found = found;
  }

  /** Takes the next piece, which may be changed in place. */
  push(piece: Buffer): void {
    this.#take(this.#lineFeeds.push(piece));
  }

  /** To be called once. */
  end(): void {
    this.#take(this.#lineFeeds.end());
    if (this.#opening !== undefined && this.#opening !== '') this.#open(this.#opening);
    this.#finish();
  }

  #take(octets: Buffer): void {
    let at = 0;
    while (at < octets.length) {
      at = this.#opening === undefined ? this.#within(octets, at) : this.#start(octets, at, this.#opening);
    }
  }

  /** Takes the start of a line, as far as it is there; returns where to go on. */
  #start(octets: Buffer, from: number, opening: string): number {
    const wanted = from + SHOWN - opening.length;
    const lineEnd = octets.subarray(from, wanted).indexOf(LF);
    const to = lineEnd < 0 ? Math.min(wanted, octets.length) : from + lineEnd;
    const shown = opening + octets.toString('latin1', from, to);
    if (lineEnd < 0 && shown.length < SHOWN) this.#opening = shown;
    else this.#open(shown);
    return to;
  }

  /** Decides what a line is. */
  #open(shown: string): void {
    this.#opening = undefined;
    if (shown.startsWith('From ')) {
      this.#finish();
      this.#hash = createHash('sha256');
      this.#inHeader = true;
      this.#leftOut = true;
      return;
    }
    if (!this.#inHeader) this.#leftOut = false;
    else if (shown === '') this.#leftOut = this.#inHeader = false;
    else if (!/^[ \t]/.test(shown)) this.#leftOut = NOTES.test(shown);
    this.#count(Buffer.from(shown, 'latin1'));
  }

  /** Takes the rest of a line, as far as it is there; returns where to go on. */
  #within(octets: Buffer, from: number): number {
    const lineEnd = octets.indexOf(LF, from);
    this.#count(octets.subarray(from, lineEnd < 0 ? octets.length : lineEnd));
    if (lineEnd < 0) return octets.length;
    if (!this.#leftOut) this.#lineEnds += 1;
    this.#opening = '';
    return lineEnd + 1;
  }

  #count(octets: Buffer): void {
    if (this.#hash === undefined || this.#leftOut || octets.length === 0) return;
    for (; this.#lineEnds > 0; this.#lineEnds -= Math.min(this.#lineEnds, LFS.length)) {
      this.#hash.update(LFS.subarray(0, this.#lineEnds));
    }
    this.#hash.update(octets);
  }

  #finish(): void {
    if (this.#hash !== undefined) this.#found(this.#hash.digest('hex'));
    this.#hash = undefined;
    this.#lineEnds = 0;
  }
}
