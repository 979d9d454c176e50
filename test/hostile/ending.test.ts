/** The end of a session, and servers that know bare LF only. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PopfetchError } from '../../src/errors.js';
import { Pop3Client } from '../../src/pop3/client.js';
import type { Connection } from '../../src/wire/connection.js';
import { DEADLINES } from '../../src/wire/limits.js';
import { Box, mail, subject } from '../support/inprocess.js';
import { maildirMessages } from '../support/stored.js';
import type { Session } from '../support/session.js';

let box: Box;
beforeEach(async () => {
  box = await Box.create();
});
afterEach(() => box.remove());

const TWO = [1, 2].map((n) => ({ uid: `u${n}`, data: mail(n) }));

describe('a destination that is slower than the server has patience', () => {
  it('has the whole message before it begins, and nothing is fetched twice [75]', async () => {
    const flag = join(box.home, 'go');
    const wait = `while ! test -e '${flag}'; do sleep 0.02; done`;
    const deliver = [{ command: ['sh', '-c', `${wait}; cat >> '${join(box.home, 'out')}'`] }];
    const server = await box.serve(TWO.slice(0, 1), {
      // The server has sent all of it, and hangs up while the command has not begun to read.
      onEvent: async ({ kind, verb, connection }) => {
        if (kind !== 'replied' || verb !== 'RETR' || connection > 1) return undefined;
        await writeFile(flag, '');
        return 'close';
      },
    });
    const env = { PATH: process.env['PATH'] };
    const { outcome } = await box.run(server, { deliver, delete: 'delivered' }, { env });
    expect(outcome).toMatchObject({ delivered: 1, removed: 0, errors: [{ code: 'LOST' }] });
    const again = await box.run(server, { deliver, delete: 'delivered' }, { env });
    expect(again.outcome).toMatchObject({ delivered: 0, removed: 1, errors: [] });
    expect(again.asked).toEqual([['DELE 1']]);
  });
});

describe('QUIT', () => {
  /** A connection on which QUIT comes to this. */
  function ending(answer: () => Promise<string>): { connection: Connection; talk: unknown[] } {
    const talk: unknown[] = [];
    const nobody = (): never => {
      throw new Error('not in this test');
    };
    const connection: Connection = {
      loopback: true,
      channel: { protocol: undefined, chain: [] },
      pending: 0,
      send: (line) => talk.push(line),
      readLine: (_limit, clock) => {
        talk.push(clock);
        return answer();
      },
      body: nobody,
      startTls: nobody,
      hide: nobody,
      show: nobody,
      masked: (text) => text,
      close: () => talk.push('close'),
    };
    return { connection, talk };
  }

  it('ends with the answer, whether the server closes or not [77]', async () => {
    const { connection, talk } = ending(() => Promise.resolve('+OK bye'));
    await new Pop3Client(connection).quit();
    expect(talk).toEqual(['QUIT', 'quit', 'close']);
  });

  it.each(['TIMEOUT', 'LOST', 'PROTOCOL'] as const)(
    'ends after half a minute at the latest, and %s is no yes [72] [77]',
    async (code) => {
      const { connection, talk } = ending(() => Promise.reject(new PopfetchError(code, 'no answer')));
      await expect(new Pop3Client(connection).quit()).rejects.toMatchObject({ code, phase: 'quit' });
      expect(talk).toEqual(['QUIT', 'quit', 'close']);
      expect(DEADLINES.quit).toBe(30_000);
    },
  );
});

describe('a server that ends its lines with a bare LF', () => {
  /** The answer of the server with LF for CRLF. */
  const lf = async (session: Session): Promise<Buffer> => {
    const reply = await session.standard();
    if (typeof reply === 'string') return Buffer.from(`${reply}\n`, 'latin1');
    if (Buffer.isBuffer(reply)) return reply;
    const pieces: Buffer[] = [];
    for await (const piece of reply.body) pieces.push(piece);
    const body = Buffer.concat(pieces).toString('latin1').replaceAll('\r\n', '\n');
    const stuffed = body.replace(/(^|\n)\./g, '$1..');
    return Buffer.from(
      `${reply.status}\n${stuffed}${body === '' || body.endsWith('\n') ? '' : '\n'}.\n`,
      'latin1',
    );
  };
  const VERBS = ['CAPA', 'AUTH', 'UTF8', 'STAT', 'LIST', 'UIDL', 'RETR', 'DELE', 'QUIT'];
  const overrides = Object.fromEntries(VERBS.map((verb) => [verb, lf]));
  const dots = Buffer.from('Subject: 003\r\n\r\n.\r\n..\r\n.x\r\nlast');

  it.each([1, 65_536].flatMap((cut) => [true, false].map((pipelining) => [cut, pipelining] as const)))(
    'is understood, and its messages are stored as they are (cut %i, pipelining: %s) [42]',
    async (cut, pipelining) => {
      const server = await box.serve([...TWO, { uid: 'u3', data: dots }], {
        ...{ cut, pipelining, overrides },
        greeting: Buffer.from('+OK hello\n'),
      });
      const { outcome } = await box.fetch(server, { delete: 'delivered' });
      expect(outcome).toMatchObject({ delivered: 3, removed: 3 });
      const stored = (await maildirMessages(box.maildir)).map(({ data }) => data.toString());
      const lfOf = (data: Buffer): string => data.toString().replaceAll('\r\n', '\n');
      expect(stored.sort()).toEqual([lfOf(mail(1)), lfOf(mail(2)), `${lfOf(dots)}\n`].sort());
    },
  );

  it('has what it sent stored also where CRLF is to be kept [42] [44]', async () => {
    const server = await box.serve(TWO.slice(0, 1), { overrides, greeting: Buffer.from('+OK hello\n') });
    await box.fetch(server, { eol: 'crlf' });
    const [message] = await maildirMessages(box.maildir);
    expect(message!.data.toString()).toBe(mail(1).toString().replaceAll('\r\n', '\n'));
  });

  it('but in its status line ends no message by LF dot LF [43]', async () => {
    const smuggled = Buffer.from('Subject: 001\r\n\r\na\n.\n+OK\r\nb\n.\r\nc\r\n');
    const server = await box.serve([{ data: smuggled }, TWO[1]!], {
      overrides: {
        RETR: async (session) => {
          const pieces: Buffer[] = [Buffer.from('+OK\n')];
          const number = Number(session.args[0]);
          for await (const piece of session.messages[number - 1]!.content()) pieces.push(piece);
          return Buffer.concat([...pieces, Buffer.from('.\r\n')]);
        },
      },
    });
    await box.fetch(server);
    expect(await box.subjects()).toEqual([1, 2].map(subject));
    const stored = (await maildirMessages(box.maildir)).map(({ data }) => data.toString());
    expect(stored).toContain(smuggled.toString().replaceAll('\r\n', '\n'));
  });
});
