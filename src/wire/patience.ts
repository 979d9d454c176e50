/** How long a server that sends too little is waited for. */
import { SLOWEST, type Pace } from './limits.js';

/**
 * Watches over the pace of one body. Only waiting for the server counts, so that a slow reader does not make a slow
 * server. Pure: whoever waits says for how long.
 */
export class Patience {
  readonly #pace: Pace;
  #due: number;
  #left: number;

  constructor(pace: Pace = SLOWEST) {
    this.#pace = pace;
    this.#due = pace.octets;
    this.#left = pace.within;
  }

  /** Milliseconds that may still be waited before more has to have come; 0 or less: it is over. */
  get left(): number {
    return this.#left;
  }

  /** @param time milliseconds */
  waited(time: number): void {
    this.#left -= time;
  }

  /** Begins anew with every full measure of octets. */
  received(octets: number): void {
    this.#due -= octets;
    if (this.#due > 0) return;
    this.#due = this.#pace.octets;
    this.#left = this.#pace.within;
  }
}
