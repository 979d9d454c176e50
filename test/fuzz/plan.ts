/** What one case of the session fuzzer is made of: plain data, so that it can be written down and made smaller. */
import { chance, type Chance } from '../support/chance.js';

/** A message of the server, as latin1 with CRLF, and the unique-id it has for ever. */
export interface Mail {
  readonly uid: string;
  readonly text: string;
  /** Arrives after this many runs. */
  readonly since: number;
}

/** What a server can do to one answer without saying anything untrue about mail. */
export const HONEST = [
  'refuse',
  'refuse though done',
  'refuse for now',
  'in use',
  'echo',
  'nonsense',
  'silence',
  'silence though done',
  'close',
  'reset',
  'close though done',
  'cut',
  'cut and stall',
  'late',
  'too late',
  'dribble',
  'endless line',
  'lone line feed',
] as const;

/** What a server can do that gives wrong mail, wrong lists, or answers out of step. */
export const LYING = [
  'stray line',
  'stray answer',
  'late stray answer',
  'doubled',
  'doubled late',
  'swapped',
  'other message',
  'no dots',
  'endless body',
  'empty body',
  'lists wrong',
  'counts wrong',
  'truncated',
  'two greetings',
  'binary',
] as const;

export type Kind = (typeof HONEST)[number] | (typeof LYING)[number];

/** Something that goes wrong with the `step`-th answer of a connection; the greeting is number 0. */
export interface Mischief {
  readonly connection: number;
  readonly step: number;
  readonly kind: Kind;
  /** A number that says how: where it is cut, how late it is. */
  readonly how: number;
}

/** One case: a mailbox, a server, an account, and what goes wrong in the first runs. */
export interface Plan {
  readonly mails: readonly Mail[];
  readonly honest: boolean;
  readonly capa: boolean;
  readonly pipelining: boolean;
  readonly uidl: boolean;
  readonly plain: boolean;
  /** Answers to commands that came together go out together. */
  readonly joined: boolean;
  /** Lengths of the pieces in which answers go out; the last one is repeated. */
  readonly pieces: readonly number[];
  readonly delete: 'never' | 'delivered';
  readonly identity: 'uidl' | 'hash';
  readonly limit: number;
  readonly mischief: readonly Mischief[];
}

/** Runs in which something may go wrong, before those in which nothing does. */
export const WILD_RUNS = 2;

/** The plan of a seed. */
export function planOf(seed: number): Plan {
  const by = chance(seed);
  const honest = by.happens(0.6);
  const uidl = by.happens(0.9);
  const deletes = !uidl || by.happens(0.6);
  const identity = by.happens(0.1) ? 'hash' : 'uidl';
  return {
    mails: mailsOf(by),
    honest,
    capa: by.happens(0.8),
    pipelining: by.happens(0.5),
    uidl,
    plain: by.happens(0.5),
    joined: by.happens(0.5),
    pieces: by.happens(0.4) ? [] : Array.from({ length: by.between(1, 4) }, () => by.between(1, 40)),
    delete: deletes ? 'delivered' : 'never',
    identity,
    // Where content decides and nothing leaves the server, a limit reads the same messages again for ever.
    limit: by.happens(0.1) && (identity === 'uidl' || deletes) ? 2 : 0,
    mischief: mischiefOf(by, honest),
  };
}

function mischiefOf(by: Chance, honest: boolean): Mischief[] {
  const kinds: readonly Kind[] = honest ? HONEST : [...HONEST, ...LYING];
  const some = Array.from({ length: by.between(0, 4) }, () => ({
    // The first connections matter most: what breaks one leads to the next.
    connection: Math.floor(by.next() ** 2 * 6),
    step: by.between(0, 16),
    kind: by.pick(kinds),
    how: by.next(),
  }));
  return some;
}

function mailsOf(by: Chance): Mail[] {
  const count = by.happens(0.9) ? by.between(0, 6) : by.between(7, 30);
  const twins = by.happens(0.1);
  return Array.from({ length: count }, (_, index) => ({
    uid: twins && by.happens(0.4) ? 'twin' : uidOf(by, index),
    text: textOf(by, index),
    since: by.happens(0.8) ? 0 : by.between(1, WILD_RUNS),
  }));
}

/** Unique-ids of every sort, each its own. */
function uidOf(by: Chance, index: number): string {
  const odd = ['../../x', '%2f%00', '"\'`$(x)', '\\x1b[2J', '-rf', 'UID ', '\xe3\x81\x82', '~', '.', '+OK'];
  return `${by.happens(0.3) ? by.pick(odd) : 'u'}${index}${by.happens(0.05) ? 'y'.repeat(900) : ''}`;
}

const LINES = [
  '',
  '',
  '.',
  '..',
  '...x',
  '+OK',
  '-ERR no',
  'From me',
  '>From me',
  'a\rb',
  'a\nb',
  'a\n.\nb',
  'x\0y',
  '\xff\xfe\x80',
  '\r',
  'From: <a@b.example>',
  'QUIT',
  'plain text of some length, as people write it',
] as const;

function textOf(by: Chance, index: number): string {
  const header = `Message-ID: <${index}@example>\r\nSubject: ${by.pick(['x', '=?utf-8?B?4oCu?=', '\x1b[31m'])}\r\n`;
  const lines = Array.from({ length: by.between(0, 12) }, () => by.pick(LINES));
  const text = `${header}\r\n${lines.join('\r\n')}\r\n`;
  return by.happens(0.02) ? `${text}${'0123456789abcdef'.repeat(by.between(1, 4000))}\r\n` : text;
}
