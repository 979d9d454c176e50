/** One conversation of the in-memory POP3 server with a client, from greeting to goodbye. */
import type { SecureContext, TLSSocket } from 'node:tls';
import { stuffed } from './body.js';
import { Channel, Gone } from './channel.js';
import type { Action } from './channel.js';
import type { ServerMailbox, StoredMessage } from './mailbox.js';
import type { EventKind } from './faults.js';
import { VERBS } from './verbs.js';

/** A status line and lines after it; the lines are stuffed and the dot line is added. */
export interface MultiLine {
  readonly status: string;
  readonly body: AsyncIterable<Buffer> | Iterable<Buffer>;
  /** Octets of the body, where there is a half-way point to tell about. */
  readonly size?: number;
}

/**
 * What a command is answered with. A string is one or more lines, sent as latin1, with CRLF added at the end where it
 * is missing; a buffer goes out as it is; the words 'close', 'drop', 'reset' and 'stall' end the conversation;
 * 'sent' means that the answer has been written already.
 */
export type Reply = Action | 'sent' | (string & Record<never, never>) | Buffer | MultiLine;

/** Takes the place of a verb's standard answer; undefined leaves it to the standard one. */
export type Override =
  Reply | ((session: Session, args: readonly string[]) => Reply | undefined | Promise<Reply | undefined>);

/** What the sessions of one server share. */
export interface Shared {
  readonly mailboxes: ReadonlyMap<string, ServerMailbox>;
  readonly tls: 'none' | 'starttls' | 'implicit';
  readonly context: SecureContext | undefined;
  readonly overrides: Readonly<Record<string, Override>>;
  readonly greeting: Reply;
  readonly capa: readonly string[] | false | ((session: Session) => readonly string[] | false) | undefined;
  readonly timestamp: string | undefined;
  readonly pipelining: boolean;
  readonly uidl: boolean;
  readonly utf8: boolean;
  readonly keepAfterQuit: boolean;
  /** Tells about an event; gives back what is to happen to the connection, if anything. */
  readonly tell: ((kind: EventKind, session: Session) => Promise<Action | undefined>) | undefined;
}

/** What was said on one connection. */
export class SessionLog {
  /** `C: …` and `S: …` in order, without CRLF; of a long answer the first line, then its length in brackets. */
  readonly dialogue: string[] = [];
  /** How many commands were already waiting when the answer to an earlier one was about to be sent. */
  pipelined = 0;
  /** Whether QUIT was received and answered. */
  quit = false;
  readonly #channel: Channel;

  constructor(
    readonly number: number,
    channel: Channel,
  ) {
    this.#channel = channel;
  }

  /** The lines that the client sent, latin1. */
  get received(): string[] {
    return this.dialogue.filter((line) => line.startsWith('C: ')).map((line) => line.slice(3));
  }

  /** The verbs of these lines, upper case. */
  get verbs(): string[] {
    return this.received.map((line) => verbOf(line));
  }

  /** The first lines of the answers, the greeting included. */
  get sent(): string[] {
    return this.dialogue.filter((line) => line.startsWith('S: ')).map((line) => line.slice(3));
  }

  get secure(): boolean {
    return this.#channel.secure;
  }

  get octetsSent(): number {
    return this.#channel.octetsSent;
  }

  /** What came in clear, latin1, the first 64 KiB. */
  get overheard(): string {
    return this.#channel.overheard;
  }
}

const ACTIONS: ReadonlySet<unknown> = new Set<Action>(['close', 'drop', 'reset', 'stall']);

/** RFC 2449 section 4: a command line has 255 octets at most, CRLF included. */
const COMMAND_LIMIT = 253;

/** A client's session. Overrides get it and may look at everything and say anything. */
export class Session {
  readonly log: SessionLog;
  readonly shared: Shared;
  state: 'authorization' | 'transaction' | 'update' = 'authorization';
  /** What USER named. */
  user: string | undefined;
  mailbox: ServerMailbox | undefined;
  /** The mailbox as it was at login; message n is at n - 1. */
  messages: readonly StoredMessage[] = [];
  readonly marked = new Set<StoredMessage>();
  utf8 = false;
  /** The command line at hand, its verb in upper case, and what follows the verb, as it is. */
  line = '';
  verb = '';
  rest = '';
  readonly #channel: Channel;

  constructor(number: number, channel: Channel, shared: Shared) {
    this.log = new SessionLog(number, channel);
    this.shared = shared;
    this.#channel = channel;
    void channel.closed.then(() => this.mailbox?.unlock(this));
  }

  get secure(): boolean {
    return this.#channel.secure;
  }

  /** The secured connection, for what a login can be tied to. */
  get tls(): TLSSocket | undefined {
    return this.#channel.tls;
  }

  /** Runs to the end of the connection. Rejects only with what an override or a hook threw. */
  async run(): Promise<void> {
    try {
      if (this.shared.tls === 'implicit') await this.startTls();
      await this.#tell('connect');
      await this.#answer(this.shared.greeting);
      await this.#converse();
      this.#channel.end('close');
    } catch (error) {
      if (error instanceof Gone) return;
      this.#channel.end('reset');
      throw error;
    } finally {
      this.mailbox?.unlock(this);
    }
  }

  /** The standard answer to the command at hand. */
  async standard(): Promise<Reply> {
    const verb = VERBS[this.verb];
    if (verb === undefined) return '-ERR unknown command';
    if (!verb.states.includes(this.state)) return '-ERR not now';
    return await verb.answer(this, this.args);
  }

  /** The words after the verb. */
  get args(): string[] {
    return this.rest === '' ? [] : this.rest.split(' ');
  }

  /** Whether the client has sent more than has been read. */
  get ahead(): boolean {
    return this.#channel.pending;
  }

  /** Overlooks the commands that the client has sent ahead, as servers do that cannot pipeline. */
  overlook(): void {
    this.#channel.forget();
  }

  /** Sends octets at once, outside of any answer. */
  async write(data: Buffer | string): Promise<void> {
    await this.#channel.write(data);
    await this.#channel.flush();
  }

  /** The next line, not as a command: what answers a `+ ` of AUTH. undefined when the client has gone. */
  async readLine(): Promise<string | undefined> {
    const line = await this.#channel.readLine();
    if (line !== undefined) this.log.dialogue.push(`C: ${line}`);
    return line;
  }

  /** Sends a status line, as part of an answer in several steps. */
  async say(line: string): Promise<void> {
    await this.#channel.pause();
    this.log.dialogue.push(`S: ${line}`);
    await this.write(`${line}\r\n`);
  }

  /** From here on through TLS; what came in clear and was not read yet is forgotten. */
  async startTls(): Promise<void> {
    if (this.shared.context === undefined) throw new Error('this server has no TLS');
    await this.#channel.startTls(this.shared.context);
  }

  async #converse(): Promise<void> {
    while (!this.log.quit) {
      const line = await this.readLine();
      if (line === undefined) return;
      this.line = line;
      this.verb = verbOf(line);
      this.rest = line.slice(this.verb.length).replace(/^ /, '');
      await this.#tell('command');
      await this.#answer(await this.#replyTo(line));
      this.log.quit = this.#isOver();
      await this.#tell('replied');
    }
  }

  #isOver(): boolean {
    return this.state === 'update';
  }

  async #replyTo(line: string): Promise<Reply> {
    if (line.length > COMMAND_LIMIT) return '-ERR command too long';
    const override = this.shared.overrides[this.verb];
    const reply = typeof override === 'function' ? await override(this, this.args) : override;
    return reply ?? (await this.standard());
  }

  async #answer(reply: Reply): Promise<void> {
    await this.#tell('reply');
    await this.#channel.pause();
    if (this.#channel.pending) this.log.pipelined += 1;
    if (Buffer.isBuffer(reply)) await this.#sendText(reply);
    else if (typeof reply === 'object') await this.#sendLines(reply);
    else if (isAction(reply)) await this.#channel.act(reply);
    else if (reply !== 'sent') await this.#sendText(Buffer.from(withCrlf(reply), 'latin1'));
    await this.#channel.flush();
  }

  async #sendText(text: Buffer): Promise<void> {
    const first = text.toString('latin1', 0, 600).split('\r\n', 1)[0] ?? '';
    this.log.dialogue.push(`S: ${first}`);
    await this.#channel.write(text);
  }

  async #sendLines(reply: MultiLine): Promise<void> {
    const before = this.#channel.octetsSent;
    await this.#sendText(Buffer.from(withCrlf(reply.status), 'latin1'));
    let untilHalf = this.shared.tell === undefined ? undefined : Math.floor((reply.size ?? 0) / 2);
    for await (const chunk of stuffed(reply.body)) {
      if (!untilHalf || untilHalf > chunk.length) {
        await this.#channel.write(chunk);
        if (untilHalf) untilHalf -= chunk.length;
        continue;
      }
      await this.write(chunk.subarray(0, untilHalf));
      await this.#tell('body');
      await this.#channel.write(chunk.subarray(untilHalf));
      untilHalf = undefined;
    }
    await this.#channel.write('.\r\n');
    await this.#channel.flush();
    this.log.dialogue.push(`   [${this.#channel.octetsSent - before} octets]`);
  }

  async #tell(kind: EventKind): Promise<void> {
    const action = await this.shared.tell?.(kind, this);
    if (action !== undefined) await this.#channel.act(action);
  }
}

function isAction(reply: string): reply is Action {
  return ACTIONS.has(reply);
}

function withCrlf(text: string): string {
  return text.endsWith('\r\n') ? text : `${text}\r\n`;
}

function verbOf(line: string): string {
  return (line.split(' ', 1)[0] ?? '').toUpperCase();
}
