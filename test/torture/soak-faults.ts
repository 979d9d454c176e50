/** What goes wrong in a soak: one per cent of all that happens between a run and the server. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Chance } from '../support/chance.js';
import type { Action } from '../support/channel.js';
import type { EventKind, Hook } from '../support/faults.js';
import type { Override, Reply, Session } from '../support/session.js';

/** How often, for each event of the server and for each command. */
const RATE = 0.01;

const ACTIONS: Readonly<Record<EventKind, readonly Action[]>> = {
  connect: ['close', 'drop', 'reset', 'stall'],
  command: ['close', 'drop', 'reset', 'stall'],
  // The command is carried out, and the client never knows.
  reply: ['close', 'drop', 'reset', 'stall'],
  // The message is cut off.
  body: ['close', 'drop', 'reset', 'stall'],
  replied: ['close', 'drop', 'reset'],
};

/** Answers in place of the right one, by verb. */
const ANSWERS: Readonly<Record<string, readonly string[]>> = {
  CAPA: ['-ERR what is that', 'nonsense'],
  UTF8: ['-ERR not now'],
  USER: ['-ERR [SYS/TEMP] try again later'],
  PASS: ['-ERR [SYS/TEMP] try again later', '-ERR [IN-USE] somebody else reads this mail'],
  AUTH: ['-ERR [SYS/TEMP] try again later', '-ERR [LOGIN-DELAY] not so fast', 'nonsense'],
  STAT: ['-ERR [SYS/TEMP] try again later', '-ERR no', 'nonsense'],
  LIST: ['-ERR [SYS/TEMP] try again later', '-ERR no', '+OK cut off\r\n1 '],
  UIDL: ['-ERR [SYS/TEMP] try again later', '+OK cut off\r\n1 x'],
  TOP: ['-ERR no', '-ERR [SYS/TEMP] try again later'],
  RETR: ['-ERR no', '-ERR [SYS/TEMP] try again later', 'nonsense'],
  DELE: ['-ERR no', '-ERR [SYS/TEMP] try again later', 'nonsense'],
};

/** The faults of one soak, counted by kind. */
export class Faults {
  readonly counts = new Map<string, number>();
  /** Whether there are any; off at the end. */
  on = true;
  readonly #chance: Chance;

  constructor(random: Chance) {
    this.#chance = random;
  }

  get total(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** For the server's events. */
  readonly hook: Hook = ({ kind }) => {
    if (!this.#strikes()) return undefined;
    const action = this.#chance.pick(ACTIONS[kind]);
    this.#count(`${action} at ${kind}`);
    return action;
  };

  /** For the server's verbs; `quit` sees each QUIT before it is carried out. */
  overrides(quit: (session: Session) => Promise<void>): Record<string, Override> {
    const wrong = Object.entries(ANSWERS).map(([verb, answers]): [string, Override] => [
      verb,
      () => this.#answer(verb, answers),
    ]);
    return { ...Object.fromEntries(wrong), QUIT: (session) => this.#quit(session, quit) };
  }

  async #answer(verb: string, answers: readonly string[]): Promise<Reply | undefined> {
    if (!this.#strikes()) return undefined;
    if (this.#chance.happens(0.2)) {
      this.#count('late answer');
      await sleep(this.#chance.between(50, 800));
      return undefined;
    }
    const answer = this.#chance.pick(answers);
    this.#count(`${answer.split(/[ \r]/)[0]!} to ${verb}`);
    return answer;
  }

  /** RFC 1939 section 6 allows a server to remove only some of what was marked, and to say no. */
  async #quit(session: Session, quit: (session: Session) => Promise<void>): Promise<Reply | undefined> {
    await quit(session);
    if (!this.#strikes()) return undefined;
    this.#count('-ERR to QUIT');
    const marked = [...session.marked];
    session.mailbox?.remove(this.#chance.some(marked, this.#chance.between(0, marked.length)));
    session.state = 'update';
    return '-ERR some messages were not removed';
  }

  #strikes(): boolean {
    return this.on && this.#chance.happens(RATE);
  }

  #count(kind: string): void {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
  }
}
