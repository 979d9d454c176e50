/** Servers that announce PIPELINING and cannot do it. */
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { DEFAULTS } from '../../src/config/account.js';
import { nodeDisk } from '../../src/disk.js';
import { Pop3Client } from '../../src/pop3/client.js';
import { readMemory } from '../../src/seen/seen.js';
import type { Connection } from '../../src/wire/connection.js';
import { eachInBox, type Box, mail, subject, type Ran } from '../support/inprocess.js';
import type { TestServer } from '../support/server.js';
import type { Override, Session } from '../support/session.js';

const DAY = 24 * 3600 * 1000;
const FOUR = [1, 2, 3, 4].map((n) => ({ uid: `u${n}`, data: mail(n) }));

let box: Box;
eachInBox((fresh) => {
  box = fresh;
});

const codes = ({ outcome }: Ran): string[] => outcome.errors.map(({ code }) => code);

const impatient = { timeout: { ...DEFAULTS.timeout, reply: 500 }, delete: 'delivered' as const };

/** Answers this command and loses those behind it. */
const first: Override = (session) => {
  session.overlook();
  return undefined;
};

/** Ends a multi-line answer with two lines of a dot, where a server is asked for several at once. */
const dotTwice: Override = async (session) => {
  const reply = session.ahead ? await session.standard() : undefined;
  if (typeof reply !== 'object' || Buffer.isBuffer(reply)) return undefined;
  const pieces: Buffer[] = [Buffer.from(`${reply.status}\r\n`)];
  for await (const piece of reply.body) pieces.push(piece);
  return Buffer.concat([...pieces, Buffer.from('.\r\n.\r\n')]);
};

const ahead = (server: TestServer): number[] => server.sessions.map(({ pipelined }) => pipelined);

describe('a server that announces PIPELINING', () => {
  it.each([
    ['answers only the first command of the listing', { STAT: first }, ['TIMEOUT']],
    ['answers only the first RETR', { RETR: first }, ['TIMEOUT', 'REFUSED']],
    ['answers only the first DELE', { DELE: first }, ['TIMEOUT']],
    ['hangs up on the listing', { STAT: hangUp }, ['LOST']],
    ['resets the connection at the listing', { STAT: hangUp }, ['LOST']],
    ['ends its listing twice', { LIST: dotTwice }, ['PROTOCOL']],
    ['ends its messages twice', { RETR: dotTwice }, ['PROTOCOL', 'REFUSED']],
    ['puts a line of its own between two answers', { UIDL: stray }, ['PROTOCOL']],
  ] as const)(
    'and %s is sent one command at a time by the next run [49] [50]',
    async (_, overrides, errors) => {
      const server = await box.serve(FOUR, { overrides });
      const failed = await box.run(server, impatient);
      expect(codes(failed).slice(0, errors.length)).toEqual(errors);
      const before = server.sessions.length;
      await box.fetch(server, impatient);
      expect(
        ahead(server)
          .slice(before)
          .every((count) => count === 0),
      ).toBe(true);
      expect(await box.subjects()).toEqual([1, 2, 3, 4].map(subject));
      expect(server.mailbox('taro').uids).toEqual([]);
    },
  );

  it('is trusted again after a month, and not before [50]', async () => {
    const server = await box.serve(FOUR, { overrides: { STAT: first } });
    await box.run(server, impatient);
    delete server.overrides['STAT'];
    const pipelinedAfter = async (days: number): Promise<boolean> => {
      vi.setSystemTime(Date.UTC(2026, 10, 3) + days * DAY);
      await box.fetch(server);
      return ahead(server).at(-1)! > 0;
    };
    expect(await pipelinedAfter(0)).toBe(false);
    expect(await pipelinedAfter(29)).toBe(false);
    expect(await pipelinedAfter(30)).toBe(true);
  });

  it('is remembered in a record that survives the rewriting of the journal, as long as it counts [50]', async () => {
    const server = await box.serve(FOUR, { overrides: { STAT: first } });
    await box.run(server, impatient);
    const address = { host: server.host, port: server.port, user: 'taro' };
    const book = await readMemory(join(box.home, 'state'), address, nodeDisk);
    const kept = (days: number): boolean =>
      [...book!.records(Date.now() + days * DAY)].some(({ verb }) => verb === 'OUT_OF_STEP');
    expect([0, 29, 30].map(kept)).toEqual([true, true, false]);
  });

  it('and does it is not doubted when a connection is lost among messages [50]', async () => {
    const server = await box.serve(FOUR, { faults: [{ at: 'reply', verb: 'RETR', nth: 3, action: 'drop' }] });
    await box.run(server);
    await box.fetch(server);
    expect(ahead(server)[1]).toBeGreaterThan(0);
  });

  it('is not doubted because the session took too long as a whole [50]', async () => {
    const server = await box.serve(FOUR, { overrides: { LIST: 'stall' } });
    const timeout = { ...DEFAULTS.timeout, session: 300 };
    expect(codes(await box.run(server, { timeout }))).toEqual(['TIMEOUT']);
    delete server.overrides['LIST'];
    await box.fetch(server);
    expect(ahead(server)[1]).toBeGreaterThan(0);
  });

  it('is told QUIT only when every DELE has been answered [50]', async () => {
    const talk: string[] = [];
    const answers = ['+OK', '+OK', '-ERR', '+OK bye'];
    const client = new Pop3Client(scripted(talk, answers));
    await client.remove([1, 2, 3]);
    await client.quit();
    expect(talk).toEqual([
      ...['C DELE 1', 'S +OK', 'C DELE 2', 'S +OK', 'C DELE 3', 'S -ERR', 'C QUIT', 'S +OK bye', 'close'],
    ]);
  });
});

/** Ends the connection where more than one command has come. */
function hangUp(session: Session): 'drop' | undefined {
  return session.ahead ? 'drop' : undefined;
}

/** A line between two answers, where a server is asked for two at once. */
function stray(session: Session): Buffer | undefined {
  return session.log.pipelined > 0 ? Buffer.from('hello\r\n') : undefined;
}

function scripted(talk: string[], answers: string[]): Connection {
  const nobody = (): never => {
    throw new Error('not in this test');
  };
  return {
    loopback: true,
    channel: { protocol: undefined, chain: [] },
    pending: 0,
    send: (lines) => talk.push(...[lines].flat().map((line) => `C ${line}`)),
    readLine: () => {
      const line = answers.shift() ?? '';
      talk.push(`S ${line}`);
      return Promise.resolve(line);
    },
    body: nobody,
    startTls: nobody,
    hide: nobody,
    show: nobody,
    masked: (text) => text,
    close: () => {
      talk.push('close');
    },
  };
}
