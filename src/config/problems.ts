/** What is wrong with a config file, said so that it can be mended in one go: file, line, path, value, expectation. */
import { distance } from 'fastest-levenshtein';
import { PopfetchError } from '../errors.js';
import { readable } from '../escape.js';

/** Keys and list positions from the top of the file to a value. */
export type Path = readonly (string | number)[];

/** One thing that is wrong, before anybody knows on which line it stands. */
export interface Finding {
  readonly path: Path;
  /** The fault in a few words: `unknown key`, `missing`, `99999 is not valid`. Holds no secret. */
  readonly what: string;
  /** What would have been right. */
  readonly expected?: string | undefined;
  /** The key or word that was probably meant. */
  readonly suggestion?: string | undefined;
  /** The value as it may be shown: `********` where it is or could be a password. */
  readonly value?: string | undefined;
  /** Where the fault itself knows its place (a syntax error); 1-based. */
  readonly line?: number | undefined;
  readonly column?: number | undefined;
}

/** A {@link Finding} with its place. */
export interface Problem extends Omit<Finding, 'path'> {
  readonly file: string;
  /** 1-based; undefined where it is not known (configs that are programs). */
  readonly line: number | undefined;
  /** `accounts.work.deliver[0].maildir`; empty for the file as a whole. */
  readonly path: string;
}

/**
 * A config that cannot be used. `message` is the summary (`2 problems in FILE`); `problems` has all of them, in the
 * order of the file. Code CONFIG, exit status 78.
 */
export class ConfigError extends PopfetchError {
  readonly problems: readonly Problem[];

  constructor(file: string, problems: readonly Problem[]) {
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
    super('CONFIG', `${count} in ${file}`, { phase: 'config' });
    this.problems = [...problems].sort(byLine);
  }
}

/** One line for people: `FILE:LINE: accounts.work.prot: unknown key; did you mean "port"?` */
export function renderProblem({ file, line, column, path, what, expected, suggestion }: Problem): string {
  const place = [file, line, column].filter((part) => part !== undefined).join(':');
  const hint =
    suggestion !== undefined
      ? `; did you mean "${suggestion}"?`
      : expected !== undefined
        ? ` (expected ${expected})`
        : '';
  return `${place}: ${path === '' ? '' : `${path}: `}${what}${hint}`;
}

/** A path for people: `accounts.work.deliver[0].mbox`; what is not a plain word is put in quotes. */
export function renderPath(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === 'number') return `[${part}]`;
      const text = /^[\p{L}\p{N}_$-]+$/u.test(part) ? part : JSON.stringify(readable(part));
      return index === 0 ? text : `.${text}`;
    })
    .join('');
}

/** The one of `known` that was probably meant by `word`, or undefined when none is near enough. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const plain = simplify(word);
  const meant = OTHER_NAMES[plain];
  if (meant !== undefined && known.includes(meant)) return meant;
  const ranked = known
    .map((name) => ({ name, far: farness(plain, simplify(name)) }))
    .sort((a, b) => a.far - b.far);
  const best = ranked[0];
  const reach = Math.max(1, Math.floor(plain.length / 3));
  return best !== undefined && best.far <= reach ? best.name : undefined;
}

/** Words that other mail programs use for the same thing. */
const OTHER_NAMES: Readonly<Record<string, string>> = Object.assign(Object.create(null) as object, {
  server: 'host',
  hostname: 'host',
  username: 'user',
  login: 'user',
  pass: 'password',
  passwd: 'password',
  ssl: 'tls',
  starttls: 'tls',
  maildir: 'deliver',
  mbox: 'deliver',
  destination: 'deliver',
  keep: 'delete',
  account: 'accounts',
  default: 'defaults',
});

function simplify(word: string): string {
  return word.toLowerCase().replace(/[-_ ]/g, '');
}

/** Edit distance, except that swapped letters (`prot`) count once: they are the commonest slip of all. */
function farness(a: string, b: string): number {
  const anagram = a.length === b.length && letters(a) === letters(b);
  return anagram && a !== b ? 1 : distance(a, b);
}

/** The letters of a word in alphabetical order. */
function letters(word: string): string {
  return Array.from(word).sort().join('');
}

function byLine(a: Problem, b: Problem): number {
  return (a.line ?? Infinity) - (b.line ?? Infinity) || 0;
}
