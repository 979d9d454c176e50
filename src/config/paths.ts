/** Paths as people write them in a config: `~` and `$VAR`, relative to the file they stand in. Pure. */
import { isAbsolute, resolve } from 'node:path';

/** What a path in a config is seen from. */
export interface PathContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  /** Absolute directory of the config file: what relative paths are relative to. */
  readonly directory: string;
}

/** An absolute path, or what would have been expected where none could be made. */
export type Expanded = { readonly path: string } | { readonly expected: string };

const VARIABLE = /\$(?:\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))/g;

/**
 * Makes an absolute path: a leading `~` is the home directory, `$VAR` and `${VAR}` are taken from the environment.
 * Refuses variables that are not set or empty (`$MAIL/inbox` must not silently become `/inbox`), `~name`, and
 * values from the environment that would put a line break or NUL into a path. Any other `$` stands for itself.
 */
export function expand(text: string, { env, home, directory }: PathContext): Expanded {
  const tilde = text.startsWith('~');
  if (/^~[^/]/.test(text))
    return { expected: '"~/" or that home directory in full: "~name" is not expanded' };
  if (tilde && !isAbsolute(home)) return { expected: 'a path without "~": the home directory is not known' };
  const missing = variablesIn(text).find((name) => !env[name]);
  if (missing !== undefined) return { expected: `the environment variable "${missing}" to be set` };
  const rest = (tilde ? text.slice(1) : text).replace(
    VARIABLE,
    (_, braced?: string, plain?: string) => env[braced ?? plain ?? ''] ?? '',
  );
  const path = tilde ? home + rest : rest;
  if (/[\r\n\0]/.test(path)) return { expected: 'variables without line breaks or NUL' };
  return { path: resolve(directory, path) };
}

function variablesIn(text: string): string[] {
  return [...text.matchAll(VARIABLE)].map(([, braced, plain]) => braced ?? plain ?? '');
}
