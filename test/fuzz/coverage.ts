/** Which parts of the source have been run, as the engine counts them: what reaches a new one is worth keeping. */
import { Session, type Profiler } from 'node:inspector';

/** Counts from when it is made to close(); the process is slower meanwhile. */
export class Coverage {
  readonly #session = new Session();
  readonly #known = new Set<string>();

  constructor() {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: false, detailed: true });
  }

  /** Parts of src/ that were run for the first time since it was last asked. */
  fresh(): number {
    let count = 0;
    this.#session.post('Profiler.takePreciseCoverage', (error, { result }) => {
      if (error !== null) throw error;
      for (const script of result) if (/\/src\/[^?]*\.ts/.test(script.url)) count += this.#add(script);
    });
    return count;
  }

  /** @returns how many parts were run in all */
  close(): number {
    this.#session.post('Profiler.stopPreciseCoverage');
    this.#session.disconnect();
    return this.#known.size;
  }

  #add({ url, functions }: Profiler.ScriptCoverage): number {
    const before = this.#known.size;
    for (const { ranges } of functions) {
      for (const { startOffset, endOffset, count } of ranges) {
        if (count > 0) this.#known.add(`${url}:${startOffset}-${endOffset}`);
      }
    }
    return this.#known.size - before;
  }
}
