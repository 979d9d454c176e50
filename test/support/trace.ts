/**
 * A transcript that `--trace FILE` has written, and a server that says its part of it: what a person attaches to a
 * report is enough to see the same again.
 *
 * The text of messages is not in a trace, only how long it was: other text of that length takes its place. A secret is
 * not in it either: where the trace has `********`, anything may be said. The conversation is played in clear, so that
 * STLS and its answer are left out.
 */
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { Channel, Gone } from './channel.js';

/** One line of a trace: whose it is, and its octets. */
export interface TraceLine {
  readonly direction: 'C' | 'S' | '*';
  /** Latin1, without line end. Of a long line only the beginning is there. */
  readonly text: string;
  readonly cut: boolean;
}

const LINE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (.+?) ([CS*]): (.*)$/;

/** The conversations of one account (default: the first in the file), in order. @throws Error for what is no trace */
export function parseTrace(text: string, account?: string): TraceLine[][] {
  const conversations: TraceLine[][] = [];
  let chosen = account;
  for (const [index, line] of text.split('\n').entries()) {
    if (line === '') continue;
    const [, name, direction, shown = ''] = LINE.exec(line) ?? [];
    if (name === undefined) throw new Error(`line ${index + 1} is not of a trace: ${line}`);
    chosen ??= name;
    if (name !== chosen) continue;
    if (direction === '*' && shown.startsWith('connected to ')) conversations.push([]);
    const [, kept = shown] = /^(.*)\[\+\d+\]$/.exec(shown) ?? [];
    const octets = octetsOf(kept);
    conversations.at(-1)?.push({ direction: direction as 'C', text: octets, cut: kept !== shown });
  }
  return conversations;
}

function octetsOf(shown: string): string {
  const named: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '\\': '\\' };
  return shown.replace(/\\(?:x([0-9a-f]{2})|([nrt\\]))/g, (_, hex: string | undefined, name = '') => {
    return hex === undefined ? (named[name as string] ?? '') : String.fromCharCode(Number.parseInt(hex, 16));
  });
}

/** A server that plays one conversation to each client, in order. */
export interface TraceReplay {
  readonly port: number;
  /** Rejects at the first line of a client that is not in the trace. Resolves when all were played. */
  readonly finished: Promise<void>;
  close(): Promise<void>;
}

/** Plays them on a port of this machine. */
export async function replayTrace(conversations: readonly (readonly TraceLine[])[]): Promise<TraceReplay> {
  const sockets = new Set<Socket>();
  const waiting = [...conversations];
  let settle: { resolve: () => void; reject: (reason: unknown) => void };
  const finished = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // Nobody may be looking yet when it goes wrong.
  finished.catch(() => undefined);
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    const next = waiting.shift();
    if (next === undefined) {
      socket.destroy();
      settle.reject(new Error('the trace has no further conversation'));
      return;
    }
    play(next, new Channel(socket)).then(() => {
      if (waiting.length === 0) settle.resolve();
    }, settle.reject);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    finished,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

const BODY = /^\[(\d+) octets\]$/;
const MULTI_LINE = /^(?:CAPA|LIST|UIDL|RETR \d+|TOP \d+ \d+)$/;

async function play(lines: readonly TraceLine[], channel: Channel): Promise<void> {
  const asked: string[] = [];
  /** Octets of the multi-line answer at hand that have been said line by line. */
  let said: number | undefined;
  try {
    for (const line of withoutStls(lines)) {
      if (line.direction === 'C') await hear(line, channel, asked);
      else if (line.direction === '*') await remark(line.text, channel);
      else if (said === undefined) {
        await say(`${line.text}\r\n`, channel);
        const command = isGreeting(line, lines) ? undefined : asked.shift();
        if (command !== undefined && MULTI_LINE.test(command) && line.text.startsWith('+OK')) said = 0;
      } else if (BODY.test(line.text)) {
        const octets = Number(BODY.exec(line.text)?.[1]);
        await say(`${filler(octets - said)}.\r\n`, channel);
        said = undefined;
      } else {
        await say(`${line.text}\r\n`.replace(/^\./, '..'), channel);
        said += line.text.length + 2;
      }
    }
    channel.end('close');
  } catch (error) {
    if (error instanceof Gone) return;
    channel.end('reset');
    throw error;
  }
}

function isGreeting(line: TraceLine, lines: readonly TraceLine[]): boolean {
  return lines.find(({ direction }) => direction === 'S') === line;
}

function withoutStls(lines: readonly TraceLine[]): TraceLine[] {
  const at = lines.findIndex(({ direction, text }) => direction === 'C' && text === 'STLS');
  return lines.filter((_, index) => at < 0 || (index !== at && index !== at + 1));
}

async function say(octets: string, channel: Channel): Promise<void> {
  await channel.write(Buffer.from(octets, 'latin1'));
  await channel.flush();
}

async function hear({ text, cut }: TraceLine, channel: Channel, asked: string[]): Promise<void> {
  const got = await channel.readLine();
  const pattern = text.split('********').map((part) => part.replace(/[^\w ]/g, '\\$&'));
  if (got === undefined || !new RegExp(`^${pattern.join('.*')}${cut ? '' : '$'}`, 's').test(got)) {
    throw new Error(`expected ${JSON.stringify(text)}, got ${JSON.stringify(got ?? 'the end')}`);
  }
  // What answers a challenge is answered by the status of the command that asked for it.
  asked.push(got);
}

async function remark(text: string, channel: Channel): Promise<void> {
  if (text === 'the server closed the connection') await channel.act('close');
  if (text.startsWith('the connection broke')) await channel.act('reset');
}

/** Text of this many octets that ends a line, where that is possible. */
function filler(octets: number): string {
  if (octets <= 0) return '';
  return octets < 2 ? '\r\n' : `${'x'.repeat(octets - 2)}\r\n`;
}
