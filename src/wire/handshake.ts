/** From a clear connection to a secured one. */
import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import {
  connect,
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
  type TLSSocket,
} from 'node:tls';
import { PopfetchError } from '../errors.js';
import { hungUp, pinError, tlsError, type TlsSettings } from './trust.js';

/**
 * Speaks TLS over a socket, and is satisfied only with a certificate that {@link TlsSettings} accept. The socket is
 * destroyed where this fails.
 * @param timeout milliseconds
 * @throws TLS, TIMEOUT
 */
export function handshake(socket: Socket, settings: TlsSettings, timeout: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secured = connect({
      socket,
      // Without `host` a certificate would be checked against "localhost".
      host: settings.servername,
      ...(isAddress(settings.servername) ? {} : { servername: settings.servername }),
      // Explicit, so that NODE_TLS_REJECT_UNAUTHORIZED=0 changes nothing. A pin replaces the authorities.
      rejectUnauthorized: !settings.pin,
      ...trusting(settings),
    });
    const settle = (error: PopfetchError | undefined): void => {
      clearTimeout(timer);
      secured.off('error', onError).off('close', onClose);
      if (error === undefined) {
        resolve(secured);
        return;
      }
      secured.on('error', () => undefined);
      secured.destroy();
      socket.destroy();
      reject(error);
    };
    const onError = (cause: Error): void => {
      settle(tlsError(cause, settings));
    };
    const onClose = (): void => {
      settle(tlsError(hungUp(), settings));
    };
    const timer = setTimeout(
      () => {
        settle(
          new PopfetchError('TIMEOUT', `no TLS handshake with ${settings.servername} in time`, {
            phase: 'tls',
          }),
        );
      },
      Math.max(timeout, 0),
    );
    secured.once('error', onError).once('close', onClose);
    secured.once('secureConnect', () => {
      settle(pinError(secured.getPeerCertificate(), settings));
    });
  });
}

/**
 * A server may not start a second handshake: it could show another certificate in it, which nobody would look at.
 * Compression, which gives secrets away (CRIME), is not in Node's OpenSSL; it is ruled out here as well.
 */
const secureOptions = constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_COMPRESSION;

const contexts = new Map<string, SecureContext>();

/**
 * Which authorities and versions are good enough. Reading a hundred authorities takes longer than a handshake, so
 * sessions that trust the same ones share what was read. They share nothing else: no session is ever resumed.
 */
function trusting({
  ca,
  minVersion,
}: TlsSettings): SecureContextOptions | { readonly secureContext: SecureContext } {
  if (ca === undefined) return { minVersion, secureOptions };
  const key = [minVersion, ...ca].join('\n');
  const secureContext = contexts.get(key) ?? createSecureContext({ ca: [...ca], minVersion, secureOptions });
  contexts.set(key, secureContext);
  return { secureContext };
}

function isAddress(name: string): boolean {
  return /^[\d.]+$/.test(name) || name.includes(':');
}
