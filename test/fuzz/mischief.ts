/** What a server says in place of an answer. */
import type { Kind, Mail } from './plan.js';

/** What there is to go by. */
export interface Saying {
  /** The right answer. */
  readonly text: string;
  /** The command. */
  readonly line: string;
  /** From 0 to 1. */
  readonly how: number;
  /** Some message of the mailbox. */
  readonly other: Mail | undefined;
}

/** The kinds of mischief after which the command has not been carried out. */
export const UNDONE: ReadonlySet<Kind> = new Set<Kind>([
  'refuse',
  'refuse for now',
  'in use',
  'echo',
  'nonsense',
  'silence',
  'close',
  'reset',
  'cut',
  'cut and stall',
  'endless line',
]);

/** By kind of mischief, where it is about words; the others are about when and whether they come. */
export const SAYINGS: Readonly<Partial<Record<Kind, (saying: Saying) => string>>> = {
  refuse: () => '-ERR no\r\n',
  'refuse though done': () => '-ERR [SYS/PERM] no\r\n',
  'refuse for now': () => '-ERR [SYS/TEMP] later\r\n',
  'in use': () => '-ERR [IN-USE] later\r\n',
  echo: ({ line }) => `-ERR no such thing: ${line}\x1b[2J\x9b\r\n`,
  nonsense: () => 'HTTP/1.1 400 \x1b]0;x\x07\r\n',
  'endless line': () => '+OK '.padEnd(10_000, 'x'),
  'lone line feed': ({ text }) => text.replace('\r\n', '\n'),
  'stray line': ({ text }) => `${text}* BYE\r\n`,
  'stray answer': ({ text }) => `${text}+OK 3 300\r\n`,
  doubled: ({ text }) => text + text,
  swapped: ({ text }) => `+OK 1 1\r\n${text}`,
  'other message': ({ text, other }) => (other === undefined ? text : multi('+OK', other.text)),
  'no dots': ({ text }) => text.replaceAll('\r\n..', '\r\n.'),
  'endless body': () => `+OK\r\n${'x'.repeat(99)}\r\n`.padEnd(100_000, 'y'),
  'empty body': () => '+OK\r\n.\r\n',
  'lists wrong': ({ text, how }) => misread(text, how),
  'counts wrong': ({ text, how }) => text.replace(/\d+/, pickNumber(how)),
  truncated: ({ text, how }) => `${text.slice(0, Math.floor(how * text.length))}\r\n.\r\n`,
  'two greetings': ({ text }) => `${text}+OK ready again\r\n1 100\r\n.\r\n`,
  binary: ({ text }) => `\0\x01\xff${text}`,
};

/** A multi-line answer. The text ends in CRLF, or is empty. */
export function multi(status: string, text: string): string {
  return `${status}\r\n${text.replace(/(?<=^|\r\n)\./g, '..')}.\r\n`;
}

const NUMBERS = ['-1', '0', '2147483648', '99999999999999999999', '+3', '1e3', '', '07', '7'] as const;

function pickNumber(how: number): string {
  return NUMBERS[Math.floor(how * NUMBERS.length)] ?? '';
}

/** A list in which one line is missing, doubled, numbered wrongly, or of another shape. */
function misread(text: string, how: number): string {
  const lines = text.split('\r\n');
  const at = 1 + Math.floor(how * Math.max(0, lines.length - 3));
  const line = lines[at] ?? '';
  const ways = [
    [],
    [line, line],
    [line.replace(/^\d+/, pickNumber((how * 97) % 1))],
    [line.split(' ')[0] ?? ''],
    ['', line],
    [`${line} x`],
  ];
  lines.splice(at, 1, ...(ways[Math.floor(how * 1000) % ways.length] ?? []));
  return lines.join('\r\n');
}
