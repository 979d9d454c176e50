/**
 * A home, servers, and the real command between them: what the end-to-end suites share. Whatever a test is about, no
 * output and no file of it may hold the password, and no line for people may hold what steers a terminal.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import type { Hook } from './faults.js';
import type { MessageSource } from './mailbox.js';
import { Sandbox } from './sandbox.js';
import { formsOfSecret, PASSWORD } from './secrets.js';
import type { Result, RunOptions, Running } from './sandbox.js';
import { startServer } from './server.js';
import type { ServerOptions, TestServer } from './server.js';
import { maildirMessages, mboxMessages } from './stored.js';

export { formsOfSecret, PASSWORD };

const PROGRAM = fileURLToPath(new URL('../../bin/popfetch.js', import.meta.url));

/** A run as a person sees it: the home is written as `~`, stdout is text. */
export interface Seen {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** One test's world. Made by {@link World.create}, ended by {@link World.close}. */
export class World {
  readonly sandbox: Sandbox;
  readonly #servers: TestServer[] = [];
  readonly #refusals: Promise<void>[] = [];
  readonly #ends: (() => void)[] = [];

  private constructor(sandbox: Sandbox) {
    this.sandbox = sandbox;
  }

  /** @param parent the directory in which the home is made, where it is to be on a certain file system */
  static async create(parent?: string): Promise<World> {
    return new World(await Sandbox.create(parent));
  }

  /** A server in clear, unless told otherwise, with one mailbox for each user. */
  async serve(
    mailboxes: Readonly<Record<string, ServerOptions['accounts'][string]['messages']>>,
    options: Omit<Partial<ServerOptions>, 'accounts'> = {},
  ): Promise<TestServer> {
    const users = Object.entries(mailboxes).map(([user, messages]) => [
      user,
      { password: PASSWORD, ...(messages === undefined ? {} : { messages }) },
    ]);
    const accounts = Object.fromEntries(users) as ServerOptions['accounts'];
    const server = await startServer({ accounts, ...options });
    this.#servers.push(server);
    return server;
  }

  /** To be called before the servers are closed: lets go of what a hook holds up. */
  atEnd(end: () => void): void {
    this.#ends.push(end);
  }

  /** One more secret that must not turn up anywhere. */
  keepSecret(password: string): void {
    this.sandbox.secrets.keepSecret(password);
  }

  /** Writes the config. Accounts without `deliver` go to a Maildir in the home that has the account's name. */
  async configure(accounts: Readonly<Record<string, object>>, top: object = {}): Promise<void> {
    const named = Object.entries(accounts).map(([name, fields]) => [
      name,
      { deliver: { maildir: `~/${name}` }, ...fields },
    ]);
    await this.sandbox.writeConfig({ ...top, accounts: Object.fromEntries(named) as object });
  }

  /** Runs `popfetch ARGS` to its end. */
  async popfetch(...args: readonly string[]): Promise<Seen> {
    return this.seen(await this.run(args));
  }

  /** The same with options, and with its output as octets. */
  run(args: readonly string[], options: RunOptions = {}): Promise<Result> {
    return this.start(args, options).done;
  }

  /** Starts `popfetch ARGS`. */
  start(args: readonly string[], options: RunOptions = {}): Running {
    const running = this.sandbox.start(args, options);
    const refused = running.done.then(
      ({ stderr }) => {
        refuseControls(stderr);
      },
      () => undefined,
    );
    refused.catch(() => undefined);
    this.#refusals.push(refused);
    return running;
  }

  /** Runs a shell script in which `popfetch` is the command. */
  async shell(script: string): Promise<Seen> {
    const { config, state, home, work } = this.sandbox;
    const text = `popfetch() { '${process.execPath}' '${PROGRAM}' "$@"; }\n${script}`;
    const child = spawn('sh', ['-c', text], {
      cwd: work,
      env: { PATH: process.env['PATH'], HOME: home, XDG_CONFIG_HOME: config, XDG_STATE_HOME: state },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [stdout, stderr, [code]] = await Promise.all([
      buffer(child.stdout),
      buffer(child.stderr),
      once(child, 'close') as Promise<[number | null]>,
    ]);
    this.sandbox.secrets.see(Buffer.concat([stdout, stderr]), 'the output');
    return { code, stdout: this.shorten(stdout.toString()), stderr: this.shorten(stderr.toString()) };
  }

  /** A result as a person sees it. */
  seen({ code, stdout, stderr }: Result): Seen {
    return { code, stdout: this.shorten(stdout.toString('utf8')), stderr: this.shorten(stderr) };
  }

  shorten(text: string): string {
    return text.replaceAll(this.sandbox.home, '~');
  }

  /** A directory in the home, made. */
  async directory(name: string): Promise<string> {
    const path = this.sandbox.path(name);
    await mkdir(path, { recursive: true, mode: 0o700 });
    return path;
  }

  /** What is in a Maildir of the home, as {@link stored} has it. */
  async maildir(name: string): Promise<string[]> {
    return texts((await maildirMessages(this.sandbox.path(name))).map(({ data }) => data));
  }

  /** What is in an mbox of the home, as {@link stored} has it. */
  async mbox(name: string): Promise<string[]> {
    return texts((await mboxMessages(this.sandbox.path(name))).map(({ data }) => data));
  }

  /** Files that a run may only have while it runs: in tmp/ of these Maildirs, in the spool, beside these mboxes. */
  async leftovers(...destinations: readonly string[]): Promise<string[]> {
    const spool = await namesIn(join(this.sandbox.state, 'popfetch/spool'));
    const home = await namesIn(this.sandbox.home);
    const beside = home.filter((name) => destinations.some((mbox) => name.startsWith(`${mbox}.`)));
    const tmp = await Promise.all(destinations.map((name) => namesIn(this.sandbox.path(name, 'tmp'))));
    return [...spool, ...beside, ...tmp.flat()];
  }

  /** The journals, by name. */
  async journals(): Promise<string[]> {
    const directory = join(this.sandbox.state, 'popfetch');
    const names = (await namesIn(directory)).filter((name) => name.endsWith('.journal'));
    return names.map((name) => join(directory, name));
  }

  /** Every file and directory below the home with what it holds; what popfetch has not changed stays equal. */
  async everything(): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for (const path of await walk(this.sandbox.home)) {
      const stats = await stat(path);
      const content = stats.isFile() ? (await readFile(path)).toString('latin1') : '';
      found.set(relative(this.sandbox.home, path), `${stats.mode.toString(8)} ${stats.mtimeMs} ${content}`);
    }
    return found;
  }

  /** Ends servers and runs, and removes the home, in which it looks for passwords first (see {@link Sandbox.remove}). */
  async close(): Promise<void> {
    for (const end of this.#ends) end();
    try {
      await Promise.all(this.#servers.map((server) => server.close()));
      await Promise.all(this.#refusals);
    } finally {
      await this.sandbox.remove();
    }
  }
}

/** How to reach a server, for an account of it. */
export function reach({ host, port, ca }: TestServer, fields: object = {}): object {
  const tls = ca === '' ? 'none' : { mode: 'implicit', ca };
  return { host, port, user: 'taro', password: PASSWORD, tls, ...fields };
}

/**
 * These messages as they are stored, LF for CRLF, as latin1, and in alphabetical order: what is in a Maildir has no
 * order of its own.
 */
export function stored(...messages: readonly Buffer[]): string[] {
  return texts(messages).map(lf);
}

/** A text with LF for CRLF. */
export function lf(text: string): string {
  return text.replaceAll('\r\n', '\n');
}

function texts(messages: readonly Buffer[]): string[] {
  return messages.map((message) => message.toString('latin1')).sort();
}

/** The lines of a run, with the times that it took replaced. */
export function timeless(text: string): string[] {
  return text
    .replace(/ in \d+(\.\d)? s$/gm, ' in SPAN')
    .trimEnd()
    .split('\n');
}

/** What clients said with these verbs, in all sessions of a server. */
export function said(server: TestServer, ...verbs: readonly string[]): string[] {
  return server.sessions
    .flatMap(({ received }) => received)
    .filter((line) => verbs.includes(line.split(' ')[0]?.toUpperCase() ?? ''));
}

/** A hook that can be set after the server has been started. */
export function lateHook(): { hook: Hook; readonly onEvent: Hook } {
  const late = {
    hook: ((): undefined => undefined) as Hook,
    onEvent: ((event) => late.hook(event)) as Hook,
  };
  return late;
}

/** Waits until something is so. Throws when it is not within ten seconds. */
export async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`${what}: this did not come about`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A content that is too large to be compared otherwise. */
export interface Digest {
  readonly length: number;
  readonly sha256: string;
}

/** Of a message as it is stored, LF for CRLF. */
export async function digestOf(message: MessageSource): Promise<Digest> {
  const hash = createHash('sha256');
  let length = 0;
  for await (const piece of 'data' in message ? [message.data] : message.generate()) {
    const text = lf(piece.toString('latin1'));
    hash.update(text, 'latin1');
    length += text.length;
  }
  return { length, sha256: hash.digest('hex') };
}

/** Of the only message in a Maildir. */
export async function maildirDigest(directory: string): Promise<Digest> {
  const names = await readdir(join(directory, 'new'));
  if (names.length !== 1) throw new Error(`there are ${names.length} messages in ${directory}`);
  const path = join(directory, 'new', names[0] ?? '');
  return fileDigest(path, 0, (await stat(path)).size);
}

/** Of the last message in an mbox, which is known to have this length: an empty line is behind it. */
export async function mboxDigest(file: string, length: number): Promise<Digest> {
  const { size } = await stat(file);
  return fileDigest(file, size - 1 - length, size - 1);
}

async function fileDigest(path: string, start: number, end: number): Promise<Digest> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { start, end: end - 1 }), hash);
  return { length: end - start, sha256: hash.digest('hex') };
}

function refuseControls(stderr: string): void {
  if (/[^\P{Cc}\n]/u.test(stderr)) throw new Error(`stderr steers terminals: ${JSON.stringify(stderr)}`);
}

async function walk(directory: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    found.push(path, ...(entry.isDirectory() ? await walk(path) : []));
  }
  return found.sort();
}

async function namesIn(directory: string): Promise<string[]> {
  return (await readdir(directory).catch(() => [])).sort();
}
