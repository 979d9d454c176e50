import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  appendFile,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDestination } from '../src/deliver/index.js';
import type { Destination, Intent } from '../src/deliver/destination.js';
import { Mbox } from '../src/deliver/mbox.js';
import { Spool } from '../src/deliver/spool.js';
import { nodeDisk } from '../src/disk.js';
import { PopfetchError } from '../src/errors.js';
import { tryLock, unlock } from '../src/lock.js';
import {
  broken,
  failingDisk,
  fetchInto,
  keyOf,
  message,
  NOW,
  Place,
  recover,
  sweep,
  sweepTwice,
  TAG,
  type Sweep,
} from './support/delivery.js';
import { MemoryLog } from './support/log.js';
import { awkward } from './support/messages.js';
import { mboxMessages } from './support/stored.js';
import { Crash, systemError, type WatchedDisk } from './support/watched-disk.js';

let place: Place;
let log: MemoryLog;
let mbox: string;
const children = new Set<ChildProcess>();

beforeEach(async () => {
  place = await Place.create();
  log = new MemoryLog();
  mbox = place.path('mail', 'box');
});

afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
  await place.remove();
});

type Changes = Parameters<Place['context']>[0];

function open(changes: Changes = {}): Promise<Destination> {
  return openDestination([{ mbox }], place.context(changes));
}

/** One that waits for locks no longer than `wait` milliseconds. */
function impatient(wait: number, changes: Changes = {}): Mbox {
  const context = place.context(changes);
  return new Mbox(mbox, context, new Spool(context.disk, context.spool, context.tag), wait);
}

/** Puts text where the mbox is to be. */
async function given(text: string | Buffer): Promise<void> {
  await mkdir(place.path('mail'), { recursive: true });
  await writeFile(mbox, text);
}

const LINE = 'From MAILER-DAEMON Tue Nov  3 08:02:09 2026\n';
const OTHERS = 'From other@example.com Tue Nov  3 08:02:09 2026\nSubject: not ours\n\nbody\n\n';
const MAIL = Buffer.from('Subject: x\r\n\r\nFrom here\r\nbody\r\n');
const ENTRY = `${LINE}Subject: x\n\n>From here\nbody\n\n`;

const text = (): Promise<string> => readFile(mbox, 'latin1');
const toLf = (data: Buffer): Buffer =>
  Buffer.from(data.toString('latin1').replaceAll('\r\n', '\n'), 'latin1');

describe('delivery to an mbox', () => {
  it('makes a private file in a private directory, and puts the message in it in mboxrd form', async () => {
    const destination = await open();
    await recover(destination, log);
    await fetchInto(destination, log, message(1, MAIL));
    await fetchInto(destination, log, message(2, 'Return-Path: <taro@example.com>\r\n\r\nno newline'));
    expect(await text()).toBe(
      `${ENTRY}From taro@example.com Tue Nov  3 08:02:09 2026\nReturn-Path: <taro@example.com>\n\nno newline\n\n`,
    );
    expect((await stat(mbox)).mode & 0o777).toBe(0o600);
    expect((await stat(place.path('mail'))).mode & 0o777).toBe(0o700);
    expect(await readdir(place.path('mail'))).toEqual(['box']);
    expect(await place.spooled()).toEqual([]);
    expect(destination.name).toBe(`mbox:${mbox}`);
  });

  it.each(['lf', 'crlf'] as const)(
    'keeps every awkward message as it is, but for its last line end (eol %s)',
    async (eol) => {
      const destination = await open({ eol });
      await recover(destination, log);
      const messages = Object.values(awkward);
      for (const [n, data] of messages.entries()) {
        expect(await fetchInto(destination, log, message(n, data, n % 2 === 0 ? 7919 : 65_536))).toBe(
          data.length,
        );
      }
      const stored = await mboxMessages(mbox);
      expect(stored).toHaveLength(messages.length);
      for (const [n, { data }] of stored.entries()) {
        const kept = eol === 'lf' ? toLf(messages[n]!) : messages[n]!;
        const added = kept.length === 0 || kept.at(-1) === 0x0a ? '' : eol === 'lf' ? '\n' : '\r\n';
        const expected = Buffer.concat([kept, Buffer.from(added)]);
        expect(data.equals(expected), Object.keys(awkward)[n]).toBe(true);
      }
    },
  );

  it.each([
    ['nothing', '', ''],
    ['an empty line', 'From a\nx\n\n', ''],
    ['an empty line with CRLF', 'From a\r\nx\r\n\r\n', ''],
    ['the end of a line', 'From a\nx\n', '\n'],
    ['half a line', 'From a\nx', '\n\n'],
    ['a From line alone', 'From a\n', '\n'],
  ])('goes on after %s without touching what is there', async (_, before, pad) => {
    await given(before);
    const destination = await open();
    await recover(destination, log);
    await Promise.all([1, 2].map((n) => fetchInto(destination, log, message(n, MAIL))));
    expect(await text()).toBe(`${before}${pad}${ENTRY}${ENTRY}`);
  });

  it('appends what waits together under one lock, in order, with one sync', async () => {
    const disk = failingDisk(() => undefined);
    const destination = await open({ disk });
    await recover(destination, log);
    disk.calls.length = 0;
    const mails = Array.from({ length: 33 }, (_, n) => `Subject: ${n}\r\n\r\n`);
    await Promise.all(mails.map((mail, n) => fetchInto(destination, log, message(n, mail))));
    expect((await mboxMessages(mbox)).map(({ data }) => data.toString())).toEqual(
      mails.map((mail) => mail.replaceAll('\r\n', '\n')),
    );
    const count = (call: string): number => disk.calls.filter((each) => each === call).length;
    // The first one goes alone, the other 32 gather meanwhile.
    expect(count(`sync ${mbox}`)).toBe(2);
    expect(count(`link ${mbox}.lock`)).toBe(2);
    expect(count(`write ${mbox}`)).toBe(2);
    expect(disk.openFiles).toBe(0);
    expect(await place.spooled()).toEqual([]);
  });

  it('spools durably, records where the message will be, appends and syncs, in this order', async () => {
    const disk = failingDisk(() => undefined);
    const destination = await open({ disk });
    await given('From a\nx\n');
    await recover(destination, log);
    disk.calls.length = 0;
    log.before = (verb) => {
      disk.calls.push(verb);
      return Promise.resolve();
    };
    const delivery = await destination.deliver(message(1, MAIL), log);
    const spooled = place.path('spool', `A${TAG}K${keyOf(1)}.1`);
    const calls = disk.calls.filter((call) => !/^(lstat|stat|read) /.test(call));
    expect(calls).toEqual([
      `open create ${spooled}`,
      `write ${spooled}`,
      `sync ${spooled}`,
      `close ${spooled}`,
      `syncDirectory ${place.spool}`,
      `unlink ${mbox}.lock.${TAG}`,
      `open create ${mbox}.lock.${TAG}`,
      `write ${mbox}.lock.${TAG}`,
      `close ${mbox}.lock.${TAG}`,
      `link ${mbox}.lock`,
      `unlink ${mbox}.lock.${TAG}`,
      `open append ${mbox}`,
      'intend',
      `write ${mbox}`,
      `sync ${mbox}`,
    ]);
    expect(log.intents()[0]).toMatchObject({
      uid: 'uid 1',
      key: keyOf(1),
      destination: `mbox:${mbox}`,
      octets: MAIL.length,
      details: {
        start: 9,
        pad: '\n',
        offset: 10,
        length: ENTRY.length,
        spool: `A${TAG}K${keyOf(1)}.1`,
        from: 0,
      },
    });
    await delivery.release();
    expect(disk.openFiles).toBe(0);
  });

  it('streams a large message through the spool, and appends it in pieces of 1 MiB', async () => {
    const disk = failingDisk(() => undefined);
    const destination = await open({ disk });
    await recover(destination, log);
    const large = Buffer.alloc(5_000_000, 'a line of mail\r\n');
    await Promise.all([large, MAIL].map((data, n) => fetchInto(destination, log, message(n, data))));
    const stored = (await mboxMessages(mbox)).sort((a, b) => b.data.length - a.data.length);
    expect(stored.map(({ data }) => data.length)).toEqual([toLf(large).length, toLf(MAIL).length]);
    expect(stored[0]!.data.equals(toLf(large))).toBe(true);
    expect(disk.calls.filter((call) => call === `write ${mbox}`).length).toBeGreaterThan(4);
    expect(await place.spooled()).toEqual([]);
  });

  it('holds both locks until all of a batch are released', async () => {
    const destination = await open();
    await recover(destination, log);
    const first = await destination.deliver(message(1, MAIL), log);
    expect(await readFile(`${mbox}.lock`, 'latin1')).toBe(`${process.pid} host.example ${TAG}\n`);
    const file = await nodeDisk.open(mbox, 'append');
    expect(tryLock(file.fd)).toBe(false);
    const others = [2, 3].map((n) => destination.deliver(message(n, MAIL), log));
    await first.release();
    const [second, third] = await Promise.all(others);
    await second!.release();
    // Asking twice is once.
    await second!.release();
    expect(tryLock(file.fd)).toBe(false);
    await third!.release();
    expect(tryLock(file.fd)).toBe(true);
    unlock(file.fd);
    await file.close();
    expect(await readdir(place.path('mail'))).toEqual(['box']);
  });

  it('lets two accounts of one process take turns', async () => {
    const accounts = ['aaaaaaaa', 'bbbbbbbb'].map((tag) => impatient(10_000, { tag }));
    const logs = accounts.map(() => new MemoryLog());
    await Promise.all(accounts.map((account, n) => account.recover([], logs[n]!)));
    await Promise.all(
      accounts.flatMap((account, n) =>
        Array.from({ length: 50 }, (_, each) =>
          fetchInto(account, logs[n]!, message(each, `Subject: ${n}.${each}\r\n\r\n`)),
        ),
      ),
    );
    const subjects = (await mboxMessages(mbox)).map(({ data }) => data.toString());
    expect(new Set(subjects).size).toBe(100);
    expect(subjects).toHaveLength(100);
  });
});

describe('opening an mbox', () => {
  it.each([
    ['a symbolic link', () => symlink(place.path('elsewhere'), mbox)],
    ['a directory', () => mkdir(mbox)],
    ['a pipe', () => Promise.resolve(execFileSync('mkfifo', [mbox]))],
    [
      'a file with a second name',
      async () => {
        await given(OTHERS);
        await link(mbox, place.path('second'));
      },
    ],
    ['a file that is not an mbox', () => given('Dear diary,\n')],
  ])('refuses %s, and leaves it as it is', async (_, make) => {
    await mkdir(place.path('mail'));
    await make();
    await expect(recover(await open(), log)).rejects.toMatchObject({ code: 'CREATE', phase: 'destination' });
    const destination = await open();
    await expect(destination.deliver(message(1, MAIL), log)).rejects.toMatchObject({ code: 'CREATE' });
    expect(await readdir(place.path('mail'))).toEqual(['box']);
    expect(await readdir(place.directory)).not.toContain('elsewhere');
    expect(await place.spooled()).toEqual([]);
  });

  it('refuses a symbolic link that is put there between the look and the opening', async () => {
    await given(OTHERS);
    const disk = failingDisk(() => undefined);
    let armed = true;
    const sly = {
      ...methods(disk),
      open: async (path: string, how: Parameters<typeof disk.open>[1], mode?: number) => {
        if (path === mbox && armed) {
          armed = false;
          await rename(mbox, place.path('real'));
          await symlink(place.path('real'), mbox);
        }
        return disk.open(path, how, mode);
      },
    };
    await expect(recover(await open({ disk: sly }), log)).rejects.toMatchObject({
      code: 'CREATE',
      message: `${mbox} is a symbolic link, so no mail is written to it`,
    });
    expect(await readFile(place.path('real'), 'latin1')).toBe(OTHERS);
  });

  it.each([
    ['EACCES', 'CREATE'],
    ['ENOSPC', 'DELIVERY'],
  ])('reports %s as %s', async (errno, code) => {
    const disk = failingDisk((call) => (call === 'open append' ? systemError(errno) : undefined));
    await expect(recover(await open({ disk }), log)).rejects.toMatchObject({ code });
  });
});

/** The disk's methods as properties, so that some can be replaced. */
function methods(disk: WatchedDisk): typeof nodeDisk {
  return {
    open: disk.open.bind(disk),
    mkdir: disk.mkdir.bind(disk),
    link: disk.link.bind(disk),
    rename: disk.rename.bind(disk),
    unlink: disk.unlink.bind(disk),
    readdir: disk.readdir.bind(disk),
    lstat: disk.lstat.bind(disk),
    syncDirectory: disk.syncDirectory.bind(disk),
  };
}

describe('a delivery to an mbox that fails', () => {
  it('leaves nothing when the body breaks off, and passes its error on as it is', async () => {
    await given(OTHERS);
    const destination = await open();
    await recover(destination, log);
    for (const size of [10, 300_000]) {
      const error = systemError('ECONNRESET');
      await expect(destination.deliver(broken(1, Buffer.alloc(size, 'x'), error), log)).rejects.toBe(error);
    }
    expect(await text()).toBe(OTHERS);
    expect(await place.spooled()).toEqual([]);
  });

  it.each([
    ['the spool cannot be written', 'write', 'spool', 'ENOSPC', 'the disk is full'],
    ['the spool cannot be synced', 'sync', 'spool', 'EIO', 'input/output error'],
    ['the dotlock cannot be made', 'open create', `box.lock.${TAG}`, 'ENOSPC', 'the disk is full'],
    ['the mbox cannot be opened', 'open append', 'box', 'EMFILE', 'too many files'],
    ['it cannot be appended', 'write', 'box', 'EDQUOT', 'quota'],
    ['it cannot be synced', 'sync', 'box', 'EIO', 'input/output error'],
    ['its directory cannot be synced', 'syncDirectory', 'mail', 'EIO', 'input/output error'],
  ])('because %s says so, and leaves no trace', async (_, failing, where, code, words) => {
    await recover(await open(), log);
    let armed = true;
    const disk = failingDisk((call, path) =>
      armed && call === failing && path.split('/').includes(where) ? systemError(code) : undefined,
    );
    disk.tearing = true;
    const destination = await open({ disk });
    const outcomes = await Promise.allSettled(
      [1, 2, 3].map((n) => fetchInto(destination, log, message(n, MAIL))),
    );
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'DELIVERY', cause: { code } } });
      expect((outcome as { reason: PopfetchError }).reason.message).toContain(words);
    }
    expect(await text()).toBe('');
    expect(await readdir(place.path('mail'))).toEqual(['box']);
    expect(await place.spooled()).toEqual([]);
    expect(disk.openFiles).toBe(0);
    armed = false;
    expect(await recover(destination, log)).toEqual([]);
    await fetchInto(destination, log, message(1, MAIL));
    expect(await text()).toBe(ENTRY);
  });

  it('passes on an error of the memory as it is, and appends nothing', async () => {
    const destination = await open();
    await recover(destination, log);
    const error = new PopfetchError('STATE', 'the memory cannot be written');
    log.before = () => Promise.reject(error);
    await expect(destination.deliver(message(1, MAIL), log)).rejects.toBe(error);
    expect(await text()).toBe('');
    expect(await readdir(place.path('mail'))).toEqual(['box']);
  });

  it.each([
    ['before', 'write', 0, `${OTHERS}${ENTRY}`],
    ['behind', 'stat', 2, `${ENTRY}${OTHERS}`],
  ])('does not fail because somebody without a lock wrote %s it', async (_, call, skip, expected) => {
    let left = skip;
    const destination = await open({ disk: intruded(call, () => (left -= 1) < 0) });
    await recover(await open(), log);
    await fetchInto(destination, log, message(1, MAIL));
    expect(await text()).toBe(expected);
  });

  it('says that somebody without a lock wrote into the middle of it', async () => {
    let left = 1;
    const destination = await open({ disk: intruded('write', () => (left -= 1) < 0) });
    await recover(await open(), log);
    const large = Buffer.alloc(3_000_000, 'x');
    await expect(destination.deliver(message(1, large), log)).rejects.toMatchObject({
      code: 'DELIVERY',
      message: `${mbox}: another program wrote to it without locking it`,
    });
  });
});

/** A disk on which another program appends to the mbox, once, just before a call to it. */
function intruded(call: string, now: () => boolean): typeof nodeDisk {
  let armed = true;
  return {
    ...nodeDisk,
    open: async (path, how, mode) => {
      const file = await nodeDisk.open(path, how, mode);
      if (path !== mbox) return file;
      const intrude = async (this_: string): Promise<void> => {
        if (this_ !== call || !armed || !now()) return;
        armed = false;
        await appendFile(mbox, OTHERS);
      };
      return {
        fd: file.fd,
        path: file.path,
        write: async (data) => {
          await intrude('write');
          await file.write(data);
        },
        stat: async () => {
          await intrude('stat');
          return file.stat();
        },
        read: (position, length) => file.read(position, length),
        truncate: (length) => file.truncate(length),
        sync: () => file.sync(),
        datasync: () => file.datasync(),
        close: () => file.close(),
      };
    },
  };
}

/** Another process that holds the kernel's lock on the mbox until it is told to let go. */
async function otherProcessLocks(path: string): Promise<{ letGo(): Promise<void> }> {
  const program = `
    const fs = require('node:fs');
    const fd = fs.openSync(process.argv[1], 'r+');
    if (!require('fs-native-extensions').tryLock(fd)) process.exit(1);
    process.stdout.write('locked');
    process.stdin.on('data', () => process.exit(0));`;
  const cwd = new URL('..', import.meta.url);
  const child = spawn(process.execPath, ['-e', program, path], { cwd, stdio: ['pipe', 'pipe', 'inherit'] });
  children.add(child);
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', reject);
  });
  return {
    letGo: () =>
      new Promise((resolve) => {
        child.once('exit', () => {
          resolve();
        });
        child.stdin.write('x');
      }),
  };
}

/** A process id that was used and is free. */
function deadPid(): number {
  return Number(execFileSync(process.execPath, ['-e', 'process.stdout.write(String(process.pid))']));
}

describe('an mbox that another program has locked', () => {
  it('by the kernel makes the delivery give up after a while, with nothing written', async () => {
    await given(OTHERS);
    await otherProcessLocks(mbox);
    const error: unknown = await impatient(60)
      .deliver(message(1, MAIL), log)
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'LOCKED',
      exit: 75,
      message: `${mbox} has been locked by another program for 0.06 s`,
    });
    expect(await text()).toBe(OTHERS);
    expect(await readdir(place.path('mail'))).toEqual(['box']);
    expect(await place.spooled()).toEqual([]);
    expect(log.intents()).toEqual([]);
  });

  it('by the kernel makes the delivery wait until it lets go', async () => {
    await given(OTHERS);
    const other = await otherProcessLocks(mbox);
    const delivered = fetchInto(impatient(20_000), log, message(1, MAIL));
    const early = await Promise.race([delivered.then(() => 'early'), readUntilDotlock()]);
    expect(early).toBe('tried');
    await other.letGo();
    await delivered;
    expect(await text()).toBe(OTHERS + ENTRY);
  });

  it('by dotlock makes the delivery give up, and the lock stays', async () => {
    await given(OTHERS);
    await writeFile(`${mbox}.lock`, `${process.pid}\n`);
    await expect(impatient(30).deliver(message(1, MAIL), log)).rejects.toMatchObject({
      code: 'LOCKED',
      message: `${mbox} has been locked by another program for 0.03 s (${mbox}.lock)`,
    });
    expect(await readFile(`${mbox}.lock`, 'latin1')).toBe(`${process.pid}\n`);
    expect(await text()).toBe(OTHERS);
  });

  it('keeps recovery out as well', async () => {
    await interrupted([MAIL]);
    await writeFile(`${mbox}.lock`, '');
    await expect(impatient(30).recover(log.unfinished(), log)).rejects.toMatchObject({ code: 'LOCKED' });
  });

  it('is opened again where that program put another file in its place', async () => {
    await given(OTHERS);
    const disk = failingDisk(() => undefined);
    let armed = true;
    const replacing = {
      ...methods(disk),
      // The look at the path after the lock is the second one of an attempt; a dotlock has its own path.
      lstat: async (path: string) => {
        if (path === mbox && disk.calls.some((call) => call === `stat ${mbox}`) && armed) {
          armed = false;
          await writeFile(place.path('fresh'), `${OTHERS}${OTHERS}`);
          await rename(place.path('fresh'), mbox);
        }
        return disk.lstat(path);
      },
    };
    await fetchInto(impatient(5000, { disk: replacing }), log, message(1, MAIL));
    expect(armed).toBe(false);
    expect(await text()).toBe(`${OTHERS}${OTHERS}${ENTRY}`);
    expect(disk.openFiles).toBe(0);
  });
});

/** Resolves when a delivery has tried both locks: it has made the dotlock and taken it away again. */
async function readUntilDotlock(): Promise<'tried'> {
  const present = async (): Promise<boolean> => (await readdir(place.path('mail'))).includes('box.lock');
  while (!(await present()));
  while (await present());
  return 'tried';
}

describe('a dotlock', () => {
  const minute = 60;

  async function lockOf(content: string, age: number): Promise<void> {
    await given(OTHERS);
    await writeFile(`${mbox}.lock`, content);
    const then = NOW / 1000 - age;
    await utimes(`${mbox}.lock`, then, then);
  }

  it.each([
    ['of a dead process that is 3 minutes old', () => `${deadPid()}\n`, 3 * minute],
    [
      'of a dead process of this machine that is 3 minutes old',
      () => `${deadPid()}:host.example`,
      3 * minute,
    ],
    ['that says nothing and is 11 minutes old', () => '', 11 * minute],
    ['of another machine that is 11 minutes old', () => `${process.pid} elsewhere ${TAG}`, 11 * minute],
    ['of an earlier run of this account, just made', () => `${process.pid} host.example ${TAG}`, 0],
  ])('%s is taken over', async (_, content, age) => {
    await lockOf(content(), age);
    await fetchInto(impatient(1000), log, message(1, MAIL));
    expect(await text()).toBe(OTHERS + ENTRY);
    expect(await readdir(place.path('mail'))).toEqual(['box']);
  });

  it.each([
    ['of a dead process that is 1 minute old', () => `${deadPid()}\n`, minute],
    ['of a living process, however old', () => `${process.pid}\n`, 1000 * minute],
    ['of a living process of this machine', () => `${process.pid}:host.example`, 1000 * minute],
    ['that says nothing and is 3 minutes old', () => '', 3 * minute],
    ['of another machine that is 3 minutes old', () => `${deadPid()} elsewhere ${TAG}`, 3 * minute],
    ['of another account of this machine', () => `${process.pid} host.example zzzzzzzz`, 1000 * minute],
  ])('%s is respected', async (_, content, age) => {
    await lockOf(content(), age);
    await expect(impatient(20).deliver(message(1, MAIL), log)).rejects.toMatchObject({ code: 'LOCKED' });
    expect(await text()).toBe(OTHERS);
  });

  it.each(['EACCES', 'EROFS', 'EPERM'])(
    'is done without where the directory cannot be written (%s)',
    async (code) => {
      await given(OTHERS);
      const disk = failingDisk((call, path) =>
        call === 'open create' && path.startsWith(`${mbox}.lock`) ? systemError(code) : undefined,
      );
      await fetchInto(impatient(1000, { disk }), log, message(1, MAIL));
      expect(await text()).toBe(OTHERS + ENTRY);
      // The kernel's lock still counts.
      await otherProcessLocks(mbox);
      await expect(impatient(20, { disk }).deliver(message(2, MAIL), log)).rejects.toMatchObject({
        code: 'LOCKED',
      });
    },
  );

  it.each(['EPERM', 'EOPNOTSUPP'])('is made where there are no hard links (%s)', async (code) => {
    const disk = failingDisk((call) => (call === 'link' ? systemError(code) : undefined));
    const destination = impatient(1000, { disk });
    await destination.recover([], log);
    const delivery = await destination.deliver(message(1, MAIL), log);
    expect(await readFile(`${mbox}.lock`, 'latin1')).toBe(`${process.pid} host.example ${TAG}\n`);
    await delivery.release();
    expect(await readdir(place.path('mail'))).toEqual(['box']);
  });

  it('that was made although link() reported an error is held', async () => {
    const nfs = {
      ...nodeDisk,
      link: async (from: string, to: string) => {
        await nodeDisk.link(from, to);
        throw systemError('EEXIST');
      },
    };
    await recover(await open(), log);
    await fetchInto(impatient(1000, { disk: nfs }), log, message(1, MAIL));
    expect(await text()).toBe(ENTRY);
    expect(await readdir(place.path('mail'))).toEqual(['box']);
  });

  it('of a dead run of this account goes when the mbox is opened, mail or not', async () => {
    await lockOf(`1 host.example ${TAG}`, 0);
    await writeFile(`${mbox}.lock.${TAG}`, '');
    await recover(await open(), log);
    expect(await readdir(place.path('mail'))).toEqual(['box']);
    await lockOf('1 host.example zzzzzzzz', 1000 * minute);
    await recover(await open(), log);
    expect(await readdir(place.path('mail'))).toEqual(['box', 'box.lock']);
  });

  it('that somebody has taken over meanwhile is not removed', async () => {
    const destination = impatient(1000);
    await destination.recover([], log);
    const delivery = await destination.deliver(message(1, MAIL), log);
    await unlink(`${mbox}.lock`);
    await writeFile(place.path('mail', 'new'), 'theirs');
    await rename(place.path('mail', 'new'), `${mbox}.lock`);
    await delivery.release();
    expect(await readFile(`${mbox}.lock`, 'latin1')).toBe('theirs');
  });
});

/** Delivers until the first octet would be appended, and dies there: intents and spool are on disk. */
async function interrupted(messages: readonly Buffer[]): Promise<Intent[]> {
  await recover(await open(), log);
  const disk = failingDisk((call, path) => (call === 'write' && path === mbox ? new Crash() : undefined));
  const calls = disk.before;
  disk.before = (call, path) => {
    try {
      calls(call, path);
    } catch (error) {
      disk.before = () => {
        throw error;
      };
      throw error;
    }
  };
  const context = place.context({ disk });
  const dying = new Mbox(mbox, context, new Spool(disk, place.spool, TAG));
  const outcomes = await Promise.allSettled(
    messages.map((data, n) => dying.deliver(message(n + 1, data), log)),
  );
  expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
  await disk.die();
  return log.intents();
}

const SECOND = Buffer.from('Subject: second\r\n\r\n');
const SECOND_ENTRY = `${LINE}Subject: second\n\n\n`;
const NOTES = 'Status: RO\nX-UID: 7\n';

describe('a delivery to an mbox that a crash interrupted', () => {
  async function recovered(notes: string[] = []): Promise<string[]> {
    const note = (sentence: string): void => {
      notes.push(sentence);
    };
    const uids = await recover(await open({ note }), log);
    expect(await readdir(place.path('mail'))).toEqual(['box']);
    expect(await place.spooled()).toEqual([]);
    for (const uid of uids) expect(log.isStored(uid, `mbox:${mbox}`)).toBe(true);
    return uids;
  }

  /** Two messages in one batch: they gather while another one is on its way. */
  async function both(): Promise<void> {
    await recover(await open(), log);
    const disk = failingDisk(() => undefined);
    const dying = new Mbox(mbox, place.context({ disk }), new Spool(disk, place.spool, TAG));
    let writes = 0;
    disk.before = (call, path) => {
      if (call === 'write' && path === mbox) writes += 1;
      if (writes > 1) throw new Crash();
    };
    const first = fetchInto(dying, log, message(9, OTHERS.slice(OTHERS.indexOf('\n') + 1, -1)));
    const outcomes = Promise.allSettled(
      [MAIL, SECOND].map((data, n) => dying.deliver(message(n + 1, data), log)),
    );
    await first;
    await outcomes;
    await disk.die();
  }

  it.each([
    ['nothing was written', '', []],
    ['all of it was written', ENTRY, ['uid 1']],
    ['a part of it was written', ENTRY.slice(0, 50), []],
    ['nearly all of it was written', ENTRY.slice(0, -1), []],
    ['one octet was written', 'F', []],
    ['zeros stand in its place', '\0'.repeat(ENTRY.length), []],
    ['zeros stand in place of its end', ENTRY.slice(0, 20) + '\0'.repeat(20), []],
  ])('and %s: is whole or gone', async (_, written, expected) => {
    for (const before of ['', OTHERS, 'From a\nx']) {
      await rm(mbox, { force: true });
      log = new MemoryLog();
      await given(before);
      await interrupted([MAIL]);
      const pad = before.endsWith('x') && written !== '' ? '\n\n' : '';
      await appendFile(mbox, pad + written);
      expect(await recovered()).toEqual(expected);
      expect(await text()).toBe(before + (expected.length > 0 ? pad + written : ''));
    }
  });

  it('and half of what ends the message before was written: is gone', async () => {
    await given('From a\nx');
    await interrupted([MAIL]);
    await appendFile(mbox, '\n');
    expect(await recovered()).toEqual([]);
    expect(await text()).toBe('From a\nx');
  });

  it('and another program appended behind the whole message: is delivered', async () => {
    await interrupted([MAIL]);
    await appendFile(mbox, ENTRY + OTHERS);
    expect(await recovered()).toEqual(['uid 1']);
    expect(await text()).toBe(ENTRY + OTHERS);
  });

  it('and another program appended behind a part of it: the part stays, with a word about it, and the message is new', async () => {
    await interrupted([MAIL]);
    const part = ENTRY.slice(0, 70);
    await appendFile(mbox, `${part}\n\n${OTHERS}`);
    const notes: string[] = [];
    expect(await recovered(notes)).toEqual([]);
    expect(await text()).toBe(`${part}\n\n${OTHERS}`);
    expect(notes).toEqual([expect.stringContaining(`${mbox}: octet 0 begins a part of a message`)]);
  });

  it('and another program appended in its place: what it wrote stays, however much it looks like ours', async () => {
    await interrupted([MAIL]);
    const similar = ENTRY.replace('Subject: x', 'Subject: y');
    await appendFile(mbox, similar.slice(0, -3));
    const notes: string[] = [];
    expect(await recovered(notes)).toEqual([]);
    expect(await text()).toBe(similar.slice(0, -3));
    expect(notes).toEqual([]);
  });

  it.each([
    [
      'added its notes to every message',
      (mail: string) => mail.replaceAll(/^(Subject: .*)$/gm, `$1\n${NOTES.trimEnd()}`),
    ],
    ['removed the mail before', (mail: string) => mail.slice(OTHERS.length)],
    ['rewrote the From line', (mail: string) => mail.replaceAll(LINE, 'From x@y Wed Nov  4 00:00:00 2026\n')],
  ])('and a mail reader then %s: is found by its content', async (_, rewrite) => {
    await given(OTHERS);
    await interrupted([MAIL]);
    await writeFile(mbox, rewrite(OTHERS + ENTRY));
    expect(await recovered()).toEqual(['uid 1']);
    expect(await text()).toBe(rewrite(OTHERS + ENTRY));
  });

  it('and a mail reader then deleted it: is new', async () => {
    await given(OTHERS);
    await interrupted([MAIL]);
    await writeFile(mbox, OTHERS.replace('Subject', `${NOTES}Subject`));
    expect(await recovered()).toEqual([]);
  });

  it('and was replaced by a mail reader: a part of it is not cut off from another file', async () => {
    await given(OTHERS);
    await interrupted([MAIL]);
    await writeFile(place.path('mail', 'new'), OTHERS + ENTRY.slice(0, 60));
    await rename(place.path('mail', 'new'), mbox);
    expect(await recovered()).toEqual([]);
    expect(await text()).toBe(OTHERS + ENTRY.slice(0, 60));
  });

  it('and the mbox is gone: is new', async () => {
    await given(OTHERS);
    await interrupted([MAIL]);
    await unlink(mbox);
    expect(await recovered()).toEqual([]);
    expect(await text()).toBe('');
  });

  it.each([
    ['only the first is whole', 1, ENTRY + SECOND_ENTRY.slice(0, 60), ENTRY, ['uid 1']],
    ['the first is zeros, the second whole', 0, '\0'.repeat(ENTRY.length) + SECOND_ENTRY, '', []],
    ['both are whole', 2, ENTRY + SECOND_ENTRY, ENTRY + SECOND_ENTRY, ['uid 1', 'uid 2']],
    ['there is nothing', 0, '', '', []],
  ])('in a batch of which %s: each is whole or gone', async (_, _count, written, left, expected) => {
    await both();
    const before = await text();
    expect(log.unfinished()).toHaveLength(2);
    await appendFile(mbox, written);
    expect(await recovered()).toEqual(expected);
    expect(await text()).toBe(before + left);
  });

  it('counts one of two equal messages once when only one is in an mbox that was rewritten', async () => {
    await given(OTHERS);
    await interrupted([MAIL]);
    const [intent] = log.intents();
    await log.intend({ ...intent!, uid: 'uid 2', details: { ...intent!.details, offset: 10_000 } });
    await writeFile(mbox, ENTRY);
    expect(await recovered()).toEqual(['uid 1']);
  });

  it('without its spool: a whole message is found, zeros are cut off, anything else stays', async () => {
    for (const [written, expected, left] of [
      [ENTRY, ['uid 1'], ENTRY],
      ['\0\0\0', [], ''],
      [ENTRY.slice(0, 60), [], ENTRY.slice(0, 60)],
    ] as const) {
      log = new MemoryLog();
      await given('');
      await interrupted([MAIL]);
      for (const name of await place.spooled()) await unlink(place.path('spool', name));
      await appendFile(mbox, written);
      expect(await recovered()).toEqual(expected);
      expect(await text()).toBe(left);
    }
  });

  it('is left whole, spool and all, when close() comes before release()', async () => {
    const destination = impatient(1000);
    await destination.recover([], log);
    await destination.deliver(message(1, MAIL), log);
    await destination.close();
    expect(await readdir(place.path('mail'))).toEqual(['box']);
    expect(await place.spooled()).toHaveLength(1);
    expect(await recovered()).toEqual(['uid 1']);
    expect(await text()).toBe(ENTRY);
  });
});

const MESSAGES = [MAIL, Buffer.alloc(300_000, 'large\r\n'), Buffer.from(''), SECOND];

/** A sweep over an mbox that must end with each message once. */
function plan(changes: Partial<Sweep> = {}): Sweep {
  return {
    configs: (where) => [{ mbox: where.path('box') }],
    messages: MESSAGES,
    check: async (where, step) => {
      const stored = (await mboxMessages(where.path('box'))).filter(({ envelope }) =>
        envelope.startsWith(LINE.trimEnd()),
      );
      const size = ({ length }: Buffer): number => length;
      const byNumber = (a: number, b: number): number => a - b;
      expect(stored.map(({ data }) => size(data)).sort(byNumber), `killed at step ${step}`).toEqual(
        MESSAGES.map((data) => size(ended(toLf(data)))).sort(byNumber),
      );
      expect((await readdir(where.directory)).sort()).toEqual(['box', 'spool']);
      expect(await where.spooled(), `killed at step ${step}`).toEqual([]);
    },
    ...changes,
  };
}

function ended(data: Buffer): Buffer {
  return data.length === 0 || data.at(-1) === 0x0a ? data : Buffer.concat([data, Buffer.from('\n')]);
}

async function readerAddsNotes(where: Place): Promise<void> {
  const box = where.path('box');
  const before = await readFile(box, 'latin1').catch(() => '');
  // A fragment is no message for anybody to rewrite.
  if (before.endsWith('\n\n')) await writeFile(box, before.replaceAll(LINE, `${LINE}${NOTES}`), 'latin1');
}

describe('an mbox, killed at every step', () => {
  it.each([[false], [true]])('ends with every message once (torn writes: %s)', async (tearing) => {
    expect(await sweep(plan({ tearing }))).toBeGreaterThan(60);
  });

  it('ends with every message once when other mail comes in between', async () => {
    const meanwhile = async (where: Place): Promise<void> => {
      await appendFile(where.path('box'), OTHERS);
    };
    expect(await sweep(plan({ meanwhile }))).toBeGreaterThan(60);
  });

  it('ends with every message once when a mail reader rewrites it before the next run', async () => {
    const check: Sweep['check'] = async (where) => {
      const stored = await mboxMessages(where.path('box'));
      const plain = stored.map(({ data }) => data.toString('latin1').replace(NOTES, '').length);
      expect(plain.sort((a, b) => a - b)).toEqual(
        MESSAGES.map((data) => ended(toLf(data)).length).sort((a, b) => a - b),
      );
      expect((await readdir(where.directory)).sort()).toEqual(['box', 'spool']);
    };
    expect(await sweep(plan({ meanwhile: readerAddsNotes, check }))).toBeGreaterThan(60);
  });

  it('ends with every message once when the next run is killed at every step, too', async () => {
    for (const first of [50, 60, 70, 80]) {
      expect(await sweepTwice(plan({ tearing: true }), first, 4)).toBeGreaterThan(10);
    }
  });
});
