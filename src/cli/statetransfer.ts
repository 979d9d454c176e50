/** `popfetch state export` and `import`: the memory as lines of JSON. No network, no password. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import type { Account } from '../config/account.js';
import { errno, nodeDisk } from '../disk.js';
import { exitCode, PopfetchError } from '../errors.js';
import { printable, readable } from '../escape.js';
import { mailboxTag } from '../identity.js';
import { plural } from '../report/quantities.js';
import { toJson } from '../report/sentences.js';
import { seenRecord, type Book } from '../seen/book.js';
import { readMemory } from '../seen/seen.js';
import { exportObjects, parseExport, type Exported } from '../seen/transfer.js';
import { loadAccounts, note, stateDirectory, tell, type Context } from './context.js';
import { print } from './output.js';
import type { Request } from './request.js';
import { withHeld } from './held.js';
import { attributed, onlyAccount, report } from './oneaccount.js';

/** @returns 0, or the exit status of the memories that cannot be read; the others are written all the same */
export async function exportState({ flags }: Request, context: Context): Promise<number> {
  const { accounts } = await loadAccounts(flags, context);
  const state = stateDirectory(context);
  const errors: PopfetchError[] = [];
  for (const account of accounts) {
    try {
      const book = await attributed(account, () => readMemory(state, account, nodeDisk));
      if (book === undefined) continue;
      for (const lines of inPieces(exportObjects(account, book, context.now())))
        await print(context.stdout, lines);
      const unfinished = book.unfinished().length;
      const what = `${unfinished === 1 ? '1 delivery was' : `${unfinished} deliveries were`} cut off and left out; run popfetch, which finishes it, and export again`;
      if (unfinished > 0) await note(flags, context, `${readable(account.name)}: ${what}`);
    } catch (error) {
      if (!(error instanceof PopfetchError) || error.code === 'DELIVERY') throw error;
      errors.push(error);
    }
  }
  await tell(context, errors);
  return exitCode(errors);
}

/** Octets, more or less, that are written at once. */
const PIECE = 65_536;

/** Each as a line, many lines at once. */
function* inPieces(objects: Iterable<object>): Generator<string> {
  let lines = '';
  for (const object of objects) {
    lines += `${toJson(object)}\n`;
    if (lines.length < PIECE) continue;
    yield lines;
    lines = '';
  }
  yield lines;
}

/** Lines that are shown of those that are wrong. */
const SHOWN = 20;

/**
 * Adds what the memory does not know; what it knows stays. All of it or, where one line is wrong, nothing.
 * @returns 0, or 65 for lines that cannot be used @throws USAGE, LOCKED, STATE; DATA where it is of other mailboxes
 */
export async function importState({ flags, words }: Request, context: Context): Promise<number> {
  const account = await onlyAccount(flags, context, 'state import');
  const { exported, bad } = parseExport(await textOf(words[0], context));
  if (bad.length > 0) {
    const errors = bad.slice(0, SHOWN).map(({ line, why }) => wrongData(`line ${line}: ${readable(why)}`));
    const rest = bad.length - errors.length;
    await tell(context, rest === 0 ? errors : [...errors, wrongData(`${rest} more lines are wrong`)]);
    return exitCode(errors);
  }
  const mine = ofAccount(exported, account);
  return withHeld(account, flags, context, 'sound', async ({ book, replace }) => {
    const { added, known } = merge(mine, book);
    await replace(book.records(context.now()));
    const sentence = `${plural(added, 'message')} imported, ${known} known already`;
    await report(account, flags, context, sentence, { imported: added, known });
    return 0;
  });
}

/** From a file, or from stdin. @throws USAGE where it cannot be read, ABORTED */
async function textOf(name: string | undefined, { cwd, stdin, signal }: Context): Promise<string> {
  if (name !== undefined && name !== '-') {
    try {
      return await readFile(resolve(cwd, name), 'utf8');
    } catch (cause) {
      const why = errno(cause) ?? 'unknown reason';
      throw new PopfetchError('USAGE', `${readable(name)} cannot be read (${why})`, { cause });
    }
  }
  const interrupted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => {
      reject(signal.reason as PopfetchError);
    });
  });
  return (await Promise.race([buffer(stdin()), interrupted])).toString('utf8');
}

/** The memories of this mailbox. @throws DATA where there is none */
function ofAccount(exported: readonly Exported[], account: Account): readonly Exported[] {
  const mine = exported.filter(({ address }) => mailboxTag(address) === mailboxTag(account));
  if (mine.length > 0) return mine;
  const others = exported.map(({ address: { user, host, port } }) => `${user} at ${host}:${port}`);
  const { name, user, host, port } = account;
  const what =
    others.length === 0 ? 'there is nothing in it' : `it is of ${printable(others.join(', '), 300)}`;
  throw new PopfetchError('DATA', `this export cannot be imported: ${what}`, {
    remedy: `account ${readable(name)} is ${readable(user)} at ${host}:${port}; choose another with -a`,
  });
}

function merge(
  exported: readonly Exported[],
  book: Book,
): { readonly added: number; readonly known: number } {
  let known = 0;
  let added = 0;
  for (const { entries, remarks } of exported) {
    for (const entry of entries) {
      if (book.has(entry.uid)) known += 1;
      else {
        book.apply(seenRecord(entry));
        added += 1;
      }
    }
    for (const remark of remarks) {
      const { uid } = remark;
      if (book.has(uid)) continue;
      if ('reported' in remark) book.apply({ verb: 'REPORTED', fields: [uid] });
      else if (book.exceeds(uid) === 0)
        book.apply({ verb: 'OUTGREW', fields: [uid, String(remark.exceeds)] });
    }
  }
  return { added, known };
}

function wrongData(sentence: string): PopfetchError {
  return new PopfetchError('DATA', sentence, { remedy: 'nothing was imported' });
}
