import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pid } from 'node:process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PopfetchError } from '../src/errors.js';
import { mailboxTag } from '../src/identity.js';
import { encodeWrite, parseJournal } from '../src/seen/journal.js';
import { RETENTION, type RunRecord, type Seen } from '../src/seen/memory.js';
import { openSeen, readMemory, type OpenSeenOptions } from '../src/seen/seen.js';
import { intentOf } from './support/fakes.js';
import { Crash, systemError, WatchedDisk } from './support/watched-disk.js';

const ADDRESS = { host: 'pop.example.com', port: 995, user: 'taro@例え.jp' };
const NOW = Date.UTC(2026, 10, 24, 12);
const DAY = 24 * 3600 * 1000;

let directory: string;
let disk: WatchedDisk;
let now: number;
const open: Seen[] = [];
const children: ChildProcess[] = [];

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'popfetch-seen-')), 'state');
  disk = new WatchedDisk();
  now = NOW;
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  await disk.die();
  open.length = 0;
  await rm(join(directory, '..'), { recursive: true, force: true });
});

function openOne(options: Partial<OpenSeenOptions> = {}, address = ADDRESS): Promise<Seen> {
  const { signal } = new AbortController();
  return openSeen(directory, address, disk, { wait: 0, signal, now: () => now, ...options });
}

function runOf(changes: Partial<RunRecord> = {}): RunRecord {
  return { time: now, result: 'ok', listed: 0, delivered: 0, removed: 0, ...changes };
}

/** Closes the memory and opens it again, as the next run does. */
async function reopen(seen: Seen, listed?: readonly string[]): Promise<Seen> {
  await seen.close(runOf(), listed === undefined ? undefined : new Set(listed));
  return openOne();
}

/** One delivery, from intent to done. */
async function deliver(seen: Seen, uid: string): Promise<void> {
  await seen.intend(intentOf(uid));
  await seen.done(uid);
}

const journal = (): string => join(directory, `${mailboxTag(ADDRESS)}.journal`);

describe('the lock [100]', () => {
  it('keeps a second run of the same mailbox out and says who holds it', async () => {
    await openOne();
    await expect(openOne()).rejects.toMatchObject({
      code: 'LOCKED',
      phase: 'state',
      message: `another run of popfetch is fetching this mailbox (process ${pid} on ${hostname()}, since 2026-11-24T12:00:00.000Z)`,
      remedy: 'use --wait to wait for the other run',
    });
  });

  it('is of one mailbox only, whatever the case of its host', async () => {
    await openOne();
    await openOne({}, { ...ADDRESS, user: 'jiro' });
    await openOne({}, { ...ADDRESS, port: 110 });
    await expect(openOne({}, { ...ADDRESS, host: 'POP.Example.com' })).rejects.toMatchObject({
      code: 'LOCKED',
    });
  });

  it('is free again after close(), also where that failed', async () => {
    await (await openOne()).close(runOf(), undefined);
    const second = await openOne();
    disk.before = (call) => {
      if (call === 'write') throw systemError('ENOSPC');
    };
    await expect(second.close(runOf(), undefined)).rejects.toMatchObject({ code: 'STATE' });
    disk.before = () => undefined;
    await openOne();
  });

  it('is given to a run that waits for it', async () => {
    const first = await openOne();
    const waiting = openOne({ wait: Infinity });
    await deliver(first, 'a');
    await first.close(runOf(), undefined);
    expect((await waiting).has('a')).toBe(true);
  });

  it('is waited for no longer than asked', async () => {
    await openOne();
    await expect(openOne({ wait: 1 })).rejects.toMatchObject({ code: 'LOCKED' });
  });

  it('is waited for no longer when the run is interrupted', async () => {
    const first = await openOne();
    const controller = new AbortController();
    const reason = new PopfetchError('ABORTED', 'interrupted by SIGINT');
    const waiting = openOne({ wait: Infinity, signal: controller.signal });
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await first.close(runOf(), undefined);
    await openOne();
  });

  it('goes with the process that holds it, however that ends [101]', async () => {
    const child = await holder();
    await expect(openOne()).rejects.toMatchObject({
      code: 'LOCKED',
      message: expect.stringContaining(`(process ${child.pid ?? 0} on ${hostname()}, since `) as string,
    });
    child.kill('SIGKILL');
    await once(child, 'exit');
    const seen = await openOne();
    expect(seen.has('child')).toBe(true);
    expect(seen.unfinished()).toMatchObject([{ uid: 'unfinished' }]);
  });

  /** Another process with the memory open, in the middle of a delivery. */
  async function holder(): Promise<ChildProcess> {
    const source = (name: string): string => JSON.stringify(new URL(`../${name}`, import.meta.url).href);
    const code = `
      import { nodeDisk } from ${source('src/disk.ts')};
      import { openSeen } from ${source('src/seen/seen.ts')};
      import { intentOf } from ${source('test/support/fakes.ts')};
      const options = { wait: 0, signal: new AbortController().signal, now: Date.now };
      const seen = await openSeen(${JSON.stringify(directory)}, ${JSON.stringify(ADDRESS)}, nodeDisk, options);
      await seen.intend(intentOf('child'));
      await seen.done('child');
      await seen.intend(intentOf('unfinished'));
      console.log('held');
      setInterval(() => undefined, 60_000);
    `;
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', code], {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    const ended = once(child, 'exit').then(() => ['it ended']);
    const [line] = (await Promise.race([once(createInterface(child.stdout), 'line'), ended])) as [string];
    expect(line).toBe('held');
    return child;
  }
});

describe('what is remembered', () => {
  it('is nothing at first', async () => {
    const seen = await openOne();
    expect(seen.has('a')).toBe(false);
    expect([...seen.entries()]).toEqual([]);
    expect(seen.unfinished()).toEqual([]);
    expect(seen.lastRun).toBeUndefined();
    expect(seen.path).toBe(journal());
  });

  it('is a message that is done, with what was intended, whatever octets its uid has', async () => {
    const uid = ' a\0b\r\n%\xe9\xff/../';
    const intent = intentOf(uid, {
      key: 'k'.repeat(26),
      destination: 'maildir:/home/太郎/Mail box',
      ...{ size: 1234, octets: 1240, sha256: 'f'.repeat(64), headerSha256: '0'.repeat(64) },
      details: { name: '1.A2.host', inode: 17, place: '"ほげ"' },
    });
    let seen = await openOne();
    await seen.intend(intent);
    seen = await reopen(seen);
    expect(seen.has(uid)).toBe(false);
    expect(seen.unfinished()).toEqual([intent]);
    await seen.done(uid);
    const { details, ...facts } = intent;
    const entry = { ...facts, doneAt: NOW, removedAt: undefined, goneAt: undefined };
    const again = await reopen(seen);
    for (const memory of [again, await readMemory(directory, ADDRESS, disk)]) {
      expect(memory?.has(uid)).toBe(true);
      expect(memory?.entry(uid)).toEqual(entry);
      expect(memory?.unfinished()).toEqual([]);
    }
    expect(details).toHaveProperty('inode');
  });

  it('counts as done only once it is on disk', async () => {
    const seen = await openOne();
    await seen.intend(intentOf('a'));
    disk.before = (call) => {
      if (call === 'datasync') throw systemError('EIO');
    };
    await expect(seen.done('a')).rejects.toMatchObject({ code: 'STATE' });
    expect(seen.has('a')).toBe(false);
    expect(seen.unfinished()).toHaveLength(1);
  });

  it('is as new again what was undone', async () => {
    let seen = await openOne();
    await seen.intend(intentOf('a'));
    await seen.undone('a');
    expect(seen.unfinished()).toEqual([]);
    seen = await reopen(seen);
    expect(seen.unfinished()).toEqual([]);
    expect(seen.has('a')).toBe(false);
  });

  it('is the last intent of each destination', async () => {
    let seen = await openOne();
    const second = intentOf('a', { details: { try: 2 } });
    const other = intentOf('a', { destination: 'mbox:/ほげ' });
    await seen.intend(intentOf('a', { details: { try: 1 } }));
    await seen.intend(second);
    await seen.intend(other);
    seen = await reopen(seen);
    expect(seen.unfinished()).toEqual([second, other]);
    await seen.done('a');
    expect(seen.entry('a')?.destination).toBe('fake mbox:/ほげ');
  });

  it('is which of several destinations has a message', async () => {
    let seen = await openOne();
    await seen.intend(intentOf('a'));
    await seen.stored('a', 'fake');
    const next = intentOf('a', { destination: 'mbox:/ほげ' });
    await seen.intend(next);
    seen = await reopen(seen);
    expect(seen.isStored('a', 'fake')).toBe(true);
    expect(seen.isStored('a', 'mbox:/ほげ')).toBe(false);
    expect(seen.isStored('b', 'fake')).toBe(false);
    expect(seen.unfinished()).toEqual([next]);
    await seen.undone('a');
    expect(seen.isStored('a', 'fake')).toBe(true);
    await deliver(seen, 'a');
    expect(seen.isStored('a', 'fake')).toBe(false);
  });

  it('is which messages a person has been told of', async () => {
    let seen = await openOne();
    expect(seen.reported('a')).toBe(false);
    await seen.report('a');
    seen = await reopen(seen);
    expect(seen.reported('a')).toBe(true);
    await deliver(seen, 'a');
    expect(seen.reported('a')).toBe(false);
  });

  it('is which messages are larger than LIST says, until they are done', async () => {
    let seen = await openOne();
    expect(seen.exceeds('a')).toBe(0);
    await seen.outgrew('a', 1001);
    seen = await reopen(seen);
    expect(seen.exceeds('a')).toBe(1001);
    await deliver(seen, 'a');
    expect(seen.exceeds('a')).toBe(0);
  });

  it('is a message under the new uid that it goes by, too', async () => {
    let seen = await openOne();
    await deliver(seen, 'a');
    const known = seen.entry('a')!;
    await seen.adopt('new', known);
    seen = await reopen(seen, ['new']);
    expect(seen.entry('new')).toEqual({ ...known, uid: 'new' });
    expect(seen.entry('a')).toEqual({ ...known, goneAt: NOW });
  });

  it('is which uids several messages have gone by', async () => {
    let seen = await openOne();
    await deliver(seen, 'a\0mark.1');
    await deliver(seen, 'b');
    seen = await reopen(seen);
    expect(['a', 'b', 'a\0mark.1'].map((uid) => seen.shared(uid))).toEqual([true, false, false]);
  });

  it('is how the last run went', async () => {
    const run = runOf({ result: 'TIMEOUT', listed: 7, delivered: 3, removed: 2 });
    const seen = await openOne();
    await seen.close(runOf(), undefined);
    await (await openOne()).close(run, undefined);
    expect((await readMemory(directory, ADDRESS, disk))?.lastRun).toEqual(run);
  });

  it('is when the server said yes to a removal', async () => {
    let seen = await openOne();
    for (const uid of ['a', 'b', 'c']) await deliver(seen, uid);
    now += DAY;
    await seen.removed(['a', 'c']);
    seen = await reopen(seen);
    expect([...seen.entries()].map(({ removedAt }) => removedAt)).toEqual([NOW + DAY, undefined, NOW + DAY]);
    expect(seen.has('a')).toBe(true);
  });

  it('survives a run that is killed at any step', async () => {
    for (let step = 1; ; step += 1) {
      await rm(directory, { recursive: true, force: true });
      const dying = new WatchedDisk();
      dying.tearing = true;
      let steps = 0;
      dying.before = () => {
        steps += 1;
        if (steps >= step) throw new Crash();
      };
      const told: string[] = [];
      const life = async (): Promise<void> => {
        const { signal } = new AbortController();
        const seen = await openSeen(directory, ADDRESS, dying, { wait: 0, signal, now: () => now });
        for (const uid of ['a', 'b']) {
          await deliver(seen, uid);
          told.push(uid);
        }
        await seen.close(runOf(), new Set());
      };
      await life().catch(() => undefined);
      await dying.die();
      const seen = await openOne();
      for (const uid of told) expect(seen.has(uid), `step ${step}`).toBe(true);
      await deliver(seen, 'c');
      expect((await reopen(seen)).has('c')).toBe(true);
      await disk.die();
      disk = new WatchedDisk();
      if (steps < step) break;
    }
  });
});

describe('messages that vanish from the server', () => {
  const goneAt = async (seen: Seen, uid = 'a'): Promise<number | undefined> => {
    await seen.close(runOf(), undefined);
    return (await readMemory(directory, ADDRESS, disk))?.entry(uid)?.goneAt;
  };

  it('are gone from the first complete listing without them, and back with the first that shows them', async () => {
    let seen = await openOne();
    await deliver(seen, 'a');
    seen = await reopen(seen, ['a']);
    expect(seen.entry('a')?.goneAt).toBeUndefined();
    now += DAY;
    seen = await reopen(seen, []);
    expect(seen.entry('a')?.goneAt).toBe(NOW + DAY);
    now += DAY;
    seen = await reopen(seen, ['b']);
    expect(seen.entry('a')?.goneAt).toBe(NOW + DAY);
    seen = await reopen(seen, ['a']);
    expect(seen.entry('a')?.goneAt).toBeUndefined();
  });

  it('are not gone where the listing was not complete', async () => {
    const seen = await openOne();
    await deliver(seen, 'a');
    expect(await goneAt(await reopen(seen))).toBeUndefined();
  });

  it('are remembered for 90 days, then forgotten when the journal is rewritten', async () => {
    expect(RETENTION).toBe(90 * DAY);
    for (const [age, remembered] of [
      [RETENTION - 1, true],
      [RETENTION, false],
    ] as const) {
      await rm(directory, { recursive: true, force: true });
      now = NOW;
      let seen = await openOne();
      await deliver(seen, 'a');
      await deliver(seen, 'listed');
      seen = await reopen(seen, ['listed']);
      await bloat(seen);
      now = NOW + age;
      seen = await reopen(await openOne(), ['listed']);
      expect([seen.has('a'), seen.has('listed')]).toEqual([remembered, true]);
      await seen.close(runOf(), new Set(['listed']));
    }
  });

  it('are never forgotten while they are listed', async () => {
    let seen = await openOne();
    await deliver(seen, 'a');
    await bloat(seen, ['a']);
    now += 100 * RETENTION;
    seen = await reopen(await openOne(), ['a']);
    expect(seen.has('a')).toBe(true);
  });
});

/** Writes so much that is superseded at once that the next run rewrites the journal; closes it. */
async function bloat(seen: Seen, listed?: readonly string[]): Promise<void> {
  await seen.removed(Array.from({ length: 1200 }, () => 'listed'));
  await seen.close(runOf(), listed === undefined ? undefined : new Set(listed));
}

describe('rewriting', () => {
  /** Everything a memory can hold. */
  async function full(): Promise<Seen> {
    const seen = await openOne();
    for (const uid of ['listed', 'gone', 'ほげ']) await deliver(seen, Buffer.from(uid).toString('latin1'));
    await seen.intend(intentOf('unfinished', { details: { offset: 12, name: 'n' } }));
    await seen.intend(intentOf('half', { destination: 'mbox:/ほげ' }));
    await seen.stored('half', 'maildir:/ほげ');
    await seen.report('large');
    await seen.outgrew('larger', 1001);
    return seen;
  }

  async function facts(): Promise<unknown> {
    const memory = await readMemory(directory, ADDRESS, disk);
    return {
      entries: [...(memory?.entries() ?? [])],
      unfinished: memory?.unfinished(),
      reported: memory?.reported('large'),
      exceeds: memory?.exceeds('larger'),
      lastRun: memory?.lastRun,
    };
  }

  it('says the same in fewer records, and keeps the journal before it', async () => {
    await bloat(await full(), ['listed', 'ほげ']);
    const before = await facts();
    const text = await readFile(journal(), 'latin1');
    const seen = await openOne();
    expect(await facts()).toEqual(before);
    const last = runOf({ result: 'LOST' });
    await seen.close(last, undefined);
    expect(await facts()).toEqual({ ...(before as object), lastRun: last });
    const records = parseJournal(await readFile(journal(), 'latin1'), journal()).records;
    expect(records).toHaveLength(10);
    expect(await readFile(`${journal()}.old`, 'latin1')).toContain(text);
    expect((await openOne()).isStored('half', 'maildir:/ほげ')).toBe(true);
  });

  it('is not done for a few', async () => {
    let seen = await full();
    const { ino } = await stat(journal());
    seen = await reopen(seen);
    await seen.close(runOf(), undefined);
    expect((await stat(journal())).ino).toBe(ino);
  });

  it('that fails is said, loses nothing and leaves the lock free', async () => {
    await bloat(await full());
    const before = await facts();
    const seen = await openOne();
    disk.before = (call) => {
      if (call === 'open create') throw systemError('ENOSPC');
    };
    await expect(seen.close(runOf(), undefined)).rejects.toMatchObject({ code: 'STATE' });
    disk.before = () => undefined;
    expect(await facts()).toEqual(before);
    await openOne();
  });
});

describe('a journal that cannot be trusted [83]', () => {
  /** Opens in vain. @returns the error, when no file was left open. */
  async function refused(): Promise<PopfetchError> {
    const error: unknown = await openOne().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(PopfetchError);
    expect(disk.openFiles).toBe(0);
    return error as PopfetchError;
  }

  it('with a torn tail is cut back to its last whole line', async () => {
    const seen = await openOne();
    await deliver(seen, 'a');
    await seen.close(runOf(), undefined);
    const text = await readFile(journal(), 'latin1');
    await writeFile(journal(), `${text}9 9 0123`, 'latin1');
    const next = await openOne();
    expect(await readFile(journal(), 'latin1')).toBe(text);
    await deliver(next, 'b');
    expect((await reopen(next)).has('b')).toBe(true);
  });

  it('is refused where a line in the middle is damaged, and left as it is', async () => {
    const seen = await openOne();
    await deliver(seen, 'a');
    await seen.close(runOf(), undefined);
    const text = (await readFile(journal(), 'latin1')).replace('DONE a', 'DONE b');
    await writeFile(journal(), text, 'latin1');
    for (const error of [
      await refused(),
      await readMemory(directory, ADDRESS, disk).catch((e: unknown) => e),
    ]) {
      expect(error).toMatchObject({
        code: 'STATE',
        phase: 'state',
        message: `${journal()}: line 3 is damaged, and popfetch does not guess what it said`,
      });
    }
    expect(await readFile(journal(), 'latin1')).toBe(text);
  });

  it('is refused when it is of another mailbox', async () => {
    const other = { ...ADDRESS, user: 'jiro' };
    await (await openOne({}, other)).close(runOf(), undefined);
    const theirs = join(directory, `${mailboxTag(other)}.journal`);
    await copyFile(theirs, journal());
    expect(await refused()).toMatchObject({
      code: 'STATE',
      message: `${journal()}: this is not the memory of taro@例え.jp at pop.example.com`,
      remedy: 'move it away, then run popfetch state rebuild',
    });
    expect(await readFile(journal())).toEqual(await readFile(theirs));
  });

  it('is refused when it is no journal at all', async () => {
    await (await openOne()).close(runOf(), undefined);
    await writeFile(journal(), 'shopping list\nmilk\n');
    expect(await refused()).toMatchObject({ code: 'STATE' });
    expect(await readFile(journal(), 'latin1')).toBe('shopping list\nmilk\n');
  });

  it.each([
    [{ verb: 'POPFETCH', fields: ['2', ADDRESS.host, '995', 'taro'] }, 'format 2'],
    [{ verb: 'REDACTED', fields: ['x'] }, 'record REDACTED'],
  ])('is refused when a newer popfetch wrote it: %j', async (record, what) => {
    await (await openOne()).close(runOf(), undefined);
    const text = await readFile(journal(), 'latin1');
    const next = parseJournal(text, journal()).next;
    const newer = record.verb === 'POPFETCH' ? encodeWrite([record], 1) : text + encodeWrite([record], next);
    await writeFile(journal(), newer, 'latin1');
    for (const error of [
      await refused(),
      await readMemory(directory, ADDRESS, disk).catch((e: unknown) => e),
    ]) {
      expect(error).toMatchObject({
        code: 'STATE',
        message: `${journal()}: this popfetch does not know ${what}`,
        remedy: 'a newer popfetch wrote it: use that one',
      });
    }
    expect(await readFile(journal(), 'latin1')).toBe(newer);
  });

  it('that is empty, as a crash can leave it, is begun anew', async () => {
    await (await openOne()).close(runOf(), undefined);
    await writeFile(journal(), '');
    const seen = await openOne();
    await deliver(seen, 'a');
    expect((await reopen(seen)).has('a')).toBe(true);
  });
});

describe('the directory', () => {
  it('is made for its owner alone, and so are the files in it [86]', async () => {
    const seen = await openOne();
    await deliver(seen, 'a');
    await seen.close(runOf(), undefined);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    for (const name of await readdir(directory)) {
      expect((await stat(join(directory, name))).mode & 0o777, name).toBe(0o600);
    }
  });

  it('that cannot be used is the failure of the state, not a bug', async () => {
    await writeFile(directory, '');
    const expected = {
      code: 'STATE',
      phase: 'state',
      message: expect.stringMatching(/: the memory cannot be used \((EEXIST|ENOTDIR)\)$/) as string,
    };
    await expect(openOne()).rejects.toMatchObject(expected);
    await expect(readMemory(directory, ADDRESS, disk)).rejects.toMatchObject(expected);
  });

  it('that fails to be read says so', async () => {
    await (await openOne()).close(runOf(), undefined);
    disk.before = (call) => {
      if (call === 'open read' || call === 'open append') throw systemError('EACCES');
    };
    const expected = { code: 'STATE', message: `${journal()}: the memory cannot be used (EACCES)` };
    await expect(openOne()).rejects.toMatchObject(expected);
    await expect(readMemory(directory, ADDRESS, disk)).rejects.toMatchObject(expected);
  });
});

describe('reading without the lock', () => {
  it('gives nothing where there is no memory yet, and makes nothing', async () => {
    expect(await readMemory(directory, ADDRESS, disk)).toBeUndefined();
    await expect(stat(directory)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('sees what is on disk while another run goes on, and leaves its torn tail alone', async () => {
    const seen = await openOne();
    await deliver(seen, 'a');
    const torn = `${await readFile(journal(), 'latin1')}7 7 torn`;
    await writeFile(journal(), torn, 'latin1');
    expect((await readMemory(directory, ADDRESS, disk))?.has('a')).toBe(true);
    expect(await readFile(journal(), 'latin1')).toBe(torn);
  });
});
