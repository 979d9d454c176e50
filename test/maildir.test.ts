import { createHash } from 'node:crypto';
import {
  chmod,
  mkdir,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDestination } from '../src/deliver/index.js';
import { nodeDisk } from '../src/disk.js';
import { PopfetchError } from '../src/errors.js';
import { broken, failingDisk, fetchInto, keyOf, message, Place, recover, TAG } from './support/delivery.js';
import { MemoryLog } from './support/log.js';
import { MAIL, MaildirPlace } from './support/maildir.js';
import { awkward, toLf } from './support/messages.js';
import { maildirLeftovers, maildirMessages } from './support/stored.js';
import { methodsOf, systemError } from './support/watched-disk.js';

let place: Place;
let log: MemoryLog;
let maildir: string;
let open: MaildirPlace['open'];

beforeEach(async () => {
  const box = await MaildirPlace.create();
  ({ place, log, maildir } = box);
  open = (changes) => box.open(changes);
});

afterEach(() => place.remove());

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

describe('delivery to a Maildir', () => {
  it('makes the Maildir with private folders and a private file, under a name that says which message it is', async () => {
    const destination = await open({ host: 'ho/st:1' });
    await recover(destination, log);
    await fetchInto(destination, log, message(7, MAIL));
    const [stored] = await maildirMessages(maildir);
    expect(stored).toMatchObject({ folder: 'new', data: toLf(MAIL) });
    expect(stored?.name).toBe(`1793692929.A${TAG}K${keyOf(7)}.ho\\057st\\0721`);
    expect((await stat(stored!.path)).mode & 0o777).toBe(0o600);
    expect((await stat(stored!.path)).nlink).toBe(1);
    for (const folder of ['', 'new', 'cur', 'tmp']) {
      expect((await stat(join(maildir, folder))).mode & 0o777).toBe(0o700);
    }
    expect(await maildirLeftovers(maildir)).toEqual([]);
    expect(destination.name).toBe(`maildir:${maildir}`);
  });

  it.each(Object.entries(awkward))(
    'keeps %s as it is, in pieces of any size, with LF or with CRLF',
    async (_, data) => {
      for (const eol of ['lf', 'crlf'] as const) {
        const destination = await open({ eol });
        await recover(destination, log);
        const sizes = data.length > 100_000 ? [3001, 65_536] : [1, 1000, 65_536];
        for (const [n, size] of sizes.entries()) {
          const octets = await fetchInto(destination, log, message(n, data, size));
          expect(octets).toBe(data.length);
          const [stored] = await maildirMessages(maildir);
          expect(stored!.data.equals(eol === 'lf' ? toLf(data) : data)).toBe(true);
          await unlink(stored!.path);
        }
      }
    },
  );

  it('records, before the message is visible, what finds it again', async () => {
    const destination = await open();
    await recover(destination, log);
    const seen: string[][] = [];
    log.before = async () => {
      seen.push(await readdir(join(maildir, 'new')), await readdir(join(maildir, 'tmp')));
    };
    await destination.deliver(message(1, MAIL), log);
    const [intent] = log.intents();
    const name = `1793692929.A${TAG}K${keyOf(1)}.host.example`;
    expect(seen).toEqual([[], [name]]);
    expect(intent).toEqual({
      uid: 'uid 1',
      key: keyOf(1),
      destination: `maildir:${maildir}`,
      size: MAIL.length,
      octets: MAIL.length,
      sha256: sha256('Subject: x\n\nbody\n'),
      headerSha256: sha256('Subject: x\n\n'),
      details: { name, size: MAIL.length - 3, eol: 'lf' },
    });
  });

  it('syncs the file and its name before the intent, and the link before it says yes', async () => {
    const disk = failingDisk(() => undefined);
    const destination = await open({ disk });
    await recover(destination, log);
    disk.calls.length = 0;
    log.before = (verb) => {
      disk.calls.push(verb);
      return Promise.resolve();
    };
    const delivery = await destination.deliver(message(1, MAIL), log);
    const tmp = join(maildir, 'tmp', `1793692929.A${TAG}K${keyOf(1)}.host.example`);
    const ordered = [`open create ${tmp}`, `write ${tmp}`, `sync ${tmp}`, `close ${tmp}`];
    expect(disk.calls.filter((call) => !call.startsWith('syncDirectory'))).toEqual([
      ...ordered,
      'intend',
      `link ${tmp.replace('/tmp/1', '/new/1')}`,
    ]);
    expect(disk.calls.indexOf(`syncDirectory ${maildir}/tmp`)).toBeLessThan(disk.calls.indexOf('intend'));
    expect(disk.calls.at(-1)).toBe(`syncDirectory ${maildir}/new`);
    await delivery.release();
    expect(disk.calls.at(-1)).toBe(`unlink ${tmp}`);
    expect(disk.openFiles).toBe(0);
  });

  it('keeps its name in tmp/ where the memory could not be told, so that the next run finds it whatever it is called then', async () => {
    const destination = await open();
    await recover(destination, log);
    const delivery = await destination.deliver(message(1, MAIL), log);
    await delivery.release(false);
    const [stored] = await maildirMessages(maildir);
    await rename(stored!.path, join(maildir, 'cur', 'renamed:2,S'));
    expect(await recover(await open(), log)).toEqual(['uid 1']);
    expect(await maildirMessages(maildir)).toHaveLength(1);
    expect(await maildirLeftovers(maildir)).toEqual([]);
  });

  it('shares directory syncs among deliveries that are under way together', async () => {
    const disk = failingDisk(() => undefined);
    const destination = await open({ disk });
    await recover(destination, log);
    disk.calls.length = 0;
    await Promise.all(Array.from({ length: 40 }, (_, n) => fetchInto(destination, log, message(n, MAIL))));
    expect(disk.calls.filter((call) => call.startsWith('syncDirectory')).length).toBeLessThan(40);
    expect(await maildirMessages(maildir)).toHaveLength(40);
  });

  it('streams a large message without holding it in memory', async () => {
    const destination = await open();
    await recover(destination, log);
    const size = 96 * 1024 * 1024;
    const before = process.memoryUsage().rss;
    let most = 0;
    const body = async function* (): AsyncGenerator<Buffer> {
      const piece = Buffer.alloc(65_536, 'x'.repeat(62) + '\r\n');
      for (let at = 0; at < size; at += piece.length) {
        if (at % (8 * 1024 * 1024) === 0) most = Math.max(most, process.memoryUsage().rss);
        yield Buffer.from(piece);
        await Promise.resolve();
      }
    };
    expect(await fetchInto(destination, log, { ...message(1, ''), body: body() })).toBe(size);
    const [name] = await readdir(join(maildir, 'new'));
    expect((await stat(join(maildir, 'new', name!))).size).toBe((size / 64) * 63);
    expect(most - before).toBeLessThan(64 * 1024 * 1024);
  });
});

describe('a delivery to a Maildir that fails', () => {
  it('leaves nothing when the body breaks off, and passes its error on as it is', async () => {
    const destination = await open();
    await recover(destination, log);
    for (const size of [10, 100_000]) {
      const error = systemError('ECONNRESET');
      await expect(destination.deliver(broken(1, Buffer.alloc(size, 'x'), error), log)).rejects.toBe(error);
    }
    expect(await maildirMessages(maildir)).toEqual([]);
    expect(await maildirLeftovers(maildir)).toEqual([]);
    expect(log.intents()).toEqual([]);
  });

  it.each([
    ['open create', 'EMFILE', 'too many files are open'],
    ['write', 'ENOSPC', 'the disk is full'],
    ['write', 'EDQUOT', 'your disk quota is used up'],
    ['sync', 'EIO', 'the disk reports an input/output error'],
    ['close', 'EDQUOT', 'your disk quota is used up'],
    ['syncDirectory', 'EIO', 'the disk reports an input/output error'],
    ['link', 'ENOSPC', 'the disk is full'],
    ['link', 'EROFS', 'the file system is read-only'],
    ['link', 'EBADMSG', 'the system reports EBADMSG'],
  ])('at %s with %s says so, and leaves no trace', async (failing, code, words) => {
    const destination = await open();
    await recover(destination, log);
    let armed = true;
    const disk = failingDisk((call) => (armed && call === failing ? systemError(code) : undefined));
    const failed = await openDestination([{ maildir }], place.context({ disk }));
    const error: unknown = await failed.deliver(message(1, MAIL), log).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(PopfetchError);
    expect(error).toMatchObject({ code: 'DELIVERY', phase: 'deliver', cause: { code } });
    expect((error as PopfetchError).message).toContain(words);
    expect((error as PopfetchError).message).toContain(maildir);
    expect((error as PopfetchError).remedy).toBeTruthy();
    expect(await maildirMessages(maildir)).toEqual([]);
    expect(await maildirLeftovers(maildir)).toEqual([]);
    armed = false;
    expect(await recover(failed, log)).toEqual([]);
    await fetchInto(failed, log, message(1, MAIL));
    expect(await maildirMessages(maildir)).toHaveLength(1);
  });

  it('takes the message out of new/ again when the directory cannot be synced', async () => {
    const disk = failingDisk((call, path) =>
      call === 'syncDirectory' && path.endsWith('/new') ? systemError('EIO') : undefined,
    );
    await recover(await open(), log);
    const destination = await open({ disk });
    await expect(destination.deliver(message(1, MAIL), log)).rejects.toMatchObject({ code: 'DELIVERY' });
    expect(await maildirMessages(maildir)).toEqual([]);
    expect(await maildirLeftovers(maildir)).toEqual([]);
  });

  it('leaves it to the next run when a reader has moved the message meanwhile [96]', async () => {
    const moving = failingDisk(() => undefined);
    moving.before = (call, path) => {
      if (call === 'syncDirectory' && path.endsWith('/new')) throw systemError('EIO');
      if (call === 'unlink' && path.includes('/new/')) throw systemError('ENOENT');
    };
    await recover(await open(), log);
    await expect((await open({ disk: moving })).deliver(message(1, MAIL), log)).rejects.toBeDefined();
    const [shown] = await maildirMessages(maildir);
    await rename(shown!.path, join(maildir, 'cur', `${shown!.name}:2,S`));
    expect(await recover(await open(), log)).toEqual(['uid 1']);
    expect(await maildirMessages(maildir)).toHaveLength(1);
    expect(await maildirLeftovers(maildir)).toEqual([]);
  });

  it('passes on an error of the memory as it is, and leaves no trace', async () => {
    const destination = await open();
    await recover(destination, log);
    const error = new PopfetchError('STATE', 'the memory cannot be written');
    log.before = () => Promise.reject(error);
    await expect(destination.deliver(message(1, MAIL), log)).rejects.toBe(error);
    expect(await maildirLeftovers(maildir)).toEqual([]);
  });
});

describe('odd file systems [94]', () => {
  it.each(['EPERM', 'EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'EXDEV', 'EMLINK'])(
    'without hard links (%s) have the message moved, and both folders synced',
    async (code) => {
      const disk = failingDisk((call) => (call === 'link' ? systemError(code) : undefined));
      const destination = await open({ disk });
      await recover(destination, log);
      disk.calls.length = 0;
      await fetchInto(destination, log, message(1, MAIL));
      await fetchInto(destination, log, message(2, MAIL));
      expect(await maildirMessages(maildir)).toHaveLength(2);
      expect(await maildirLeftovers(maildir)).toEqual([]);
      // It is asked for a hard link once.
      expect(disk.calls.filter((call) => call.startsWith('link'))).toHaveLength(1);
      const renamed = disk.calls.findIndex((call) => call.startsWith('rename'));
      const after = disk.calls.slice(renamed);
      expect(after).toContain(`syncDirectory ${maildir}/new`);
      expect(after).toContain(`syncDirectory ${maildir}/tmp`);
    },
  );

  it('say so when tmp and new are on two of them', async () => {
    const disk = failingDisk((call) =>
      call === 'link' || call === 'rename' ? systemError('EXDEV') : undefined,
    );
    const destination = await open({ disk });
    await recover(destination, log);
    await expect(destination.deliver(message(1, MAIL), log)).rejects.toMatchObject({
      code: 'DELIVERY',
      message: `${maildir}: its tmp and new are on two file systems`,
    });
    expect(await maildirLeftovers(maildir)).toEqual([]);
  });

  it('that report an error for a link they have made are not believed [93]', async () => {
    const disk = failingDisk(() => undefined);
    const made = new Set<string>();
    const nfs = {
      ...methodsOf(disk),
      link: async (from: string, to: string) => {
        await nodeDisk.link(from, to);
        made.add(to);
        throw systemError('EIO');
      },
    };
    const destination = await open({ disk: nfs });
    await recover(destination, log);
    await fetchInto(destination, log, message(1, MAIL));
    expect(made.size).toBe(1);
    expect(await maildirMessages(maildir)).toHaveLength(1);
    expect(await maildirLeftovers(maildir)).toEqual([]);
  });
});

describe('names that are taken [89]', () => {
  const name = `1793692929.A${TAG}K${keyOf(1)}.host.example`;

  it('in tmp/ are left alone: the message gets another one, with the same key in it', async () => {
    const destination = await open();
    await recover(destination, log);
    await writeFile(join(maildir, 'tmp', name), 'somebody else');
    await fetchInto(destination, log, message(1, MAIL));
    expect((await maildirMessages(maildir)).map((each) => each.name)).toEqual([
      name.replace('.host', 'Q1.host'),
    ]);
    expect(await maildirLeftovers(maildir)).toEqual([name]);
  });

  it('in new/ by the same message count as delivered', async () => {
    const destination = await open();
    await recover(destination, log);
    await writeFile(join(maildir, 'new', name), toLf(MAIL));
    await fetchInto(destination, log, message(1, MAIL));
    expect(await maildirMessages(maildir)).toHaveLength(1);
    expect(await maildirLeftovers(maildir)).toEqual([]);
  });

  it.each([[true], [false]])(
    'in new/ by another message are not overwritten (hard links: %s)',
    async (links) => {
      const disk = failingDisk((call) => (call === 'link' && !links ? systemError('EPERM') : undefined));
      const destination = await open({ disk });
      await recover(destination, log);
      await writeFile(join(maildir, 'new', name), 'another');
      await fetchInto(destination, log, message(1, MAIL));
      const stored = await maildirMessages(maildir);
      expect(stored.map(({ data }) => data.toString()).sort()).toEqual(
        [toLf(MAIL).toString(), 'another'].sort(),
      );
      expect(stored.every((each) => each.name.includes(`A${TAG}K${keyOf(1)}`))).toBe(true);
    },
  );
});

describe('opening a Maildir', () => {
  it.each(['tmp', 'new', 'cur'])('refuses a symbolic link in the place of %s', async (folder) => {
    await mkdir(maildir, { recursive: true });
    await symlink(place.directory, join(maildir, folder));
    await expect(recover(await open(), log)).rejects.toMatchObject({
      code: 'CREATE',
      message: `${maildir}/${folder} is a symbolic link, so ${maildir} is no Maildir`,
    });
  });

  it('refuses a file in the place of a folder, or of itself [85]', async () => {
    await mkdir(maildir, { recursive: true });
    await writeFile(join(maildir, 'cur'), '');
    await expect(recover(await open(), log)).rejects.toMatchObject({ code: 'CREATE' });
    await rm(maildir, { recursive: true });
    await writeFile(maildir, '');
    await expect(recover(await open(), log)).rejects.toMatchObject({ code: 'CREATE' });
  });

  it.each([
    ['EACCES', 'CREATE', 73],
    ['EROFS', 'CREATE', 73],
    ['ENOSPC', 'DELIVERY', 74],
  ])('reports %s as %s', async (errno, code, exit) => {
    const disk = failingDisk((call) => (call === 'mkdir' ? systemError(errno) : undefined));
    await expect(recover(await open({ disk }), log)).rejects.toMatchObject({ code, exit });
  });

  it('leaves the modes of an existing one alone', async () => {
    await mkdir(join(maildir, 'cur'), { recursive: true });
    await chmod(join(maildir, 'cur'), 0o750);
    await recover(await open(), log);
    expect((await stat(join(maildir, 'cur'))).mode & 0o777).toBe(0o750);
  });

  it('removes what dead runs for this mailbox left in tmp/, and nothing else', async () => {
    await recover(await open(), log);
    const tmp = join(maildir, 'tmp');
    const ours = `1.A${TAG}K${keyOf(1)}.host.example`;
    const keep = [
      '1.Aotherrrrr.host.example',
      `1.A${TAG}K${keyOf(2)}.elsewhere`,
      '1793692929.M1P2.host.example',
    ];
    const dead = [ours, `1.A${TAG}K${keyOf(3)}.elsewhere`];
    for (const name of [...keep, ...dead]) await writeFile(join(tmp, name), 'x');
    await utimes(join(tmp, dead[1]!), 0, 0);
    await utimes(join(tmp, keep[1]!), 1_793_692_000, 1_793_692_000);
    await recover(await open(), log);
    expect(await maildirLeftovers(maildir)).toEqual([...keep].sort());
  });
});
