import { afterEach, describe, expect, test } from 'vitest';
import { wire } from './support/body.js';
import { awkward, huge, plain } from './support/messages.js';
import { RawClient } from './support/raw-client.js';
import { startServer } from './support/server.js';
import type { ServerOptions, TestServer } from './support/server.js';
import { apopDigest } from './support/verbs.js';

const open: (() => unknown)[] = [];
const three = { taro: { password: 'secret', messages: [plain(1), plain(2), plain(3)] } };

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function serve(options: Partial<ServerOptions> = {}): Promise<TestServer> {
  const server = await startServer({ accounts: three, ...options });
  open.push(() => server.close());
  return server;
}

/** A client that has read the greeting. */
async function greeted(server: TestServer): Promise<RawClient> {
  const client = await RawClient.connect(server);
  open.push(() => {
    client.close();
  });
  await client.line();
  return client;
}

async function loggedIn(server: TestServer): Promise<RawClient> {
  const client = await greeted(server);
  expect(await client.login('taro', 'secret')).toMatch(/^\+OK/);
  return client;
}

describe('login', () => {
  test('USER and PASS open the mailbox, a wrong password does not', async () => {
    const server = await serve();
    const client = await greeted(server);
    expect(await client.login('taro', 'wrong')).toBe('-ERR [AUTH] wrong user or password');
    expect(await client.ask('STAT')).toBe('-ERR not now');
    expect(await client.login('nobody', 'secret')).toBe('-ERR [AUTH] wrong user or password');
    expect(await client.login('taro', 'secret')).toBe('+OK taro has 3 messages (228 octets)');
  });

  test('a password may hold spaces', async () => {
    const server = await serve({ accounts: { taro: { password: ' a  b ' } } });
    const client = await greeted(server);
    expect(await client.login('taro', ' a  b ')).toBe('+OK taro has 0 messages (0 octets)');
  });

  test('APOP takes the digest of the timestamp in the greeting', async () => {
    const timestamp = '<1896.697170952@dbc.mtview.ca.us>';
    const server = await serve({ accounts: { mrose: { password: 'tanstaaf' } }, apop: timestamp });
    const client = await RawClient.connect(server);
    open.push(() => {
      client.close();
    });
    expect(await client.line()).toBe(`+OK popfetch test server ready ${timestamp}`);
    // The example of RFC 1939 section 7.
    expect(apopDigest(timestamp, 'tanstaaf')).toBe('c4c9334bac560ecc979e58001b3e22fb');
    expect(await client.ask('APOP mrose 00000000000000000000000000000000')).toMatch(/^-ERR \[AUTH\]/);
    expect(await client.ask('APOP mrose c4c9334bac560ecc979e58001b3e22fb')).toMatch(/^\+OK/);
  });

  test('AUTH PLAIN works with and without an initial response, and can be given up', async () => {
    const server = await serve();
    const credentials = Buffer.from('\0taro\0secret').toString('base64');
    const first = await greeted(server);
    expect(await first.ask(`AUTH PLAIN ${credentials}`)).toMatch(/^\+OK/);
    first.close();
    const second = await greeted(server);
    expect(await second.ask('AUTH PLAIN')).toBe('+ ');
    expect(await second.ask('*')).toMatch(/^-ERR/);
    expect(await second.ask('AUTH PLAIN =')).toMatch(/^-ERR \[AUTH\]/);
    expect(await second.ask('AUTH PLAIN')).toBe('+ ');
    expect(await second.ask(credentials)).toMatch(/^\+OK/);
  });

  test('a second session of the same user is told [IN-USE] until the first is over', async () => {
    const server = await serve();
    const first = await loggedIn(server);
    const second = await greeted(server);
    expect(await second.login('taro', 'secret')).toMatch(/^-ERR \[IN-USE\]/);
    expect(await first.ask('QUIT')).toMatch(/^\+OK/);
    await first.rest();
    expect(server.mailbox('taro').locked).toBe(false);
    expect(await second.login('taro', 'secret')).toMatch(/^\+OK/);
  });

  test('a connection that is dropped gives the mailbox back', async () => {
    const server = await serve({ overrides: { NOOP: 'stall' } });
    const client = await loggedIn(server);
    client.send('NOOP\r\n');
    client.close();
    await expect.poll(() => server.mailbox('taro').locked).toBe(false);
  });
});

describe('the mailbox', () => {
  test('STAT, LIST and UIDL agree, with and without a number', async () => {
    const client = await loggedIn(await serve());
    expect(await client.ask('STAT')).toBe('+OK 3 228');
    expect(await client.askLines('LIST')).toEqual(['1 76', '2 76', '3 76']);
    expect(await client.askLines('UIDL')).toEqual(['1 uid-1', '2 uid-2', '3 uid-3']);
    expect(await client.ask('LIST 2')).toBe('+OK 2 76');
    expect(await client.ask('UIDL 3')).toBe('+OK 3 uid-3');
    expect(await client.ask('LIST 4')).toBe('-ERR no such message, there are 3');
    expect(await client.ask('UIDL x')).toMatch(/^-ERR/);
  });

  test.each(Object.entries(awkward))('RETR sends every octet: %s', async (_, data) => {
    const server = await serve({ accounts: { taro: { password: 'secret', messages: [data] } } });
    const client = await loggedIn(server);
    const size = wire(data).length;
    expect(await client.ask('LIST 1')).toBe(`+OK 1 ${size}`);
    expect(await client.ask('RETR 1')).toBe(`+OK ${size} octets`);
    expect((await client.body()).equals(wire(data))).toBe(true);
    expect(await client.ask('NOOP')).toBe('+OK');
  });

  test('TOP sends the header, the empty line and as many lines as asked for', async () => {
    const data = Buffer.from('A: b\r\nC: d\r\n\r\n1\r\n\r\n.3\r\n4\r\n');
    const client = await loggedIn(
      await serve({ accounts: { taro: { password: 'secret', messages: [data, Buffer.from('A: b\r\n')] } } }),
    );
    const header = ['A: b', 'C: d', ''];
    expect(await client.askLines('TOP 1 0')).toEqual(header);
    expect(await client.askLines('TOP 1 1')).toEqual([...header, '1']);
    expect(await client.askLines('TOP 1 3')).toEqual([...header, '1', '', '.3']);
    expect(await client.askLines('TOP 1 99')).toEqual([...header, '1', '', '.3', '4']);
    expect(await client.askLines('TOP 2 0')).toEqual(['A: b']);
    expect(await client.ask('TOP 1')).toMatch(/^-ERR/);
  });

  test('DELE hides a message at once and removes it at QUIT', async () => {
    const server = await serve();
    const client = await loggedIn(server);
    expect(await client.ask('DELE 2')).toBe('+OK message 2 marked');
    expect(await client.ask('STAT')).toBe('+OK 2 152');
    expect(await client.askLines('UIDL')).toEqual(['1 uid-1', '3 uid-3']);
    expect(await client.ask('RETR 2')).toMatch(/^-ERR/);
    expect(await client.ask('DELE 2')).toMatch(/^-ERR/);
    expect(server.mailbox('taro').uids).toEqual(['uid-1', 'uid-2', 'uid-3']);
    expect(await client.ask('QUIT')).toBe('+OK bye');
    expect((await client.rest()).length).toBe(0);
    expect(server.mailbox('taro').uids).toEqual(['uid-1', 'uid-3']);
  });

  test('RSET takes all DELEs back', async () => {
    const server = await serve();
    const client = await loggedIn(server);
    await client.ask('DELE 1');
    expect(await client.ask('RSET')).toBe('+OK 3 messages (228 octets)');
    await client.ask('QUIT');
    await client.rest();
    expect(server.mailbox('taro').messages).toHaveLength(3);
  });

  test('nothing is removed when the connection ends without QUIT', async () => {
    const server = await serve();
    const client = await loggedIn(server);
    await client.ask('DELE 1');
    client.finish();
    await client.rest();
    expect(server.mailbox('taro').messages).toHaveLength(3);
    expect(server.sessions[0]!.quit).toBe(false);
  });

  test('mail that comes later is seen by the next session only, with a unique-id of its own', async () => {
    const server = await serve();
    const client = await loggedIn(server);
    server.mailbox('taro').remove([server.mailbox('taro').messages[2]!]);
    server.mailbox('taro').add(plain(4));
    expect(await client.askLines('UIDL')).toEqual(['1 uid-1', '2 uid-2', '3 uid-3']);
    await client.ask('QUIT');
    await client.rest();
    expect(await (await loggedIn(server)).askLines('UIDL')).toEqual(['1 uid-1', '2 uid-2', '3 uid-4']);
  });

  test('a message may be made while it is sent', async () => {
    const server = await serve({ accounts: { taro: { password: 'secret', messages: [huge(5_000_001)] } } });
    const client = await loggedIn(server);
    expect(await client.ask('LIST 1')).toBe('+OK 1 5000001');
    await client.ask('RETR 1');
    expect(await client.body()).toHaveLength(5_000_001);
  });
});

describe('the conversation', () => {
  test('CAPA changes with what the server is, and may be missing', async () => {
    const client = await greeted(await serve());
    expect(await client.askLines('CAPA')).toEqual(
      ['TOP', 'UIDL', 'RESP-CODES', 'AUTH-RESP-CODE', 'PIPELINING', 'UTF8', 'USER', 'SASL PLAIN'], // prettier-ignore
    );
    const old = await greeted(await serve({ capa: false, uidl: false, pipelining: false, utf8: false }));
    expect(await old.ask('CAPA')).toMatch(/^-ERR/);
    expect(await old.ask('UTF8')).toMatch(/^-ERR/);
    await old.login('taro', 'secret');
    expect(await old.ask('UIDL')).toMatch(/^-ERR/);
    const late = await greeted(
      await serve({ capa: ({ state }) => (state === 'transaction' ? ['PIPELINING'] : ['USER']) }),
    );
    expect(await late.askLines('CAPA')).toEqual(['USER']);
    await late.login('taro', 'secret');
    expect(await late.askLines('CAPA')).toEqual(['PIPELINING']);
  });

  test('commands that arrive in one chunk are answered in order, also after the client has finished', async () => {
    const server = await serve();
    const client = await greeted(server);
    client.send('USER taro\r\nPASS secret\r\nUIDL 1\r\nDELE 1\r\nUIDL 1\r\nQUIT\r\n');
    client.finish();
    const answers = (await client.rest()).toString('latin1').split('\r\n');
    expect(answers.map((line) => line.slice(0, 14))).toEqual(
      ['+OK password r', '+OK taro has 3', '+OK 1 uid-1', '+OK message 1 ', '-ERR that mess', '+OK bye', ''], // prettier-ignore
    );
    expect(server.mailbox('taro').uids).toEqual(['uid-2', 'uid-3']);
    expect(server.sessions[0]!.pipelined).toBe(5);
  });

  test('what was said on a connection is on record', async () => {
    const server = await serve();
    const client = await loggedIn(server);
    await client.ask('RETR 1');
    await client.body();
    await client.ask('quit');
    await client.rest();
    const [log] = server.sessions;
    expect(log!.dialogue).toEqual([
      'S: +OK popfetch test server ready',
      'C: USER taro',
      'S: +OK password required for taro',
      'C: PASS secret',
      'S: +OK taro has 3 messages (228 octets)',
      'C: RETR 1',
      'S: +OK 76 octets',
      '   [94 octets]',
      'C: quit',
      'S: +OK bye',
    ]);
    expect(log!.verbs).toEqual(['USER', 'PASS', 'RETR', 'QUIT']);
    expect(log!.overheard).toBe('USER taro\r\nPASS secret\r\nRETR 1\r\nquit\r\n');
    expect([log!.quit, log!.secure, log!.pipelined]).toEqual([true, false, 0]);
  });

  test('unknown and overlong commands are refused, and the session goes on', async () => {
    const client = await greeted(await serve());
    expect(await client.ask('HELO example.com')).toBe('-ERR unknown command');
    expect(await client.ask(`USER ${'x'.repeat(248)}`)).toMatch(/^\+OK/);
    expect(await client.ask(`USER ${'x'.repeat(249)}`)).toBe('-ERR command too long');
    expect(await client.ask('')).toBe('-ERR unknown command');
    expect(await client.ask('QUIT')).toBe('+OK bye');
  });
});
