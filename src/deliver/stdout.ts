/**
 * Delivery to standard output: at least once, because nobody can ask a pipe what it has already taken. No octet is
 * written before the message is whole, and messages never mix.
 */
import { errno } from '../disk.js';
import { asError, PopfetchError } from '../errors.js';
import type { DestinationContext, Out, StdoutFormat } from './context.js';
import type { Delivery, DeliveryLog, Destination, Intent, Message } from './destination.js';
import { chain, Intake, type Filter } from './lines.js';
import { failure } from './failure.js';
import { MboxEntry } from './mboxformat.js';
import type { Held, Spool } from './spool.js';
import { Turns } from './turns.js';

/**
 * Makes an {@link Out} of a stream, such as `process.stdout`, and takes care of its errors.
 * @param sync for a stream that is a file: fsync
 */
export function outTo(stream: NodeJS.WritableStream, sync?: () => Promise<void>): Out {
  let broken: unknown;
  stream.on('error', (error) => {
    broken ??= outputFailure(error);
  });
  const out = {
    write: (data: Buffer): Promise<void> =>
      new Promise((resolve, reject) => {
        if (broken !== undefined) {
          reject(asError(broken));
          return;
        }
        stream.write(data, (error) => {
          if (error == null) resolve();
          else reject(asError((broken ??= outputFailure(error))));
        });
      }),
  };
  return sync === undefined ? out : { ...out, sync };
}

function outputFailure(error: unknown): unknown {
  const code = errno(error) ?? '';
  if (code !== 'EPIPE' && code !== 'ERR_STREAM_DESTROYED' && code !== 'ECONNRESET')
    return failure(error, 'stdout');
  return new PopfetchError('DELIVERY', 'stdout was closed by its reader', {
    phase: 'deliver',
    remedy: 'the program behind the pipe ended early; what it did not get is still on the server',
    cause: error,
  });
}

/** Accounts that write to the same output. */
const turns = new Turns<Out>();

/** What ends a message that was begun and cannot be written to its end. */
const ENDS: Readonly<Record<StdoutFormat, string>> = { raw: '', mboxrd: '\n\n', json: '\n' };

/** Octets of a message written at once: base64 turns every 3 into 4. */
const PIECE = 3 * 16_384;

/** Standard output, or whatever {@link Out} is given for it. */
export class Stdout implements Destination {
  readonly name = 'stdout';
  /** A crash doubles what is between deliver() and release(): one message. */
  readonly window = 1;
  readonly #context: DestinationContext;
  readonly #spool: Spool;
  readonly #format: StdoutFormat;
  readonly #out: Out;

  constructor(context: DestinationContext, spool: Spool) {
    if (context.stdout === undefined) throw new Error('a destination is stdout, and no output is given');
    this.#context = context;
    this.#spool = spool;
    this.#format = context.stdout.format;
    this.#out = context.stdout.out;
  }

  /** What was on its way may have arrived or not: it counts as not arrived. */
  recover(): Promise<string[]> {
    return Promise.resolve([]);
  }

  async deliver(message: Message, log: DeliveryLog): Promise<Delivery> {
    const intake = new Intake(this.#context.eol);
    const held = await this.#spool.hold(message.key, message.body, this.#filter(intake), false);
    try {
      const facts = intake.facts();
      const { uid, key, size } = message;
      const intent: Intent = { uid, key, size, destination: this.name, ...facts, details: {} };
      await this.#write(held, intent, log);
      return { octets: facts.octets, release: () => Promise.resolve() };
    } finally {
      await held.drop();
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #filter(intake: Intake): Filter {
    const { eol } = this.#context;
    return this.#format === 'mboxrd' ? chain(intake, new MboxEntry(this.#context.now(), eol)) : intake;
  }

  async #write(held: Held, intent: Intent, log: DeliveryLog): Promise<void> {
    const endTurn = await turns.take(this.#out);
    try {
      await log.intend(intent);
      await this.#writeWhole(this.#format === 'json' ? this.#inJson(held, intent) : held.pieces());
      await this.#out.sync?.();
    } catch (error) {
      throw failure(error, 'stdout');
    } finally {
      endTurn();
    }
  }

  /** Where the spool fails half-way, what is out stays out: its line is ended, so that it spoils no other message. */
  async #writeWhole(pieces: AsyncIterable<Buffer>): Promise<void> {
    let begun = false;
    try {
      for await (const piece of pieces) {
        begun = true;
        await this.#out.write(piece);
      }
    } catch (error) {
      if (begun) await this.#out.write(Buffer.from(ENDS[this.#format])).catch(() => undefined);
      throw error;
    }
  }

  async *#inJson(held: Held, { uid, key, octets }: Intent): AsyncGenerator<Buffer, void, undefined> {
    const head = JSON.stringify({ account: this.#context.account, uid, key, octets });
    // The uid is octets and the account's name is anything: as escapes they harm no terminal.
    const ascii = head.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
    let text = `${ascii.slice(0, -1)},"raw":"`;
    for await (const piece of held.pieces(PIECE)) {
      yield Buffer.from(text + piece.toString('base64'), 'latin1');
      text = '';
    }
    yield Buffer.from(`${text}"}\n`, 'latin1');
  }
}
