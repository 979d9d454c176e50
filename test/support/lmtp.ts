/** An LMTP server of our own, on loopback or on a socket, that says what a test wants it to say. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

/** Where in a conversation an answer is due. `message`: after the whole message, for each recipient. */
export type Step = 'greeting' | 'LHLO' | 'MAIL' | 'RCPT' | 'DATA' | 'message' | 'QUIT';

/** The answer, line ends and all; or `close` or `silence`, which is done instead of one. */
export type Answer = string;

/** What the server was given whole, and took. */
export interface Taken {
  readonly sender: string;
  readonly recipient: string;
  /** As it came over the wire, before the terminating dot; dots are still stuffed. */
  readonly raw: Buffer;
  /** Dot-stuffing taken out. */
  readonly data: Buffer;
}

const ANSWERS: Readonly<Record<Step, string>> = {
  greeting: '220 lmtp.example ready\r\n',
  LHLO: '250-lmtp.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 SIZE 1000000000\r\n',
  MAIL: '250 2.1.0 OK\r\n',
  RCPT: '250 2.1.5 OK\r\n',
  DATA: '354 go ahead\r\n',
  message: '250 2.0.0 taken\r\n',
  QUIT: '221 bye\r\n',
};

/** An LHLO that offers nothing. */
export const PLAIN_LHLO = '250 lmtp.example\r\n';

const END = Buffer.from('\r\n.\r\n');

export class LmtpServer {
  readonly taken: Taken[] = [];
  /** Every command line so far. */
  readonly commands: string[] = [];
  /** What came of messages that never came whole. */
  readonly unfinished: string[] = [];
  connections = 0;
  /** What is said at a step; undefined for the usual. Asked each time. */
  answer: (step: Step, recipient: string) => Answer | undefined = () => undefined;
  /** Called with each piece of a message that has arrived and is not whole. What it returns is said at once. */
  midway: () => Answer | undefined = () => undefined;
  /** Whether each answer goes out octet by octet. */
  slow = false;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #waiting: { readonly when: () => boolean; readonly resolve: () => void }[] = [];

  private constructor() {
    this.#server = createServer((socket) => {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      this.connections += 1;
      socket
        .on('error', () => undefined)
        .on('close', () => {
          this.#sockets.delete(socket);
          this.#look();
        });
      new Conversation(this, socket);
      this.#look();
    });
  }

  /** @param path of a socket; a port of 127.0.0.1 where there is none */
  static async start(path?: string): Promise<LmtpServer> {
    const lmtp = new LmtpServer();
    if (path === undefined) lmtp.#server.listen(0, '127.0.0.1');
    else lmtp.#server.listen(path);
    await once(lmtp.#server, 'listening');
    return lmtp;
  }

  /** As a config has it. */
  get address(): string {
    const where = this.#server.address()!;
    return typeof where === 'string' ? where : `127.0.0.1:${where.port}`;
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#sockets.size;
  }

  /** Resolves when this is so; looked at after everything that happens. */
  async until(when: () => boolean): Promise<void> {
    if (when()) return;
    await new Promise<void>((resolve) => this.#waiting.push({ when, resolve }));
  }

  /** Something happened. */
  happened(): void {
    this.#look();
  }

  /** Ends every connection, as a server does that is tired of waiting. */
  async hangUp(word?: string): Promise<void> {
    for (const socket of this.#sockets) socket.end(word ?? '');
    await this.until(() => this.open === 0);
  }

  async close(): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await once(this.#server, 'close');
  }

  #look(): void {
    for (const { when, resolve } of this.#waiting) if (when()) resolve();
  }
}

/** One connection: RFC 2033, strict about line ends. */
class Conversation {
  #octets = Buffer.alloc(0);
  #sender = '';
  #recipients: string[] = [];
  #inData = false;

  constructor(
    readonly lmtp: LmtpServer,
    readonly socket: Socket,
  ) {
    socket.on('data', (chunk: Buffer) => {
      this.#octets = Buffer.concat([this.#octets, chunk]);
      while (this.#inData ? this.#message() : this.#command());
      lmtp.happened();
    });
    socket.on('close', () => {
      if (this.#inData) lmtp.unfinished.push(this.#octets.toString('latin1'));
      lmtp.happened();
    });
    this.#say('greeting');
  }

  #command(): boolean {
    const end = this.#octets.indexOf('\r\n');
    if (end < 0) return false;
    const line = this.#octets.toString('latin1', 0, end);
    this.#octets = this.#octets.subarray(end + 2);
    this.lmtp.commands.push(line);
    const verb = /^\w+/.exec(line)?.[0].toUpperCase() ?? '';
    const argument = /<(.*)>/.exec(line)?.[1] ?? '';
    if (verb === 'MAIL') [this.#sender, this.#recipients] = [argument, []];
    if (!['LHLO', 'MAIL', 'RCPT', 'DATA', 'QUIT'].includes(verb)) this.#send('500 what?\r\n');
    else if (verb === 'DATA' && this.#recipients.length === 0) this.#send('503 no recipient\r\n');
    else {
      const said = this.#say(verb as Step, argument);
      if (verb === 'RCPT' && said.startsWith('2')) this.#recipients.push(argument);
      if (verb === 'DATA' && said.startsWith('354')) this.#inData = true;
      if (verb === 'QUIT') this.socket.end();
    }
    return true;
  }

  #message(): boolean {
    const lone = this.#octets.subarray(0, 3).equals(END.subarray(2));
    const end = lone ? -2 : this.#octets.indexOf(END);
    if (end === -1) {
      const word = this.lmtp.midway();
      if (word !== undefined) this.#send(word);
      return false;
    }
    const raw = Buffer.from(this.#octets.subarray(0, end + 2));
    this.#octets = this.#octets.subarray(end + END.length);
    this.#inData = false;
    const data = Buffer.from(raw.toString('latin1').replace(/(?<=^|\r\n)\./g, ''), 'latin1');
    for (const recipient of this.#recipients) {
      const said = this.#say('message', recipient);
      if (said.startsWith('2')) this.lmtp.taken.push({ sender: this.#sender, recipient, raw, data });
    }
    return true;
  }

  #say(step: Step, recipient = ''): Answer {
    const answer = this.lmtp.answer(step, recipient) ?? ANSWERS[step];
    this.#send(answer);
    return answer;
  }

  #send(answer: Answer): void {
    if (answer === 'close') this.socket.destroy();
    else if (answer !== 'silence' && this.lmtp.slow) for (const each of answer) this.socket.write(each);
    else if (answer !== 'silence') this.socket.write(answer, 'latin1');
  }
}
