import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findConfig, loadConfig, searchedPlaces, STARTER_CONFIG } from '../src/config/load.js';
import { caught, ConfigHome, UID } from './support/config-file.js';

let home: ConfigHome;
beforeEach(async () => {
  home = await ConfigHome.create();
});
afterEach(() => home.remove());

/** A config without secret whose account is called `name`, in a language that all of YAML, JSON and `noExt` read. */
const named = (name: string) =>
  JSON.stringify({
    accounts: { [name]: { host: 'h', user: 'u', password: { env: 'PW' }, deliver: 'stdout' } },
  });
const program = (name: string, start = 'export default') => `${start} ${named(name)};`;
const toml = (name: string) =>
  `[accounts.${name}]\nhost = "h"\nuser = "u"\npassword = {env = "PW"}\ndeliver = "stdout"\n`;
const found = async (options = {}) => (await loadConfig({ ...home.options, ...options })).accounts[0]?.name;

describe('a config is looked for', () => {
  it('in the documented places, in the documented order', async () => {
    const places: [string, string][] = [
      ...['yaml', 'yml', 'json'].map((ending): [string, string] => [
        `.config/popfetch/config.${ending}`,
        named('x'),
      ]),
      ['.config/popfetch/config.toml', toml('x')],
      ['.config/popfetch/config.js', program('x', 'module.exports =')],
      ['.config/popfetch/config.cjs', program('x', 'module.exports =')],
      ['.config/popfetch/config.mjs', program('x')],
      ['.config/popfetch/config.ts', program('x')],
      ['.popfetchrc', named('x')],
      ...['yaml', 'yml', 'json'].map((ending): [string, string] => [`.popfetchrc.${ending}`, named('x')]),
      ['.popfetchrc.toml', toml('x')],
      ...['yaml', 'yml', 'json'].map((ending): [string, string] => [
        `etc/popfetch/config.${ending}`,
        named('x'),
      ]),
      ['etc/popfetch/config.toml', toml('x')],
    ];
    for (const [index, [name, text]] of [...places.entries()].reverse()) {
      const file = await home.write(name, text.replace('"x"', `"p${index}"`).replace('.x]', `.p${index}]`));
      expect(await findConfig(home.options)).toBe(file);
      expect(await found()).toBe(`p${index}`);
    }
  });

  it('first under the name that was given, relative to the current directory', async () => {
    await home.write('.config/popfetch/config.yaml', named('own'));
    await home.write('cwd/given.yaml', named('given'));
    await home.write('variable.yaml', named('variable'));
    const env = { POPFETCH_CONFIG: '../variable.yaml' };
    expect(await found({ file: 'given.yaml', env })).toBe('given');
    expect(await found({ env })).toBe('variable');
    expect(await found({ env: { POPFETCH_CONFIG: '' } })).toBe('own');
  });

  it('in $XDG_CONFIG_HOME instead of ~/.config, but not where that is relative', async () => {
    await home.write('.config/popfetch/config.yaml', named('own'));
    await home.write('xdg/popfetch/config.yaml', named('xdg'));
    await home.write('cwd/here/popfetch/config.yaml', named('here'));
    expect(await found({ env: { XDG_CONFIG_HOME: home.path('xdg') } })).toBe('xdg');
    expect(await found({ env: { XDG_CONFIG_HOME: 'here' } })).toBe('own');
    expect(await found({ env: { XDG_CONFIG_HOME: '' } })).toBe('own');
  });

  it('nowhere that depends on the current directory, even without a home', async () => {
    await home.write('cwd/.config/popfetch/config.yaml', named('here'));
    await home.write('cwd/.popfetchrc', named('here'));
    const options = { ...home.options, home: '' };
    expect(searchedPlaces(options)).toEqual([home.path('etc/popfetch/config.{yaml,yml,json,toml}')]);
    await expect(loadConfig(options)).rejects.toThrow('no config found');
  });

  it('not among programs in the home or of the machine', async () => {
    for (const ending of ['js', 'cjs', 'mjs', 'ts']) {
      await home.write(`.popfetchrc.${ending}`, 'throw new Error("executed")');
      await home.write(`etc/popfetch/config.${ending}`, 'throw new Error("executed")');
    }
    await expect(loadConfig(home.options)).rejects.toThrow('no config found');
  });

  it('and what cannot be looked at is not passed over', async () => {
    await symlink('config.yaml', join(await directory('.config/popfetch'), 'config.yaml'));
    await home.write('.popfetchrc', named('rc'));
    expect(await caught(loadConfig(home.options))).toMatchObject({ code: 'CONFIG', exit: 78 });
  });
});

describe('where there is no config', () => {
  it('the error says where it was searched and gives one to paste', async () => {
    const error = await caught(
      findConfig({ env: {}, home: '/home/taro', cwd: '/', system: home.path('none') }),
    );
    expect(error).toMatchObject({
      code: 'CONFIG',
      exit: 78,
      message:
        'no config found; looked for /home/taro/.config/popfetch/config.{yaml,yml,json,toml,js,cjs,mjs,ts}, ' +
        `/home/taro/.popfetchrc{,.yaml,.yml,.json,.toml}, ${home.path('none')}/config.{yaml,yml,json,toml}`,
      remedy:
        'save this as /home/taro/.config/popfetch/config.yaml, with your own values, run chmod 600 ' +
        `/home/taro/.config/popfetch/config.yaml, then popfetch check:\n\n${STARTER_CONFIG}`,
    });
  });

  it('the one to paste is right as it stands', async () => {
    const { accounts } = await home.load(STARTER_CONFIG);
    expect(accounts).toMatchObject([
      {
        name: 'work',
        host: 'pop.example.com',
        deliver: [{ maildir: home.path('Mail/work') }],
        delete: 'never',
      },
    ]);
  });

  it('a name that was given is in the error', async () => {
    expect(await caught(loadConfig({ ...home.options, file: 'no.yaml' }))).toMatchObject({
      code: 'CONFIG',
      message: `there is no config file ${home.path('cwd/no.yaml')}`,
    });
    expect(await caught(loadConfig({ ...home.options, env: { POPFETCH_CONFIG: 'no.yaml' } }))).toMatchObject({
      message: `POPFETCH_CONFIG names a file that does not exist: ${home.path('cwd/no.yaml')}`,
    });
  });
});

describe('a file is refused [109]', () => {
  const LITERAL = 'accounts:\n  a: {host: h, user: u, password: hunter2, deliver: stdout}\n';
  const load = (file: string, uid = UID) => caught(loadConfig({ ...home.options, file, uid }));

  it.each([0o604, 0o640, 0o644, 0o660])('that holds a password and has mode %o', async (mode) => {
    const file = await home.write('c.yaml', LITERAL, mode);
    const error = await load(file);
    expect(error).toMatchObject({ code: 'PERMISSION', exit: 77 });
    if ((mode & 0o022) === 0) {
      expect(error).toMatchObject({
        message: `${file} holds a password and can be read by others (mode 0${mode.toString(8)})`,
        remedy: `run chmod 600 ${file}`,
      });
    }
  });

  it.each([
    ['defaults: {password: hunter2}\naccounts:\n  a: {host: h, user: u, deliver: stdout}\n'],
    ['accounts:\n  a: {password: 12345}\n'],
    ['accounts:\n  a: {prot: 1, password: ""}\n  b: {password: hunter2}\n'],
    ['accounts: [{password: hunter2}]\n'],
  ])('whatever else is wrong with it: %j', async (text) => {
    expect(await load(await home.write('c.yaml', text, 0o644))).toMatchObject({
      code: 'PERMISSION',
      remedy: `run chmod 600 ${home.path('c.yaml')}`,
    });
  });

  it('with a remedy that a shell takes as it is', async () => {
    expect(await load(await home.write("it's mine.yaml", LITERAL, 0o644))).toMatchObject({
      remedy: `run chmod 600 '${home.home}/it'\\''s mine.yaml'`,
    });
  });

  it.each([0o620, 0o602, 0o666])(
    'that others can write, with mode %o, even without a password',
    async (mode) => {
      const file = await home.write('c.yaml', named('a'), mode);
      expect(await load(file)).toMatchObject({
        code: 'PERMISSION',
        message: `${file} can be changed by others (mode 0${mode.toString(8)})`,
        remedy: `run chmod go-w ${file}`,
      });
    },
  );

  it('before it runs, when it is a program that others can write', async () => {
    const file = await home.write('c.mjs', 'throw new Error("executed")', 0o666);
    expect(await load(file)).toMatchObject({ code: 'PERMISSION' });
  });

  it('that belongs to somebody else', async () => {
    const file = await home.write('c.yaml', named('a'));
    const stranger = 54_321;
    if (UID === 0) await chown(file, stranger, stranger);
    const uid = UID === 0 ? 0 : UID + 1;
    expect(await load(file, uid)).toMatchObject({
      code: 'PERMISSION',
      message: `${file} belongs to somebody else (user id ${UID === 0 ? stranger : UID})`,
      remedy: `run chown ${uid} ${file} (as root), or copy it to a file of your own`,
    });
  });

  it('but not one that all may read and that holds no password', async () => {
    const file = await home.write('c.yaml', named('a'), 0o644);
    expect(await found({ file })).toBe('a');
  });

  it('that is larger than 1 MiB', async () => {
    const file = await home.write('c.yaml', `#${' '.repeat(1024 ** 2)}`);
    expect(await load(file)).toMatchObject({ code: 'CONFIG', message: `${file} is larger than 1 MiB` });
  });

  it('that is not UTF-8', async () => {
    const file = await home.write('c.yaml', Buffer.from('user: \xe9\n', 'latin1'));
    expect(await load(file)).toMatchObject({ code: 'CONFIG', message: `${file} is not UTF-8 text` });
  });

  it('that is a directory or a pipe', async () => {
    const pipe = home.path('pipe.yaml');
    await promisify(execFile)('mkfifo', ['-m', '600', pipe]);
    expect(await load(pipe)).toMatchObject({ code: 'CONFIG', message: `${pipe} is not a regular file` });
    expect(await load(await directory('d.yaml'))).toMatchObject({ code: 'CONFIG' });
  });

  it('whose name does not say how it is written', async () => {
    const file = await home.write('popfetch.conf', named('a'));
    expect(await load(file)).toMatchObject({
      code: 'CONFIG',
      message: `the name of ${file} does not say how it is written`,
      remedy: 'give it one of these endings: .yaml .yml .json .toml .js .cjs .mjs .ts',
    });
  });

  it('with a key that would read another file', async () => {
    await home.write('other.yaml', named('other'));
    expect(await home.problems(`$import: other.yaml\n`)).toEqual([
      'config.yaml:1: $import: unknown key (expected one of $schema, parallel, defaults, accounts)',
      'config.yaml: accounts: missing (expected a mapping of account names to accounts)',
    ]);
  });
});

describe('the current directory and those above it', () => {
  const EVIL = 'require("node:fs").writeFileSync(process.env.EVIDENCE, __filename);';
  const EVIL_MODULE =
    'import {writeFileSync} from "node:fs"; writeFileSync(process.env.EVIDENCE, import.meta.url);';
  const META = 'cosmiconfig:\n  mergeSearchPlaces: false\n  searchPlaces: [evil.json]\n';
  const META_JSON = JSON.stringify({
    cosmiconfig: { mergeSearchPlaces: false, searchPlaces: ['evil.json'] },
  });

  /** What any convention would read or execute. Apart, because the first file found hides the others. */
  const TRAPS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    configs: {
      'package.json': JSON.stringify({ popfetch: JSON.parse(named('evil')) as object }),
      '.popfetchrc': named('evil'),
      '.config/popfetchrc': named('evil'),
      '.config/popfetch/config.yaml': named('evil'),
      'config.yaml': named('evil'),
      'popfetch.config.js': EVIL,
      '.popfetchrc.js': EVIL,
    },
    'settings in package.json': { 'package.json': META_JSON, 'evil.json': named('evil') },
    'settings in .config/config.yaml': { '.config/config.yaml': META, 'evil.json': named('evil') },
    'a program .config/config.js': { '.config/config.js': EVIL },
    'a module .config/config.mjs': { '.config/config.mjs': EVIL_MODULE },
    'TypeScript .config/config.ts': { '.config/config.ts': EVIL },
  };

  const SCRIPT = `
    import { loadConfig } from ${JSON.stringify(moduleUrl('../src/config/load.ts'))};
    const { HOME, CONFIG } = process.env;
    const options = { env: {}, home: HOME, uid: ${UID}, cwd: process.cwd(), system: HOME + '/etc' };
    const config = await loadConfig({ ...options, file: CONFIG || undefined });
    console.log(JSON.stringify({ file: config.file, accounts: config.accounts.map(({ name }) => name), cwd: process.cwd() }));
  `;

  it.each(Object.keys(TRAPS))('are neither read nor executed: %s', async (trap) => {
    for (const [name, text] of Object.entries(TRAPS[trap] ?? {})) {
      await home.write(`above/${name}`, text);
      await home.write(`above/cwd/${name}`, text);
    }
    const found = await home.write('user/.popfetchrc', named('right'));
    const given = await home.write('given.yaml', named('right'));
    const script = await home.write('load.mts', SCRIPT);
    const evidence = home.path('evidence');
    const cwd = home.path('above/cwd');
    for (const file of [found, given]) {
      const config = file === given ? given : '';
      const env = { PATH: process.env['PATH'], HOME: home.path('user'), CONFIG: config, EVIDENCE: evidence };
      const loader = moduleUrl('../node_modules/tsx/dist/esm/index.mjs');
      const { stdout } = await run(['--import', loader, script], { cwd, env });
      expect(JSON.parse(stdout)).toEqual({ file, accounts: ['right'], cwd });
    }
    expect(existsSync(evidence)).toBe(false);
  });
});

describe('a config in TypeScript', () => {
  it('is loaded with the typescript package', async () => {
    const text = `const host: string = 'h';\nexport default { accounts: { ts: { host, user: 'u', password: { env: 'PW' }, deliver: 'stdout' } } } as const;\n`;
    expect((await home.load(text, 'c.ts')).accounts[0]).toMatchObject({ name: 'ts', host: 'h' });
  });

  it('asks for that package where it is not installed', async () => {
    const bundle = home.path('bundle/load.mjs');
    await build({
      stdin: {
        contents: `import { loadConfig } from ${JSON.stringify(fileURLToPath(moduleUrl('../src/config/load.ts')))};
          loadConfig({ env: {}, home: '/', uid: ${UID}, cwd: '/', file: process.argv[2] }).then(
            ({ accounts }) => console.log(accounts[0].name),
            ({ code, message, remedy }) => console.log(JSON.stringify({ code, message, remedy })),
          );`,
        resolveDir: home.home,
      },
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20.19',
      external: ['typescript'],
      outfile: bundle,
      banner: { js: "import{createRequire as $r}from'node:module';const require=$r(import.meta.url);" },
      logLevel: 'silent',
    });
    const ts = await home.write('c.ts', program('ts'));
    expect(JSON.parse((await run([bundle, ts])).stdout)).toEqual({
      code: 'CONFIG',
      message: `${ts} takes the "typescript" package, version 5 or 6, installed beside popfetch`,
      remedy: 'run npm install --global typescript@6, or write the config in YAML',
    });
    // The same bundle reads every other kind.
    for (const [name, text] of [
      ['c.yaml', named('ok')],
      ['c.json', named('ok')],
      ['c.toml', toml('ok')],
      ['c.mjs', program('ok')],
      ['c.cjs', program('ok', 'module.exports =')],
    ] as const) {
      expect((await run([bundle, await home.write(name, text)])).stdout).toBe('ok\n');
    }
  });
});

function run(args: string[], options: object = {}): Promise<{ stdout: string }> {
  return promisify(execFile)(process.execPath, args, { encoding: 'utf8', ...options });
}

function moduleUrl(relative: string): string {
  return pathToFileURL(fileURLToPath(new URL(relative, import.meta.url))).href;
}

async function directory(name: string): Promise<string> {
  await mkdir(home.path(name), { recursive: true });
  return home.path(name);
}
