/** Chance that can be had again: the same numbers for the same seed. */
import { generator } from './mixed.js';

/** A sequence of numbers that look random. */
export interface Chance {
  /** From 0 up to, not including, 1. */
  next(): number;
  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number;
  /** True with this probability. */
  happens(probability: number): boolean;
  /** One of these. Throws a RangeError where there is none. */
  pick<T>(from: readonly T[]): T;
  /** `count` of these, or all where there are fewer; each at most once. */
  some<T>(from: readonly T[], count: number): T[];
}

/** The sequence of a seed, a whole number. */
export function chance(seed: number): Chance {
  const next = generator(seed);
  const between = (least: number, most: number): number => least + Math.floor(next() * (most - least + 1));
  return {
    next,
    between,
    happens: (probability) => next() < probability,
    pick(from) {
      if (from.length === 0) throw new RangeError('there is nothing to pick from');
      return from[between(0, from.length - 1)]!;
    },
    some(from, count) {
      const left = [...from];
      const picked = [];
      while (picked.length < count && left.length > 0) {
        picked.push(...left.splice(between(0, left.length - 1), 1));
      }
      return picked;
    },
  };
}
