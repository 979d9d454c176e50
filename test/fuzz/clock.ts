/**
 * Time that passes only when there is nothing else to do: a server that never answers costs no waiting, and the same
 * seed gives the same order of things whatever else the machine does.
 */
import { setImmediate as turn } from 'node:timers/promises';

interface Timer {
  readonly at: number;
  readonly ring: () => void;
}

/** Nothing is under way, and no timer will ever ring: what was waited for cannot come. */
class Hung extends Error {
  override readonly name = 'Hung';
}

/** Turns of the event loop after which what does not wait for time has happened. */
const TURNS = 2;

/**
 * Does `work` with `setTimeout` and `performance.now` of this process in its hands; one at a time.
 * @returns how many milliseconds have passed for it. @throws Hung, and what the work throws
 */
export async function inVirtualTime(work: () => Promise<void>): Promise<number> {
  const real = { setTimeout: globalThis.setTimeout, clearTimeout: globalThis.clearTimeout };
  const timers = new Set<Timer>();
  let now = 0;
  globalThis.setTimeout = ((ring: () => void, delay = 1) => {
    const timer: Timer = { at: now + Math.max(1, delay), ring };
    timers.add(timer);
    return timer;
  }) as unknown as typeof setTimeout;
  globalThis.clearTimeout = ((timer: Timer | undefined) => {
    if (timer !== undefined) timers.delete(timer);
  }) as unknown as typeof clearTimeout;
  performance.now = () => now;
  try {
    const state = { settled: false };
    const done = work().finally(() => {
      state.settled = true;
    });
    // It is awaited below.
    done.catch(() => undefined);
    for (;;) {
      for (let count = 0; count < TURNS && !state.settled; count += 1) await turn();
      if (state.settled) break;
      const next = [...timers].sort((a, b) => a.at - b.at)[0];
      if (next === undefined) throw new Hung('the run waits for something that cannot come');
      timers.delete(next);
      now = Math.max(now, next.at);
      next.ring();
    }
    await done;
    return now;
  } finally {
    Object.assign(globalThis, real);
    Reflect.deleteProperty(performance, 'now');
  }
}
