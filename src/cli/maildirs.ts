/** The Maildirs of an account, looked into for what was delivered there. */
import { join } from 'node:path';
import type { Stored } from '../account/recognise.js';
import type { Account } from '../config/account.js';
import type { Destination } from '../deliver/destination.js';
import { failure } from '../deliver/failure.js';
import { readStored, storedFiles, type StoredMail } from '../deliver/storedmail.js';
import { errno, nodeDisk } from '../disk.js';
import { mailboxTag } from '../identity.js';

/** The Maildirs in which mail of an account may lie, by their names in the memory. */
function namesOf({ deliver, rejected }: Account): ReadonlyMap<string, string> {
  const paths = deliver.flatMap((config) =>
    typeof config === 'object' && 'maildir' in config ? [config.maildir] : [],
  );
  const names = paths.map((path): [string, string] => [`maildir:${path}`, path]);
  return new Map([
    ...names,
    ...(rejected === undefined ? [] : [[`rejected:${rejected}`, rejected] as const]),
  ]);
}

/** The paths of the Maildirs in which mail of an account may lie. */
export function maildirsOf(account: Account): string[] {
  return [...namesOf(account).values()];
}

/** What {@link Destination.traces} says of all of them, without making anything. */
export function placesOf(account: Account): Required<Pick<Destination, 'name' | 'traces'>> {
  const names = namesOf(account);
  return {
    name: [...names.keys()].join(', '),
    traces: async () => {
      let count = 0;
      for (const path of names.values()) count += (await filesIn(path, mailboxTag(account))).size;
      return count;
    },
  };
}

/** The mail of an account in its Maildirs. */
export interface StoredMessages {
  /** The keys of all. */
  readonly keys: readonly string[];
  /** Finds a message by its key. @throws DELIVERY where it cannot be read */
  readonly find: (key: string) => Promise<Stored | undefined>;
}

/** Looks into the Maildirs of an account. @throws DELIVERY where one cannot be read */
export async function storedMessages(account: Account): Promise<StoredMessages> {
  const tag = mailboxTag(account);
  const places = await Promise.all(
    [...namesOf(account)].map(async ([name, path]) => ({ name, path, files: await filesIn(path, tag) })),
  );
  const find = async (key: string): Promise<Stored | undefined> => {
    const found: { readonly name: string; readonly mail: StoredMail }[] = [];
    for (const place of places) {
      const mail = await read(place, key, tag);
      if (mail !== undefined) found.push({ name: place.name, mail });
    }
    const [first] = found;
    if (first === undefined) return undefined;
    return { ...first.mail, destination: found.map(({ name }) => name).join(' ') };
  };
  return { keys: [...new Set(places.flatMap(({ files }) => [...files.keys()]))], find };
}

interface Place {
  readonly path: string;
  files: ReadonlyMap<string, string>;
}

/** A reader may have moved the file since it was listed. */
async function read(place: Place, key: string, tag: string): Promise<StoredMail | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    const file = place.files.get(key);
    if (file === undefined) return undefined;
    try {
      return await readStored(nodeDisk, file);
    } catch (error) {
      if (errno(error) !== 'ENOENT' || attempt === 3) throw failure(error, file);
      place.files = await filesIn(place.path, tag);
    }
  }
}

async function filesIn(path: string, tag: string): Promise<Map<string, string>> {
  try {
    return await storedFiles(nodeDisk, path, tag);
  } catch (error) {
    throw failure(error, path);
  }
}

/** Resolves when the names of the messages in them are on stable storage. @throws DELIVERY */
export async function syncMaildirs(account: Account): Promise<void> {
  for (const path of maildirsOf(account)) {
    for (const folder of ['new', 'cur'].map((name) => join(path, name))) {
      try {
        if ((await nodeDisk.lstat(folder)) !== undefined) await nodeDisk.syncDirectory(folder);
      } catch (error) {
        throw failure(error, folder);
      }
    }
  }
}
