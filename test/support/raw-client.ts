/** A POP3 client that knows nothing: a test says every octet and reads every octet. */
import { readFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { once } from 'node:events';

/** Where to connect. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** One connection. Reading waits for what it asks for, and throws when the connection ends before that. */
export class RawClient {
  #socket: Socket;
  /** Read from the front, joined only when somebody looks. */
  #parts: Buffer[] = [];
  #over = false;
  #wake: () => void = () => undefined;
  /** How many pieces the octets came in, as far as the kernel kept them apart. */
  arrivals = 0;
  /** How the server ended the connection: 'end', or the code of the error (ECONNRESET, …). */
  ending: string | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    this.#listen();
  }

  /** Connects in clear. */
  static async connect({ host, port }: Target): Promise<RawClient> {
    const socket = connectTcp({ host, port, allowHalfOpen: true });
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  /** Connects through TLS, trusting the authority in this PEM file alone. */
  static async connectTls({ host, port }: Target, ca: string): Promise<RawClient> {
    const socket = connectTls({ host, port, ca: await readFile(ca, 'utf8') });
    await once(socket, 'secureConnect');
    return new RawClient(socket);
  }

  /** Goes on through TLS on this connection. */
  async startTls(ca: string): Promise<void> {
    this.#socket.removeAllListeners('data');
    const text = await readFile(ca, 'utf8');
    this.#socket = connectTls({ socket: this.#socket, ca: text, host: '127.0.0.1' });
    await once(this.#socket, 'secureConnect');
    this.#listen();
  }

  /** Sends these octets (latin1), in one write. */
  send(text: string | Buffer): void {
    this.#socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
  }

  /** Says that there is nothing more to send. */
  finish(): void {
    this.#socket.end();
  }

  /** The next line without its CRLF, latin1. */
  async line(): Promise<string> {
    return (await this.#through('\r\n')).toString('latin1').slice(0, -2);
  }

  /** A command, and the first line of its answer. */
  async ask(command: string): Promise<string> {
    this.send(`${command}\r\n`);
    return this.line();
  }

  /** The lines of a multi-line answer after its first line, unstuffed, without the dot line. */
  async body(): Promise<Buffer> {
    const parts: string[] = [];
    for (;;) {
      const line = await this.line();
      if (line === '.') return Buffer.from(parts.join(''), 'latin1');
      parts.push(line.replace(/^\./, ''), '\r\n');
    }
  }

  /** A command with a multi-line answer: its lines, without the first. */
  async askLines(command: string): Promise<string[]> {
    const status = await this.ask(command);
    if (!status.startsWith('+OK')) throw new Error(`${command}: ${status}`);
    return (await this.body()).toString('latin1').split('\r\n').slice(0, -1);
  }

  /** USER and PASS. */
  async login(user: string, password: string): Promise<string> {
    await this.ask(`USER ${user}`);
    return this.ask(`PASS ${password}`);
  }

  /** All that still comes until the server ends the connection, however it does that. */
  async rest(): Promise<Buffer> {
    while (!this.#over) await this.#more();
    const rest = this.#joined();
    this.#parts = [];
    return rest;
  }

  /** What has arrived and was not read yet. */
  get unread(): string {
    return this.#joined().toString('latin1');
  }

  /** Hangs up. */
  close(): void {
    this.#socket.destroy();
  }

  async #through(end: string): Promise<Buffer> {
    for (;;) {
      const input = this.#joined();
      const at = input.indexOf(end);
      if (at >= 0) {
        this.#parts = [input.subarray(at + end.length)];
        return input.subarray(0, at + end.length);
      }
      if (this.#over) throw new Error(`connection ended; unread: ${JSON.stringify(this.unread)}`);
      await this.#more();
    }
  }

  #joined(): Buffer {
    const whole = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
    this.#parts = [whole];
    return whole;
  }

  #listen(): void {
    const over = (how: string) => (): void => {
      this.ending ??= how;
      this.#over = true;
      this.#wake();
    };
    this.#socket.on('data', (chunk: Buffer) => {
      this.arrivals += 1;
      this.#parts.push(chunk);
      this.#wake();
    });
    this.#socket.on('end', over('end')).on('close', over('close'));
    this.#socket.on('error', (error: NodeJS.ErrnoException) => {
      over(error.code ?? error.message)();
    });
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
