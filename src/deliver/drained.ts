/** What is left to do with a message that is where it should be already. */
import type { Delivery, Message } from './destination.js';

/** Reads a message that every destination has, because the session cannot go on before it is read. @throws what the body throws */
export async function drained(message: Message): Promise<Delivery> {
  let octets = 0;
  for await (const piece of message.body) octets += piece.length;
  return { octets, release: () => Promise.resolve() };
}
