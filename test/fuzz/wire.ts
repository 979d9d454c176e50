/**
 * A connection without a network: the client's end is a stream that {@link SocketConnection} takes for a socket, the
 * other end is a peer that hears octets and says some. What was said on it is kept, and can be read as RFC 1939 has it.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';

/** The server's end. */
export interface Peer {
  /** The client has written this. */
  hear(octets: string): void;
  /** The client has closed its end. */
  left(): void;
}

/** One connection, seen from the server. */
export class Wire {
  /** Everything the server has said, latin1. */
  said = '';
  /** Each line that the client has sent, latin1. */
  readonly heard: string[] = [];
  #peer: Peer | undefined;
  #over = false;
  readonly #stream: Duplex;

  constructor() {
    this.#stream = new Duplex({
      allowHalfOpen: false,
      read: () => undefined,
      write: (chunk: Buffer, _encoding, done) => {
        const octets = chunk.toString('latin1');
        queueMicrotask(() => this.#peer?.hear(octets));
        done();
      },
      destroy: (error, done) => {
        this.#over = true;
        queueMicrotask(() => this.#peer?.left());
        done(error);
      },
    });
  }

  /** The client's end. */
  get socket(): Socket {
    return Object.assign(this.#stream, { remoteAddress: '127.0.0.1' }) as unknown as Socket;
  }

  /** From here on, what the client says is heard by this peer. */
  join(peer: Peer): void {
    this.#peer = peer;
  }

  /** Whether it is closed at either end. */
  get over(): boolean {
    return this.#over;
  }

  /** Says octets (latin1), in pieces of these lengths; the last one is repeated. */
  say(octets: string, lengths: readonly number[] = []): void {
    if (this.#over) return;
    this.said += octets;
    let at = 0;
    for (let piece = 0; at < octets.length && !this.over; piece += 1) {
      const length = lengths[Math.min(piece, lengths.length - 1)] ?? octets.length;
      this.#stream.push(Buffer.from(octets.slice(at, at + length), 'latin1'));
      at += length;
    }
  }

  /** Ends it: in order, or with an error as a reset has it. */
  end(how: 'close' | 'reset'): void {
    if (this.#over) return;
    this.#over = true;
    if (how === 'close') this.#stream.push(null);
    else this.#stream.destroy(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }));
  }
}

/** An answer as it stands on the wire. */
export interface Answer {
  readonly command: string;
  readonly ok: boolean;
  /** The octets of a multi-line answer, dot-stuffing taken out; undefined where there is none or its end has not come. */
  readonly body: string | undefined;
}

const MULTI_LINE = /^(?:CAPA|LIST|UIDL|RETR \d+|TOP \d+ \d+)$/;

/**
 * Reads what was said as answers to these commands, in their order, by a second reading of RFC 1939 section 3 that has
 * nothing in common with the client's. Ends where something is said that is no answer.
 */
export function answersOn({ said, heard }: Pick<Wire, 'said' | 'heard'>): Answer[] {
  const answers: Answer[] = [];
  let at = said.indexOf('\n') + 1;
  if (at === 0) return answers;
  for (const command of heard) {
    const end = said.indexOf('\n', at);
    if (end < 0) break;
    const line = said.slice(at, end).replace(/\r$/, '');
    at = end + 1;
    const ok = /^\+OK(?: |$)/.test(line);
    if (!ok && !/^(?:-ERR|\+)(?: |$)/.test(line)) break;
    if (!ok || !MULTI_LINE.test(command)) {
      answers.push({ command, ok, body: undefined });
      continue;
    }
    const stop = said.startsWith('.\r\n', at) ? at : said.indexOf('\r\n.\r\n', at) + 2;
    const whole = stop > 1;
    const body = whole ? said.slice(at, stop).replace(/(?<=^|\r\n)\./g, '') : undefined;
    answers.push({ command, ok, body });
    if (!whole) break;
    at = stop + 3;
  }
  return answers;
}
