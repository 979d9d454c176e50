/**
 * Messages that are known without the memory: by their files in a Maildir, or because a person says so. Gives what the
 * memory should hold of them; records nothing.
 */
import type { StoredMail } from '../deliver/storedmail.js';
import type { Listed, Mailbox } from '../pop3/mailbox.js';
import type { Entry, Memory } from '../seen/memory.js';
import { headerHashes } from './identify.js';
import { NOWHERE } from './plan.js';

/** Where a message lies that was delivered. */
export interface Stored extends StoredMail {
  /** {@link Entry.destination}: the Maildirs in which it is. */
  readonly destination: string;
}

/** What recognising takes. */
export interface Sources {
  readonly mailbox: Pick<Mailbox, 'top'>;
  /** The name of a message for ever, from its uid. */
  readonly key: (uid: string) => string;
  /** Looks for a message in the Maildirs of the account by its key. */
  readonly find: (key: string) => Promise<Stored | undefined>;
  /** Milliseconds since 1970. */
  readonly now: number;
}

interface Found {
  readonly listed: Listed;
  /** By which the next run will name it. */
  readonly uid: string;
  readonly stored: Stored;
}

/**
 * Finds those of these messages, each with a uid of its own, that lie in a Maildir, and that the memory does not know.
 * Where a file has not as many octets as LIST says, the header decides. Where even that cannot be asked for, the message
 * counts as delivered, and is never removed from the server.
 */
export async function recognise(
  messages: Iterable<Listed>,
  memory: Memory,
  sources: Sources,
): Promise<Entry[]> {
  const begun = new Set(memory.unfinished().map(({ uid }) => uid));
  const found: Found[] = [];
  for (const listed of messages) {
    // What was on its way is finished by the next run, which knows more of it.
    if (memory.has(listed.uid) || begun.has(listed.uid)) continue;
    const one = await lookUp(listed, sources);
    if (one !== undefined) found.push(one);
  }
  const doubtful = found.filter(({ listed, stored }) => listed.size !== stored.octets);
  const headers = await headersOf(
    doubtful.map(({ listed }) => listed),
    sources.mailbox,
  );
  return found.flatMap((one) => {
    const header = headers.get(one.listed.number);
    const same = header === one.stored.headerSha256;
    if (header !== undefined && !same) return [];
    return entryFrom(one, sources, same || !doubtful.includes(one));
  });
}

/** All messages that lie in a Maildir and that the memory does not know, for a mailbox whose messages have no unique-ids. */
export async function recogniseAll(
  keys: readonly string[],
  memory: Memory,
  { find, now }: Pick<Sources, 'find' | 'now'>,
): Promise<Entry[]> {
  const known = new Set([...memory.entries()].map(({ key }) => key));
  const entries: Entry[] = [];
  for (const key of keys.filter((each) => !known.has(each))) {
    const stored = await find(key);
    if (stored === undefined) continue;
    const { octets, sha256, headerSha256, destination, time } = stored;
    const facts = { key, size: octets, octets, sha256, headerSha256, destination };
    const times = { doneAt: Math.min(time, now), removedAt: undefined, goneAt: undefined };
    entries.push({ uid: `\0${now}.${entries.length + 1}`, ...facts, ...times });
  }
  return entries;
}

/** A uid that several messages share had only one of them at first, whose file has the key of the bare uid. */
async function lookUp(listed: Listed, { key, find }: Sources): Promise<Found | undefined> {
  const stored = await find(key(listed.uid));
  if (stored !== undefined) return { listed, uid: listed.uid, stored };
  const [uid = '', mark] = listed.uid.split('\0');
  if (mark?.endsWith('.1') !== true) return undefined;
  const first = await find(key(uid));
  if (first === undefined || !mark.startsWith(first.headerSha256.slice(0, 32))) return undefined;
  return { listed, uid, stored: first };
}

function entryFrom({ listed, uid, stored }: Found, { key, now }: Sources, certain: boolean): Entry {
  const { octets, sha256, headerSha256, destination, time } = stored;
  return {
    uid,
    key: key(uid),
    size: listed.size,
    octets,
    sha256,
    headerSha256,
    destination: certain ? destination : NOWHERE,
    doneAt: Math.min(time, now),
    removedAt: undefined,
    goneAt: undefined,
  };
}

/**
 * What the memory holds of messages that count as seen although nothing was delivered: enough to know each again, by
 * size and header. They are never removed from the server.
 */
export async function asSeen(
  messages: readonly Listed[],
  { mailbox, key, now }: Omit<Sources, 'find'>,
): Promise<Entry[]> {
  const headers = await headersOf(messages, mailbox);
  return messages.map(({ number, uid, size }) => ({
    uid,
    key: key(uid),
    size,
    octets: size,
    sha256: '',
    headerSha256: headers.get(number) ?? '',
    destination: NOWHERE,
    doneAt: now,
    removedAt: undefined,
    goneAt: undefined,
  }));
}

async function headersOf(
  messages: readonly Listed[],
  mailbox: Pick<Mailbox, 'top'>,
): Promise<ReadonlyMap<number, string>> {
  return messages.length === 0 ? new Map() : headerHashes(messages, mailbox);
}
