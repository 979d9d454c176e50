/** The books of a soak: what was sent to whom, and what of it is where. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerMailbox } from '../support/mailbox.js';
import { toLf } from '../support/messages.js';
import type { Place, SoakAccount } from './soak-accounts.js';
import { mail } from './soak-mail.js';

/** What a count of everything comes to. Each entry names a message and a place. */
export interface Count {
  /** Neither in its place nor on the server. */
  readonly lost: readonly string[];
  /** In a place more than once. */
  readonly doubled: readonly string[];
  /** In a place, and no message that was ever sent there. */
  readonly fragments: readonly string[];
  /** On the server, and not in its place. */
  readonly missing: readonly string[];
}

/** Every message that was sent. */
export class Ledger {
  /** By account: the digests of its messages by uid. */
  readonly #sent = new Map<string, Map<string, string>>();
  /** Files of Maildirs that were read before, which never change. */
  readonly #known = new Map<string, string>();

  constructor(readonly home: string) {}

  get total(): number {
    return [...this.#sent.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** Puts the next message of an account into its mailbox. */
  send({ name }: SoakAccount, mailbox: ServerMailbox): void {
    const sent = this.#sent.get(name) ?? new Map<string, string>();
    this.#sent.set(name, sent);
    const data = mail(name, sent.size + 1);
    sent.set(mailbox.add({ uid: `${name}-${sent.size + 1}`, data }).uid, digest(data));
  }

  /** The messages of these that are not whole in every place of the account. */
  async unstored(account: SoakAccount, uids: readonly string[]): Promise<string[]> {
    const sent = this.#sent.get(account.name);
    const found = await Promise.all(account.places.map((place) => this.#digests(place)));
    return uids.filter((uid) => !found.every((digests) => digests.has(sent?.get(uid) ?? '')));
  }

  /** Counts everything. `finished`: no run is under way, so that a message at the end of an mbox has to be whole. */
  async count(
    accounts: readonly SoakAccount[],
    server: (name: string) => ServerMailbox,
    finished: boolean,
  ): Promise<Count> {
    const count = { lost: [], doubled: [], fragments: [], missing: [] } as Record<keyof Count, string[]>;
    // What is removed is stored before: so the server comes first. What is sent from here on does not count.
    const there = new Map(accounts.map(({ name }) => [name, new Set(server(name).uids)]));
    const sent = new Map([...this.#sent].map(([name, digests]) => [name, [...digests]]));
    for (const [place, senders] of byPlace(accounts)) {
      const digests = await this.#digests(place, finished);
      for (const { name } of senders) {
        for (const [uid, sum] of sent.get(name) ?? []) {
          const copies = digests.get(sum) ?? 0;
          digests.delete(sum);
          if (copies > 1) count.doubled.push(`${uid} in ${place.name}: ${copies}`);
          if (copies === 0)
            count[there.get(name)?.has(uid) ? 'missing' : 'lost'].push(`${uid} in ${place.name}`);
        }
      }
      // The end of an mbox to which a run appends at this moment is no message yet.
      for (const [sum, copies] of finished ? digests : [])
        count.fragments.push(`${sum} in ${place.name}: ${copies}`);
    }
    return count;
  }

  /** How many copies of each message are in a place. */
  async #digests({ kind, name }: Place, finished = false): Promise<Map<string, number>> {
    const path = join(this.home, name);
    const all = kind === 'maildir' ? await this.#inMaildir(path, finished) : await inMbox(path);
    const counts = new Map<string, number>();
    for (const each of all) counts.set(each, (counts.get(each) ?? 0) + 1);
    return counts;
  }

  async #inMaildir(path: string, finished: boolean): Promise<string[]> {
    const names = new Map<string, string>();
    for (const folder of ['new', 'cur']) {
      for (const file of await readdir(join(path, folder)).catch(() => [])) {
        // A file that the reader moves at this moment may be seen in both folders, and is one.
        const name = file.replace(/:.*/, '');
        names.set(finished ? join(folder, name) : name, join(path, folder, file));
      }
    }
    return Promise.all([...names].map(([name, file]) => this.#inFile(join(path, name), file)));
  }

  async #inFile(name: string, file: string): Promise<string> {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const sum = digest(await readFile(file).catch(() => readFile(`${file.replace('/new/', '/cur/')}:2,S`)));
    this.#known.set(name, sum);
    return sum;
  }
}

async function inMbox(file: string): Promise<string[]> {
  const text = (await readFile(file, 'latin1').catch(() => '')).replaceAll('\r\n', '\n');
  if (text === '') return [];
  return text.split(/(?<=\n)(?=From )/).map((part) => {
    const content = part.slice(part.indexOf('\n') + 1, -1).replace(/^>(>*From )/gm, '$1');
    return digest(Buffer.from(content, 'latin1'));
  });
}

function digest(data: Buffer): string {
  return createHash('sha256').update(toLf(data)).digest('hex');
}

function byPlace(accounts: readonly SoakAccount[]): [Place, SoakAccount[]][] {
  const places = new Map<string, [Place, SoakAccount[]]>();
  for (const account of accounts) {
    for (const place of account.places) {
      const [, senders] = places.get(place.name) ?? places.set(place.name, [place, []]).get(place.name)!;
      senders.push(account);
    }
  }
  return [...places.values()];
}
