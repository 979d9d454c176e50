/** What the fuzzers have found so far, one file each: every one is tried again by the tests. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FoundText } from './parsers.js';
import type { FoundCase } from './sessions.js';

const DIRECTORY = fileURLToPath(new URL('found/', import.meta.url));

/** Something that failed once: a text that one reader read wrongly, or a case with a server. */
export type Found = FoundText | FoundCase;

/** Writes it down. @returns the name of its file */
export function keepFound(found: Found): string {
  const kind = 'plan' in found ? 'session' : found.subject.replace(/\W+/g, '-');
  const name = `${kind}-${found.seed}.json`;
  writeFileSync(join(DIRECTORY, name), `${JSON.stringify(found, null, 2)}\n`);
  return name;
}

/** By name of its file. */
export function allFound(): [name: string, found: Found][] {
  const names = readdirSync(DIRECTORY).filter((name) => name.endsWith('.json'));
  return names.sort().map((name) => [name, JSON.parse(readFileSync(join(DIRECTORY, name), 'utf8')) as Found]);
}
