/** What tests of destinations need: a place on a real disk, messages on their way, and a way to kill a run at every step. */
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DestinationConfig } from '../../src/config/account.js';
import { openDestination, type DestinationContext } from '../../src/deliver/index.js';
import type { Destination, Message } from '../../src/deliver/destination.js';
import { nodeDisk } from '../../src/disk.js';
import { MemoryLog } from './log.js';
import { Crash, WatchedDisk } from './watched-disk.js';

/** Tue Nov  3 08:02:09 2026 UTC, in milliseconds. */
export const NOW = Date.UTC(2026, 10, 3, 8, 2, 9);

/** The tag of the mailbox that tests deliver. */
export const TAG = 'abcdefgh';

/** A directory with a spool in it. */
export class Place {
  /** What its clock shows. */
  time = NOW;

  private constructor(readonly directory: string) {}

  static async create(): Promise<Place> {
    const place = new Place(await mkdtemp(join(tmpdir(), 'popfetch-deliver-')));
    await mkdir(place.spool, { mode: 0o700 });
    return place;
  }

  path(...parts: readonly string[]): string {
    return join(this.directory, ...parts);
  }

  get spool(): string {
    return this.path('spool');
  }

  /** What is left in the spool. */
  spooled(): Promise<string[]> {
    return readdir(this.spool);
  }

  context(changes: Partial<DestinationContext> = {}): DestinationContext {
    return {
      account: 'work',
      tag: TAG,
      eol: 'lf',
      spool: this.spool,
      disk: nodeDisk,
      host: 'host.example',
      now: () => this.time,
      timeLimit: 10_000,
      env: {},
      signal: new AbortController().signal,
      ...changes,
    };
  }

  remove(): Promise<void> {
    return rm(this.directory, { recursive: true, force: true });
  }
}

/** Message number `n` of a session; the body comes in pieces of `size` octets, each a copy that its reader may change. */
export function message(n: number, data: Buffer | string, size = 65_536): Message {
  const octets = Buffer.from(data);
  return { uid: `uid ${n}`, key: keyOf(n), number: n, size: octets.length, body: pieces(octets, size) };
}

/** 26 characters, as keys have. */
export function keyOf(n: number): string {
  return n
    .toString()
    .replace(/\d/g, (digit) => 'abcdefghij'.charAt(Number(digit)))
    .padStart(26, 'k');
}

async function* pieces(octets: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < octets.length; at += size) {
    yield await Promise.resolve(Buffer.from(octets.subarray(at, at + size)));
  }
}

/** A message whose body ends with an error. */
export function broken(n: number, data: Buffer | string, error: Error): Message {
  const body = async function* (): AsyncGenerator<Buffer> {
    yield* message(n, data).body;
    throw error;
  };
  return { ...message(n, data), body: body() };
}

/** Delivers, has it remembered, and releases: what the policy does with each message. */
export async function fetchInto(destination: Destination, log: MemoryLog, one: Message): Promise<number> {
  const delivery = await destination.deliver(one, log);
  try {
    await log.before('stored');
    log.done(one.uid);
    await log.after('stored');
  } finally {
    await delivery.release();
  }
  return delivery.octets;
}

/** Recovers as a run does before it logs in: what is delivered is done. */
export async function recover(destination: Destination, log: MemoryLog): Promise<string[]> {
  const delivered = await destination.recover(log.unfinished(), log);
  for (const uid of delivered) log.done(uid);
  return delivered;
}

/** One run: recover, deliver what is not done, close. Rejects with the first failure once all have ended. */
export async function run(
  configs: readonly DestinationConfig[],
  context: DestinationContext,
  log: MemoryLog,
  messages: readonly Buffer[],
): Promise<void> {
  const destination = await openDestination(configs, context);
  await recover(destination, log);
  const wanted = messages
    .map((data, index) => message(index + 1, data))
    .filter(({ uid }) => !log.isDone(uid));
  const outcomes: PromiseSettledResult<number>[] = [];
  // As the policy does: never more at once than the destination allows, here all or one.
  const at = destination.window === 1 ? 1 : wanted.length;
  for (let from = 0; from < wanted.length; from += at) {
    const some = wanted.slice(from, from + at).map((one) => fetchInto(destination, log, one));
    outcomes.push(...(await Promise.allSettled(some)));
  }
  await destination.close();
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

/** A sweep of crashes. */
export interface Sweep {
  readonly configs: (place: Place) => readonly DestinationConfig[];
  readonly context?: Partial<DestinationContext> | ((place: Place) => Partial<DestinationContext>);
  readonly messages: readonly Buffer[];
  /** Called after each crash: what other programs do before the next run. */
  readonly meanwhile?: (place: Place) => Promise<void>;
  /** Whether the write at which the run is killed gets half-way. */
  readonly tearing?: boolean;
  /** Called at the end of each life: throws where a message is missing, doubled or left lying about. */
  readonly check: (place: Place, crashedAt: number) => Promise<void>;
  /** Changes the disk for all runs of one life. */
  readonly prepare?: (place: Place, disk: WatchedDisk) => void;
}

/**
 * Kills a run at its first step (a call to the disk or a record in the memory), then the next one at its second, and so
 * on, until one gets through. After each, a second run is let through, and a third one that must find nothing to do.
 * @returns how many runs were killed
 */
export async function sweep(plan: Sweep): Promise<number> {
  for (let step = 1; ; step += 1) {
    const place = await Place.create();
    try {
      const log = new MemoryLog();
      const crashed = await runUntil(step, plan, place, log);
      await plan.meanwhile?.(place);
      for (const disk of [plannedDisk(plan, place), plannedDisk(plan, place)]) {
        await run(plan.configs(place), laterContext(plan, place, disk), log, plan.messages);
        if (disk.openFiles > 0) throw new Error(`${disk.openFiles} files were left open`);
        await plan.check(place, step);
      }
      if (!crashed) return step - 1;
    } finally {
      await place.remove();
    }
  }
}

/** Kills a run at a step, the next one at every `stride`th of its own, and lets the third one through. @returns the last one killed at */
export async function sweepTwice(plan: Sweep, first: number, stride: number): Promise<number> {
  for (let step = 1; ; step += stride) {
    const place = await Place.create();
    try {
      const log = new MemoryLog();
      await runUntil(first, plan, place, log);
      const crashed = await runUntil(step, plan, place, log);
      const disk = plannedDisk(plan, place);
      await run(plan.configs(place), laterContext(plan, place, disk), log, plan.messages);
      await plan.check(place, first);
      if (!crashed) return step - 1;
    } finally {
      await place.remove();
    }
  }
}

/** Each run is a minute after the one before: a copy made twice has two names. */
function laterContext(plan: Sweep, place: Place, disk: WatchedDisk): DestinationContext {
  place.time += 60_000;
  const changes = typeof plan.context === 'function' ? plan.context(place) : plan.context;
  return place.context({ ...changes, disk });
}

function plannedDisk(plan: Sweep, place: Place): WatchedDisk {
  const disk = new WatchedDisk();
  plan.prepare?.(place, disk);
  return disk;
}

/** @returns whether the run died: false when it was done before that step. */
async function runUntil(step: number, plan: Sweep, place: Place, log: MemoryLog): Promise<boolean> {
  const disk = plannedDisk(plan, place);
  const planned = disk.before;
  let steps = 0;
  const tick = (): void => {
    steps += 1;
    if (steps >= step) throw new Crash();
  };
  disk.before = (call, path) => {
    // Half of one write, and then nothing.
    disk.tearing = plan.tearing === true && steps === step - 1;
    tick();
    planned(call, path);
  };
  log.before = async () => {
    tick();
    await Promise.resolve();
  };
  log.after = log.before;
  await run(plan.configs(place), laterContext(plan, place, disk), log, plan.messages).catch(
    (error: unknown) => {
      if (!(error instanceof Crash)) throw error;
    },
  );
  log.before = log.after = () => Promise.resolve();
  await disk.die();
  return steps >= step;
}

/** A disk on which one kind of call fails, the first time or always. */
export function failingDisk(fails: (call: string, path: string) => Error | undefined): WatchedDisk {
  const disk = new WatchedDisk();
  disk.before = (call, path) => {
    const error = fails(call, path);
    if (error !== undefined) throw error;
  };
  return disk;
}
