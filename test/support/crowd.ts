/** A mailbox of very many messages, and the memory of them: both made up line by line, so that they cost this process nothing. */
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import type { MailboxAddress } from '../../src/identity.js';
import { journalPath } from '../../src/seen/seen.js';

/** The user of the mailbox; any password will do. */
export const CROWD_USER = 'taro';

/** The unique-id of message `number`, as Dovecot makes them. */
export const crowdUid = (number: number): string => number.toString(16).padStart(8, '0') + '68f1a2b3';

/** A server that makes up what it says. */
export interface Crowd {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

/** What is answered to a command, whole: a text, or pieces of one, perhaps without an end. */
export type Answers = (verb: string, argument?: string) => string | Iterable<string>;

/** A server on the loopback for one mailbox, which says what `answers` says, as fast as the other side reads. */
export async function serveAnswers(answers: Answers): Promise<Crowd> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    converse(socket, answers).catch(() => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  };
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port, close };
}

/** Serves a mailbox that holds `count` messages of 76 octets. */
export function serveCrowd(count: number): Promise<Crowd> {
  return serveAnswers((verb) => {
    if (verb === 'CAPA') return '+OK\r\nPIPELINING\r\nUIDL\r\nTOP\r\nUSER\r\n.\r\n';
    if (verb === 'STAT') return `+OK ${count} ${count * 76}\r\n`;
    if (verb === 'LIST') return rows(count, () => '76');
    if (verb === 'UIDL') return rows(count, crowdUid);
    if (verb === 'RETR') return `+OK\r\n${MESSAGE}.\r\n`;
    return '+OK\r\n';
  });
}

const MESSAGE = `Subject: one of many\r\n\r\n${'x'.repeat(50)}\r\n`;

async function converse(socket: Socket, answers: Answers): Promise<void> {
  const say = async (verb: string, argument?: string): Promise<void> => {
    const answer = answers(verb, argument);
    for (const piece of typeof answer === 'string' ? [answer] : answer) {
      if (!socket.write(piece)) await once(socket, 'drain');
    }
  };
  await say('GREETING');
  let rest = '';
  for await (const piece of socket.setEncoding('latin1') as AsyncIterable<string>) {
    const lines = (rest + piece).split('\r\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const [verb = '', argument] = line.split(' ');
      await say(verb.toUpperCase(), argument);
    }
    if (lines.includes('QUIT')) socket.end();
  }
}

function* rows(count: number, value: (number: number) => string): Generator<string> {
  let text = '+OK\r\n';
  for (let number = 1; number <= count; number += 1) {
    text += `${number} ${value(number)}\r\n`;
    if (text.length < 65_536) continue;
    yield text;
    text = '';
  }
  yield `${text}.\r\n`;
}

/** Writes the memory of all of these messages, delivered to one Maildir, as a run leaves it. @returns its octets */
export async function rememberCrowd(state: string, address: MailboxAddress, count: number): Promise<number> {
  const path = journalPath(state, address);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const out = createWriteStream(path, { mode: 0o600 });
  let text = line(1, `POPFETCH 1 ${address.host} ${address.port} ${address.user}`);
  for (let number = 1; number <= count; number += 1) {
    text += line(number + 1, seen(number));
    if (text.length < 65_536) continue;
    if (!out.write(text)) await once(out, 'drain');
    text = '';
  }
  out.end(text);
  await once(out, 'close');
  return out.bytesWritten;
}

function line(sequence: number, tail: string): string {
  const head = `${sequence} 1`;
  return `${head} ${crc32(`${head} ${tail}`).toString(16).padStart(8, '0')} ${tail}\n`;
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** Hashes and a key that differ from message to message, without the cost of real ones. */
function seen(number: number): string {
  const digits = ((number * 2654435761) >>> 0).toString(16).padStart(8, '0');
  const key = `${digits}${digits}${digits}ab`.replace(/[0189]/g, (digit) => ALPHABET.charAt(Number(digit)));
  const hash = digits.repeat(8);
  return `SEEN ${crowdUid(number)} ${key} 76 76 ${hash} ${hash} maildir:/home/taro/Mail/work ${1.7e12 + number} - -`;
}
