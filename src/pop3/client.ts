/** One POP3 session: RFC 1939, with RFC 2449 (CAPA), 2595 (STLS), 5034 (AUTH) and 6856 (UTF8). */
import { PopfetchError, type Phase } from '../errors.js';
import type { Connection } from '../wire/connection.js';
import { CAPA_LINES, PIPELINE_COMMANDS, UNLISTED } from '../wire/limits.js';
import type { ChannelInfo, TlsSettings } from '../wire/trust.js';
import { offeredMechanisms, type Method } from './auth.js';
import { Answers, type Question } from './answers.js';
import { Dialogue } from './dialogue.js';
import { uidlLine, unlisted } from './listing.js';
import { logIn, type Credentials } from './login.js';
import type { Listed, Listing, Mailbox, Retrieved } from './mailbox.js';
import { refusalOf, type Plainly } from './refusals.js';
import type { Server } from './sasl/bearer.js';
import {
  joinRows,
  NO_CAPABILITIES,
  parseCapabilities,
  parseStat,
  parseTimestamp,
  responseCode,
  type Capabilities,
  type Status,
} from './replies.js';
import { SizeRows, UidRows } from './rows.js';

export type { Credentials } from './login.js';

const UNWELCOME: Plainly = { code: 'BUSY', message: 'the server refuses to talk' };

/**
 * The client's side of one session, in the order: greet(), capa(), perhaps startTls() and capa() again, login(), then
 * the methods of {@link Mailbox}. Commands are pipelined where the server announces it, else sent one at a time.
 * Errors carry their phase and the server's own words, in which no secret is left.
 */
export class Pop3Client implements Mailbox {
  readonly #dialogue: Dialogue;
  readonly #mayPipeline: boolean;
  #capabilities: Capabilities = NO_CAPABILITIES;
  #timestamp: string | undefined;
  #method: Method | undefined;
  #offered: readonly string[] = [];

  /**
   * Does no I/O.
   * @param mayPipeline false sends one command at a time, whatever the server announces
   */
  constructor(connection: Connection, mayPipeline = true) {
    this.#dialogue = new Dialogue(connection);
    this.#mayPipeline = mayPipeline;
  }

  /** {@link Dialogue.outOfStep}: whether the next session had better send one command at a time. */
  get outOfStep(): boolean {
    return this.#dialogue.outOfStep;
  }

  get capabilities(): Capabilities {
    return this.#capabilities;
  }

  get channel(): ChannelInfo {
    return this.#dialogue.connection.channel;
  }

  /** The method that logged in; undefined before. */
  get method(): Method | undefined {
    return this.#method;
  }

  /** The SASL mechanisms that the server offered when it came to the login, upper case. */
  get offered(): readonly string[] {
    return this.#offered;
  }

  /** Reads the greeting. @throws BUSY for -ERR, AUTH for one with [SYS/PERM], PROTOCOL for what is not POP3, TIMEOUT, LOST */
  async greet(): Promise<void> {
    const status = await this.#dialogue.status('greeting');
    if (!status.ok) throw refusalOf(this.#dialogue, status, 'greeting', UNWELCOME);
    this.#timestamp = parseTimestamp(status.text);
  }

  /** Asks what the server can do; a server that does not know CAPA can do RFC 1939. */
  async capa(): Promise<void> {
    const status = await this.#dialogue.ask('CAPA', 'login');
    const lines = status.ok ? await this.#dialogue.lines(CAPA_LINES, 'login') : undefined;
    this.#capabilities = lines === undefined ? NO_CAPABILITIES : parseCapabilities(lines);
  }

  /**
   * Goes on in TLS (RFC 2595 section 4), whether CAPA offers it or not: that list came in clear, and anybody may have
   * changed it. What was learned in clear is forgotten. @throws TLS: there is no way back to clear.
   */
  async startTls(settings: TlsSettings): Promise<void> {
    const status = await this.#dialogue.ask('STLS', 'tls');
    if (!status.ok) throw this.#noTls(status);
    await this.#dialogue.connection.startTls(settings);
    this.#capabilities = NO_CAPABILITIES;
    this.#timestamp = undefined;
  }

  /**
   * Logs in. @throws AUTH, or BUSY for [IN-USE], [LOGIN-DELAY] and [SYS/TEMP]
   * @param server where the session goes, which OAUTHBEARER tells
   */
  async login(credentials: Credentials, server?: Server): Promise<void> {
    const introduction = { capabilities: this.#capabilities, timestamp: this.#timestamp, server };
    this.#offered = offeredMechanisms(this.#capabilities);
    this.#method = await logIn(this.#dialogue, credentials, introduction);
  }

  async list(): Promise<Listing> {
    const verbs = ['STAT', 'LIST', 'UIDL'] as const;
    if (this.#pipelining) this.#dialogue.send(verbs, 'list');
    const answer = async (verb: (typeof verbs)[number]): Promise<Status> => {
      if (!this.#pipelining) this.#dialogue.send(verb, 'list');
      return this.#dialogue.status('list');
    };
    const statStatus = await answer('STAT');
    if (!statStatus.ok)
      throw this.#dialogue.refusal(statStatus, 'the server refuses STAT', { phase: 'list' }, 'BUSY');
    const stat = parseStat(statStatus.text);
    if (stat === undefined)
      throw this.#dialogue.refusal(
        statStatus,
        'the server gave no usable message count',
        { phase: 'list' },
        'PROTOCOL',
      );
    const rows: { LIST: SizeRows; UIDL: UidRows | undefined } = {
      LIST: new SizeRows(stat.count),
      UIDL: new UidRows(stat.count),
    };
    for (const verb of ['LIST', 'UIDL'] as const) {
      const status = await answer(verb);
      if (status.ok) await this.#dialogue.eachLine(stat.count, 'list', (line) => rows[verb]?.take(line));
      else if (stat.count > 0) {
        // UIDL is optional (RFC 1939 section 7): a plain refusal means that the server has none.
        if (verb === 'LIST' || responseCode(status) !== undefined) throw this.#listingRefusal(status, verb);
        rows.UIDL = undefined;
      }
    }
    return this.#completed(stat, rows);
  }

  /** The listing; what UIDL left out is asked for by number, as far as that is not too much. */
  async #completed(
    stat: { readonly count: number; readonly octets: number },
    { LIST, UIDL }: { readonly LIST: SizeRows; readonly UIDL: UidRows | undefined },
  ): Promise<Listing> {
    const listing = joinRows(stat, LIST, UIDL);
    if (listing.complete || UIDL === undefined) return listing;
    const found = await this.#uidlLines(unlisted(listing, stat.count, UNLISTED));
    for (const line of found) UIDL.take(line);
    return found.length === 0 ? listing : joinRows(stat, LIST, UIDL);
  }

  async #uidlLines(numbers: readonly number[]): Promise<string[]> {
    const lines: string[] = [];
    for await (const [number, status] of this.#each('UIDL', numbers, 'list')) {
      const line = status.ok ? uidlLine(number, status.text) : undefined;
      if (line !== undefined) lines.push(line);
    }
    return lines;
  }

  /** Asks one line about each of many messages, as many at once as may be. */
  async *#each(
    verb: 'UIDL' | 'DELE',
    numbers: readonly number[],
    phase: Phase,
  ): AsyncGenerator<readonly [number: number, status: Status], void, undefined> {
    const window = this.#pipelining ? PIPELINE_COMMANDS : 1;
    for (let from = 0; from < numbers.length; from += window) {
      const batch = numbers.slice(from, from + window);
      this.#dialogue.send(
        batch.map((number) => `${verb} ${number}`),
        phase,
      );
      for (const number of batch) yield [number, await this.#dialogue.status(phase)];
    }
  }

  retrieve(wanted: readonly Listed[], maxOctets: number): AsyncIterable<Retrieved> {
    const questions = wanted.map(({ number, size, unsized }) => {
      return { number, command: `RETR ${number}`, size, expected: unsized ? undefined : size };
    });
    return this.#answers(questions, maxOctets);
  }

  top(numbers: readonly number[], lines: number): AsyncIterable<Retrieved> {
    const questions = numbers.map((number) => {
      return { number, command: `TOP ${number} ${lines}`, size: 4096, expected: 'any' as const };
    });
    return this.#answers(questions, Number.MAX_SAFE_INTEGER);
  }

  async remove(numbers: readonly number[]): Promise<readonly number[]> {
    const removed: number[] = [];
    for await (const [number, { ok }] of this.#each('DELE', numbers, 'remove')) {
      if (ok) removed.push(number);
    }
    return removed;
  }

  /** RSET: unmarks what remove() marked. */
  async reset(): Promise<void> {
    const status = await this.#dialogue.ask('RSET', 'remove');
    if (!status.ok)
      throw this.#dialogue.refusal(status, 'the server refuses RSET', { phase: 'remove' }, 'PROTOCOL');
  }

  /** NOOP: keeps the session from being closed for idleness. */
  async noop(): Promise<void> {
    await this.#dialogue.ask('NOOP', 'list');
  }

  async quit(): Promise<void> {
    try {
      this.#dialogue.send('QUIT', 'quit');
      const status = await this.#dialogue.status('quit');
      if (!status.ok)
        throw this.#dialogue.refusal(
          status,
          'the server could not finish the session',
          { phase: 'quit' },
          'REFUSED',
        );
    } finally {
      this.close();
    }
  }

  close(reason?: PopfetchError): void {
    this.#dialogue.connection.close(reason);
  }

  get #pipelining(): boolean {
    return this.#mayPipeline && this.#capabilities.tags.has('PIPELINING');
  }

  #answers(questions: readonly Question[], maxOctets: number): AsyncIterable<Retrieved> {
    return new Answers(this.#dialogue, questions, { pipelining: this.#pipelining, maxOctets });
  }

  #noTls(status: Status): PopfetchError {
    const hidden = this.#capabilities.known && !this.#capabilities.tags.has('STLS');
    const sentence = hidden ? 'the server offers no STLS' : 'the server refuses STLS';
    const details = { phase: 'tls', remedy: 'use tls: implicit with port 995' } as const;
    return this.#dialogue.refusal(status, sentence, details, 'TLS');
  }

  #listingRefusal(status: Status, verb: 'LIST' | 'UIDL'): PopfetchError {
    return this.#dialogue.refusal(status, `the server refuses ${verb}`, { phase: 'list' }, 'BUSY');
  }
}
