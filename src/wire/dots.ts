/**
 * The multi-line body of a POP3 reply (RFC 1939 section 3): takes the dot-stuffing out and finds the line with a
 * single dot that ends it. Pure, and indifferent to where the network cut the octets.
 */

/**
 * Where in a line the last octet fed left us. `dot` and `dot-cr`: a dot (and a CR) that opened a line is held back,
 * because what follows decides whether it is stuffing or the end.
 */
type State = 'start' | 'text' | 'cr' | 'dot' | 'dot-cr' | 'end';

const CR = 0x0d;
const LF = 0x0a;
const DOT = 0x2e;
const CRLF_DOT = Buffer.from('\r\n.');

/**
 * Decodes one body. Only `CRLF . CRLF` ends it, and only CRLF begins a line: a bare LF or CR is content, so that no
 * message can smuggle in an end of its own. There are servers that end every line of theirs with a bare LF: where the
 * status line did, a bare LF ends lines and `LF . LF` the body, until the first CRLF shows that this server knows better.
 */
export class Dots {
  #state: State = 'start';
  /** Whether no line of the reply has ended in CRLF so far. */
  #bare: boolean;
  /** Whether nothing of the message has come yet. */
  #empty = true;

  /** @param bare whether the status line before the body ended in a bare LF */
  constructor(bare = false) {
    this.#bare = bare;
  }

  /** Whether the end has been seen; push() must not be called after. */
  get ended(): boolean {
    return this.#state === 'end';
  }

  /**
   * Takes what arrived and appends the octets of the message in it to `pieces`, as views into `chunk` where possible.
   * @returns the index in `chunk` of the first octet after the end of the body, or -1 while it goes on.
   */
  push(chunk: Buffer, pieces: Buffer[]): number {
    let at = 0;
    while (at < chunk.length) {
      switch (this.#state) {
        case 'start':
          if (chunk[at] === DOT) {
            this.#state = 'dot';
            at += 1;
          } else this.#state = 'text';
          break;
        case 'cr':
          if (chunk[at] === LF) {
            pieces.push(chunk.subarray(at, at + 1));
            this.#bare = false;
            this.#state = 'start';
            at += 1;
          } else this.#state = 'text';
          break;
        case 'dot':
          if (chunk[at] === CR) {
            this.#state = 'dot-cr';
            at += 1;
          } else if (chunk[at] === LF && this.#bare) return this.#end(at);
          else this.#state = 'text';
          break;
        case 'dot-cr':
          if (chunk[at] === LF) {
            if (!this.#bare || this.#empty) return this.#end(at);
            // The line before it ended in a bare LF and this one in CRLF: neither kind of end, so it is content.
            pieces.push(Buffer.from('.\r\n'));
            this.#bare = false;
            this.#state = 'start';
            at += 1;
            break;
          }
          pieces.push(Buffer.of(CR));
          this.#empty = false;
          this.#state = 'cr';
          break;
        case 'text':
          this.#empty = false;
          at = this.#bare ? this.#bareLine(chunk, at, pieces) : this.#text(chunk, at, pieces);
          break;
        case 'end':
          throw new Error('push() after the end of the body');
      }
    }
    return -1;
  }

  #end(at: number): number {
    this.#state = 'end';
    return at + 1;
  }

  /** Passes on what there is of one line, where every line so far has ended in a bare LF. */
  #bareLine(chunk: Buffer, from: number, pieces: Buffer[]): number {
    const found = chunk.indexOf(LF, from);
    const end = found < 0 ? chunk.length : found + 1;
    pieces.push(chunk.subarray(from, end));
    if (found >= 0) {
      this.#bare = found === from || chunk[found - 1] !== CR;
      this.#state = 'start';
    } else if (chunk[end - 1] === CR) this.#state = 'cr';
    return end;
  }

  /** Passes text on up to the next line that opens with a dot; returns where to go on. */
  #text(chunk: Buffer, from: number, pieces: Buffer[]): number {
    const found = chunk.indexOf(CRLF_DOT, from);
    if (found >= 0) {
      pieces.push(chunk.subarray(from, found + 2));
      this.#state = 'dot';
      return found + 3;
    }
    pieces.push(chunk.subarray(from));
    const last = chunk[chunk.length - 1];
    if (last === CR) this.#state = 'cr';
    else if (last === LF && chunk.length - from > 1 && chunk[chunk.length - 2] === CR) this.#state = 'start';
    return chunk.length;
  }
}
