/** From nothing to a session that is logged in: connect, secure, ask what the server can do, log in. */
import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { PopfetchError } from '../errors.js';
import { connect, type Endpoint } from '../wire/connect.js';
import type { Connection, Tap, Timeouts } from '../wire/connection.js';
import { isUnknownAuthority, systemAuthorities, type TlsSettings } from '../wire/trust.js';
import { sendsSecret } from './auth.js';
import { Pop3Client, type Credentials } from './client.js';

/** Everything needed to open a session. */
export interface SessionSettings {
  readonly host: string;
  readonly port: number;
  readonly tls: {
    readonly mode: 'implicit' | 'starttls' | 'none';
    /** A PEM file of authorities to trust besides those of Node and of the system. */
    readonly ca?: string | undefined;
    readonly pin?: readonly string[] | undefined;
    readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
    readonly servername?: string | undefined;
  };
  readonly timeouts: Timeouts;
  /** Asked for only when the channel is secured and the server has greeted. */
  readonly credentials: () => Promise<Credentials>;
  /** Drops the connection, whatever it is doing, with the reason as the error. */
  readonly signal: AbortSignal;
  readonly tap?: Tap | undefined;
  /** Told, each time, of what crosses the network in clear because {@link Credentials} permit it. */
  readonly warn?: ((message: string) => void) | undefined;
  /** How a server is reached; over TCP unless given. */
  readonly connect?: ((endpoint: Endpoint) => Promise<Connection>) | undefined;
  /** The system's authorities as PEM, or undefined where it has none; those of {@link systemAuthorities} unless given. */
  readonly authorities?: (() => Promise<string | undefined>) | undefined;
  /** False sends one command at a time, whatever the server announces. */
  readonly pipelining?: boolean | undefined;
}

/**
 * Opens a session that is logged in. Where no authority that Node ships vouches for the server, it is tried once more
 * with the system's own: reading those takes longer than most sessions, and few servers need them.
 * @throws PopfetchError CONNECT, TIMEOUT, LOST, TLS, PROTOCOL, BUSY, AUTH, each with its phase
 */
export async function openSession(settings: SessionSettings): Promise<Pop3Client> {
  const own = settings.tls.ca === undefined ? [] : [await readAuthorities(settings.tls.ca)];
  try {
    return await open(settings, own.length === 0 ? undefined : [...rootCertificates, ...own]);
  } catch (error) {
    const { authorities = systemAuthorities } = settings;
    const system = isUnknownAuthority(error) ? await authorities() : undefined;
    if (system === undefined) throw error;
    settings.tap?.('*', "trying again with the system's authorities");
    return open(settings, [...rootCertificates, system, ...own]);
  }
}

/** Where the server hangs up on CAPA it is asked once more for a session, and not for what it can do. */
async function open(settings: SessionSettings, ca: readonly string[] | undefined): Promise<Pop3Client> {
  try {
    return await converse(settings, ca, true);
  } catch (error) {
    if (!(error instanceof HungUpOnCapa)) throw error;
    settings.tap?.('*', 'trying again without CAPA');
    return converse(settings, ca, false);
  }
}

/** The connection was lost while CAPA was asked before the login. */
class HungUpOnCapa extends PopfetchError {}

async function converse(
  settings: SessionSettings,
  ca: readonly string[] | undefined,
  withCapa: boolean,
): Promise<Pop3Client> {
  const { host, port, tls, timeouts, tap, signal, pipelining } = settings;
  const { pin, minVersion } = tls;
  const secure: TlsSettings = { servername: tls.servername ?? host, ca, pin, minVersion };
  const implicit = tls.mode === 'implicit' ? secure : undefined;
  const reach = settings.connect ?? connect;
  const connection = await reach({ host, port, tls: implicit, timeouts, tap, signal });
  const client = new Pop3Client(connection, pipelining);
  try {
    await greeted(client, settings);
    if (withCapa) await capa(client);
    if (tls.mode === 'starttls') {
      // Needs no word of CAPA: whatever the server can do, nothing goes on in clear.
      await client.startTls(secure);
      if (withCapa) await capa(client);
    }
    const credentials = await settings.credentials();
    if (connection.channel.protocol === undefined && !connection.loopback && credentials.insecure)
      settings.warn?.(inClear(credentials));
    await client.login(credentials, { host, port });
    // Some servers tell what they can do only now. RFC 2449 section 5 allows CAPA in both states.
    if (client.capabilities.known) await client.capa();
    return client;
  } catch (error) {
    client.close();
    throw error;
  }
}

/** Reads the greeting. Where none comes in clear, the port may be one for TLS: there a server waits for the client. */
async function greeted(client: Pop3Client, { port, tls }: SessionSettings): Promise<void> {
  try {
    await client.greet();
  } catch (error) {
    if (!(error instanceof PopfetchError) || tls.mode === 'implicit' || !isSilence(error)) throw error;
    const { code, message, phase = 'greeting', cause } = error;
    const remedy = `nothing is lost; where TLS is spoken on port ${port} from the start, as on 995, use tls: implicit`;
    throw new PopfetchError(code, message, { phase, remedy, cause });
  }
}

/** Whether nothing came, or the record in which TLS says that it did not understand (RFC 8446 section 6). */
function isSilence({ code, serverText = '' }: PopfetchError): boolean {
  return code === 'TIMEOUT' || code === 'LOST' || serverText.startsWith('\x15\x03');
}

function inClear({ method, token }: Credentials): string {
  const secret = token === undefined ? 'password' : 'access token';
  const what = sendsSecret(method) ? `the ${secret} and all mail cross` : 'all mail crosses';
  return `${what} the network in clear; use tls: implicit or tls: starttls where the server has it`;
}

async function capa(client: Pop3Client): Promise<void> {
  try {
    await client.capa();
  } catch (error) {
    if (!(error instanceof PopfetchError) || error.code !== 'LOST') throw error;
    throw new HungUpOnCapa(error.code, error.message, { phase: 'login', cause: error });
  }
}

async function readAuthorities(path: string): Promise<string> {
  try {
    return await readFile(path, 'latin1');
  } catch (cause) {
    throw new PopfetchError('CONFIG', `${path}: the file of tls.ca cannot be read`, {
      phase: 'config',
      remedy: 'check the path and its permissions',
      cause,
    });
  }
}
