/** One account with everything real but the server, on a disk that fails where a test wants it: what tests of faults look at. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { runAccount } from '../../src/account/account.js';
import { identify } from '../../src/account/identify.js';
import { Tally } from '../../src/account/parts.js';
import type { Account, DestinationConfig } from '../../src/config/account.js';
import { openDestination } from '../../src/deliver/index.js';
import type { Disk } from '../../src/disk.js';
import { asError, PopfetchError } from '../../src/errors.js';
import { mailboxTag, messageKey } from '../../src/identity.js';
import type { Seen } from '../../src/seen/memory.js';
import { openSeen, readMemory } from '../../src/seen/seen.js';
import { accountOf } from './fakes.js';
import { LiveServer } from './live-mailbox.js';
import { promptDisk } from './prompt-disk.js';

/** Where the messages go. */
export type Kind = 'Maildir' | 'Maildir without hard links' | 'mbox' | 'Maildir and mbox' | 'stdout';

/** In memory where the system has such a place: thousands of runs sync thousands of times. */
const ROOM = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** Two small ones, and one that needs several writes, and the spool where a destination wants it whole. */
export const MESSAGES: ReadonlyMap<string, Buffer> = new Map([
  ['first', mail('first', 'From here\r\n.\r\nbody\r\n')],
  ['second', mail('second', `${'y'.repeat(900)}\r\n`.repeat(150))],
  ['third', mail('third', '')],
]);

function mail(subject: string, body: string): Buffer {
  return Buffer.from(`Subject: ${subject}\r\n\r\n${body}`);
}

/** How a run ended. */
export interface Ended {
  readonly error: Error | undefined;
  readonly tally: Tally;
}

export class FaultWorld {
  readonly directory = mkdtempSync(join(ROOM, 'popfetch-fault-'));
  readonly server: LiveServer;
  readonly account: Account;
  /** What no run may do and one did. */
  readonly broken: string[] = [];
  /** What came out of standard output. */
  readonly #output: Buffer[] = [];
  /** Whether half a message may have come out of standard output. */
  fragmentsOut = false;
  #time = Date.UTC(2026, 10, 3, 8, 2, 9);

  constructor(
    readonly kind: Kind,
    remove: 'never' | 'delivered',
    messages = MESSAGES,
  ) {
    this.account = accountOf({ deliver: this.#destinations(), delete: remove });
    this.server = new LiveServer(messages, {
      removing: (uids) => this.#removing(uids),
      quitting: (uids) => {
        this.#quitting(uids);
      },
    });
  }

  path(...parts: readonly string[]): string {
    return join(this.directory, ...parts);
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #destinations(): DestinationConfig[] {
    const maildir = { maildir: this.path('mail', 'box') };
    const mbox = { mbox: this.path('mail', 'mbox') };
    switch (this.kind) {
      case 'mbox':
        return [mbox];
      case 'Maildir and mbox':
        return [maildir, mbox];
      case 'stdout':
        return ['stdout'];
      case 'Maildir':
      case 'Maildir without hard links':
        return [maildir];
    }
  }

  /** One run, a minute after the one before, just as the command does it. Never rejects. */
  async run(disk: Disk): Promise<Ended> {
    this.#time += 60_000;
    const tally = new Tally();
    try {
      await this.#fetch(disk, tally);
      return { error: tally.errors[0], tally };
    } catch (error) {
      return { error: asError(error), tally };
    }
  }

  async #fetch(disk: Disk, tally: Tally): Promise<void> {
    const { signal } = new AbortController();
    const now = (): number => this.#time;
    const seen = await openSeen(this.path('state'), this.account, disk, { wait: 0, signal, now });
    let failure: Error | undefined;
    try {
      await this.#deliver(disk, seen, tally);
    } catch (error) {
      failure = asError(error);
    }
    const result = failure === undefined ? 'ok' : failure instanceof PopfetchError ? failure.code : 'BUG';
    const { listed, delivered, removed } = tally;
    try {
      await seen.close({ time: now(), result, listed, delivered, removed }, tally.uids);
    } catch (error) {
      failure ??= asError(error);
    }
    if (failure !== undefined) throw failure;
  }

  async #deliver(disk: Disk, seen: Seen, tally: Tally): Promise<void> {
    const { account } = this;
    const { signal } = new AbortController();
    const now = (): number => this.#time;
    const spool = this.path('state', 'spool');
    await promptDisk.mkdir(spool);
    const destination = await openDestination(account.deliver, {
      account: account.name,
      tag: mailboxTag(account),
      eol: 'lf',
      spool,
      disk,
      host: 'host.example',
      now,
      timeLimit: 10_000,
      env: {},
      signal,
      stdout: { format: 'json', out: { write: (data) => Promise.resolve(void this.#output.push(data)) } },
    });
    try {
      await runAccount(
        account,
        {
          destination,
          seen,
          signal,
          now,
          keep: false,
          acceptReset: false,
          emit: () => undefined,
          connect: () => this.server.connect(),
          identify: (listing, mailbox) => identify(listing, mailbox, seen),
          key: (uid) => messageKey(account, uid),
        },
        tally,
      );
    } finally {
      await destination.close();
    }
  }

  /** DELE is for what the memory, as it stands on disk, holds as done. */
  async #removing(uids: readonly string[]): Promise<void> {
    const memory = await readMemory(this.path('state'), this.account, promptDisk);
    for (const uid of uids)
      if (memory?.has(uid) !== true) this.broken.push(`DELE for ${uid}, which is not done`);
  }

  /** QUIT in this session may delete what RETR gave in it. */
  #quitting(uids: readonly string[]): void {
    for (const uid of uids) {
      for (const [place, found] of this.visible()) {
        if (!found.includes(uid)) this.broken.push(`QUIT after RETR of ${uid}, which is not in ${place}`);
      }
    }
  }

  /** By place: the uids of the messages that stand there whole. @throws where there is anything else */
  visible(): Map<string, string[]> {
    const places = new Map<string, string[]>();
    if (this.kind.startsWith('Maildir')) places.set('the Maildir', this.#inMaildir());
    if (this.kind.endsWith('mbox')) {
      places.set('the mbox', this.#inMbox());
    }
    if (this.kind === 'stdout') places.set('stdout', this.#onStdout());
    return places;
  }

  #inMaildir(): string[] {
    return ['new', 'cur'].flatMap((folder) => {
      const path = this.path('mail', 'box', folder);
      return namesIn(path).map((name) =>
        uidOf(readFileSync(join(path, name), 'latin1'), `the Maildir (${name})`),
      );
    });
  }

  #inMbox(): string[] {
    const path = this.path('mail', 'mbox');
    const [before, ...entries] = (existsSync(path) ? readFileSync(path, 'latin1') : '').split(FROM);
    if (before !== '') throw new Error('the mbox begins with something else than a message');
    return entries.map((entry) => uidOf(entry.slice(entry.indexOf('\n') + 1), 'the mbox', ENTRIES));
  }

  #onStdout(): string[] {
    const lines = Buffer.concat(this.#output).toString('latin1').split('\n').slice(0, -1);
    // A message that is begun and whose spool then fails cannot be taken back; the others must not suffer.
    const whole = this.fragmentsOut ? lines.filter((line) => line.endsWith('}')) : lines;
    return whole.map((line) => {
      const { raw } = JSON.parse(line) as { raw: string };
      return uidOf(Buffer.from(raw, 'base64').toString('latin1'), 'stdout');
    });
  }

  /** What should be visible and is not. */
  lacking(): string[] {
    const places = [...this.visible()];
    return [...MESSAGES.keys()].flatMap((uid) =>
      places.filter(([, uids]) => !uids.includes(uid)).map(([place]) => `${uid} in ${place}`),
    );
  }

  /** What nobody should ever see: half a message, one that is there twice, one that is nowhere any more. */
  trouble(): string | undefined {
    try {
      for (const [place, uids] of this.visible()) {
        const twice = uids.filter((uid, index) => uids.indexOf(uid) !== index);
        // Nobody can ask a pipe what it has already taken: one message may come a second time.
        if (twice.length > (place === 'stdout' ? 1 : 0)) return `twice in ${place}: ${twice.join(', ')}`;
      }
    } catch (error) {
      return asError(error).message;
    }
    const lost = this.lacking().find((each) => !this.server.messages.has(each.split(' ')[0] ?? ''));
    return lost === undefined ? undefined : `lost: ${lost}`;
  }

  /** What there is to see, here and on the server. */
  snapshot(): string {
    return JSON.stringify([...this.visible(), ...this.server.messages.keys()]);
  }

  /** What a run needs only while it goes on, by path. */
  leftovers(): string[] {
    const inside = (...parts: readonly string[]): string[] =>
      namesIn(this.path(...parts)).map((name) => join(...parts, name));
    return [
      ...inside('mail', 'box', 'tmp'),
      ...inside('state', 'spool'),
      ...inside('mail').filter((name) => name !== 'mail/box' && name !== 'mail/mbox'),
      ...inside('state').filter((name) => name.endsWith('.new')),
    ];
  }

  /** Those of them that an intent in the memory names. */
  async intended(): Promise<string[]> {
    const memory = await readMemory(this.path('state'), this.account, promptDisk);
    const names = (memory?.unfinished() ?? []).flatMap(({ details }) => [details['name'], details['spool']]);
    return this.leftovers().filter((path) => names.some((name) => name !== '' && path.endsWith(`/${name}`)));
  }

  isState(path: string): boolean {
    return path.startsWith(this.path('state'));
  }

  /** What a path is for: the same in every world. */
  roleOf(path: string): string {
    const name = relative(this.directory, path);
    const [, state] = /^state\/\w+(\.(?:journal|lock)(?:\.\w+)?)$/.exec(name) ?? [];
    if (state !== undefined) return `state/*${state}`;
    return name
      .replace(/^(state\/spool|mail\/box\/\w+)\/.*$/, '$1/*')
      .replace(/^(mail\/mbox\.lock)\.\w+$/, '$1.*');
  }
}

/** By content as it is stored, LF for CRLF. */
const STORED = new Map(
  [...MESSAGES].map(([uid, data]) => [data.toString('latin1').replaceAll('\r\n', '\n'), uid]),
);

/** The same as they stand in an mbox, without their `From ` lines. */
const ENTRIES = new Map(
  [...STORED].map(([text, uid]) => [`${text.replaceAll(/^From /gm, '>From ')}\n`, uid]),
);

const FROM = 'From MAILER-DAEMON ';

function uidOf(text: string, where: string, known = STORED): string {
  const uid = known.get(text);
  if (uid === undefined)
    throw new Error(`in ${where} there is what is no message: ${JSON.stringify(text.slice(-60))}`);
  return uid;
}

function namesIn(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory).sort() : [];
}
