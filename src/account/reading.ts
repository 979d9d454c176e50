/** The body of a message on its way to a destination. */
import { PopfetchError } from '../errors.js';
import type { Listed } from '../pop3/mailbox.js';

/** Octets that are no message yet: none at all, or an empty line. */
const NOTHING = 2;

/**
 * A body that tells when its reader has had all of it, or has turned away. One without anything in it, where LIST
 * speaks of more or does not say, ends with REFUSED: taking it for the message could lose the message.
 */
export class Reading implements AsyncIterable<Buffer> {
  readonly ended: Promise<void>;
  readonly #body: AsyncIterable<Buffer>;
  readonly #listed: Listed;
  readonly #progress: (octets: number) => void;
  #octets = 0;
  #end: () => void = () => undefined;
  #broken = false;

  constructor(body: AsyncIterable<Buffer>, listed: Listed, progress: (octets: number) => void) {
    this.#body = body;
    this.#listed = listed;
    this.#progress = progress;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** Whether it could not be read to its end. */
  get broken(): boolean {
    return this.#broken;
  }

  get #isMissing(): boolean {
    const { size, unsized } = this.#listed;
    return this.#octets <= NOTHING && (size > NOTHING || unsized === true);
  }

  async #next(inner: AsyncIterator<Buffer>): Promise<IteratorResult<Buffer, void>> {
    try {
      const result = (await inner.next()) as IteratorResult<Buffer, void>;
      if (result.done === true) this.#end();
      else {
        this.#octets += result.value.length;
        this.#progress(result.value.length);
      }
      return result;
    } catch (error) {
      this.#broken = true;
      this.#end();
      throw error;
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer, void, undefined> {
    const inner = this.#body[Symbol.asyncIterator]();
    return {
      next: async () => {
        const result = await this.#next(inner);
        if (result.done === true && this.#isMissing) throw missing(this.#listed);
        return result;
      },
      return: async () => {
        await inner.return?.();
        this.#end();
        return { done: true, value: undefined };
      },
    };
  }
}

function missing({ number }: Listed): PopfetchError {
  return new PopfetchError('REFUSED', `the server gives message ${number} without any content`, {
    phase: 'retrieve',
    remedy: 'it stays on the server and is tried once a day',
  });
}
