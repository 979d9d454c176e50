/** One message as it stands in an mbox: `From ` line, quoted lines (mboxrd), a line end at the end, an empty line. Pure. */
import { FromQuoting, type Filter } from './lines.js';
import { envelopeSender, HEAD } from './sender.js';

const LF = 0x0a;
const NOTHING = Buffer.alloc(0);

/** Stands where a message has no sender that could. */
const NOBODY = 'MAILER-DAEMON';

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'] as const;
const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');

/** Makes an mbox entry of a message. Up to 64 KiB are held back until the sender is known. */
export class MboxEntry implements Filter {
  readonly #time: number;
  readonly #eol: string;
  readonly #quoting = new FromQuoting();
  #head: Buffer[] | undefined = [];
  #held = 0;
  #last = LF;

  /**
   * @param time of delivery, milliseconds since 1970
   * @param eol ends the lines that are added
   */
  constructor(time: number, eol: 'lf' | 'crlf') {
    this.#time = time;
    this.#eol = eol === 'crlf' ? '\r\n' : '\n';
  }

  push(piece: Buffer): Buffer {
    const octets = this.#quoting.push(piece);
    this.#last = octets[octets.length - 1] ?? this.#last;
    if (this.#head === undefined) return octets;
    this.#head.push(octets);
    this.#held += octets.length;
    return this.#held < HEAD ? NOTHING : this.#open();
  }

  end(): Buffer {
    const rest = this.#quoting.end();
    const last = rest[rest.length - 1] ?? this.#last;
    const close = Buffer.from(last === LF ? this.#eol : this.#eol + this.#eol);
    return Buffer.concat([this.#open(), rest, close]);
  }

  /** What was held back, its `From ` line before it. */
  #open(): Buffer {
    if (this.#head === undefined) return NOTHING;
    const head = Buffer.concat(this.#head);
    this.#head = undefined;
    const line = `From ${envelopeSender(head) || NOBODY} ${asctime(this.#time)}${this.#eol}`;
    return Buffer.concat([Buffer.from(line, 'latin1'), head]);
  }
}

/** `Tue Nov 24 08:22:11 2026` in UTC, as asctime() writes it: what stands in a `From ` line. */
export function asctime(time: number): string {
  const date = new Date(time);
  const two = (value: number, fill = '0'): string => String(value).padStart(2, fill);
  const clock = [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()].map((value) => two(value));
  const day = `${DAYS[date.getUTCDay()] ?? ''} ${MONTHS[date.getUTCMonth()] ?? ''} ${two(date.getUTCDate(), ' ')}`;
  return `${day} ${clock.join(':')} ${date.getUTCFullYear()}`;
}
