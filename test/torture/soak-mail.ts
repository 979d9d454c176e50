/** The mail of a soak: every message names itself in its header and in its last line, and can be made again. */
import { crc32 } from 'node:zlib';
import { chance } from '../support/chance.js';
import type { Chance } from '../support/chance.js';

/** Message `n` of an account. The same octets whenever it is asked for. */
export function mail(account: string, n: number): Buffer {
  const name = `${account}-${n}`;
  const random = chance(crc32(name));
  const text = [
    `From: sender-${n % 13}@example.com`,
    `Subject: message ${name}`,
    `Message-ID: <${name}@soak.example.com>`,
    '',
    ...body(random),
    `end of ${name}`,
    '',
  ];
  return Buffer.from(text.join('\r\n'), 'latin1');
}

const WORDS = 'the quick brown fox jumps over a lazy dog and comes home late at night'.split(' ');

function* body(random: Chance): Generator<string> {
  const octets = size(random);
  let length = 0;
  while (length < octets) {
    const line =
      start(random) +
      WORDS.slice(random.between(0, WORDS.length - 1))
        .join(' ')
        .repeat(random.between(0, 3));
    yield line;
    length += line.length + 2;
  }
}

/** What a line begins with: mostly nothing that matters. */
function start(random: Chance): string {
  if (!random.happens(0.05)) return '';
  return random.pick(['From ', '>From ', '>>From x', '.', '..', '. ', '\xe9']);
}

/** Mostly short, some longer, a few so large that they are spooled in files of their own. */
function size(random: Chance): number {
  if (random.happens(0.03)) return random.between(140_000, 500_000);
  return random.happens(0.17) ? random.between(4000, 60_000) : random.between(100, 4000);
}
