import { readFile, rm } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { removalTime } from '../src/account/plan.js';
import type { DestinationConfig } from '../src/config/account.js';
import type { DestinationContext } from '../src/deliver/context.js';
import type { Destination } from '../src/deliver/destination.js';
import { openDestination } from '../src/deliver/index.js';
import { nodeDisk } from '../src/disk.js';
import type { Seen } from '../src/seen/memory.js';
import { openSeen } from '../src/seen/seen.js';
import { caught } from './support/config-file.js';
import { failingDisk, fetchInto, message, NOW, Place, recover, sweep } from './support/delivery.js';
import { MemoryLog } from './support/log.js';
import { awkward, toLf } from './support/messages.js';
import { maildirLeftovers, maildirMessages } from './support/stored.js';
import { systemError } from './support/watched-disk.js';

let place: Place;
let log: MemoryLog;
let rejected: string;
let notes: string[];

beforeEach(async () => {
  place = await Place.create();
  log = new MemoryLog();
  rejected = place.path('rejected');
  notes = [];
});

afterEach(() => place.remove());

const env = { PATH: process.env['PATH'] };
const MAIL = Buffer.from('Subject: x\r\n\r\nFrom here\r\n');
const SECOND = Buffer.from('Subject: y\r\n\r\n');

/** Notes each time that it is asked in `path`, and ends with this status. */
function asking(path: string, status: number): DestinationConfig {
  return { command: ['sh', '-c', `echo >>"$1"; echo "no such user" >&2; exit ${status}`, 'sh', path] };
}

type Changes = Partial<DestinationContext>;

function open(configs: readonly DestinationConfig[], changes: Changes = {}): Promise<Destination> {
  const note = (sentence: string): void => void notes.push(sentence);
  return openDestination(configs, place.context({ env, note, rejected, ...changes }));
}

async function contents(maildir: string): Promise<string[]> {
  return (await maildirMessages(maildir)).map(({ data }) => data.toString('latin1'));
}

async function timesAsked(path: string): Promise<number> {
  return (await readFile(path, 'utf8').catch(() => '')).length;
}

describe('a message that a command refuses for good', () => {
  it.each(Object.entries(awkward))(
    '(%s) goes to the Maildir for refused messages as it is',
    async (_, data) => {
      const destination = await open([asking(place.path('asked'), 67)]);
      await recover(destination, log);
      expect(await fetchInto(destination, log, message(1, data, 1000))).toBe(data.length);
      expect(await contents(rejected)).toEqual([toLf(data).toString('latin1')]);
      expect(await maildirLeftovers(rejected)).toEqual([]);
      expect(await place.spooled()).toEqual([]);
      expect(notes).toEqual([
        `message 1 is in ${rejected} now, and stays on the server: the command sh did not take message 1: it ended with status 67, "no such user"`,
      ]);
    },
  );

  it('is thrown where there is no such Maildir', async () => {
    const destination = await openDestination([asking(place.path('asked'), 67)], place.context({ env }));
    await expect(destination.deliver(message(1, MAIL), log)).rejects.toMatchObject({ code: 'DATA' });
  });

  it('goes there once, though two refuse it, and to all others as well', async () => {
    const configs = [
      asking(place.path('one'), 65),
      { maildir: place.path('box') },
      asking(place.path('two'), 67),
      asking(place.path('taker'), 0),
    ];
    // A copy made later would have a name of its own.
    const destination = await open(configs, { now: () => (place.time += 1000) });
    await recover(destination, log);
    await fetchInto(destination, log, message(1, MAIL));
    expect(await contents(rejected)).toHaveLength(1);
    expect(await contents(place.path('box'))).toHaveLength(1);
    for (const name of ['one', 'two', 'taker']) expect(await timesAsked(place.path(name)), name).toBe(1);
  });

  it.each([
    [75, 'REFUSED'],
    [1, 'REFUSED'],
  ])('is one with such a status: after %i nothing goes there', async (status, code) => {
    const destination = await open([asking(place.path('asked'), status)]);
    await recover(destination, log);
    await expect(destination.deliver(message(1, MAIL), log)).rejects.toMatchObject({ code });
    expect(await contents(rejected)).toEqual([]);
    expect(await place.spooled()).toEqual([]);
  });

  it('stays where it is when that Maildir cannot take it', async () => {
    const disk = failingDisk((call, path) =>
      call === 'write' && path.startsWith(rejected) ? systemError('ENOSPC') : undefined,
    );
    const destination = await open([asking(place.path('asked'), 67)], { disk });
    await recover(destination, log);
    expect(await caught(destination.deliver(message(1, MAIL), log))).toMatchObject({ code: 'DELIVERY' });
    expect(await contents(rejected)).toEqual([]);
    expect(await maildirLeftovers(rejected)).toEqual([]);
    expect(await place.spooled()).toEqual([]);
    expect(notes).toEqual([]);
  });
});

describe('the Maildir for refused messages', () => {
  it('is made before any mail is fetched', async () => {
    await recover(await open([asking(place.path('asked'), 0)]), log);
    expect(await maildirLeftovers(rejected)).toEqual([]);
    await rm(rejected, { recursive: true });
    const blocked = await open([asking(place.path('asked'), 0)], { rejected: '/dev/null/x' });
    await expect(blocked.recover([], log)).rejects.toMatchObject({ code: 'CREATE' });
  });

  it.each([
    ['the same command', 65, true],
    ['a command with other words', 66, true],
    ['a Maildir, and none for refused messages', 0, false],
  ])('has what a crash left unfinished, when the config now names %s', async (_, other, still) => {
    const first = await open([asking(place.path('asked'), 65)]);
    await recover(first, log);
    // The memory learns no more than what was intended.
    log.before = (verb) => (verb === 'stored' ? Promise.reject(new Error('a crash')) : Promise.resolve());
    await expect(first.deliver(message(1, MAIL), log)).rejects.toThrow('a crash');
    log.before = () => Promise.resolve();

    const configs = still ? [asking(place.path('asked'), other)] : [{ maildir: place.path('box') }];
    const second = await open(configs);
    expect(await recover(second, log)).toEqual(['uid 1']);
    expect(await contents(rejected)).toEqual([toLf(MAIL).toString()]);
    expect(await maildirLeftovers(rejected)).toEqual([]);
    expect(await timesAsked(place.path('asked'))).toBe(1);
  });
});

describe('when popfetch is killed at every step', () => {
  const texts = (messages: readonly Buffer[]): string[] =>
    messages.map((data) => toLf(data).toString('latin1')).sort();
  const context = (where: Place): Changes => ({ env, rejected: where.path('rejected') });

  it('a message that a command refuses is once in the Maildir for refused messages', async () => {
    const messages = [MAIL, SECOND];
    const killed = await sweep({
      configs: (where) => [asking(where.path('asked'), 65)],
      context,
      messages,
      check: async (where, step) => {
        const path = where.path('rejected');
        expect((await contents(path)).sort(), `killed at step ${step}`).toEqual(texts(messages));
        expect(await maildirLeftovers(path)).toEqual([]);
        expect(await where.spooled()).toEqual([]);
      },
    });
    expect(killed).toBeGreaterThan(50);
  }, 120_000);

  it('so it is when two commands refuse it, and the Maildir between them has it once as well', async () => {
    const killed = await sweep({
      configs: (where) => [
        asking(where.path('asked'), 65),
        { maildir: where.path('box') },
        asking(where.path('asked too'), 67),
      ],
      context,
      messages: [MAIL],
      check: async (where, step) => {
        const path = where.path('rejected');
        expect(await contents(path), `killed at step ${step}`).toEqual(texts([MAIL]));
        expect(await contents(where.path('box')), `killed at step ${step}`).toHaveLength(1);
        expect(await maildirLeftovers(path)).toEqual([]);
        expect(await where.spooled()).toEqual([]);
      },
    });
    expect(killed).toBeGreaterThan(60);
  }, 120_000);
});

describe('what is remembered of a refused message', () => {
  const address = { host: 'pop.example.com', port: 995, user: 'taro' };
  const openMemory = (): Promise<Seen> => {
    const { signal } = new AbortController();
    return openSeen(place.path('state'), address, nodeDisk, { wait: 0, signal, now: () => NOW });
  };
  const RUN = { time: NOW, result: 'ok', listed: 1, delivered: 1, removed: 0 };
  const close = (seen: Seen): Promise<void> => seen.close(RUN, new Set(['uid 1']));
  const due = (seen: Seen, uid: string): number | undefined => removalTime(seen.entry(uid)!, 'delivered');

  it('keeps it on the server for ever', async () => {
    const seen = await openMemory();
    const taker = await open([asking(place.path('asked'), 0)]);
    await taker.deliver(message(1, MAIL), seen);
    await seen.done('uid 1');
    expect(due(seen, 'uid 1')).toBe(NOW);
    const refuser = await open([asking(place.path('asked'), 65)]);
    await refuser.recover([], seen);
    await refuser.deliver(message(2, MAIL), seen);
    await seen.done('uid 2');
    expect(due(seen, 'uid 2')).toBeUndefined();
    await close(seen);
    const later = await openMemory();
    expect(due(later, 'uid 2')).toBeUndefined();
    await close(later);
  });

  it('keeps it there although a crash came before another destination had it', async () => {
    const [box, path] = [place.path('box'), place.path('asked')];
    const configs = [asking(path, 65), { maildir: box }];
    const seen = await openMemory();
    const disk = failingDisk((call, at) =>
      call === 'write' && at.startsWith(box) ? systemError('EIO') : undefined,
    );
    const failing = await open(configs, { disk });
    await failing.recover([], seen);
    await expect(failing.deliver(message(1, MAIL), seen)).rejects.toMatchObject({ code: 'DELIVERY' });
    await close(seen);

    const later = await openMemory();
    const destination = await open(configs);
    expect(await destination.recover(later.unfinished(), later)).toEqual([]);
    await later.undone('uid 1');
    await destination.deliver(message(1, MAIL), later);
    await later.done('uid 1');
    expect(await timesAsked(path)).toBe(1);
    expect(await contents(rejected)).toHaveLength(1);
    expect(await contents(box)).toHaveLength(1);
    expect(due(later, 'uid 1')).toBeUndefined();
    await close(later);
  });
});
