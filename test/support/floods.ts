/** Servers that send without end, each in its own way, and one that says nothing: what sixteen accounts at once must stand. */
import { serveAnswers, type Answers, type Crowd } from './crowd.js';

/** By name: what floods. Whatever is not told has no end. */
export const FLOODS = {
  'endless status': (verb) => (verb === 'STAT' ? endless('+OK ', 'x'.repeat(65_536)) : usual(verb)),
  'endless line': (verb) => (verb === 'RETR' ? endless('+OK\r\n', 'x'.repeat(65_536)) : usual(verb)),
  'endless message': (verb) =>
    verb === 'RETR' ? endless('+OK\r\n', `${'y'.repeat(76)}\r\n`.repeat(840)) : usual(verb),
  'endless listing': (verb) => (verb === 'UIDL' ? endlessRows() : usual(verb)),
  /** STAT says a million, and ten rows come: nothing may be made ready for the others. */
  'large count': (verb, argument) => {
    if (verb === 'STAT') return '+OK 1000000 76000000\r\n';
    // Asked for one of the others by its number.
    return verb === 'UIDL' && argument !== undefined ? '-ERR no such message\r\n' : usual(verb);
  },
  'million capabilities': (verb) => (verb === 'CAPA' ? millionLines() : usual(verb)),
  silence: (verb) => (verb === 'STAT' ? '' : usual(verb)),
} as const satisfies Readonly<Record<string, Answers>>;

export type Flood = keyof typeof FLOODS;

/** Starts one. */
export function serveFlood(flood: Flood): Promise<Crowd> {
  return serveAnswers(FLOODS[flood]);
}

const TEN = Array.from({ length: 10 }, (_, index) => index + 1);

/** A mailbox of ten messages, all of them empty but for a line. */
function usual(verb: string): string {
  if (verb === 'CAPA') return '+OK\r\nUIDL\r\nTOP\r\nUSER\r\n.\r\n';
  if (verb === 'STAT') return '+OK 10 100\r\n';
  if (verb === 'LIST') return `+OK\r\n${TEN.map((number) => `${number} 10\r\n`).join('')}.\r\n`;
  if (verb === 'UIDL') return `+OK\r\n${TEN.map((number) => `${number} u${number}\r\n`).join('')}.\r\n`;
  if (verb === 'RETR') return '+OK\r\nX: y\r\n\r\nz\r\n.\r\n';
  return '+OK\r\n';
}

function* endless(first: string, piece: string): Generator<string> {
  yield first;
  for (;;) yield piece;
}

function* endlessRows(): Generator<string> {
  yield '+OK\r\n';
  for (let number = 1; ; number += 100) {
    yield TEN.map((_, index) => `${number + index} ${'u'.repeat(1000)}\r\n`).join('');
  }
}

function* millionLines(): Generator<string> {
  yield '+OK\r\n';
  for (let sent = 0; sent < 1_000_000; sent += 1000) {
    yield Array.from({ length: 1000 }, (_, index) => `X-CAPABILITY-${sent + index} ${sent}\r\n`).join('');
  }
  yield '.\r\n';
}
