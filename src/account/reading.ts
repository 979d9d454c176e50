/** A body that tells when its reader has had all of it, or has turned away. */
export class Reading implements AsyncIterable<Buffer> {
  readonly ended: Promise<void>;
  readonly #body: AsyncIterable<Buffer>;
  readonly #progress: (octets: number) => void;
  #end: () => void = () => undefined;
  #broken = false;

  constructor(body: AsyncIterable<Buffer>, progress: (octets: number) => void) {
    this.#body = body;
    this.#progress = progress;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** Whether it ended with an error. */
  get broken(): boolean {
    return this.#broken;
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer, void, undefined> {
    const inner = this.#body[Symbol.asyncIterator]();
    return {
      next: async () => {
        try {
          const result = (await inner.next()) as IteratorResult<Buffer, void>;
          if (result.done === true) this.#end();
          else this.#progress(result.value.length);
          return result;
        } catch (error) {
          this.#broken = true;
          this.#end();
          throw error;
        }
      },
      return: async () => {
        await inner.return?.();
        this.#end();
        return { done: true, value: undefined };
      },
    };
  }
}
