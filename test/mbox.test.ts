import { execFileSync } from 'node:child_process';
import { appendFile, link, mkdir, readdir, readFile, rename, stat, symlink } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeDisk } from '../src/disk.js';
import { PopfetchError } from '../src/errors.js';
import { tryLock, unlock } from '../src/lock.js';
import {
  broken,
  failingDisk,
  fetchInto,
  keyOf,
  message,
  type Place,
  recover,
  TAG,
} from './support/delivery.js';
import { MemoryLog } from './support/log.js';
import { ENTRY, MAIL, MboxPlace, OTHERS } from './support/mbox.js';
import { awkward, toLf } from './support/messages.js';
import { mboxMessages } from './support/stored.js';
import { methodsOf, systemError } from './support/watched-disk.js';

let place: Place;
let log: MemoryLog;
let mbox: string;
let box: MboxPlace;

beforeEach(async () => {
  box = await MboxPlace.create();
  ({ place, log, mbox } = box);
});

afterEach(() => box.remove());

describe('delivery to an mbox', () => {
  it('makes a private file in a private directory, and puts the message in it in mboxrd form', async () => {
    const destination = await box.open();
    await recover(destination, log);
    await fetchInto(destination, log, message(1, MAIL));
    await fetchInto(destination, log, message(2, 'Return-Path: <taro@example.com>\r\n\r\nno newline'));
    expect(await box.text()).toBe(
      `${ENTRY}From taro@example.com Tue Nov  3 08:02:09 2026\nReturn-Path: <taro@example.com>\n\nno newline\n\n`,
    );
    expect((await stat(mbox)).mode & 0o777).toBe(0o600);
    expect((await stat(box.directory)).mode & 0o777).toBe(0o700);
    expect(await readdir(box.directory)).toEqual(['box']);
    expect(await place.spooled()).toEqual([]);
    expect(destination.name).toBe(`mbox:${mbox}`);
  });

  it.each(['lf', 'crlf'] as const)(
    'keeps every awkward message as it is, but for its last line end (eol %s) [90]',
    async (eol) => {
      const destination = await box.open({ eol });
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
  ])('goes on after %s without touching what is there [91]', async (_, before, pad) => {
    await box.given(before);
    const destination = await box.open();
    await recover(destination, log);
    await Promise.all([1, 2].map((n) => fetchInto(destination, log, message(n, MAIL))));
    expect(await box.text()).toBe(`${before}${pad}${ENTRY}${ENTRY}`);
  });

  it('appends what waits together under one lock, in order, with one sync', async () => {
    const disk = failingDisk(() => undefined);
    const destination = await box.open({ disk });
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
    const destination = await box.open({ disk });
    await box.given('From a\nx\n');
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
    const destination = await box.open({ disk });
    await recover(destination, log);
    const large = Buffer.alloc(5_000_000, 'a line of mail\r\n');
    await Promise.all([large, MAIL].map((data, n) => fetchInto(destination, log, message(n, data))));
    const stored = (await mboxMessages(mbox)).sort((a, b) => b.data.length - a.data.length);
    expect(stored.map(({ data }) => data.length)).toEqual([toLf(large).length, toLf(MAIL).length]);
    expect(stored[0]!.data.equals(toLf(large))).toBe(true);
    expect(disk.calls.filter((call) => call === `write ${mbox}`).length).toBeGreaterThan(4);
    expect(await place.spooled()).toEqual([]);
  });

  it('keeps the spool, and no lock, where the memory could not be told of one of a batch', async () => {
    const destination = await box.open();
    await recover(destination, log);
    const first = await destination.deliver(message(1, MAIL), log);
    const others = [2, 3].map((n) => destination.deliver(message(n, MAIL), log));
    await first.release();
    const [second, third] = await Promise.all(others);
    await Promise.all([second!.release(), third!.release(false)]);
    expect(await readdir(box.directory)).toEqual(['box']);
    expect(await place.spooled()).toHaveLength(1);
    log.done('uid 1');
    log.done('uid 2');
    expect(await recover(await box.open(), log)).toEqual(['uid 3']);
    expect(await mboxMessages(mbox)).toHaveLength(3);
    expect(await place.spooled()).toEqual([]);
  });

  it('holds both locks until all of a batch are released', async () => {
    const destination = await box.open();
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
    expect(await readdir(box.directory)).toEqual(['box']);
  });

  it('lets two accounts of one process take turns', async () => {
    const accounts = ['aaaaaaaa', 'bbbbbbbb'].map((tag) => box.impatient(10_000, { tag }));
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

describe('opening an mbox [85]', () => {
  it.each([
    ['a symbolic link', () => symlink(place.path('elsewhere'), mbox)],
    ['a directory', () => mkdir(mbox)],
    ['a pipe', () => Promise.resolve(execFileSync('mkfifo', [mbox]))],
    [
      'a file with a second name',
      async () => {
        await box.given(OTHERS);
        await link(mbox, place.path('second'));
      },
    ],
    ['a file that is not an mbox', () => box.given('Dear diary,\n')],
  ])('refuses %s, and leaves it as it is [91]', async (_, make) => {
    await mkdir(box.directory);
    await make();
    await expect(recover(await box.open(), log)).rejects.toMatchObject({
      code: 'CREATE',
      phase: 'destination',
    });
    const destination = await box.open();
    await expect(destination.deliver(message(1, MAIL), log)).rejects.toMatchObject({ code: 'CREATE' });
    expect(await readdir(box.directory)).toEqual(['box']);
    expect(await readdir(place.directory)).not.toContain('elsewhere');
    expect(await place.spooled()).toEqual([]);
  });

  it('refuses a symbolic link that is put there between the look and the opening [84]', async () => {
    await box.given(OTHERS);
    const disk = failingDisk(() => undefined);
    let armed = true;
    const sly = {
      ...methodsOf(disk),
      open: async (path: string, how: Parameters<typeof disk.open>[1], mode?: number) => {
        if (path === mbox && armed) {
          armed = false;
          await rename(mbox, place.path('real'));
          await symlink(place.path('real'), mbox);
        }
        return disk.open(path, how, mode);
      },
    };
    await expect(recover(await box.open({ disk: sly }), log)).rejects.toMatchObject({
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
    await expect(recover(await box.open({ disk }), log)).rejects.toMatchObject({ code });
  });
});

describe('a delivery to an mbox that fails', () => {
  it('leaves nothing when the body breaks off, and passes its error on as it is', async () => {
    await box.given(OTHERS);
    const destination = await box.open();
    await recover(destination, log);
    for (const size of [10, 300_000]) {
      const error = systemError('ECONNRESET');
      await expect(destination.deliver(broken(1, Buffer.alloc(size, 'x'), error), log)).rejects.toBe(error);
    }
    expect(await box.text()).toBe(OTHERS);
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
  ])('because %s says so, and nothing of it can be seen', async (_, failing, where, code, words) => {
    await recover(await box.open(), log);
    let armed = true;
    const disk = failingDisk((call, path) =>
      armed && call === failing && path.split('/').includes(where) ? systemError(code) : undefined,
    );
    disk.tearing = true;
    const destination = await box.open({ disk });
    const outcomes = await Promise.allSettled(
      [1, 2, 3].map((n) => fetchInto(destination, log, message(n, MAIL))),
    );
    for (const outcome of outcomes) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'DELIVERY', cause: { code } } });
      expect((outcome as { reason: PopfetchError }).reason.message).toContain(words);
    }
    expect(await box.text()).toBe('');
    expect(await readdir(box.directory)).toEqual(['box']);
    // Whether what was cut off is gone for good is not known after a failed sync: the next run looks, with the spool.
    const doubtful = failing.startsWith('sync') && where !== 'spool';
    expect(await place.spooled()).toHaveLength(doubtful ? 1 : 0);
    expect(disk.openFiles).toBe(0);
    armed = false;
    const next = await box.open({ disk });
    expect(await recover(next, log)).toEqual([]);
    expect(await place.spooled()).toEqual([]);
    await fetchInto(next, log, message(1, MAIL));
    expect(await box.text()).toBe(ENTRY);
  });

  it('passes on an error of the memory as it is, and appends nothing', async () => {
    const destination = await box.open();
    await recover(destination, log);
    const error = new PopfetchError('STATE', 'the memory cannot be written');
    log.before = () => Promise.reject(error);
    await expect(destination.deliver(message(1, MAIL), log)).rejects.toBe(error);
    expect(await box.text()).toBe('');
    expect(await readdir(box.directory)).toEqual(['box']);
  });

  it.each([
    ['before', 'write', 0, `${OTHERS}${ENTRY}`],
    ['behind', 'stat', 2, `${ENTRY}${OTHERS}`],
  ])('does not fail because somebody without a lock wrote %s it', async (_, call, skip, expected) => {
    let left = skip;
    const destination = await box.open({ disk: intruded(call, () => (left -= 1) < 0) });
    await recover(await box.open(), log);
    await fetchInto(destination, log, message(1, MAIL));
    expect(await box.text()).toBe(expected);
  });

  it('says that somebody without a lock wrote into the middle of it', async () => {
    let left = 1;
    const destination = await box.open({ disk: intruded('write', () => (left -= 1) < 0) });
    await recover(await box.open(), log);
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
