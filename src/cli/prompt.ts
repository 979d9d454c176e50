/** Asks a person for a password: on a terminal, without showing it. */
import { createInterface, type Interface } from 'node:readline';
import { Writable } from 'node:stream';
import type { Account } from '../config/account.js';
import { PopfetchError } from '../errors.js';
import { readable } from '../escape.js';
import type { Terminal } from '../report/progress.js';
import { print } from './output.js';

/** What asking takes. */
export interface Asking {
  readonly stdin: () => NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stderr: Terminal;
  /** Its reason is thrown when it aborts. */
  readonly signal: AbortSignal;
}

/** Whether there is somebody to ask: both what is typed and what is asked belong to a terminal. */
export function canAsk({ stdin, stderr }: Asking): boolean {
  return stderr.isTTY === true && stdin().isTTY === true;
}

/** `password of taro at pop.example.com (work): ` */
export function questionFor({ name, user, host }: Pick<Account, 'name' | 'user' | 'host'>): string {
  return `password of ${readable(user)} at ${readable(host)} (${readable(name)}): `;
}

/**
 * One line that a person types and nobody sees. The terminal is left as it was, whatever happens.
 * @throws ABORTED with exit status 130 at Ctrl-C and at the end of the input; the reason of `signal` when that aborts
 */
export async function askSecret(question: string, { stdin, stderr, signal }: Asking): Promise<string> {
  signal.throwIfAborted();
  const input = stdin();
  const gone = new AbortController();
  const leave = (): void => {
    gone.abort(interrupted('no password was typed'));
  };
  // Before the interface: it would take what was typed so far for the whole.
  input.once('end', leave);
  const typing = createInterface({ input, output: nowhere(), terminal: true, historySize: 0 });
  try {
    const line = typedLine(typing, AbortSignal.any([signal, gone.signal]));
    // Only now: from here on the terminal shows nothing of what is typed.
    await Promise.all([print(stderr, question), line]);
    return await line;
  } finally {
    typing.close();
    input.off('end', leave);
    // The end of the line that was typed is not shown either.
    await print(stderr, '\n');
  }
}

function typedLine(typing: Interface, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      reject(signal.reason as PopfetchError);
    };
    signal.addEventListener('abort', stop);
    // On a terminal that is read key by key, Ctrl-C is a key and no signal.
    typing.on('SIGINT', () => {
      reject(interrupted('interrupted by Ctrl-C'));
    });
    typing.on('line', resolve);
    typing.on('close', () => {
      signal.removeEventListener('abort', stop);
      reject(interrupted('no password was typed'));
    });
  });
}

function nowhere(): Writable {
  return new Writable({
    write(_octets, _encoding, done) {
      done();
    },
  });
}

function interrupted(what: string): PopfetchError {
  return new PopfetchError('ABORTED', what, { remedy: 'nothing was done' });
}
