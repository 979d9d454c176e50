/** A message of 300 MB: it passes whole, and takes no more memory than a small one. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { reach, World } from './support/e2e.js';
import { huge } from './support/messages.js';
import type { MessageSource } from './support/mailbox.js';

const OCTETS = 300_000_000;
/** Peak resident memory of the process, octets. */
const MOST = 120 * 1024 * 1024;
const PATIENCE = 180_000;

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

/** SHA-256 and length of a message as it is stored. */
async function expectation(message: MessageSource): Promise<Hashed> {
  if ('data' in message) throw new Error('this one is made while it is sent');
  const hash = createHash('sha256');
  let length = 0;
  for await (const piece of message.generate()) {
    const text = piece.toString('latin1').replaceAll('\r\n', '\n');
    hash.update(text, 'latin1');
    length += text.length;
  }
  return { length, sha256: hash.digest('hex') };
}

interface Hashed {
  readonly length: number;
  readonly sha256: string;
}

/** Of a part of a file. */
async function hashed(path: string, start = 0, end = Infinity): Promise<Hashed> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { start, end: end - 1 }), hash);
  return { length: Math.min((await stat(path)).size, end) - start, sha256: hash.digest('hex') };
}

describe('a message of 300 MB', () => {
  test.each(['maildir', 'mbox', 'both'])(
    'goes to %s with less than 120 MiB of memory',
    async (kind) => {
      const message = huge(OCTETS);
      const server = await world.serve({ taro: [message] }, { tls: 'implicit' });
      const maildir = { maildir: '~/Mail' };
      const mbox = { mbox: '~/mbox' };
      const deliver = kind === 'both' ? [maildir, mbox] : kind === 'mbox' ? mbox : maildir;
      await world.configure({ work: reach(server, { deliver, maxSize: '1GiB', delete: 'delivered' }) });
      const { code, stderr, peakMemory, elapsed } = await world.run([], { measure: true, timeout: PATIENCE });
      process.stdout.write(`${kind} ${elapsed} ${peakMemory! / 1048576}\n`);
      expect([code, stderr]).toEqual([0, '']);
      expect(peakMemory).toBeLessThan(MOST);
      expect(server.mailbox('taro').uids).toEqual([]);
      const expected = await expectation(message);
      if (kind !== 'mbox') {
        const [name = ''] = await readdir(world.sandbox.path('Mail/new'));
        expect(await hashed(world.sandbox.path('Mail/new', name))).toEqual(expected);
      }
      if (kind !== 'maildir') {
        const path = world.sandbox.path('mbox');
        // Before it stands the From line, after it an empty one.
        const { size } = await stat(path);
        expect(await hashed(path, size - 1 - expected.length, size - 1)).toEqual(expected);
      }
      expect(await world.leftovers('Mail', 'mbox')).toEqual([]);
    },
    PATIENCE,
  );
});
join;
