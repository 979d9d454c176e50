/** Faults of the real disk: what a full one, a limit and a failed sync come to in the command itself. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { nodeDisk } from '../src/disk.js';
import { lateHook, reach, said, stored, World } from './support/e2e.js';
import { diskOf } from './support/fault-cases.js';
import { FaultWorld } from './support/fault-world.js';
import { plain } from './support/messages.js';
import { systemError } from './support/watched-disk.js';

const run = promisify(execFile);

const SMALL = plain(1);
const LARGE = Buffer.concat([plain(2), Buffer.from('0123456789abcdef\r\n'.repeat(8000))]);

describe('one account whose disk is full [78]', () => {
  let world: World;

  beforeEach(async () => {
    world = await World.create();
  });

  afterEach(() => world.close());

  it('keeps its mail on the server and nothing of it in the Maildir; the other account goes on [108]', async ({
    skip,
  }) => {
    const mount = await world.directory('full');
    try {
      await run('mount', ['-t', 'tmpfs', '-o', 'size=72m', 'tmpfs', mount]);
    } catch {
      skip('a small file system can be mounted by root only');
    }
    try {
      // Another program takes what was free when the run looked.
      const filler = join(mount, 'filler');
      const late = lateHook();
      late.hook = async ({ kind, verb, line }) => {
        if (kind === 'command' && verb === 'RETR' && line.endsWith('2')) await fill(mount, filler);
        return undefined;
      };
      const server = await world.serve({ taro: [SMALL, LARGE] }, { ...late, pipelining: false });
      await world.configure({
        full: reach(server, { delete: 'delivered' }),
        good: reach(await world.serve({ taro: [LARGE] })),
      });
      const { code, stderr } = await world.popfetch();
      expect(stderr).toBe(
        'popfetch: full: deliver: ~/full/tmp/NAME: the disk is full; '.replace('NAME', nameIn(stderr)) +
          'make room on that file system, then run popfetch again: the message is still on the server\n',
      );
      expect(code).toBe(74);
      expect(await world.maildir('good')).toEqual(stored(LARGE));
      expect(await world.maildir('full')).toEqual(stored(SMALL));
      expect(await world.leftovers('full', 'good')).toEqual([]);
      expect(server.mailbox('taro').messages).toHaveLength(2);
      expect(said(server, 'DELE', 'QUIT')).toEqual([]);
      late.hook = () => undefined;
      await rm(filler);
      expect(await world.popfetch()).toMatchObject({ code: 0, stderr: '' });
      expect(await world.maildir('full')).toEqual(stored(SMALL, LARGE));
      expect(server.mailbox('taro').messages).toEqual([]);
    } finally {
      await run('umount', [mount]);
    }
  });

  it('is not fooled by a write that stores only a part [80]', async () => {
    const server = await world.serve({ taro: [SMALL, LARGE] });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    // The write that crosses the limit (a multiple of 512 or 1024 octets) stores what fits and says so; the next one fails.
    const { code, stderr } = await world.shell('ulimit -f 100; popfetch');
    expect(stderr).toContain('the file would become too large; archive older mail, or raise ulimit -f');
    expect(code).toBe(74);
    expect(await world.maildir('work')).toEqual(stored(SMALL));
    expect(await world.leftovers('work')).toEqual([]);
    expect(server.mailbox('taro').messages).toHaveLength(2);
    expect((await world.popfetch()).code).toBe(0);
    expect(await world.maildir('work')).toEqual(stored(SMALL, LARGE));
  });
});

/** Leaves 64 KiB on a file system. */
async function fill(mount: string, file: string): Promise<void> {
  const { bsize, bavail } = await statfs(mount);
  await writeFile(file, Buffer.alloc(bsize * bavail - 65_536));
}

/** The file name in tmp/ that a line names. */
function nameIn(line: string): string {
  return /\/tmp\/([\w.-]+):/.exec(line)?.[1] ?? '';
}

describe('a directory whose name cannot be synced', () => {
  let home: string;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'popfetch-fault-'));
  });

  afterEach(async () => {
    vi.restoreAllMocks();
    await rm(home, { recursive: true, force: true });
  });

  it('is removed, lest the next run takes it for one that will stay', async () => {
    vi.spyOn(nodeDisk, 'syncDirectory').mockRejectedValueOnce(systemError('EIO'));
    await expect(nodeDisk.mkdir(join(home, 'made'))).rejects.toMatchObject({ code: 'EIO' });
    expect(await nodeDisk.readdir(home)).toEqual([]);
    await nodeDisk.mkdir(join(home, 'made'));
    expect(await nodeDisk.readdir(home)).toEqual(['made']);
  });
});

describe('too few descriptors for the deliveries in flight [81]', () => {
  it.each(['Maildir', 'mbox', 'Maildir and mbox'] as const)(
    '%s: some fail, none is lost or doubled, the next run brings them',
    async (kind) => {
      for (const most of [2, 3, 4, 5]) {
        const world = new FaultWorld(kind, 'delivered');
        try {
          const disk = diskOf(world);
          let refused = 0;
          disk.before = (call) => {
            if (!call.startsWith('open') || disk.openFiles < most) return;
            refused += 1;
            throw systemError('EMFILE');
          };
          const { error } = await world.run(disk);
          if (refused > 0 && error !== undefined)
            expect(error).toMatchObject({
              exit: 74,
              message: expect.stringMatching(/too many files are open|EMFILE/) as unknown,
            });
          expect([world.trouble(), world.broken, disk.openFiles]).toEqual([undefined, [], 0]);
          const next = diskOf(world);
          expect((await world.run(next)).error).toBeUndefined();
          expect([world.lacking(), world.trouble(), world.leftovers(), next.openFiles]).toEqual([
            [],
            undefined,
            [],
            0,
          ]);
          if (most === 2) expect(refused).toBeGreaterThan(0);
        } finally {
          world.remove();
        }
      }
    },
  );
});
