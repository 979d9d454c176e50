/** Servers that can do a thing in one session and refuse it in the next: what is known must stay known either way. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Box, mail, subject } from '../support/inprocess.js';

let box: Box;
beforeEach(async () => {
  box = await Box.create();
});
afterEach(() => box.remove());

const two = [1, 2].map((n) => ({ data: mail(n) }));

it('that refuses UIDL for once, and is lost before QUIT, brings nothing a second time [62]', async () => {
  const server = await box.serve(two, { faults: [{ at: 'command', verb: 'QUIT', action: 'drop' }] });
  server.overrides['UIDL'] = '-ERR not today';
  expect((await box.run(server, { delete: 'delivered' })).outcome.errors).toMatchObject([{ code: 'LOST' }]);
  delete server.overrides['UIDL'];
  expect((await box.fetch(server, { delete: 'delivered' })).outcome).toMatchObject({
    delivered: 0,
    removed: 2,
  });
  expect(await box.subjects()).toEqual([1, 2].map(subject));
});

it('that refuses UIDL for once, and TOP in the next session, has its mail left alone until it tells more [62]', async () => {
  const server = await box.serve(two, { faults: [{ at: 'command', verb: 'QUIT', action: 'drop' }] });
  server.overrides['UIDL'] = '-ERR not today';
  await box.run(server, { delete: 'delivered' });
  delete server.overrides['UIDL'];
  server.overrides['TOP'] = '-ERR not today';
  expect((await box.fetch(server, { delete: 'delivered' })).outcome).toMatchObject({
    delivered: 0,
    removed: 0,
  });
  delete server.overrides['TOP'];
  expect((await box.fetch(server, { delete: 'delivered' })).outcome).toMatchObject({
    delivered: 0,
    removed: 2,
  });
  expect(await box.subjects()).toEqual([1, 2].map(subject));
});

const twins = [1, 2].map((n) => ({ uid: 'same', data: mail(n) }));

it('that refuses TOP for once, while messages share a unique-id, brings none of them twice [57]', async () => {
  const server = await box.serve(twins);
  server.overrides['TOP'] = '-ERR not today';
  await box.fetch(server);
  delete server.overrides['TOP'];
  await box.fetch(server);
  expect(await box.subjects()).toEqual([1, 2].map(subject));
});

it('that refuses TOP later, while messages share a unique-id, has them left alone [57]', async () => {
  const server = await box.serve(twins);
  await box.fetch(server);
  server.overrides['TOP'] = '-ERR not today';
  expect((await box.fetch(server)).outcome.delivered).toBe(0);
  expect(await box.subjects()).toEqual([1, 2].map(subject));
});
