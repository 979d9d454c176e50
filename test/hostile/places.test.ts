/** Places that somebody else could have a hand in: links, pipes, devices, other people's directories, root in a user's home. */
import { execFileSync } from 'node:child_process';
import { chmod, chown, link, mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DestinationConfig } from '../../src/config/account.js';
import { openDestination } from '../../src/deliver/index.js';
import { nodeDisk } from '../../src/disk.js';
import { placeFault, thisUser } from '../../src/owner.js';
import { openSeen } from '../../src/seen/seen.js';
import { mailboxTag } from '../../src/identity.js';
import { fetchInto, message, Place, recover, TAG } from '../support/delivery.js';
import { MemoryLog } from '../support/log.js';

const MAIL = Buffer.from('Subject: x\r\n\r\nbody\r\n');
const OTHER = 12_345;
const { uid: ME, gid: GROUP } = thisUser();
const root = ME === 0;

let place: Place;
let log: MemoryLog;
beforeEach(async () => {
  place = await Place.create();
  log = new MemoryLog();
});
afterEach(() => place.remove());

/** What a run comes to that delivers one message to this place. */
async function deliverTo(config: DestinationConfig): Promise<void> {
  const destination = await openDestination([config], place.context());
  await recover(destination, log);
  await fetchInto(destination, log, message(1, MAIL));
  await destination.close();
}

/** The two kinds of place in a directory, and where their mail is then. */
const KINDS: readonly (readonly [string, (directory: string) => DestinationConfig])[] = [
  ['a Maildir', (directory) => ({ maildir: join(directory, 'box') })],
  ['an mbox', (directory) => ({ mbox: join(directory, 'box') })],
];

/** A directory of this mode, whatever the umask. */
async function directory(mode: number, ...parts: readonly string[]): Promise<string> {
  const path = place.path(...parts);
  await mkdir(path, { recursive: true });
  await chmod(path, mode);
  return path;
}

describe.each(KINDS)('%s [84]', (kind, configIn) => {
  it.each([0o777, 0o757, 0o737])(
    'is not made in a directory that everybody can change (mode %o)',
    async (mode) => {
      const open = await directory(mode, 'open');
      await expect(deliverTo(configIn(open))).rejects.toMatchObject({
        code: 'CREATE',
        exit: 73,
        message: `${open} can be changed by everybody (mode 0${mode.toString(8)}), so no mail is written there`,
        remedy: `run chmod o-w ${open}`,
      });
      expect(await readdir(open)).toEqual([]);
    },
  );

  it('is not made below such a directory either, where it would make what is missing', async () => {
    const open = await directory(0o777, 'open');
    const config = configIn(join(open, 'one', 'two'));
    await expect(deliverTo(config)).rejects.toMatchObject({ code: 'CREATE' });
    expect(await readdir(open)).toEqual([]);
  });

  it.each([0o1777, 0o2775, 0o775, 0o755, 0o700])(
    'is made in a directory of mode %o where nobody else could do harm',
    async (mode) => {
      const common = await directory(mode, 'common');
      await deliverTo(configIn(common));
      expect(await readdir(common)).toEqual(['box']);
    },
  );

  it('is reached through a symbolic link of this user to a directory of this user', async () => {
    const real = await directory(0o700, 'disk', 'mail');
    await symlink(real, place.path('Mail'));
    await deliverTo(configIn(place.path('Mail')));
    expect(await readdir(real)).toEqual(['box']);
  });

  it('is looked at where a symbolic link leads, not where it stands', async () => {
    const open = await directory(0o777, 'open');
    await mkdir(join(open, 'mail'), { mode: 0o700 });
    await symlink(join(open, 'mail'), place.path('Mail'));
    await expect(deliverTo({ maildir: place.path('Mail') })).rejects.toMatchObject({
      code: 'CREATE',
      remedy: `run chmod o-w ${place.path('Mail')}/..`,
    });
    expect(await readdir(join(open, 'mail'))).toEqual([]);
  });

  it.runIf(root)('of root is not made in a directory of a user [87]', async () => {
    const home = await directory(0o755, 'home');
    await chown(home, OTHER, OTHER);
    await expect(deliverTo(configIn(home))).rejects.toMatchObject({
      code: 'CREATE',
      message: `${home} belongs to another user (user id ${OTHER}), and popfetch runs as root, so no mail is written there`,
      remedy: `run it as that user: sudo -u '#${OTHER}' popfetch`,
    });
    expect(await readdir(home)).toEqual([]);
  });

  it.runIf(root)(
    "of root is not written though it is root's, where it is in a directory of a user [87]",
    async () => {
      const home = await directory(0o755, 'home');
      await deliverTo(configIn(home));
      await chown(home, OTHER, OTHER);
      log = new MemoryLog();
      const before = await readdir(join(home), { recursive: true });
      await expect(deliverTo(configIn(home))).rejects.toMatchObject({ code: 'CREATE' });
      expect(await readdir(home, { recursive: true })).toEqual(before);
    },
  );

  it.runIf(root)('behind a symbolic link of another user is not used', async () => {
    const real = await directory(0o700, 'real');
    const common = await directory(0o1777, 'common');
    await symlink(real, join(common, 'Mail'));
    execFileSync('chown', ['-h', String(OTHER), join(common, 'Mail')]);
    await expect(placeFault(nodeDisk, join(common, 'Mail'))).resolves.toMatchObject({
      what: expect.stringContaining(`belongs to another user (user id ${OTHER})`) as unknown,
    });
    if (kind !== 'an mbox')
      await expect(deliverTo({ maildir: join(common, 'Mail') })).rejects.toMatchObject({ code: 'CREATE' });
    expect(await readdir(real)).toEqual([]);
  });
});

describe('a folder of a Maildir [84]', () => {
  it.each(['tmp', 'new', 'cur'])('that everybody can change is refused: %s', async (folder) => {
    const maildir = place.path('box');
    await directory(0o777, 'box', folder);
    await expect(deliverTo({ maildir })).rejects.toMatchObject({
      code: 'CREATE',
      remedy: `run chmod o-w ${join(maildir, folder)}`,
    });
  });

  it.runIf(root)('of another user is refused', async () => {
    await chown(await directory(0o700, 'box', 'new'), OTHER, OTHER);
    await expect(deliverTo({ maildir: place.path('box') })).rejects.toMatchObject({ code: 'CREATE' });
  });

  it.each([
    ['a pipe', (path: string) => Promise.resolve(execFileSync('mkfifo', [path]))],
    ['a file', (path: string) => writeFile(path, '')],
    ['a symbolic link to a directory', (path: string) => symlink(place.directory, path)],
    ['a symbolic link to nowhere', (path: string) => symlink(place.path('nowhere'), path)],
  ])('that is %s is refused [85]', async (_, make) => {
    for (const folder of ['tmp', 'new', 'cur']) {
      const maildir = place.path(`box-${folder}`);
      await mkdir(maildir, { mode: 0o700 });
      await make(join(maildir, folder));
      await expect(deliverTo({ maildir })).rejects.toMatchObject({ code: 'CREATE', exit: 73 });
    }
  });
});

describe('a name that somebody has put there before [84]', () => {
  /** What is at a path that popfetch is about to create. */
  const TRAPS: readonly (readonly [string, (path: string) => Promise<unknown>])[] = [
    ['a symbolic link to a file', (path) => symlink(place.path('victim'), path)],
    ['a symbolic link to nowhere', (path) => symlink(place.path('nowhere'), path)],
    ['a hard link', (path) => link(place.path('victim'), path)],
    ['a pipe', (path) => Promise.resolve(execFileSync('mkfifo', [path]))],
  ];

  beforeEach(() => writeFile(place.path('victim'), 'precious\n', { mode: 0o600 }));

  it.each(TRAPS)('in tmp/ is never written through: %s', async (_, make) => {
    const maildir = place.path('box');
    await recover(await openDestination([{ maildir }], place.context()), log);
    const destination = await openDestination([{ maildir }], place.context());
    const first = await destination.deliver(message(1, MAIL), log);
    await first.release();
    const [name = ''] = await readdir(join(maildir, 'new'));
    await rename(join(maildir, 'new', name), place.path('taken'));
    await make(join(maildir, 'tmp', name));
    await fetchInto(destination, log, message(1, MAIL));
    expect(await readdir(join(maildir, 'new'))).toHaveLength(1);
    expect(await readFile(place.path('victim'), 'utf8')).toBe('precious\n');
    expect(await readdir(place.directory)).not.toContain('nowhere');
  });

  it.each(TRAPS)('in the spool is never written through: %s', async (_, make) => {
    await make(join(place.spool, `A${TAG}Kkkkkkkkkkkkkkkkkkkkkkkkkkb.1`));
    const destination = await openDestination(
      [{ command: ['sh', '-c', 'cat >"$1"', 'sh', place.path('out')] }],
      place.context({ env: process.env }),
    );
    await fetchInto(destination, log, message(1, MAIL));
    expect(await readFile(place.path('out'), 'utf8')).toBe('Subject: x\n\nbody\n');
    expect(await readFile(place.path('victim'), 'utf8')).toBe('precious\n');
    expect(await readdir(place.directory)).not.toContain('nowhere');
  });

  it.each(TRAPS)(
    'beside an mbox, as its lock or the draft of it, is never written through: %s',
    async (_, make) => {
      const mbox = place.path('mail', 'box');
      await directory(0o700, 'mail');
      await make(`${mbox}.lock.${TAG}`);
      await deliverTo({ mbox });
      expect(await readdir(place.path('mail'))).toEqual(['box']);
      expect(await readFile(place.path('victim'), 'utf8')).toBe('precious\n');
      expect(await readdir(place.directory)).not.toContain('nowhere');
    },
  );

  it.runIf(root)('as an mbox of another user is refused, in a directory for all', async () => {
    const common = await directory(0o1777, 'common');
    const mbox = join(common, 'box');
    await writeFile(mbox, '', { mode: 0o666 });
    await chown(mbox, OTHER, OTHER);
    await expect(deliverTo({ mbox })).rejects.toMatchObject({ code: 'CREATE' });
    expect(await readFile(mbox, 'utf8')).toBe('');
  });
});

describe('the directory of the memory [84]', () => {
  const address = { host: 'pop.example', port: 995, user: 'taro' };
  const open = (state: string) =>
    openSeen(state, address, nodeDisk, { wait: 0, signal: new AbortController().signal, now: Date.now });

  it.each([0o777, 0o1777, 0o770, 0o775])('is refused where others can change it (mode %o)', async (mode) => {
    const state = await directory(mode, 'state');
    await expect(open(state)).rejects.toMatchObject({
      code: 'PERMISSION',
      exit: 77,
      remedy: expect.stringMatching(/^run chmod [go]-w /) as unknown,
    });
    expect(await readdir(state)).toEqual([]);
  });

  it.runIf(root)("is refused where it is another user's, and none is made in such a place", async () => {
    const home = await directory(0o755, 'home');
    await chown(home, OTHER, OTHER);
    await expect(open(join(home, 'state'))).rejects.toMatchObject({ code: 'PERMISSION' });
    await expect(open(home)).rejects.toMatchObject({ code: 'PERMISSION' });
    expect(await readdir(home)).toEqual([]);
  });

  it.each(['journal', 'lock'])('holds no %s that leads or belongs elsewhere', async (kind) => {
    const state = await directory(0o700, 'state');
    const path = join(state, `${mailboxTag(address)}.${kind}`);
    await writeFile(place.path('victim'), 'precious\n');
    await symlink(place.path('victim'), path);
    await expect(open(state)).rejects.toMatchObject({ code: 'STATE' });
    expect(await readFile(place.path('victim'), 'utf8')).toBe('precious\n');
  });
});

describe('whose a place is, for a user who is not root [84]', () => {
  const taro = { uid: OTHER, gid: OTHER };

  it.runIf(root)(
    "/var/mail of root is taken although a group can change it, and a directory of root is for nobody's memory",
    async () => {
      const spool = await directory(0o2775, 'mail');
      await chown(spool, 0, 8);
      expect(await placeFault(nodeDisk, spool, 'shared', taro)).toBeUndefined();
      expect(await placeFault(nodeDisk, spool, 'own', taro)).toMatchObject({
        remedy: `choose another path, or run chown ${OTHER} ${spool} (as root)`,
      });
    },
  );

  it.runIf(root)('his own directory may be changed by his own group, and by no other', async () => {
    const home = await directory(0o775, 'home');
    await chown(home, OTHER, OTHER);
    expect(await placeFault(nodeDisk, home, 'shared', taro)).toBeUndefined();
    await chown(home, OTHER, 50);
    expect(await placeFault(nodeDisk, home, 'shared', taro)).toEqual({
      what: `${home} can be changed by its group (group id 50) (mode 0775)`,
      remedy: `run chmod g-w ${home}`,
    });
  });

  it.runIf(root)('a directory of somebody else is none of his', async () => {
    const home = await directory(0o777, 'home');
    await chown(home, OTHER + 1, OTHER);
    expect(await placeFault(nodeDisk, home, 'shared', taro)).toMatchObject({
      what: `${home} belongs to somebody else (user id ${OTHER + 1})`,
    });
  });
});

it('this user is who the system says', () => {
  expect([ME, GROUP]).toEqual([process.geteuid?.(), process.getegid?.()]);
});
