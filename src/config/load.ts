/**
 * Reads a config file. Values come from cosmiconfig's loaders, called one by one: an explorer of cosmiconfig reads,
 * and may execute, files of the current directory as soon as it is made (`.config/config.js` and others, whatever
 * its options), follows `$import` to any other file, and passes over files that it may not read.
 */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { extname } from 'node:path';
import type { Stats } from 'node:fs';
import { defaultLoaders, type Loader } from 'cosmiconfig';
import { errno } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { printable } from '../escape.js';
import type { Config } from './account.js';
import { locator, type Format } from './lines.js';
import { nestingFinding } from './nesting.js';
import { refuseForeign, refuseReadable } from './permissions.js';
import { plain } from './plain.js';
import { ConfigError, renderPath, type Finding } from './problems.js';
import { resolve } from './resolve.js';
import { findConfig, type Search } from './search.js';
import { jsonFinding, syntaxFinding } from './syntax.js';

export { findConfig, searchedPlaces, STARTER_CONFIG } from './search.js';

/** What a config is loaded with. `home`, `cwd`: absolute. */
export interface LoadOptions extends Search {
  /** The user this runs as: files of any other user but root are refused. */
  readonly uid: number;
}

/** A config is some lines of text; a larger file is a mistake or an attack. */
const LARGEST = 1024 ** 2;

/** Problems that are told one by one. */
const MOST_TOLD = 200;

/** What the ending of a file's name says about it. */
const ENDINGS: Readonly<Record<string, { readonly format: Format; readonly load: Loader }>> = {
  '': { format: 'yaml', load: defaultLoaders.noExt },
  '.yaml': { format: 'yaml', load: defaultLoaders['.yaml'] },
  '.yml': { format: 'yaml', load: defaultLoaders['.yml'] },
  '.json': { format: 'json', load: defaultLoaders['.json'] },
  '.toml': { format: 'toml', load: loadToml },
  '.js': { format: 'code', load: defaultLoaders['.js'] },
  '.cjs': { format: 'code', load: defaultLoaders['.cjs'] },
  '.mjs': { format: 'code', load: defaultLoaders['.mjs'] },
  '.ts': { format: 'code', load: defaultLoaders['.ts'] },
};

interface Source {
  readonly file: string;
  readonly format: Format;
  readonly load: Loader;
  readonly text: string;
  readonly stats: Stats;
}

/**
 * Finds, reads and checks the config.
 * @throws ConfigError (CONFIG) with every problem of the file; PopfetchError CONFIG when there is no file or it cannot
 * be read; PERMISSION when others could have written it, or can read a password in it.
 */
export async function loadConfig(options: LoadOptions): Promise<Config> {
  const file = await findConfig(options);
  const source = await read(file, options.uid);
  const { value, findings } = plain(await parse(source));
  if (holdsPassword(value)) refuseReadable(file, source.stats);
  if (value === undefined && findings.length > 0) throw await problems(source, findings);
  const resolved = resolve(value, { file, env: options.env, home: options.home });
  if ('config' in resolved && findings.length === 0) return resolved.config;
  throw await problems(source, [...findings, ...('findings' in resolved ? resolved.findings : [])]);
}

/** The values of the file, not yet checked. */
async function parse(source: Source): Promise<unknown> {
  const { file, format, load, text } = source;
  const deep = format === 'yaml' || format === 'toml' ? nestingFinding(text, format) : undefined;
  if (deep !== undefined) throw await problems(source, [deep]);
  try {
    const value: unknown = await load(file, text);
    const repeated = format === 'json' ? jsonFinding(text) : undefined;
    if (repeated !== undefined) throw await problems(source, [repeated]);
    if (format === 'code' && value === undefined) throw await problems(source, [NO_EXPORT]);
    return value;
  } catch (error) {
    if (error instanceof PopfetchError) throw error;
    if (format === 'code') throw failedProgram(file, error);
    throw await problems(source, [syntaxFinding(error, text, format)]);
  }
}

const NO_EXPORT: Finding = {
  path: [],
  what: 'no default export',
  expected: 'export default {accounts: ...}',
};

async function loadToml(_file: string, text: string): Promise<unknown> {
  const { parse: parseToml } = await import('smol-toml');
  return parseToml(text);
}

/**
 * A config that is a program and throws. Node's own errors quote the source (`hunter2 is not defined`), so of these
 * only the kind is shown.
 */
function failedProgram(file: string, error: unknown): PopfetchError {
  const { name, message } = error instanceof Error ? error : { name: 'Error', message: 'it threw no Error' };
  if (extname(file).toLowerCase() === '.ts' && /'typescript'|findConfigFile|transpileModule/.test(message)) {
    const remedy = 'run npm install --global typescript@6, or write the config in YAML';
    return cannot(
      `${file} takes the "typescript" package, version 5 or 6, installed beside popfetch`,
      remedy,
    );
  }
  // Node 20, when the loader tries require() on what import() could not parse.
  const unparsed = errno(error) === 'ERR_INTERNAL_ASSERTION';
  const words = name === 'Error' && !unparsed ? `: ${printable(message.split('\n')[0] ?? '', 200)}` : '';
  return cannot(
    `${file} failed with ${unparsed ? 'SyntaxError' : name}${words}`,
    'run it with node to see where',
  );
}

async function problems({ file, format, text }: Source, all: readonly Finding[]): Promise<ConfigError> {
  const found = all.length > MOST_TOLD ? [...all.slice(0, MOST_TOLD), more(all.length - MOST_TOLD)] : all;
  // Where nothing has a path, the text is not read a second time: it may be what its first reader fell over.
  const wanted = found.some(({ line, path }) => line === undefined && path.length > 0);
  const locate = wanted ? await locator(text, format) : () => undefined;
  return new ConfigError(
    file,
    found.map((finding) => ({
      ...finding,
      file,
      path: renderPath(finding.path),
      line: finding.line ?? locate(finding.path),
    })),
  );
}

function more(count: number): Finding {
  return { path: [], what: `and ${count} more problems` };
}

/** Whether a password itself, not where to get it, stands anywhere in the file. */
function holdsPassword(value: unknown): boolean {
  const { defaults, accounts } = (value ?? {}) as {
    readonly defaults?: unknown;
    readonly accounts?: unknown;
  };
  const parts: unknown[] = Object.values(accounts ?? {});
  return [defaults, ...parts].some((part) => {
    const { password } = (part ?? {}) as { readonly password?: unknown };
    return password !== undefined && password !== null && typeof password !== 'object';
  });
}

function cannot(what: string, remedy: string, cause?: unknown): PopfetchError {
  return new PopfetchError('CONFIG', what, { phase: 'config', remedy, cause });
}

/** Reads the file through one handle, so that what is checked is what is read. */
async function read(file: string, uid: number): Promise<Source> {
  const ending = ENDINGS[extname(file).toLowerCase()];
  if (ending === undefined) {
    const remedy = `give it one of these endings: ${Object.keys(ENDINGS).filter(Boolean).join(' ')}`;
    throw cannot(`the name of ${file} does not say how it is written`, remedy);
  }
  const handle = await openFile(file);
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw cannot(`${file} is not a regular file`, 'name a file');
    refuseForeign(file, stats, uid);
    return { file, ...ending, stats, text: await readText(handle, file) };
  } finally {
    await handle.close();
  }
}

async function openFile(file: string): Promise<FileHandle> {
  try {
    // A pipe would keep a blocking open() waiting for its writer.
    return await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const denied = errno(error) === 'EACCES';
    throw new PopfetchError(
      denied ? 'PERMISSION' : 'CONFIG',
      `cannot read ${file}: ${errno(error) ?? 'error'}`,
      {
        phase: 'config',
        remedy: 'check owner and permissions of the file and its directories',
        cause: error,
      },
    );
  }
}

async function readText(handle: FileHandle, file: string): Promise<string> {
  const buffer = Buffer.alloc(LARGEST + 1);
  let length = 0;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length);
    length += bytesRead;
    if (bytesRead === 0 || length === buffer.length) break;
  }
  if (length > LARGEST) throw cannot(`${file} is larger than 1 MiB`, 'a config holds accounts only');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length));
  } catch (error) {
    throw cannot(`${file} is not UTF-8 text`, 'save it as UTF-8', error);
  }
}
