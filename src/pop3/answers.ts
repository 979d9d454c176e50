/** The answers to a row of RETR or TOP, in order, several under way at once where the server pipelines. */
import { PIPELINE_COMMANDS, PIPELINE_OCTETS } from '../wire/limits.js';
import { Body } from './body.js';
import { unasked, type Dialogue } from './dialogue.js';
import type { Retrieved } from './mailbox.js';
import type { Status } from './replies.js';

/** One RETR or TOP to be asked. */
export interface Question {
  readonly number: number;
  readonly command: string;
  /** Octets that it may come to: what is asked for ahead depends on it. */
  readonly size: number;
  /** Octets by LIST, if it gave any: a body of another length is whole only where what follows it is in step. */
  readonly expected: number | 'any' | undefined;
}

/** How a row is asked. */
export interface Manner {
  readonly pipelining: boolean;
  /** Octets that a body may have. */
  readonly maxOctets: number;
}

/** Asks a row of questions. Can be read once, and by one reader. */
export class Answers implements AsyncIterable<Retrieved> {
  readonly #dialogue: Dialogue;
  readonly #questions: readonly Question[];
  readonly #manner: Manner;
  /** Questions that have been sent. */
  #sent = 0;
  /** Octets expected in the answers that are to come. */
  #ahead = 0;
  /** The status of the next answer, where it was needed to prove that the one before it was whole. */
  #early: Status | undefined;

  constructor(dialogue: Dialogue, questions: readonly Question[], manner: Manner) {
    this.#dialogue = dialogue;
    this.#questions = questions;
    this.#manner = manner;
  }

  /** Gives the answers by the rules of {@link Mailbox.retrieve}. @throws PROTOCOL, TIMEOUT, LOST */
  async *[Symbol.asyncIterator](): AsyncGenerator<Retrieved, void, undefined> {
    const { connection } = this.#dialogue;
    for (const [index, question] of this.#questions.entries()) {
      const { number } = question;
      const status = this.#early ?? (await this.#status(index));
      this.#early = undefined;
      this.#ahead -= question.size;
      if (!status.ok) {
        yield { number, refused: connection.masked(status.text) };
        continue;
      }
      const prove = (octets: number): Promise<void> => this.#prove(index, octets);
      const body = new Body(connection.body(), this.#manner.maxOctets, prove);
      yield { number, body };
      await body.drain();
      if (body.overgrown) {
        // It may be endless: what was asked for behind it is given up with the session.
        connection.close();
        return;
      }
    }
  }

  #status(index: number): Promise<Status> {
    this.#ask(index);
    return this.#dialogue.status('retrieve');
  }

  /** Sends this question, if it is not under way, and those behind it that may be. */
  #ask(index: number): void {
    const batch: string[] = [];
    // Asked again only when half the window is used up, so that one write carries many commands.
    const low = this.#sent - index <= PIPELINE_COMMANDS / 2 && this.#ahead <= PIPELINE_OCTETS / 2;
    while (this.#sent === index || (this.#manner.pipelining && low && this.#hasRoom(index))) {
      const next = this.#questions[this.#sent];
      if (next === undefined) break;
      batch.push(next.command);
      this.#ahead += next.size;
      this.#sent += 1;
    }
    const underWay = this.#sent - batch.length > index;
    if (batch.length > 0) this.#dialogue.send(batch, 'retrieve', { underWay });
  }

  #hasRoom(index: number): boolean {
    return this.#sent - index < PIPELINE_COMMANDS && this.#ahead < PIPELINE_OCTETS;
  }

  /**
   * A server that forgets dot-stuffing ends a message at a dot of its own, and the rest follows. So a body that has
   * not the length that LIST gave is whole only where the next thing that comes is an answer.
   * @throws PROTOCOL where it is none
   */
  async #prove(index: number, octets: number): Promise<void> {
    const { expected } = this.#questions[index] ?? {};
    if (expected === 'any' || octets === expected) return;
    if (index + 1 < this.#questions.length) this.#early = await this.#status(index + 1);
    else {
      await this.#dialogue.ask('NOOP', 'retrieve');
      if (this.#dialogue.connection.pending > 0) throw unasked('retrieve');
    }
  }
}
