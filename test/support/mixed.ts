/** A mailbox like people have: many short mails, some long ones, a few with attachments. The same for the same seed. */

const SMALLEST = 300;
const LARGEST = 2_000_000;
const BLOCK = 262_144;

/**
 * `count` messages of together exactly `octets` octets, each from 300 octets to 2 MB, lines ended by CRLF and nothing
 * in them that a server may change: what goes in comes out. Leading dots, `From ` lines and eight-bit text are there.
 * Throws a RangeError when that many messages cannot have that size.
 */
export function mixed(count: number, octets: number, seed = 1): Buffer[] {
  if (octets < count * SMALLEST || octets > count * LARGEST) {
    throw new RangeError(`${count} messages cannot have ${octets} octets`);
  }
  const random = generator(seed);
  const text = block(random, textLine);
  const attachment = block(random, base64Line);
  return sizes(count, octets, random).map((size, index) =>
    message(index + 1, seed, size, size > 60_000 ? attachment : text, random),
  );
}

function message(n: number, seed: number, size: number, source: Buffer, random: () => number): Buffer {
  const header = Buffer.from(
    [
      `From: sender-${n % 97}@example.com`,
      'To: taro@example.com',
      `Subject: message ${n}`,
      'Date: Fri, 01 May 2026 10:00:00 +0900',
      `Message-ID: <${n}.${seed}@mixed.example.com>`,
      'Content-Type: text/plain; charset=UTF-8',
      '',
      '',
    ].join('\r\n'),
  );
  const whole = Buffer.alloc(size);
  let at = header.copy(whole);
  let from = source.indexOf('\n', Math.floor(random() * (source.length / 2))) + 1;
  while (at < size - 2) {
    at += source.copy(whole, at, from, Math.min(source.length, from + size - 2 - at));
    from = 0;
  }
  // The cut may have fallen inside a line end.
  if (whole[size - 3] === 0x0d) whole.write('.', size - 3);
  whole.write('\r\n', size - 2);
  return whole;
}

/** Sizes with the long tail of real mail, stretched so that they add up. */
function sizes(count: number, octets: number, random: () => number): number[] {
  const weights = Array.from({ length: count }, () => Math.exp(1.6 * normal(random)));
  let scale = octets / weights.reduce((sum, weight) => sum + weight, 0);
  let result: number[] = [];
  for (let round = 0; round < 30; round += 1) {
    result = stretched(weights, scale);
    scale *= octets / result.reduce((sum, size) => sum + size, 0);
  }
  let missing = octets - result.reduce((sum, size) => sum + size, 0);
  return result.map((size) => {
    const fitted = clamp(size + missing);
    missing -= fitted - size;
    return fitted;
  });
}

function stretched(weights: readonly number[], scale: number): number[] {
  return weights.map((weight) => clamp(Math.round(weight * scale)));
}

function clamp(size: number): number {
  return Math.min(LARGEST, Math.max(SMALLEST, size));
}

function block(random: () => number, line: (random: () => number) => string): Buffer {
  const lines: string[] = [];
  for (let length = 0; length < BLOCK;) {
    const next = `${line(random)}\r\n`;
    lines.push(next);
    length += Buffer.byteLength(next);
  }
  return Buffer.from(lines.join(''), 'utf8');
}

const WORDS = 'mail server line dot From header body 手紙 über été меню .hidden >From to and the'.split(' ');

function textLine(random: () => number): string {
  const kind = random();
  if (kind < 0.05) return '';
  if (kind < 0.07) return '.';
  if (kind < 0.09) return `From ${word(random)} ${word(random)}`;
  return Array.from({ length: 2 + Math.floor(random() * 9) }, () => word(random)).join(' ');
}

function word(random: () => number): string {
  return WORDS[Math.floor(random() * WORDS.length)] ?? '';
}

function base64Line(random: () => number): string {
  return Buffer.from(Array.from({ length: 57 }, () => Math.floor(random() * 256))).toString('base64');
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Normally distributed around 0 (Box and Muller). */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
