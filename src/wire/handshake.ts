/** From a clear connection to a secured one. */
import type { Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { PopfetchError } from '../errors.js';
import { pinError, tlsError, type TlsSettings } from './trust.js';

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
      rejectUnauthorized: settings.pin === undefined,
      minVersion: settings.minVersion,
      ...(settings.ca === undefined ? {} : { ca: [...settings.ca] }),
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
      settle(tlsError(new Error('the server closed the connection'), settings));
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

function isAddress(name: string): boolean {
  return /^[\d.]+$/.test(name) || name.includes(':');
}
