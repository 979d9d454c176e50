/**
 * A soak: accounts that get mail all the time, faults, runs that are started and killed, a reader who moves mail, and
 * at the end an exact count. What it is given is what differs between a short one and a long one.
 */
import { readdir, readFile, rename } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseJournal } from '../../src/seen/journal.js';
import { chance } from '../support/chance.js';
import type { Chance } from '../support/chance.js';
import { until, World } from '../support/e2e.js';
import type { TestServer } from '../support/server.js';
import type { Session } from '../support/session.js';
import { configOf, soakAccounts } from './soak-accounts.js';
import type { SoakAccount } from './soak-accounts.js';
import { Faults } from './soak-faults.js';
import { Ledger } from './soak-ledger.js';
import type { Count } from './soak-ledger.js';
import { Runs } from './soak-runs.js';

/** How a soak is to be. */
export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  /** Of deletion, in seconds, for the accounts that wait. */
  readonly span: number;
  /** Messages a second, over all accounts. */
  readonly rate: number;
  /** Runs at once. */
  readonly lanes: number;
  /** Told once in a while how it goes. */
  readonly tell?: (sentence: string) => void;
}

/** What it came to. */
export interface SoakResult extends Count {
  readonly minutes: number;
  readonly messages: number;
  readonly faults: ReadonlyMap<string, number>;
  readonly kills: number;
  readonly ends: ReadonlyMap<string, number>;
  readonly sentences: ReadonlyMap<string, number>;
  /** KiB a minute. */
  readonly slope: number;
  readonly peaks: Runs['peaks'];
  /** Files that only a run may have, while it runs. */
  readonly leftovers: readonly string[];
  /** What a journal, the last runs or the server had against it. */
  readonly complaints: readonly string[];
}

/** Milliseconds between two counts on the way. */
const COUNTED = 15_000;

/** Runs a soak from beginning to end. Throws only where the test itself fails. */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const world = await World.create();
  try {
    const accounts = soakAccounts(`${options.span}s`);
    const scene = new Soak(options, world, accounts);
    await scene.begin();
    await scene.storm();
    return await scene.calm();
  } finally {
    await world.close();
  }
}

class Soak {
  readonly #random: Chance;
  readonly #faults: Faults;
  readonly #ledger: Ledger;
  readonly #runs: Runs;
  readonly #complaints: string[] = [];
  /** What was lost or doubled on the way, if anything. */
  readonly #seen = { lost: new Set<string>(), doubled: new Set<string>() };
  #server: TestServer | undefined;
  #end = 0;

  constructor(
    readonly options: SoakOptions,
    readonly world: World,
    readonly accounts: readonly SoakAccount[],
  ) {
    // Each has a sequence of its own, so that one does not depend on how often the others ask.
    this.#random = chance(options.seed);
    this.#faults = new Faults(chance(options.seed + 1));
    this.#runs = new Runs(world, chance(options.seed + 2));
    this.#ledger = new Ledger(world.sandbox.home);
  }

  get server(): TestServer {
    if (this.#server === undefined) throw new Error('the soak has not begun');
    return this.#server;
  }

  async begin(): Promise<void> {
    const server = await this.world.serve(Object.fromEntries(this.accounts.map(({ name }) => [name, []])), {
      onEvent: this.#faults.hook,
      overrides: this.#faults.overrides((session) => this.#beforeQuit(session)),
    });
    this.#server = server;
    const config = this.accounts.map((account) => [account.name, configOf(account, server)]);
    await this.world.configure(Object.fromEntries(config) as Record<string, object>);
    this.#end = performance.now() + this.options.minutes * 60_000;
  }

  /** The time in which everything happens. */
  async storm(): Promise<void> {
    const goesOn = (): boolean => performance.now() < this.#end;
    await Promise.all([
      ...Array.from({ length: this.options.lanes }, () => this.#runs.lane(goesOn)),
      this.#runs.killer(goesOn),
      this.#sender(goesOn),
      this.#reader(goesOn),
      this.#counter(goesOn),
    ]);
  }

  /** No more mail, faults and kills: everything arrives, and then nothing changes any more. */
  async calm(): Promise<SoakResult> {
    this.#faults.on = false;
    await this.#settle();
    await sleep(this.options.span * 1000);
    await this.#quietRun();
    const before = await this.#everything();
    await this.#quietRun();
    if ((await this.#everything()) !== before)
      this.#complaints.push('a run with nothing to do changed something');
    await this.#checkServer();
    await this.#checkJournals();
    return this.#result();
  }

  /** The first run may have to say what the storm left it. */
  async #settle(): Promise<void> {
    for (let round = 0; round < 20; round += 1) {
      await until(() => this.accounts.every(({ name }) => !this.server.mailbox(name).locked), 'all is quiet');
      const { code, stderr } = await this.#runs.run([]);
      const { missing } = await this.#ledger.count(this.accounts, (name) => this.server.mailbox(name), true);
      if (code === 0 && stderr === '' && missing.length === 0) return;
    }
    this.#complaints.push('twenty runs without faults were not enough');
  }

  async #quietRun(): Promise<void> {
    const { code, stderr } = await this.world.popfetch();
    if (code !== 0 || stderr !== '')
      this.#complaints.push(`a run without faults ended in ${code}: ${stderr}`);
  }

  async #sender(goesOn: () => boolean): Promise<void> {
    while (goesOn()) {
      const account = this.#random.pick(this.accounts);
      const burst = this.#random.happens(0.05) ? this.#random.between(5, 20) : 1;
      for (let n = 0; n < burst; n += 1) this.#ledger.send(account, this.server.mailbox(account.name));
      await sleep((1000 / this.options.rate) * burst * 2 * this.#random.next());
    }
  }

  /** Somebody reads mail: a reader moves it from new/ to cur/ at any moment. */
  async #reader(goesOn: () => boolean): Promise<void> {
    const places = this.accounts.flatMap(({ places }) => places).filter(({ kind }) => kind === 'maildir');
    while (goesOn()) {
      const path = this.world.sandbox.path(this.#random.pick(places).name);
      const names = await readdir(join(path, 'new')).catch(() => []);
      for (const name of this.#random.some(names, 3))
        await rename(join(path, 'new', name), join(path, 'cur', `${name}:2,S`));
      await sleep(this.#random.between(0, 500));
    }
  }

  async #counter(goesOn: () => boolean): Promise<void> {
    for (let next = performance.now() + COUNTED; goesOn();) {
      await sleep(100);
      if (performance.now() < next) continue;
      next += COUNTED;
      const { lost, doubled } = await this.#ledger.count(
        this.accounts,
        (name) => this.server.mailbox(name),
        false,
      );
      for (const each of lost) this.#seen.lost.add(each);
      for (const each of doubled) this.#seen.doubled.add(each);
      this.options.tell?.(this.#sentence());
    }
  }

  #sentence(): string {
    const { lost, doubled } = this.#seen;
    return `${this.#ledger.total} messages, ${this.#faults.total} faults, ${this.#runs.kills} kills, ${lost.size} lost, ${doubled.size} doubled`;
  }

  /** What is about to be removed has to be stored. */
  async #beforeQuit({ user, mailbox, marked }: Session): Promise<void> {
    const account = this.accounts.find(({ name }) => name === (mailbox?.user ?? user));
    if (account === undefined || marked.size === 0) return;
    const uids = [...marked].map(({ uid }) => uid);
    if (account.delete === 'never')
      this.#complaints.push(`${account.name}: ${uids.join(' ')} removed against the config`);
    for (const uid of await this.#ledger.unstored(account, uids))
      this.#seen.lost.add(`${uid}, removed unstored`);
  }

  async #checkServer(): Promise<void> {
    for (const { name, delete: way } of this.accounts) {
      const left = this.server.mailbox(name).uids.length;
      if (way !== 'never' && left > 0)
        this.#complaints.push(`${name}: ${left} messages are left on the server`);
    }
    const { code, stderr } = await this.world.popfetch('status');
    if (code !== 0 || stderr !== '') this.#complaints.push(`popfetch status ended in ${code}: ${stderr}`);
  }

  async #checkJournals(): Promise<void> {
    const directory = join(this.world.sandbox.state, 'popfetch');
    for (const name of await readdir(directory)) {
      if (!/^([a-z2-7]{8}\.(journal(\.old)?|lock)|spool)$/.test(name))
        this.#complaints.push(`${name} is left over`);
    }
    for (const path of await this.world.journals()) {
      const text = await readFile(path, 'latin1');
      const { length } = parseJournal(text, path);
      if (length !== text.length) this.#complaints.push(`${basename(path)} is torn`);
    }
  }

  /** All that was delivered, and all that is on the server. */
  async #everything(): Promise<string> {
    const all = [...(await this.world.everything())].filter(([path]) => /\.(maildir|mbox)/.test(path));
    return JSON.stringify([all, this.accounts.map(({ name }) => this.server.mailbox(name).uids)]);
  }

  async #result(): Promise<SoakResult> {
    const count = await this.#ledger.count(this.accounts, (name) => this.server.mailbox(name), true);
    const { peaks, ends, sentences, kills, slope } = this.#runs;
    const names = new Set(this.accounts.flatMap(({ places }) => places.map(({ name }) => name)));
    return {
      ...count,
      lost: [...new Set([...count.lost, ...this.#seen.lost])],
      doubled: [...new Set([...count.doubled, ...this.#seen.doubled])],
      ...{ minutes: this.options.minutes, messages: this.#ledger.total, faults: this.#faults.counts, kills },
      ...{ ends, sentences, slope, peaks, complaints: this.#complaints },
      leftovers: await this.world.leftovers(...names),
    };
  }
}
