/** `popfetch auth set-password|delete-password`: the password of an account in the keyring of the system. */
import { deletePassword, setPassword } from '../config/keyring.js';
import { firstLine } from '../config/passwordfile.js';
import { nearest } from '../config/problems.js';
import { usable, type Found } from '../config/secrets.js';
import { PopfetchError } from '../errors.js';
import { printable, readable } from '../escape.js';
import type { Context } from './context.js';
import { attributed, onlyAccount, report } from './oneaccount.js';
import { askSecret, canAsk, questionFor } from './prompt.js';
import type { Request } from './request.js';

const WORDS = { 'set-password': set, 'delete-password': remove } as const;

/** @throws USAGE for another word or more accounts than one; CONFIG without a keyring, PERMISSION with a locked one */
export async function auth(request: Request, context: Context): Promise<number> {
  const [word = ''] = request.words;
  if (Object.hasOwn(WORDS, word)) return WORDS[word as keyof typeof WORDS](request, context);
  const meant = nearest(word, Object.keys(WORDS));
  const remedy = meant === undefined ? 'use set-password or delete-password' : `did you mean ${meant}?`;
  throw new PopfetchError('USAGE', `auth knows nothing of "${printable(word, 60)}"`, { remedy });
}

/** Asks on a terminal, else takes the first line of stdin. */
async function set({ flags }: Request, context: Context): Promise<number> {
  const account = await onlyAccount(flags, context, 'auth set-password');
  const { host, user, password: source } = account;
  return attributed(account, async () => {
    const found = canAsk(context)
      ? { password: await askSecret(questionFor(account), context), from: 'the password that was typed' }
      : await piped(context);
    await setPassword(account, usable(found), context);
    const isUsed = source !== undefined && 'keyring' in source;
    const next = isUsed ? '' : '; to have it used, set password: {keyring: true} in the config';
    const sentence = `the password of ${readable(user)} at ${host} is in the keyring${next}`;
    await report(account, flags, context, sentence, { stored: true, used: isUsed });
    return 0;
  });
}

async function remove({ flags }: Request, context: Context): Promise<number> {
  const account = await onlyAccount(flags, context, 'auth delete-password');
  const { host, user } = account;
  return attributed(account, async () => {
    const deleted = await deletePassword(account, context);
    const whose = `of ${readable(user)} at ${host}`;
    const sentence = deleted
      ? `the password ${whose} is no longer in the keyring`
      : `no password ${whose} was in the keyring`;
    await report(account, flags, context, sentence, { deleted });
    return 0;
  });
}

/** Octets of stdin in which a line has to end. */
const LONGEST = 64 * 1024;

/** The first line of stdin; the rest is not read. @throws USAGE, ABORTED */
async function piped({ stdin, signal }: Context): Promise<Found> {
  const from = 'the first line of stdin';
  if (stdin().isTTY === true) throw usage('a password cannot be asked for where stderr is no terminal');
  const interrupted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(signal.reason as PopfetchError);
    });
  });
  const line = await Promise.race([beginning(stdin()), interrupted]);
  if (line.length > LONGEST) throw usage(`${from} is longer than 64 KiB`);
  return { password: firstLine(line, from), from };
}

async function beginning(input: NodeJS.ReadableStream): Promise<Buffer> {
  let read = Buffer.alloc(0);
  for await (const piece of input) {
    read = Buffer.concat([read, Buffer.from(piece)]);
    const end = read.indexOf('\n');
    if (end !== -1) return read.subarray(0, end);
    if (read.length > LONGEST) break;
  }
  return read;
}

function usage(sentence: string): PopfetchError {
  return new PopfetchError('USAGE', sentence, { remedy: 'write it to stdin, from a pipe' });
}
