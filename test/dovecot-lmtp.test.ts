/** Mail handed to a real Dovecot by LMTP. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openDestination } from '../src/deliver/index.js';
import { fetchInto, message, Place } from './support/delivery.js';
import { findDovecot, startDovecot, type Dovecot } from './support/dovecot.js';
import { MemoryLog } from './support/log.js';
import { awkward, toLf } from './support/messages.js';
import { mixed } from './support/mixed.js';
import { Sandbox } from './support/sandbox.js';

const MAIL = mixed(40, 3_000_000, 11);

describe.skipIf(findDovecot('lmtp') === undefined)('a Dovecot that takes mail by LMTP', () => {
  let dovecot: Dovecot;
  let place: Place;
  let sandbox: Sandbox;

  beforeAll(async () => {
    const users = ['hanako', 'jiro', 'saburo', 'shiro'].map((name) => [name, { password: 'x' }] as const);
    dovecot = await startDovecot({
      lmtp: true,
      users: { taro: { password: 'two words', messages: MAIL }, ...Object.fromEntries(users) },
    });
  });
  afterAll(() => dovecot.close());

  beforeEach(async () => {
    place = await Place.create();
    sandbox = await Sandbox.create();
    sandbox.secrets.keepSecret('two words');
  });
  afterEach(async () => {
    await place.remove();
    await sandbox.remove();
  });

  /** The fields that Dovecot puts before a message, and the message, in the order of their arrival. */
  async function arrived(user: string): Promise<[fields: string, message: string][]> {
    return (await dovecot.mailbox(user)).map(({ data }) => {
      const text = data.toString('latin1');
      const fields =
        /^(?:(?:Return-Path|Delivered-To|Received): .*\n(?:[ \t].*\n)*){3}/.exec(text)?.[0] ?? '';
      return [fields, text.slice(fields.length)];
    });
  }

  /** The message as LMTP can carry it, and as Dovecot keeps it: one kind of line end, the last line has one, too. */
  function kept(data: Buffer): string {
    const text = data.toString('latin1').replace(/\r\r\n|\r\n|\r/g, '\n');
    return text.endsWith('\n') ? text : `${text}\n`;
  }

  it.each(['port', 'socket'] as const)(
    'keeps every octet for each of two recipients, over its %s',
    async (way) => {
      const users = way === 'port' ? ['hanako', 'jiro'] : ['saburo', 'shiro'];
      const destination = await openDestination(
        [{ lmtp: dovecot.lmtp![way], recipient: users }],
        place.context(),
      );
      const log = new MemoryLog();
      const all = Object.values(awkward);
      for (const [n, data] of all.entries()) await fetchInto(destination, log, message(n, data));
      await destination.close();
      for (const user of users) {
        const stored = await arrived(user);
        expect(stored.map(([, text]) => text).sort()).toEqual(all.map(kept).sort());
        for (const [fields] of stored) expect(fields).toMatch(`Delivered-To: ${user}\n`);
        const senders = stored.map(([fields]) => /^Return-Path: (.*)/.exec(fields)?.[1]);
        expect([...new Set(senders)].sort()).toEqual(['<>', '<hogehoge@hogehoge.or.jp>']);
      }
      expect(await place.spooled()).toEqual([]);
    },
  );

  it('refuses a recipient that it does not know, in its own words, for good', async () => {
    const destination = await openDestination(
      [{ lmtp: dovecot.lmtp!.socket, recipient: ['nobody@example.com'] }],
      place.context(),
    );
    await expect(destination.deliver(message(1, 'x'), new MemoryLog())).rejects.toMatchObject({
      code: 'DATA',
      phase: 'deliver',
      serverText: expect.stringMatching(/^550 5\.1\.1 .*nobody@example\.com/) as string,
    });
    await destination.close();
  });

  it('gets a mailbox from the command, once, and the mailbox may be emptied then', async () => {
    const before = (await dovecot.mailbox('jiro')).length;
    const account = {
      host: 'localhost',
      port: dovecot.tlsPort,
      tls: { ca: dovecot.ca },
      user: 'taro',
      password: 'two words',
      delete: 'delivered',
      deliver: { lmtp: dovecot.lmtp!.socket, recipient: 'jiro' },
    };
    await sandbox.writeConfig({ accounts: { work: account } });
    for (let run = 0; run < 2; run += 1) {
      const { code, stdout, stderr } = await sandbox.run([]);
      expect([code, stdout.toString(), stderr]).toEqual([0, '', '']);
    }
    expect(await dovecot.mailbox('taro')).toEqual([]);
    const stored = (await arrived('jiro'))
      .map(([, text]) => text)
      .filter((text) => text.startsWith('From: sender-'));
    expect(stored.sort()).toEqual(MAIL.map((data) => toLf(data).toString('latin1')).sort());
    expect((await dovecot.mailbox('jiro')).length).toBe(before + MAIL.length);
  });
});
