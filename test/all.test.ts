import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DestinationConfig } from '../src/config/account.js';
import { openDestination } from '../src/deliver/index.js';
import type { Destination } from '../src/deliver/destination.js';
import type { Out } from '../src/deliver/context.js';
import { PopfetchError } from '../src/errors.js';
import {
  broken,
  failingDisk,
  fetchInto,
  message,
  Place,
  recover,
  run,
  sweep,
  TAG,
  type Sweep,
} from './support/delivery.js';
import { MemoryLog } from './support/log.js';
import { awkward, toLf } from './support/messages.js';
import { maildirLeftovers, maildirMessages, mboxMessages } from './support/stored.js';
import { systemError } from './support/watched-disk.js';

let place: Place;
let log: MemoryLog;
let one: string;
let two: string;
let mbox: string;

beforeEach(async () => {
  place = await Place.create();
  log = new MemoryLog();
  [one, two, mbox] = [place.path('one'), place.path('two'), place.path('box')];
});

afterEach(() => place.remove());

type Changes = Parameters<Place['context']>[0];

function open(configs: readonly DestinationConfig[], changes: Changes = {}): Promise<Destination> {
  return openDestination(configs, place.context(changes));
}

const MAIL = Buffer.from('Subject: x\r\n\r\nFrom here\r\n');
async function contents(maildir: string): Promise<string[]> {
  return (await maildirMessages(maildir)).map(({ data }) => data.toString('latin1'));
}

describe('several destinations', () => {
  it.each(Object.entries(awkward))('all get %s, each in its own form', async (_, data) => {
    let written = '';
    const out: Out = {
      write: (piece) => {
        written += piece.toString('latin1');
        return Promise.resolve();
      },
    };
    const destination = await open([{ maildir: one }, { mbox }, 'stdout', { maildir: two }], {
      stdout: { format: 'raw', out },
    });
    await recover(destination, log);
    // A second message shows that the octets of the first were nobody's to change twice.
    expect(await fetchInto(destination, log, message(1, data, 1000))).toBe(data.length);
    expect(await fetchInto(destination, log, message(2, MAIL))).toBe(MAIL.length);
    const lf = toLf(data).toString('latin1');
    expect((await contents(one)).sort()).toEqual([lf, toLf(MAIL).toString()].sort());
    expect((await contents(two)).sort()).toEqual([lf, toLf(MAIL).toString()].sort());
    expect(written === lf + toLf(MAIL).toString()).toBe(true);
    const [inMbox] = await mboxMessages(mbox);
    expect(inMbox!.data.toString('latin1').startsWith(lf)).toBe(true);
    expect(await place.spooled()).toEqual([]);
  });

  it('have one name, and the smallest window of them', async () => {
    const stdout = { format: 'raw', out: { write: () => Promise.resolve() } } as const;
    expect(await open([{ maildir: one }, { mbox }])).toMatchObject({ name: `maildir:${one}, mbox:${mbox}` });
    expect((await open([{ maildir: one }, { mbox }])).window).toBeGreaterThan(1);
    expect((await open([{ maildir: one }, 'stdout'], { stdout })).window).toBe(1);
    expect(await open([{ maildir: one }])).toMatchObject({ name: `maildir:${one}` });
  });

  it('read the server once, and only write files for what is large', async () => {
    const disk = failingDisk(() => undefined);
    const destination = await open([{ maildir: one }, { maildir: two }], { disk });
    await recover(destination, log);
    await fetchInto(destination, log, message(1, MAIL));
    const spooled = (): string[] =>
      disk.calls.filter((call) => call.startsWith(`open create ${place.spool}`));
    expect(spooled()).toEqual([]);
    await fetchInto(destination, log, message(2, Buffer.alloc(500_000, 'x')));
    expect(spooled()).toHaveLength(1);
    expect(disk.openFiles).toBe(0);
  });

  it('leave nothing anywhere when the body breaks off', async () => {
    const destination = await open([{ maildir: one }, { mbox }]);
    await recover(destination, log);
    const error = new Error('lost');
    for (const size of [10, 500_000]) {
      await expect(destination.deliver(broken(1, Buffer.alloc(size, 'x'), error), log)).rejects.toBe(error);
    }
    expect(await contents(one)).toEqual([]);
    expect(await readFile(mbox, 'latin1')).toBe('');
    expect(await place.spooled()).toEqual([]);
  });

  it('that have a message do not get it again when a later one failed', async () => {
    const configs = [{ maildir: one }, { mbox }, { maildir: two }];
    const disk = failingDisk((call, path) =>
      call === 'write' && path.startsWith(two) ? systemError('ENOSPC') : undefined,
    );
    const failing = await open(configs, { disk });
    await recover(failing, log);
    await expect(failing.deliver(message(1, MAIL), log)).rejects.toMatchObject({ code: 'DELIVERY' });
    expect(log.isStored('uid 1', `maildir:${one}`)).toBe(true);
    expect(log.isStored('uid 1', `mbox:${mbox}`)).toBe(true);
    expect(log.isStored('uid 1', `maildir:${two}`)).toBe(false);
    // They are released: nothing is locked or kept for them.
    expect(await maildirLeftovers(one)).toEqual([]);
    expect(await readdir(place.directory)).not.toContain('box.lock');

    const destination = await open(configs);
    expect(await recover(destination, log)).toEqual([]);
    await fetchInto(destination, log, message(1, MAIL));
    expect(await contents(one)).toHaveLength(1);
    expect(await mboxMessages(mbox)).toHaveLength(1);
    expect(await contents(two)).toHaveLength(1);
  });

  it('are released even when the memory cannot take it down', async () => {
    const destination = await open([{ mbox }, { maildir: one }]);
    await recover(destination, log);
    const error = new PopfetchError('STATE', 'the memory cannot be written');
    log.before = (verb) => (verb === 'stored' ? Promise.reject(error) : Promise.resolve());
    await expect(destination.deliver(message(1, MAIL), log)).rejects.toBe(error);
    expect(await readdir(place.directory)).not.toContain('box.lock');
  });

  it('that all have a message already are not given it, but it is read', async () => {
    const destination = await open([{ maildir: one }, { maildir: two }]);
    await recover(destination, log);
    await log.stored('uid 1', `maildir:${one}`);
    await log.stored('uid 1', `maildir:${two}`);
    let read = false;
    const body = async function* (): AsyncGenerator<Buffer> {
      yield* message(1, MAIL).body;
      read = true;
    };
    expect(await fetchInto(destination, log, { ...message(1, MAIL), body: body() })).toBe(MAIL.length);
    expect(read).toBe(true);
    expect(await contents(one)).toEqual([]);
  });

  it('in another order for another account do not wait for each other for ever', async () => {
    const boxes = [{ mbox }, { mbox: place.path('other') }];
    const accounts = [
      await open(boxes, { tag: 'aaaaaaaa' }),
      await open(boxes.toReversed(), { tag: 'bbbbbbbb' }),
    ];
    const logs = accounts.map(() => new MemoryLog());
    for (const [n, account] of accounts.entries()) await account.recover([], logs[n]!);
    await Promise.all(
      accounts.flatMap((account, n) =>
        Array.from({ length: 20 }, (_, each) => fetchInto(account, logs[n]!, message(each, MAIL))),
      ),
    );
    expect(await mboxMessages(mbox)).toHaveLength(40);
    expect(await mboxMessages(place.path('other'))).toHaveLength(40);
  });
});

/** Leaves a delivery between its intent and its end: the disk refuses every link and every write to an mbox. */
async function interrupted(configs: readonly DestinationConfig[]): Promise<void> {
  await recover(await open(configs), log);
  const disk = failingDisk((call, path) => {
    const refused = call === 'link' && path.includes('/new/');
    const kept = call === 'unlink' && path.includes('/tmp/1');
    return refused || kept ? systemError('EIO') : undefined;
  });
  await expect((await open(configs, { disk })).deliver(message(1, MAIL), log)).rejects.toBeDefined();
  expect(log.unfinished()).toHaveLength(1);
}

describe('after a crash', () => {
  it('a message is delivered when the last destination has it, too', async () => {
    await interrupted([{ mbox }, { maildir: one }]);
    const destination = await open([{ mbox }, { maildir: one }]);
    expect(await recover(destination, log)).toEqual(['uid 1']);
    expect(await mboxMessages(mbox)).toHaveLength(1);
    expect(await contents(one)).toHaveLength(1);
  });

  it('a message that has another destination to go is not, and goes only there', async () => {
    await interrupted([{ maildir: one }, { mbox }]);
    expect(await recover(await open([{ maildir: one }, { mbox }]), log)).toEqual([]);
    const destination = await open([{ maildir: one }, { mbox }]);
    await fetchInto(destination, log, message(1, MAIL));
    expect(await contents(one)).toHaveLength(1);
    expect(await mboxMessages(mbox)).toHaveLength(1);
  });

  it('a message that is known to be in a Maildir is not put there again, though its reader has removed it', async () => {
    await interrupted([{ maildir: one }]);
    const [intent] = log.intents();
    await log.stored('uid 1', `maildir:${one}`);
    expect(await (await open([{ maildir: one }])).recover([intent!], log)).toEqual(['uid 1']);
    expect(await contents(one)).toEqual([]);
    expect(await maildirLeftovers(one)).toEqual([]);
  });

  it('what earlier runs for this mailbox left in the spool is removed, and nothing else', async () => {
    const names = [`A${TAG}Kaaa.1`, `A${TAG}Kbbb.2`, 'Aotherrrr.Kaaa.1', 'notes'];
    for (const name of names) await writeFile(place.path('spool', name), 'x');
    await recover(await open([{ maildir: one }]), log);
    expect((await place.spooled()).sort()).toEqual(['Aotherrrr.Kaaa.1', 'notes']);
  });

  it('stdout is given again what was on its way to it', async () => {
    const stdout = { format: 'raw', out: { write: () => Promise.resolve() } } as const;
    const destination = await open(['stdout'], { stdout });
    await destination.deliver(message(1, MAIL), log);
    expect(await recover(await open([{ maildir: one }]), log)).toEqual([]);
  });
});

describe('when the config names another destination after a crash', () => {
  it('the delivery is finished where it was begun, and the message is not fetched again', async () => {
    await interrupted([{ maildir: one }]);
    await run([{ maildir: two }], place.context(), log, [MAIL]);
    expect(await contents(one)).toHaveLength(1);
    expect(await maildirLeftovers(one)).toEqual([]);
    expect(await contents(two)).toEqual([]);
  });

  it('an mbox is finished, too', async () => {
    await recover(await open([{ mbox }]), log);
    const destination = await open([{ mbox }]);
    await destination.deliver(message(1, MAIL), log);
    await destination.close();
    expect(await recover(await open([{ maildir: two }]), log)).toEqual(['uid 1']);
    expect(await mboxMessages(mbox)).toHaveLength(1);
    expect(await contents(two)).toEqual([]);
  });

  it.each([
    ['is gone', () => rm(one, { recursive: true })],
    ['was moved', () => rename(one, place.path('moved'))],
  ])('a place that %s is not made again, and the message is new', async (_, change) => {
    await interrupted([{ maildir: one }]);
    await change();
    expect(await recover(await open([{ maildir: two }]), log)).toEqual([]);
    expect(await readdir(place.directory)).not.toContain('one');
  });

  it('a place that cannot be opened stops nothing, with a word about it', async () => {
    await interrupted([{ maildir: one }]);
    await rm(`${one}/cur`, { recursive: true });
    await writeFile(`${one}/cur`, '');
    const notes: string[] = [];
    const note = (sentence: string): void => {
      notes.push(sentence);
    };
    expect(await recover(await open([{ maildir: two }], { note }), log)).toEqual([]);
    expect(notes).toEqual([
      `a delivery to maildir:${one}, which the config no longer names, could not be finished`,
    ]);
  });

  it('a message that one of today has already goes to the others of today', async () => {
    await interrupted([{ mbox }, { maildir: one }]);
    expect(await recover(await open([{ mbox }, { maildir: two }]), log)).toEqual([]);
    await fetchInto(await open([{ mbox }, { maildir: two }]), log, message(1, MAIL));
    expect(await mboxMessages(mbox)).toHaveLength(1);
    expect(await contents(one)).toHaveLength(1);
    expect(await contents(two)).toHaveLength(1);
  });

  it('a destination of another kind in the journal is not opened', async () => {
    await interrupted([{ maildir: one }]);
    const intent = { ...log.intents()[0]!, destination: 'lmtp:/run/lmtp' };
    expect(await (await open([{ maildir: two }])).recover([intent], log)).toEqual([]);
  });
});

const MESSAGES = [MAIL, Buffer.alloc(200_000, 'large\r\n')];

describe('two destinations, killed at every step', () => {
  it.each([[false], [true]])('end with every message once in each (torn writes: %s)', async (tearing) => {
    const lengths = (all: readonly { readonly data: Buffer }[]): number[] =>
      all.map(({ data }) => data.length).sort((a, b) => a - b);
    const plan: Sweep = {
      configs: (where) => [{ maildir: where.path('dir') }, { mbox: where.path('box') }],
      messages: MESSAGES,
      tearing,
      check: async (where, step) => {
        const expected = lengths(MESSAGES.map((data) => ({ data: toLf(data) })));
        expect(lengths(await maildirMessages(where.path('dir'))), `killed at step ${step}`).toEqual(expected);
        const ended = expected.map((length, n) =>
          n === 1 && !toLf(MESSAGES[1]!).toString().endsWith('\n') ? length + 1 : length,
        );
        expect(lengths(await mboxMessages(where.path('box'))), `killed at step ${step}`).toEqual(ended);
        expect(await maildirLeftovers(where.path('dir'))).toEqual([]);
        expect(await where.spooled()).toEqual([]);
        expect((await readdir(where.directory)).sort()).toEqual(['box', 'dir', 'spool']);
      },
    };
    expect(await sweep(plan)).toBeGreaterThan(80);
  });
});

it('a directory that is no Maildir is left as it is when only looked at', async () => {
  await mkdir(one);
  await open([{ maildir: one }]);
  expect(await readdir(one)).toEqual([]);
});
