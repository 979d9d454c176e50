/** What a POP3 server says, taken apart. Pure: no sockets, no waiting. Texts are latin1. */
import { PopfetchError } from '../errors.js';
import { MESSAGES } from '../wire/limits.js';
import type { Listing } from './mailbox.js';
import { RowMessages, SizeRows, UidRows } from './rows.js';

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

/** STAT, LIST and UIDL from their lines. @param uidl undefined where the server has no UIDL @throws PROTOCOL as {@link joinRows} does */
export function assembleListing(
  stat: { readonly count: number; readonly octets: number },
  list: readonly string[],
  uidl: readonly string[] | undefined,
): Listing {
  const sizes = new SizeRows(stat.count);
  for (const line of list) sizes.take(line);
  const uids = uidl === undefined ? undefined : new UidRows(stat.count);
  for (const line of uidl ?? []) uids?.take(line);
  return joinRows(stat, sizes, uids);
}

/**
 * Puts STAT, LIST and UIDL together. Rows that cannot be right are left out with a note; a number given twice makes
 * the whole listing worthless.
 * @param uids undefined where the server has no UIDL
 * @throws PROTOCOL
 */
export function joinRows(
  stat: { readonly count: number; readonly octets: number },
  sizes: SizeRows,
  uids: UidRows | undefined,
): Listing {
  sizes.sort();
  uids?.sort();
  const messages = new RowMessages(sizes, uids);
  const missing = stat.count - messages.length;
  const lack = uids === undefined ? 'are not listed' : 'have no unique-id and are left alone';
  const notes = [...strangeness('LIST', sizes), ...strangeness('UIDL', uids)];
  if (missing > 0) notes.push(`${missing} of ${stat.count} messages ${lack}`);
  return { messages, octets: stat.octets, complete: missing === 0, uidl: uids !== undefined, notes };
}

function strangeness(verb: string, rows: SizeRows | UidRows | undefined): string[] {
  if (rows === undefined || rows.strange === 0) return [];
  return [`${rows.strange} lines of ${verb} were not understood and left out`];
}
