import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chain, Checksum, FromQuoting, Intake, LineFeeds, type Filter } from '../src/deliver/lines.js';
import { asctime, MboxEntry } from '../src/deliver/mboxformat.js';
import { envelopeSender } from '../src/deliver/sender.js';
import { MboxScan } from '../src/deliver/mboxscan.js';
import { awkward } from './support/messages.js';

/** What a filter makes of `text` when it is cut at these positions. */
function through(filter: Filter, text: string, cuts: readonly number[] = []): string {
  const whole = Buffer.from(text, 'latin1');
  const parts: string[] = [];
  let from = 0;
  for (const to of [...cuts, whole.length]) {
    // A copy each, because filters may work in place.
    parts.push(filter.push(Buffer.from(whole.subarray(from, to))).toString('latin1'));
    from = to;
  }
  parts.push(filter.end().toString('latin1'));
  return parts.join('');
}

/** Calls `test` with every way to cut `length` octets once or twice. */
function everyCut(length: number, test: (cuts: readonly number[]) => void): void {
  for (let first = 0; first <= length; first += 1) {
    for (let second = first; second <= length; second += 1) test([first, second]);
  }
}

/** Short texts of octets that matter, with cuts anywhere in them. */
function textAndCuts(...units: readonly string[]): fc.Arbitrary<readonly [string, readonly number[]]> {
  return fc
    .array(fc.constantFrom(...units), { maxLength: 30 })
    .map((parts) => parts.join(''))
    .chain((text) =>
      fc.tuple(
        fc.constant(text),
        fc.array(fc.nat(text.length), { maxLength: 8 }).map((cuts) => cuts.sort((a, b) => a - b)),
      ),
    );
}

/** Line by line, because ^ and $ of a regular expression see more line ends than LF. */
function quoted(text: string): string {
  return text
    .split('\n')
    .map((line) => (/^>*From /.test(line) ? `>${line}` : line))
    .join('\n');
}

const sha256 = (text: string): string => createHash('sha256').update(text, 'latin1').digest('hex');

describe('line ends', () => {
  it.each([
    ['a\r\nb\r\n', 'a\nb\n'],
    ['a\rb\nc\r', 'a\rb\nc\r'],
    ['\r\r\n\n\r\n\r', '\r\n\n\n\r'],
    ['\r\n', '\n'],
    ['', ''],
  ])('of %j become %j, wherever it is cut', (text, expected) => {
    everyCut(text.length, (cuts) => {
      expect(through(new LineFeeds(), text, cuts)).toBe(expected);
    });
  });

  it('change only where CR and LF stand together', () => {
    fc.assert(
      fc.property(textAndCuts('\r', '\n', '\r\n', 'a', '\0'), ([text, cuts]) => {
        expect(through(new LineFeeds(), text, cuts)).toBe(text.replaceAll('\r\n', '\n'));
      }),
    );
  });
});

describe('From quoting [90]', () => {
  it.each([
    ['From a', '>From a'],
    ['>>From a\nFrom b\n', '>>>From a\n>From b\n'],
    ['Fro\nFrom\nfrom \n From \nFrom: \n>>Fro', 'Fro\nFrom\nfrom \n From \nFrom: \n>>Fro'],
    ['a From b\n>a>From c\rFrom d', 'a From b\n>a>From c\rFrom d'],
    ['From From \n>From ', '>From From \n>>From '],
    ['\n\nFrom ', '\n\n>From '],
  ])('makes %j %j, wherever it is cut', (text, expected) => {
    everyCut(text.length, (cuts) => {
      expect(through(new FromQuoting(), text, cuts)).toBe(expected);
    });
  });

  it('quotes every line that begins with any number of > and From, and no other', () => {
    fc.assert(
      fc.property(textAndCuts('\n', '>', 'From ', 'F', 'ro', 'm ', '\r', 'x'), ([text, cuts]) => {
        expect(through(new FromQuoting(), text, cuts)).toBe(quoted(text));
      }),
    );
  });

  it('takes a long line of > in small pieces without looking back again and again', () => {
    const filter = new FromQuoting();
    let length = 0;
    for (let count = 0; count < 100_000; count += 1) length += filter.push(Buffer.from('>>>>')).length;
    length += filter.push(Buffer.from('From x')).length + filter.end().length;
    expect(length).toBe(400_007);
  });
});

describe('the facts of a message', () => {
  it.each([
    ['Subject: x\r\n\r\nbody\r\n', 'Subject: x\n\n'],
    ['Subject: x\n\nbody', 'Subject: x\n\n'],
    ['\r\nonly a body', '\n'],
    ['Subject: x\r\nno empty line', undefined],
    ['a\r\n\r\r\n\r\nb', 'a\n\r\n\n'],
    ['', undefined],
  ])('%j are octets received, and hashes of the form with LF, wherever it is cut', (text, header) => {
    const lf = text.replaceAll('\r\n', '\n');
    const expected = {
      octets: text.length,
      sha256: sha256(lf),
      headerSha256: sha256(header ?? lf),
    };
    everyCut(text.length, (cuts) => {
      for (const eol of ['lf', 'crlf'] as const) {
        const intake = new Intake(eol);
        expect(through(intake, text, cuts)).toBe(eol === 'lf' ? lf : text);
        expect(intake.facts()).toEqual(expected);
      }
    });
  });

  it.each(Object.entries(awkward))('%s: are the same for LF and CRLF storage', (_, message) => {
    const text = message.toString('latin1');
    const lf = text.replaceAll('\r\n', '\n');
    for (const size of [1, 7, 4096, 65_536]) {
      // Octet by octet is for the small ones.
      if (text.length / size > 100_000) continue;
      const cuts = Array.from({ length: Math.floor(text.length / size) }, (_unused, index) => index * size);
      const [kept, turned] = [new Intake('crlf'), new Intake('lf')];
      expect(through(kept, text, cuts) === text).toBe(true);
      expect(through(turned, text, cuts) === lf).toBe(true);
      expect(kept.facts()).toEqual(turned.facts());
    }
  });
});

describe('filters in a row', () => {
  it('let everything through, what each holds back included', () => {
    const sum = new Checksum();
    const filter = chain(chain(new LineFeeds(), new FromQuoting()), sum);
    expect(through(filter, 'a\r\nFrom b\r\nFro', [5, 8])).toBe('a\n>From b\nFro');
    expect(sum.value()).toBe(sha256('a\n>From b\nFro'));
  });
});

const NOVEMBER = Date.UTC(2026, 10, 3, 8, 2, 9);

describe('an mbox entry', () => {
  it.each([
    ['Return-Path: <a@b>\nX: y\n\nFrom x\n', 'From a@b', 'Return-Path: <a@b>\nX: y\n\n>From x\n\n'],
    ['From x\nno newline', 'From MAILER-DAEMON', '>From x\nno newline\n\n'],
    ['ends in CR\r', 'From MAILER-DAEMON', 'ends in CR\r\n\n'],
    ['\n', 'From MAILER-DAEMON', '\n\n'],
    ['', 'From MAILER-DAEMON', '\n'],
    ['last\nFrom', 'From MAILER-DAEMON', 'last\nFrom\n\n'],
  ])('of %j begins %j, ends its last line, and adds an empty one', (text, from, rest) => {
    everyCut(text.length, (cuts) => {
      const entry = through(new MboxEntry(NOVEMBER, 'lf'), text, cuts);
      expect(entry).toBe(`${from} Tue Nov  3 08:02:09 2026\n${rest}`);
    });
  });

  it('adds CRLF where lines are kept with CRLF', () => {
    const entry = through(new MboxEntry(NOVEMBER, 'crlf'), 'a: b\r\n\r\nFrom x');
    expect(entry).toBe('From MAILER-DAEMON Tue Nov  3 08:02:09 2026\r\na: b\r\n\r\n>From x\r\n\r\n');
  });

  it('holds back no more than it needs to find the sender', () => {
    const entry = new MboxEntry(NOVEMBER, 'lf');
    expect(entry.push(Buffer.from('Return-Path: <a@b>\n'))).toHaveLength(0);
    expect(entry.push(Buffer.alloc(65_536, 'x')).length).toBeGreaterThan(65_536);
    expect(entry.push(Buffer.alloc(10, 'y'))).toHaveLength(10);
    expect(entry.end().toString()).toBe('\n\n');
  });
});

describe('the envelope sender', () => {
  it.each([
    ['Return-Path: <taro@example.com>\n\n', 'taro@example.com'],
    ['Received: x\r\nreturn-path:\r\n\t<taro@example.com>\r\n\r\n', 'taro@example.com'],
    ['Return-Path: taro@example.com\n', 'taro@example.com'],
    ['Return-Path: <>\n\n', ''],
    ['Return-Path: <"a b"@example.com>\n\n', ''],
    ['Return-Path: <\xe4@example.com>\n\n', ''],
    ['Return-Path: <a\x1b[31m@example.com>\n\n', ''],
    [`Return-Path: <${'a'.repeat(400)}@example.com>\n\n`, ''],
    ['Subject: x\n\nReturn-Path: <body@example.com>\n', ''],
    ['\nReturn-Path: <body@example.com>\n', ''],
    ['X-Return-Path: <a@b>\n\n', ''],
    ['Subject: x\rReturn-Path: <a@b>\n\n', ''],
    ['Return-Path: <a@b>\nReturn-Path: <c@d>\n\n', 'a@b'],
  ])('of %j is %j', (head, sender) => {
    expect(envelopeSender(Buffer.from(head, 'latin1'))).toBe(sender);
  });
});

describe('the date of a From line [95]', () => {
  it('is the time of delivery in UTC', () => {
    expect(asctime(0)).toBe('Thu Jan  1 00:00:00 1970');
    expect(asctime(Date.UTC(2038, 11, 31, 23, 59, 59))).toBe('Fri Dec 31 23:59:59 2038');
  });
});

/** The hashes that a scan finds in an mbox that is cut at these positions. */
function scanned(text: string, cuts: readonly number[] = []): string[] {
  const found: string[] = [];
  const scan = new MboxScan((content) => found.push(content));
  let from = 0;
  for (const to of [...cuts, text.length]) {
    scan.push(Buffer.from(text.slice(from, to), 'latin1'));
    from = to;
  }
  scan.end();
  return found;
}

describe('a scan of an mbox', () => {
  const message = 'Subject: x\nX-Status-Of: kept\n\nStatus: in the body\n\n>From y\n';
  const content = sha256(message.trimEnd());

  it('finds the content of each message, wherever it is cut', () => {
    const mbox = `From a Tue\n${message}\nFrom b Wed\nA: b\n\n\n\nFrom c\n`;
    everyCut(mbox.length, (cuts) => {
      expect(scanned(mbox, cuts)).toEqual([content, sha256('A: b'), sha256('')]);
    });
  });

  it.each([
    ['status fields', message.replace('\n\n', '\nStatus: RO\nX-Status: A\nX-UID: 12\nContent-Length: 7\n\n')],
    ['a folded field', `X-Keywords: a\n\tb\n c\nX-IMAPbase: 1 2\n${message}`],
    ['CRLF', message.replaceAll('\n', '\r\n')],
    ['more empty lines at the end', `${message}\n\n\n`],
    ['no line end at the end', message.trimEnd()],
  ])('knows a message again that a mail reader gave %s', (_, changed) => {
    const mbox = `From a Tue\n${changed}\nFrom b\n`;
    everyCut(Math.min(mbox.length, 60), (cuts) => {
      expect(scanned(mbox, cuts)[0]).toBe(content);
    });
  });

  it.each([
    ['another field', message.replace('Subject', 'Object')],
    ['a field whose name only begins like one', message.replace('X-Status-Of', 'X-Statuses')],
    ['a change in the body', message.replace('Status: in', 'Status: out')],
    ['an empty line less in the body', message.replace('body\n\n', 'body\n')],
  ])('takes a message for another one because of %s', (_, changed) => {
    expect(scanned(`From a\n${changed}`)[0]).not.toBe(content);
  });

  it('counts a long run of empty lines within a message', () => {
    const [long] = scanned(`From a\nA: b\n${'\n'.repeat(10_000)}x`);
    expect(long).toBe(sha256(`A: b\n${'\n'.repeat(10_000)}x`));
  });
});
