/** What the header of a message says to a person. The only file that knows libmime. */
import libmime from 'libmime';
import { readable } from '../escape.js';

/** The three fields that tell messages apart. Decoded, on one line, without what could steer a terminal; '' where missing. */
export interface Header {
  readonly from: string;
  readonly subject: string;
  /** Milliseconds since 1970; undefined where there is no date that makes sense. */
  readonly date: number | undefined;
}

/** Characters of a field that are decoded. */
const FIELD = 4096;

/** Reads a header (RFC 5322 section 2.2, RFC 2047; RFC 6532 and older 8-bit forms too). Never throws. */
export function readHeader(octets: Buffer): Header {
  const fields = fieldsOf(octets.toString('latin1'));
  const date = Date.parse((fields.get('date') ?? '').replace(/\([^)]*\)/g, ' '));
  return {
    from: decode(fields.get('from') ?? ''),
    subject: decode(fields.get('subject') ?? ''),
    date: Number.isNaN(date) ? undefined : date,
  };
}

/** Field bodies by lower-case name, unfolded; the first of each name. */
function fieldsOf(header: string): Map<string, string> {
  const [lines = ''] = header.split(/\r?\n\r?\n/, 1);
  const fields = new Map<string, string>();
  for (const field of lines.replace(/\r?\n(?=[ \t])/g, '').split(/\r?\n/)) {
    const [, name, body] = /^([!-9;-~]+)[ \t]*:(.*)$/s.exec(field) ?? [];
    const key = name?.toLowerCase();
    if (key !== undefined && !fields.has(key)) fields.set(key, (body ?? '').trim().slice(0, FIELD));
  }
  return fields;
}

function decode(latin1: string): string {
  const text = fromOctets(latin1);
  return readable(decodeWords(text).replace(/\s+/gu, ' ')).trim();
}

/** A broken encoded word is shown as it stands. */
function decodeWords(text: string): string {
  try {
    return libmime.decodeWords(text);
  } catch {
    return text;
  }
}

/** Octets that are no ASCII: UTF-8 (RFC 6532), ISO-2022-JP by its escape sequences, else ISO 8859-1. */
function fromOctets(latin1: string): string {
  const octets = Buffer.from(latin1, 'latin1');
  if (latin1.includes('\x1b$')) return new TextDecoder('iso-2022-jp').decode(octets);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(octets);
  } catch {
    return latin1;
  }
}
