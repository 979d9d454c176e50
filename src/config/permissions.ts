/** Who else can read or change a file that a password or a command comes from. */
import type { Stats } from 'node:fs';
import { PopfetchError } from '../errors.js';
import { shellWord } from '../escape.js';

const OTHERS_READ = 0o044;
const OTHERS_WRITE = 0o022;

/**
 * Refuses a file with a password in it that its group or others can read.
 * @throws PopfetchError PERMISSION with the chmod that mends it.
 */
export function refuseReadable(file: string, { mode }: Stats): void {
  if ((mode & OTHERS_READ) === 0) return;
  throw refusal(
    `${file} holds a password and can be read by others (mode ${octal(mode)})`,
    `chmod 600 ${shellWord(file)}`,
  );
}

/**
 * Refuses a file that somebody else could have written: it may name commands to run and servers to send passwords to.
 * @throws PopfetchError PERMISSION with the command that mends it.
 */
export function refuseForeign(file: string, { mode, uid: owner }: Stats, uid: number): void {
  if (owner !== uid && owner !== 0) {
    const what = `${file} belongs to somebody else (user id ${owner})`;
    throw refusal(what, `chown ${uid} ${shellWord(file)} (as root), or copy it to a file of your own`);
  }
  if ((mode & OTHERS_WRITE) === 0) return;
  throw refusal(`${file} can be changed by others (mode ${octal(mode)})`, `chmod go-w ${shellWord(file)}`);
}

function refusal(what: string, command: string): PopfetchError {
  return new PopfetchError('PERMISSION', what, { phase: 'config', remedy: `run ${command}` });
}

function octal(mode: number): string {
  return (mode & 0o777).toString(8).padStart(4, '0');
}
