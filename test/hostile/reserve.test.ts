/** The room that is left alone on a disk: where there is less, a message is neither begun nor goes on. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DestinationConfig } from '../../src/config/account.js';
import { openDestination } from '../../src/deliver/index.js';
import { Reserve, RESERVE } from '../../src/deliver/reserve.js';
import { nodeDisk } from '../../src/disk.js';
import { fetchInto, message, Place, recover } from '../support/delivery.js';
import { reach, said, World } from '../support/e2e.js';
import { MemoryLog } from '../support/log.js';
import { plain } from '../support/messages.js';
import { WatchedDisk } from '../support/watched-disk.js';

const MIB = 1_048_576;
const MAIL = Buffer.from('Subject: x\r\n\r\nbody\r\n');

/** A disk that says how much is free, and counts how often it is asked. */
class Meter {
  asked = 0;
  constructor(public free: number | undefined) {}
  room(): Promise<number | undefined> {
    this.asked += 1;
    return Promise.resolve(this.free);
  }
}

/** The octets of a body that is guarded, until it ends or is refused. */
async function read(reserve: Reserve, body: AsyncIterable<Buffer>, size: number): Promise<number> {
  let octets = 0;
  for await (const piece of reserve.guard(body, size)) octets += piece.length;
  return octets;
}

const bodyOf = (octets: number): AsyncIterable<Buffer> => message(1, Buffer.alloc(octets)).body;

describe('a message [78]', () => {
  it.each([
    [67_108_864, 100, true],
    [67_108_863, 100, false],
    [0, 0, false],
    [2 * 100 * MIB, 100 * MIB, true],
    [2 * 100 * MIB - 1, 100 * MIB, false],
    [RESERVE, RESERVE / 2 + 1, false],
  ])('with %i octets free and %i octets by LIST is taken in: %s', async (free, size, taken) => {
    const reading = read(new Reserve(new Meter(free), ['/mail']), bodyOf(10), size);
    if (taken) expect(await reading).toBe(10);
    else await expect(reading).rejects.toMatchObject({ code: 'DELIVERY', exit: 74, phase: 'deliver' });
  });

  it('is refused in words that say how much there is and how much it takes', async () => {
    const reading = read(new Reserve(new Meter(RESERVE + 1), ['/mail']), bodyOf(10), RESERVE);
    await expect(reading).rejects.toMatchObject({
      message: '/mail: the disk is almost full: 64 MiB are free, and 128 MiB are needed',
      remedy: 'make room on that file system, then run popfetch again: the message is still on the server',
    });
  });

  it('is taken in where a file system keeps no figures', async () => {
    expect(await read(new Reserve(new Meter(undefined), ['/mail']), bodyOf(10), 10)).toBe(10);
  });

  it('that is longer than LIST says, or has no end, goes no further than the reserve [45]', async () => {
    const meter = new Meter(RESERVE + 20 * MIB);
    let sent = 0;
    const endless = async function* (): AsyncGenerator<Buffer> {
      // Far more than there is room for, and an end all the same, so that a test may fail.
      while (sent < 60 * MIB) {
        sent += 65_536;
        meter.free = RESERVE + 20 * MIB - sent;
        yield await Promise.resolve(Buffer.alloc(65_536));
      }
    };
    await expect(read(new Reserve(meter, ['/mail']), endless(), 100)).rejects.toMatchObject({
      code: 'DELIVERY',
    });
    expect(sent).toBeGreaterThan(16 * MIB);
    expect(sent).toBeLessThan(30 * MIB);
  });

  it('does not ask the system each time while there is plenty', async () => {
    const meter = new Meter(1024 * MIB);
    const reserve = new Reserve(meter, ['/spool', '/mail', '/mail']);
    for (let n = 0; n < 3000; n += 1) await read(reserve, bodyOf(10), 10);
    expect(meter.asked).toBeLessThan(12);
  });

  it('makes it ask again where the last look leaves too little for it, and not believe an old one', async () => {
    const meter = new Meter(RESERVE);
    const reserve = new Reserve(meter, ['/mail']);
    await read(reserve, bodyOf(10), 10);
    meter.free = RESERVE - 1;
    await expect(read(reserve, bodyOf(10), 10)).rejects.toMatchObject({ code: 'DELIVERY' });
    meter.free = RESERVE;
    expect(await read(reserve, bodyOf(10), 10)).toBe(10);
  });
});

describe('a disk with too little room [78]', () => {
  let place: Place;
  beforeEach(async () => {
    place = await Place.create();
  });
  afterEach(() => place.remove());

  /** The disk of a test, on whose file system of these paths little is left. */
  class Tight extends WatchedDisk {
    constructor(readonly tight: string) {
      super(nodeDisk);
    }
    override room(path: string): Promise<number | undefined> {
      return Promise.resolve(path === this.tight ? RESERVE - 1 : undefined);
    }
  }

  const made = /^(open (create|append|update)|write|link|rename) /;
  const kinds: readonly (readonly [string, () => DestinationConfig, () => string])[] = [
    ['of a Maildir', () => ({ maildir: place.path('box') }), () => place.path('box')],
    ['of an mbox', () => ({ mbox: place.path('mail', 'box') }), () => place.path('mail')],
    ['of the spool, for a Maildir', () => ({ maildir: place.path('box') }), () => place.spool],
    ['of the spool, for an mbox', () => ({ mbox: place.path('mail', 'box') }), () => place.spool],
    ['of the spool, for a command', () => ({ command: ['false'] }), () => place.spool],
  ];

  it.each(kinds)('%s is not written to', async (_, config, tight) => {
    const disk = new Tight(tight());
    const destination = await openDestination([config()], place.context({ disk, env: process.env }));
    const log = new MemoryLog();
    await recover(destination, log);
    disk.calls.length = 0;
    await expect(fetchInto(destination, log, message(1, MAIL))).rejects.toMatchObject({ code: 'DELIVERY' });
    expect(disk.calls.filter((call) => made.test(call))).toEqual([]);
    expect(log.intents()).toEqual([]);
    await destination.close();
  });
});

it('in the command: the message stays on the server, nothing of it is written, and the run ends in 74 [78]', async ({
  skip,
}) => {
  const world = await World.create();
  const mount = await world.directory('small');
  try {
    await promisify(execFile)('mount', ['-t', 'tmpfs', '-o', 'size=63m,mode=0700', 'tmpfs', mount]);
  } catch {
    await world.close();
    skip('a small file system can be mounted by root only');
  }
  try {
    const server = await world.serve({ taro: [plain(1), plain(2)] });
    await world.configure({ small: reach(server, { delete: 'delivered' }) });
    const { code, stderr } = await world.popfetch();
    expect(stderr).toBe(
      'popfetch: small: deliver: ~/small: the disk is almost full: 63 MiB are free, and 64 MiB are needed; ' +
        'make room on that file system, then run popfetch again: the message is still on the server\n',
    );
    expect(code).toBe(74);
    expect([await world.maildir('small'), await world.leftovers('small')]).toEqual([[], []]);
    expect(server.mailbox('taro').messages).toHaveLength(2);
    expect(said(server, 'DELE', 'QUIT')).toEqual([]);
  } finally {
    await promisify(execFile)('umount', [mount]);
    await world.close();
  }
});
