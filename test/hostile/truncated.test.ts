/** A message that ends early, or has nothing in it: the part must never pass for the whole. */
import { describe, expect, it } from 'vitest';
import { maildirLeftovers, maildirMessages } from '../support/stored.js';
import { eachInBox, type Box, mail, subject } from '../support/inprocess.js';
import type { TestServer } from '../support/server.js';
import type { Session } from '../support/session.js';

let box: Box;
eachInBox((fresh) => {
  box = fresh;
});

/** Message 2, in the middle of which is a line with a dot; `after` follows that line. */
const dotted = (after: string): Buffer => Buffer.concat([mail(2), Buffer.from(`.\r\n${after}`)]);

const boxOf = (...messages: readonly Buffer[]): { uid: string; data: Buffer }[] =>
  messages.map((data, index) => ({ uid: `u${index + 1}`, data }));

async function contentOf(session: Session, number: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of session.messages[Number(number) - 1]!.content()) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** RETR sends messages as they are, with their dots. */
async function unstuffed(session: Session, [number = '']: readonly string[]): Promise<Buffer> {
  return Buffer.concat([Buffer.from('+OK\r\n'), await contentOf(session, number), Buffer.from('.\r\n')]);
}

/** What the server was asked after the login, in all of its sessions. */
const noops = ({ sessions }: TestServer): number =>
  sessions.flatMap(({ verbs }) => verbs).filter((verb) => verb === 'NOOP').length;

/** What comes behind the dot that should have been stuffed. */
const STRAYS = ['more\r\n', 'more\r\nand more\r\n', '\r\n', '+ok\r\n', '..\r\n', '\xff\r\n', '* BYE\r\n', ''];
const MANNERS = [
  { pipelining: true, cut: 65_536 },
  { pipelining: false, cut: 65_536 },
  { pipelining: true, cut: 7 },
  { pipelining: false, cut: 7 },
];
const LAYOUTS = { 'the only one': [2], 'the first': [2, 3], 'in the middle': [1, 2, 3], 'the last': [1, 2] };

describe('a server that forgets dot-stuffing', () => {
  const cases = Object.entries(LAYOUTS).flatMap(([where, numbers]) =>
    MANNERS.flatMap((manner) =>
      (manner.cut === 7 ? STRAYS.slice(0, 2) : STRAYS).map(
        (stray) => ({ where, numbers, stray, ...manner }) as const,
      ),
    ),
  );

  it.each(cases)(
    'delivers nothing of $where, %# (pipelining $pipelining, cut $cut, $stray) [48] [51]',
    async ({ numbers, stray, pipelining, cut }) => {
      const messages = numbers.map((n) => (n === 2 ? dotted(stray) : mail(n)));
      const server = await box.serve(boxOf(...messages), {
        pipelining,
        cut,
        overrides: { RETR: unstuffed },
      });
      const { outcome } = await box.run(server, { delete: 'delivered' });
      expect(outcome.errors.map(({ code }) => code)).toEqual(['PROTOCOL', 'REFUSED']);
      expect(await box.subjects()).toEqual(numbers.includes(1) ? [subject(1)] : []);
      expect(await maildirLeftovers(box.maildir)).toEqual([]);
      expect(server.mailbox('taro').uids).toContain(`u${numbers.indexOf(2) + 1}`);
    },
  );

  it('has its other messages delivered, and that one told of on the third run and never removed [48] [68]', async () => {
    const server = await box.serve(boxOf(mail(1), dotted('more\r\n'), mail(3)), {
      overrides: { RETR: unstuffed },
    });
    const told: number[] = [];
    for (let run = 0; run < 4; run += 1) {
      const { events } = await box.run(server, { delete: 'delivered' });
      told.push(events.filter(({ type }) => type === 'failed').length);
    }
    expect(told).toEqual([1, 0, 1, 0]);
    expect(await box.subjects()).toEqual([1, 3].map(subject));
    expect(server.mailbox('taro').uids).toEqual(['u2']);
  });
});

describe('a server whose LIST is wrong', () => {
  const SIZES = ['1', '9999', '-1', '', 'x', '1 octets', '0', '18446744073709551616'];

  it.each(SIZES.flatMap((size) => [true, false].map((pipelining) => [size, pipelining] as const)))(
    '(%j, pipelining: %s) has every message delivered as it is [64]',
    async (size, pipelining) => {
      const rows = [1, 2, 3].map((n) => `${n} ${size}\r\n`).join('');
      const server = await box.serve(boxOf(mail(1), mail(2), mail(3)), {
        pipelining,
        overrides: { LIST: `+OK\r\n${rows}.\r\n` },
      });
      await box.fetch(server);
      const stored = (await maildirMessages(box.maildir)).map(({ data }) => data.toString()).sort();
      expect(stored).toEqual([1, 2, 3].map((n) => mail(n).toString().replaceAll('\r\n', '\n')));
      // One command at the end of the row, and no more.
      expect(noops(server)).toBe(1);
    },
  );

  it.each([true, false])(
    'is asked nothing more where LIST is right (pipelining: %s) [48] [64]',
    async (pipelining) => {
      const server = await box.serve(boxOf(mail(1), mail(2), mail(3)), { pipelining });
      await box.fetch(server);
      expect(noops(server)).toBe(0);
    },
  );

  it('has its message taken where it refuses NOOP, which is an answer too [48]', async () => {
    const overrides = { LIST: '+OK\r\n1 5\r\n.\r\n', NOOP: '-ERR unknown command' };
    await box.fetch(await box.serve(boxOf(mail(1)), { overrides }));
    expect(await box.subjects()).toEqual([subject(1)]);
  });

  it.each(['close', 'drop', 'reset'] as const)(
    'and that says %s in place of the next answer has its message fetched again [41] [48]',
    async (end) => {
      const overrides = { LIST: '+OK\r\n1 5\r\n.\r\n', NOOP: end };
      const server = await box.serve(boxOf(mail(1)), { overrides });
      expect((await box.run(server)).outcome).toMatchObject({ delivered: 0 });
      delete server.overrides['NOOP'];
      await box.fetch(server);
      expect(await box.subjects()).toEqual([subject(1)]);
    },
  );
});

describe('RETR without content', () => {
  const empty =
    (content: string) =>
    (session: Session, [number = '']: readonly string[]) =>
      session.messages[Number(number) - 1]?.uid === 'u2' ? Buffer.from(`+OK\r\n${content}.\r\n`) : undefined;

  it.each(['', '\r\n'])(
    '(%j) is no message: it is tried again, alone, and never removed [67]',
    async (content) => {
      const server = await box.serve(boxOf(mail(1), mail(2), mail(3)), {
        overrides: { RETR: empty(content) },
      });
      const runs = [];
      for (let run = 0; run < 4; run += 1) runs.push(await box.run(server, { delete: 'delivered' }));
      expect(runs.map(({ events }) => events.filter(({ type }) => type === 'failed').length)).toEqual([
        0, 0, 1, 0,
      ]);
      expect(runs[2]!.outcome.errors).toMatchObject([
        { code: 'REFUSED', message: 'the server gives message 1 without any content', phase: 'retrieve' },
      ]);
      expect(runs[0]!.events).toContainEqual(
        expect.objectContaining({ type: 'skipped', uid: 'u2', reason: 'refused' }),
      );
      expect(runs[1]!.asked.flat()).toContain('RETR 1');
      expect(await box.subjects()).toEqual([1, 3].map(subject));
      expect(server.mailbox('taro').uids).toEqual(['u2']);
      expect(await maildirLeftovers(box.maildir)).toEqual([]);
    },
  );

  it('leaves the session without QUIT, which a server may take for a wish to delete [67] [73]', async () => {
    const server = await box.serve(boxOf(mail(1), mail(2)), { overrides: { RETR: empty('') } });
    await box.run(server);
    expect(server.sessions.map(({ quit }) => quit)).toEqual([false]);
  });

  it.each([
    ['0', ''],
    ['2', ''],
    ['2', '\r\n'],
    ['1', ''],
    ['0 octets', ''],
  ])('is an empty message where LIST says %j octets (%j) [67]', async (size, content) => {
    const overrides = { LIST: `+OK\r\n1 ${size}\r\n.\r\n`, RETR: Buffer.from(`+OK\r\n${content}.\r\n`) };
    const { outcome } = await box.fetch(await box.serve(boxOf(mail(1)), { overrides }));
    expect(outcome.delivered).toBe(1);
  });

  it.each(['+OK\r\n.\r\n', '+OK\r\n1 -1\r\n.\r\n', '+OK\r\n1\r\n.\r\n'])(
    'is no message where LIST says nothing (%j) [67]',
    async (LIST) => {
      const overrides = { LIST, RETR: Buffer.from('+OK\r\n.\r\n') };
      const { outcome } = await box.run(await box.serve(boxOf(mail(1)), { overrides }));
      expect(outcome).toMatchObject({ delivered: 0, errors: [{ code: 'REFUSED' }] });
    },
  );
});
