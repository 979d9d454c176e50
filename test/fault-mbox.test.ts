/** A disk that fails while mail goes to an mbox, alone or beside a Maildir. */
import { expect, it } from 'vitest';
import { diskOf } from './support/fault-cases.js';
import { faultsOf } from './support/fault-suite.js';
import { FaultWorld } from './support/fault-world.js';
import { systemError } from './support/watched-disk.js';

faultsOf('mbox', { sites: 40, cases: 600 });
faultsOf('Maildir and mbox', { sites: 50, cases: 700 });

it('what an mbox seems to hold after a failed sync is cut off and delivered again, not believed', async () => {
  const world = new FaultWorld('mbox', 'delivered');
  try {
    const failing = diskOf(world);
    failing.before = (call, path) => {
      if ((call === 'sync' || call === 'truncate') && path.endsWith('/mbox')) throw systemError('EIO');
    };
    expect((await world.run(failing)).error).toMatchObject({ code: 'DELIVERY' });
    expect(world.visible().get('the mbox')).toEqual(['first']);
    const disk = diskOf(world);
    expect((await world.run(disk)).error).toBeUndefined();
    expect(disk.calls).toContain(`truncate ${world.path('mail', 'mbox')}`);
    expect([world.lacking(), world.trouble(), world.leftovers()]).toEqual([[], undefined, []]);
  } finally {
    world.remove();
  }
});
