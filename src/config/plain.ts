/** From whatever a loader returns to plain data that cannot surprise the checks. Pure. */
import type { Finding, Path } from './problems.js';

/** More values than any real config has, far fewer than an alias bomb unfolds to. */
const MOST_VALUES = 100_000;
/** Deeper than any real config. Also ends a list that contains itself. */
const DEEPEST = 20;

/** Keys that reach beyond the object they stand in when somebody copies it carelessly. */
const FORBIDDEN: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** Data made of mappings without prototype, lists, text, numbers, booleans and null. */
export interface Plain {
  readonly value: unknown;
  readonly findings: readonly Finding[];
}

/**
 * Copies `value`. Mappings lose their prototype and keys that could change one, which are reported; keys without a
 * value are dropped; what is neither data nor a mapping (a date, a function) becomes a symbol that says so and fits
 * nowhere. Where YAML aliases unfold to more than any config holds, the copy ends and that is the one finding.
 */
export function plain(value: unknown): Plain {
  const findings: Finding[] = [];
  let left = MOST_VALUES;
  const copy = (from: unknown, path: Path): unknown => {
    left -= 1;
    if (left < 0 || path.length > DEEPEST) throw new TooMuch();
    if (Array.isArray(from)) return from.map((each, index) => copy(each, [...path, index]));
    if (typeof from === 'object' && from !== null)
      return isRecord(from) ? copyMapping(from, path) : Symbol(nameOf(from));
    return typeof from === 'function' ? Symbol('a function') : from;
  };
  const copyMapping = (from: Readonly<Record<string, unknown>>, path: Path): object => {
    const to = Object.create(null) as Record<string, unknown>;
    for (const [key, each] of Object.entries(from)) {
      if (FORBIDDEN.has(key)) findings.push({ path: [...path, key], what: 'this key is never allowed' });
      else if (each !== undefined) to[key] = copy(each, [...path, key]);
    }
    return to;
  };
  try {
    return { value: copy(value, []), findings };
  } catch (error) {
    if (!(error instanceof TooMuch)) throw error;
    return { value: undefined, findings: [{ path: [], what: 'holds too many or too deeply nested values' }] };
  }
}

class TooMuch extends Error {}

function isRecord(value: object): value is Readonly<Record<string, unknown>> {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

function nameOf(value: object): string {
  return value instanceof Date ? 'a date' : 'something that is not plain data';
}
