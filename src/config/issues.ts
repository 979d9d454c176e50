/** From what the schema checker says to what people read. Knows the checker's issues by shape only. */
import { readable } from '../escape.js';
import { nearest, type Finding, type Path } from './problems.js';

/**
 * The part of a schema issue that is used here. The schema sets every `message` to what is expected there; for
 * unknown keys it is the list of the known ones.
 */
export interface Issue {
  readonly code?: string | undefined;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  /** unrecognized_keys: the keys. */
  readonly keys?: readonly string[];
  /** invalid_value: what is allowed. */
  readonly values?: readonly unknown[];
  /** invalid_union: the issues of each alternative. */
  readonly errors?: readonly (readonly Issue[])[];
  /** invalid_key: what is wrong with the key. */
  readonly issues?: readonly Issue[];
}

/** What stands in place of a secret, whatever its length. */
export const MASK = '********';

/**
 * Turns issues into findings. `root` is the value that was checked and `at` where it stands in the file. A value
 * that is or may be a password is never shown, nor is a key below `password`: `password: {hunter2}` is a mapping
 * with the secret as its key.
 */
export function findings(issues: readonly Issue[], root: unknown, at: Path): Finding[] {
  const flat = issues.flatMap((issue) => flatten(issue, []));
  return flat
    .filter((issue) => !isEcho(issue, flat))
    .flatMap((issue) => {
      const path = [...at, ...issue.path.map(part)];
      if (issue.keys !== undefined) return issue.keys.map((key) => unknownKey(key, path, issue.message));
      if (issue.issues !== undefined) return [invalidKey(issue, path)];
      return [invalid(issue, valueAt(root, issue.path), path)];
    });
}

/** Whether what stands at `path` is a password or token, or may be one. */
function isSecret(path: Path): boolean {
  return path.includes('password') || path.includes('oauth2');
}

/** A value in a few words: strings in quotes and cut to 60 characters, lists and mappings only by kind. */
function show(value: unknown): string {
  if (typeof value === 'string') {
    return readable(JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value));
  }
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint')
    return String(value);
  return kind(value);
}

function unknownKey(key: string, path: Path, known: string): Finding {
  const suggestion = nearest(key, known.split(', '));
  const expected = `one of ${known}`;
  if (isSecret(path)) return { path, what: 'unknown key', expected, suggestion };
  return { path: [...path, presentable(key)], what: 'unknown key', expected, suggestion };
}

/** Cuts a key where it stops looking like one: `password:hunter2` without its blank is one key in a flow mapping. */
function presentable(key: string): string {
  const [word] = /^[\w$-]{0,40}/.exec(key) ?? [''];
  return word === key ? key : `${word}...`;
}

function invalidKey(issue: Issue, path: Path): Finding {
  return { path, what: 'not a valid name', expected: issue.issues?.[0]?.message };
}

function invalid(issue: Issue, value: unknown, path: Path): Finding {
  if (path.length === 0 && (value === undefined || value === null)) {
    return { path, what: 'the file is empty', expected: issue.message };
  }
  if (value === undefined) return { path, what: 'missing', expected: issue.message };
  const shown = isSecret(path) ? MASK : isContainer(path) ? kind(value) : show(value);
  const words = (issue.values ?? []).filter((word) => typeof word === 'string');
  const suggestion = typeof value === 'string' && !isSecret(path) ? nearest(value, words) : undefined;
  return { path, what: `${shown} is not valid`, expected: issue.message, suggestion, value: shown };
}

/** Where only a mapping belongs, a scalar is most likely a piece of what belongs in it: shown by kind only. */
function isContainer([top, ...below]: Path): boolean {
  if (top === 'accounts') return below.length < 2;
  return top === undefined || (top === 'defaults' && below.length === 0);
}

/** Replaces "none of these" by the issues of the one alternative whose type fits, if there is one. */
function flatten(issue: Issue, at: readonly PropertyKey[]): Issue[] {
  const path = [...at, ...issue.path];
  if (issue.errors === undefined) return [{ ...issue, path }];
  const values = wordsOf(issue);
  const meant = issue.errors.find((alternative) => !alternative.some(isOtherType));
  if (meant === undefined) return [{ path, message: issue.message, values }];
  return meant.flatMap((inner) => flatten(inner.path.length === 0 ? { values, ...inner } : inner, path));
}

/** Whether an alternative is out of the question: not even the kind of value is right. */
function isOtherType(issue: Issue): boolean {
  if (issue.path.length > 0) return false;
  if (issue.errors !== undefined) return issue.errors.every((alternative) => alternative.some(isOtherType));
  return issue.code === 'invalid_type' || issue.code === 'invalid_value';
}

/** Every word that would have been right here, in whichever alternative. */
function wordsOf(issue: Issue): readonly unknown[] {
  return [...(issue.values ?? []), ...(issue.errors ?? []).flat().flatMap(wordsOf)];
}

/** Beside an unknown key, "exactly one of these is needed" says nothing new. */
function isEcho(issue: Issue, all: readonly Issue[]): boolean {
  return (
    issue.code === 'custom' && all.some((other) => other.keys !== undefined && same(other.path, issue.path))
  );
}

function same(a: readonly PropertyKey[], b: readonly PropertyKey[]): boolean {
  return a.length === b.length && a.every((part, index) => part === b[index]);
}

function part(key: PropertyKey): string | number {
  return typeof key === 'symbol' ? String(key) : key;
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined,
    root,
  );
}

function kind(value: unknown): string {
  if (value === null || value === undefined) return 'an empty value';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'symbol') return value.description ?? 'a symbol';
  if (typeof value === 'string') return 'a text';
  if (typeof value !== 'object') return `a ${typeof value}`;
  return Object.keys(value).length === 0 ? 'an empty mapping' : 'a mapping';
}
