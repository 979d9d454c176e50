/** What a real Dovecot is needed for: a mailbox of a size that people have, a huge message, a run that is killed. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findDovecot, startDovecot } from './support/dovecot.js';
import type { Dovecot, DovecotOptions } from './support/dovecot.js';
import { digestOf, maildirDigest, mboxDigest, stored, until, World } from './support/e2e.js';
import { huge } from './support/messages.js';
import { mixed } from './support/mixed.js';

/** Milliseconds: a slow machine is no failure. */
const PATIENCE = 240_000;
const SECRET = 'two words, and more';
const SILENCE = { code: 0, stdout: '', stderr: '' };

describe.skipIf(findDovecot() === undefined)('with Dovecot', { timeout: PATIENCE }, () => {
  let world: World;
  let dovecot: Dovecot | undefined;

  beforeEach(async () => {
    world = await World.create();
    world.keepSecret(SECRET);
  });
  afterEach(async () => {
    await dovecot?.close();
    dovecot = undefined;
    await world.close();
  });

  /** Starts it with these mailboxes. */
  async function serve(mailboxes: Readonly<Record<string, readonly Buffer[]>>): Promise<Dovecot> {
    const users = Object.entries(mailboxes).map(([user, messages]) => [user, { password: SECRET, messages }]);
    dovecot = await startDovecot({ users: Object.fromEntries(users) as DovecotOptions['users'] });
    return dovecot;
  }

  function reach({ tlsPort, ca }: Dovecot, user: string, fields: object = {}): object {
    return { host: 'localhost', port: tlsPort, tls: { ca }, user, password: SECRET, ...fields };
  }

  /** Fields of the events of one kind. */
  async function events(type: string, ...args: readonly string[]): Promise<readonly object[]> {
    const { code, stdout, stderr } = await world.run(['--json', ...args], { timeout: PATIENCE });
    expect([code, stderr]).toEqual([0, '']);
    const lines = stdout.toString('utf8').trimEnd().split('\n');
    return lines
      .map((line) => JSON.parse(line) as { readonly type: string })
      .filter((event) => event.type === type);
  }

  describe('2,000 messages of 94 MB', () => {
    const mail = mixed(2000, 94_000_000);

    test('arrive in a Maildir and in an mbox, are not downloaded again, and are removed when told to', async () => {
      const server = await serve({ taro: mail, hanako: mail });
      const taro = { deliver: { maildir: '~/Mail' } };
      const hanako = { deliver: { mbox: '~/mbox' } };
      await world.configure({ taro: reach(server, 'taro', taro), hanako: reach(server, 'hanako', hanako) });
      expect(world.seen(await world.run([], { timeout: PATIENCE }))).toEqual(SILENCE);
      await expectMail();

      const again = { listed: 2000, seen: 2000, wanted: 0, octets: 0, doomed: 0 };
      const planned = [...(await events('planned'))].sort(byAccount);
      expect(planned).toMatchObject([
        { account: 'hanako', ...again },
        { account: 'taro', ...again },
      ]);

      const due = { delete: 'delivered' };
      await world.configure({
        taro: reach(server, 'taro', { ...taro, ...due }),
        hanako: reach(server, 'hanako', { ...hanako, ...due }),
      });
      const removed = [...(await events('removed'))].sort(byAccount);
      // Four sessions each: what one of them marks is confirmed before the next one marks more.
      expect(removed).toMatchObject([
        ...Array.from({ length: 4 }, () => ({ account: 'hanako', messages: 500 })),
        ...Array.from({ length: 4 }, () => ({ account: 'taro', messages: 500 })),
      ]);
      expect(await server.mailbox('taro')).toEqual([]);
      expect(await server.mailbox('hanako')).toEqual([]);
      expect(await world.popfetch()).toEqual(SILENCE);
      await expectMail();
      expect(await world.leftovers('Mail', 'mbox')).toEqual([]);
    });

    const byAccount = (a: object, b: object): number =>
      JSON.stringify(a, ['account']) < JSON.stringify(b, ['account']) ? -1 : 1;

    async function expectMail(): Promise<void> {
      const expected = stored(...mail);
      for (const got of [await world.maildir('Mail'), await world.mbox('mbox')]) {
        // Not in one comparison, whose report would be of 94 MB.
        expect(got.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
        expect(got.every((text, index) => text === expected[index])).toBe(true);
      }
    }
  });

  test('a message of 300 MB passes into a Maildir and into an mbox with less than 120 MiB of memory', async () => {
    const message = huge(300_000_000);
    const pieces: Buffer[] = [];
    if ('generate' in message) for await (const piece of message.generate()) pieces.push(piece);
    const server = await serve({ taro: [Buffer.concat(pieces)] });
    const expected = await digestOf(message);
    const deliver = [{ maildir: '~/Mail' }, { mbox: '~/mbox' }];
    await world.configure({ work: reach(server, 'taro', { deliver, maxSize: '1GiB' }) });
    const run = await world.run([], { measure: true, timeout: PATIENCE });
    expect(world.seen(run)).toEqual(SILENCE);
    expect(run.peakMemory).toBeLessThan(120 * 1024 * 1024);
    expect(await maildirDigest(world.sandbox.path('Mail'))).toEqual(expected);
    expect(await mboxDigest(world.sandbox.path('mbox'), expected.length)).toEqual(expected);
  });

  describe('a run that is killed', () => {
    const mail = mixed(300, 14_000_000, 3);

    /** Octets in the mbox or in new/ of the Maildir. */
    async function delivered(): Promise<number> {
      const box = world.sandbox.path('box');
      const found = await stat(box).catch(() => undefined);
      if (found?.isDirectory() !== true) return found?.size ?? 0;
      const names = await readdir(join(box, 'new')).catch(() => []);
      const sizes = await Promise.all(names.map(async (name) => (await stat(join(box, 'new', name))).size));
      return sizes.reduce((sum, size) => sum + size, 0);
    }

    test.each([
      ['a Maildir', { maildir: '~/box' }, () => world.maildir('box')],
      ['an mbox', { mbox: '~/box' }, () => world.mbox('box')],
    ] as const)(
      'on its way to %s, several times, loses and doubles nothing',
      async (_name, deliver, content) => {
        const server = await serve({ taro: mail });
        await world.configure({ work: reach(server, 'taro', { deliver, delete: 'delivered' }) });
        for (const share of [0.1, 0.4, 0.8]) {
          const running = world.start([]);
          await until(
            async () => running.ended || (await delivered()) > share * 14_000_000,
            'that much is there',
          );
          running.kill();
          await running.done;
        }
        // A session that its client has left is closed by Dovecot in its own time.
        await until(async () => (await world.popfetch()).code !== 75, 'the mailbox is free');
        expect(await world.popfetch()).toEqual(SILENCE);
        const expected = stored(...mail);
        const got = await content();
        expect(got.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
        expect(got.every((text, index) => text === expected[index])).toBe(true);
        expect(await server.mailbox('taro')).toEqual([]);
        expect(await world.leftovers('box')).toEqual([]);
      },
    );
  });
});
