/**
 * One case of the session fuzzer: runs of one account against a server that misbehaves, over the real client, policy,
 * Maildir and memory, then runs in which nothing goes wrong. After each run it is looked at what is there.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { runAccount } from '../../src/account/account.js';
import { identify } from '../../src/account/identify.js';
import { Tally, type Parts } from '../../src/account/parts.js';
import type { Account } from '../../src/config/account.js';
import { All } from '../../src/deliver/all.js';
import type { DestinationContext } from '../../src/deliver/context.js';
import { Maildir } from '../../src/deliver/maildir.js';
import { Reserve } from '../../src/deliver/reserve.js';
import { Spool } from '../../src/deliver/spool.js';
import { PopfetchError } from '../../src/errors.js';
import type { Event } from '../../src/events.js';
import { mailboxTag, messageKey } from '../../src/identity.js';
import { Pop3Client } from '../../src/pop3/client.js';
import { mechanismFor } from '../../src/pop3/sasl/mechanisms.js';
import { ndjson } from '../../src/report/ndjson.js';
import { createReporter } from '../../src/report/report.js';
import { openSeen, readMemory } from '../../src/seen/seen.js';
import { SocketConnection } from '../../src/wire/connection.js';
import { accountOf } from '../support/fakes.js';
import { promptDisk } from '../support/prompt-disk.js';
import { inVirtualTime } from './clock.js';
import { ModelServer } from './model.js';
import { Oracle } from './oracle.js';
import { WILD_RUNS, type Plan } from './plan.js';

/** What every fuzzed account logs in with; it may be in nothing that is shown. */
const PASSWORD = 'h1mitsu&no%kotoba';

// Loaded ahead: loading code takes time that no timer knows of.
await mechanismFor('plain', {
  user: 'taro',
  password: PASSWORD,
  token: '',
  server: undefined,
  binding: 'n',
});

/** Runs in which nothing goes wrong: the first of them ends what is half done, a limit of two a run takes some. */
const CALM_RUNS = 24;

const DAY = 24 * 3600 * 1000;
const START = Date.UTC(2026, 10, 3, 8, 2, 9);

/** Milliseconds of virtual time that no run may take: connections and answers with a deadline each, and some to spare. */
const LONGEST = 3_600_000;

/** Something is not as it must be. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** How much was done for a case. */
export interface Effort {
  readonly runs: number;
  readonly sessions: number;
  readonly delivered: number;
  /** The codes of errors that runs ended with. */
  readonly codes: readonly string[];
}

/** Runs the case. @param home a directory on a fast disk, for what it writes. @throws Violation, Hung, or a bug */
export async function runCase(plan: Plan, home: string): Promise<Effort> {
  const world = new CaseWorld(plan, mkdtempSync(join(home, 'case-')));
  try {
    return await world.play();
  } finally {
    world.remove();
  }
}

class CaseWorld {
  readonly #home: string;
  readonly #server: ModelServer;
  readonly #oracle: Oracle;
  readonly #account: Account;
  readonly #codes: string[] = [];
  #run = 0;

  constructor(plan: Plan, home: string) {
    this.#home = home;
    this.#server = new ModelServer(plan);
    this.#oracle = new Oracle(plan, this.#server);
    this.#account = accountOf({
      delete: plan.delete,
      identity: plan.identity,
      limit: plan.limit,
      maxSize: 70_000,
      deliver: [{ maildir: join(home, 'Mail') }],
      timeout: { connect: 1000, reply: 1000, idle: 1000, session: LONGEST, deliver: 1000 },
    });
  }

  async play(): Promise<Effort> {
    for (let wild = 0; wild < WILD_RUNS; wild += 1) await this.#once();
    this.#server.wild = false;
    for (let calm = 0; calm < CALM_RUNS; calm += 1) {
      await this.#once();
      if (this.#oracle.satisfied(this.#files())) break;
    }
    this.#oracle.atTheEnd(this.#files());
    const { runs, delivered } = this.#oracle;
    return { runs, delivered, sessions: this.#server.wires.length, codes: this.#codes };
  }

  remove(): void {
    rmSync(this.#home, { recursive: true });
  }

  async #once(): Promise<void> {
    this.#server.begin(this.#run);
    this.#run += 1;
    const elapsed = await inVirtualTime(() =>
      this.#retrieval().catch((error: unknown) => {
        this.#ended(error);
      }),
    );
    if (elapsed > LONGEST) throw new Violation(`a run took ${elapsed} ms`);
    this.#oracle.afterRun(this.#files(), readdirSync(join(this.#home, 'Mail/tmp')));
    await this.#remembered();
  }

  #ended(error: unknown): void {
    if (!(error instanceof PopfetchError)) throw error;
    if (['STATE', 'DELIVERY', 'CREATE', 'PERMISSION', 'CONFIG', 'USAGE'].includes(error.code)) throw error;
    this.#codes.push(error.code);
    this.#show({ type: 'failed', account: 'work', error: error.within({ account: 'work' }) });
  }

  async #retrieval(): Promise<void> {
    const now = (): number => START + this.#run * 2 * DAY;
    const { signal } = new AbortController();
    const state = join(this.#home, 'state');
    const account = this.#account;
    const seen = await openSeen(state, account, promptDisk, { wait: 0, signal, now });
    const tally = new Tally();
    const close = (result: string): Promise<void> => {
      const { listed, delivered, removed } = tally;
      return seen.close({ time: now(), result, listed, delivered, removed }, tally.uids);
    };
    try {
      const destination = this.#destination({
        account: account.name,
        tag: mailboxTag(account),
        eol: account.eol,
        spool: join(this.#home, 'spool'),
        disk: promptDisk,
        host: 'here',
        now,
        timeLimit: account.timeout.deliver,
        env: {},
        signal,
      });
      const parts: Parts = {
        destination,
        seen,
        signal,
        now,
        emit: (event) => {
          this.#show(event);
        },
        keep: false,
        acceptReset: true,
        connect: () => this.#connect(),
        identify: (listing, mailbox) => identify(listing, mailbox, seen),
        key: (uid) => messageKey(account, uid),
      };
      await runAccount(account, parts, tally).finally(() => destination.close());
    } catch (error) {
      await close('failed');
      throw error;
    }
    for (const error of [...tally.errors, ...tally.untold]) this.#ended(error);
    await close('ok');
  }

  /** As openDestination() makes it, but at once: loading code takes time that no timer knows of. */
  #destination(context: DestinationContext): All {
    const spool = new Spool(context.disk, context.spool, context.tag);
    return new All(
      [new Maildir(join(this.#home, 'Mail'), context)],
      spool,
      () => Promise.resolve([]),
      new Reserve(context.disk, []),
    );
  }

  /** As openSession() has it, without a network. */
  async #connect(): Promise<Pop3Client> {
    const { timeout, user } = this.#account;
    const tap = (_direction: string, text: string): void => {
      if (text.includes(PASSWORD)) throw new Violation(`the password is in the transcript: ${text}`);
    };
    const connection = new SocketConnection(this.#server.accept().socket, timeout, tap);
    const client = new Pop3Client(connection);
    try {
      await client.greet();
      await client.capa();
      await client.login({ user, password: PASSWORD, method: 'auto', insecure: false });
      if (client.capabilities.known) await client.capa();
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Everything that happens is put into words, as on a terminal and as JSON. */
  #show(event: Event): void {
    this.#oracle.hear(event);
    const shown: string[] = [ndjson(event, START)];
    const stderr = { isTTY: false, write: (text: string) => shown.push(text) };
    const options = { json: false, quiet: false, verbose: 3, progress: false, color: false, env: {} };
    const reporter = createReporter({ ...options, stderr: stderr as never, stdout: { write: () => true } });
    reporter.emit(event);
    for (const text of shown) {
      // eslint-disable-next-line no-control-regex
      if (/[\0-\x09\x0b-\x1f\x7f-\x9f]/.test(text))
        throw new Violation(`steers a terminal: ${JSON.stringify(text)}`);
      if (text.includes(PASSWORD)) throw new Violation(`the password is shown: ${text}`);
    }
  }

  #files(): Map<string, string> {
    const directory = join(this.#home, 'Mail/new');
    return new Map(
      readdirSync(directory).map((name) => [name, readFileSync(join(directory, name), 'latin1')]),
    );
  }

  async #remembered(): Promise<void> {
    const memory = await readMemory(join(this.#home, 'state'), this.#account, promptDisk);
    if (memory === undefined) throw new Violation('there is no memory');
    if (memory.unfinished().length > 0) throw new Violation('deliveries are left unfinished');
    this.#oracle.remembered([...memory.entries()].map(({ key }) => key));
  }
}
