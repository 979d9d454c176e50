/** Passwords from a netrc file and from systemd's credentials, and the want of any. */
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PasswordSource } from '../src/config/account.js';
import { readPassword, type PasswordOptions } from '../src/config/secrets.js';
import { PopfetchError } from '../src/errors.js';
import { caught, ConfigHome } from './support/config-file.js';

let home: ConfigHome;
beforeEach(async () => {
  home = await ConfigHome.create();
});
afterEach(() => home.remove());

const SECRET = 'hunter2 correct horse';

function options(env: PasswordOptions['env'] = {}): PasswordOptions {
  return { env, home: home.home, account: { name: 'work', host: 'pop.example.com', user: 'taro' } };
}

async function failure(source: PasswordSource | undefined, given: PasswordOptions): Promise<PopfetchError> {
  const error = await caught(readPassword(source, given));
  expect(error).toBeInstanceOf(PopfetchError);
  expect(error).toMatchObject({ account: 'work', phase: 'config' });
  const { message, remedy, stack, cause } = error as PopfetchError;
  expect(JSON.stringify([message, remedy, stack, cause])).not.toContain('hunter2');
  return error as PopfetchError;
}

describe('a password from netrc', () => {
  const ENTRY = `machine pop.example.com login taro password "${SECRET}"\n`;

  it('is that for host and user in ~/.netrc', async () => {
    await home.write('.netrc', ENTRY);
    expect(await readPassword({ netrc: true }, options())).toBe(SECRET);
  });

  it('is in the file that NETRC names, where it does', async () => {
    await home.write('.netrc', ENTRY.replace(SECRET, 'another'));
    const NETRC = await home.write('elsewhere', ENTRY);
    expect(await readPassword({ netrc: true }, options({ NETRC }))).toBe(SECRET);
    expect(await readPassword({ netrc: true }, options({ NETRC: '' }))).toBe('another');
  });

  it.each([0o640, 0o604, 0o644])('that others can read, with mode %o, is refused', async (mode) => {
    const file = await home.write('.netrc', ENTRY, mode);
    expect(await failure({ netrc: true }, options())).toMatchObject({
      code: 'PERMISSION',
      exit: 77,
      message: `${file} holds a password and can be read by others (mode 0${mode.toString(8)})`,
      remedy: `run chmod 600 ${file}`,
    });
  });

  it.each([
    ['', 'has no password of taro at pop.example.com'],
    ['machine pop.example.com login jiro password hunter2', 'has no password of taro at pop.example.com'],
    [
      'machine pop.example.com\nlogin taro password "hunter2',
      'cannot be read: a quote on line 2 does not end',
    ],
    [`#${'x'.repeat(1024 ** 2)}`, 'is larger than 1 MiB'],
    [Buffer.from('machine pop.example.com password hunter2\xe4', 'latin1'), 'is not UTF-8 text'],
  ])('is missed in words', async (text, message) => {
    const file = await home.write('.netrc', text);
    expect(await failure({ netrc: true }, options())).toMatchObject({
      code: 'CONFIG',
      exit: 78,
      message: `the netrc file ${file} ${message}`,
    });
  });

  it.each([
    ['""', 'is empty'],
    ['"hunter2\0"', 'holds a line break or NUL, which no server takes'],
    ['hunter2\rx', 'has no'],
  ])('is one line and not empty: %j', async (written, message) => {
    await home.write('.netrc', `machine pop.example.com password ${written}`);
    if (message === 'has no') expect(await readPassword({ netrc: true }, options())).toBe('hunter2');
    else expect((await failure({ netrc: true }, options())).message).toContain(message);
  });

  it('is not there without the file, or without a home', async () => {
    expect((await failure({ netrc: true }, options())).message).toBe(
      `cannot read the netrc file ${home.path('.netrc')}: ENOENT`,
    );
    expect((await failure({ netrc: true }, { ...options(), home: '' })).message).toBe(
      'there is no home for .netrc',
    );
  });
});

describe('a password from a credential', () => {
  let directory: string;
  let env: PasswordOptions['env'];
  beforeEach(async () => {
    directory = home.path('credentials');
    env = { CREDENTIALS_DIRECTORY: directory };
    await mkdir(directory, { mode: 0o700 });
  });

  it.each([SECRET, `${SECRET}\n`, `${SECRET}\nmore\n`])('is the first line of the file: %j', async (text) => {
    await home.write('credentials/work', text);
    expect(await readPassword({ credential: 'work' }, options(env))).toBe(SECRET);
  });

  it('may show an access list as the rights of a group, for the directory keeps others away', async () => {
    await home.write('credentials/work', SECRET, 0o440);
    expect(await readPassword({ credential: 'work' }, options(env))).toBe(SECRET);
  });

  it.each([
    ['', 'is empty'],
    ['hunter2\0', 'holds a line break or NUL, which no server takes'],
  ])('is a password that a server takes: %j', async (text, message) => {
    await home.write('credentials/work', text);
    expect(await failure({ credential: 'work' }, options(env))).toMatchObject({
      code: 'CONFIG',
      message: `the credential ${join(directory, 'work')} ${message}`,
    });
  });

  it('that the unit does not have is an error', async () => {
    expect(await failure({ credential: 'nope' }, options(env))).toMatchObject({
      code: 'CONFIG',
      message: `cannot read the credential ${join(directory, 'nope')}: ENOENT`,
    });
  });

  it.each([{}, { CREDENTIALS_DIRECTORY: '' }])('is not there without a unit: %j', async (none) => {
    expect(await failure({ credential: 'work' }, options(none))).toMatchObject({
      code: 'CONFIG',
      message: 'the environment variable CREDENTIALS_DIRECTORY is not set, so there are no credentials',
      remedy: 'start popfetch from a systemd unit with LoadCredential=work:FILE',
    });
  });

  it('is no way to a directory', async () => {
    await mkdir(join(directory, 'sub'));
    await chmod(join(directory, 'sub'), 0o700);
    expect((await failure({ credential: 'sub' }, options(env))).message).toBe(
      `the credential ${join(directory, 'sub')} is not a regular file`,
    );
  });
});

describe('an account without a password', () => {
  it('takes what a person has typed', async () => {
    expect(await readPassword(undefined, { ...options(), typed: SECRET })).toBe(SECRET);
  });

  it('does not take an empty line for one', async () => {
    expect(await failure(undefined, { ...options(), typed: '' })).toMatchObject({
      code: 'CONFIG',
      message: 'the password that was typed is empty',
    });
  });

  it('says every way to have one where nobody can be asked', async () => {
    expect(await failure(undefined, options())).toMatchObject({
      code: 'CONFIG',
      exit: 78,
      message: 'no password is configured, and nobody can be asked without a terminal',
      remedy:
        'set password to one of {command: [PROGRAM, ARGUMENT]}, {file: PATH}, {env: NAME}, {keyring: true}, {netrc: true}, {credential: NAME}',
    });
  });
});
