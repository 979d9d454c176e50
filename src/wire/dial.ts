/** From a name to a connection: TCP, or a socket of this machine. */
import { connect, type LookupFunction, type Socket } from 'node:net';
import { PopfetchError } from '../errors.js';
import { ADDRESS_TIMEOUT } from './limits.js';

/** What to connect to. */
export interface Place {
  readonly host: string;
  readonly port: number;
  /** From names to addresses; the system's way unless given. */
  readonly lookup?: LookupFunction | undefined;
}

/**
 * Connects, DNS included. The addresses of a name are tried one after the other, IPv6 and IPv4 in turn (RFC 8305),
 * each for a part of the time only, until one answers.
 * @param timeout milliseconds for all of it
 * @param signal aborts with a PopfetchError as its reason, which is thrown
 * @throws CONNECT, TIMEOUT
 */
export function dial({ host, port, lookup }: Place, timeout: number, signal: AbortSignal): Promise<Socket> {
  const sentence = (cause: NodeJS.ErrnoException): string => connectSentence(cause, host, port);
  const socket = connect({
    host,
    port,
    autoSelectFamily: true,
    // Node gives an address a quarter of a second unless told, and then never comes back to it.
    autoSelectFamilyAttemptTimeout: Math.max(Math.floor(Math.min(ADDRESS_TIMEOUT, timeout / 4)), 10),
    ...(lookup === undefined ? {} : { lookup }),
  });
  return connected(socket, `${host} port ${port}`, sentence, timeout, signal);
}

/** Connects to the socket at a path (AF_UNIX); all else as {@link dial}. @throws CONNECT, TIMEOUT */
export function dialLocal(path: string, timeout: number, signal: AbortSignal): Promise<Socket> {
  const sentence = (cause: NodeJS.ErrnoException): string => localSentence(cause, path);
  return connected(connect({ path }), path, sentence, timeout, signal);
}

function connected(
  socket: Socket,
  place: string,
  failureSentence: (cause: NodeJS.ErrnoException) => string,
  timeout: number,
  signal: AbortSignal,
): Promise<Socket> {
  return new Promise<Socket>((resolve, reject) => {
    const late = (): void => {
      const sentence = `no connection to ${place} within ${timeout / 1000} s`;
      reject(new PopfetchError('TIMEOUT', sentence, { phase: 'connect' }));
    };
    const timer = setTimeout(late, timeout);
    const failed = (cause: NodeJS.ErrnoException): void => {
      reject(new PopfetchError('CONNECT', failureSentence(cause), { phase: 'connect', cause }));
    };
    const aborted = (): void => {
      reject(signal.reason as PopfetchError);
    };
    signal.addEventListener('abort', aborted, { once: true });
    socket.once('error', failed).once('connect', () => {
      resolve(socket.setNoDelay(true));
    });
    const settled = (): void => {
      clearTimeout(timer);
      socket.off('error', failed);
      signal.removeEventListener('abort', aborted);
    };
    socket.once('connect', settled).once('close', settled);
    if (signal.aborted) aborted();
  }).catch((error: unknown) => {
    socket.on('error', () => undefined).destroy();
    throw error;
  });
}

function connectSentence(cause: NodeJS.ErrnoException, host: string, port: number): string {
  switch (cause.code ?? '') {
    case 'ENOTFOUND':
      return `there is no host named ${host}`;
    case 'EAI_AGAIN':
      return `the name ${host} cannot be looked up now`;
    case 'ECONNREFUSED':
      return `${host} refuses connections on port ${port}`;
    default:
      return `cannot connect to ${host} port ${port} (${cause.code ?? cause.message})`;
  }
}

function localSentence(cause: NodeJS.ErrnoException, path: string): string {
  switch (cause.code ?? '') {
    case 'ENOENT':
      return `there is no socket ${path}`;
    case 'ECONNREFUSED':
      return `nobody listens on the socket ${path}`;
    case 'EACCES':
      return `the socket ${path} may not be used`;
    default:
      return `cannot connect to the socket ${path} (${cause.code ?? cause.message})`;
  }
}
