/** `popfetch show`: one message as it is, to stdout. Records nothing, deletes nothing. */
import type { Account } from '../config/account.js';
import { LineFeeds, type Filter } from '../deliver/lines.js';
import type { Out } from '../deliver/context.js';
import { outTo } from '../deliver/stdout.js';
import { nodeDisk } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { printable } from '../escape.js';
import type { Listed, Listing, Mailbox, Messages, Retrieved } from '../pop3/mailbox.js';
import { plural } from '../report/quantities.js';
import { openMailbox } from '../run.js';
import { toJson } from '../report/sentences.js';
import { mayPipeline } from '../seen/memory.js';
import { readMemory } from '../seen/seen.js';
import { namesOf } from './accounts.js';
import { loadAccounts, stateDirectory, withSession, type Context } from './context.js';
import { isGone } from './output.js';
import type { Flags, Request } from './request.js';

/** @throws USAGE when not exactly one account is chosen or the word names no message; REFUSED, and what a session throws */
export async function show({ flags, words }: Request, context: Context): Promise<number> {
  const choose = messageChoice(words[0] ?? '');
  if (flags.headers && flags.lines !== undefined) {
    throw new PopfetchError('USAGE', '--headers and --lines together', {
      remedy: '--lines shows the header too',
    });
  }
  const { accounts } = await loadAccounts(flags, context);
  const account = onlyOne(accounts);
  const out = outTo(context.stdout);
  const write: Out['write'] = (octets) => out.write(octets);
  await withSession(flags, [account], context, async (session) => {
    const memory = await readMemory(stateDirectory(context), account, nodeDisk).catch(() => undefined);
    const pipelining = mayPipeline(memory, context.now());
    const mailbox = await openMailbox(account, { ...session, pipelining });
    try {
      const message = choose(await mailbox.list());
      for await (const answer of answersTo(mailbox, message, flags)) {
        if ('refused' in answer) throw refused(message, answer.refused, account);
        const filter = account.eol === 'crlf' ? AS_IT_IS : new LineFeeds();
        if (flags.json) await copyJson(answer.body, filter, message, write);
        else await copy(answer.body, filter, write);
      }
    } catch (error) {
      if (!hasReadEnough(error)) throw ofAccount(error, account);
    } finally {
      // Without QUIT: there are servers that take QUIT after RETR for deletion.
      mailbox.close();
    }
  });
  return 0;
}

/** `popfetch show 1 | head`: the reader has gone, not the server, whose errors may have the same cause. */
function hasReadEnough(error: unknown): boolean {
  return error instanceof PopfetchError && error.code === 'DELIVERY' && isGone(error.cause);
}

/** Says whose session it was; a word that names no message is nobody's. */
function ofAccount(error: unknown, { name }: Account): unknown {
  return error instanceof PopfetchError && error.code !== 'USAGE' ? error.within({ account: name }) : error;
}

function refused({ number }: Listed, serverText: string, { name }: Account): PopfetchError {
  const details = { account: name, phase: 'retrieve', serverText } as const;
  return new PopfetchError('REFUSED', `the server does not give message ${number}`, details);
}

function onlyOne(accounts: readonly Account[]): Account {
  const [account, second] = accounts;
  if (account !== undefined && second === undefined) return account;
  throw new PopfetchError('USAGE', `show needs one account; there are: ${namesOf(accounts)}`, {
    remedy: 'choose it with -a NAME',
  });
}

/** What `N`, `uid:UID`, `newest` or `oldest` means in a listing. @throws USAGE */
function messageChoice(word: string): (listing: Listing) => Listed {
  const shown = printable(word, 100);
  const find = finder(word);
  if (find === undefined) {
    throw new PopfetchError('USAGE', `"${shown}" names no message`, {
      remedy: 'name it by its number, by uid:UID, or as newest or oldest',
    });
  }
  return ({ messages }) => {
    const message = find(messages);
    if (message !== undefined) return message;
    throw new PopfetchError(
      'USAGE',
      `there is no message "${shown}" among ${plural(messages.length, 'message')}`,
      {
        remedy: 'popfetch list shows what there is',
      },
    );
  };
}

function finder(word: string): ((messages: Messages) => Listed | undefined) | undefined {
  if (word === 'newest') return (messages) => messages.at(messages.length - 1);
  if (word === 'oldest') return (messages) => messages.at(0);
  if (/^\d{1,9}$/.test(word)) return (messages) => messages.find(({ number }) => number === Number(word));
  if (!/^uid:./.test(word)) return undefined;
  const wanted = word.slice('uid:'.length);
  // As it is, or as popfetch shows it.
  return (messages) => messages.find(({ uid }) => uid === wanted || printable(uid) === wanted);
}

function answersTo(mailbox: Mailbox, message: Listed, { headers, lines }: Flags): AsyncIterable<Retrieved> {
  const part = headers ? 0 : lines;
  return part === undefined
    ? mailbox.retrieve([message], Number.MAX_SAFE_INTEGER)
    : mailbox.top([message.number], part);
}

/** Octets that base64 turns into whole groups. */
const GROUPS = 3;

/** Writes a body as it arrives, no faster than the reader reads. */
async function copy(body: AsyncIterable<Buffer>, filter: Filter, write: Out['write']): Promise<void> {
  for await (const piece of body) await write(filter.push(piece));
  await write(filter.end());
}

/** One line: `{"number":…,"uid":…,"size":…,"raw":"BASE64"}`, written as the body arrives. */
async function copyJson(
  body: AsyncIterable<Buffer>,
  filter: Filter,
  { number, uid, size }: Listed,
  write: Out['write'],
): Promise<void> {
  const head = toJson({ number, uid: printable(uid), size });
  await write(Buffer.from(`${head.slice(0, -1)},"raw":"`));
  let rest: Buffer = Buffer.alloc(0);
  await copy(body, filter, async (octets) => {
    const all = Buffer.concat([rest, octets]);
    const end = all.length - (all.length % GROUPS);
    rest = all.subarray(end);
    await write(Buffer.from(all.toString('base64', 0, end)));
  });
  await write(Buffer.from(`${rest.toString('base64')}"}\n`));
}

/** A message with `eol: crlf` is stored as it comes, and shown so. */
const AS_IT_IS: Filter = { push: (piece) => piece, end: () => Buffer.alloc(0) };
