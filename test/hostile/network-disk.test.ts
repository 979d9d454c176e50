/** A file system over the network that loses a file under us: the message stays on the server, and the next run stores it once. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DestinationConfig } from '../../src/config/account.js';
import { openDestination } from '../../src/deliver/index.js';
import { failingDisk, fetchInto, message, Place, recover } from '../support/delivery.js';
import { MemoryLog } from '../support/log.js';
import { maildirLeftovers, maildirMessages, mboxMessages } from '../support/stored.js';
import { systemError } from '../support/watched-disk.js';

const MAIL = Buffer.from('Subject: x\r\n\r\nbody\r\n');

let place: Place;
beforeEach(async () => {
  place = await Place.create();
});
afterEach(() => place.remove());

/** Delivers on a disk that says once, at this call, that it has lost the file; then the next run. */
async function deliverTwice(config: DestinationConfig, call: string): Promise<void> {
  let left = 1;
  const disk = failingDisk((asked, path) =>
    asked === call && !path.endsWith('.lock') && (left -= 1) === 0 ? systemError('ESTALE') : undefined,
  );
  const log = new MemoryLog();
  const first = await openDestination([config], place.context());
  await recover(first, log);
  const lost = fetchInto(await openDestination([config], place.context({ disk })), log, message(1, MAIL));
  await expect(lost).rejects.toMatchObject({
    code: 'DELIVERY',
    exit: 74,
    message: expect.stringContaining('the network file system has lost it') as unknown,
  });
  expect(left).toBeLessThan(1);
  const next = await openDestination([config], place.context());
  await recover(next, log);
  if (!log.isDone('uid 1')) await fetchInto(next, log, message(1, MAIL));
  await next.close();
}

describe('a stale file handle [93]', () => {
  it.each(['open create', 'write', 'sync', 'link', 'syncDirectory'])(
    'in a Maildir at %s loses and doubles nothing',
    async (call) => {
      await deliverTwice({ maildir: place.path('box') }, call);
      expect(await maildirMessages(place.path('box'))).toHaveLength(1);
      expect(await maildirLeftovers(place.path('box'))).toEqual([]);
    },
  );

  it.each(['open create', 'write', 'sync', 'open append'])(
    'in an mbox at %s loses and doubles nothing',
    async (call) => {
      await deliverTwice({ mbox: place.path('mail', 'box') }, call);
      expect(await mboxMessages(place.path('mail', 'box'))).toHaveLength(1);
      expect(await place.spooled()).toEqual([]);
    },
  );
});
