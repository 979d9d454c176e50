/** What happens in a test server, as numbered events, and what a test wants to happen at one of them. */
import type { Action } from './channel.js';
import type { Session } from './session.js';

/**
 * 'connect': a connection is up (through TLS, where it starts with TLS), nothing is sent yet · 'command': a line has
 * come, nothing is done yet · 'reply': it is done, the answer is not sent yet · 'body': half of a message is sent ·
 * 'replied': the answer is with the kernel.
 */
export type EventKind = 'connect' | 'command' | 'reply' | 'body' | 'replied';

/** One event. With one client at a time the numbers are the same in every run. */
export interface ServerEvent {
  /** 1 and up, over all connections. */
  readonly number: number;
  readonly kind: EventKind;
  /** Of the connection, 1 and up. */
  readonly connection: number;
  /** Upper case; empty before the first command. */
  readonly verb: string;
  /** The command line; empty before the first command. */
  readonly line: string;
}

/** May be slow: the session waits for it. What it gives back happens to the connection. */
export type Hook = (event: ServerEvent) => Action | undefined | Promise<Action | undefined>;

/** Something that goes wrong at the `nth` event (default the first) that matches. */
export interface Fault {
  readonly at: EventKind;
  /** Upper case. Default: any. */
  readonly verb?: string;
  readonly nth?: number;
  /** How many times in a row from there on. Default 1. */
  readonly times?: number;
  readonly action: Action;
}

/** Counts the events of one server and decides what happens at each. */
export class Events {
  #count = 0;
  readonly #matches = new Map<Fault, number>();

  constructor(
    readonly faults: readonly Fault[],
    readonly hook: Hook | undefined,
  ) {}

  /** How many there were so far. */
  get count(): number {
    return this.#count;
  }

  readonly tell = async (kind: EventKind, session: Session): Promise<Action | undefined> => {
    this.#count += 1;
    const { verb, line } = session;
    const event = { number: this.#count, kind, connection: session.log.number, verb, line };
    return (await this.hook?.(event)) ?? this.#faultAt(event);
  };

  #faultAt(event: ServerEvent): Action | undefined {
    for (const fault of this.faults) {
      if (fault.at !== event.kind || (fault.verb ?? event.verb) !== event.verb) continue;
      const seen = (this.#matches.get(fault) ?? 0) + 1;
      this.#matches.set(fault, seen);
      const first = fault.nth ?? 1;
      if (seen >= first && seen < first + (fault.times ?? 1)) return fault.action;
    }
    return undefined;
  }
}
