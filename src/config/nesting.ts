/** How deep a text seems to be nested. Asked before a parser goes down into it: some take a GiB to come back. Pure. */
import type { Finding } from './problems.js';

/** Deeper than any config, and no trouble for any parser. Quotes are not looked for, so that signs in them count, too. */
const DEEPEST = 1000;

/** A line of YAML that opens a hundred lists or mappings at once. */
const LADDER = /^[ \t]*(?:[-?:][ \t]+){100}/m;

/** A key of TOML with a hundred dots. */
const DOTS = /^[ \t[]*(?:[\w"'-]{1,200}[ \t]*\.[ \t]*){100}/m;

const TOO_DEEP: Finding = { path: [], what: 'nested too deeply' };

/** A finding where a text opens more than anybody closes, at one place; undefined where it may be read. */
export function nestingFinding(text: string, format: 'yaml' | 'toml'): Finding | undefined {
  if ((format === 'yaml' ? LADDER : DOTS).test(text)) return TOO_DEEP;
  let depth = 0;
  for (const [sign] of text.matchAll(/[[\]{}]/g)) {
    depth = sign === '[' || sign === '{' ? depth + 1 : Math.max(0, depth - 1);
    if (depth > DEEPEST) return TOO_DEEP;
  }
  return undefined;
}
