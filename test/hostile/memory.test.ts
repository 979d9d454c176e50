/** What a server sends, however much of it, does not fill the memory of the real command; nor does a large mailbox. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, describe, expect, it } from 'vitest';
import { RowMessages, SizeRows, UidRows } from '../../src/pop3/rows.js';
import { Book } from '../../src/seen/book.js';
import { crowdUid, CROWD_USER, rememberCrowd, serveCrowd, type Crowd } from '../support/crowd.js';
import { FLOODS, serveFlood, type Flood } from '../support/floods.js';
import { Sandbox } from '../support/sandbox.js';

const MIB = 1024 * 1024;
const open: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function opened<T extends { close(): Promise<unknown> }>(promise: Promise<T>): Promise<T> {
  const one = await promise;
  open.push(() => one.close());
  return one;
}

async function sandboxOf(accounts: Readonly<Record<string, object>>, top: object = {}): Promise<Sandbox> {
  const sandbox = await Sandbox.create();
  open.push(() => sandbox.remove());
  await sandbox.writeConfig({ ...top, accounts });
  return sandbox;
}

const accountAt = ({ host, port }: Crowd, more: object = {}): object => ({
  ...{ host, port, tls: 'none', user: CROWD_USER, password: 'x', deliver: { maildir: '~/Mail' } },
  ...more,
});

setFlagsFromString('--expose-gc');
const clearAway = runInNewContext('gc') as () => void;

/** Octets that are in use by what `make` gives, in the heap and beside it. */
function octetsOf<T>(make: () => T): { readonly made: T; readonly octets: number } {
  const used = (): number => {
    clearAway();
    clearAway();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = used();
  const made = make();
  return { made, octets: used() - before };
}

describe('sixteen servers that flood at once', () => {
  it('leave the command under 128 MiB, and each account ends by a limit [24] [45] [46] [47] [53] [108]', async () => {
    const kinds = Object.keys(FLOODS) as Flood[];
    const all = Array.from({ length: 16 }, (_, index) => kinds[index % kinds.length]!);
    const servers = await Promise.all(all.map((kind) => opened(serveFlood(kind))));
    const limits = { maxSize: '4MiB', timeout: { reply: '5s', idle: '5s' } };
    const accounts = servers.map((server, index) => [
      `a${index}`,
      accountAt(server, { ...limits, deliver: { maildir: `~/Mail/a${index}` } }),
    ]);
    const sandbox = await sandboxOf(Object.fromEntries(accounts) as Record<string, object>, { parallel: 16 });
    const { stdout, peakMemory } = await sandbox.run(['fetch', '--json'], {
      measure: true,
      timeout: 100_000,
    });
    const ends = new Map<string, string>();
    for (const line of stdout.toString().trim().split('\n')) {
      const event = JSON.parse(line) as {
        type: string;
        account: string;
        errors?: { code: string }[];
        outcome?: { errors: { code: string }[] };
      };
      if (event.type !== 'account-end') continue;
      const errors = event.outcome?.errors ?? event.errors ?? [];
      ends.set(all[Number(event.account.slice(1))]!, [...new Set(errors.map(({ code }) => code))].join(' '));
    }
    expect(Object.fromEntries(ends)).toEqual({
      'endless status': 'PROTOCOL',
      'endless line': 'DATA',
      'endless message': 'DATA',
      'endless listing': 'PROTOCOL',
      'large count': '',
      'million capabilities': 'PROTOCOL',
      silence: 'TIMEOUT',
    });
    expect(peakMemory).toBeLessThan(128 * MIB);
  }, 120_000);
});

describe('a mailbox of very many messages', () => {
  it('is remembered and listed in little more memory than an empty one', async () => {
    const count = 50_000;
    const server = await opened(serveCrowd(count));
    const sandbox = await sandboxOf({ work: accountAt(server) });
    const peakOf = async (): Promise<number> => {
      const { code, stderr, peakMemory } = await sandbox.run(['fetch', '-v'], { measure: true });
      expect([code, stderr]).toEqual([0, expect.stringContaining('nothing new')]);
      return peakMemory ?? NaN;
    };
    await rememberCrowd(`${sandbox.state}/popfetch`, { ...server, user: CROWD_USER }, count);
    // 10 MiB for the messages, and some 75 for Node and its work; with an object for each message it was 180.
    expect(await peakOf()).toBeLessThan(110 * MIB);
  }, 60_000);

  it('is listed in less than 40 octets a message, and remembered in less than 180', () => {
    const count = 50_000;
    const listing = octetsOf(() => {
      const [sizes, uids] = [new SizeRows(count), new UidRows(count)];
      for (let number = 1; number <= count; number += 1) {
        sizes.take(`${number} 76`);
        uids.take(`${number} ${crowdUid(number)}`);
      }
      return new RowMessages(sizes, uids);
    });
    expect(listing.made.at(count - 1)).toEqual({ number: count, size: 76, uid: crowdUid(count) });
    expect(listing.octets / count).toBeLessThan(40);
    const memory = octetsOf(() => {
      const book = new Book('memory');
      const hash = 'ab'.repeat(32);
      for (let number = 1; number <= count; number += 1) {
        const facts = ['abcdefghijklmnopqrstuvwxyz', '76', '76', hash, hash, 'maildir:/home/taro/Mail'];
        book.apply({ verb: 'SEEN', fields: [crowdUid(number), ...facts, '1700000000000', '-', '-'] });
      }
      return book;
    });
    expect(memory.made.outline(crowdUid(count))?.size).toBe(76);
    expect(memory.octets / count).toBeLessThan(180);
  });

  it('costs nothing where STAT says a million and ten rows come [53]', () => {
    const { made, octets } = octetsOf(() => {
      const [sizes, uids] = [new SizeRows(1_000_000), new UidRows(1_000_000)];
      for (let number = 1; number <= 10; number += 1) {
        sizes.take(`${number} 76`);
        uids.take(`${number} u${number}`);
      }
      return new RowMessages(sizes, uids);
    });
    expect(made.length).toBe(10);
    expect(octets).toBeLessThan(MIB);
  });
});
