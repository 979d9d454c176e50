/** `popfetch list`: what is on the server, and what the next fetch would do with it. Records nothing, deletes nothing. */
import { identify } from '../account/identify.js';
import { listed } from '../account/listed.js';
import { plan, type Decision } from '../account/plan.js';
import type { Account } from '../config/account.js';
import { cut, table, width } from '../report/columns.js';
import { nodeDisk } from '../disk.js';
import { exitCode, PopfetchError } from '../errors.js';
import { printable, readable } from '../escape.js';
import type { Listing } from '../pop3/mailbox.js';
import type { Pop3Client } from '../pop3/client.js';
import { moment, plural, size } from '../report/quantities.js';
import { atOnce, openMailbox, type SessionOptions } from '../run.js';
import { mayPipeline } from '../seen/memory.js';
import { readMemory } from '../seen/seen.js';
import { errorFields, quoted, toJson } from '../report/sentences.js';
import { loadAccounts, note, stateDirectory, tell, withSession, type Context } from './context.js';
import { print } from './output.js';
import type { Header } from './headers.js';
import type { Request } from './request.js';

/** One message as it is listed. */
interface Row {
  readonly decision: Decision;
  readonly seen: boolean;
  readonly header: Header | undefined;
}

/** A mailbox, or why it cannot be listed. */
type Found =
  | {
      readonly account: string;
      readonly octets: number;
      readonly rows: readonly Row[];
      readonly notes: readonly string[];
    }
  | { readonly account: string; readonly error: PopfetchError };

/** @returns the exit status of all accounts together: one that fails does not keep the others from being listed. */
export async function list({ flags }: Request, context: Context): Promise<number> {
  const { config, accounts } = await loadAccounts(flags, context);
  const state = stateDirectory(context);
  const found = await withSession(flags, accounts, context, (session) =>
    atOnce(accounts, config.parallel, (account) => examine(account, session, { state, now: context.now() })),
  );
  if (flags.json) await print(context.stdout, `${toJson({ accounts: found.map(fields) }, 2)}\n`);
  else await print(context.stdout, found.map((one) => describe(one, found.length > 1, context)).join(''));
  const errors = found.flatMap((one) => ('error' in one ? [one.error] : []));
  await tell(context, errors);
  for (const { account, notes } of found.filter((one) => 'notes' in one)) {
    for (const text of notes) await note(flags, context, `${readable(account)}: ${text}`);
  }
  return exitCode(errors);
}

async function examine(
  account: Account,
  session: SessionOptions,
  { state, now }: { readonly state: string; readonly now: number },
): Promise<Found> {
  try {
    const memory = await readMemory(state, account, nodeDisk);
    const client = await openMailbox(account, { ...session, pipelining: mayPipeline(memory, now) });
    try {
      const parts = {
        identify: (all: Listing) => identify(all, client, memory),
        seen: memory,
        now: () => now,
      };
      const { listing, byContent } = await listed(account, parts, client);
      const { headers, notes } = await headersOf(client, listing);
      // No message was retrieved, so that no server can take QUIT for a wish to delete.
      await client.quit();
      const unclear = byContent ? 'only reading the messages tells which of them are new' : undefined;
      const doubts = [unclear, listing.question].filter((each) => each !== undefined);
      const rows = plan(listing, memory, account, now)
        .sort((a, b) => a.message.number - b.message.number)
        .map((decision) => ({
          decision,
          seen: memory?.has(decision.message.uid) ?? false,
          header: headers.get(decision.message.number),
        }));
      return {
        account: account.name,
        octets: listing.octets,
        rows,
        notes: [...doubts, ...listing.notes, ...notes],
      };
    } finally {
      client.close();
    }
  } catch (error) {
    if (!(error instanceof PopfetchError)) throw error;
    return { account: account.name, error: error.within({ account: account.name }) };
  }
}

/** Octets of a header that are kept: From, Subject and Date come early. */
const HEADER = 65_536;

async function headersOf(
  client: Pop3Client,
  { messages }: Listing,
): Promise<{ headers: ReadonlyMap<number, Header>; notes: readonly string[] }> {
  const headers = new Map<number, Header>();
  const { known, tags } = client.capabilities;
  if (messages.length === 0) return { headers, notes: [] };
  if (known && !tags.has('TOP'))
    return { headers, notes: ['the server has no TOP: date, sender and subject are not known'] };
  const { readHeader } = await import('./headers.js');
  const refusals: string[] = [];
  for await (const answer of client.top(
    messages.map(({ number }) => number),
    0,
  )) {
    if ('refused' in answer) refusals.push(answer.refused);
    else headers.set(answer.number, readHeader(await beginning(answer.body)));
  }
  const [words] = refusals;
  const notes =
    words === undefined
      ? []
      : [`the server refuses TOP for ${plural(refusals.length, 'message')}: ${quoted(words)}`];
  return { headers, notes };
}

async function beginning(body: AsyncIterable<Buffer>): Promise<Buffer> {
  const kept: Buffer[] = [];
  let octets = 0;
  for await (const piece of body) {
    // A copy, because the piece may be used again; and to the end, because the next answer comes after it.
    if (octets < HEADER) kept.push(Buffer.from(piece.subarray(0, HEADER - octets)));
    octets += piece.length;
  }
  return Buffer.concat(kept);
}

const HEADING = ['NUMBER', 'SIZE'.padStart(8), 'DATE', 'SEEN', 'NEXT', 'FROM', 'SUBJECT'];
/** Columns of FROM on a terminal. */
const FROM = 24;

function describe(one: Found, several: boolean, { stdout }: Context): string {
  const name = readable(one.account);
  if ('error' in one) return several ? `${name}: cannot be listed\n` : '';
  const count =
    one.rows.length === 0 ? 'no messages' : `${plural(one.rows.length, 'message')}, ${size(one.octets)}`;
  if (one.rows.length === 0) return `${name}: ${count}\n`;
  const columns = stdout.isTTY === true && (stdout.columns ?? 0) > 0 ? stdout.columns : undefined;
  const lines = table([HEADING, ...one.rows.map((row) => cells(row, columns))]);
  const fitting = columns === undefined ? lines : lines.map((line) => cut(line, columns));
  return `${several ? `${name}: ${count}\n` : ''}${fitting.join('\n')}\n`;
}

/** On a terminal the sender is cut, so that there is room for the subject; in a pipe nothing is. */
function cells({ decision, seen, header }: Row, columns: number | undefined): string[] {
  const { number, size: octets } = decision.message;
  const from = header?.from ?? '';
  return [
    String(number).padStart(6),
    size(octets).padStart(8),
    header?.date === undefined ? '' : moment(header.date),
    seen ? 'seen' : 'new',
    next(decision),
    columns === undefined || width(from) <= FROM ? from : cut(from, FROM),
    header?.subject ?? '',
  ];
}

function next(decision: Decision): string {
  switch (decision.action) {
    case 'fetch':
    case 'remove':
      return decision.action;
    case 'retry':
      return 'fetch again';
    case 'keep':
      return decision.removeAt === undefined ? 'keep' : `keep until ${moment(decision.removeAt)}`;
    case 'skip':
      return `skip: ${decision.reason}`;
    default:
      return decision satisfies never;
  }
}

function fields(one: Found): object {
  if ('error' in one) return { account: one.account, error: errorFields(one.error) };
  return { account: one.account, octets: one.octets, notes: one.notes, messages: one.rows.map(rowFields) };
}

function rowFields({ decision, seen, header }: Row): object {
  const { message, ...nextFields } = decision;
  const iso = (time: number | undefined): string | null =>
    time === undefined ? null : new Date(time).toISOString();
  return {
    number: message.number,
    uid: printable(message.uid),
    size: message.size,
    date: iso(header?.date),
    from: header?.from ?? null,
    subject: header?.subject ?? null,
    seen,
    next: { ...nextFields, ...('removeAt' in nextFields ? { removeAt: iso(nextFields.removeAt) } : {}) },
  };
}
