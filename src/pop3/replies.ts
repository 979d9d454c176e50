/** What a POP3 server says, taken apart. Pure: no sockets, no waiting. Texts are latin1. */
import { PopfetchError } from '../errors.js';
import { MESSAGES } from '../wire/limits.js';
import type { Listed, Listing } from './mailbox.js';

/** A status line (RFC 1939 section 3) with its extended response code (RFC 2449 section 8), if any. */
export interface Status {
  readonly ok: boolean;
  /** What follows `+OK ` or `-ERR `. */
  readonly text: string;
  /** `IN-USE`, `SYS/TEMP`, … in upper case; undefined without one. */
  readonly code: string | undefined;
}

/** Takes a status line apart; undefined for anything that is not exactly `+OK` or `-ERR`, alone or before a space. */
export function parseStatus(line: string): Status | undefined {
  const match = /^(\+OK|-ERR)(?: (.*))?$/s.exec(line);
  if (match === null) return undefined;
  const text = match[2] ?? '';
  const code = /^\[([A-Za-z0-9/_-]{1,64})\]/.exec(text)?.[1]?.toUpperCase();
  return { ok: match[1] === '+OK', text, code };
}

/** The response codes that mean something here. */
const RESPONSE_CODES = ['AUTH', 'IN-USE', 'LOGIN-DELAY', 'SYS/TEMP', 'SYS/PERM'] as const;

/**
 * The known response code of a status, at whatever level below it the server went into detail: `SYS/TEMP/DISK` is
 * `SYS/TEMP`. undefined for no code and for unknown ones, which mean nothing (RFC 2449 section 8).
 */
export function responseCode({ code }: Status): (typeof RESPONSE_CODES)[number] | undefined {
  return RESPONSE_CODES.find((known) => code === known || code?.startsWith(`${known}/`));
}

/** The data of a SASL challenge line (`+ ` and base64, RFC 5034 section 4), or undefined when it is none. */
export function parseChallenge(line: string): string | undefined {
  return line === '+' ? '' : line.startsWith('+ ') ? line.slice(2) : undefined;
}

/** The APOP timestamp in a greeting (RFC 1939 section 7): a message id in printable ASCII, or undefined. */
export function parseTimestamp(greeting: string): string | undefined {
  return /<[!-;=?A-~]{1,200}@[!-;=?A-~]{1,200}>/.exec(greeting)?.[0];
}

/** What CAPA said (RFC 2449 section 5). */
export interface Capabilities {
  /** False when the server does not know CAPA. */
  readonly known: boolean;
  /** Upper-case tag -> its parameters. */
  readonly tags: ReadonlyMap<string, readonly string[]>;
}

/** Nothing is known. */
export const NO_CAPABILITIES: Capabilities = { known: false, tags: new Map() };

/** Takes the lines of a CAPA answer; the first of a repeated tag counts. */
export function parseCapabilities(lines: readonly string[]): Capabilities {
  const tags = new Map<string, readonly string[]>();
  for (const line of lines) {
    const [tag = '', ...parameters] = line.trim().split(/ +/);
    const name = tag.toUpperCase();
    if (name !== '' && !tags.has(name)) tags.set(name, parameters);
  }
  return { known: true, tags };
}

/** The count and octets of STAT; undefined for anything but two plain numbers, or more than {@link MESSAGES}. */
export function parseStat(text: string): { readonly count: number; readonly octets: number } | undefined {
  const match = /^(\d{1,15}) (\d{1,15})(?: |$)/.exec(text);
  const count = Number(match?.[1]);
  return match === null || count > MESSAGES ? undefined : { count, octets: Number(match[2]) };
}

/** Splits a body into lines, cut anywhere; the lines come without their ends (CRLF or LF). */
export class Lines {
  readonly #limit: number;
  #rest = '';

  /** @param limit longest line allowed, in octets */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The lines that `piece` completes. @throws PROTOCOL for a line that is too long. */
  push(piece: Buffer): string[] {
    const lines = (this.#rest + piece.toString('latin1')).split('\n');
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > this.#limit || lines.some((line) => line.length > this.#limit)) {
      throw new PopfetchError(
        'PROTOCOL',
        `the server sent a listing line of more than ${this.#limit} octets`,
      );
    }
    return lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
  }
}

/** A number and what follows it in a line of LIST or UIDL, or undefined where there is no such thing. */
function parseRow(line: string): { readonly number: number; readonly value: string } | undefined {
  const match = /^(\d{1,15}) (.+)$/s.exec(line);
  return match === null ? undefined : { number: Number(match[1]), value: match[2] ?? '' };
}

/**
 * Puts STAT, LIST and UIDL together. Rows that cannot be right are left out with a note; a number given twice makes
 * the whole listing worthless.
 * @param uidl undefined where the server has no UIDL
 * @throws PROTOCOL
 */
export function assembleListing(
  stat: { readonly count: number; readonly octets: number },
  list: readonly string[],
  uidl: readonly string[] | undefined,
): Listing {
  const notes: string[] = [];
  const sizes = rowsOf('LIST', list, stat.count, notes);
  const uids = uidl === undefined ? new Map<number, string>() : rowsOf('UIDL', uidl, stat.count, notes);
  const messages: Listed[] = [];
  for (const number of [...(uidl === undefined ? sizes : uids).keys()].sort((a, b) => a - b)) {
    messages.push({ number, size: sizeOf(sizes.get(number)), uid: uids.get(number) ?? '' });
  }
  const missing = stat.count - messages.length;
  const lack = uidl === undefined ? 'are not listed' : 'have no unique-id and are left alone';
  if (missing > 0) notes.push(`${missing} of ${stat.count} messages ${lack}`);
  return { messages, octets: stat.octets, complete: missing === 0, uidl: uidl !== undefined, notes };
}

function rowsOf(verb: string, lines: readonly string[], count: number, notes: string[]): Map<number, string> {
  const rows = new Map<number, string>();
  let strange = 0;
  for (const line of lines) {
    const row = parseRow(line);
    if (row === undefined || row.number < 1 || row.number > count) {
      strange += 1;
      continue;
    }
    if (rows.has(row.number)) {
      throw new PopfetchError('PROTOCOL', `the server listed message ${row.number} twice in its ${verb}`, {
        phase: 'list',
      });
    }
    rows.set(row.number, row.value);
  }
  if (strange > 0) notes.push(`${strange} lines of ${verb} were not understood and left out`);
  return rows;
}

function sizeOf(value: string | undefined): number {
  const match = /^(\d{1,15})(?: |$)/.exec(value ?? '');
  return match === null ? 0 : Number(match[1]);
}
