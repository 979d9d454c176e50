/** Config files that were made to do harm: each is refused with a problem, in little time and memory, and changes nothing. */
import { closeSync, ftruncateSync, mkdirSync, openSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { dirname } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { ConfigError } from '../../src/config/problems.js';
import { PopfetchError } from '../../src/errors.js';
import { caught, ConfigHome } from '../support/config-file.js';
import { World } from '../support/e2e.js';

let home: ConfigHome;
beforeEach(async () => {
  home = await ConfigHome.create();
});
afterEach(() => home.remove());

/** Half of what a config may have. */
const FULL = 500_000;

/** CPU seconds that reading one may take on a machine that is slow. */
const SECONDS = 10;

const repeated = (text: string, octets = FULL): string => text.repeat(Math.floor(octets / text.length));
const numbered = (line: (n: number) => string): string => {
  let text = '';
  for (let n = 0; text.length < 150_000; n += 1) text += line(n);
  return text;
};

/** By the ending of the file and what it does. */
const HOSTILE: readonly (readonly [string, string, () => string])[] = [
  ['yaml', 'opens lists without end', () => repeated('[')],
  ['yaml', 'opens lists and closes them all', () => repeated('[', FULL / 2) + repeated(']', FULL / 2)],
  ['yaml', 'opens mappings without end', () => repeated('{a: ')],
  ['yaml', 'is a ladder of lists', () => repeated('- ')],
  ['yaml', 'is a ladder of keys', () => repeated('? ')],
  ['yaml', 'is a ladder of empty keys', () => repeated(': ')],
  [
    'yaml',
    'is indented deeper with each line',
    () => Array.from({ length: 1400 }, (_, n) => `${' '.repeat(n)}a:\n`).join(''),
  ],
  [
    'yaml',
    'has aliases that unfold to 3 to the power of 40',
    () =>
      `a0: &a0 [x]\n${Array.from({ length: 40 }, (_, n) => `a${n + 1}: &a${n + 1} [*a${n}, *a${n}, *a${n}]\n`).join('')}`,
  ],
  [
    'yaml',
    'has merge keys that unfold',
    () =>
      `a0: &a0 {x: 1}\n${Array.from({ length: 2000 }, (_, n) => `a${n + 1}: &a${n + 1} {<<: [*a${n}, *a${n}], k${n}: 1}\n`).join('')}`,
  ],
  ['yaml', 'contains itself', () => 'accounts: &a\n  work: *a\n'],
  ['yaml', 'has anchors without end', () => numbered((n) => `- &a${n} x\n`)],
  ['yaml', 'has unknown keys without end', () => numbered((n) => `k${n}: 1\n`)],
  ['yaml', 'has wrong accounts without end', () => `accounts:\n${numbered((n) => `  k${n}: {x: 1}\n`)}`],
  ['yaml', 'is one long blank', () => `a:${repeated(' ')}x`],
  ['yaml', 'is nothing but tabs', () => repeated('\t')],
  ['yaml', 'has documents without end', () => repeated('---\n')],
  ['yaml', 'is one long string of backslashes', () => `a: "${repeated('\\')}`],
  [
    'yaml',
    'names a type that runs a program',
    () => 'accounts: !!js/function "function () { process.exit(1) }"\n',
  ],
  ['json', 'opens lists and closes them all', () => repeated('[', FULL / 2) + repeated(']', FULL / 2)],
  ['json', 'opens mappings without end', () => repeated('{"a":')],
  ['json', 'has unknown keys without end', () => `{${numbered((n) => `"k${n}":1,`)}"x":1}`],
  ['json', 'is one long string that is not closed', () => `"${repeated('x')}`],
  ['toml', 'opens lists without end', () => `a = ${repeated('[')}`],
  ['toml', 'opens tables without end', () => `a = ${repeated('{a = ')}`],
  ['toml', 'has a key of dots', () => `${repeated('a.')}a = 1`],
  ['toml', 'has tables without end', () => numbered((n) => `[k${n}.a]\n`)],
  ['toml', 'is one long blank', () => `${repeated(' ')}=`],
];

describe('a config that is hostile is refused, and costs little [109]', () => {
  it.each(HOSTILE)('%s: %s', async (ending, _, text) => {
    const before = process.cpuUsage();
    const error = await caught(home.load(text(), `config.${ending}`));
    const { user, system } = process.cpuUsage(before);
    expect(error).toBeInstanceOf(ConfigError);
    const { code, message, problems } = error as ConfigError;
    expect([code, problems.length > 0, problems.length <= 201]).toEqual(['CONFIG', true, true]);
    expect(message.length).toBeLessThan(1000);
    expect((user + system) / 1e6).toBeLessThan(SECONDS);
  });

  it.each([
    [
      'yaml',
      '__proto__: {polluted: yes}\naccounts: {__proto__: {host: h}, constructor: {prototype: {polluted: yes}}}\n',
    ],
    [
      'json',
      '{"__proto__": {"polluted": true}, "accounts": {"constructor": {"prototype": {"polluted": true}}}}',
    ],
    ['toml', '[__proto__]\npolluted = true\n[accounts.constructor.prototype]\npolluted = true\n'],
  ])('%s: keys that reach for prototypes change none', async (ending, text) => {
    const error = await caught(home.load(text, `config.${ending}`));
    expect(error).toBeInstanceOf(PopfetchError);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    expect((Object as unknown as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it.each(['- '.repeat(200), '? '.repeat(200), '['.repeat(1001)])(
    'is told to be nested too deeply before a parser goes down into it',
    async (text) => {
      expect(await home.problems(text)).toEqual([expect.stringContaining('nested too deeply')]);
    },
  );

  it('tells of the first two hundred problems, and how many more there are', async () => {
    const text = Array.from({ length: 300 }, (_, n) => `key${n}: 1\n`).join('');
    const lines = await home.problems(text);
    expect(lines).toHaveLength(201);
    expect(lines.at(-1)).toContain('and 101 more problems');
  });

  it.each([
    ['json', 900],
    ['yaml', 400],
  ])('%s: one with %i accounts and signs of all kinds in its passwords is none', async (ending, count) => {
    const fields = { host: 'h', password: '- [{? : .', deliver: 'stdout' };
    const accounts = Array.from({ length: count }, (_, n) => [`a${n}`, { ...fields, user: `u${n}` }]);
    const text = JSON.stringify({ accounts: Object.fromEntries(accounts) as object });
    expect((await home.load(text, `config.${ending}`)).accounts).toHaveLength(count);
  });
});

describe('a config of 100 MB [109]', () => {
  /** Full of NULs, of which the disk keeps none. */
  function sparse(file: string): void {
    mkdirSync(dirname(file), { recursive: true });
    const fd = openSync(file, 'w', 0o600);
    ftruncateSync(fd, 100_000_000);
    closeSync(fd);
  }

  it('is not read beyond the first MiB', async () => {
    const file = home.path('config.yaml');
    sparse(file);
    const before = process.memoryUsage().arrayBuffers;
    const error = await caught(loadConfig({ ...home.options, file }));
    expect(error).toMatchObject({ code: 'CONFIG', message: `${file} is larger than 1 MiB` });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1_048_576);
  });

  it('ends the command in 78 with a sentence, in bounded memory', async () => {
    const world = await World.create();
    try {
      const file = await world.sandbox.writeConfig('');
      sparse(file);
      await chmod(file, 0o600);
      const { code, stderr, peakMemory = Infinity } = await world.run([], { measure: true });
      expect([code, stderr.includes('is larger than 1 MiB')]).toEqual([78, true]);
      expect(peakMemory).toBeLessThan(150 * 1_048_576);
    } finally {
      await world.close();
    }
  });
});
