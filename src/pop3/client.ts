/** One POP3 session: RFC 1939, with RFC 2449 (CAPA), 2595 (STLS), 5034 (AUTH) and 6856 (UTF8). */
import { PopfetchError, type Phase } from '../errors.js';
import type { Connection } from '../wire/connection.js';
import {
  CAPA_LINES,
  COMMAND,
  LISTING_LINE,
  PIPELINE_COMMANDS,
  PIPELINE_OCTETS,
  QUIT_TIMEOUT,
  SASL_LINE,
} from '../wire/limits.js';
import type { ChannelInfo, TlsSettings } from '../wire/trust.js';
import { apopDigest, chooseMethod, formsOf, plainResponse, type Method } from './auth.js';
import { Body } from './body.js';
import type { Listed, Listing, Mailbox, Retrieved } from './mailbox.js';
import {
  assembleListing,
  Lines,
  NO_CAPABILITIES,
  parseCapabilities,
  parseChallenge,
  parseStat,
  parseStatus,
  parseTimestamp,
  type Capabilities,
  type Status,
} from './replies.js';

/** Who logs in, and how. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
  readonly method: Method | 'auto';
  /** The password may cross a network in clear. Not needed on TLS or within this machine. */
  readonly insecure: boolean;
}

/** One RETR or TOP to be asked. */
interface Question {
  readonly number: number;
  readonly command: string;
  /** Octets expected, by LIST. */
  readonly size: number;
}

/**
 * The client's side of one session, in the order: greet(), capa(), perhaps startTls() and capa() again, login(), then
 * the methods of {@link Mailbox}. Commands are pipelined where the server announces it, else sent one at a time.
 * Errors carry their phase and the server's own words, in which no secret is left.
 */
export class Pop3Client implements Mailbox {
  readonly #connection: Connection;
  #capabilities: Capabilities = NO_CAPABILITIES;
  #timestamp: string | undefined;
  #method: Method | undefined;

  /** Does no I/O. */
  constructor(connection: Connection) {
    this.#connection = connection;
  }

  get capabilities(): Capabilities {
    return this.#capabilities;
  }

  get channel(): ChannelInfo {
    return this.#connection.channel;
  }

  /** The method that logged in; undefined before. */
  get method(): Method | undefined {
    return this.#method;
  }

  /** Reads the greeting. @throws BUSY for -ERR, PROTOCOL for what is not POP3, TIMEOUT, LOST */
  async greet(): Promise<void> {
    const status = await this.#status('greeting');
    if (!status.ok) throw this.#refusal(status, 'the server refuses to talk', 'greeting', 'BUSY');
    this.#timestamp = parseTimestamp(status.text);
  }

  /** Asks what the server can do; a server that does not know CAPA can do RFC 1939. */
  async capa(): Promise<void> {
    const status = await this.#ask('CAPA', 'login');
    const lines = status.ok ? await this.#lines(CAPA_LINES) : undefined;
    this.#capabilities = lines === undefined ? NO_CAPABILITIES : parseCapabilities(lines);
  }

  /** Goes on in TLS (RFC 2595 section 4); what was learned in clear is forgotten. @throws TLS: there is no way back to clear. */
  async startTls(settings: TlsSettings): Promise<void> {
    if (this.#capabilities.known && !this.#capabilities.tags.has('STLS')) {
      throw new PopfetchError('TLS', 'the server offers no STLS', {
        phase: 'tls',
        remedy: 'use tls: implicit with port 995',
      });
    }
    const status = await this.#ask('STLS', 'tls');
    if (!status.ok) throw this.#refusal(status, 'the server refuses STLS', 'tls', 'TLS');
    await this.#connection.startTls(settings);
    this.#capabilities = NO_CAPABILITIES;
    this.#timestamp = undefined;
  }

  /** Logs in. @throws AUTH, or BUSY for [IN-USE], [LOGIN-DELAY] and [SYS/TEMP] */
  async login(credentials: Credentials): Promise<void> {
    const { user, password } = credentials;
    const method = chooseMethod(credentials.method, {
      capabilities: this.#capabilities,
      timestamp: this.#timestamp,
      clearTextAllowed: this.#clearTextAllowed(credentials.insecure),
    });
    const plain = plainResponse(user, password);
    this.#connection.hide([...formsOf([password]), plain]);
    await this.#utf8();
    const status = await this.#logIn(method, user, password, plain);
    if (!status.ok) throw this.#loginRefusal(status);
    this.#method = method;
  }

  async list(): Promise<Listing> {
    const verbs = ['STAT', 'LIST', 'UIDL'] as const;
    if (this.#pipelining) this.#send(verbs);
    const answer = async (verb: (typeof verbs)[number]): Promise<Status> => {
      if (!this.#pipelining) this.#send(verb);
      return this.#status('list');
    };
    const statStatus = await answer('STAT');
    if (!statStatus.ok) throw this.#refusal(statStatus, 'the server refuses STAT', 'list', 'BUSY');
    const stat = parseStat(statStatus.text);
    const rows = { LIST: [] as string[], UIDL: [] as string[] };
    for (const verb of ['LIST', 'UIDL'] as const) {
      const status = await answer(verb);
      if (status.ok) rows[verb] = await this.#lines(stat.count);
      else if (stat.count > 0) throw this.#listingRefusal(status, verb);
    }
    return assembleListing(stat, rows.LIST, rows.UIDL);
  }

  retrieve(wanted: readonly Listed[], maxOctets: number): AsyncIterable<Retrieved> {
    const questions = wanted.map(({ number, size }) => ({ number, command: `RETR ${number}`, size }));
    return this.#answers(questions, maxOctets);
  }

  top(numbers: readonly number[], lines: number): AsyncIterable<Retrieved> {
    const questions = numbers.map((number) => ({ number, command: `TOP ${number} ${lines}`, size: 4096 }));
    return this.#answers(questions, Number.MAX_SAFE_INTEGER);
  }

  async remove(numbers: readonly number[]): Promise<readonly number[]> {
    const window = this.#pipelining ? PIPELINE_COMMANDS : 1;
    const removed: number[] = [];
    for (let from = 0; from < numbers.length; from += window) {
      const batch = numbers.slice(from, from + window);
      this.#send(batch.map((number) => `DELE ${number}`));
      for (const number of batch) if ((await this.#status('remove')).ok) removed.push(number);
    }
    return removed;
  }

  /** RSET: unmarks what remove() marked. */
  async reset(): Promise<void> {
    const status = await this.#ask('RSET', 'remove');
    if (!status.ok) throw this.#refusal(status, 'the server refuses RSET', 'remove', 'PROTOCOL');
  }

  /** NOOP: keeps the session from being closed for idleness. */
  async noop(): Promise<void> {
    await this.#ask('NOOP', 'list');
  }

  async quit(): Promise<void> {
    try {
      this.#send('QUIT');
      const status = await this.#status('quit', QUIT_TIMEOUT);
      if (!status.ok)
        throw this.#refusal(status, 'the server could not finish the session', 'quit', 'REFUSED');
    } finally {
      this.close();
    }
  }

  close(reason?: PopfetchError): void {
    this.#connection.close(reason);
  }

  get #pipelining(): boolean {
    return this.#capabilities.tags.has('PIPELINING');
  }

  #clearTextAllowed(insecure: boolean): boolean {
    return this.#connection.channel.protocol !== undefined || this.#connection.loopback || insecure;
  }

  /** Without UTF8 a server may send an explanation in place of a message with 8-bit headers (RFC 6856 section 2). */
  async #utf8(): Promise<void> {
    if (this.#capabilities.tags.has('UTF8')) await this.#ask('UTF8', 'login');
  }

  async #logIn(method: Method, user: string, password: string, plain: string): Promise<Status> {
    switch (method) {
      case 'user': {
        const status = await this.#ask(`USER ${user}`, 'login');
        return status.ok ? this.#ask(`PASS ${password}`, 'login', 'PASS ********') : status;
      }
      case 'apop':
        return this.#ask(
          `APOP ${user} ${apopDigest(this.#timestamp ?? '', password)}`,
          'login',
          `APOP ${user} ********`,
        );
      case 'plain':
        return this.#plain(plain);
    }
  }

  /** AUTH PLAIN, with its response in the command where that fits (RFC 5034 section 4). */
  async #plain(response: string): Promise<Status> {
    const fits = response.length + 'AUTH PLAIN \r\n'.length <= COMMAND;
    this.#send(fits ? `AUTH PLAIN ${response}` : 'AUTH PLAIN', {
      shown: `AUTH PLAIN${fits ? ' ********' : ''}`,
    });
    const line = await this.#line('login');
    // Some servers ignore the response in the command and ask for it.
    if (parseChallenge(line) === undefined) return this.#parse(line, 'login');
    this.#send(response, { shown: '********', limit: SASL_LINE });
    return this.#status('login');
  }

  async *#answers(
    questions: readonly Question[],
    maxOctets: number,
  ): AsyncGenerator<Retrieved, void, undefined> {
    let sent = 0;
    let ahead = 0;
    for (const [index, question] of questions.entries()) {
      const batch: string[] = [];
      // Asked again only when half the window is used up, so that one write carries many commands.
      const low = sent - index <= PIPELINE_COMMANDS / 2 && ahead <= PIPELINE_OCTETS / 2;
      while (
        sent === index ||
        (this.#pipelining && low && sent - index < PIPELINE_COMMANDS && ahead < PIPELINE_OCTETS)
      ) {
        const next = questions[sent];
        if (next === undefined) break;
        batch.push(next.command);
        ahead += next.size;
        sent += 1;
      }
      if (batch.length > 0) this.#send(batch, {}, sent - batch.length > index);
      const status = await this.#status('retrieve');
      ahead -= question.size;
      if (!status.ok) {
        yield { number: question.number, refused: this.#connection.masked(status.text) };
        continue;
      }
      const body = new Body(this.#connection.body(), maxOctets);
      yield { number: question.number, body };
      await body.drain();
    }
  }

  /** The lines of a multi-line answer: `limit` of them, and what goes beyond is counted as an attack at twice that. */
  async #lines(limit: number): Promise<string[]> {
    const splitter = new Lines(LISTING_LINE);
    const lines: string[] = [];
    for await (const piece of this.#connection.body()) {
      for (const line of splitter.push(piece)) lines.push(line);
      if (lines.length > limit + CAPA_LINES) {
        throw new PopfetchError(
          'PROTOCOL',
          `the server sent more than ${limit} lines where no more were due`,
        );
      }
    }
    return lines;
  }

  async #ask(command: string, phase: Phase, shown?: string): Promise<Status> {
    this.#send(command, shown === undefined ? {} : { shown });
    return this.#status(phase);
  }

  /** Sends. When nothing is under way, nothing may be waiting to be read: it would be taken for the answer. */
  #send(
    lines: string | readonly string[],
    options: { shown?: string; limit?: number } = {},
    underWay = false,
  ): void {
    if (!underWay && this.#connection.pending > 0) {
      throw new PopfetchError('PROTOCOL', 'the server sent something that was not asked for');
    }
    this.#connection.send(lines, options);
  }

  async #status(phase: Phase, timeout?: number): Promise<Status> {
    return this.#parse(await this.#line(phase, timeout), phase);
  }

  async #line(phase: Phase, timeout?: number): Promise<string> {
    try {
      return await this.#connection.readLine(undefined, timeout);
    } catch (error) {
      throw inPhase(error, phase);
    }
  }

  #parse(line: string, phase: Phase): Status {
    try {
      return parseStatus(this.#connection.masked(line));
    } catch (error) {
      throw inPhase(error, phase);
    }
  }

  #refusal(
    status: Status,
    message: string,
    phase: Phase,
    code: 'BUSY' | 'TLS' | 'PROTOCOL' | 'REFUSED',
  ): PopfetchError {
    return new PopfetchError(status.code === 'SYS/TEMP' ? 'BUSY' : code, message, {
      phase,
      serverText: status.text,
    });
  }

  #listingRefusal(status: Status, verb: 'LIST' | 'UIDL'): PopfetchError {
    if (verb === 'LIST' || status.code !== undefined) {
      return this.#refusal(status, `the server refuses ${verb}`, 'list', 'BUSY');
    }
    return new PopfetchError(
      'PROTOCOL',
      'the server has no UIDL, so that seen mail cannot be told from new',
      {
        phase: 'list',
        serverText: status.text,
        remedy:
          'ask the provider for UIDL support; popfetch fetches nothing from this server, to double nothing',
      },
    );
  }

  #loginRefusal(status: Status): PopfetchError {
    const details = { phase: 'login', serverText: status.text } as const;
    switch (status.code ?? '') {
      case 'IN-USE':
        return new PopfetchError('BUSY', 'another session holds the mailbox', {
          ...details,
          remedy: 'wait for the other mail program to finish',
        });
      case 'LOGIN-DELAY':
        return new PopfetchError('BUSY', 'the server wants more time between two logins', {
          ...details,
          remedy: 'run popfetch less often for this account',
        });
      case 'SYS/TEMP':
        return new PopfetchError('BUSY', 'the server has a temporary problem', details);
      case 'SYS/PERM':
        return new PopfetchError('AUTH', 'the server has a lasting problem with this account', {
          ...details,
          remedy: 'ask the provider',
        });
      default:
        return new PopfetchError('AUTH', 'the server refused the login', details);
    }
  }
}

function inPhase(error: unknown, phase: Phase): unknown {
  return error instanceof PopfetchError ? error.within({ phase }) : error;
}
