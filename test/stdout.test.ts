import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDestination } from '../src/deliver/index.js';
import type { Destination } from '../src/deliver/destination.js';
import type { Out, StdoutFormat } from '../src/deliver/context.js';
import { outTo } from '../src/deliver/stdout.js';
import { PopfetchError } from '../src/errors.js';
import { broken, failingDisk, fetchInto, keyOf, message, Place, recover } from './support/delivery.js';
import { MemoryLog } from './support/log.js';
import { awkward } from './support/messages.js';
import { mboxMessages } from './support/stored.js';
import { systemError } from './support/watched-disk.js';

let place: Place;
let log: MemoryLog;

beforeEach(async () => {
  place = await Place.create();
  log = new MemoryLog();
});

afterEach(() => place.remove());

/** Collects what is written. */
class Collected implements Out {
  readonly writes: Buffer[] = [];
  /** Called before each write: may wait, or throw to refuse it. */
  before: () => Promise<void> = () => Promise.resolve();

  async write(data: Buffer): Promise<void> {
    await this.before();
    this.writes.push(Buffer.from(data));
  }

  get text(): string {
    return Buffer.concat(this.writes).toString('latin1');
  }
}

function open(
  format: StdoutFormat,
  out: Out,
  changes: Parameters<Place['context']>[0] = {},
): Promise<Destination> {
  return openDestination(['stdout'], place.context({ ...changes, stdout: { format, out } }));
}

const MAIL = Buffer.from('Subject: x\r\n\r\nFrom here\r\n');
const toLf = (data: Buffer): string => data.toString('latin1').replaceAll('\r\n', '\n');

describe('delivery to stdout', () => {
  it.each(Object.entries(awkward))('raw: is %s and nothing else', async (_, data) => {
    for (const eol of ['lf', 'crlf'] as const) {
      const out = new Collected();
      const destination = await open('raw', out, { eol });
      expect(await fetchInto(destination, log, message(1, data))).toBe(data.length);
      expect(out.text === (eol === 'lf' ? toLf(data) : data.toString('latin1'))).toBe(true);
    }
    expect(await place.spooled()).toEqual([]);
  });

  it('mboxrd: is what an mbox would hold', async () => {
    const path = place.path('out');
    const stream = createWriteStream(path);
    const destination = await open('mboxrd', outTo(stream));
    await fetchInto(destination, log, message(1, MAIL));
    await fetchInto(destination, log, message(2, 'Return-Path: <a@b>\r\n\r\nno newline'));
    await new Promise((resolve) => stream.end(resolve));
    expect(await readFile(path, 'latin1')).toBe(
      'From MAILER-DAEMON Tue Nov  3 08:02:09 2026\nSubject: x\n\n>From here\n\n' +
        'From a@b Tue Nov  3 08:02:09 2026\nReturn-Path: <a@b>\n\nno newline\n\n',
    );
    expect((await mboxMessages(path)).map(({ data }) => data.toString())).toEqual([
      'Subject: x\n\nFrom here\n',
      'Return-Path: <a@b>\n\nno newline\n',
    ]);
  });

  it.each([0, 1, 2, 3, 100, 49_151, 49_152, 49_153, 400_000])(
    'json: is one line of printable ASCII for a message of %i octets',
    async (size) => {
      const out = new Collected();
      const destination = await open('json', out, { account: 'büro\u2028"' });
      const data = Buffer.from(Array.from({ length: size }, (_, index) => (index * 7) % 256));
      const uid = '\x1b[31m\xe9"\\ \x7f';
      await fetchInto(destination, log, { ...message(1, data), uid });
      expect(out.text).toMatch(/^[ -~]+\n$/);
      expect(out.text).toMatch(/^\{"account":"b\\u00fcro\\u2028\\"","uid":"\\u001b\[31m\\u00e9/);
      const line = JSON.parse(out.text) as Record<string, unknown>;
      expect(Object.keys(line)).toEqual(['account', 'uid', 'key', 'octets', 'raw']);
      expect(line).toMatchObject({ account: 'büro\u2028"', uid, key: keyOf(1), octets: size });
      expect(Buffer.from(String(line['raw']), 'base64').toString('latin1') === toLf(data)).toBe(true);
      expect(await place.spooled()).toEqual([]);
    },
  );

  it('has one message under way at a time', async () => {
    expect((await open('raw', new Collected())).window).toBe(1);
  });

  it('writes nothing of a message that does not arrive whole', async () => {
    const out = new Collected();
    const destination = await open('raw', out);
    const error = new Error('lost');
    for (const size of [10, 1_000_000]) {
      await expect(destination.deliver(broken(1, Buffer.alloc(size, 'x'), error), log)).rejects.toBe(error);
    }
    expect(out.writes).toEqual([]);
    expect(log.intents()).toEqual([]);
    expect(await place.spooled()).toEqual([]);
  });

  it('writes nothing before the intent is recorded, and says yes when all is handed over and synced', async () => {
    const order: string[] = [];
    log.before = (verb) => {
      order.push(verb);
      return Promise.resolve();
    };
    const out: Out = {
      write: () => {
        order.push('write');
        return Promise.resolve();
      },
      sync: () => {
        order.push('sync');
        return Promise.resolve();
      },
    };
    await (await open('raw', out)).deliver(message(1, MAIL), log);
    expect(order).toEqual(['intend', 'write', 'sync']);
    expect(log.intents()[0]).toMatchObject({ destination: 'stdout', octets: MAIL.length, details: {} });
  });

  it('writes a large message in pieces, each when the one before is taken', async () => {
    let writing = 0;
    const out = new Collected();
    out.before = async () => {
      writing += 1;
      expect(writing).toBe(1);
      await Promise.resolve();
      writing -= 1;
    };
    const destination = await open('raw', out);
    await fetchInto(destination, log, message(1, Buffer.alloc(1_000_000, 'x')));
    expect(out.writes.length).toBeGreaterThan(10);
    expect(Math.max(...out.writes.map(({ length }) => length))).toBeLessThanOrEqual(65_536);
  });

  it('never mixes the messages of two accounts', async () => {
    const out = new Collected();
    out.before = () => new Promise(setImmediate);
    const accounts = await Promise.all([open('raw', out), open('raw', out)]);
    const letters = ['a', 'b'];
    await Promise.all(
      accounts.map(async (account, n) => {
        for (let count = 0; count < 5; count += 1) {
          const data = Buffer.alloc(200_000, letters[n]);
          await fetchInto(account, new MemoryLog(), message(count, data));
        }
      }),
    );
    const runs = out.text.match(/a+|b+/g) ?? [];
    expect(runs.every((run) => run.length % 200_000 === 0)).toBe(true);
    expect(out.text).toHaveLength(2_000_000);
  });

  it('goes on for the other account when one fails', async () => {
    const out = new Collected();
    const [one, other] = await Promise.all([open('raw', out), open('raw', out)]);
    const failing = new MemoryLog();
    const error = new PopfetchError('STATE', 'the memory cannot be written');
    failing.before = () => Promise.reject(error);
    await expect(one.deliver(message(1, MAIL), failing)).rejects.toBe(error);
    await fetchInto(other, log, message(2, MAIL));
    expect(out.text).toBe(toLf(MAIL));
  });

  it('counts what a crash interrupted as not delivered', async () => {
    const destination = await open('raw', new Collected());
    await destination.deliver(message(1, MAIL), log);
    expect(await recover(destination, log)).toEqual([]);
  });

  it('reports a full disk under its spool', async () => {
    const disk = failingDisk((call) => (call === 'write' ? systemError('ENOSPC') : undefined));
    const out = new Collected();
    const destination = await open('raw', out, { disk });
    await expect(destination.deliver(message(1, Buffer.alloc(200_000)), log)).rejects.toMatchObject({
      code: 'DELIVERY',
      exit: 74,
    });
    expect(out.writes).toEqual([]);
    expect(await place.spooled()).toEqual([]);
  });
});

describe('an output', () => {
  it('whose reader has gone says so, once and for ever after', async () => {
    const child = spawn(process.execPath, ['-e', ''], { stdio: ['pipe', 'ignore', 'ignore'] });
    await new Promise((resolve) => child.once('exit', resolve));
    const out = outTo(child.stdin);
    const write = async (): Promise<void> => {
      for (let count = 0; count < 100; count += 1) await out.write(Buffer.alloc(65_536));
    };
    const first: unknown = await write().catch((error: unknown) => error);
    expect(first).toBeInstanceOf(PopfetchError);
    expect(first).toMatchObject({ code: 'DELIVERY', exit: 74, message: 'stdout was closed by its reader' });
    await expect(out.write(Buffer.from('x'))).rejects.toBe(first);
  });

  it('on a full disk says so', async () => {
    const stream = new PassThrough();
    const out = outTo(stream);
    stream.destroy(systemError('ENOSPC'));
    await expect(out.write(Buffer.from('x'))).rejects.toMatchObject({ message: 'stdout: the disk is full' });
  });

  it('is taken when its stream has taken it, and not before', async () => {
    const stream = new PassThrough({ highWaterMark: 1 });
    const out = outTo(stream);
    const taken: string[] = [];
    const writes = ['a', 'b', 'c'].map((letter) =>
      out.write(Buffer.from(letter)).then(() => taken.push(letter)),
    );
    await new Promise(setImmediate);
    expect(taken.length).toBeLessThan(3);
    stream.resume();
    await Promise.all(writes);
    expect(taken).toEqual(['a', 'b', 'c']);
  });
});
