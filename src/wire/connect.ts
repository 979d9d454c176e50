/** From a name to a connection that is up, in clear or in TLS. */
import type { LookupFunction, Socket } from 'node:net';
import { PopfetchError } from '../errors.js';
import { SocketConnection, type Connection, type Tap, type Timeouts } from './connection.js';
import { dial } from './dial.js';
import type { TlsSettings } from './trust.js';

/** Where to connect to. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** TLS from the first octet (RFC 8314); undefined for a clear start. */
  readonly tls: TlsSettings | undefined;
  readonly timeouts: Timeouts;
  /** Drops the connection at once, in whatever phase, with its reason (a PopfetchError) as the error. */
  readonly signal: AbortSignal;
  /** From names to addresses; the system's way unless given. */
  readonly lookup?: LookupFunction | undefined;
  readonly tap?: Tap | undefined;
}

/**
 * Connects. DNS, TCP and TLS share one deadline, and the session's clock starts. Nothing is shared with any other
 * connection: no socket, and no TLS session to resume. @throws CONNECT, TIMEOUT, TLS
 */
export async function connect(endpoint: Endpoint): Promise<Connection> {
  const { host, port, tls, timeouts, tap, signal } = endpoint;
  const start = performance.now();
  const socket = await dial(endpoint, timeouts.connect, signal);
  tap?.('*', `connected to ${host} port ${port} (${socket.remoteAddress ?? ''})`);
  const connection = new SocketConnection(socket, timeouts, tap);
  endWith(connection, socket, endpoint);
  if (tls !== undefined) await connection.startTls(tls, timeouts.connect - (performance.now() - start));
  return connection;
}

/** Closes the connection when its signal aborts or its session has taken as long as it may. */
function endWith(connection: Connection, socket: Socket, { signal, timeouts: { session } }: Endpoint): void {
  const drop = (): void => {
    connection.close(signal.reason as PopfetchError);
  };
  const late = (seconds: number): void => {
    connection.close(new PopfetchError('TIMEOUT', `the session took longer than ${seconds} s`));
  };
  const timer = session === undefined ? undefined : setTimeout(late, session, session / 1000);
  signal.addEventListener('abort', drop, { once: true });
  socket.once('close', () => {
    clearTimeout(timer);
    signal.removeEventListener('abort', drop);
  });
}
