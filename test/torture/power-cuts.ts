/**
 * One power cut: a home on a file system whose power goes off while a run fetches mail, comes back, and the next run
 * finds everything as if nothing had been.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Chance } from '../support/chance.js';
import { lateHook, reach, said, until, World } from '../support/e2e.js';
import type { TestServer } from '../support/server.js';
import type { Image } from './power-image.js';
import type { Place, SoakAccount } from './soak-accounts.js';
import { Ledger } from './soak-ledger.js';

/** What one cut came to. All lists empty is what it should be. */
export interface Verdict {
  /** Neither on the server nor stored. */
  readonly lost: readonly string[];
  readonly doubled: readonly string[];
  /** Anything else that should not be. */
  readonly problems: readonly string[];
  /** Whether the run had not ended yet. */
  readonly during: boolean;
}

/** Messages in the mailbox: enough that some are spooled in files of their own. */
const MESSAGES = 8;
/** About the events of a run that fetches and removes them. */
const EVENTS = 75;

const DESTINATIONS: readonly (readonly Place[])[] = [
  [{ kind: 'maildir', name: 'box.maildir' }],
  [{ kind: 'mbox', name: 'box.mbox' }],
  [
    { kind: 'maildir', name: 'box.maildir' },
    { kind: 'mbox', name: 'box.mbox' },
  ],
];

/** Cuts the power of the image once, in a home of its own, at a moment that is chance. */
export async function cutOnce(image: Image, random: Chance): Promise<Verdict> {
  const world = await World.create(image.path);
  try {
    const account = {
      name: `work${random.between(1, 999)}`,
      places: random.pick(DESTINATIONS),
      delete: random.pick(['delivered', 'delivered', 'never']),
      fields: {},
    };
    return await new Cut(image, random, world, account).run();
  } finally {
    await world.close();
  }
}

class Cut {
  readonly #late = lateHook();
  readonly #ledger: Ledger;
  readonly #problems: string[] = [];

  constructor(
    readonly image: Image,
    readonly random: Chance,
    readonly world: World,
    readonly account: SoakAccount,
  ) {
    this.#ledger = new Ledger(world.sandbox.home);
  }

  async run(): Promise<Verdict> {
    const server = await this.#begin();
    const during = await this.#interrupted();
    await until(() => !server.mailbox('taro').locked, 'the server has noticed');
    await this.image.restart();
    const after = await this.#count(server, false);
    await this.#silent('the run after the cut');
    const end = await this.#count(server, true);
    await this.#unchanged(server);
    this.#problems.push(...end.fragments.map((each) => `fragment: ${each}`), ...(await this.#leftovers()));
    const lost = [...new Set([...after.lost, ...end.lost, ...end.missing])];
    return { lost, doubled: [...after.doubled, ...end.doubled], problems: this.#problems, during };
  }

  /** Half of the time this is the first run of all, and half of the time there is a memory already. */
  async #begin(): Promise<TestServer> {
    const { name, places, delete: way } = this.account;
    const server = await this.world.serve({ taro: [] }, this.#late);
    const deliver = places.map(({ kind, name: file }) => ({ [kind]: `~/${file}` }));
    await this.world.configure({ [name]: reach(server, { deliver, delete: way }) });
    if (this.random.happens(0.5)) {
      this.#ledger.send(this.account, server.mailbox('taro'));
      await this.#silent('the run before');
    }
    for (let n = 0; n < MESSAGES; n += 1) this.#ledger.send(this.account, server.mailbox('taro'));
    await this.image.arm();
    return server;
  }

  /**
   * A run in the middle of which the power goes off; the process dies with it, or has to end by itself.
   * @returns false where it had ended before
   */
  async #interrupted(): Promise<boolean> {
    const [at, later] = [
      this.random.between(1, EVENTS),
      this.random.happens(0.5) ? this.random.between(0, 8) : 0,
    ];
    const dies = this.random.happens(0.6);
    let events = 0;
    let cut: Promise<void> | undefined;
    let during = false;
    const off = async (): Promise<void> => {
      await sleep(later);
      await this.image.cut();
      during = !running.ended;
      if (dies) running.kill();
    };
    this.#late.hook = async () => {
      events += 1;
      if (events !== at) return undefined;
      cut = off();
      // With a delay the run goes on until it happens.
      if (later === 0) await cut;
      return undefined;
    };
    const running = this.world.start([]);
    const { code, stderr } = await running.done;
    // It may have ended before, and then the power goes off afterwards.
    await (cut ?? this.image.cut());
    if (code !== null && code !== 0 && code !== 74)
      this.#problems.push(`without power the run ended in ${code}: ${stderr}`);
    this.#late.hook = () => undefined;
    return during;
  }

  async #silent(what: string): Promise<void> {
    const { code, stderr } = await this.world.popfetch();
    if (code !== 0 || stderr !== '') this.#problems.push(`${what} ended in ${code}: ${stderr}`);
  }

  /** A run that has nothing to do does nothing. */
  async #unchanged(server: TestServer): Promise<void> {
    const state = async (): Promise<string> => {
      const files = [...(await this.world.everything())].filter(([path]) => path.startsWith('box'));
      return JSON.stringify([files, server.mailbox('taro').uids, said(server, 'RETR', 'DELE').length]);
    };
    const before = await state();
    await this.#silent('the run with nothing to do');
    if ((await state()) !== before) this.#problems.push('the run with nothing to do changed something');
    const left = server.mailbox('taro').uids.length;
    if (this.account.delete !== 'never' && left > 0)
      this.#problems.push(`${left} messages stay on the server`);
  }

  async #leftovers(): Promise<string[]> {
    const found = await this.world.leftovers(...this.account.places.map(({ name }) => name));
    return found.map((name) => `left over: ${name}`);
  }

  #count(server: TestServer, finished: boolean): ReturnType<Ledger['count']> {
    return this.#ledger.count([this.account], () => server.mailbox('taro'), finished);
  }
}
