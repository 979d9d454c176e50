/**
 * The keyring of the system: Secret Service (GNOME Keyring, KWallet) on Linux, Keychain on macOS. The only file that
 * knows @napi-rs/keyring, an optional package. It works in a process of its own: its calls cannot be called off, and a
 * keyring that waits for a person who is not there would hold popfetch for ever.
 */
import { stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { errno } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { printable } from '../escape.js';
import { NODE, type Environment } from '../program.js';
import type { Account } from './account.js';
import { outputOf } from './command.js';
import { MASK } from './issues.js';

export interface KeyringOptions {
  readonly env: Environment;
  /** Ends the wait; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the keyring is given up; 30 s unless told: a person may have to unlock it. */
  readonly limit?: number | undefined;
  /** Where each user who is logged in has a directory; `/run/user` unless told. */
  readonly sessions?: string | undefined;
}

/** Whose password it is. It is kept for a user of a host, whatever the account is called in the config. */
export type Owner = Pick<Account, 'host' | 'user'>;

/** Milliseconds. */
const LIMIT = 30_000;

/** What the keyring calls the program that a password belongs to. */
const SERVICE = 'popfetch';

/** undefined where there is none. @throws PopfetchError CONFIG where there is no keyring, PERMISSION where it is locked */
export async function getPassword(owner: Owner, options: KeyringOptions): Promise<string | undefined> {
  const { value } = await ask({ verb: 'getPassword', owner }, options);
  return typeof value === 'string' ? value : undefined;
}

/** Puts it in the place of one that is there. @throws as {@link getPassword} */
export async function setPassword(owner: Owner, password: string, options: KeyringOptions): Promise<void> {
  await ask({ verb: 'setPassword', owner, password }, options);
}

/** @returns whether there was one. @throws as {@link getPassword} */
export async function deletePassword(owner: Owner, options: KeyringOptions): Promise<boolean> {
  const { value } = await ask({ verb: 'deletePassword', owner }, options);
  return value === true;
}

interface Question {
  readonly verb: 'getPassword' | 'setPassword' | 'deletePassword';
  readonly owner: Owner;
  readonly password?: string;
}

interface Answer {
  readonly value?: unknown;
  /** Why the package cannot be loaded. */
  readonly unloadable?: string;
  /** What the keyring has against it. */
  readonly fault?: string;
}

/**
 * Reads a question as JSON from stdin and answers on stdout: a password is never on a command line. The store is named,
 * since without a Secret Service the package would turn to one that forgets everything when the machine is restarted.
 */
const CHILD = `
  let text = '';
  process.stdin.setEncoding('utf8');
  process.stdin.on('data', (piece) => { text += piece; });
  process.stdin.on('end', () => { process.stdout.write(JSON.stringify(answer(JSON.parse(text))) + '\\n'); });
  function answer({ path, service, name, verb, password }) {
    let Entry;
    try { ({ Entry } = require(path)); } catch (error) { return { unloadable: String(error.message) }; }
    try {
      const entry = new Entry(service, name, { linux: { store: 'secret-service' } });
      return { value: password === undefined ? entry[verb]() : entry[verb](password) };
    } catch (error) { return { fault: String(error.message) }; }
  }
`;

async function ask({ verb, owner, password }: Question, options: KeyringOptions): Promise<Answer> {
  const path = locate();
  const name = `${owner.user}@${owner.host.toLowerCase()}`;
  const { signal, limit = LIMIT, sessions = '/run/user' } = options;
  const env = await withBus(options.env, sessions);
  const input = JSON.stringify({ path, service: SERVICE, name, verb, password });
  const program = [NODE, '--input-type=commonjs', '-e', CHILD];
  const { stdout, fault } = await outputOf(program, { env, signal, limit, input });
  if (fault !== undefined) throw unanswered(fault);
  const answer = JSON.parse(stdout.toString('utf8')) as Answer;
  if (answer.unloadable !== undefined) throw missing();
  if (answer.fault === undefined) return answer;
  throw refused(password === undefined ? answer.fault : answer.fault.replaceAll(password, MASK));
}

function locate(): string {
  try {
    return createRequire(import.meta.url).resolve('@napi-rs/keyring');
  } catch {
    throw missing();
  }
}

/**
 * Cron tells nothing of the session of its user. Where systemd keeps one, the socket of its D-Bus has a place that is
 * known, and that is its user's alone.
 */
async function withBus(env: Environment, sessions: string): Promise<Environment> {
  const { DBUS_SESSION_BUS_ADDRESS: address = '', XDG_RUNTIME_DIR: runtime = '' } = env;
  if (address !== '' || runtime !== '') return env;
  try {
    const { uid } = userInfo();
    const socket = join(sessions, String(uid), 'bus');
    const stats = await stat(socket);
    if (!stats.isSocket() || stats.uid !== uid) return env;
    return { ...env, DBUS_SESSION_BUS_ADDRESS: `unix:path=${socket}` };
  } catch (error) {
    // No such socket; or a user without a name.
    if (errno(error) !== undefined) return env;
    throw error;
  }
}

const ELSEWHERE = 'or take the password from {file: PATH} or {command: [PROGRAM, ARGUMENT]}';

function missing(): PopfetchError {
  return new PopfetchError(
    'CONFIG',
    'the package @napi-rs/keyring, which reaches the keyring, cannot be loaded',
    { remedy: `run npm install --global popfetch @napi-rs/keyring, ${ELSEWHERE}` },
  );
}

/** The words of keyring libraries for a locked keyring, or for a person who said no. */
const LOCKED = /access platform storage|locked|dismissed|denied|cancel|interaction/i;

function refused(fault: string): PopfetchError {
  const words = printable(fault.split('\n')[0] ?? '', 200);
  if (LOCKED.test(fault)) {
    return new PopfetchError('PERMISSION', `the keyring is locked, and was not unlocked: ${words}`, {
      remedy: `unlock it by logging in to the desktop, ${ELSEWHERE}`,
    });
  }
  return new PopfetchError('CONFIG', `there is no keyring to ask: ${words}`, {
    remedy: `start a keyring service, such as gnome-keyring, in this session, ${ELSEWHERE}`,
  });
}

/** Out of time, most likely while a window asks a person to unlock it; or ended by something else. */
function unanswered(fault: string): PopfetchError {
  return new PopfetchError('PERMISSION', `the keyring gave no answer (the process that asks it ${fault})`, {
    remedy: `unlock the keyring by logging in to the desktop, ${ELSEWHERE}`,
  });
}
