/**
 * Delivery to an LMTP server (RFC 2033): at least once, because nobody can ask it what it has already taken. The
 * message goes out as it came, without a field of ours: whoever wants to drop a double knows it by its Message-ID.
 */
import { PopfetchError } from '../errors.js';
import type { DestinationContext } from './context.js';
import type { Delivery, DeliveryLog, Destination, Message } from './destination.js';
import { failure } from './failure.js';
import { Intake } from './lines.js';
import { mailFrom } from './lmtplines.js';
import { lmtpFailure, LmtpSession, Refusal, type Envelope } from './lmtpsession.js';
import { HEAD } from './sender.js';
import type { Held, Spool } from './spool.js';
import { Turns } from './turns.js';

/** Milliseconds for the message in hand once the run is to end. */
const GRACE = 4000;

/**
 * One recipient at an LMTP server. Line ends are always CRLF on the way there; a lone CR or LF becomes one, and a last
 * line without an end gets it.
 */
export class Lmtp implements Destination {
  readonly name: string;
  /** A crash doubles what is between deliver() and release(): one message. */
  readonly window = 1;
  readonly #address: string;
  readonly #recipient: string;
  readonly #context: DestinationContext;
  readonly #spool: Spool;
  readonly #turns = new Turns<Lmtp>();
  /** Kept after a message that was taken, for the next one. */
  #session: LmtpSession | undefined;

  /**
   * @param address HOST:PORT, [ADDRESS]:PORT or the absolute path of a socket
   * @param recipient without <>
   */
  constructor(address: string, recipient: string, context: DestinationContext, spool: Spool) {
    this.name = `lmtp:${address}/${recipient}`;
    this.#address = address;
    this.#recipient = recipient;
    this.#context = context;
    this.#spool = spool;
  }

  /** What was on its way may have arrived or not: it counts as not arrived. */
  recover(): Promise<string[]> {
    return Promise.resolve([]);
  }

  /**
   * @throws PopfetchError REFUSED or DATA when the server refuses the message for now (4xx) or for good (5xx);
   * DELIVERY when there is no server, it breaks off, or takes longer than it may
   */
  async deliver(message: Message, log: DeliveryLog): Promise<Delivery> {
    const intake = new Intake('crlf');
    const held = await this.#spool.hold(message.key, message.body, intake, 'file');
    try {
      const { uid, key, size, number } = message;
      const facts = intake.facts();
      await this.#inTurn(held, number, () =>
        log.intend({ uid, key, size, destination: this.name, ...facts, details: {} }),
      );
      return { octets: facts.octets, release: () => Promise.resolve() };
    } finally {
      await held.drop();
    }
  }

  close(): Promise<void> {
    this.#session?.close();
    this.#session = undefined;
    return Promise.resolve();
  }

  async #inTurn(held: Held, number: number, intend: () => Promise<void>): Promise<void> {
    const endTurn = await this.#turns.take(this);
    try {
      await intend();
      await this.#hand(held, number);
    } finally {
      endTurn();
    }
  }

  async #hand(held: Held, number: number): Promise<void> {
    const { timeLimit, signal } = this.#context;
    const late = `the LMTP server ${this.#address} did not take a message within ${timeLimit / 1000} s`;
    const limit = limited(timeLimit, signal, late);
    try {
      const sender = mailFrom(await held.read(0, HEAD));
      await this.#try({ sender, recipient: this.#recipient }, held, limit.signal);
    } catch (error) {
      throw error instanceof Refusal ? this.#refused(error, number) : failure(error, held.path ?? this.name);
    } finally {
      limit.clear();
    }
  }

  /** A server may have ended a kept connection at any time; it shows only now, and a new one is tried. */
  async #try(envelope: Envelope, held: Held, signal: AbortSignal): Promise<void> {
    const kept = this.#session;
    this.#session = undefined;
    if (kept?.usable === true) {
      try {
        await this.#send(kept, envelope, held, signal);
        return;
      } catch (error) {
        if (error instanceof Refusal || kept.begun || signal.aborted) throw error;
      }
    }
    await this.#send(
      await LmtpSession.open(this.#address, this.#context.timeLimit, signal),
      envelope,
      held,
      signal,
    );
  }

  async #send(session: LmtpSession, envelope: Envelope, held: Held, signal: AbortSignal): Promise<void> {
    try {
      await session.send(envelope, held.pieces(), signal);
      this.#session = session;
    } catch (error) {
      // After a refusal, too: a new connection is a surer way out of a transaction than RSET.
      if (error instanceof Refusal) session.close();
      else session.drop();
      throw error;
    }
  }

  #refused({ code, serverText }: Refusal, number: number): PopfetchError {
    const sentence = `the LMTP server refuses message ${number} for ${this.#recipient}`;
    if (code < 500) return new PopfetchError('REFUSED', sentence, { phase: 'deliver', serverText });
    return new PopfetchError('DATA', `${sentence} for good`, {
      phase: 'deliver',
      serverText,
      remedy: 'mend what the server complains of, or name a Maildir for such messages: rejected',
    });
  }
}

/** A signal that aborts after `limit` milliseconds, or a little after another one, whose reason it takes over. */
function limited(
  limit: number,
  end: AbortSignal,
  late: string,
): { readonly signal: AbortSignal; clear(): void } {
  const controller = new AbortController();
  const timers = [
    setTimeout(() => {
      controller.abort(lmtpFailure(late));
    }, limit),
  ];
  const hurry = (): void => {
    timers.push(
      setTimeout(() => {
        controller.abort(end.reason);
      }, GRACE),
    );
  };
  if (end.aborted) hurry();
  else end.addEventListener('abort', hurry, { once: true });
  return {
    signal: controller.signal,
    clear: () => {
      end.removeEventListener('abort', hurry);
      timers.forEach(clearTimeout);
    },
  };
}
