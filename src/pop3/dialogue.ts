/** Commands and their answers, in order, over one connection (RFC 1939 section 3). */
import { PopfetchError, type ErrorCode, type ErrorDetails, type Phase } from '../errors.js';
import type { Connection } from '../wire/connection.js';
import { LISTING_LINE } from '../wire/limits.js';
import { Lines, parseStatus, responseCode, type Status } from './replies.js';

/** How a command is sent. */
export interface CommandOptions {
  /** What a transcript shows in place of a line that holds a secret. */
  readonly shown?: string;
  /** Octets allowed, where the line is not a command (RFC 5034 section 4). */
  readonly limit?: number;
  /** True when answers to earlier commands are still to come. */
  readonly underWay?: boolean;
}

/** How a line is read. */
export interface LineOptions {
  /** Octets allowed, where it is no status line. */
  readonly limit?: number;
  /** What a transcript shows of it. */
  readonly shown?: (line: string) => string;
}

/** One side of a conversation. Errors say in which phase they happened; no text it gives holds a secret. */
export class Dialogue {
  readonly connection: Connection;
  /** Commands whose status has not come yet. */
  #underWay = 0;
  /** Commands sent since the last time when none was under way. */
  #row = 0;
  /** Whether this server has answered two commands that were under way at once. */
  #keepsStep = false;
  #outOfStep = false;

  /**
   * Whether the conversation broke in a way that suggests that the server, whatever it announces, cannot take several
   * commands at once: no answer, or one that is none, while more than one was under way.
   */
  get outOfStep(): boolean {
    return this.#outOfStep;
  }

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** Sends one command and reads its status. */
  async ask(command: string, phase: Phase, options: CommandOptions = {}): Promise<Status> {
    this.send(command, phase, options);
    return this.status(phase);
  }

  /**
   * Sends. When nothing is under way, nothing may be waiting to be read: it would be taken for the answer.
   * @throws PROTOCOL, LOST
   */
  send(lines: string | readonly string[], phase: Phase, options: CommandOptions = {}): void {
    if (options.underWay !== true && this.connection.pending > 0) throw this.#broken(unasked(phase));
    try {
      this.connection.send(lines, options);
    } catch (error) {
      throw inPhase(error, phase);
    }
    if (this.#underWay === 0) this.#row = 0;
    const count = typeof lines === 'string' ? 1 : lines.length;
    this.#row += count;
    this.#underWay += count;
  }

  /** Reads a status line. @throws PROTOCOL, TIMEOUT, LOST */
  async status(phase: Phase): Promise<Status> {
    return this.parse(await this.line(phase), phase);
  }

  /** Reads a line that may be no status line. */
  async line(phase: Phase, { limit, shown }: LineOptions = {}): Promise<string> {
    const clock = phase === 'greeting' || phase === 'quit' ? phase : 'reply';
    let line: string;
    try {
      line = await this.connection.readLine(limit, clock, shown);
    } catch (error) {
      throw inPhase(this.#broken(error), phase);
    }
    this.#keepsStep ||= this.#row > 1 && this.#underWay < this.#row;
    this.#underWay = Math.max(this.#underWay - 1, 0);
    return line;
  }

  /** Takes a line for a status line. @throws PROTOCOL */
  parse(line: string, phase: Phase): Status {
    const status = parseStatus(line);
    if (status !== undefined) return status;
    const serverText = this.connection.masked(line);
    throw this.#broken(
      new PopfetchError('PROTOCOL', 'the server answered with something that is not POP3', {
        phase,
        serverText,
      }),
    );
  }

  /** Notes what an error says of the server's pipelining. */
  #broken<T>(error: T): T {
    if (this.#row < 2 || !(error instanceof PopfetchError)) return error;
    // Connections are lost for many reasons; a server that hangs up on the first row of commands is one.
    if (error.code !== 'LOST' || !this.#keepsStep) this.#outOfStep = true;
    return error;
  }

  /** A refusal as an error; [SYS/TEMP] makes it a matter of time, whatever `code` it would be otherwise. */
  refusal(status: Status, message: string, details: ErrorDetails, code: ErrorCode): PopfetchError {
    const serverText = this.connection.masked(status.text);
    const temporary = responseCode(status) === 'SYS/TEMP';
    return new PopfetchError(temporary ? 'BUSY' : code, message, { ...details, serverText });
  }

  /** The lines of a multi-line answer. @throws PROTOCOL where more come than `limit`, and some for good measure */
  async lines(limit: number, phase: Phase): Promise<string[]> {
    const lines: string[] = [];
    await this.eachLine(limit, phase, (line) => lines.push(line));
    return lines;
  }

  /** The same one by one, for answers of very many lines. What `take` throws ends it. */
  async eachLine(limit: number, phase: Phase, take: (line: string) => unknown): Promise<void> {
    const splitter = new Lines(LISTING_LINE);
    let count = 0;
    try {
      for await (const piece of this.connection.body()) {
        for (const line of splitter.push(piece)) {
          if (count < SHOWN) this.connection.show(line);
          count += 1;
          take(line);
        }
        if (count > limit + TOLERATED) {
          throw new PopfetchError(
            'PROTOCOL',
            `the server sent more than ${limit} lines where no more were due`,
          );
        }
      }
    } catch (error) {
      throw inPhase(error, phase);
    }
  }
}

/** Lines of an answer that a trace shows; beyond them, one is as good as another. */
const SHOWN = 1000;

/** What came while nothing was under way. */
export function unasked(phase: Phase): PopfetchError {
  return new PopfetchError('PROTOCOL', 'the server sent something that was not asked for', { phase });
}

/** Lines beyond what is due that are not yet taken for an attack: mail may arrive between STAT and LIST. */
const TOLERATED = 64;

/** The error, now saying in which phase it happened; a bug stays as it is. */
export function inPhase(error: unknown, phase: Phase): unknown {
  return error instanceof PopfetchError ? error.within({ phase }) : error;
}
