/** Runs of one account within this process, against a server of the test: one memory and one Maildir for all of them. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, vi } from 'vitest';
import { DEFAULTS, type Account } from '../../src/config/account.js';
import type { Event, Outcome } from '../../src/events.js';
import { fetchAll, type FetchOptions } from '../../src/run.js';
import { PASSWORD, Watch } from './secrets.js';
import { startServer, type ServerOptions, type TestServer } from './server.js';
import { maildirMessages } from './stored.js';

/** A message for the server; without a unique-id it is given one. */
export interface Has {
  readonly uid?: string;
  readonly data: Buffer;
}

/** What a run came to. */
export interface Ran {
  readonly outcome: Outcome;
  readonly events: readonly Event[];
  /** TOP, RETR and DELE of each session of this run, with their numbers. */
  readonly asked: readonly (readonly string[])[];
}

/** Gives each test of a file a box of its own, on the morning of 3 November 2026 by a clock that the test sets. */
export function eachInBox(use: (box: Box) => void): void {
  let box: Box;
  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2026, 10, 3) });
    box = await Box.create();
    use(box);
  });
  afterEach(async () => {
    vi.useRealTimers();
    await box.remove();
  });
}

/** A message that says what it is. The numbers are padded so that all have one size. */
export function mail(n: number): Buffer {
  const number = String(n).padStart(3, '0');
  return Buffer.from(`Message-ID: <${number}@example>\r\nSubject: ${number}\r\n\r\nbody ${number}\r\n`);
}

/** A home and its servers. Made by {@link Box.create}, ended by {@link Box.remove}. */
export class Box {
  readonly #servers: TestServer[] = [];
  readonly #secrets = new Watch();

  private constructor(readonly home: string) {}

  static async create(): Promise<Box> {
    return new Box(await mkdtemp(join(tmpdir(), 'popfetch-box-')));
  }

  async remove(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map((server) => server.close()));
    await this.#secrets.walk(this.home, '');
    await rm(this.home, { recursive: true });
    this.#secrets.verdict();
  }

  get maildir(): string {
    return join(this.home, 'Mail');
  }

  async serve(messages: readonly Has[], options: Partial<ServerOptions> = {}): Promise<TestServer> {
    const server = await startServer({ accounts: { taro: { password: PASSWORD, messages } }, ...options });
    this.#servers.push(server);
    return server;
  }

  /** One run, whatever comes of it. */
  async run(
    server: TestServer,
    fields: Partial<Account> = {},
    options: Partial<FetchOptions> = {},
  ): Promise<Ran> {
    const account: Account = {
      ...DEFAULTS,
      name: 'work',
      host: '127.0.0.1',
      port: server.port,
      user: 'taro',
      password: { value: PASSWORD },
      tls: { mode: 'none', minVersion: 'TLSv1.2' },
      deliver: [{ maildir: this.maildir }],
      ...fields,
    };
    const events: Event[] = [];
    const before = server.sessions.length;
    const [outcome] = await fetchAll([account], {
      state: join(this.home, 'state'),
      parallel: 1,
      emit: (event) => events.push(event),
      password: () => Promise.resolve(PASSWORD),
      signal: new AbortController().signal,
      ...options,
    });
    this.#secrets.see(JSON.stringify(events), 'an event');
    const asked = server.sessions
      .slice(before)
      .map(({ received }) => received.filter((line) => /^(?:TOP|RETR|DELE) /.test(line)));
    return { outcome: outcome!, events, asked };
  }

  /** One run in which nothing goes wrong. */
  async fetch(server: TestServer, fields: Partial<Account> = {}): Promise<Ran> {
    const ran = await this.run(server, fields);
    const [error] = ran.outcome.errors;
    if (error !== undefined) throw error;
    return ran;
  }

  /** The subjects of {@link mail} in the Maildir, in order. */
  async subjects(): Promise<string[]> {
    const messages = await maildirMessages(this.maildir);
    return messages.map(({ data }) => /^Subject: (\d+)$/m.exec(data.toString())?.[1] ?? '?').sort();
  }
}

/** Puts other messages in the place of those that the server has. */
export function replace(server: TestServer, messages: readonly Has[]): void {
  const mailbox = server.mailbox('taro');
  mailbox.remove(mailbox.messages);
  for (const message of messages) mailbox.add(message);
}

/** `n` as {@link Box.subjects} has it. */
export function subject(n: number): string {
  return String(n).padStart(3, '0');
}
