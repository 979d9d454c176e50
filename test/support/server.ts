/** A POP3 server in memory, on a free loopback port, that does what RFC 1939 says, or whatever a test wants instead. */
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import type { SecureContextOptions } from 'node:tls';
import { certificates } from './certificates.js';
import type { Certificate } from './certificates.js';
import { Channel } from './channel.js';
import type { Outgoing } from './channel.js';
import { Events } from './faults.js';
import type { Fault, Hook } from './faults.js';
import { ServerMailbox } from './mailbox.js';
import type { MessageSource } from './mailbox.js';
import { Session } from './session.js';
import type { Override, Reply, SessionLog, Shared } from './session.js';

/** What the server is to be like. */
export interface ServerOptions extends Outgoing {
  readonly accounts: Readonly<
    Record<string, { readonly password: string; readonly messages?: readonly (MessageSource | Buffer)[] }>
  >;
  /** Default 'none'. */
  readonly tls?: 'none' | 'starttls' | 'implicit';
  /** Default: the right one for loopback. */
  readonly certificate?: Pick<Certificate, 'cert' | 'key'>;
  readonly tlsOptions?: SecureContextOptions;
  /** Whether CAPA offers PIPELINING. Commands sent ahead are answered in order either way. Default true. */
  readonly pipelining?: boolean;
  /** What CAPA lists; false: there is no CAPA; a function may tell before and after TLS and login apart. */
  readonly capa?: Shared['capa'];
  /** The timestamp in the greeting, `<…>`; with it APOP works. */
  readonly apop?: string;
  /** Whether there is UIDL, and UTF8. Default true. */
  readonly uidl?: boolean;
  readonly utf8?: boolean;
  readonly greeting?: Reply;
  /** By verb, upper case. May be changed while the server runs, through {@link TestServer.overrides}. */
  readonly overrides?: Readonly<Record<string, Override>>;
  readonly faults?: readonly Fault[];
  readonly onEvent?: Hook;
  /** QUIT says yes and removes nothing. */
  readonly keepAfterQuit?: boolean;
}

/** A running server. */
export interface TestServer {
  readonly host: string;
  readonly port: number;
  /** PEM file with the authority that a client has to trust; empty without TLS. */
  readonly ca: string;
  /** One for each connection, in order of arrival. */
  readonly sessions: readonly SessionLog[];
  /** How many events there were; they are counted only with `faults` or `onEvent`. */
  readonly events: number;
  readonly overrides: Record<string, Override>;
  /** @throws RangeError when there is no such user. */
  mailbox(user: string): ServerMailbox;
  /** Cuts all connections and stops. Rejects with the first thing that an override or a hook threw. */
  close(): Promise<void>;
}

/** Starts one on 127.0.0.1. */
export async function startServer(options: ServerOptions): Promise<TestServer> {
  const overrides = { ...options.overrides };
  const mailboxes = new Map(
    Object.entries(options.accounts).map(([user, { password, messages }]) => [
      user,
      new ServerMailbox(user, password, messages),
    ]),
  );
  const events = new Events(options.faults ?? [], options.onEvent);
  const shared: Shared = {
    mailboxes,
    overrides,
    tls: options.tls ?? 'none',
    context: await secureContext(options),
    greeting: options.greeting ?? ['+OK popfetch test server ready', options.apop ?? ''].join(' ').trimEnd(),
    capa: options.capa,
    timestamp: options.apop,
    pipelining: options.pipelining ?? true,
    uidl: options.uidl ?? true,
    utf8: options.utf8 ?? true,
    keepAfterQuit: options.keepAfterQuit ?? false,
    tell: options.faults === undefined && options.onEvent === undefined ? undefined : events.tell,
  };
  const front = new Front(shared, options);
  return {
    host: '127.0.0.1',
    port: await front.listen(),
    ca: shared.tls === 'none' ? '' : (await certificates()).authority.certFile,
    sessions: front.sessions,
    get events() {
      return events.count;
    },
    overrides,
    mailbox(user) {
      const mailbox = mailboxes.get(user);
      if (mailbox === undefined) throw new RangeError(`no mailbox of ${user}`);
      return mailbox;
    },
    close: () => front.close(),
  };
}

/** Accepts connections and gives each its session. */
class Front {
  readonly sessions: SessionLog[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #running = new Set<Promise<void>>();
  readonly #failures: unknown[] = [];
  // A client that has said all it has to say still gets its answers.
  readonly #server = createServer({ allowHalfOpen: true }, (socket) => {
    this.#accept(socket);
  });

  constructor(
    readonly shared: Shared,
    readonly outgoing: Outgoing,
  ) {}

  async listen(): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(0, '127.0.0.1', resolve);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
    await Promise.all(this.#running);
    if (this.#failures.length > 0) throw this.#failures[0];
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    const session = new Session(this.sessions.length + 1, new Channel(socket, this.outgoing), this.shared);
    this.sessions.push(session.log);
    const run = session
      .run()
      .catch((error: unknown) => {
        this.#failures.push(error);
      })
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
  }
}

async function secureContext(options: ServerOptions): Promise<Shared['context']> {
  if (options.tls === undefined || options.tls === 'none') return undefined;
  const { cert, key } = options.certificate ?? (await certificates()).server;
  return createSecureContext({ cert, key, ...options.tlsOptions });
}
