import { readFileSync, statSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { COMMANDS, OPTIONS } from '../src/cli/options.js';
import { parse } from '../src/cli/request.js';
import { DEFAULTS, PORTS } from '../src/config/account.js';
import { loadConfig } from '../src/config/load.js';
import { jsonSchema } from '../src/config/schema.js';
import { formatDuration, formatSize } from '../src/config/units.js';
import { LOCK_WAIT } from '../src/deliver/mboxlock.js';
import { ERRORS, EXIT_BUG } from '../src/errors.js';
import { RETENTION } from '../src/seen/memory.js';
import { ConfigHome } from './support/config-file.js';

const read = (name: string): string => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8');
const ENGLISH = read('README.md');
const READMES = { 'README.md': ENGLISH, 'README.ja.md': read('README.ja.md') } as const;
const PACKAGE = JSON.parse(read('package.json')) as {
  readonly version: string;
  readonly engines: { readonly node: string };
  readonly scripts: Readonly<Record<string, string>>;
};

/** The blocks of code in these languages, in order, without comments. */
function blocks(text: string, ...languages: readonly string[]): string[] {
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)]
    .filter(([, language = '']) => languages.includes(language))
    .map(([, , code = '']) => code.replace(/ +#.*$/gm, ''));
}

/** The cells of every row of every table, a list for each row; rows begin with `first`. */
function rows(text: string, first: RegExp): string[][] {
  return [...text.matchAll(/^\| (.*) \|$/gm)]
    .map(([, row = '']) => row.split(' | ').map((cell) => cell.trim()))
    .filter(([cell = '']) => first.test(cell));
}

/** The part under a heading of the English README, or under the same one, by its place, of another. */
function section(text: string, heading: string): string {
  const parts = (all: string): string[] => all.split(/^## /m).slice(1);
  const fromEnd = parts(ENGLISH).findIndex((part) => part.startsWith(`${heading}\n`)) - parts(ENGLISH).length;
  const found = parts(text).at(fromEnd);
  if (found === undefined) throw new Error(`there is no part "${heading}"`);
  return found;
}

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly anyOf?: readonly Schema[];
}

/** Mappings whose fields have rows of their own. */
const MAPPINGS = ['tls', 'timeout'];

/** The name of every field of an account, and of the fields in these mappings. */
function fieldNames(): string[] {
  const { properties: { accounts } = {} } = jsonSchema() as Schema;
  return Object.entries(accounts?.additionalProperties?.properties ?? {}).flatMap(([name, field]) => {
    const within = [field, ...(field.anyOf ?? [])].flatMap(({ properties = {} }) => Object.keys(properties));
    return MAPPINGS.includes(name) ? [name, ...within.map((inner) => `${name}.${inner}`)] : [name];
  });
}

/** Every default of a field that can be written in a config, as it is written there. */
function defaults(): Record<string, string> {
  const { auth, insecure, delete: deletion, limit, maxSize, order, eol, identity } = DEFAULTS;
  const { disabled, tls, timeout } = DEFAULTS;
  const plain = { auth, insecure, delete: deletion, limit, order, eol, identity, disabled, tls: tls.mode };
  return Object.fromEntries([
    ...Object.entries(plain).map(([name, value]) => [name, String(value)] as const),
    ['maxSize', formatSize(maxSize)],
    ...Object.entries(tls).map(([name, value]) => [`tls.${name}`, value] as const),
    ...Object.entries(timeout).map(([name, value]) => [`timeout.${name}`, formatDuration(value)] as const),
  ]);
}

describe.each(Object.entries(READMES))('%s', (_, text) => {
  let home: ConfigHome;
  beforeEach(async () => {
    home = await ConfigHome.create();
  });
  afterEach(() => home.remove());

  it('has configs, and each is one that popfetch loads', async () => {
    const configs = blocks(text, 'yaml').filter((code) => /^accounts:/m.test(code));
    expect(configs).toHaveLength(1);
    for (const [index, code] of configs.entries()) {
      const file = await home.write(`${index}.yaml`, code);
      const { accounts } = await loadConfig({ ...home.options, file });
      expect(accounts.length).toBeGreaterThan(0);
    }
  });

  it('has command lines, and each is one that popfetch takes', async () => {
    const commands = blocks(text, 'sh', 'crontab')
      .flatMap((code) => code.split('\n'))
      .flatMap((line) => /^(?:(?:\S+ ){5})?(popfetch(?: [^|>]*)?)/.exec(line)?.[1] ?? []);
    expect(commands.length).toBeGreaterThan(8);
    for (const command of commands) {
      const [, ...words] = command.trim().split(/ +/);
      expect(await parse(words), command).toMatchObject({ command: words[0] ?? 'fetch' });
    }
  });

  it('lists every exit status there is, and no other', () => {
    const listed = rows(section(text, 'Exit codes'), /^\d+$/).map(([code]) => Number(code));
    const known = new Set([0, EXIT_BUG, 130, 143, ...Object.values(ERRORS).map(({ exit }) => exit)]);
    expect(listed).toEqual([...known].sort((a, b) => a - b));
  });

  it('lists every field of an account, and no other', () => {
    const listed = rows(section(text, 'Config fields'), /^`[\w.]+`$/).map(([name = '']) =>
      name.replaceAll('`', ''),
    );
    expect(listed.sort()).toEqual(fieldNames().sort());
  });

  it('says of every field what it is by default', () => {
    const listed = rows(section(text, 'Config fields'), /^`[\w.]+`$/);
    const written = listed.flatMap(([name = '', byDefault = '']) => {
      const [, value] = /^`(.*)`$/.exec(byDefault) ?? [];
      return value === undefined ? [] : [[name.replaceAll('`', ''), value]];
    });
    expect(Object.fromEntries(written)).toEqual(defaults());
    const port = listed.find(([name]) => name === '`port`') ?? [];
    expect(port.slice(1).map((cell) => cell.match(/\d+/g)?.map(Number))).toEqual([
      [PORTS.implicit, PORTS.none],
      [PORTS.implicit, PORTS.none],
    ]);
  });

  it('gives the numbers that the code has', () => {
    const found = (heading: string, number: RegExp): string | undefined =>
      number.exec(section(text, heading))?.[1];
    expect(found('Config fields', /`parallel` [^`]*?(\d+)\)/)).toBe(String(DEFAULTS.parallel));
    expect(found('Destinations', /(\d+) (?:s for|秒まで)/)).toBe(String(LOCK_WAIT / 1000));
    expect(found('Where the state lives', /(\d+) (?:days after|日後)/)).toBe(String(RETENTION / 86_400_000));
    expect(found('Install', /Node\.js (\d+\.\d+)/)).toBe(/^>=(\d+\.\d+)\.0$/.exec(PACKAGE.engines.node)?.[1]);
  });

  it('has npm commands, and the scripts that they run are there', () => {
    const scripts = blocks(text, 'sh').flatMap((code) =>
      [...code.matchAll(/\bnpm (?:run (?:-s )?(\S+)|(test)\b)/g)].map(
        ([, named, test]) => named ?? test ?? '',
      ),
    );
    expect(scripts).toEqual(['demo', 'test']);
    expect(Object.keys(PACKAGE.scripts)).toEqual(expect.arrayContaining(scripts));
  });

  it('lists every command and every option', () => {
    const listed = rows(section(text, 'Commands'), /^`/).flatMap(([names = '']) =>
      [...names.matchAll(/`(-*[\w-]+)/g)].map(([, name]) => name),
    );
    const options = Object.entries(OPTIONS).flatMap(([name, { alias }]) =>
      alias === undefined ? [`--${name}`] : [`--${name}`, `-${alias}`],
    );
    expect([...new Set(listed)].sort()).toEqual([...Object.keys(COMMANDS), ...options].sort());
  });

  it('links to files that are there', () => {
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)]+)\)/g)].map(([, path = '']) => path);
    expect(links.length).toBeGreaterThan(3);
    for (const path of links.filter((link) => !link.endsWith('/'))) expect(read(path)).not.toBe('');
  });

  it('names the package as this version makes it', () => {
    expect([...text.matchAll(/popfetch-(\S+)\.tgz/g)].map(([, named]) => named)).toEqual([PACKAGE.version]);
  });
});

it('the Japanese README has the configs and commands of the English one', () => {
  const [english, japanese] = Object.values(READMES).map((text) => blocks(text, 'sh', 'yaml', 'crontab'));
  expect(english?.length).toBeGreaterThan(5);
  expect(japanese).toEqual(english);
});

it('the Japanese README has the rows of the English tables, in the same order', () => {
  const [english, japanese] = Object.values(READMES).map((text) =>
    rows(text, /^(?:`|\d)/).map(([first]) => first),
  );
  expect(english?.length).toBeGreaterThan(50);
  expect(japanese).toEqual(english);
});

it('the check of a fresh clone is the test command of the README', () => {
  const commands = blocks(ENGLISH, 'sh').map((code) => code.trim());
  expect(commands).toContain(read('.ci/run').trim().split('\n').at(-1));
  expect(statSync(new URL('../.ci/run', import.meta.url)).mode & 0o111).not.toBe(0);
});

it('the Japanese README shows the session that is tested octet by octet', () => {
  const lines = (text: string): string[] => text.split('\n').filter((line) => /^[CS]: /.test(line));
  const [session = ''] = blocks(READMES['README.ja.md'], 'text');
  const tested = lines(read('test/transcripts/user-pass.txt'));
  const shown = lines(session).filter((line) => !line.startsWith('S: ('));
  expect(shown.length).toBeGreaterThan(15);
  // The message itself is left out.
  const start = tested.indexOf('S: +OK 1000 octets') + 1;
  const end = tested.indexOf('S: .', start);
  expect(shown).toEqual([...tested.slice(0, start), ...tested.slice(end)]);
});
