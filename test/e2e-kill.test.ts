/**
 * A run that is killed at every single thing that happens between it and the server: wherever that is, no message is
 * lost at any moment, and the next run brings each exactly once.
 */
import { watch } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { lateHook, reach, said, stored, until, World } from './support/e2e.js';
import type { ServerEvent } from './support/faults.js';
import { awkward, plain } from './support/messages.js';
import type { TestServer } from './support/server.js';

const MAIL = [plain(1), plain(2), awkward['From lines']!, plain(4), awkward['leading dots']!];
const SILENCE = { code: 0, stdout: '', stderr: '' };
/** How many events are tried at the same time, each in a world of its own. */
const LANES = 2;
const PATIENCE = 120_000;

/** A mailbox, an account that empties it into `deliver`, and what is to happen at the server's events. */
interface Scene {
  readonly world: World;
  readonly server: TestServer;
  readonly late: ReturnType<typeof lateHook>;
}

async function scene(deliver: object): Promise<Scene> {
  const world = await World.create();
  const late = lateHook();
  const server = await world.serve({ taro: MAIL }, { onEvent: late.onEvent });
  await world.configure({ work: reach(server, { deliver, delete: 'delivered' }) });
  return { world, server, late };
}

/** The events of a run that nobody kills. */
async function eventsOf(deliver: object): Promise<ServerEvent[]> {
  const { world, late } = await scene(deliver);
  const events: ServerEvent[] = [];
  late.hook = (event) => {
    events.push(event);
    return undefined;
  };
  try {
    expect(await world.popfetch()).toEqual(SILENCE);
    return events;
  } finally {
    await world.close();
  }
}

/** Runs popfetch and kills it when the server is at that event, before the server does anything further. */
async function killedAt({ world, late }: Scene, number: number): Promise<NodeJS.Signals | null> {
  const running = world.start([]);
  late.hook = async (event) => {
    if (event.number === number) {
      running.kill();
      await running.done;
    }
    return undefined;
  };
  const { signal } = await running.done;
  late.hook = () => undefined;
  return signal;
}

/** What is in the home but for the memory, which takes a note of every run. */
async function delivered(world: World): Promise<Map<string, string>> {
  const all = [...(await world.everything())];
  return new Map(all.filter(([path]) => !/\.(journal|lock)(\.old)?$|popfetch$/.test(path)));
}

/** The messages that are neither on the server nor among what was delivered: they are lost. */
function lost(server: TestServer, content: readonly string[]): string[] {
  const there = server.mailbox('taro').uids;
  return MAIL.filter((message, index) => {
    const [text = ''] = stored(message);
    return !there.includes(`uid-${index + 1}`) && !content.includes(text);
  }).map((message) => message.toString('latin1'));
}

/**
 * Kills a run with `kill`, and sees that the next one completes it and the one after that changes nothing.
 * @returns what `kill` came to
 */
async function survives<T>(
  deliver: object,
  content: (world: World) => Promise<string[]>,
  kill: (all: Scene) => Promise<T>,
): Promise<T> {
  const all = await scene(deliver);
  const { world, server } = all;
  try {
    const outcome = await kill(all);
    await until(() => !server.mailbox('taro').locked, 'the server has noticed');
    // An mbox with a message cut off at its end cannot be read; everything has to be on the server then.
    expect(lost(server, await content(world).catch(() => []))).toEqual([]);
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await content(world)).toEqual(stored(...MAIL));
    expect(await world.leftovers('box')).toEqual([]);
    expect(server.mailbox('taro').uids).toEqual([]);
    const before = await delivered(world);
    const asked = said(server, 'RETR', 'DELE').length;
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(said(server, 'RETR', 'DELE')).toHaveLength(asked);
    expect(await delivered(world)).toEqual(before);
    return outcome;
  } finally {
    await world.close();
  }
}

/** Does all of these, a few at a time. */
async function inLanes<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const lane = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await act(item);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

const KINDS = [
  ['a Maildir', 0, { maildir: '~/box' }, (world: World) => world.maildir('box')],
  ['an mbox', 1, { mbox: '~/box' }, (world: World) => world.mbox('box')],
] as const;

describe('SIGKILL at any event of the server', () => {
  // Every third event, which are other ones for each kind: all of them would take minutes.
  test.each(KINDS)(
    'loses and doubles nothing in %s',
    async (_name, offset, deliver, content) => {
      const events = await eventsOf(deliver);
      expect(events.filter(({ kind, verb }) => kind === 'body' && verb === 'RETR')).toHaveLength(MAIL.length);
      await inLanes(
        events.filter(({ number }) => number % 3 === offset),
        async ({ number, kind, verb, line }) => {
          const kill = async (all: Scene): Promise<void> => {
            const signal = await killedAt(all, number);
            // After the last answer there is a moment in which the run may end by itself.
            if (!(kind === 'replied' && verb === 'QUIT')) expect(signal).toBe('SIGKILL');
          };
          await survives(deliver, content, kill).catch((cause: unknown) => {
            throw new Error(`killed at event ${number}: ${kind} of ${line}: ${String(cause)}`, { cause });
          });
        },
      );
    },
    PATIENCE,
  );
});

describe('SIGKILL at any change on the disk', () => {
  /**
   * Kills a run as soon as the `nth` change is seen. How far it is by then is chance, and different each time; whatever
   * it is, nothing may be lost or doubled. False when the run ended by itself before that.
   */
  async function killedAtChange({ world }: Scene, places: readonly string[], nth: number): Promise<boolean> {
    const directories = await Promise.all(places.map((place) => world.directory(place)));
    let changes = 0;
    let kill: () => void = () => undefined;
    const watchers = directories.map((directory) =>
      watch(directory, () => {
        changes += 1;
        if (changes === nth) kill();
      }),
    );
    const running = world.start([]);
    kill = () => running.kill();
    try {
      return (await running.done).signal === 'SIGKILL';
    } finally {
      for (const watcher of watchers) watcher.close();
    }
  }

  const MEMORY = '.local/state/popfetch';
  const PLACES = {
    'a Maildir': ['box/tmp', 'box/new', 'box/cur', MEMORY],
    'an mbox': ['.', MEMORY],
  } as const;

  // Every second change, until there is a run that makes fewer.
  test.each(KINDS)(
    'loses and doubles nothing in %s',
    async (name, _offset, deliver, content) => {
      let kills = 0;
      const lane = async (first: number): Promise<void> => {
        for (let nth = first; ; nth += 2 * LANES) {
          const kill = (all: Scene): Promise<boolean> => killedAtChange(all, PLACES[name], nth);
          if (!(await survives(deliver, content, kill))) return;
          kills += 1;
        }
      };
      await Promise.all(Array.from({ length: LANES }, (_, index) => lane(1 + 2 * index)));
      // Each message makes at least two changes: in the memory, and where it is delivered.
      expect(kills).toBeGreaterThanOrEqual(MAIL.length);
    },
    PATIENCE,
  );
});
