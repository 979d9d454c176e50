/** What becomes of a message on its way into a multi-line reply (RFC 1939 section 3). Pure: no socket here. */

const CRLF = Buffer.from('\r\n');
const PIECE = 65_536;

/**
 * What a client must receive for this message: the message, with CRLF at its end where it has none, because
 * the dot line that ends a reply is a line of its own.
 */
export function wire(data: Buffer): Buffer {
  return endsInCrlf(data) ? data : Buffer.concat([data, CRLF]);
}

/** The length of {@link wire}, in octets. */
export function wireLength(data: Buffer): number {
  return data.length + (endsInCrlf(data) ? 0 : CRLF.length);
}

/** The octets of one buffer in pieces, none of them a copy. */
export async function* pieces(data: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += PIECE) yield await Promise.resolve(data.subarray(at, at + PIECE));
}

/** The header, the empty line and the first `count` lines of the body (TOP, RFC 1939 section 7). */
export async function* top(chunks: AsyncIterable<Buffer>, count: number): AsyncGenerator<Buffer> {
  const counter = new LineCounter(count);
  for await (const chunk of chunks) {
    const end = counter.push(chunk);
    yield chunk.subarray(0, end);
    if (end !== undefined) return;
  }
}

/**
 * The body of a multi-line reply: every dot at the start of a line doubled, CRLF added at the end where it is
 * missing. The dot line itself is not part of it. Lines are what CRLF ends, whatever way the octets are cut.
 */
export async function* stuffed(chunks: Iterable<Buffer> | AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let before = '\r\n';
  for await (const chunk of chunks) {
    yield stuff(chunk, before);
    before = (before + chunk.toString('latin1', Math.max(0, chunk.length - 2))).slice(-2);
  }
  if (before !== '\r\n') yield CRLF;
}

/** Finds where the part that TOP sends ends. */
class LineCounter {
  #inHeader = true;
  #lineLength = 0;
  #left: number;

  constructor(lines: number) {
    this.#left = lines;
  }

  /** The index after the last octet to send, or undefined when all of this piece is to be sent. */
  push(chunk: Buffer): number | undefined {
    for (const [at, octet] of chunk.entries()) {
      if (octet === 0x0a) {
        if (this.#lineEnds()) return at + 1;
      } else if (octet !== 0x0d) {
        this.#lineLength += 1;
      }
    }
    return undefined;
  }

  #lineEnds(): boolean {
    if (!this.#inHeader) this.#left -= 1;
    if (this.#lineLength === 0) this.#inHeader = false;
    this.#lineLength = 0;
    return !this.#inHeader && this.#left <= 0;
  }
}

/** One piece stuffed, given the two octets before it. Not copied where nothing has to change. */
function stuff(chunk: Buffer, before: string): Buffer {
  const parts: Buffer[] = [];
  let done = 0;
  for (const at of lineStartDots(chunk, before)) {
    parts.push(chunk.subarray(done, at), Buffer.from('.'));
    done = at;
  }
  return parts.length === 0 ? chunk : Buffer.concat([...parts, chunk.subarray(done)]);
}

function* lineStartDots(chunk: Buffer, before: string): Generator<number> {
  if (chunk[0] === 0x2e && before === '\r\n') yield 0;
  if (chunk[0] === 0x0a && chunk[1] === 0x2e && before.endsWith('\r')) yield 1;
  for (let at = chunk.indexOf('\r\n.'); at >= 0; at = chunk.indexOf('\r\n.', at + 2)) yield at + 2;
}

/** Nothing at all ends in CRLF too: the line before the dot line is then the status line. */
function endsInCrlf(data: Buffer): boolean {
  return data.length === 0 || data.subarray(-2).equals(CRLF);
}
