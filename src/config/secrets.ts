/** Gets a password or an access token from where the config says it is. What comes out never appears in an error. */
import { join } from 'node:path';
import { PopfetchError } from '../errors.js';
import { printable, readable, shellWord } from '../escape.js';
import type { Account, PasswordSource, TokenSource } from './account.js';
import { outputOf } from './command.js';
import { MASK } from './issues.js';
import { NetrcFault, netrcPassword } from './netrc.js';
import { firstLine, readPasswordFile, textOf } from './passwordfile.js';

export interface PasswordOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whose password it is: the name is for errors, host and user are what it is kept under. */
  readonly account: Pick<Account, 'name' | 'host' | 'user'>;
  /** Where `.netrc` is, unless $NETRC names it. Absolute. */
  readonly home?: string | undefined;
  /** What a person has typed, for an account that has no source. */
  readonly typed?: string | undefined;
  /** Ends a password command or the wait for a keyring when it aborts; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds that a password command (10 s unless told) or a keyring (30 s) may take. */
  readonly limit?: number | undefined;
}

/** Enough to unlock a keyring, not enough to hang a cron job. Milliseconds. */
const COMMAND_LIMIT = 10_000;

/** Octets of a password file that are looked at: a password is its first line. */
const LARGEST = 64 * 1024;

/** Octets of a netrc file. */
const LARGEST_NETRC = 1024 ** 2;

/** A password, not yet looked at. */
export interface Found {
  readonly password: string;
  /** Where it was, for errors. */
  readonly from: string;
}

/**
 * The password, ready for the server: one line, not empty, without CR, LF and NUL.
 * @throws PopfetchError with `account`: CONFIG when it cannot be had, PERMISSION when its file can be read by others
 * or not by us.
 */
export async function readPassword(
  source: PasswordSource | undefined,
  options: PasswordOptions,
): Promise<string> {
  return ready(options, () => (source === undefined ? fromPerson(options.typed) : find(source, options)));
}

/** Every way to have a password, in the words of a config. */
const WAYS =
  '{command: [PROGRAM, ARGUMENT]}, {file: PATH}, {env: NAME}, {keyring: true}, {netrc: true}, {credential: NAME}';

function fromPerson(password: string | undefined): Found {
  if (password !== undefined) return { password, from: 'the password that was typed' };
  throw failure(
    'no password is configured, and nobody can be asked without a terminal',
    `set password to one of ${WAYS}`,
  );
}

/**
 * The access token, ready for the server: one line, not empty, without CR, LF and NUL. Whoever gets it elsewhere, from
 * a provider for example, joins here.
 * @throws PopfetchError CONFIG with `account` when it cannot be had
 */
export async function readToken({ command }: TokenSource, options: PasswordOptions): Promise<string> {
  return ready(options, () => fromCommand(command, options, 'token'));
}

/** What was found, as a server takes it; errors say whose it is. */
async function ready({ account }: PasswordOptions, find: () => Found | Promise<Found>): Promise<string> {
  try {
    return usable(await find());
  } catch (error) {
    if (!(error instanceof PopfetchError)) throw error;
    throw error.within({ account: account.name, phase: 'config' });
  }
}

async function find(source: PasswordSource, options: PasswordOptions): Promise<Found> {
  if ('value' in source) return { password: source.value, from: 'the password in the config' };
  if ('env' in source) return fromEnvironment(source.env, options.env);
  if ('file' in source) return fromFile(source.file);
  if ('command' in source) return fromCommand(source.command, options, 'password');
  if ('credential' in source) return fromCredential(source.credential, options.env);
  return 'netrc' in source ? fromNetrc(options) : fromTheKeyring(options);
}

/** A password as a server takes it. @throws PopfetchError CONFIG when it is empty, or holds CR, LF or NUL */
export function usable({ password, from }: Found): string {
  if (password === '') throw failure(`${from} is empty`, 'put the password there');
  if (!/[\r\n\0]/.test(password)) return password;
  throw failure(`${from} holds a line break or NUL, which no server takes`, 'put the password alone there');
}

function fromEnvironment(name: string, env: PasswordOptions['env']): Found {
  const password = env[name];
  if (password !== undefined) return { password, from: `the environment variable ${name}` };
  throw failure(`the environment variable ${name} is not set`, `set ${name} to the password`);
}

async function fromFile(path: string): Promise<Found> {
  const from = `the password file ${path}`;
  return { password: firstLine(await readPasswordFile({ path, from, most: LARGEST }), from), from };
}

/** systemd.exec(5): the directory is the unit's alone, and the mode of a file may only show its access list. */
async function fromCredential(name: string, env: PasswordOptions['env']): Promise<Found> {
  const { CREDENTIALS_DIRECTORY: directory = '' } = env;
  if (directory === '') {
    throw failure(
      'the environment variable CREDENTIALS_DIRECTORY is not set, so there are no credentials',
      `start popfetch from a systemd unit with LoadCredential=${name}:FILE`,
    );
  }
  const path = join(directory, name);
  const from = `the credential ${printable(path, 200)}`;
  const octets = await readPasswordFile({ path, from, most: LARGEST, sheltered: true });
  return { password: firstLine(octets, from), from };
}

async function fromNetrc({ env, home = '', account: { host, user } }: PasswordOptions): Promise<Found> {
  const { NETRC: named = '' } = env;
  if (named === '' && home === '') throw failure('there is no home for .netrc', 'set HOME, or NETRC');
  const path = named === '' ? join(home, '.netrc') : named;
  const from = `the netrc file ${path}`;
  const octets = await readPasswordFile({ path, from, most: LARGEST_NETRC + 1 });
  if (octets.length > LARGEST_NETRC) throw failure(`${from} is larger than 1 MiB`, 'keep only logins there');
  const password = entryOf(textOf(octets, from), from, host, user);
  if (password !== undefined) return { password, from: `the password in ${from}` };
  const whose = `${readable(user)} at ${host}`;
  throw failure(`${from} has no password of ${whose}`, `add: machine ${host} login USER password PASSWORD`);
}

function entryOf(text: string, from: string, host: string, user: string): string | undefined {
  try {
    return netrcPassword(text, host, user);
  } catch (error) {
    if (!(error instanceof NetrcFault)) throw error;
    throw failure(`${from} cannot be read: ${error.message}`, 'end the quote on its line');
  }
}

async function fromTheKeyring({ account, env, signal, limit }: PasswordOptions): Promise<Found> {
  const { getPassword } = await import('./keyring.js');
  const password = await getPassword(account, { env, signal, limit });
  const { name, user, host } = account;
  if (password !== undefined) return { password, from: 'the password in the keyring' };
  throw failure(
    `the keyring has no password of ${readable(user)} at ${host}`,
    `run popfetch auth set-password -a ${shellWord(name)}`,
  );
}

async function fromCommand(
  argv: readonly string[],
  options: PasswordOptions,
  kind: 'password' | 'token',
): Promise<Found> {
  const command = `the ${kind} command ${printable(argv[0] ?? '', 200)}`;
  const { env, signal, limit = COMMAND_LIMIT } = options;
  const { stdout, stderr, fault } = await outputOf(argv, { env, signal, limit });
  if (fault !== undefined) {
    throw failure(`${command} ${fault}${complaint(stderr, stdout)}`, 'run it by hand to see what it says');
  }
  const from = `the output of ${command}`;
  return { password: firstLine(stdout, from), from };
}

/** The first line of stderr, escaped. A command that traces itself may show there what it wrote to stdout. */
function complaint(stderr: Buffer, stdout: Buffer): string {
  const [line = ''] = stderr.toString('utf8').trimStart().split('\n');
  if (line === '') return '';
  const [secret = ''] = stdout.toString('utf8').split(/\r?\n/);
  return `: ${printable(secret === '' ? line : line.replaceAll(secret, MASK), 200)}`;
}

function failure(what: string, remedy: string): PopfetchError {
  return new PopfetchError('CONFIG', what, { remedy });
}
