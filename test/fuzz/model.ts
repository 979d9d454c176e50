/** A POP3 server that can be told to misbehave, over a {@link Wire}. It knows the truth: what it has, and for how long. */
import { multi, SAYINGS, UNDONE } from './mischief.js';
import type { Kind, Mail, Mischief, Plan } from './plan.js';
import { Wire } from './wire.js';

/** Milliseconds that are less than any deadline of the fuzzed account, and more than every one. */
const SOON = 5;
const LATE = 200_000;

/** The mailbox, over all connections. */
export class ModelServer {
  /** Every connection there was. */
  readonly wires: Wire[] = [];
  /** Called when DELE or QUIT has come, before it is answered. */
  onCommand: (wire: Wire, command: string) => void = () => undefined;
  wild = true;
  #mails: Mail[] = [];

  constructor(readonly plan: Plan) {}

  get mails(): readonly Mail[] {
    return this.#mails;
  }

  /** Before a run: what has come since the one before. */
  begin(run: number): void {
    this.#mails.push(...this.plan.mails.filter(({ since }) => since === run));
  }

  remove(mails: ReadonlySet<Mail>): void {
    this.#mails = this.#mails.filter((mail) => !mails.has(mail));
  }

  accept(): Wire {
    const wire = new Wire();
    const number = this.wires.push(wire) - 1;
    const mischief = this.wild ? this.plan.mischief.filter(({ connection }) => connection === number) : [];
    const session = new ModelSession(this, wire, mischief);
    wire.join(session);
    queueMicrotask(() => {
      session.greet();
    });
    return wire;
  }
}

class ModelSession {
  readonly #server: ModelServer;
  readonly #wire: Wire;
  readonly #mischief: readonly Mischief[];
  readonly #mails: readonly Mail[];
  readonly #doomed = new Set<Mail>();
  #user = false;
  #rest = '';
  #step = 0;
  /** Answers that wait for others, to go out with them. */
  #held = '';
  /** Whether anything else will ever be said. */
  #mute = false;
  #waiting: string[] = [];
  #busy = false;

  constructor(server: ModelServer, wire: Wire, mischief: readonly Mischief[]) {
    this.#server = server;
    this.#wire = wire;
    this.#mischief = mischief;
    this.#mails = [...server.mails];
  }

  greet(): void {
    this.#answer('+OK ready <1.2@pop.example.com>\r\n', '', () => undefined);
    this.#flush();
  }

  hear(octets: string): void {
    this.#rest += octets;
    for (let end = this.#rest.indexOf('\r\n'); end >= 0; end = this.#rest.indexOf('\r\n')) {
      this.#waiting.push(this.#rest.slice(0, end));
      this.#rest = this.#rest.slice(end + 2);
    }
    this.#work();
  }

  left(): void {
    this.#mute = true;
  }

  /** Unless the answer to QUIT is still to come. */
  #goodbye(): void {
    if (this.#free) this.#wire.end('close');
  }

  get #free(): boolean {
    return !this.#busy && !this.#mute;
  }

  #work(): void {
    while (this.#free) {
      const line = this.#waiting.shift();
      if (line === undefined) break;
      this.#wire.heard.push(line);
      this.#server.onCommand(this.#wire, line);
      const [text, act] = this.#truth(line);
      this.#answer(text, line, act);
      if (!this.#server.plan.joined || this.#waiting.length === 0) this.#flush();
      if (line === 'QUIT') this.#goodbye();
    }
  }

  #flush(): void {
    const { pieces } = this.#server.plan;
    const held = this.#held;
    this.#held = '';
    if (held !== '') this.#wire.say(held, pieces);
  }

  #later(delay: number, text: string): void {
    this.#busy = true;
    this.#flush();
    setTimeout(() => {
      this.#busy = false;
      if (this.#mute) return;
      this.#held += text;
      this.#flush();
      this.#work();
    }, delay);
  }

  /** The right answer, and what it does. */
  #truth(line: string): [text: string, act: () => void] {
    const [verb = '', ...args] = line.split(' ');
    const mail = this.#mails[Number(args[0]) - 1];
    const nothing = (): void => undefined;
    const { plan } = this.#server;
    switch (verb) {
      case 'CAPA':
        return [
          plan.capa ? multi('+OK', this.#capabilities().join('\r\n') + '\r\n') : '-ERR what?\r\n',
          nothing,
        ];
      case 'AUTH':
      case 'PASS':
        return ['+OK welcome\r\n', () => (this.#user = true)];
      case 'USER':
      case 'UTF8':
      case 'NOOP':
        return ['+OK\r\n', nothing];
      case 'QUIT':
        return [
          '+OK bye\r\n',
          () => {
            this.#server.remove(this.#doomed);
          },
        ];
    }
    if (!this.#user) return ['-ERR not now\r\n', nothing];
    const numbered = (row: (each: Mail) => string | number): string =>
      this.#mails.map((each, index) => `${index + 1} ${row(each)}\r\n`).join('');
    switch (verb) {
      case 'STAT':
        return [
          `+OK ${this.#mails.length} ${this.#mails.reduce((sum, { text }) => sum + text.length, 0)}\r\n`,
          nothing,
        ];
      case 'LIST':
        return [
          multi(
            '+OK',
            numbered(({ text }) => text.length),
          ),
          nothing,
        ];
      case 'UIDL':
        return [
          plan.uidl
            ? multi(
                '+OK',
                numbered(({ uid }) => uid),
              )
            : '-ERR what?\r\n',
          nothing,
        ];
      case 'RETR':
        return [mail === undefined ? '-ERR none\r\n' : multi('+OK', mail.text), nothing];
      case 'TOP':
        return [mail === undefined ? '-ERR none\r\n' : multi('+OK', headerOf(mail.text)), nothing];
      case 'DELE':
        return mail === undefined ? ['-ERR none\r\n', nothing] : ['+OK\r\n', () => this.#doomed.add(mail)];
      default:
        return ['-ERR what?\r\n', nothing];
    }
  }

  #capabilities(): string[] {
    const { uidl, pipelining, plain } = this.#server.plan;
    return [
      'TOP',
      'USER',
      ...(uidl ? ['UIDL'] : []),
      ...(pipelining ? ['PIPELINING'] : []),
      ...(plain ? ['SASL PLAIN'] : []),
    ];
  }

  #answer(text: string, line: string, act: () => unknown): void {
    const mischief = this.#mischief.find(({ step }) => step === this.#step);
    this.#step += 1;
    if (mischief === undefined) {
      act();
      this.#held += text;
      return;
    }
    this.#misbehave(mischief, text, line, act);
  }

  #misbehave({ kind, how }: Mischief, text: string, line: string, act: () => unknown): void {
    if (!UNDONE.has(kind)) act();
    const saying = SAYINGS[kind];
    if (saying !== undefined) {
      this.#held += saying({ text, line, how, other: this.#mails[Math.floor(how * this.#mails.length)] });
      return;
    }
    if (kind === 'late' || kind === 'too late') this.#later(kind === 'late' ? SOON : LATE, text);
    else if (kind === 'dribble') this.#dribble(text);
    else if (kind === 'late stray answer' || kind === 'doubled late') {
      this.#held += text;
      this.#later(SOON, kind === 'doubled late' ? text : '+OK 3 300\r\n');
    } else this.#stop(kind, kind.startsWith('cut') ? text.slice(0, Math.floor(how * text.length)) : '');
  }

  /** Says this, and then nothing any more. */
  #stop(kind: Kind, last: string): void {
    this.#held += last;
    this.#flush();
    this.#mute = true;
    if (kind.startsWith('close') || kind === 'cut') this.#wire.end('close');
    if (kind === 'reset') this.#wire.end('reset');
  }

  /** One octet at a time, each in time. */
  #dribble(text: string): void {
    const [first = '', ...rest] = [...text.slice(0, 40).split(/(?<=[^])/), text.slice(40)].filter(
      (piece) => piece !== '',
    );
    this.#held += first;
    this.#busy = true;
    this.#flush();
    const next = (): void => {
      const piece = rest.shift();
      if (this.#mute) return;
      if (piece !== undefined) {
        this.#wire.say(piece);
        setTimeout(next, SOON);
        return;
      }
      this.#busy = false;
      this.#work();
    };
    setTimeout(next, SOON);
  }
}

function headerOf(text: string): string {
  return text.slice(0, text.indexOf('\r\n\r\n') + 4);
}
