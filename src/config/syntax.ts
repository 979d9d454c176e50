/**
 * Where a file breaks the rules of its own language. Parsers like to quote the text they fell over, which may be a
 * password: only their own words are kept.
 */
import { jsonFault } from './json.js';
import { placeOf, type Format } from './lines.js';
import type { Finding } from './problems.js';

/** What a parser of YAML or TOML throws, as far as it is used here. */
interface ParserError extends Error {
  /** js-yaml: its words alone, and the place, 0-based. */
  readonly reason?: string;
  readonly mark?: { readonly line: number; readonly column: number } | undefined;
  /** smol-toml: the place, 1-based. */
  readonly line?: number;
  readonly column?: number;
}

/** What is missing around a value, a password perhaps, that begins with a sign YAML keeps for itself. */
const QUOTES = 'quotes around a value that begins with * or !';

/** The fault in `text` that made its parser throw `error`, as a finding with line and column. */
export function syntaxFinding(error: unknown, text: string, format: Exclude<Format, 'code'>): Finding {
  if (format === 'json') return jsonFinding(text) ?? { path: [], what: 'not JSON' };
  const { message, reason, mark, line, column } = error as ParserError;
  if (format === 'toml') return { path: [], what: words(message.split('\n')[0] ?? ''), line, column };
  const place = mark === undefined ? {} : { line: mark.line + 1, column: mark.column + 1 };
  const expected = /^(?:unidentified alias|unknown tag)/.test(reason ?? '') ? QUOTES : undefined;
  return { path: [], what: words(reason ?? 'not YAML'), expected, ...place };
}

/** What is wrong with a JSON text by the letter of RFC 8259, or a key that comes twice; undefined when nothing is. */
export function jsonFinding(text: string): Finding | undefined {
  const fault = jsonFault(text);
  return fault && { path: [], what: fault.what, ...placeOf(text, fault.offset) };
}

/** A parser's words up to the first thing it quotes. */
function words(message: string): string {
  const own = message.replace(/^Invalid TOML document: /, '').replace(/\s*(?:["'<`]|!<|: ).*$/s, '');
  return own === '' ? 'cannot be read' : own;
}
