/**
 * Text from a server, a message or a file name on its way to a person: everything that is not printable ASCII
 * becomes a backslash escape, so that no terminal, log or JSON reader is ever steered by it.
 */

/**
 * Escapes `text` (latin1 octets or any string): `\n`, `\r`, `\t`, `\\`, else `\xHH` below U+0100 and `\u{H…}` above.
 * The result is printable ASCII and at most `limit` characters long, with `…`-free truncation marked by `[+N]`.
 */
export function printable(text: string, limit = 1024): string {
  const escaped = text.slice(0, limit).replace(/[^\x20-\x5b\x5d-\x7e]/gu, escapeOne);
  return text.length > limit ? `${escaped}[+${text.length - limit}]` : escaped;
}

const NAMED: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\\': '\\\\' };

function escapeOne(character: string): string {
  const named = NAMED[character];
  if (named !== undefined) return named;
  const code = character.codePointAt(0) ?? 0;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
}

/**
 * For decoded human text (a subject, a sender): keeps letters of every script and removes only what steers a
 * terminal: C0 and C1 controls, bidirectional overrides and isolates, line separators, unpaired surrogates.
 */
export function readable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu, '\ufffd');
}

/** A word, such as the name of an account, as a person can paste it into a shell. */
export function shellWord(word: string): string {
  const text = readable(word);
  return /^[\p{L}\p{N}_.@%+=:,/-]+$/u.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
