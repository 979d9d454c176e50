/**
 * Delivery to a command: at least once, because nobody can ask a program what it did before a crash. It is run for
 * each message, one at a time and without a shell, and only its exit status is believed:
 *
 * | how it ended                                                              | the message                      |
 * |---------------------------------------------------------------------------|----------------------------------|
 * | 0                                                                         | is delivered                     |
 * | 65, 67, 68, 76, 77 (data, user, host, protocol, permission of sysexits.h) | is refused for good: DATA        |
 * | any other status, among them 69, 71, 74, 75                               | is tried again later: REFUSED    |
 * | by a signal, or not within the time limit                                 | is tried again later: REFUSED    |
 * | it could not be started                                                   | as all others waits: DELIVERY    |
 *
 * So a program that fails for a reason of its own (1, 2, 64, 70, 78, 127) makes no mail a refused one. Its stdin is the
 * message in a file: the program has all of it, though popfetch be killed, and need not read it.
 */
import { createHash } from 'node:crypto';
import { errno, type DiskFile } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { printable } from '../escape.js';
import { notStarted, programFault } from '../program.js';
import type { DestinationContext } from './context.js';
import type { Delivery, DeliveryLog, Destination, Intent, Message } from './destination.js';
import { failure } from './failure.js';
import { handOver, PATIENCE, type Patience, type Verdict } from './handover.js';
import { Intake } from './lines.js';
import { envelopeSender, HEAD } from './sender.js';
import type { Held, Spool } from './spool.js';

/** Statuses that say something about the message, and not about today. */
const FOR_GOOD: ReadonlySet<number> = new Set([65, 67, 68, 76, 77]);

/** Characters of a line from stderr that are shown. */
const WORDS = 200;

const NOT_FOUND =
  'put it on PATH, or write its path in full: no shell runs it, so ~ and $VAR stay as they are';

/** A program that takes each message on its stdin. */
export class Command implements Destination {
  /** `command:PROGRAM#` and 8 hexadecimal digits that stand for all words: arguments may be secret. */
  readonly name: string;
  /** A crash doubles what is between deliver() and release(): one message. */
  readonly window = 1;
  readonly #argv: readonly string[];
  readonly #context: DestinationContext;
  readonly #spool: Spool;
  readonly #patience: Patience;

  constructor(
    argv: readonly string[],
    context: DestinationContext,
    spool: Spool,
    patience: Patience = PATIENCE,
  ) {
    const digest = createHash('sha256').update(JSON.stringify(argv)).digest('hex').slice(0, 8);
    this.name = `command:${argv[0] ?? ''}#${digest}`;
    this.#argv = argv;
    this.#context = context;
    this.#spool = spool;
    this.#patience = patience;
  }

  /** What was on its way may have arrived or not: it counts as not arrived. @throws CREATE where there is no such program */
  async recover(): Promise<string[]> {
    const fault = await programFault(this.#argv[0] ?? '', this.#context.env);
    if (fault === undefined) return [];
    throw new PopfetchError('CREATE', `${this.#who()} ${fault}`, { phase: 'destination', remedy: NOT_FOUND });
  }

  async deliver(message: Message, log: DeliveryLog): Promise<Delivery> {
    const intake = new Intake(this.#context.eol);
    const held = await this.#spool.hold(message.key, message.body, intake, 'file');
    try {
      const facts = intake.facts();
      const { uid, key, size } = message;
      this.#context.signal.throwIfAborted();
      const intent: Intent = { uid, key, size, destination: this.name, ...facts, details: {} };
      await log.intend(intent);
      this.#judge(message, await this.#run(message, held));
      return { octets: facts.octets, release: () => Promise.resolve() };
    } finally {
      await held.drop();
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #run({ uid, key }: Message, held: Held): Promise<Verdict> {
    const { env, account, timeLimit: limit, signal } = this.#context;
    const { file, sender } = await this.#open(held.path ?? '');
    const about = {
      POPFETCH_KEY: key,
      POPFETCH_ACCOUNT: account,
      POPFETCH_UID: printable(uid),
      POPFETCH_SENDER: sender,
    };
    try {
      return await handOver({
        ...{ argv: this.#argv, env: { ...env, ...about }, stdin: file.fd },
        ...{ limit, signal, patience: this.#patience },
      });
    } catch (error) {
      throw errno(error) === undefined || error instanceof PopfetchError ? error : this.#unstarted(error);
    } finally {
      await file.close().catch(() => undefined);
    }
  }

  /** Reading at a position leaves the file at its start, where the program begins. */
  async #open(path: string): Promise<{ readonly file: DiskFile; readonly sender: string }> {
    try {
      const file = await this.#context.disk.open(path, 'read');
      return { file, sender: envelopeSender(await file.read(0, HEAD)) };
    } catch (error) {
      throw failure(error, path);
    }
  }

  #unstarted(cause: unknown): PopfetchError {
    const remedy = 'run popfetch check; nothing is lost, and the next run goes on';
    return new PopfetchError('DELIVERY', `${this.#who()} ${notStarted(cause)}`, {
      phase: 'deliver',
      remedy,
      cause,
    });
  }

  /** @throws REFUSED, DATA */
  #judge({ number }: Message, { status, fault, stderr }: Verdict): void {
    const lines = stderr.toString('utf8').split('\n');
    const [first, ...more] = lines.map((line) => line.trim()).filter((line) => line !== '');
    const said = first === undefined ? undefined : `"${printable(first, WORDS)}"`;
    if (fault === undefined) {
      if (said !== undefined) this.#context.note?.(`${this.#who()} says: ${said}`);
      return;
    }
    // Many programs say last what it comes to.
    const last = more.at(-1);
    const words = [said, last === undefined ? undefined : `"${printable(last, WORDS)}"`];
    const what = [`${this.#who()} did not take message ${number}: it ${fault}`, ...words.filter(Boolean)];
    const forGood = status !== undefined && FOR_GOOD.has(status);
    throw new PopfetchError(forGood ? 'DATA' : 'REFUSED', what.join(', '), {
      phase: 'deliver',
      ...(forGood ? { remedy: 'it stays on the server; "rejected" names a Maildir for such messages' } : {}),
    });
  }

  #who(): string {
    return `the command ${printable(this.#argv[0] ?? '', WORDS)}`;
  }
}
