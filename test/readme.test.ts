import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { COMMANDS, OPTIONS } from '../src/cli/options.js';
import { parse } from '../src/cli/request.js';
import { loadConfig } from '../src/config/load.js';
import { jsonSchema } from '../src/config/schema.js';
import { ERRORS, EXIT_BUG } from '../src/errors.js';
import { ConfigHome } from './support/config-file.js';

const read = (name: string): string => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8');
const ENGLISH = read('README.md');
const READMES = { 'README.md': ENGLISH, 'README.ja.md': read('README.ja.md') } as const;

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

interface SchemaOfAccount {
  readonly properties: Readonly<Record<string, { readonly default?: string | number | boolean }>>;
}

function schemaOfAccount(): SchemaOfAccount {
  const schema = jsonSchema() as {
    readonly properties: { readonly accounts: { readonly additionalProperties: SchemaOfAccount } };
  };
  return schema.properties.accounts.additionalProperties;
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

  it('lists every field of an account, each with its default', () => {
    const listed = rows(section(text, 'Config fields'), /^`[\w.]+`$/);
    const byName = new Map(listed.map(([name = '', byDefault]) => [name.replaceAll('`', ''), byDefault]));
    const { properties } = schemaOfAccount();
    const names = new Set([...byName.keys()].map((name) => name.split('.')[0]));
    expect([...names].sort()).toEqual(Object.keys(properties).sort());
    for (const [name, field] of Object.entries(properties)) {
      if (field.default !== undefined) expect(byName.get(name), name).toBe(`\`${String(field.default)}\``);
    }
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
    const { version } = JSON.parse(read('package.json')) as { readonly version: string };
    expect([...text.matchAll(/popfetch-(\S+)\.tgz/g)].map(([, named]) => named)).toEqual([version]);
  });
});

it('the Japanese README has the configs and commands of the English one', () => {
  const [english, japanese] = Object.values(READMES).map((text) => blocks(text, 'sh', 'yaml', 'crontab'));
  expect(english?.length).toBeGreaterThan(5);
  expect(japanese).toEqual(english);
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
