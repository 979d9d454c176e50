import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Account } from '../src/config/account.js';
import type { Event } from '../src/events.js';
import { Box, mail, replace, subject, type Has } from './support/inprocess.js';
import type { ServerOptions, TestServer } from './support/server.js';

let box: Box;
beforeEach(async () => {
  box = await Box.create();
});
afterEach(() => box.remove());

const serve = (messages: readonly Has[], options?: Partial<ServerOptions>): Promise<TestServer> =>
  box.serve(messages, options);
const subjects = (): Promise<string[]> => box.subjects();

async function fetch(server: TestServer, fields: Partial<Account> = {}): Promise<readonly Event[]> {
  return (await box.fetch(server, fields)).events;
}

function verbs(server: TestServer): string[] {
  return server.sessions.at(-1)!.verbs.filter((verb) => ['TOP', 'RETR', 'DELE'].includes(verb));
}

describe('two messages with one unique-id [57]', () => {
  it('are both delivered, once, and asked about only by their headers afterwards', async () => {
    const server = await serve([
      { uid: 'same', data: mail(1) },
      { uid: 'same', data: mail(2) },
      { uid: 'other', data: mail(3) },
    ]);
    await fetch(server);
    expect(await subjects()).toEqual(['001', '002', '003']);
    await fetch(server);
    expect(verbs(server)).toEqual(['TOP', 'TOP']);
    expect(await subjects()).toEqual(['001', '002', '003']);
  });

  it('count as two even when they are equal', async () => {
    const server = await serve([
      { uid: 'same', data: mail(1) },
      { uid: 'same', data: mail(1) },
    ]);
    await fetch(server);
    expect(await subjects()).toEqual(['001', '001']);
  });

  it('are told apart when the second comes later, and nothing is removed unfetched', async () => {
    const server = await serve([{ uid: 'same', data: mail(1) }]);
    await fetch(server);
    server.mailbox('taro').add({ uid: 'same', data: mail(2) });
    await fetch(server, { delete: 'delivered' });
    expect(await subjects()).toEqual(['001', '002']);
    expect(server.mailbox('taro').messages).toHaveLength(0);
  });

  it('are both delivered by a server that has no TOP', async () => {
    const server = await serve(
      [
        { uid: 'same', data: mail(1) },
        { uid: 'same', data: mail(2) },
      ],
      { overrides: { TOP: '-ERR no such command\r\n' } },
    );
    await fetch(server);
    await fetch(server);
    expect(await subjects()).toEqual(['001', '002']);
  });
});

describe('a unique-id that is given to another message [63]', () => {
  it('of another size is new mail', async () => {
    const server = await serve([{ uid: 'u', data: mail(1) }]);
    await fetch(server);
    replace(server, [{ uid: 'u', data: Buffer.concat([mail(2), Buffer.from('more\r\n')]) }]);
    await fetch(server, { delete: 'delivered' });
    expect(await subjects()).toEqual(['001', '002']);
    expect(server.mailbox('taro').messages).toHaveLength(0);
  });

  it('after a listing without it is new mail, whatever its size', async () => {
    const server = await serve([{ uid: 'u', data: mail(1) }]);
    await fetch(server);
    replace(server, []);
    await fetch(server);
    replace(server, [{ uid: 'u', data: mail(2) }]);
    await fetch(server);
    expect(await subjects()).toEqual(['001', '002']);
  });

  it('is the old message when the header is, so that a listing that was empty for once doubles nothing', async () => {
    const server = await serve([{ uid: 'u', data: mail(1) }]);
    await fetch(server);
    replace(server, []);
    await fetch(server);
    replace(server, [{ uid: 'u', data: mail(1) }]);
    await fetch(server);
    expect(verbs(server)).toEqual(['TOP']);
    expect(await subjects()).toEqual(['001']);
  });

  it('is neither fetched again nor removed where the server has no TOP, and a person is told', async () => {
    const server = await serve([{ uid: 'u', data: mail(1) }], { overrides: { TOP: '-ERR no\r\n' } });
    await fetch(server);
    replace(server, [{ uid: 'u', data: Buffer.concat([mail(2), Buffer.from('more\r\n')]) }]);
    const events = await fetch(server, { delete: 'delivered' });
    expect(events.filter(({ type }) => type === 'warning')).toMatchObject([
      { message: '1 messages have an unclear unique-id, the server refuses TOP, and they are left alone' },
    ]);
    expect(server.mailbox('taro').messages).toHaveLength(1);
  });
});

describe('a mailbox whose unique-ids have all changed [36] [60]', () => {
  const numbers = Array.from({ length: 30 }, (_, index) => index + 1);

  it('is recognised by its headers: nothing is fetched twice, the new mail is, and the next run asks for no header', async () => {
    const server = await serve(numbers.map((n) => ({ uid: `old${n}`, data: mail(n) })));
    await fetch(server);
    replace(
      server,
      [...numbers, 31].map((n) => ({ uid: `new${n}`, data: mail(n) })),
    );
    await fetch(server);
    expect(verbs(server).filter((verb) => verb === 'RETR')).toHaveLength(1);
    expect(await subjects()).toEqual([...numbers, 31].map(subject));
    await fetch(server);
    expect(verbs(server)).toEqual([]);
  });

  it('is new mail where the headers are new too', async () => {
    const server = await serve(numbers.map((n) => ({ uid: `old${n}`, data: mail(n) })));
    await fetch(server);
    replace(server, [{ uid: 'new', data: mail(99) }]);
    await fetch(server);
    expect((await subjects()).at(-1)).toBe('099');
  });

  const many = Array.from({ length: 60 }, (_, index) => index + 101);

  it('and that holds more than 50 unknown messages is left alone until a person has decided', async () => {
    const server = await serve(numbers.map((n) => ({ uid: `old${n}`, data: mail(n) })));
    await fetch(server);
    replace(
      server,
      many.map((n) => ({ uid: `new${n}`, data: mail(n) })),
    );
    const { outcome, asked } = await box.run(server, { delete: 'delivered' });
    expect(outcome.errors).toMatchObject([
      {
        code: 'PROTOCOL',
        phase: 'list',
        message:
          '60 of 60 messages are unknown, while hardly any of those that were there before is listed: either this ' +
          'is another mailbox, or the server has lost the old one',
        remedy:
          'look at it with popfetch list -a work; if all of that is to be fetched, ' +
          'run popfetch fetch -a work --accept-uid-reset',
      },
    ]);
    expect(asked.flat().filter((line) => !line.startsWith('TOP'))).toEqual([]);
    expect(await subjects()).toHaveLength(30);

    const accepted = await box.run(server, { delete: 'delivered' }, { acceptReset: true });
    expect(accepted.outcome).toMatchObject({ delivered: 60, removed: 60, errors: [] });
    expect(await subjects()).toHaveLength(90);
    await fetch(server);
  });

  it('is recognised even when it was listed as empty in between [61]', async () => {
    const server = await serve(numbers.map((n) => ({ uid: `old${n}`, data: mail(n) })));
    await fetch(server);
    replace(server, []);
    await fetch(server);
    replace(
      server,
      numbers.map((n) => ({ uid: `new${n}`, data: mail(n) })),
    );
    await fetch(server);
    expect(verbs(server).filter((verb) => verb === 'RETR')).toEqual([]);
    expect(await subjects()).toEqual(numbers.map(subject));
  });
});

describe('a mailbox that is listed in part [55] [61]', () => {
  it('loses and doubles nothing when it is whole again', async () => {
    const numbers = Array.from({ length: 30 }, (_, index) => index + 1);
    const all = numbers.map((n) => ({ uid: `u${n}`, data: mail(n) }));
    const server = await serve(all);
    await fetch(server);
    replace(server, all.slice(0, 4));
    await fetch(server);
    replace(server, [...all, { uid: 'u31', data: mail(31) }]);
    await fetch(server);
    expect(verbs(server).filter((verb) => verb === 'RETR')).toEqual(['RETR']);
    expect(await subjects()).toEqual([...numbers, 31].map(subject));
  });
});
