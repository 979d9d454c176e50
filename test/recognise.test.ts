import { describe, expect, it } from 'vitest';
import { asSeen, recognise, type Sources, type Stored } from '../src/account/recognise.js';
import { NOWHERE, plan } from '../src/account/plan.js';
import type { Listed, Retrieved } from '../src/pop3/mailbox.js';
import { accountOf, entryOf, FakeSeen, intentOf, listingOf } from './support/fakes.js';

const HEADER = 'Subject: x\n\n';
/** SHA-256 of it. */
const HASH = '7e2a6e1c';

/** A server that answers TOP with these headers, by number; undefined refuses. */
function mailbox(headers: Readonly<Record<number, string | undefined>> = {}): Sources['mailbox'] & {
  readonly asked: number[];
} {
  const asked: number[] = [];
  return {
    asked,
    async *top(numbers): AsyncGenerator<Retrieved> {
      for (const number of numbers) {
        asked.push(number);
        const header = headers[number];
        await Promise.resolve();
        if (header === undefined) yield { number, refused: 'no TOP' };
        else yield { number, body: pieces(header) };
      }
    },
  };
}

async function* pieces(text: string): AsyncGenerator<Buffer> {
  yield await Promise.resolve(Buffer.from(text.replaceAll('\n', '\r\n')));
}

const storedMail = (changes: Partial<Stored> = {}): Stored => ({
  octets: 100,
  sha256: 'sha',
  headerSha256: HASH,
  destination: 'maildir:/m',
  time: 5,
  ...changes,
});

function sources(files: Readonly<Record<string, Stored>>, from = mailbox()): Sources {
  const find = (key: string): Promise<Stored | undefined> => Promise.resolve(files[key]);
  return { mailbox: from, key: (uid) => `key-${uid}`, find, now: 1000 };
}

const listed = (uid: string, size = 100, number = 1): Listed => ({ uid, size, number });

describe('a message is recognised', () => {
  it('by the key of its file, and is remembered with what the file says and the size that LIST says', async () => {
    const from = mailbox();
    const [entry] = await recognise(
      [listed('a')],
      new FakeSeen([]),
      sources({ 'key-a': storedMail() }, from),
    );
    expect(entry).toEqual(entryOf('a', { headerSha256: HASH, destination: 'maildir:/m', doneAt: 5 }));
    expect(from.asked).toEqual([]);
  });

  it('not when the memory knows it or is about to', async () => {
    const memory = new FakeSeen([], { entries: [entryOf('a')], intents: [intentOf('b')] });
    const files = { 'key-a': storedMail(), 'key-b': storedMail(), 'key-c': storedMail() };
    const entries = await recognise([listed('a'), listed('b'), listed('c')], memory, sources(files));
    expect(entries.map(({ uid }) => uid)).toEqual(['c']);
  });

  it('by its header where the sizes differ, and not where that differs too', async () => {
    const real = await asSeen([listed('x')], { mailbox: mailbox({ 1: HEADER }), key: String, now: 0 });
    const headerSha256 = real[0]!.headerSha256;
    const from = mailbox({ 1: HEADER, 2: 'Subject: y\n\n' });
    const files = { 'key-a': storedMail({ headerSha256 }), 'key-b': storedMail({ headerSha256 }) };
    const messages = [listed('a', 99, 1), listed('b', 99, 2)];
    const entries = await recognise(messages, new FakeSeen([]), sources(files, from));
    expect(entries).toMatchObject([{ uid: 'a', size: 99, octets: 100, destination: 'maildir:/m' }]);
  });

  it('but never removed where the sizes differ and the server refuses TOP', async () => {
    const [entry] = await recognise([listed('a', 99)], new FakeSeen([]), sources({ 'key-a': storedMail() }));
    expect(entry?.destination).toBe(NOWHERE);
  });

  it('no later than now, whatever the clock of the file system says', async () => {
    const files = { 'key-a': storedMail({ time: 2000 }) };
    expect(await recognise([listed('a')], new FakeSeen([]), sources(files))).toMatchObject([
      { doneAt: 1000 },
    ]);
  });
});

it('what was delivered nowhere is kept on the server under every policy', () => {
  const memory = new FakeSeen([], { entries: [entryOf('a', { destination: NOWHERE })] });
  for (const policy of ['never', 'delivered', 0] as const) {
    expect(plan(listingOf(['a']), memory, accountOf({ delete: policy }), 1e15)).toMatchObject([
      { action: 'keep', removeAt: undefined },
    ]);
  }
});
