/** Text to stdout and stderr. Loaded for everything, even `--version`: keep it small. */
import { errno } from '../disk.js';
import { PopfetchError } from '../errors.js';
import type { Terminal } from '../report/progress.js';

/** Writes a text and waits until the system has it. A reader that has gone is no error: it has read enough. @throws DELIVERY */
export function print(stream: Terminal, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (cause) => {
      if (cause == null || isGone(cause)) resolve();
      else
        reject(new PopfetchError('DELIVERY', `cannot write the output (${errno(cause) ?? ''})`, { cause }));
    });
  });
}

/** Whether an error says that nobody reads any more what is written. */
export function isGone(error: unknown): boolean {
  return ['EPIPE', 'ERR_STREAM_DESTROYED', 'ECONNRESET'].includes(errno(error) ?? '');
}
