/** The parser fuzzer: texts by chance for every reader, those kept that reach new code, and the smallest that fails. */
import { chance } from '../support/chance.js';
import { Coverage } from './coverage.js';
import { mutated } from './mutate.js';
import type { Subject } from './subject.js';
import { MAIL } from './subjects-mail.js';
import { OWN } from './subjects-own.js';
import { REPLIES } from './subjects-replies.js';

export const SUBJECTS: readonly Subject[] = [...REPLIES, ...MAIL, ...OWN];

/** A text that failed, as small as it could be made. */
export interface FoundText {
  readonly subject: string;
  readonly seed: number;
  /** As latin1. */
  readonly text: string;
  readonly problem: string;
}

/** What a row of texts came to. */
export interface ParsersResult {
  readonly executions: number;
  /** Texts that were kept because they reached new code. */
  readonly kept: number;
  /** Parts of the source that were reached while that was counted. */
  readonly parts: number;
  /** The longest time that one text took, in milliseconds of this process. */
  readonly slowest: number;
  readonly found: readonly FoundText[];
}

/** Milliseconds of processor time that no text may take: what doubles with each octet takes longer. */
const TOO_SLOW = 1000;

interface State {
  readonly subject: Subject;
  readonly corpus: string[];
}

/** How it is gone about. */
export interface ParsersOptions {
  /** Executions during which it is counted what is reached; it makes them slower. */
  readonly guided?: number;
  /** Milliseconds since 1970 at which it ends in any case. */
  readonly until?: number;
  readonly most?: number;
  readonly tell?: (line: string) => void;
}

/** Reads texts until there were so many, or enough has been found. */
export function fuzzParsers(
  seed: number,
  executions: number,
  { guided = 0, until = Infinity, most = 5, tell = () => undefined }: ParsersOptions = {},
): ParsersResult {
  const states = SUBJECTS.map(({ ...subject }): State => ({ subject, corpus: [...subject.corpus] }));
  const by = chance(seed);
  const found: FoundText[] = [];
  const coverage = guided > 0 ? new Coverage() : undefined;
  const result = { executions: 0, kept: 0, parts: 0, slowest: 0 };
  while (result.executions < executions && found.length < most && Date.now() < until) {
    const { subject, corpus } = states[result.executions % states.length]!;
    const text = mutated(corpus, by);
    const own = by.between(0, 2 ** 31);
    result.executions += 1;
    const { problem, time } = tried(subject, text, own);
    result.slowest = Math.max(result.slowest, time);
    if (problem !== undefined && !found.some((each) => each.subject === subject.name)) {
      found.push({ subject: subject.name, seed: own, ...smallest(subject, text, own, problem) });
      tell(`${subject.name}: ${found.at(-1)?.problem ?? ''}`);
    }
    if (coverage === undefined || result.executions > guided) continue;
    if (coverage.fresh() > 0) {
      corpus.push(text);
      result.kept += 1;
    }
    if (result.executions === guided) result.parts = coverage.close();
  }
  return { ...result, found };
}

/** What is wrong with a text, and how long it took. */
export function tried(
  { check }: Subject,
  text: string,
  seed: number,
): { readonly problem: string | undefined; readonly time: number } {
  const start = process.cpuUsage();
  let problem: string | undefined;
  try {
    check(text, chance(seed));
  } catch (error) {
    problem = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
  const { user, system } = process.cpuUsage(start);
  const time = (user + system) / 1000;
  if (time > TOO_SLOW) problem ??= `it took ${Math.round(time)} ms`;
  return { problem, time };
}

function smallest(
  subject: Subject,
  text: string,
  seed: number,
  problem: string,
): { readonly text: string; readonly problem: string } {
  let best = { text, problem };
  for (let length = Math.ceil(text.length / 2); length >= 1; length = Math.floor(length / 2)) {
    for (let at = 0; at < best.text.length;) {
      const candidate = best.text.slice(0, at) + best.text.slice(at + length);
      const again = tried(subject, candidate, seed).problem;
      if (again === undefined) at += length;
      else best = { text: candidate, problem: again };
    }
  }
  return best;
}
