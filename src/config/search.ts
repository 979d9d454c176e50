/** Where a config file is looked for. Never in the current directory or above it: a config can name commands to run. */
import { stat } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { errno } from '../disk.js';
import { PopfetchError } from '../errors.js';

/** What decides where to look. */
export interface Search {
  /** The file the user named (`-c`); relative to `cwd`. */
  readonly file?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly cwd: string;
  /** Directory of the machine's own config; `/etc/popfetch`. */
  readonly system?: string | undefined;
}

const DATA = ['yaml', 'yml', 'json', 'toml'] as const;
/** Programs: only where nobody but the user puts files. */
const CODE = ['js', 'cjs', 'mjs', 'ts'] as const;

/** A config to start from, valid as it stands. */
export const STARTER_CONFIG = `\
accounts:
  work:
    host: pop.example.com
    user: taro
    password: "the password" # or {command: [pass, show, mail/work]}, {env: NAME}, {file: PATH}
    deliver: {maildir: ~/Mail/work}
    delete: never # or delivered, or 30d: that long after delivery
`;

interface Place {
  readonly directory: string;
  /** What every name begins with. */
  readonly stem: string;
  readonly endings: readonly string[];
}

/**
 * The file to use: the named one, else `$POPFETCH_CONFIG`, else the first that exists. Reads none of them.
 * @throws PopfetchError CONFIG when the named file does not exist, or nothing is found: then with a config to paste.
 */
export async function findConfig(search: Search): Promise<string> {
  if (search.file !== undefined) return existing(search, search.file, 'there is no config file');
  const { POPFETCH_CONFIG: named = '' } = search.env;
  if (named !== '') return existing(search, named, 'POPFETCH_CONFIG names a file that does not exist:');
  for (const file of places(search).flatMap(filesOf)) {
    if (await exists(file)) return file;
  }
  throw nothingFound(search);
}

/** Every place in order, one line each: `/home/taro/.config/popfetch/config.{yaml,yml,json,toml,js,cjs,mjs,ts}`. */
export function searchedPlaces(search: Search): string[] {
  return places(search).map(({ directory, stem, endings }) => {
    const bare = endings.includes('');
    const dotted = endings.filter((ending) => ending !== '').map((ending) => ending.slice(1));
    const braces = bare ? `{,.${dotted.join(',.')}}` : `.{${dotted.join(',')}}`;
    return join(directory, stem + braces);
  });
}

function places({ env, home, system = '/etc/popfetch' }: Search): Place[] {
  const data = DATA.map((ending) => `.${ending}`);
  const code = CODE.map((ending) => `.${ending}`);
  // The XDG specification: a relative path is to be ignored. Here it would also mean the current directory.
  const xdg = env['XDG_CONFIG_HOME'] ?? '';
  const own = isAbsolute(xdg) ? xdg : join(home, '.config');
  return [
    { directory: join(own, 'popfetch'), stem: 'config', endings: [...data, ...code] },
    { directory: home, stem: '.popfetchrc', endings: ['', ...data] },
    { directory: system, stem: 'config', endings: data },
  ].filter(({ directory }) => isAbsolute(directory));
}

function filesOf({ directory, stem, endings }: Place): string[] {
  return endings.map((ending) => join(directory, stem + ending));
}

async function existing({ cwd }: Search, named: string, otherwise: string): Promise<string> {
  const file = resolve(cwd, named);
  if (await exists(file)) return file;
  throw new PopfetchError('CONFIG', `${otherwise} ${file}`, { phase: 'config', remedy: 'check its name' });
}

/** A file that cannot even be looked at exists: to pass over it would use another config than the one meant. */
async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    const code = errno(error);
    return code !== 'ENOENT' && code !== 'ENOTDIR';
  }
}

function nothingFound(search: Search): PopfetchError {
  const searched = searchedPlaces(search);
  const own = searched[0]?.replace(/\{(\w+).*\}$/, '$1') ?? 'config.yaml';
  return new PopfetchError('CONFIG', `no config found; looked for ${searched.join(', ')}`, {
    phase: 'config',
    remedy: `save this as ${own}, with your own values, run chmod 600 ${own}, then popfetch check:\n\n${STARTER_CONFIG}`,
  });
}
