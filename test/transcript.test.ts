import { afterEach, expect, test } from 'vitest';
import { HOGEHOGE_BODY } from './support/messages.js';
import { RawClient } from './support/raw-client.js';
import { parseTranscript, readTranscript, replay } from './support/transcript.js';
import type { Replay, ReplayOptions, Step } from './support/transcript.js';

const open: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function meet(steps: readonly Step[], options?: ReplayOptions): Promise<[RawClient, Replay]> {
  const server = await replay(steps, options);
  const client = await RawClient.connect(server);
  open.push(
    () => server.close(),
    () => {
      client.close();
    },
  );
  return [client, server];
}

/** The octets that one side says. */
function said(steps: readonly Step[], who: 'client' | 'server'): Buffer {
  return Buffer.concat(steps.map((step) => (step.who === who ? step.octets : Buffer.alloc(0))));
}

test.each(['user-pass', 'apop'])('%s: a client that says its part hears the rest', async (name) => {
  const steps = await readTranscript(name);
  for (const cut of [1, 65_536]) {
    const [client, server] = await meet(steps, { cut });
    client.send(said(steps, 'client'));
    expect((await client.rest()).equals(said(steps, 'server'))).toBe(true);
    await server.finished;
  }
});

test.each(['user-pass', 'apop'])('%s: message 1 has the octets that the server says', async (name) => {
  const text = said(await readTranscript(name), 'server').toString('latin1');
  const message = /\+OK 1000 octets\r\n(.*?)\r\n\.\r\n/s.exec(text)![1]!;
  expect(message.length + 2).toBe(1000);
  expect(Buffer.from(message, 'latin1').toString('utf8')).toMatch(
    new RegExp(`^${escaped(HOGEHOGE_BODY)}$`, 'm'),
  );
});

test('a client that says something else is told off, with the line', async () => {
  const steps = parseTranscript('# x\n\nS: +OK\nC: STAT\nS: +OK 0 0\n');
  const [client, server] = await meet(steps);
  expect(await client.line()).toBe('+OK');
  client.send('STAT \r\n');
  expect((await client.rest()).length).toBe(0);
  await expect(server.finished).rejects.toThrow('line 4: expected "STAT\\r\\n", got "STAT \\r\\n"');
});

test('a client that leaves early is told off too', async () => {
  const [client, server] = await meet(parseTranscript('S: +OK\nC: QUIT\nS: +OK\nS! close\n'));
  client.send('QU');
  client.finish();
  await client.rest();
  await expect(server.finished).rejects.toThrow('line 2: expected "QUIT\\r\\n", got "QU"');
});

test('octets that are no text are written as escapes, and a line may stay open', async () => {
  const [client, server] = await meet(
    parseTranscript('S+ +OK \\xe3\\x83\\\\\nS+ é\\r\\n\nC: a\\x00b\nC! close\n'),
  );
  expect(await client.line()).toBe(`+OK \xe3\x83\\${Buffer.from('é').toString('latin1')}`);
  client.send('a\0b\r\n');
  client.finish();
  await server.finished;
});

test('C! close allows nothing more', async () => {
  const [client, server] = await meet(parseTranscript('S: +OK\nC! close\n'));
  client.send('QUIT\r\n');
  await expect(server.finished).rejects.toThrow('line 2: expected the end, got more: "Q"');
});

test('commands that a client may ask anywhere are answered aside', async () => {
  const steps = parseTranscript('S: +OK\nC: CAT\nS: +OK meow\nC: QUIT\nS: +OK\nS! close\n');
  const [client, server] = await meet(steps, { aside: { CAPA: '-ERR what?\r\n', NOOP: '+OK\r\n' } });
  client.send('CAPA\r\nCAT\r\nNOOP\r\nQUIT\r\n');
  expect((await client.rest()).toString()).toBe('+OK\r\n-ERR what?\r\n+OK meow\r\n+OK\r\n+OK\r\n');
  await server.finished;
});

test('a transcript with a line of no kind is refused', () => {
  expect(() => parseTranscript('S: +OK\nX: ?\n')).toThrow(
    'line 2 of the transcript is neither S nor C: X: ?',
  );
  expect(() => parseTranscript('S! explode\n')).toThrow('no such end: explode');
});

function escaped(text: string): string {
  return text.replace(/[^\p{L}\p{N}]/gu, '\\$&');
}
