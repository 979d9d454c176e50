/**
 * Fifty runs of one account started at the same moment, some of them killed: only one at a time talks to the server,
 * the others say so or wait for their turn, and every message is delivered once.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { chance } from './support/chance.js';
import type { Chance } from './support/chance.js';
import { lateHook, reach, stored, until, World } from './support/e2e.js';
import type { ServerEvent } from './support/faults.js';
import { plain } from './support/messages.js';
import type { Running } from './support/sandbox.js';
import type { TestServer } from './support/server.js';

const STARTS = 50;
/** Of these so many wait for their turn; the others give up where they meet another run. */
const PATIENT = 20;
/** Messages that are there when a session begins, besides what an earlier one left. */
const NEW = 2;
/** About the events of one session with that many messages. */
const EVENTS = 45;
const SEED = 20261101;

const LOCKED =
  /^popfetch: work: state: another run of popfetch is fetching this mailbox( \(process \d+ on \S+, since \S+Z\))?; use --wait to wait for the other run\n$/;

/** One of the fifty. */
interface Start {
  readonly running: Running;
  readonly patient: boolean;
  killed: boolean;
}

/** A connection of one of them. */
interface Visit {
  readonly start: Start;
  /** Which of its events it does not survive; 0 where it is left alone. */
  readonly fatal: number;
  events: number;
  /** QUIT is done, or its process is dead. */
  over: boolean;
}

/** All of them, seen from the server. */
class Crowd {
  readonly starts: Start[] = [];
  readonly mail: Buffer[] = [];
  /** What must never be. */
  readonly violations: string[] = [];
  readonly #visits = new Map<number, Visit>();
  readonly #chance: Chance;

  constructor(
    readonly world: World,
    readonly server: TestServer,
    seed: number,
  ) {
    this.#chance = chance(seed);
  }

  get sessions(): number {
    return this.#visits.size;
  }

  get killedVisits(): number {
    return [...this.#visits.values()].filter(({ start }) => start.killed).length;
  }

  /** Starts all of them, in an order that is chance. */
  start(): void {
    const patience = this.#chance.some(
      Array.from({ length: STARTS }, (_, index) => index < PATIENT),
      STARTS,
    );
    for (const patient of patience) {
      const running = this.world.start(patient ? ['--wait'] : []);
      this.starts.push({ running, patient, killed: false });
    }
  }

  /** What the server does at its events. */
  readonly hook = async (event: ServerEvent): Promise<undefined> => {
    if (event.kind === 'connect') await this.#arrives(event.connection);
    const visit = this.#visits.get(event.connection);
    if (visit === undefined) return;
    visit.events += 1;
    if (!visit.start.killed && holder(this.world) !== visit.start.running.pid)
      this.violations.push(`at ${event.kind} of ${event.line} another run holds the lock`);
    if (visit.events === visit.fatal) await kill(visit.start);
    if (visit.start.killed || (event.kind === 'replied' && event.verb === 'QUIT')) visit.over = true;
  };

  async #arrives(connection: number): Promise<void> {
    const start = this.starts.find(({ running }) => running.pid === holder(this.world));
    if (start === undefined) {
      this.violations.push(`session ${connection} is of a run that does not hold the lock`);
      return;
    }
    for (const [number, { over, start: other }] of this.#visits) {
      if (!over && !other.killed)
        this.violations.push(`session ${connection} begins while session ${number} goes on`);
    }
    const fatal = this.#chance.happens(0.6) ? this.#chance.between(1, EVENTS) : 0;
    this.#visits.set(connection, { start, fatal, events: 0, over: false });
    // The server may have to notice first that a run is dead.
    await until(() => !this.server.mailbox('taro').locked, 'the mailbox is free');
    this.#deliver();
    if (connection === 1) await this.#meet(start);
  }

  #deliver(): void {
    for (let n = 0; n < NEW; n += 1) {
      this.mail.push(plain(this.mail.length + 1));
      this.server.mailbox('taro').add(this.mail.at(-1)!);
    }
  }

  /** Holds up the first session until all that do not wait have met it; kills some of either kind meanwhile. */
  async #meet(first: Start): Promise<void> {
    const others = this.starts.filter((start) => start !== first);
    const impatient = others.filter(({ patient }) => !patient);
    for (const start of this.#chance.some(impatient, 3)) await kill(start);
    await Promise.all(impatient.map(({ running }) => running.done));
    const patient = others.filter((start) => start.patient);
    for (const start of this.#chance.some(patient, 4)) await kill(start);
  }
}

/** The number of the process that holds the lock, or was the last to hold it. */
function holder({ sandbox }: World): number {
  const directory = join(sandbox.state, 'popfetch');
  const name = readdirSync(directory).find((each) => each.endsWith('.lock')) ?? '';
  return Number(readFileSync(join(directory, name), 'latin1').split(' ')[0]);
}

/** It may end by itself at the same moment. */
async function kill(start: Start): Promise<void> {
  start.killed = start.running.kill();
  start.killed = (await start.running.done).signal === 'SIGKILL';
}

test.each([
  ['a Maildir', { maildir: '~/box' }, (world: World) => world.maildir('box')],
  ['an mbox', { mbox: '~/box' }, (world: World) => world.mbox('box')],
] as const)(
  'of fifty runs started at once one at a time fills %s, and what is killed doubles nothing',
  async (_name, deliver, content) => {
    const world = await World.create();
    try {
      const late = lateHook();
      const server = await world.serve({ taro: [] }, late);
      await world.configure({ work: reach(server, { deliver, delete: 'delivered' }) });
      const crowd = new Crowd(world, server, SEED);
      late.hook = crowd.hook;
      crowd.start();
      const ends = await Promise.all(
        crowd.starts.map(async ({ running, patient }, index) => {
          const { code, stderr } = await running.done;
          const told = code === 75 && LOCKED.test(stderr);
          return { patient, told, code, stderr, killed: crowd.starts[index]!.killed };
        }),
      );
      const alive = ends.filter(({ killed }) => !killed);
      expect(crowd.violations).toEqual([]);
      expect(ends.length - alive.length).toBeGreaterThanOrEqual(5);
      expect(alive.filter(({ told, code, stderr }) => !told && (code !== 0 || stderr !== ''))).toEqual([]);
      // Only the first of those that do not wait can have found the mailbox free.
      expect(alive.filter(({ patient, told }) => !patient && !told).length).toBeLessThanOrEqual(1);
      expect(alive.filter(({ patient, told }) => patient && told)).toEqual([]);
      expect(crowd.sessions).toBeGreaterThanOrEqual(PATIENT - 4);
      expect(crowd.killedVisits).toBeGreaterThanOrEqual(3);

      late.hook = () => undefined;
      await until(() => !server.mailbox('taro').locked, 'the server has noticed');
      expect(await world.popfetch()).toEqual({ code: 0, stdout: '', stderr: '' });
      expect(await content(world)).toEqual(stored(...crowd.mail));
      expect(await world.leftovers('box')).toEqual([]);
      expect(server.mailbox('taro').uids).toEqual([]);
    } finally {
      await world.close();
    }
  },
  180_000,
);
