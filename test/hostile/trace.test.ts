/** What `--trace` writes is enough to have the same conversation again, without the person who wrote it. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PASSWORD, reach, World } from '../support/e2e.js';
import { plain } from '../support/messages.js';
import type { ServerOptions, TestServer } from '../support/server.js';
import { parseTrace, replayTrace, type TraceLine } from '../support/trace.js';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

const STORED = fileURLToPath(new URL('../transcripts/reported.trace', import.meta.url));

/** A run with --trace against this server. */
async function traced(
  server: Pick<TestServer, 'port'>,
  fields: object,
): Promise<{ code: number | null; text: string }> {
  const at = { host: '127.0.0.1', port: server.port, ca: '' } as TestServer;
  await world.configure({ work: reach(at, fields) });
  const { code } = await world.popfetch('--trace', 'talk.log');
  return { code, text: await readFile(join(world.sandbox.work, 'talk.log'), 'utf8') };
}

/** What was said, without the remarks, which name ports. */
function said(text: string): TraceLine[][] {
  return parseTrace(text).map((lines) => lines.filter(({ direction }) => direction !== '*'));
}

const CASES: Readonly<Record<string, Omit<Partial<ServerOptions>, 'accounts'>>> = {
  'a server as it should be': {},
  'a server that takes several commands at once': { pipelining: true },
  'a server that says no': { overrides: { RETR: '-ERR [SYS/TEMP] \x1b[2J\x9b not now' } },
  'a server that says something else': { overrides: { STAT: 'HTTP/1.1 400 Bad Request' } },
  'a server that hangs up': { faults: [{ at: 'command', verb: 'LIST', action: 'close' }] },
  'a server that lists what cannot be': { overrides: { UIDL: '+OK\r\n1 a\r\n7 b\r\n2 a\r\n.\r\n' } },
};

describe('a trace, played again', () => {
  test.each(Object.entries(CASES))('%s is met as it was', async (_, options) => {
    const server = await world.serve({ taro: [plain(1), plain(2)] }, options);
    const first = await traced(server, { delete: 'delivered', deliver: { maildir: '~/first' } });
    // The second run has to know as little as the first.
    await rm(world.sandbox.state, { recursive: true });
    const again = await replayTrace(parseTrace(first.text));
    world.atEnd(() => void again.close());
    const second = await traced(again, { delete: 'delivered', deliver: { maildir: '~/second' } });
    await again.finished;
    expect(second.code).toBe(first.code);
    expect(said(second.text)).toEqual(said(first.text));
    expect(await world.maildir('second')).toHaveLength((await world.maildir('first')).length);
    expect(first.text).not.toContain(PASSWORD);
  });

  test('that somebody sent in shows what went wrong: a listing that gives one number twice', async () => {
    const again = await replayTrace(parseTrace(await readFile(STORED, 'utf8')));
    world.atEnd(() => void again.close());
    const { code, text } = await traced(again, { auth: 'user' });
    await again.finished;
    expect(code).toBe(76);
    expect(said(text)).toEqual(said(await readFile(STORED, 'utf8')));
    expect((await world.popfetch('status')).stdout).toContain('PROTOCOL');
  });

  test('tells a client that says something else', async () => {
    const again = await replayTrace(parseTrace(await readFile(STORED, 'utf8')));
    world.atEnd(() => void again.close());
    expect((await traced(again, { auth: 'plain' })).code).toBe(75);
    await expect(again.finished).rejects.toThrow('expected "USER taro", got "AUTH PLAIN');
  });

  test('is refused where it is none', () => {
    expect(() => parseTrace('S: +OK\n')).toThrow('line 1 is not of a trace');
  });
});
