/** What a listing leaves open, and what can be learned of it. Pure. */
import type { Listing } from './mailbox.js';

/** The first `limit` numbers up to `count` that are not in a listing. */
export function unlisted({ messages }: Listing, count: number, limit: number): number[] {
  const numbers: number[] = [];
  let at = 0;
  for (let number = 1; number <= count && numbers.length < limit; number += 1) {
    if (messages.at(at)?.number === number) at += 1;
    else numbers.push(number);
  }
  return numbers;
}

/** The line of UIDL that the answer to `UIDL n` (RFC 1939 section 7) stands for; undefined where it speaks of another. */
export function uidlLine(number: number, text: string): string | undefined {
  return text.startsWith(`${number} `) ? text : undefined;
}
