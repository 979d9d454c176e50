/** One connection of a test server: its octets, in lines on the way in and in pieces of a given size on the way out. */
import { Socket } from 'node:net';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { TLSSocket } from 'node:tls';
import type { SecureContext } from 'node:tls';

/**
 * How a connection comes to its end: 'close' says goodbye (close_notify, FIN), 'drop' sends FIN alone, 'reset' sends
 * RST, 'stall' never sends another octet and waits for the client to give up.
 */
export type Action = 'close' | 'drop' | 'reset' | 'stall';

/** Thrown out of whatever was going on once the connection is over; the session ends there. */
export class Gone extends Error {}

/** How the octets go out. */
export interface Outgoing {
  /** Octets in one write; every write goes out on its own. Default: as it comes, up to 64 KiB. */
  readonly cut?: number;
  /** Milliseconds before each reply. */
  readonly latency?: number;
  /** After this many octets sent on a connection the action follows, in the middle of whatever was being sent. */
  readonly cutOff?: { readonly octets: number; readonly action: Action };
}

const FULL = 65_536;
const LINE_LIMIT = 65_536;

/** A connection as the server sees it. */
export class Channel {
  readonly #raw: Socket;
  #socket: Socket;
  readonly #outgoing: Outgoing;
  #input = Buffer.alloc(0);
  #inputEnded = false;
  #discarding = false;
  #closed = false;
  #wake: () => void = () => undefined;
  /** Resolves when the connection is over on both sides. */
  readonly closed: Promise<void>;
  #output: Buffer[] = [];
  #outputLength = 0;
  #sent = 0;
  /** Octets received in clear, latin1, the first 64 KiB. What somebody on the line would have read. */
  overheard = '';

  constructor(socket: Socket, outgoing: Outgoing = {}) {
    this.#raw = socket;
    this.#socket = socket;
    this.#outgoing = outgoing;
    socket.setNoDelay(true);
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#closed = true;
        this.#wake();
        resolve();
      });
    });
    this.#listen(socket);
  }

  /** The secured end, once there is one. */
  get tls(): TLSSocket | undefined {
    return this.#socket instanceof TLSSocket ? this.#socket : undefined;
  }

  get secure(): boolean {
    return this.#socket !== this.#raw;
  }

  /** Octets handed to the kernel so far, above TLS. */
  get octetsSent(): number {
    return this.#sent;
  }

  /** Whether octets have come that nobody has read yet. */
  get pending(): boolean {
    return this.#input.length > 0;
  }

  /** Throws away what has come and nobody has read yet. */
  forget(): void {
    this.#input = Buffer.alloc(0);
  }

  /** The next line without its CRLF (or LF), latin1; undefined when the client has said all it had to say. */
  async readLine(): Promise<string | undefined> {
    for (;;) {
      const end = this.#input.indexOf('\n');
      if (end >= 0)
        return this.#take(end + 1)
          .toString('latin1')
          .replace(/\r?\n$/, '');
      if (this.#closed || this.#inputEnded) return undefined;
      if (this.#input.length > LINE_LIMIT) this.end('reset');
      await this.#more();
    }
  }

  /** The next `length` octets; fewer when the client has no more. */
  async read(length: number): Promise<Buffer> {
    while (this.#input.length < length && !this.#closed && !this.#inputEnded) await this.#more();
    return this.#take(Math.min(length, this.#input.length));
  }

  /** Adds to what the next {@link flush} sends; sends by itself where that grows past 64 KiB. */
  async write(data: Buffer | string): Promise<void> {
    const piece = typeof data === 'string' ? Buffer.from(data, 'latin1') : data;
    this.#output.push(piece);
    this.#outputLength += piece.length;
    if (this.#outputLength >= FULL) await this.flush();
  }

  /** Resolves when everything written is with the kernel. Throws {@link Gone} when the connection is over. */
  async flush(): Promise<void> {
    const whole = this.#output.length === 1 ? this.#output[0]! : Buffer.concat(this.#output);
    this.#output = [];
    this.#outputLength = 0;
    const { cut, cutOff } = this.#outgoing;
    const allowed = Math.max(0, (cutOff?.octets ?? Infinity) - this.#sent);
    const data = whole.subarray(0, allowed);
    for (let at = 0; at < data.length; at += cut ?? data.length) {
      await this.#send(data.subarray(at, at + (cut ?? data.length)));
      if (cut !== undefined) await nextTurn();
    }
    if (cutOff !== undefined && data.length < whole.length) await this.act(cutOff.action);
  }

  /** Waits as long as every reply has to. */
  async pause(): Promise<void> {
    const { latency } = this.#outgoing;
    if (latency !== undefined) await sleep(latency);
  }

  /** Serves TLS from here on. What the client sent in clear before is thrown away, never used as if it came through TLS. */
  async startTls(context: SecureContext): Promise<void> {
    this.#raw.pause();
    this.#raw.off('data', this.#onData).off('end', this.#onEnd);
    this.#input = Buffer.alloc(0);
    const socket = new TLSSocket(this.#raw, { isServer: true, secureContext: context });
    this.#socket = socket;
    const secured = new Promise<boolean>((resolve) => {
      socket.once('secure', () => {
        resolve(true);
      });
      socket.once('close', () => {
        resolve(false);
      });
    });
    this.#listen(socket);
    if (!(await secured)) throw new Gone('no TLS');
  }

  /** Ends the connection in this way and throws {@link Gone}. */
  async act(action: Action): Promise<never> {
    if (action === 'stall') await this.#untilGivenUp();
    else this.end(action);
    throw new Gone(action);
  }

  /** Ends the connection; what was written and not flushed is lost, what still comes is thrown away. */
  end(how: Exclude<Action, 'stall'>): void {
    this.#discarding = true;
    if (how === 'close') this.#socket.end();
    else if (how === 'drop') this.#socket.destroy();
    else this.#raw.resetAndDestroy();
  }

  async #untilGivenUp(): Promise<void> {
    this.#discarding = true;
    while (!this.#closed && !this.#inputEnded) await this.#more();
    this.end('drop');
  }

  async #send(piece: Buffer): Promise<void> {
    if (this.#closed || !this.#socket.writable) throw new Gone('connection is over');
    this.#sent += piece.length;
    await new Promise<void>((resolve) => {
      this.#socket.write(piece, () => {
        resolve();
      });
    });
  }

  #listen(socket: Socket): void {
    socket.on('data', this.#onData).on('end', this.#onEnd);
    // A client that goes away is no error of the server; 'close' follows.
    socket.on('error', () => undefined);
  }

  readonly #onData = (chunk: Buffer): void => {
    if (!this.secure) this.overheard = (this.overheard + chunk.toString('latin1')).slice(0, FULL);
    this.#input = this.#discarding ? Buffer.alloc(0) : Buffer.concat([this.#input, chunk]);
    this.#wake();
  };

  readonly #onEnd = (): void => {
    this.#inputEnded = true;
    this.#wake();
  };

  #take(length: number): Buffer {
    const taken = this.#input.subarray(0, length);
    this.#input = this.#input.subarray(length);
    return taken;
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
