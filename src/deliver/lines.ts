/**
 * What happens to the octets of a message on their way to a destination: line ends, `From ` quoting, digests. Pure,
 * and indifferent to where the octets are cut into pieces.
 */
import { createHash } from 'node:crypto';

/** Octets in, octets out, in pieces of any size. What it returns may share memory with what it was given. */
export interface Filter {
  /** Takes the next piece, which becomes the filter's own, and returns what can be said so far: perhaps nothing. */
  push(piece: Buffer): Buffer;
  /** Nothing more comes: returns what was held back. To be called once. */
  end(): Buffer;
}

const CR = 0x0d;
const LF = 0x0a;
const GREATER = 0x3e;
const NOTHING = Buffer.alloc(0);
const ONE_CR = Buffer.of(CR);
const ONE_GREATER = Buffer.of(GREATER);
const FROM = Buffer.from('From ');
const EMPTY_LINE = Buffer.of(LF, LF);

/** Turns every CRLF into LF, in place. A CR or LF alone is content and stays as it is. */
export class LineFeeds implements Filter {
  /** A CR at the end of a piece waits for what follows it. */
  #heldCr = false;

  push(piece: Buffer): Buffer {
    if (piece.length === 0) return piece;
    const octets = this.#heldCr && piece[0] !== LF ? Buffer.concat([ONE_CR, piece]) : piece;
    this.#heldCr = octets[octets.length - 1] === CR;
    return withoutCrs(octets);
  }

  end(): Buffer {
    return this.#heldCr ? Buffer.of(CR) : NOTHING;
  }
}

/** Moves the runs between dropped CRs together; a CR before LF and one at the very end are dropped. */
function withoutCrs(octets: Buffer): Buffer {
  const { length } = octets;
  let at = octets.indexOf(CR);
  if (at < 0) return octets;
  let written = 0;
  let from = 0;
  for (; at >= 0; at = octets.indexOf(CR, at + 1)) {
    if (at + 1 < length && octets[at + 1] !== LF) continue;
    if (written !== from) octets.copyWithin(written, from, at);
    written += at - from;
    from = at + 1;
  }
  if (written !== from) octets.copyWithin(written, from, length);
  return octets.subarray(0, written + length - from);
}

/** Puts one more `>` before every line that begins with any number of `>` and `From ` (the mboxrd form). */
export class FromQuoting implements Filter {
  /** Whether the next octet is the first of a line or has nothing but `>` before it. */
  #open = true;
  /** The beginning of what may become `From `. */
  #held: Buffer = NOTHING;

  push(piece: Buffer): Buffer {
    if (piece.length === 0) return piece;
    const octets = this.#held.length === 0 ? piece : Buffer.concat([this.#held, piece]);
    const end = octets.length - this.#unsure(octets);
    const parts: Buffer[] = [];
    let from = 0;
    for (let at = octets.indexOf(FROM); at >= 0; at = octets.indexOf(FROM, at + FROM.length)) {
      if (!this.#opens(octets, at)) continue;
      // Where among the other `>` it goes makes no difference, so they need not be held back.
      parts.push(octets.subarray(from, at), ONE_GREATER);
      from = at;
    }
    this.#open = this.#opens(octets, end);
    this.#held = end < octets.length ? Buffer.from(octets.subarray(end)) : NOTHING;
    if (parts.length === 0) return octets.subarray(0, end);
    parts.push(octets.subarray(from, end));
    return Buffer.concat(parts);
  }

  end(): Buffer {
    return this.#held;
  }

  /** Whether nothing but `>` stands between `at` and the start of its line. */
  #opens(octets: Buffer, at: number): boolean {
    let before = at - 1;
    while (before >= 0 && octets[before] === GREATER) before -= 1;
    return before < 0 ? this.#open : octets[before] === LF;
  }

  /** How many octets at the end may be the beginning of a `From ` to be quoted. */
  #unsure(octets: Buffer): number {
    for (let count = Math.min(FROM.length - 1, octets.length); count > 0; count -= 1) {
      const at = octets.length - count;
      if (octets.compare(FROM, 0, count, at) === 0) return this.#opens(octets, at) ? count : 0;
    }
    return 0;
  }
}

/** What identifies a message, wherever and however it is stored. */
export interface Facts {
  /** Octets received. */
  readonly octets: number;
  /** SHA-256 (hex) of the message with every CRLF as LF. */
  readonly sha256: string;
  /** SHA-256 (hex) of its header, the empty line included, with every CRLF as LF; of all of it where no empty line is. */
  readonly headerSha256: string;
}

/** Hashes a message whose line ends are LF. */
export class Digest {
  readonly #hash = createHash('sha256');
  #header: string | undefined;
  /** Whether the next octet opens a line: an LF there ends the header. */
  #lineStart = true;

  push(octets: Buffer): void {
    let rest = octets;
    if (this.#header === undefined) {
      const end = this.#headerEnd(octets);
      if (end >= 0) {
        this.#hash.update(octets.subarray(0, end));
        this.#header = this.#hash.copy().digest('hex');
        rest = octets.subarray(end);
      }
    }
    if (rest.length > 0) this.#hash.update(rest);
  }

  /** To be called once, at the end. */
  end(): { readonly sha256: string; readonly headerSha256: string } {
    const sha256 = this.#hash.digest('hex');
    return { sha256, headerSha256: this.#header ?? sha256 };
  }

  /** The index after the empty line, or -1 while the header goes on. */
  #headerEnd(octets: Buffer): number {
    if (octets.length === 0) return -1;
    if (this.#lineStart && octets[0] === LF) return 1;
    this.#lineStart = octets[octets.length - 1] === LF;
    const at = octets.indexOf(EMPTY_LINE);
    return at < 0 ? -1 : at + EMPTY_LINE.length;
  }
}

/** Takes a message as it was received, gives it with the line ends that are stored, and knows its facts at the end. */
export class Intake implements Filter {
  readonly #eol: 'lf' | 'crlf';
  readonly #lineFeeds = new LineFeeds();
  readonly #digest = new Digest();
  #octets = 0;

  /** @param eol `crlf` stores the octets as they came. */
  constructor(eol: 'lf' | 'crlf') {
    this.#eol = eol;
  }

  push(piece: Buffer): Buffer {
    this.#octets += piece.length;
    const kept = this.#eol === 'crlf' ? Buffer.from(piece) : undefined;
    const octets = this.#lineFeeds.push(piece);
    this.#digest.push(octets);
    return kept ?? octets;
  }

  end(): Buffer {
    const octets = this.#lineFeeds.end();
    this.#digest.push(octets);
    return this.#eol === 'crlf' ? NOTHING : octets;
  }

  /** To be called once, after end(). */
  facts(): Facts {
    return { octets: this.#octets, ...this.#digest.end() };
  }
}

/** Lets octets pass and hashes them. */
export class Checksum implements Filter {
  readonly #hash = createHash('sha256');

  push(piece: Buffer): Buffer {
    this.#hash.update(piece);
    return piece;
  }

  end(): Buffer {
    return NOTHING;
  }

  /** SHA-256 (hex) of all that passed. To be called once. */
  value(): string {
    return this.#hash.digest('hex');
  }
}

/** One filter after the other. */
export function chain(first: Filter, second: Filter): Filter {
  return {
    push: (piece) => second.push(first.push(piece)),
    end: () => Buffer.concat([second.push(first.end()), second.end()]),
  };
}
