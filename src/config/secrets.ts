/** Gets a password from where the config says it is. What comes out never appears in an error. */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { errno } from '../disk.js';
import { PopfetchError, type ErrorCode } from '../errors.js';
import { printable } from '../escape.js';
import type { PasswordSource } from './account.js';
import { outputOf } from './command.js';
import { MASK } from './issues.js';
import { refuseReadable } from './permissions.js';

export interface PasswordOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whose password it is: named in errors. */
  readonly account: string;
  /** Ends a password command when it aborts; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds a password command may take; 10 s unless told. */
  readonly limit?: number | undefined;
}

/** Enough to unlock a keyring, not enough to hang a cron job. Milliseconds. */
const COMMAND_LIMIT = 10_000;

/** Octets of a password file that are looked at: a password is its first line. */
const LARGEST = 64 * 1024;

interface Found {
  readonly password: string;
  /** Where it was, for errors. */
  readonly from: string;
}

/**
 * The password, ready for the server: one line, not empty, without CR, LF and NUL.
 * @throws PopfetchError with `account`: CONFIG when it cannot be had, PERMISSION when its file can be read by others
 * or not by us.
 */
export async function readPassword(source: PasswordSource, options: PasswordOptions): Promise<string> {
  try {
    return usable(await find(source, options));
  } catch (error) {
    throw error instanceof PopfetchError
      ? error.within({ account: options.account, phase: 'config' })
      : error;
  }
}

async function find(source: PasswordSource, options: PasswordOptions): Promise<Found> {
  if ('value' in source) return { password: source.value, from: 'the password in the config' };
  if ('env' in source) return fromEnvironment(source.env, options.env);
  if ('file' in source) return fromFile(source.file);
  return fromCommand(source.command, options);
}

function usable({ password, from }: Found): string {
  if (password === '') throw failure(`${from} is empty`, 'put the password there');
  if (!/[\r\n\0]/.test(password)) return password;
  throw failure(`${from} holds a line break or NUL, which no server takes`, 'put the password alone there');
}

function fromEnvironment(name: string, env: PasswordOptions['env']): Found {
  const password = env[name];
  if (password !== undefined) return { password, from: `the environment variable ${name}` };
  throw failure(`the environment variable ${name} is not set`, `set ${name} to the password`);
}

async function fromFile(file: string): Promise<Found> {
  const from = `the password file ${file}`;
  const handle = await openFile(file, from);
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw failure(`${from} is not a regular file`, 'name a file');
    refuseReadable(file, stats);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(LARGEST), 0, LARGEST, 0);
    return { password: firstLine(buffer.subarray(0, bytesRead), from), from };
  } finally {
    await handle.close();
  }
}

async function openFile(file: string, from: string): Promise<FileHandle> {
  try {
    // A pipe would keep a blocking open() waiting for its writer.
    return await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = errno(error);
    const kind = code === 'EACCES' ? 'PERMISSION' : 'CONFIG';
    throw failure(`cannot read ${from}: ${code ?? 'error'}`, 'check its name and permissions', kind);
  }
}

async function fromCommand(argv: readonly string[], options: PasswordOptions): Promise<Found> {
  const command = `the password command ${printable(argv[0] ?? '', 200)}`;
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

function firstLine(octets: Buffer, from: string): string {
  const end = octets.indexOf('\n');
  const line = end === -1 ? octets : octets.subarray(0, end);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(line).replace(/\r$/, '');
  } catch {
    throw failure(`${from} is not UTF-8 text`, 'save it as UTF-8');
  }
}

function failure(what: string, remedy: string, code: ErrorCode = 'CONFIG'): PopfetchError {
  return new PopfetchError(code, what, { remedy });
}
