/** A memory that is missing although its mail is there: the run is refused, and no crash ever looks like one. */
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runAccount } from '../src/account/account.js';
import { Tally } from '../src/account/parts.js';
import { openDestination } from '../src/deliver/index.js';
import { nodeDisk, type Disk } from '../src/disk.js';
import { PopfetchError } from '../src/errors.js';
import { mailboxTag, messageKey } from '../src/identity.js';
import { parseJournal } from '../src/seen/journal.js';
import { openSeen, readMemory } from '../src/seen/seen.js';
import { accountOf, FakeMailbox, listingOf } from './support/fakes.js';
import { Crash, WatchedDisk } from './support/watched-disk.js';

const UIDS = ['a', 'b'];

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'popfetch-lost-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

const box = (): string => join(home, 'box');
const state = (): string => join(home, 'state');
const account = (): ReturnType<typeof accountOf> => accountOf({ deliver: [{ maildir: box() }] });
const journal = (): string => join(state(), `${mailboxTag(account())}.journal`);

/** One run of an account with a Maildir, over these messages. */
async function run(disk: Disk, uids = UIDS): Promise<void> {
  const address = account();
  const { signal } = new AbortController();
  const seen = await openSeen(state(), address, disk, { wait: 0, signal, now: Date.now });
  const context = {
    account: address.name,
    tag: mailboxTag(address),
    eol: 'lf',
    spool: join(home, 'spool'),
    disk,
    host: 'host.example',
    now: Date.now,
    timeLimit: 10_000,
    env: {},
    signal,
  } as const;
  await mkdir(context.spool, { recursive: true });
  const destination = await openDestination(address.deliver, context);
  const tally = new Tally();
  let result = 'ok';
  try {
    await runAccount(
      address,
      {
        destination,
        seen,
        connect: () => Promise.resolve(new FakeMailbox([], listingOf(uids))),
        identify: (listing) => Promise.resolve({ ...listing, adopted: [], question: undefined }),
        key: (uid) => messageKey(address, uid),
        emit: () => undefined,
        now: Date.now,
        signal,
        keep: false,
        acceptReset: false,
      },
      tally,
    );
  } catch (error) {
    result = error instanceof PopfetchError ? error.code : 'BUG';
    throw error;
  } finally {
    const { listed, delivered, removed, uids: last } = tally;
    await seen.close({ time: Date.now(), result, listed, delivered, removed }, last);
  }
}

const delivered = async (): Promise<number> => (await readdir(join(box(), 'new'))).length;

const MISSING = {
  code: 'STATE',
  exit: 74,
  phase: 'state',
  message: expect.stringContaining('the memory of this mailbox is missing, although ') as string,
};

describe('a run whose memory is missing [83]', () => {
  it('is refused as long as that is so, before it asks the server, and changes nothing in the Maildir', async () => {
    await run(nodeDisk);
    await rm(journal());
    for (let again = 0; again < 3; again += 1) {
      await expect(run(nodeDisk)).rejects.toMatchObject({
        ...MISSING,
        message: `the memory of this mailbox is missing, although 2 messages of it are in maildir:${box()}`,
        remedy: 'run popfetch state rebuild -a work',
      });
    }
    expect(await delivered()).toBe(2);
    expect((await readMemory(state(), account(), nodeDisk))?.lastRun?.result).toBe('STATE');
  });

  it('is refused when a reader has moved the mail to cur/', async () => {
    await run(nodeDisk, ['a']);
    const [name = ''] = await readdir(join(box(), 'new'));
    await rename(join(box(), 'new', name), join(box(), 'cur', `${name}:2,RS`));
    await rm(journal());
    await expect(run(nodeDisk)).rejects.toMatchObject({
      message: expect.stringContaining('although 1 message of it is in ') as string,
    });
  });

  it('is refused when the journal is empty', async () => {
    await run(nodeDisk);
    await writeFile(journal(), '');
    await expect(run(nodeDisk)).rejects.toMatchObject(MISSING);
  });

  it('is refused when the generation before it is there, even where no mail is', async () => {
    await run(nodeDisk);
    await rename(journal(), `${journal()}.old`);
    await rm(box(), { recursive: true });
    for (let again = 0; again < 2; again += 1) await expect(run(nodeDisk)).rejects.toMatchObject(MISSING);
    await expect(readMemory(state(), account(), nodeDisk)).rejects.toMatchObject(MISSING);
    await writeFile(journal(), '');
    await expect(readMemory(state(), account(), nodeDisk)).rejects.toMatchObject(MISSING);
    expect(await readdir(state())).not.toContain('box');
  });

  it('goes on when the mail is of another mailbox', async () => {
    await run(nodeDisk);
    const other = accountOf({ user: 'jiro', deliver: [{ maildir: box() }] });
    for (const name of await readdir(join(box(), 'new'))) {
      await rename(
        join(box(), 'new', name),
        join(box(), 'new', name.replace(mailboxTag(account()), mailboxTag(other))),
      );
    }
    await rm(journal());
    await run(nodeDisk);
    expect(await delivered()).toBe(4);
  });
});

describe('a run that is not refused', () => {
  it('is any after a first one that was killed at any step, and no message comes twice', async () => {
    let killed = 0;
    for (let step = 1; ; step += 1) {
      await rm(home, { recursive: true, force: true });
      await mkdir(home);
      const dying = new WatchedDisk();
      dying.tearing = step % 2 === 0;
      let steps = 0;
      dying.before = () => {
        steps += 1;
        if (steps >= step) throw new Crash();
      };
      await run(dying).catch(() => undefined);
      await dying.die();
      await run(nodeDisk).catch((cause: unknown) => {
        throw new Error(`killed at step ${step}: ${String(cause)}`, { cause });
      });
      expect(await delivered(), `killed at step ${step}`).toBe(2);
      if (steps < step) break;
      killed += 1;
    }
    expect(killed).toBeGreaterThan(40);
  });

  it('is one whose memory was emptied by time: what vanished from the server is forgotten', async () => {
    await run(nodeDisk);
    const before = Date.now;
    try {
      const memory = async (listed: readonly string[]): Promise<void> => {
        const { signal } = new AbortController();
        const seen = await openSeen(state(), account(), nodeDisk, { wait: 0, signal, now: Date.now });
        // So much that is superseded that the journal is rewritten.
        await seen.removed(Array.from({ length: 1200 }, () => 'a'));
        const run = { time: Date.now(), result: 'ok', listed: 0, delivered: 0, removed: 0 };
        await seen.close(run, new Set(listed));
      };
      await memory([]);
      const later = before() + 200 * 24 * 3600 * 1000;
      Date.now = () => later;
      await memory([]);
      const { records } = parseJournal(await readFile(journal(), 'latin1'), journal());
      expect(records.filter(({ verb }) => verb === 'SEEN')).toEqual([]);
      await run(nodeDisk, ['c']);
    } finally {
      Date.now = before;
    }
    expect(await delivered()).toBe(3);
  });
});
