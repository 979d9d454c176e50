/** Numbers by chance that are the same for the same seed, so that whatever they found can be found again. */

/** The next number, from 0 up to but not including 1. */
export type Random = () => number;

/** A sequence for a seed, which may be any text. */
export function randomOf(seed: string | number): Random {
  let state = 2166136261;
  for (const character of String(seed)) {
    state = Math.imul(state ^ (character.codePointAt(0) ?? 0), 16777619);
  }
  // The generator known as mulberry32.
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** One of them. @throws RangeError where there is none */
export function pick<T>(random: Random, items: readonly T[]): T {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new RangeError('nothing to choose from');
  return item;
}
