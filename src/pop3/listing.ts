/** What a listing leaves open, and what can be learned of it. Pure. */
import type { Listing } from './mailbox.js';

/** The first `limit` numbers up to `count` that are not in a listing. */
export function unlisted({ messages }: Listing, count: number, limit: number): number[] {
  const numbers: number[] = [];
  let at = 0;
  for (let number = 1; number <= count && numbers.length < limit; number += 1) {
    if (messages[at]?.number === number) at += 1;
    else numbers.push(number);
  }
  return numbers;
}

/** The line of UIDL that the answer to `UIDL n` (RFC 1939 section 7) stands for; undefined where it speaks of another. */
export function uidlLine(number: number, text: string): string | undefined {
  return text.startsWith(`${number} `) ? text : undefined;
}

/** The listing, with the messages marked to which LIST gave no size: 0 octets would be a size, too. */
export function markUnsized(listing: Listing, list: readonly string[]): Listing {
  if (listing.messages.every(({ size }) => size > 0)) return listing;
  const empty = new Set<number>();
  for (const line of list) {
    const match = /^(\d{1,15}) 0{1,15}(?: |$)/.exec(line);
    if (match !== null) empty.add(Number(match[1]));
  }
  const messages = listing.messages.map((message) =>
    message.size > 0 || empty.has(message.number) ? message : ({ ...message, unsized: true } as const),
  );
  return { ...listing, messages };
}
