import { appendFile, readdir, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Mbox } from '../src/deliver/mbox.js';
import { Spool } from '../src/deliver/spool.js';
import {
  failingDisk,
  fetchInto,
  message,
  type Place,
  recover,
  sweep,
  sweepTwice,
  TAG,
  type Sweep,
} from './support/delivery.js';
import { toLf } from './support/messages.js';
import { MemoryLog } from './support/log.js';
import { ENTRY, LINE, MAIL, MboxPlace, OTHERS } from './support/mbox.js';
import { mboxMessages } from './support/stored.js';
import { Crash } from './support/watched-disk.js';

let place: Place;
let log: MemoryLog;
let mbox: string;
let box: MboxPlace;

beforeEach(async () => {
  box = await MboxPlace.create();
  ({ place, log, mbox } = box);
});

afterEach(() => box.remove());

const SECOND = Buffer.from('Subject: second\r\n\r\n');
const SECOND_ENTRY = `${LINE}Subject: second\n\n\n`;
const NOTES = 'Status: RO\nX-UID: 7\n';

describe('a delivery to an mbox that a crash interrupted', () => {
  async function recovered(notes: string[] = []): Promise<string[]> {
    const note = (sentence: string): void => {
      notes.push(sentence);
    };
    const uids = await recover(await box.open({ note }), log);
    expect(await readdir(box.directory)).toEqual(['box']);
    expect(await place.spooled()).toEqual([]);
    for (const uid of uids) expect(log.isStored(uid, `mbox:${mbox}`)).toBe(true);
    return uids;
  }

  /** Two messages in one batch: they gather while another one is on its way. */
  async function both(): Promise<void> {
    await recover(await box.open(), log);
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
      log = box.log = new MemoryLog();
      await box.given(before);
      await box.interrupted([MAIL]);
      const pad = before.endsWith('x') && written !== '' ? '\n\n' : '';
      await appendFile(mbox, pad + written);
      expect(await recovered()).toEqual(expected);
      expect(await box.text()).toBe(before + (expected.length > 0 ? pad + written : ''));
    }
  });

  it('and half of what ends the message before was written: is gone', async () => {
    await box.given('From a\nx');
    await box.interrupted([MAIL]);
    await appendFile(mbox, '\n');
    expect(await recovered()).toEqual([]);
    expect(await box.text()).toBe('From a\nx');
  });

  it('and another program appended behind the whole message: is delivered', async () => {
    await box.interrupted([MAIL]);
    await appendFile(mbox, ENTRY + OTHERS);
    expect(await recovered()).toEqual(['uid 1']);
    expect(await box.text()).toBe(ENTRY + OTHERS);
  });

  it('and another program appended behind a part of it: the part stays, with a word about it, and the message is new', async () => {
    await box.interrupted([MAIL]);
    const part = ENTRY.slice(0, 70);
    await appendFile(mbox, `${part}\n\n${OTHERS}`);
    const notes: string[] = [];
    expect(await recovered(notes)).toEqual([]);
    expect(await box.text()).toBe(`${part}\n\n${OTHERS}`);
    expect(notes).toEqual([expect.stringContaining(`${mbox}: octet 0 begins a part of a message`)]);
  });

  it('and another program appended in its place: what it wrote stays, however much it looks like ours', async () => {
    await box.interrupted([MAIL]);
    const similar = ENTRY.replace('Subject: x', 'Subject: y');
    await appendFile(mbox, similar.slice(0, -3));
    const notes: string[] = [];
    expect(await recovered(notes)).toEqual([]);
    expect(await box.text()).toBe(similar.slice(0, -3));
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
    await box.given(OTHERS);
    await box.interrupted([MAIL]);
    await writeFile(mbox, rewrite(OTHERS + ENTRY));
    expect(await recovered()).toEqual(['uid 1']);
    expect(await box.text()).toBe(rewrite(OTHERS + ENTRY));
  });

  it('and a mail reader then deleted it: is new', async () => {
    await box.given(OTHERS);
    await box.interrupted([MAIL]);
    await writeFile(mbox, OTHERS.replace('Subject', `${NOTES}Subject`));
    expect(await recovered()).toEqual([]);
  });

  it('and was replaced by a mail reader: a part of it is not cut off from another file', async () => {
    await box.given(OTHERS);
    await box.interrupted([MAIL]);
    await writeFile(place.path('mail', 'new'), OTHERS + ENTRY.slice(0, 60));
    await rename(place.path('mail', 'new'), mbox);
    expect(await recovered()).toEqual([]);
    expect(await box.text()).toBe(OTHERS + ENTRY.slice(0, 60));
  });

  it('and the mbox is gone: is new', async () => {
    await box.given(OTHERS);
    await box.interrupted([MAIL]);
    await unlink(mbox);
    expect(await recovered()).toEqual([]);
    expect(await box.text()).toBe('');
  });

  it.each([
    ['only the first is whole', 1, ENTRY + SECOND_ENTRY.slice(0, 60), ENTRY, ['uid 1']],
    ['the first is zeros, the second whole', 0, '\0'.repeat(ENTRY.length) + SECOND_ENTRY, '', []],
    ['both are whole', 2, ENTRY + SECOND_ENTRY, ENTRY + SECOND_ENTRY, ['uid 1', 'uid 2']],
    ['there is nothing', 0, '', '', []],
  ])('in a batch of which %s: each is whole or gone', async (_, _count, written, left, expected) => {
    await both();
    const before = await box.text();
    expect(log.unfinished()).toHaveLength(2);
    await appendFile(mbox, written);
    expect(await recovered()).toEqual(expected);
    expect(await box.text()).toBe(before + left);
  });

  it('counts one of two equal messages once when only one is in an mbox that was rewritten', async () => {
    await box.given(OTHERS);
    await box.interrupted([MAIL]);
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
      log = box.log = new MemoryLog();
      await box.given('');
      await box.interrupted([MAIL]);
      for (const name of await place.spooled()) await unlink(place.path('spool', name));
      await appendFile(mbox, written);
      expect(await recovered()).toEqual(expected);
      expect(await box.text()).toBe(left);
    }
  });

  it('is left whole, spool and all, when close() comes before release()', async () => {
    const destination = box.impatient(1000);
    await destination.recover([], log);
    await destination.deliver(message(1, MAIL), log);
    await destination.close();
    expect(await readdir(box.directory)).toEqual(['box']);
    expect(await place.spooled()).toHaveLength(1);
    expect(await recovered()).toEqual(['uid 1']);
    expect(await box.text()).toBe(ENTRY);
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
        envelope.startsWith('From MAILER-DAEMON '),
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
  if (before.endsWith('\n\n'))
    await writeFile(box, before.replaceAll(/^From MAILER-DAEMON .*\n/gm, `$&${NOTES}`), 'latin1');
}

describe('an mbox, killed at every step [98]', () => {
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
