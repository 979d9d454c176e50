/** What the parser fuzzer works on: a reader of text that others write, texts to begin with, and what must always hold. */
import type { Chance } from '../support/chance.js';

/** One reader. */
export interface Subject {
  readonly name: string;
  /** Texts of the usual sort, as latin1. */
  readonly corpus: readonly string[];
  /** Reads the text and throws where something does not hold. Must come to the same for the same text and chance. */
  readonly check: (text: string, by: Chance) => void;
}

/** @throws Error with these words where it is not so */
export function must(so: boolean, words: string): asserts so {
  if (!so) throw new Error(words);
}

/** @throws Error where the two are not equal */
export function same(got: unknown, expected: unknown, what: string): void {
  const [a, b] = [got, expected].map((value) => (typeof value === 'string' ? value : JSON.stringify(value)));
  if (a !== b) throw new Error(`${what}: ${short(a)} instead of ${short(b)}`);
}

function short(text = 'nothing'): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}
