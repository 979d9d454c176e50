/** From nothing to a session that is logged in: connect, secure, ask what the server can do, log in. */
import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { PopfetchError } from '../errors.js';
import { connect, type Tap, type Timeouts } from '../wire/connection.js';
import { isUnknownAuthority, systemAuthorities, type TlsSettings } from '../wire/trust.js';
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
    const system = isUnknownAuthority(error) ? await systemAuthorities() : undefined;
    if (system === undefined) throw error;
    settings.tap?.('*', "trying again with the system's authorities");
    return open(settings, [...rootCertificates, system, ...own]);
  }
}

async function open(settings: SessionSettings, ca: readonly string[] | undefined): Promise<Pop3Client> {
  const { host, port, tls, timeouts, tap, signal } = settings;
  const { pin, minVersion } = tls;
  const secure: TlsSettings = { servername: tls.servername ?? host, ca, pin, minVersion };
  const implicit = tls.mode === 'implicit' ? secure : undefined;
  const connection = await connect({ host, port, tls: implicit, timeouts, tap, signal });
  const client = new Pop3Client(connection);
  try {
    await client.greet();
    await client.capa();
    if (tls.mode === 'starttls') {
      await client.startTls(secure);
      await client.capa();
    }
    await client.login(await settings.credentials());
    // Some servers tell what they can do only now. RFC 2449 section 5 allows CAPA in both states.
    if (client.capabilities.known) await client.capa();
    return client;
  } catch (error) {
    client.close();
    throw error;
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
