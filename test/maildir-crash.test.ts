import { link, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Intent } from '../src/deliver/destination.js';
import { failingDisk, message, Place, recover, sweep, sweepTwice, type Sweep } from './support/delivery.js';
import { MAIL, MaildirPlace } from './support/maildir.js';
import { toLf } from './support/messages.js';
import { MemoryLog } from './support/log.js';
import { maildirLeftovers, maildirMessages } from './support/stored.js';
import { systemError } from './support/watched-disk.js';

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

/** The intent of a delivery that went as far as the intent, its file still in tmp/. */
async function interrupted(
  n: number,
  data = MAIL,
  eol: 'lf' | 'crlf' = 'lf',
): Promise<Intent & { name: string }> {
  const disk = failingDisk((call) => (call === 'link' || call === 'unlink' ? systemError('EIO') : undefined));
  await recover(await open(), log);
  await expect((await open({ disk, eol })).deliver(message(n, data), log)).rejects.toBeDefined();
  const intent = log.intents().at(-1)!;
  return { ...intent, name: String(intent.details['name']) };
}

describe('a delivery to a Maildir that a crash interrupted', () => {
  it.each(['lf', 'crlf'] as const)('is finished from tmp/ without the server (eol %s)', async (eol) => {
    const { name } = await interrupted(1, Buffer.from('a\r\n\r\n\r\r\nb\n'), eol);
    expect(await recover(await open(), log)).toEqual(['uid 1']);
    expect(log.isStored('uid 1', `maildir:${maildir}`)).toBe(true);
    expect((await maildirMessages(maildir)).map((each) => each.name)).toEqual([name]);
    expect(await maildirLeftovers(maildir)).toEqual([]);
  });

  it('is finished by moving where there are no hard links', async () => {
    await interrupted(1);
    const disk = failingDisk((call) => (call === 'link' ? systemError('EPERM') : undefined));
    expect(await recover(await open({ disk }), log)).toEqual(['uid 1']);
    expect(await maildirMessages(maildir)).toHaveLength(1);
    expect(await maildirLeftovers(maildir)).toEqual([]);
  });

  it('keeps its name in tmp/ until it is on disk that it is delivered', async () => {
    await interrupted(1);
    const kept: number[] = [];
    log.before = async () => {
      kept.push((await maildirLeftovers(maildir)).length);
    };
    await recover(await open(), log);
    expect(kept).toEqual([1]);
  });

  it.each([
    ['shorter', MAIL.subarray(0, 5)],
    ['another', Buffer.alloc(MAIL.length - 3, 'x')],
  ])('is dropped where its file in tmp/ has become %s', async (_, content) => {
    const { name } = await interrupted(1);
    await writeFile(join(maildir, 'tmp', name), content);
    expect(await recover(await open(), log)).toEqual([]);
    expect(await maildirMessages(maildir)).toEqual([]);
    expect(await maildirLeftovers(maildir)).toEqual([]);
  });

  it.each([
    ['is in new/', 'new', ''],
    ['was moved to cur/ with flags', 'cur', ':2,S'],
    ['was moved to cur/ by mbsync', 'cur', ',U=12:2,'],
  ])('counts as delivered when it %s and tmp/ was cleaned', async (_, folder, suffix) => {
    const { name } = await interrupted(1);
    await rename(join(maildir, 'tmp', name), join(maildir, folder, name + suffix));
    expect(await recover(await open(), log)).toEqual(['uid 1']);
    expect(await maildirMessages(maildir)).toHaveLength(1);
  });

  it('counts as delivered when a reader gave it a name of its own [96]', async () => {
    const { name } = await interrupted(1);
    await link(join(maildir, 'tmp', name), join(maildir, 'cur', 'renamed:2,'));
    expect(await recover(await open(), log)).toEqual(['uid 1']);
    expect((await maildirMessages(maildir)).map((each) => each.name)).toEqual(['renamed:2,']);
    expect(await maildirLeftovers(maildir)).toEqual([]);
  });

  it('counts as new when neither its file nor a link is there', async () => {
    const { name } = await interrupted(1);
    await unlink(join(maildir, 'tmp', name));
    expect(await recover(await open(), log)).toEqual([]);
    expect(await maildirMessages(maildir)).toEqual([]);
  });

  it('never reaches outside tmp/ for what a journal says [88]', async () => {
    const { name } = await interrupted(1);
    await rename(join(maildir, 'tmp', name), place.path('outside'));
    const intent = log.intents()[0]!;
    const foul = { ...intent, details: { ...intent.details, name: '../../../outside' } };
    expect(await (await open()).recover([foul], log)).toEqual([]);
    expect(await readFile(place.path('outside'))).toEqual(toLf(MAIL));
  });
});

const MESSAGES = [MAIL, Buffer.alloc(200_000, 'large\r\n'), Buffer.from('')];

/** A sweep over a Maildir that must end with each message once. */
function plan(changes: Partial<Sweep> = {}): Sweep {
  return {
    configs: (where) => [{ maildir: where.path('box') }],
    messages: MESSAGES,
    check: async (where, step) => {
      const stored = await maildirMessages(where.path('box'));
      const lengths = stored.map(({ data }) => data.length).sort((a, b) => a - b);
      expect(lengths, `killed at step ${step}`).toEqual(
        MESSAGES.map((data) => toLf(data).length).sort((a, b) => a - b),
      );
      expect(await maildirLeftovers(where.path('box')), `killed at step ${step}`).toEqual([]);
      expect(await where.spooled()).toEqual([]);
    },
    ...changes,
  };
}

async function readerMovesAll(where: Place): Promise<void> {
  const box = where.path('box');
  for (const { folder, name, path } of await maildirMessages(box)) {
    if (folder === 'new') await rename(path, join(box, 'cur', `${name}:2,S`));
  }
}

describe('a Maildir, killed at every step [98]', () => {
  it('ends with every message once', async () => {
    expect(await sweep(plan())).toBeGreaterThan(40);
  });

  it('ends with every message once when the last write is torn', async () => {
    expect(await sweep(plan({ tearing: true }))).toBeGreaterThan(40);
  });

  it('ends with every message once when a reader moves mail before the next run [96]', async () => {
    expect(await sweep(plan({ meanwhile: readerMovesAll }))).toBeGreaterThan(40);
  });

  it('ends with every message once where there are no hard links [94]', async () => {
    const prepare: Sweep['prepare'] = (_, disk) => {
      disk.before = (call) => {
        if (call === 'link') throw systemError('EPERM');
      };
    };
    expect(await sweep(plan({ prepare }))).toBeGreaterThan(40);
  });

  it('ends with every message once when the next run is killed at every step, too', async () => {
    for (const first of [20, 25, 30, 35, 40]) {
      expect(await sweepTwice(plan(), first, 2)).toBeGreaterThan(10);
    }
  });
});
