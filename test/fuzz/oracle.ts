/** What must be so after every run, whatever the server said. */
import type { Event } from '../../src/events.js';
import { Violation } from './case.js';
import type { ModelServer } from './model.js';
import type { Mail, Plan } from './plan.js';
import { answersOn, type Answer, type Wire } from './wire.js';

/** A delivery as it was announced. */
interface Told {
  readonly wire: Wire;
  readonly number: number;
  /** As the server listed it. */
  readonly uid: string;
  readonly key: string;
}

/** A command that gives mail up, with what had been delivered by then. */
interface GivenUp {
  readonly wire: Wire;
  readonly command: string;
  readonly told: number;
}

/** Watches one case. */
export class Oracle {
  readonly #plan: Plan;
  readonly #server: ModelServer;
  readonly #told: Told[] = [];
  #givenUp: GivenUp[] = [];
  /** The content that each key must have. */
  readonly #contents = new Map<string, readonly string[]>();
  #checked = 0;
  runs = 0;

  constructor(plan: Plan, server: ModelServer) {
    this.#plan = plan;
    this.#server = server;
    server.onCommand = (wire, command) => {
      if (command === 'QUIT' || command.startsWith('DELE ')) {
        this.#givenUp.push({ wire, command, told: this.#told.length });
      }
    };
  }

  get delivered(): number {
    return this.#told.length;
  }

  hear(event: Event): void {
    if (event.type !== 'delivered') return;
    const wire = this.#server.wires.at(-1);
    if (wire === undefined) throw new Violation('a delivery without a session');
    const { number, key } = event;
    this.#told.push({ wire, number, uid: event.uid.split('\0')[0] ?? '', key });
  }

  /** @param files by name, what is in new/ */
  afterRun(files: ReadonlyMap<string, string>, tmp: readonly string[]): void {
    this.runs += 1;
    if (tmp.length > 0) throw new Violation(`left in tmp/: ${tmp.join(' ')}`);
    for (; this.#checked < this.#told.length; this.#checked += 1) this.#came(this.#told[this.#checked]!);
    this.#compare(files);
    for (const given of this.#givenUp) this.#mayGo(given);
    this.#givenUp = [];
  }

  /** What was announced came whole, as the answer to the RETR of that session. */
  #came({ wire, number, uid, key }: Told): void {
    const whole = retrieved(answersOn(wire), number).flatMap(({ body }) =>
      body === undefined ? [] : [lf(body)],
    );
    if (whole.length === 0)
      throw new Violation(`message ${number} (${uid}) was delivered and did not come whole`);
    if (this.#contents.has(key)) throw new Violation(`message ${number} (${uid}) was delivered twice`);
    this.#contents.set(key, whole);
  }

  /** There is one file for each delivery, with the octets that came, and nothing else. */
  #compare(files: ReadonlyMap<string, string>): void {
    const left = new Map(this.#contents);
    for (const [name, content] of files) {
      const key = /A[a-z2-7]{8}K([a-z2-7]{26})\./.exec(name)?.[1] ?? '';
      const whole = left.get(key);
      if (whole === undefined) throw new Violation(`${name} was never announced, or is there twice`);
      if (!whole.includes(content))
        throw new Violation(`${name} holds ${JSON.stringify(content.slice(0, 300))}`);
      left.delete(key);
    }
    if (left.size > 0) throw new Violation(`${left.size} messages were announced and are not there`);
  }

  /** DELE only for what had been delivered; QUIT only when all that RETR gave had been. */
  #mayGo({ wire, command, told }: GivenUp): void {
    const answers = answersOn(wire);
    const before = this.#told.slice(0, told);
    const safe = (number: number): boolean => {
      const uid = listedUid(answers, number);
      if (before.some((each) => each.wire === wire && each.number === number)) return true;
      if (uid !== undefined && before.some((each) => each.uid === uid)) return true;
      if (toppedHeaders(answers, number).some((header) => this.#isBegun(header))) return true;
      return retrieved(answers, number).some(({ body }) => body !== undefined && this.#isStored(lf(body)));
    };
    const [, one] = /^DELE (\d+)$/.exec(command) ?? [];
    const numbers = one === undefined ? retrieved(answers).map((answer) => numberOf(answer)) : [Number(one)];
    for (const number of numbers) {
      if (!safe(number)) throw new Violation(`${command} while message ${number} is not delivered`);
    }
  }

  #isStored(content: string): boolean {
    return [...this.#contents.values()].some((whole) => whole.includes(content));
  }

  /** Whether a message that is stored has this header: how a message is known again under another unique-id. */
  #isBegun(header: string): boolean {
    return [...this.#contents.values()].some((whole) => whole.some((content) => content.startsWith(header)));
  }

  /** What the memory holds as done is there, and the other way round. */
  remembered(keys: readonly string[]): void {
    const known = new Set(keys);
    const missing = keys.filter((key) => !this.#contents.has(key));
    const forgotten = [...this.#contents.keys()].filter((key) => !known.has(key));
    if (missing.length > 0) throw new Violation(`${missing.length} messages are remembered and not there`);
    if (forgotten.length > 0)
      throw new Violation(`${forgotten.length} messages are there and not remembered`);
  }

  /** Whether nothing is left to do for a server that has told no lies. */
  satisfied(files: ReadonlyMap<string, string>): boolean {
    if (!this.#plan.honest) return this.runs > 3;
    return (
      this.#missing(files).length === 0 && (this.#plan.delete === 'never' || this.#server.mails.length === 0)
    );
  }

  /** Of a server that has told no lies, every message is there once. */
  atTheEnd(files: ReadonlyMap<string, string>): void {
    if (!this.#plan.honest) return;
    const missing = this.#missing(files);
    if (missing.length > 0)
      throw new Violation(`lost or never fetched: ${missing.map(({ uid }) => uid).join(' ')}`);
    if (files.size > this.#plan.mails.length)
      throw new Violation('there are more messages than the server ever had');
    if (this.#plan.delete === 'delivered' && this.#server.mails.length > 0) {
      throw new Violation(`${this.#server.mails.length} messages never leave the server`);
    }
  }

  #missing(files: ReadonlyMap<string, string>): Mail[] {
    const contents = new Set(files.values());
    return this.#plan.mails.filter(({ text }) => !contents.has(lf(text)));
  }
}

function lf(text: string): string {
  return text.replaceAll('\r\n', '\n');
}

function numberOf({ command }: Answer): number {
  return Number(command.split(' ')[1]);
}

/** The answers to RETR, of one message or of all, that gave something. */
function retrieved(answers: readonly Answer[], number?: number): Answer[] {
  return answers.filter((answer) => {
    return (
      answer.ok && answer.command.startsWith('RETR ') && (number === undefined || numberOf(answer) === number)
    );
  });
}

function toppedHeaders(answers: readonly Answer[], number: number): string[] {
  const topped = answers.filter(({ command }) => command === `TOP ${number} 0`);
  return topped.flatMap(({ body = '' }) => (body === '' ? [] : [lf(body)]));
}

function listedUid(answers: readonly Answer[], number: number): string | undefined {
  const listing = answers.findLast(({ command }) => command === 'UIDL')?.body ?? '';
  const row = listing.split(/\r?\n/).find((line) => line.startsWith(`${number} `));
  return row?.slice(row.indexOf(' ') + 1);
}
