/** What LMTP asks of a message before it goes out: its envelope sender, and line ends that nobody can misread. Pure. */
import type { Filter } from './lines.js';
import { envelopeSender } from './sender.js';

const CR = 0x0d;
const NOTHING = Buffer.alloc(0);
const CR_CRLF = Buffer.from('\r\r\n');

/**
 * Takes the CR out that stands before a CRLF: programs that end lines twice over leave it, and where a lone CR has to
 * become a line end, it would end the header after its first line.
 */
export class OneLineEnd implements Filter {
  /** Up to two CRs at the end of what came, which wait for what follows. */
  #held: Buffer = NOTHING;

  push(piece: Buffer): Buffer {
    if (piece.length === 0) return piece;
    const octets = this.#held.length === 0 ? piece : Buffer.concat([this.#held, piece]);
    const end = octets.length - trailing(octets);
    this.#held = Buffer.from(octets.subarray(end));
    return withoutExtra(octets.subarray(0, end));
  }

  end(): Buffer {
    return this.#held;
  }
}

/** How many CRs, at most two, stand at the end. */
function trailing(octets: Buffer): number {
  const { length } = octets;
  if (octets[length - 1] !== CR) return 0;
  return octets[length - 2] === CR ? 2 : 1;
}

function withoutExtra(octets: Buffer): Buffer {
  let at = octets.indexOf(CR_CRLF);
  if (at < 0) return octets;
  const parts: Buffer[] = [];
  let from = 0;
  for (; at >= 0; at = octets.indexOf(CR_CRLF, from)) {
    parts.push(octets.subarray(from, at));
    from = at + 1;
  }
  parts.push(octets.subarray(from));
  return Buffer.concat(parts);
}

/** An address of the plain kind that every server takes: no quotes, no route, no address in brackets. */
const PLAIN = /^[\w!#$%&'*+/=?^`{|}~.-]{1,64}@[a-z0-9.-]{1,255}$/i;

/**
 * The sender for MAIL FROM: the one that the first Return-Path states (RFC 5321 section 4.4). Empty, as for a bounce,
 * where there is none or a server could stumble over it: a message is worth more than its return path.
 */
export function mailFrom(head: Buffer): string {
  const sender = envelopeSender(head);
  return PLAIN.test(sender) ? sender : '';
}
