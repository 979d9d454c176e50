import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findDovecot, startDovecot } from './support/dovecot.js';
import type { Dovecot } from './support/dovecot.js';
import { awkward, plain } from './support/messages.js';
import { wire } from './support/body.js';
import { mixed } from './support/mixed.js';
import { RawClient } from './support/raw-client.js';

describe.skipIf(findDovecot() === undefined)('the Dovecot that the tests start', () => {
  const crowd = mixed(300, 14_000_000);
  let dovecot: Dovecot;

  beforeAll(async () => {
    dovecot = await startDovecot({
      apop: true,
      users: {
        taro: { password: '!4tana-mo-', messages: [plain(1), awkward['leading dots']!, plain(3)] },
        hanako: { password: 'two words', messages: crowd },
        empty: { password: 'x' },
      },
    });
  });

  afterAll(() => dovecot.close());

  async function loggedIn(user: string, password: string): Promise<RawClient> {
    const client = await RawClient.connectTls({ host: dovecot.host, port: dovecot.tlsPort }, dovecot.ca);
    expect(await client.line()).toMatch(/^\+OK Dovecot/);
    expect(await client.login(user, password)).toMatch(/^\+OK/);
    return client;
  }

  test('greets in clear, with a timestamp for APOP, and offers STLS', async () => {
    const client = await RawClient.connect({ host: dovecot.host, port: dovecot.plainPort });
    expect(await client.line()).toMatch(/^\+OK Dovecot .*<.+@.+>$/);
    expect(await client.askLines('CAPA')).toEqual(
      expect.arrayContaining(['STLS', 'UIDL', 'TOP', 'PIPELINING']),
    );
    expect(await client.ask('STLS')).toMatch(/^\+OK/);
    await client.startTls(dovecot.ca);
    expect(await client.login('empty', 'x')).toMatch(/^\+OK/);
    expect(await client.ask('STAT')).toBe('+OK 0 0');
    client.close();
  });

  test('lists the messages in order with their size on the wire, and sends them as they were given', async () => {
    const client = await loggedIn('taro', '!4tana-mo-');
    const messages = [plain(1), awkward['leading dots']!, plain(3)];
    expect(await client.askLines('LIST')).toEqual(messages.map((data, n) => `${n + 1} ${data.length}`));
    for (const [index, data] of messages.entries()) {
      await client.ask(`RETR ${index + 1}`);
      expect((await client.body()).equals(wire(data))).toBe(true);
    }
    await client.ask('QUIT');
  });

  test('removes at QUIT what DELE marked, and takes new mail', async () => {
    await dovecot.add('taro', plain(4));
    const client = await loggedIn('taro', '!4tana-mo-');
    expect(await client.ask('STAT')).toMatch(/^\+OK 4 /);
    await client.ask('DELE 1');
    expect(await dovecot.mailbox('taro')).toHaveLength(4);
    expect(await client.ask('QUIT')).toMatch(/^\+OK/);
    await client.rest();
    expect(await dovecot.mailbox('taro')).toHaveLength(3);
  });

  test('a mailbox of mixed messages keeps every octet', async () => {
    const client = await loggedIn('hanako', 'two words');
    expect(await client.ask('STAT')).toBe('+OK 300 14000000');
    client.send(crowd.map((_, n) => `RETR ${n + 1}\r\n`).join(''));
    for (const data of crowd) {
      expect(await client.line()).toBe(`+OK ${data.length} octets`);
      expect((await client.body()).equals(data)).toBe(true);
    }
    client.close();
  });
});
