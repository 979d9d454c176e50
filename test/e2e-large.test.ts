/** A message of 300 MB: it passes whole, and takes hardly more memory than a small one. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf, maildirDigest, mboxDigest, reach, World } from './support/e2e.js';
import { huge } from './support/messages.js';

const OCTETS = 300_000_000;
/** Peak resident memory of the process, octets. */
const MOST = 120 * 1024 * 1024;
/** Milliseconds: a slow disk is no failure. */
const PATIENCE = 240_000;

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

describe('a message of 300 MB', () => {
  test.each([
    ['a Maildir', { maildir: '~/box' }, () => maildirDigest(world.sandbox.path('box'))],
    ['an mbox', { mbox: '~/box' }, (length: number) => mboxDigest(world.sandbox.path('box'), length)],
  ] as const)(
    'passes into %s with less than 120 MiB of memory',
    { timeout: PATIENCE },
    async (_name, deliver, digest) => {
      const message = huge(OCTETS);
      const server = await world.serve({ taro: [message] }, { tls: 'implicit' });
      await world.configure({ work: reach(server, { deliver, maxSize: '1GiB', delete: 'delivered' }) });
      const run = await world.run([], { measure: true, timeout: PATIENCE });
      expect([run.code, run.stderr]).toEqual([0, '']);
      expect(run.peakMemory).toBeLessThan(MOST);
      const expected = await digestOf(message);
      expect(await digest(expected.length)).toEqual(expected);
      expect(await world.leftovers('box')).toEqual([]);
      expect(server.mailbox('taro').uids).toEqual([]);
    },
  );
});
