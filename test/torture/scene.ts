/** A mailbox, an account that fetches it, and its runs, each of which may be killed at a certain place. */
import { readdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { mailboxTag, messageKey } from '../../src/identity.js';
import { lateHook, reach, stored, until, World } from '../support/e2e.js';
import type { Seen } from '../support/e2e.js';
import type { Hook, ServerEvent } from '../support/faults.js';
import { awkward, padded, plain } from '../support/messages.js';
import type { TestServer } from '../support/server.js';
import type { Result, Running } from '../support/sandbox.js';
import { counting, countsIn, traced } from '../support/strace.js';
import type { Course, Kill, Point } from './points.js';

/** One of them is larger than what is kept in memory. */
const MAIL = mailWith(140_000);
/** One of them is larger than what is written to an mbox at once. */
const BULKY_MAIL = mailWith(1_200_000);

/** The messages of a mailbox, of which one has that many octets. */
function mailWith(octets: number): readonly Buffer[] {
  const large = padded(awkward['leading dots']!, octets);
  return [plain(1), awkward['From lines']!, large, awkward['all octets']!, plain(5)];
}

/** Seconds from now on in which names of messages are foreseen. */
const FORESEEN = 8;

/** An account of a point. Made by {@link Scene.create}, ended by {@link Scene.close}. */
export class Scene {
  /** As they are stored. */
  readonly texts: readonly string[];
  readonly #late: ReturnType<typeof lateHook>;

  private constructor(
    readonly world: World,
    readonly server: TestServer,
    readonly point: Omit<Point, 'kills'>,
    mail: readonly Buffer[],
    late: ReturnType<typeof lateHook>,
  ) {
    this.texts = mail.map((message) => stored(message)[0]!);
    this.#late = late;
  }

  static async create(point: Omit<Point, 'kills'>): Promise<Scene> {
    const world = await World.create();
    const late = lateHook();
    const mail = point.destination === 'bulky' ? BULKY_MAIL : MAIL;
    const server = await world.serve({ taro: mail }, { onEvent: late.onEvent });
    const deliver = isMbox(point) ? { mbox: '~/box' } : { maildir: '~/box' };
    await world.configure({ work: reach(server, { deliver, delete: point.deletion }) });
    return new Scene(world, server, point, mail, late);
  }

  close(): Promise<void> {
    return this.world.close();
  }

  /** A run that nobody kills. */
  async run(): Promise<Seen> {
    const { linkless } = this;
    return this.world.seen(await this.world.run([], { under: traced({ linkless }) }));
  }

  /** A run that dies by SIGKILL there, unless it never gets there; resolves when the server has noticed its end. */
  async killed(kill: Kill): Promise<Result> {
    const result = await (kill.at === 'event' ? this.#killedAtEvent(kill.nth) : this.#killedAtCall(kill));
    await until(() => !this.server.mailbox('taro').locked, 'the server has noticed');
    return result;
  }

  /** What is delivered by now. Rejects where an mbox ends in half a message. */
  content(): Promise<string[]> {
    return isMbox(this.point) ? this.world.mbox('box') : this.world.maildir('box');
  }

  /** What a run that nobody kills does; its calls are counted only where there is strace. */
  async course(strace: boolean): Promise<Course> {
    const events: ServerEvent[] = [];
    this.#late.hook = (event) => {
      events.push(event);
      return undefined;
    };
    const file = this.world.sandbox.path('calls');
    const under = strace ? counting(file, await this.#paths(), this.linkless) : [];
    const { code, stderr } = await this.world.run([], { under, env: { UV_THREADPOOL_SIZE: '1' } });
    if (code !== 0 || stderr !== '')
      throw new Error(`a run that nobody killed ended with ${code}: ${stderr}`);
    const calls = strace ? countsIn(await readFile(file, 'latin1')) : {};
    // A kill there would take the place of the refusal.
    if (this.linkless && 'link' in calls) calls.link = 0;
    return { ...this.point, events: events.map(labelOf), calls };
  }

  get linkless(): boolean {
    return this.point.destination === 'linkless';
  }

  async #killedAtEvent(nth: number): Promise<Result> {
    let seen = 0;
    const running = this.world.start([], { under: traced({ linkless: this.linkless }) });
    return this.#watched(running, async () => {
      seen += 1;
      if (seen !== nth) return undefined;
      running.kill();
      // The server does nothing further before it is dead.
      await running.done;
      return undefined;
    });
  }

  async #watched(running: Running, hook: Hook): Promise<Result> {
    this.#late.hook = hook;
    const result = await running.done;
    this.#late.hook = () => undefined;
    return result;
  }

  async #killedAtCall({ at, nth, threads }: Kill): Promise<Result> {
    if (at === 'event') throw new RangeError('an event is no call');
    const kill = { call: at, nth, paths: await this.#paths() };
    const under = traced({ kill, linkless: this.linkless });
    return this.world.run([], { under, env: { UV_THREADPOOL_SIZE: String(threads) } });
  }

  /** Every path that a run of the next seconds may change: strace knows no patterns. */
  async #paths(): Promise<string[]> {
    const { sandbox } = this.world;
    const address = { host: this.server.host, port: this.server.port, user: 'taro' };
    const tag = mailboxTag(address);
    const keys = this.texts.map((_, index) => messageKey(address, `uid-${index + 1}`));
    const state = join(sandbox.state, 'popfetch');
    const spool = keys.flatMap((key) => this.texts.map((_, index) => `spool/A${tag}K${key}.${index + 1}`));
    const memory = ['lock', 'journal', 'journal.new', 'journal.old'].map((end) => `${tag}.${end}`);
    const box = sandbox.path('box');
    return [
      ...[sandbox.home, sandbox.state, state, box, `${box}.lock`, `${box}.lock.${tag}`],
      ...['spool', ...spool, ...memory].map((name) => join(state, name)),
      ...(isMbox(this.point) ? [] : await this.#maildirPaths(box, tag, keys)),
    ];
  }

  async #maildirPaths(box: string, tag: string, keys: readonly string[]): Promise<string[]> {
    const now = Math.floor(Date.now() / 1000);
    const seconds = Array.from({ length: FORESEEN }, (_, index) => now + index);
    const names = seconds.flatMap((second) => keys.map((key) => `${second}.A${tag}K${key}.${hostname()}`));
    // Those of an earlier run are older.
    const old = await readdir(join(box, 'tmp')).catch(() => []);
    const folders = ['tmp', 'new', 'cur'].map((folder) => join(box, folder));
    return [...folders, ...[...names, ...old].map((name) => join(box, 'tmp', name))];
  }
}

function isMbox({ destination }: Omit<Point, 'kills'>): boolean {
  return destination === 'mbox' || destination === 'bulky';
}

/** `body of RETR 3`; not what AUTH says. */
function labelOf({ kind, verb, line }: ServerEvent): string {
  return `${kind} of ${verb === 'AUTH' ? verb : line}`;
}
