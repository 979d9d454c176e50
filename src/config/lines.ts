/** On which line of a config file a value stands. Only asked when there are problems to report. */
import type { Path } from './problems.js';

/** How a config file is written; `code` is a JavaScript or TypeScript module. */
export type Format = 'yaml' | 'json' | 'toml' | 'code';

/** Finds the 1-based line of the value at a path, or of the nearest part above it; undefined where nobody can know. */
export type Locate = (path: Path) => number | undefined;

/** Reads `text` once for all the questions that follow; where nobody can read it, no line is known. */
export async function locator(text: string, format: Format): Promise<Locate> {
  try {
    return await read(text, format);
  } catch {
    // A text may be nested deeper than its parser can go, and what is wrong with it is known already.
    return () => undefined;
  }
}

async function read(text: string, format: Format): Promise<Locate> {
  switch (format) {
    case 'yaml':
    case 'json': {
      const { yamlLines } = await import('./yaml.js');
      return yamlLines(text);
    }
    case 'toml':
      return tomlLines(text);
    case 'code':
      return () => undefined;
    default:
      return format satisfies never;
  }
}

/** 1-based line and column of an offset. */
export function placeOf(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset).split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}

const TOML_KEY = /^(?:"(?:[^"\\]|\\.)*"|'[^']*'|[\w-]+)$/;
const TOML_LINE =
  /^\s*(?:\[\[?\s*(?<table>(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\]"'#])+)\]|(?<key>(?:"(?:[^"\\]|\\.)*"|'[^']*'|[\w.\s-])+?)\s*=)/;

/**
 * Knows tables (`[accounts.work]`), keys and dotted keys, one a line: what stands in an inline table is found at its
 * first line. A line of a multi-line string that looks like a key can mislead it; only a line number is at stake.
 */
function tomlLines(text: string): Locate {
  const places: { readonly path: readonly string[]; readonly line: number }[] = [];
  let table: readonly string[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const { table: opened, key } = TOML_LINE.exec(line)?.groups ?? {};
    if (opened !== undefined) table = tomlPath(opened);
    if (opened !== undefined) places.push({ path: table, line: index + 1 });
    else if (key !== undefined) places.push({ path: [...table, ...tomlPath(key)], line: index + 1 });
  }
  return (wanted) => {
    const path = wanted.filter((step) => typeof step === 'string');
    let [line, deepest]: [number | undefined, number] = [undefined, 0];
    for (const place of places) {
      const depth = sharedLength(place.path, path);
      if (depth > deepest) [line, deepest] = [place.line, depth];
    }
    return line;
  };
}

function tomlPath(text: string): string[] {
  const parts = text.match(/"(?:[^"\\]|\\.)*"|'[^']*'|[^.\s]+/g) ?? [];
  return parts.filter((part) => TOML_KEY.test(part)).map((part) => part.replace(/^(["'])(.*)\1$/, '$2'));
}

/** How many leading steps agree. A place inside the wanted value points at its first line. */
function sharedLength(place: readonly string[], wanted: readonly string[]): number {
  const differs = place.findIndex((step, index) => step !== wanted[index]);
  return differs === -1 ? place.length : differs;
}
