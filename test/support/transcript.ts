/**
 * A whole conversation with a server, written down, and a server that says exactly its part.
 *
 *     # a comment            and empty lines mean nothing
 *     S: +OK ready           the server sends this line and CRLF
 *     C: STAT                the client must send exactly this line and CRLF
 *     S+ no end of line      the server sends this, and no CRLF
 *     S! close               the server ends the connection (close, drop, reset or stall)
 *     C! close               the client must end the connection, having sent nothing more
 *
 * Lines are UTF-8. In `S:`, `S+` and `C:` lines `\r`, `\n`, `\\` and `\x00` to `\xff` stand for the octets they name.
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { Channel, Gone } from './channel.js';
import type { Action, Outgoing } from './channel.js';

/** One line of a transcript, and where it stands. */
export type Step = { readonly line: number } & (
  | { readonly who: 'server'; readonly octets: Buffer }
  | { readonly who: 'client'; readonly octets: Buffer }
  | { readonly who: 'server ends'; readonly action: Action }
  | { readonly who: 'client ends' }
);

/** A server that plays one transcript to one client. */
export interface Replay {
  readonly host: string;
  readonly port: number;
  /** Resolves when all lines were said; rejects at the first line of the client that is not in the transcript. */
  readonly finished: Promise<void>;
  close(): Promise<void>;
}

/** How it is played. */
export interface ReplayOptions extends Outgoing {
  /**
   * Answers to commands (whole lines) that may come where the transcript has another line: they are answered and the
   * transcript waits. For what a client may ask and a server may not know.
   */
  readonly aside?: Readonly<Record<string, string>>;
}

/** Reads `test/transcripts/NAME.txt`. */
export async function readTranscript(name: string): Promise<Step[]> {
  const file = fileURLToPath(new URL(`../transcripts/${name}.txt`, import.meta.url));
  return parseTranscript(await readFile(file, 'utf8'));
}

/** Throws where a line is none of the kinds above. */
export function parseTranscript(text: string): Step[] {
  return text.split('\n').flatMap((content, index) => {
    if (content === '' || content.startsWith('#')) return [];
    return [parseLine(content, index + 1)];
  });
}

/** Plays it to the first client that connects. */
export async function replay(steps: readonly Step[], options: ReplayOptions = {}): Promise<Replay> {
  const sockets = new Set<Socket>();
  let settle: { resolve: () => void; reject: (reason: unknown) => void };
  const finished = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // Nobody may be looking yet when it goes wrong.
  finished.catch(() => undefined);
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    const channel = new Channel(socket, options);
    play(steps, channel, options.aside ?? {}).then(settle.resolve, settle.reject);
  });
  server.maxConnections = 1;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    finished,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

async function play(
  steps: readonly Step[],
  channel: Channel,
  aside: Readonly<Record<string, string>>,
): Promise<void> {
  try {
    for (const step of steps) await playStep(step, channel, aside);
    channel.end('close');
  } catch (error) {
    channel.end('reset');
    throw error;
  }
}

async function playStep(
  step: Step,
  channel: Channel,
  aside: Readonly<Record<string, string>>,
): Promise<void> {
  switch (step.who) {
    case 'server':
      await channel.write(step.octets);
      await channel.flush();
      return;
    case 'client':
      await expectOctets(step.octets, step.line, channel, aside);
      return;
    case 'server ends':
      await channel.act(step.action).catch((error: unknown) => {
        if (!(error instanceof Gone)) throw error;
      });
      return;
    case 'client ends':
      await expectEnd(step.line, channel);
      return;
    default:
      step satisfies never;
  }
}

/** Reads octet by octet, so that nothing of what belongs to a later line is taken. */
async function expectOctets(
  expected: Buffer,
  line: number,
  channel: Channel,
  aside: Readonly<Record<string, string>>,
): Promise<void> {
  let received = Buffer.alloc(0);
  while (!received.equals(expected)) {
    const next = await channel.read(1);
    received = Buffer.concat([received, next]);
    const answer = aside[received.toString('latin1').replace(/\r\n$/, '')];
    if (answer !== undefined && received.subarray(-2).toString('latin1') === '\r\n') {
      await channel.write(answer);
      await channel.flush();
      received = Buffer.alloc(0);
    } else if (next.length === 0 || isUnknown(received, expected, aside)) {
      throw new Error(`line ${line}: expected ${shown(expected)}, got ${shown(received)}`);
    }
  }
}

function isUnknown(received: Buffer, expected: Buffer, aside: Readonly<Record<string, string>>): boolean {
  const wanted = [expected, ...Object.keys(aside).map((command) => Buffer.from(`${command}\r\n`))];
  const complete = received.includes('\n') || received.length > 1000;
  return complete && !wanted.some((octets) => octets.subarray(0, received.length).equals(received));
}

async function expectEnd(line: number, channel: Channel): Promise<void> {
  const more = await channel.read(1);
  if (more.length > 0) throw new Error(`line ${line}: expected the end, got more: ${shown(more)}`);
}

function parseLine(content: string, line: number): Step {
  const mark = content.slice(0, 2);
  const rest = content.slice(2).replace(/^ /, '');
  switch (mark) {
    case 'S:':
      return { line, who: 'server', octets: octetsOf(`${rest}\\r\\n`) };
    case 'S+':
      return { line, who: 'server', octets: octetsOf(rest) };
    case 'C:':
      return { line, who: 'client', octets: octetsOf(`${rest}\\r\\n`) };
    case 'S!':
      return { line, who: 'server ends', action: actionOf(rest, line) };
    case 'C!':
      return { line, who: 'client ends' };
    default:
      throw new Error(`line ${line} of the transcript is neither S nor C: ${content}`);
  }
}

function actionOf(word: string, line: number): Action {
  if (word === 'close' || word === 'drop' || word === 'reset' || word === 'stall') return word;
  throw new Error(`line ${line} of the transcript: no such end: ${word}`);
}

const ESCAPE = /\\(?:x([0-9a-fA-F]{2})|([rn\\]))/g;
const NAMED: Readonly<Record<string, number>> = { r: 0x0d, n: 0x0a, '\\': 0x5c };

function octetsOf(text: string): Buffer {
  const parts: Buffer[] = [];
  let done = 0;
  for (const match of text.matchAll(ESCAPE)) {
    const [whole, hex, name = ''] = match;
    const octet = hex === undefined ? NAMED[name] : Number.parseInt(hex, 16);
    parts.push(Buffer.from(text.slice(done, match.index), 'utf8'), Buffer.from([octet ?? 0]));
    done = match.index + whole.length;
  }
  return Buffer.concat([...parts, Buffer.from(text.slice(done), 'utf8')]);
}

function shown(octets: Buffer): string {
  return octets.length === 0 ? 'the end' : JSON.stringify(octets.toString('latin1'));
}
