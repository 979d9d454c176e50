/** Servers without unique-ids, and accounts with `identity: hash`: only the content of a message tells whether it is new. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Box, mail, replace, subject } from './support/inprocess.js';

let box: Box;
beforeEach(async () => {
  box = await Box.create();
});
afterEach(() => box.remove());

const three = [1, 2, 3].map((n) => ({ data: mail(n) }));

describe('a server without UIDL [62]', () => {
  it.each([
    ['mail stays on it', { delete: 'never' }, {}],
    ['mail stays for a while', { delete: 1000 }, {}],
    ['nothing is removed in this run', { delete: 'delivered' }, { keep: true }],
  ] as const)('is refused where %s, and a person is told what to set', async (_, fields, options) => {
    const server = await box.serve(three, { uidl: false });
    const { outcome, asked } = await box.run(server, fields, options);
    expect(outcome.errors).toMatchObject([
      {
        code: 'PROTOCOL',
        phase: 'list',
        message: 'the server has no UIDL, so that seen mail cannot be told from new',
        remedy: 'set delete: delivered; or identity: hash, and every run reads all messages again',
      },
    ]);
    expect(asked.flat()).toEqual([]);
  });

  it('is refused where mail goes to several destinations, of which one might get it twice', async () => {
    const server = await box.serve(three, { uidl: false });
    const deliver = [{ maildir: box.maildir }, { mbox: `${box.home}/mbox` }];
    const { outcome, asked } = await box.run(server, { delete: 'delivered', deliver });
    expect(outcome.errors).toMatchObject([
      {
        code: 'PROTOCOL',
        message: 'mail known by its content only cannot go to several destinations',
        remedy: 'deliver to one of them, and let that one pass it on',
      },
    ]);
    expect(asked.flat()).toEqual([]);
  });

  it('is emptied where mail is removed once it is delivered', async () => {
    const server = await box.serve(three, { uidl: false });
    expect((await box.fetch(server, { delete: 'delivered' })).outcome).toMatchObject({
      delivered: 3,
      removed: 3,
    });
    expect(server.mailbox('taro').messages).toEqual([]);
    expect(await box.subjects()).toEqual([1, 2, 3].map(subject));
  });

  it('that did not remove what it was told to is told again, and nothing is delivered twice [71] [74]', async () => {
    const server = await box.serve(three, {
      uidl: false,
      faults: [{ at: 'command', verb: 'QUIT', action: 'drop' }],
    });
    expect((await box.run(server, { delete: 'delivered' })).outcome.errors).toMatchObject([{ code: 'LOST' }]);
    server.mailbox('taro').add({ data: mail(4) });
    const { outcome } = await box.fetch(server, { delete: 'delivered' });
    expect(outcome).toMatchObject({ delivered: 1, removed: 4 });
    expect(server.mailbox('taro').messages).toEqual([]);
    expect(await box.subjects()).toEqual([1, 2, 3, 4].map(subject));
  });

  it('that breaks off while known mail is read again does not make it new [62]', async () => {
    const server = await box.serve(three, {
      uidl: false,
      faults: [
        { at: 'command', verb: 'QUIT', action: 'drop' },
        { at: 'command', verb: 'RETR', nth: 6, action: 'drop' },
      ],
    });
    for (const code of ['LOST', 'LOST']) {
      expect((await box.run(server, { delete: 'delivered' })).outcome.errors).toMatchObject([{ code }]);
    }
    await box.fetch(server, { delete: 'delivered' });
    expect(await box.subjects()).toEqual([1, 2, 3].map(subject));
  });

  it('that lists the same content again after it was gone has new mail', async () => {
    const server = await box.serve(three, { uidl: false });
    await box.fetch(server, { delete: 'delivered' });
    await box.fetch(server, { delete: 'delivered' });
    server.mailbox('taro').add({ data: mail(2) });
    await box.fetch(server, { delete: 'delivered' });
    expect(await box.subjects()).toEqual([1, 2, 2, 3].map(subject));
  });
});

describe('an account with identity: hash', () => {
  const hash = { identity: 'hash' } as const;

  it.each([{ uidl: true }, { uidl: false }])(
    'keeps mail on the server and delivers each message once (%o)',
    async (options) => {
      const server = await box.serve(three, options);
      expect((await box.fetch(server, hash)).outcome.delivered).toBe(3);
      server.mailbox('taro').add({ data: mail(4) });
      const { outcome, asked } = await box.fetch(server, hash);
      expect(outcome.delivered).toBe(1);
      expect(asked).toEqual([['RETR 1', 'RETR 2', 'RETR 3', 'RETR 4']]);
      expect((await box.fetch(server, hash)).outcome.delivered).toBe(0);
      expect(await box.subjects()).toEqual([1, 2, 3, 4].map(subject));
    },
  );

  it('delivers equal messages as often as they are there', async () => {
    const server = await box.serve([{ data: mail(1) }, { data: mail(1) }], { uidl: false });
    await box.fetch(server, hash);
    server.mailbox('taro').add({ data: mail(1) });
    await box.fetch(server, hash);
    expect(await box.subjects()).toEqual([1, 1, 1].map(subject));
  });

  it('takes messages of one header and one size for what they are', async () => {
    const same = (body: string): Buffer => Buffer.from(`Subject: 001\r\n\r\n${body}\r\n`);
    const server = await box.serve([{ data: same('door 1') }], { uidl: false });
    await box.fetch(server, hash);
    replace(server, [{ data: same('door 2') }]);
    expect((await box.fetch(server, hash)).outcome.delivered).toBe(1);
  });

  it('knows what was delivered by unique-id before', async () => {
    const server = await box.serve(three);
    await box.fetch(server);
    expect((await box.fetch(server, { ...hash, delete: 'delivered' })).outcome).toMatchObject({
      delivered: 0,
      removed: 3,
    });
  });

  it('delivers to an mbox, too, one message at a time', async () => {
    const server = await box.serve(three, { uidl: false });
    const deliver = [{ mbox: `${box.home}/mbox` }];
    await box.fetch(server, { ...hash, deliver });
    server.mailbox('taro').add({ data: mail(4) });
    expect((await box.fetch(server, { ...hash, deliver })).outcome.delivered).toBe(1);
  });
});
