/** Whole runs of an account over a weak disk: the code that is tested, the server, and what must come of it. */
import type * as account from '../../src/account/account.js';
import type * as identify from '../../src/account/identify.js';
import type * as parts from '../../src/account/parts.js';
import type { DestinationConfig } from '../../src/config/account.js';
import type { Out } from '../../src/deliver/context.js';
import type * as deliver from '../../src/deliver/index.js';
import type { Destination } from '../../src/deliver/destination.js';
import type { Disk } from '../../src/disk.js';
import type * as identity from '../../src/identity.js';
import type { Listed, Listing, Mailbox, Retrieved } from '../../src/pop3/mailbox.js';
import type * as seen from '../../src/seen/seen.js';
import type { Seen } from '../../src/seen/memory.js';
import { accountOf } from './fakes.js';
import type { Random } from './random.js';
import { WeakDisk } from './weak-disk.js';
import type { Image } from './weak-disk-model.js';

/** The code under test: as it stands in src/, or with a change. */
export interface System {
  readonly openSeen: typeof seen.openSeen;
  readonly openDestination: typeof deliver.openDestination;
  readonly runAccount: typeof account.runAccount;
  readonly identify: typeof identify.identify;
  readonly Tally: typeof parts.Tally;
  readonly mailboxTag: typeof identity.mailboxTag;
  readonly messageKey: typeof identity.messageKey;
  /** The disk as the code sees it: {@link WeakDisk} itself unless the code brings its own. */
  readonly diskOver?: (disk: WeakDisk) => Disk;
}

/** What is fetched, and to where. */
export interface Scenario {
  readonly name: string;
  readonly deliver: readonly DestinationConfig[];
  readonly messages: readonly Buffer[];
  readonly delete: 'never' | 'delivered';
  /** One message at a time, even where the destination would take more. */
  readonly serial?: boolean;
  readonly eol?: 'lf' | 'crlf';
  readonly hardLinks?: boolean;
  /** The server takes QUIT after RETR for deletion, as EXPIRE 0 allows it (RFC 2449 section 6.7). */
  readonly forgets?: boolean;
  /** What stands in the mbox before. */
  readonly earlier?: string;
  /** Records that the journal holds already and that a rewriting would drop. */
  readonly ballast?: number;
  /** A run that was killed has made the Maildir, and the name of its last folder is not synced. */
  readonly halfMade?: boolean;
  /** In the first run the disk is full when this path is written to the n-th time: half of it is written. */
  readonly full?: { readonly path: string; readonly nth: number };
  /** Entries of an mbox that other programs add; how often they are there is their business. */
  readonly strangers?: readonly string[];
  /** What a mail reader does between two runs, or before the power fails. */
  readonly reader?: (disk: WeakDisk) => void;
}

/** Paths on the weak disk. The spool is not in the directory of the state, lest the sync of one hide that of the other is missing. */
export const PLACES = {
  state: '/home/state',
  spool: '/home/popfetch',
  maildir: '/home/Mail/box',
  mbox: '/home/spool/mbox',
  stdout: '/home/stdout',
} as const;

/** 3 November 2026, when the first run begins. */
export const START = Date.UTC(2026, 10, 3, 8, 2, 9);

/** Between two lives. Long enough for any lock file that says nothing to be stale. */
const LATER = 600_000;

/** The messages of one mailbox. They are gone when QUIT has been heard, whatever becomes of the client. */
class WeakServer {
  /** The uids that were retrieved in this life. */
  readonly retrieved: string[] = [];
  readonly #left: Map<string, Buffer>;

  /** @param moved called when QUIT has removed something */
  constructor(
    private readonly scenario: Scenario,
    left: readonly string[],
    private readonly moved: () => void,
  ) {
    this.#left = new Map(
      uidsOf(scenario).flatMap((uid, n) => (left.includes(uid) ? [[uid, scenario.messages[n]!]] : [])),
    );
  }

  get left(): string[] {
    return [...this.#left.keys()];
  }

  connect(): Mailbox {
    const listed = this.left.map((uid, index): Listed => ({
      number: index + 1,
      uid,
      size: this.#left.get(uid)!.length,
    }));
    const uidOf = (number: number): string => listed[number - 1]!.uid;
    const listing: Listing = { messages: listed, octets: 0, complete: true, uidl: true, notes: [] };
    const doomed = new Set<string>();
    const give = async function* (
      server: WeakServer,
      numbers: readonly number[],
    ): AsyncGenerator<Retrieved, void, undefined> {
      for (const number of numbers) {
        server.retrieved.push(uidOf(number));
        if (server.scenario.forgets === true) doomed.add(uidOf(number));
        yield await Promise.resolve({ number, body: piecesOf(server.#left.get(uidOf(number))!) });
      }
    };
    return {
      list: () => Promise.resolve(listing),
      retrieve: (wanted) =>
        give(
          this,
          wanted.map(({ number }) => number),
        ),
      top: () => {
        throw new Error('no unique-id is suspicious');
      },
      remove: (numbers) => {
        for (const number of numbers) doomed.add(uidOf(number));
        return Promise.resolve(numbers);
      },
      quit: async () => {
        await Promise.resolve();
        for (const uid of doomed) this.#left.delete(uid);
        if (doomed.size > 0) this.moved();
      },
      close: () => undefined,
    };
  }
}

async function* piecesOf(data: Buffer): AsyncGenerator<Buffer> {
  // Its reader may change it.
  yield await Promise.resolve(Buffer.from(data));
}

/** The unique-ids of its messages, in their order. */
export function uidsOf({ messages }: Scenario): string[] {
  return messages.map((_, index) => `uid-${index + 1}`);
}

/** A moment at which everything could end: what is on the disk, and what the server still has. */
export interface Moment {
  readonly image: Image;
  readonly left: readonly string[];
  /** The last call before it. */
  readonly call: string;
}

/** What came of a run. */
export interface Ran {
  readonly image: Image;
  readonly left: readonly string[];
  readonly retrieved: readonly string[];
  readonly delivered: number;
  readonly errors: readonly unknown[];
  /** All moments of it, if they were asked for. */
  readonly moments: readonly Moment[];
}

export interface RunOptions {
  /** 1 for the first run, and so on. */
  readonly life: number;
  readonly locks: string;
  readonly moments?: boolean;
  /** Lets calls overlap in another order for each sequence. */
  readonly random?: Random;
}

export const ADDRESS = { host: 'pop.example.com', port: 995, user: 'taro' } as const;

/** One run from boot to its end. */
export async function runOnce(
  system: System,
  scenario: Scenario,
  { image, left }: Pick<Moment, 'image' | 'left'>,
  options: RunOptions,
): Promise<Ran> {
  const moments: Moment[] = [];
  const { random } = options;
  const now = (): number => START + (options.life - 1) * LATER;
  const record = (present: Image, call: string): void => {
    moments.push({ image: present, left: server.left, call });
  };
  const disk = new WeakDisk(image, {
    locks: options.locks,
    now,
    hardLinks: scenario.hardLinks ?? true,
    ...(options.life === 1 && scenario.full !== undefined ? { full: scenario.full } : {}),
    ...(options.moments === true ? { record } : {}),
    ...(random === undefined
      ? {}
      : { turns: (call) => 1 + Math.floor(random() * (call === 'sync' ? 12 : 4)) }),
  });
  const server = new WeakServer(scenario, left, () => {
    if (options.moments === true) record(new Map(disk.image), 'QUIT');
  });
  const tally = new system.Tally();
  const errors: unknown[] = [];
  try {
    await retrieval(system, scenario, { disk, server, now, tally });
  } catch (error) {
    errors.push(error);
  }
  disk.die();
  const { delivered } = tally;
  errors.push(...tally.errors);
  return { image: disk.image, left: server.left, retrieved: server.retrieved, delivered, errors, moments };
}

interface World {
  readonly disk: WeakDisk;
  readonly server: WeakServer;
  readonly now: () => number;
  readonly tally: parts.Tally;
}

/** Nobody interrupts a run here: crashes do. */
const { signal } = new AbortController();

/** As `run.ts` does it, with this disk and this server. */
async function retrieval(system: System, scenario: Scenario, world: World): Promise<void> {
  const { disk, tally, now } = world;
  const seenDisk = system.diskOver?.(disk) ?? disk;
  const memory = await system.openSeen(PLACES.state, ADDRESS, seenDisk, { wait: 0, signal, now });
  try {
    await withDestination(system, scenario, world, memory, seenDisk);
  } finally {
    const { listed, delivered, removed } = tally;
    await memory.close({ time: now(), result: 'ok', listed, delivered, removed }, tally.uids);
  }
}

async function withDestination(
  system: System,
  scenario: Scenario,
  { disk: weak, server, now, tally }: World,
  memory: Seen,
  disk: Disk,
): Promise<void> {
  await disk.mkdir(PLACES.spool);
  const destination = await system.openDestination(scenario.deliver, {
    account: 'work',
    tag: system.mailboxTag(ADDRESS),
    eol: scenario.eol ?? 'lf',
    spool: PLACES.spool,
    disk,
    host: 'host.example',
    now,
    timeLimit: 1000,
    env: {},
    signal,
    ...(scenario.deliver.includes('stdout') ? { stdout: { format: 'raw' as const, out: outOf(weak) } } : {}),
  });
  const account = accountOf({ ...ADDRESS, deliver: scenario.deliver, delete: scenario.delete });
  try {
    await system.runAccount(
      account,
      {
        destination: scenario.serial === true ? oneByOne(destination) : destination,
        seen: memory,
        connect: () => Promise.resolve(server.connect()),
        identify: (listing, mailbox) => system.identify(listing, mailbox, memory),
        key: (uid) => system.messageKey(ADDRESS, uid),
        emit: () => undefined,
        now,
        signal,
        acceptReset: false,
        keep: false,
      },
      tally,
    );
  } finally {
    await destination.close();
  }
}

function oneByOne(destination: Destination): Destination {
  return {
    name: destination.name,
    window: 1,
    recover: (unfinished, log) => destination.recover(unfinished, log),
    deliver: (message, log) => destination.deliver(message, log),
    close: () => destination.close(),
  };
}

/** Standard output that is a file. */
function outOf(disk: WeakDisk): Out {
  const file = disk.openNow(PLACES.stdout, 'append');
  return { write: (data) => file.write(data), sync: () => file.sync() };
}
