/** Messages that stand in the way: what they are allowed to hold up, how often they are tried, and who is told. */
import { describe, expect, it, vi } from 'vitest';
import { eachInBox, type Box, mail, subject } from './support/inprocess.js';
import type { TestServer } from './support/server.js';

const DAY = 24 * 3600 * 1000;
const four = [1, 2, 3, 4].map((n) => ({ uid: `u${n}`, data: mail(n) }));

let box: Box;
eachInBox((fresh) => {
  box = fresh;
});

/** A server that treats the message with this unique-id in its own way. */
async function serve(treatment: string): Promise<TestServer> {
  const server = await box.serve(four);
  server.overrides['RETR'] = (session, [number]) =>
    session.messages[Number(number) - 1]?.uid === 'u2' ? treatment : undefined;
  return server;
}

const codes = ({ errors }: { readonly errors: readonly { readonly code: string }[] }): string[] =>
  errors.map(({ code }) => code);

describe('a message that the server refuses [66]', () => {
  it('is tried after all others, in a session of its own, and told of when it fails a third time', async () => {
    const server = await serve('-ERR corrupted');
    const first = await box.run(server);
    expect(first.asked).toEqual([['RETR 1', 'RETR 2', 'RETR 3', 'RETR 4']]);
    const second = await box.run(server);
    expect(second.asked).toEqual([[], ['RETR 2']]);
    const third = await box.run(server);
    const told = [first, second, third].map(({ events }) => events.filter(({ type }) => type === 'failed'));
    expect(told.map((events) => events.length)).toEqual([0, 0, 1]);
    expect([first, second, third].map(({ outcome }) => codes(outcome))).toEqual([
      ['REFUSED'],
      ['REFUSED'],
      ['REFUSED'],
    ]);
    expect(await box.subjects()).toEqual([1, 3, 4].map(subject));
  });

  it('is tried once a day from then on, and delivered when the server gives it', async () => {
    const server = await serve('-ERR corrupted');
    for (let poll = 0; poll < 3; poll += 1) await box.run(server);
    const quiet = await box.run(server);
    expect([quiet.asked, codes(quiet.outcome)]).toEqual([[[]], []]);
    expect(quiet.events).toContainEqual(
      expect.objectContaining({ type: 'skipped', uid: 'u2', reason: 'failed', first: false }),
    );
    vi.setSystemTime(Date.now() + DAY);
    expect((await box.run(server)).asked).toEqual([[], ['RETR 2']]);
    delete server.overrides['RETR'];
    expect((await box.run(server)).asked).toEqual([[]]);
    vi.setSystemTime(Date.now() + DAY);
    expect((await box.fetch(server)).outcome.delivered).toBe(1);
    expect(await box.subjects()).toEqual([1, 2, 3, 4].map(subject));
    expect((await box.fetch(server)).asked).toEqual([[]]);
  });

  it('keeps no other message from being removed, and is not removed itself', async () => {
    const server = await serve('-ERR corrupted');
    for (let poll = 0; poll < 4; poll += 1) await box.run(server, { delete: 'delivered' });
    expect(server.mailbox('taro').uids).toEqual(['u2']);
  });

  it('is left for a later run where the server wants no second session so soon [76]', async () => {
    const server = await serve('-ERR corrupted');
    await box.run(server);
    let logins = 0;
    server.overrides['PASS'] = () => ((logins += 1) > 1 ? '-ERR [LOGIN-DELAY] too soon' : undefined);
    const { outcome } = await box.run(server, { auth: 'user' });
    expect(codes(outcome)).toEqual([]);
  });
});

describe('a message that breaks the session [68]', () => {
  it('is tried last and alone: the others are delivered, and removed', async () => {
    const server = await serve('close');
    const first = await box.run(server, { delete: 'delivered' });
    expect(codes(first.outcome)).toEqual(['LOST', 'REFUSED']);
    expect(await box.subjects()).toEqual([subject(1)]);
    const second = await box.run(server, { delete: 'delivered' });
    expect(codes(second.outcome)).toEqual(['REFUSED']);
    expect(second.events.filter(({ type }) => type === 'failed')).toEqual([]);
    expect(await box.subjects()).toEqual([1, 3, 4].map(subject));
    expect(server.mailbox('taro').uids).toEqual(['u2']);
    const third = await box.run(server, { delete: 'delivered' });
    expect(third.outcome.errors).toMatchObject([
      {
        code: 'REFUSED',
        message: 'the session has ended at message 1 in 3 runs (the server closed the connection)',
      },
    ]);
    expect(codes((await box.run(server)).outcome)).toEqual([]);
  });

  it('in the middle of its body is left alone in the same way', async () => {
    const server = await box.serve(four, {
      faults: [{ at: 'body', verb: 'RETR', nth: 2, action: 'drop' }],
    });
    expect(codes((await box.run(server)).outcome)).toEqual(['LOST', 'REFUSED']);
    const { outcome, asked } = await box.fetch(server);
    expect(outcome.delivered).toBe(3);
    expect(asked).toEqual([['RETR 3', 'RETR 4'], ['RETR 2']]);
  });

  it('is no reason to try more than three sessions when there are many', async () => {
    const server = await box.serve(Array.from({ length: 8 }, (_, index) => ({ data: mail(index + 1) })));
    server.overrides['RETR'] = 'close';
    for (let poll = 0; poll < 8; poll += 1) await box.run(server);
    const { asked } = await box.run(server);
    expect(asked.length).toBeLessThanOrEqual(4);
  });
});
