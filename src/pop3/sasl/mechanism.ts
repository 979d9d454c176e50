/** What every SASL mechanism is to the exchange that speaks it (RFC 4422, RFC 5034). Pure: octets in, octets out. */
import { PopfetchError } from '../../errors.js';

/** What a refusal means, where the mechanism knows more than the server's own words say. */
export interface Refusal {
  readonly message: string;
  readonly remedy: string;
}

/** The client's side of one exchange, good for one. */
export interface Mechanism {
  /** As AUTH names it. */
  readonly name: string;
  /** What the client says first, unasked; undefined where the server begins. */
  readonly initial: Buffer | undefined;
  /** Parts of what was sent that no text may show, whatever they are wrapped in. It grows with the exchange. */
  readonly secrets: readonly string[];
  /** What it means when the server refuses now. */
  readonly refusal: Refusal | undefined;
  /**
   * Answers a challenge, which comes as the server sent it: base64, as it should be.
   * @throws PopfetchError where the exchange is to be cancelled
   */
  answer(challenge: string): Buffer | Promise<Buffer>;
  /** Hears that the server has let us in. @throws PopfetchError where it has not done its part and must not be believed */
  finish(): void;
}

/** The octets of a challenge. @throws PROTOCOL for anything but well-formed base64 */
export function decoded(challenge: string): Buffer {
  const octets = Buffer.from(challenge, 'base64');
  if (octets.toString('base64') === challenge) return octets;
  throw distrusted('the server sent a challenge that is not base64');
}

/** The exchange has gone wrong in a way that no honest server's does. */
export function distrusted(message: string, remedy?: string): PopfetchError {
  return new PopfetchError('PROTOCOL', message, {
    phase: 'login',
    ...(remedy === undefined ? {} : { remedy }),
  });
}

/** A name within SCRAM and GS2 (RFC 5802 section 5.1): `,` and `=` would end it. */
export function saslName(name: string): string {
  return name.replaceAll('=', '=3D').replaceAll(',', '=2C');
}
