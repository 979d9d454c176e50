/**
 * One connection to an LMTP server (RFC 2033), one message for one recipient at a time. The conversation is
 * nodemailer's, which stuffs dots and turns every lone CR and LF into CRLF, as RFC 5321 section 2.3.8 asks; what it
 * believes too easily is looked at again here.
 */
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import { asError, PopfetchError } from '../errors.js';
import { dial, dialLocal } from '../wire/dial.js';
import { OneLineEnd } from './lmtplines.js';

/** Milliseconds that a server has to end its side after QUIT. Nobody waits for it. */
const GOODBYE = 1000;

/** Milliseconds by which the conversation's own clocks are behind ours. */
const LATER = 5000;

/** For whom a message is, and whom to tell when it cannot be delivered. Without <>; the sender may be empty. */
export interface Envelope {
  readonly sender: string;
  readonly recipient: string;
}

/** What {@link LmtpSession} throws besides PopfetchError: a refusal by the server, which a caller words. */
export class Refusal extends Error {
  override readonly name = 'Refusal';

  constructor(
    /** 4xx or 5xx, never 421. */
    readonly code: number,
    /** The server's words, as latin1. */
    readonly serverText: string,
  ) {
    super('the server refuses');
  }
}

type Done<T> = (error?: Error | null, value?: T) => void;

/** Made by {@link LmtpSession.open}. After any failure but a Refusal only drop() is left. */
export class LmtpSession {
  readonly #address: string;
  readonly #socket: Socket;
  readonly #conversation: SMTPConnection;
  #fail: (error: unknown) => void = () => undefined;
  #begun = false;
  #whole = false;
  /** Why the message was not sent, or not to its end. */
  #unread: Error | undefined;

  private constructor(address: string, socket: Socket, limit: number) {
    this.#address = address;
    this.#socket = socket;
    this.#conversation = new SMTPConnection({
      connection: socket,
      lmtp: true,
      ignoreTLS: true,
      // No more than a last resort: signals keep the time, and know the reason.
      greetingTimeout: limit + LATER,
      connectionTimeout: limit + LATER,
      socketTimeout: limit + LATER,
      socketCloseTimeout: GOODBYE,
    });
    // Without a listener, an error between two messages would end the process.
    this.#conversation.on('error', (error) => {
      this.#fail(error);
    });
    this.#conversation.on('end', () => {
      // Whoever closed it may have a better reason, in the same breath.
      queueMicrotask(() => {
        this.#fail(new Error('the connection was closed'));
      });
    });
  }

  /**
   * Connects, and resolves when the server has answered LHLO.
   * @param address HOST:PORT, [ADDRESS]:PORT or the absolute path of a socket
   * @param limit milliseconds for each connection attempt; a kept connection is given up some time after that
   * @param signal aborts with a PopfetchError as its reason, which is thrown
   * @throws DELIVERY
   */
  static async open(address: string, limit: number, signal: AbortSignal): Promise<LmtpSession> {
    const socket = await dialed(address, limit, signal);
    const session = new LmtpSession(address, socket, limit);
    try {
      await session.#settled<undefined>(signal, (done) => {
        session.#conversation.connect(done);
      });
      return session;
    } catch (error) {
      session.drop();
      throw signal.aborted ? asError(signal.reason) : session.#failure(error);
    }
  }

  /** False once the server has gone, as far as is known. */
  get usable(): boolean {
    return !this.#conversation.destroyed;
  }

  /** Whether the server may have octets of the last message: until then, trying again elsewhere doubles nothing. */
  get begun(): boolean {
    return this.#begun;
  }

  /**
   * Resolves when the server has answered the whole message with 2xx for its recipient.
   * @param pieces the message, which is not changed. What it throws is thrown, and the server never sees an end.
   * @param signal aborts with a PopfetchError as its reason, which is thrown: the connection is dropped at once
   * @throws Refusal for 4xx and 5xx; DELIVERY when the connection or the conversation breaks
   */
  async send(envelope: Envelope, pieces: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
    this.#forget();
    const { sender, recipient } = envelope;
    const body = Readable.from(this.#body(pieces), { objectMode: false });
    try {
      const info = await this.#settled<{ rejectedErrors?: Error[] | undefined; response: string }>(
        signal,
        (done) => {
          this.#conversation.send({ from: sender, to: [recipient], use8BitMime: true }, body, done);
        },
      );
      const [refused] = info.rejectedErrors ?? [];
      if (refused !== undefined) throw refused;
      if (!this.#whole) throw this.#broken('answered before it had the whole message', info.response);
      if (!/^2\d\d(?!\d)/.test(info.response))
        throw this.#broken('gave an answer that is none', info.response);
    } catch (error) {
      if (signal.aborted) throw asError(signal.reason);
      throw this.#unread ?? this.#refusal(error) ?? this.#failure(error);
    } finally {
      body.destroy();
    }
  }

  /** Says goodbye, if the server listens, and waits for nothing. Never throws. */
  close(): void {
    if (this.#begun && !this.#whole) this.drop();
    if (!this.#conversation.destroyed) this.#conversation.quit();
    this.#conversation.close();
    this.#socket.unref();
  }

  /** Breaks off, wherever the conversation stands: a message that was not whole stays so. Never throws. */
  drop(): void {
    this.#socket.on('error', () => undefined).destroy();
    this.#conversation.close();
  }

  async *#body(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
    try {
      // A message sent to a server that does not wait for one would be read as commands.
      const answer = String(this.#conversation.lastServerResponse);
      if (!/^354(?!\d)/.test(answer)) throw this.#broken('does not wait for a message', answer);
      this.#begun = true;
      const filter = new OneLineEnd();
      for await (const piece of pieces) {
        const octets = filter.push(piece);
        if (octets.length > 0) yield octets;
      }
      const rest = filter.end();
      if (rest.length > 0) yield rest;
      this.#whole = true;
    } catch (error) {
      this.#unread = asError(error);
      // Not the error itself: whoever reads this stream writes on what it throws.
      throw new Error('the message could not be sent', { cause: error });
    }
  }

  #forget(): void {
    this.#begun = this.#whole = false;
    this.#unread = undefined;
  }

  /** Calls `start`, and settles with what it says, when the connection breaks, or when `signal` aborts. */
  async #settled<T>(signal: AbortSignal, start: (done: Done<T>) => void): Promise<T> {
    let stop = (): void => undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#fail = (error) => {
          reject(asError(error));
        };
        stop = () => {
          this.drop();
          reject(asError(signal.reason));
        };
        if (signal.aborted) stop();
        signal.addEventListener('abort', stop, { once: true });
        start((error, value) => {
          if (error != null) reject(error);
          else resolve(value as T);
        });
      });
    } finally {
      signal.removeEventListener('abort', stop);
      this.#fail = () => undefined;
    }
  }

  /** A refusal of this message or its recipient: the answer 4xx or 5xx to one of the commands that name them. */
  #refusal(error: unknown): Refusal | undefined {
    if (error instanceof PopfetchError) return undefined;
    const { response, command } = error as { response?: unknown; command?: unknown };
    const code = Number(/^[45]\d\d(?!\d)/.exec(String(response))?.[0]);
    if (typeof response !== 'string' || !(code > 0) || code === 421 || command === 'CONN') return undefined;
    return new Refusal(code, octetsOf(response));
  }

  #failure(error: unknown): PopfetchError {
    if (error instanceof PopfetchError) return error;
    const { response } = error as { response?: unknown };
    if (typeof response !== 'string') return this.#broken('closed the connection', undefined, error);
    const known = /^[45]\d\d(?!\d)/.test(response);
    return this.#broken(known ? 'ended the conversation' : 'gave an answer that is none', response, error);
  }

  #broken(what: string, response?: string, cause?: unknown): PopfetchError {
    return lmtpFailure(`the LMTP server ${this.#address} ${what}`, {
      ...(response === undefined ? {} : { serverText: octetsOf(response) }),
      ...(cause === undefined ? {} : { cause }),
    });
  }
}

/** An LMTP server that cannot be used, as PopfetchError DELIVERY. */
export function lmtpFailure(
  sentence: string,
  details: { readonly serverText?: string; readonly cause?: unknown } = {},
): PopfetchError {
  return new PopfetchError('DELIVERY', sentence, {
    phase: 'deliver',
    remedy: 'see that it runs and what it logs, then run popfetch again: the message is still on the server',
    ...details,
  });
}

/** The conversation reads replies as UTF-8 and joins their lines by LF. */
function octetsOf(response: string): string {
  return Buffer.from(response.replaceAll('\n', ' '), 'utf8').toString('latin1');
}

async function dialed(address: string, limit: number, signal: AbortSignal): Promise<Socket> {
  const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(address) ?? [];
  try {
    if (address.startsWith('/')) return await dialLocal(address, limit, signal);
    const place = { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
    return await dial(place, limit, signal);
  } catch (error) {
    if (signal.aborted || !(error instanceof PopfetchError)) throw error;
    throw lmtpFailure(`the LMTP server cannot be reached: ${error.message}`, { cause: error });
  }
}
