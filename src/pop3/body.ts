/** The body of one answer on its way to its reader. */
import { PopfetchError } from '../errors.js';
import { inPhase } from './dialogue.js';

/**
 * A body that may be left early without breaking the conversation: what its reader does not take is read to the dot
 * by drain(). It may not grow past a limit.
 */
export class Body implements AsyncIterable<Buffer> {
  readonly #pieces: AsyncGenerator<Buffer, void, undefined>;
  readonly #limit: number;
  readonly #prove: (octets: number) => Promise<void>;
  #octets = 0;
  #proof: Promise<void> | undefined;

  /** Whether it grew past its limit: then nothing more is to be read from this connection. */
  get overgrown(): boolean {
    return this.#octets > this.#limit;
  }

  /**
   * @param limit octets allowed
   * @param prove called once at the end with the octets of the body; what it throws comes in place of the end
   */
  constructor(
    pieces: AsyncGenerator<Buffer, void, undefined>,
    limit: number,
    prove: (octets: number) => Promise<void>,
  ) {
    this.#pieces = pieces;
    this.#limit = limit;
    this.#prove = prove;
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer, void, undefined> {
    return {
      next: () => this.#next(),
      // Not passed on: leaving a `for await` early must not end the generator that drain() goes on with.
      return: () => Promise.resolve({ done: true, value: undefined }),
    };
  }

  /** Reads what is left, up to the limit. At once when the reader has seen the end. @throws what the connection throws. */
  async drain(): Promise<void> {
    while (!this.overgrown && (await this.#next()).done !== true);
  }

  async #next(): Promise<IteratorResult<Buffer, void>> {
    const result = await this.#pieces.next().catch((error: unknown) => {
      throw inPhase(error, 'retrieve');
    });
    if (result.done === true) await (this.#proof ??= this.#prove(this.#octets));
    else {
      this.#octets += result.value.length;
      if (this.overgrown) {
        throw new PopfetchError(
          'DATA',
          `the message is larger than ${this.#limit} octets, whatever LIST said`,
          {
            phase: 'retrieve',
            remedy: 'raise maxSize to fetch it',
          },
        );
      }
    }
    return result;
  }
}
