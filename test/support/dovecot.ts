/** A real Dovecot on loopback, from a configuration of its own in a temporary directory. */
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { certificates } from './certificates.js';
import type { Certificate } from './certificates.js';
import { dovecotConfig } from './dovecot-config.js';
import type { MailOwner } from './dovecot-config.js';
import { RawClient } from './raw-client.js';
import { maildirMessages } from './stored.js';
import type { MaildirMessage } from './stored.js';

/** A running Dovecot. */
export interface Dovecot {
  readonly host: string;
  /** POP3 in clear, with STLS. */
  readonly plainPort: number;
  /** POP3S. */
  readonly tlsPort: number;
  /** Where it takes mail by LMTP, as a config of popfetch has it; undefined unless asked for. */
  readonly lmtp: { readonly port: string; readonly socket: string } | undefined;
  /** PEM file with the authority to trust. */
  readonly ca: string;
  /** As `dovecot --version` has it. */
  readonly version: string;
  /** The messages that are there now, oldest first. */
  mailbox(user: string): Promise<MaildirMessage[]>;
  /** New mail. */
  add(user: string, ...messages: readonly Buffer[]): Promise<void>;
  /** What Dovecot has written to its log. */
  log(): Promise<string>;
  close(): Promise<void>;
}

/** What it is to serve. */
export interface DovecotOptions {
  /** Messages with CRLF line ends; they are stored with LF, as local delivery does. */
  readonly users: Readonly<
    Record<string, { readonly password: string; readonly messages?: readonly Buffer[] }>
  >;
  readonly certificate?: Certificate;
  /** Offer APOP. */
  readonly apop?: boolean;
  /** Offer these SASL mechanisms besides PLAIN and LOGIN. For those with tokens, the password is the token. */
  readonly mechanisms?: readonly string[];
  /** Take mail by LMTP, too. Needs {@link findDovecot} with `lmtp`. */
  readonly lmtp?: boolean;
}

const PLACES = [
  '/usr/sbin',
  '/usr/local/sbin',
  '/opt/homebrew/sbin',
  ...(process.env['PATH'] ?? '').split(':'),
];
const SERVICE_PLACES = ['/usr/lib/dovecot', '/usr/libexec/dovecot', '/usr/local/libexec/dovecot'];
/** nobody: owns the mail where Dovecot runs as root. */
const NOBODY = { uid: 65_534, gid: 65_534 } as const;

/** The dovecot program, or undefined where there is none or it lacks POP3 or one of these services. */
export function findDovecot(...services: readonly 'lmtp'[]): string | undefined {
  const program = PLACES.map((place) => join(place, 'dovecot')).find(isProgram);
  if (program === undefined) return undefined;
  const places = [...SERVICE_PLACES, join(dirname(dirname(program)), 'libexec/dovecot')];
  const has = (service: string): boolean => places.some((place) => isProgram(join(place, service)));
  return ['pop3', ...services].every(has) ? program : undefined;
}

/**
 * Starts one, and resolves when it greets. Works as root and as anybody else.
 * Rejects, with its log, when it does not greet within 20 seconds.
 */
export async function startDovecot(options: DovecotOptions): Promise<Dovecot> {
  const program = findDovecot();
  if (program === undefined) throw new Error('there is no dovecot with POP3 here');
  const version = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim();
  for (let attempt = 1; ; attempt += 1) {
    const directory = await mkdtemp(join(tmpdir(), 'popfetch-dovecot-'));
    const rig = new Rig(program, version, directory, mailOwner());
    try {
      return await rig.start(options);
    } catch (error) {
      const log = await rig.log();
      await rig.close();
      // Somebody else may have taken the port that was free a moment ago.
      if (attempt < 3 && log.includes('Address already in use')) continue;
      throw new Error(`Dovecot does not start: ${log || String(error)}`, { cause: error });
    }
  }
}

class Rig {
  #child: ChildProcess | undefined;
  #delivered = 0;
  readonly #output: string[] = [];
  readonly #killAtExit = (): void => {
    this.#child?.kill('SIGTERM');
  };

  constructor(
    readonly program: string,
    readonly version: string,
    readonly directory: string,
    readonly owner: MailOwner,
  ) {}

  async start(options: DovecotOptions): Promise<Dovecot> {
    // The owner of the mail has to pass through; nobody else's secrets are in here.
    await chmod(this.directory, 0o755);
    const [plainPort, tlsPort] = [await freePort(), await freePort()];
    const { server, authority } = await certificates();
    const { certFile, keyFile } = options.certificate ?? server;
    const places = { directory: this.directory, owner: this.owner, plainPort, tlsPort, certFile, keyFile };
    const lmtp =
      options.lmtp === true ? { port: await freePort(), socket: join(this.directory, 'lmtp') } : undefined;
    const setup = { ...places, apop: options.apop ?? false, mechanisms: options.mechanisms ?? [], lmtp };
    const config = join(this.directory, 'dovecot.conf');
    await writeFile(config, dovecotConfig(this.version, setup));
    await this.#writeUsers(options);
    this.#run(config);
    await this.#untilItGreets(plainPort);
    return {
      host: '127.0.0.1',
      plainPort,
      tlsPort,
      lmtp: lmtp === undefined ? undefined : { port: `127.0.0.1:${lmtp.port}`, socket: lmtp.socket },
      ca: authority.certFile,
      version: this.version,
      mailbox: (user) => maildirMessages(this.#maildir(user)),
      add: (user, ...messages) => this.#deliver(user, messages),
      log: () => this.log(),
      close: () => this.close(),
    };
  }

  async log(): Promise<string> {
    const text = await readFile(join(this.directory, 'dovecot.log'), 'utf8').catch(() => '');
    return (this.#output.join('') + text).trim();
  }

  async close(): Promise<void> {
    process.off('exit', this.#killAtExit);
    const child = this.#child;
    if (child?.exitCode === null && child.signalCode === null) {
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
    }
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }

  #run(config: string): void {
    const child = spawn(this.program, ['-F', '-c', config], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => this.#output.push(chunk.toString('utf8')));
    }
    child.on('error', (error) => this.#output.push(error.message));
    process.once('exit', this.#killAtExit);
    this.#child = child;
  }

  async #untilItGreets(port: number): Promise<void> {
    const deadline = performance.now() + 20_000;
    while (performance.now() < deadline && this.#child?.exitCode === null) {
      const greeting = await greetingOf(port);
      if (greeting?.startsWith('+OK') === true) return;
      await sleep(50);
    }
    throw new Error('no greeting');
  }

  async #writeUsers({ users }: DovecotOptions): Promise<void> {
    const lines = Object.entries(users).map(([user, { password }]) => `${user}:{PLAIN}${password}::::::\n`);
    await writeFile(join(this.directory, 'passwd'), lines.join(''), { mode: 0o644 });
    await this.#own(await made(join(this.directory, 'mail')));
    for (const [user, { messages }] of Object.entries(users)) {
      await this.#own(await made(dirname(this.#maildir(user))));
      await this.#own(await made(this.#maildir(user)));
      for (const folder of ['tmp', 'new', 'cur'])
        await this.#own(await made(join(this.#maildir(user), folder)));
      await this.#deliver(user, messages ?? []);
    }
  }

  /** Writes the messages straight into cur/, named so that Dovecot need not read them to know their order and size. */
  async #deliver(user: string, messages: readonly Buffer[]): Promise<void> {
    for (const message of messages) {
      const stored = Buffer.from(message.toString('latin1').replaceAll('\r\n', '\n'), 'latin1');
      this.#delivered += 1;
      const name = `${1_700_000_000 + this.#delivered}.M1P1.popfetch,${sizes(stored)}:2,`;
      const path = join(this.#maildir(user), 'cur', name);
      await writeFile(path, stored, { mode: 0o600 });
      await this.#own(path);
    }
  }

  #maildir(user: string): string {
    return join(this.directory, 'mail', user, 'Maildir');
  }

  async #own(path: string): Promise<void> {
    if ('uid' in this.owner) await chown(path, this.owner.uid, this.owner.gid);
  }
}

/** The size of the file, and its size with CRLF line ends where that is beyond doubt. */
function sizes(stored: Buffer): string {
  const lines = stored.toString('latin1').split('\n').length - 1;
  return `S=${stored.length}${stored.at(-1) === 0x0a ? `,W=${stored.length + lines}` : ''}`;
}

function mailOwner(): MailOwner {
  if (process.getuid?.() === 0) return NOBODY;
  const nameOf = (flag: string): string => execFileSync('id', [flag], { encoding: 'utf8' }).trim();
  return { user: nameOf('-un'), group: nameOf('-gn') };
}

async function made(directory: string): Promise<string> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return directory;
}

async function greetingOf(port: number): Promise<string | undefined> {
  try {
    const client = await RawClient.connect({ host: '127.0.0.1', port });
    const greeting = await client.line();
    client.close();
    return greeting;
  } catch {
    return undefined;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
