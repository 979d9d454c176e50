/** The envelope sender of a message, as its first Return-Path states it (RFC 5321 section 4.4). Pure. */

/** Octets of a message in which its Return-Path is looked for. */
export const HEAD = 65_536;

/** The longest sender taken: RFC 5321 section 4.5.3.1 allows 64 + 1 + 255. */
const LONGEST = 320;

/**
 * The sender that the first Return-Path in a message's beginning states, without `<>`; '' where there is none, or none
 * that can be handed on: it is empty, too long, or holds blanks or anything but printable ASCII.
 */
export function envelopeSender(head: Buffer): string {
  const text = head.toString('latin1', 0, HEAD);
  // No flag m: to it, a lone CR ends a line.
  const end = /(?:^|\n)\r?\n/.exec(text)?.index ?? text.length;
  const header = text.slice(0, end + 1);
  const field = /(?:^|\n)return-path:(?:[ \t]|\r?\n[ \t])*<?([^\s<>]*)>?[ \t]*(?=\r?\n|$)/i.exec(header);
  const sender = field?.[1] ?? '';
  return /^[\x21-\x7e]+$/.test(sender) && sender.length <= LONGEST ? sender : '';
}
