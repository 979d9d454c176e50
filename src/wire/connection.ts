/** Octets to and from one server, in clear or in TLS. */
import type { Socket } from 'node:net';
import { PopfetchError } from '../errors.js';
import { channelBinding } from './binding.js';
import { Dots } from './dots.js';
import { handshake } from './handshake.js';
import { COMMAND, DEADLINES, READ_AHEAD, STATUS_LINE, type Pace } from './limits.js';
import { Patience } from './patience.js';
import { chainOf, type ChannelInfo, type TlsSettings } from './trust.js';

/** Sees each line that goes by (`C` ours, `S` the server's, `*` a remark), secrets masked, nothing escaped. */
export type Tap = (direction: 'C' | 'S' | '*', text: string) => void;

/** Milliseconds. But for that of the session, a clock runs only while something is awaited from the server. */
export interface Timeouts {
  /** For DNS, TCP and TLS together; again for a handshake after STLS. */
  readonly connect: number;
  /** For the first line of all; as `reply` unless given. */
  readonly greeting?: number;
  /** For a status line. */
  readonly reply: number;
  /** For the next octets of a body. */
  readonly idle: number;
  /** For the answer to QUIT; that of {@link DEADLINES} unless given. */
  readonly quit?: number;
  /** From the connection to its end; none unless given. */
  readonly session?: number;
  /** How slow a body may be; 128 octets a second unless given. */
  readonly pace?: Pace;
}

/** Which clock a line is awaited by. */
export type Clock = 'greeting' | 'reply' | 'quit';

export interface SendOptions {
  /** What to show of the line instead of the line itself: how a sender marks a secret. */
  readonly shown?: string;
  /** Octets allowed, CRLF included; 255 unless told (RFC 2449 section 4). */
  readonly limit?: number;
}

/**
 * A conversation in lines and bodies. It is reading a line or a body, never both, and only one read is under way.
 * After any failure only close() is left.
 */
export interface Connection {
  readonly channel: ChannelInfo;
  /** True where the octets never leave this machine. */
  readonly loopback: boolean;
  /** Octets that have arrived and nobody has asked for yet. */
  readonly pending: number;
  /** Writes lines, in one piece. @throws PROTOCOL for a line with CR, LF or NUL in it, or longer than allowed. */
  send(lines: string | readonly string[], options?: SendOptions): void;
  /**
   * The next line without its end (CRLF, or a lone LF), as latin1. @throws TIMEOUT, LOST, PROTOCOL (too long).
   * @param shown what a trace shows of it
   */
  readLine(limit?: number, clock?: Clock, shown?: (line: string) => string): Promise<string>;
  /**
   * A multi-line body up to its terminating dot, dot-stuffing taken out. A bare LF ends its lines only where it ended
   * the status line read before it, and until the first CRLF. @throws TIMEOUT, LOST: it is not whole.
   */
  body(): AsyncGenerator<Buffer, void, undefined>;
  /** Goes on in TLS. Octets that came in clear and were not asked for are fatal: they may be an attacker's. @throws TLS, TIMEOUT */
  startTls(settings: TlsSettings): Promise<void>;
  /** Never shows any of these in a trace or through {@link masked}. */
  hide(secrets: readonly string[]): void;
  /** Lets a line of a body be seen in a trace, secrets masked: a body itself shows only how long it was. */
  show(line: string): void;
  /** `text` with all hidden secrets replaced. */
  masked(text: string): string;
  /** Drops the connection; a read under way fails with `reason`. Never throws. */
  close(reason?: PopfetchError): void;
}

const FORBIDDEN = /[\r\n\0]/;
const CLEAR: ChannelInfo = { protocol: undefined, chain: [] };

/** What {@link connect} gives, over a socket that is up. Nothing is sent before somebody sends it. */
export class SocketConnection implements Connection {
  readonly loopback: boolean;
  #socket: Socket;
  readonly #timeouts: Timeouts;
  readonly #tap: Tap | undefined;
  #unlisten: () => void;
  #channel: ChannelInfo = CLEAR;
  #secrets: readonly string[] = [];
  /** What has arrived and is not read. */
  #chunks: Buffer[] = [];
  #pending = 0;
  /** Whether the last line that was read ended in a bare LF. */
  #bareLine = false;
  /** Why nothing more will come. */
  #failure: PopfetchError | undefined;
  /** Wakes the one read that waits for more. */
  #wake: () => void = () => undefined;

  constructor(socket: Socket, timeouts: Timeouts, tap: Tap | undefined) {
    this.#socket = socket;
    this.#timeouts = timeouts;
    this.#tap = tap;
    this.loopback = isLoopback(socket.remoteAddress);
    this.#unlisten = this.#listen();
  }

  get channel(): ChannelInfo {
    return this.#channel;
  }

  get pending(): number {
    return this.#pending;
  }

  send(lines: string | readonly string[], options: SendOptions = {}): void {
    this.#check();
    const { shown, limit = COMMAND } = options;
    let text = '';
    for (const line of typeof lines === 'string' ? [lines] : lines) {
      if (FORBIDDEN.test(line)) {
        throw new PopfetchError('PROTOCOL', 'a command with a line break or NUL in it was not sent');
      }
      if (Buffer.byteLength(line) + 2 > limit) {
        throw new PopfetchError('PROTOCOL', `a command longer than ${limit} octets was not sent`, {
          remedy: 'the user name or password is too long for this way to log in; try another auth',
        });
      }
      this.#tap?.('C', this.masked(shown ?? line));
      text += `${line}\r\n`;
    }
    this.#socket.write(text);
  }

  async readLine(
    limit = STATUS_LINE,
    clock: Clock = 'reply',
    shown = (line: string): string => line,
  ): Promise<string> {
    const timeout = this.#timeouts[clock] ?? (clock === 'quit' ? DEADLINES.quit : this.#timeouts.reply);
    const deadline = performance.now() + timeout;
    for (;;) {
      const line = this.#takeLine(limit);
      if (line !== undefined) {
        this.#tap?.('S', this.masked(shown(line)));
        return line;
      }
      const sentence = `the server did not send an answer within ${timeout / 1000} s`;
      await this.#more(deadline - performance.now(), sentence);
    }
  }

  async *body(): AsyncGenerator<Buffer, void, undefined> {
    const dots = new Dots(this.#bareLine);
    const patience = new Patience(this.#timeouts.pace);
    let octets = 0;
    while (!dots.ended) {
      const chunk = this.#chunks.shift();
      if (chunk === undefined) {
        await this.#moreOfBody(patience);
        continue;
      }
      const pieces: Buffer[] = [];
      const end = dots.push(chunk, pieces);
      // What follows the body is put back before anything is handed out: the reader may leave early.
      if (end >= 0 && end < chunk.length) this.#chunks.unshift(chunk.subarray(end));
      this.#took(end >= 0 ? end : chunk.length);
      patience.received(chunk.length);
      for (const piece of pieces) {
        octets += piece.length;
        yield piece;
      }
    }
    this.#tap?.('S', `[${octets} octets]`);
  }

  async startTls(settings: TlsSettings, timeout = this.#timeouts.connect): Promise<void> {
    if (this.#pending > 0) {
      throw new PopfetchError('TLS', 'the server sent data in clear after agreeing to TLS', {
        phase: 'tls',
        remedy: 'somebody may be tampering with the connection; use tls: implicit',
      });
    }
    this.#unlisten();
    const tls = await handshake(this.#socket, settings, timeout).catch((error: unknown) => {
      // Closed by us, the handshake has no better reason than ours.
      throw this.#failure ?? error;
    });
    this.#socket = tls;
    this.#channel = {
      protocol: tls.getProtocol() ?? undefined,
      chain: chainOf(tls.getPeerCertificate(true)),
      binding: channelBinding(tls),
    };
    this.#tap?.('*', `secured with ${this.#channel.protocol ?? 'TLS'}`);
    this.#unlisten = this.#listen();
  }

  hide(secrets: readonly string[]): void {
    this.#secrets = secrets;
  }

  show(line: string): void {
    this.#tap?.('S', this.masked(line));
  }

  masked(text: string): string {
    return this.#secrets.reduce((shown, secret) => shown.replaceAll(secret, '********'), text);
  }

  close(reason = new PopfetchError('LOST', 'the connection was closed')): void {
    this.#fail(reason);
    this.#socket.destroy();
  }

  /** @returns what takes the listeners off again, for the secured socket that follows the clear one. */
  #listen(): () => void {
    const socket = this.#socket;
    const data = (chunk: Buffer): void => {
      this.#arrived(chunk);
    };
    const end = (): void => {
      this.#fail(new PopfetchError('LOST', 'the server closed the connection'));
    };
    const error = (cause: NodeJS.ErrnoException): void => {
      this.#fail(
        new PopfetchError('LOST', `the connection broke (${cause.code ?? cause.message})`, { cause }),
      );
    };
    socket.on('data', data).on('end', end).on('close', end).on('error', error);
    return () => {
      socket.off('data', data).off('end', end).off('close', end).off('error', error);
    };
  }

  #arrived(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#pending += chunk.length;
    if (this.#pending > READ_AHEAD) this.#socket.pause();
    this.#wake();
  }

  #fail(reason: PopfetchError): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.#tap?.('*', reason.message);
    this.#wake();
  }

  #took(octets: number): void {
    this.#pending -= octets;
    if (this.#pending <= READ_AHEAD / 2 && this.#socket.isPaused()) this.#socket.resume();
  }

  async #moreOfBody(patience: Patience): Promise<void> {
    const { idle } = this.#timeouts;
    const start = performance.now();
    const sentence =
      patience.left < idle
        ? 'the server sends a message or listing too slowly'
        : `the server did not send the rest of a message or listing within ${idle / 1000} s`;
    await this.#more(Math.min(idle, patience.left), sentence);
    patience.waited(performance.now() - start);
  }

  /** Resolves when there is more to read. What arrived before a failure is read first. @throws TIMEOUT with this sentence */
  async #more(remaining: number, sentence: string): Promise<void> {
    this.#check();
    const before = this.#pending;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      this.#wake = resolve;
      const late = (): void => {
        reject(new PopfetchError('TIMEOUT', sentence));
      };
      timer = setTimeout(late, Math.max(remaining, 0));
    }).finally(() => {
      clearTimeout(timer);
    });
    if (this.#pending === before) this.#check();
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Takes a line out of what has arrived, or undefined while it is not whole. */
  #takeLine(limit: number): string | undefined {
    let length = 0;
    for (const [index, chunk] of this.#chunks.entries()) {
      const end = chunk.indexOf(0x0a);
      length += end < 0 ? chunk.length : end + 1;
      if (length > limit) break;
      if (end < 0) continue;
      const head = this.#chunks.splice(0, index);
      const rest = chunk.subarray(end + 1);
      if (rest.length > 0) this.#chunks[0] = rest;
      else this.#chunks.shift();
      this.#took(length);
      const line = Buffer.concat([...head, chunk.subarray(0, end)]).toString('latin1');
      this.#bareLine = !line.endsWith('\r');
      return this.#bareLine ? line : line.slice(0, -1);
    }
    if (length > limit) {
      throw new PopfetchError('PROTOCOL', `the server sent a line of more than ${limit} octets`);
    }
    return undefined;
  }
}

/** Whether an address of this machine itself (127.0.0.0/8, ::1). */
export function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(::ffff:)?127\.|^::1$/.test(address);
}
