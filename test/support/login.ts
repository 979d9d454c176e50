/** Sessions with the in-memory server that get as far as the login, each in one line of a test. */
import { Pop3Client, type Credentials } from '../../src/pop3/client.js';
import type { PopfetchError } from '../../src/errors.js';
import { openSession } from '../../src/pop3/open.js';
import { plain } from './messages.js';
import { startServer, type ServerOptions, type TestServer } from './server.js';

/** A login and what was seen of it. */
export interface Attempt {
  readonly server: TestServer;
  /** Undefined where it failed. */
  readonly client: Pop3Client | undefined;
  readonly error: PopfetchError | undefined;
  /** The transcript, as --trace has it. */
  readonly trace: string;
}

/** Who logs in where nothing else is said. */
const TARO: Credentials = { user: 'taro', password: 'himitsu', method: 'auto', insecure: false };

/** Serves one user with one message. `ends` gets what is to be called when the test is over. */
async function serveOne(ends: (() => unknown)[], options: Partial<ServerOptions>): Promise<TestServer> {
  const accounts = { taro: { password: 'himitsu', messages: [plain(1)] } };
  const server = await startServer({ accounts, utf8: false, ...options });
  ends.push(() => server.close());
  return server;
}

/** Logs in to a server that is like `options`; `reply` is how long, in milliseconds, an answer may take. */
export async function attempt(
  ends: (() => unknown)[],
  options: Partial<ServerOptions>,
  credentials: Partial<Credentials> = {},
  reply = 20_000,
): Promise<Attempt> {
  const server = await serveOne(ends, options);
  const lines: string[] = [];
  const opening = openSession({
    ...{ host: server.host, port: server.port, signal: new AbortController().signal },
    timeouts: { connect: 20_000, reply, idle: 20_000 },
    tls: { mode: options.tls ?? 'none', ca: server.ca || undefined, minVersion: 'TLSv1.2' },
    credentials: () => Promise.resolve({ ...TARO, ...credentials }),
    tap: (direction, text) => {
      lines.push(`${direction} ${text}`);
    },
  });
  const client = await opening.catch((error: unknown) => error as PopfetchError);
  if (client instanceof Pop3Client)
    ends.push(() => {
      client.close();
    });
  const failed = client instanceof Pop3Client ? undefined : client;
  return {
    server,
    client: failed === undefined ? (client as Pop3Client) : undefined,
    error: failed,
    trace: lines.join('\n'),
  };
}
