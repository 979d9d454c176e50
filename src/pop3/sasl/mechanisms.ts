/** The mechanism for a method, each part loaded only when it is used. */
import { PopfetchError } from '../../errors.js';
import type { SaslMethod } from '../auth.js';
import type { Server } from './bearer.js';
import type { Mechanism } from './mechanism.js';
import type { Binding } from './scram.js';

/** Who logs in, and on what connection. */
export interface Identity {
  readonly user: string;
  /** Empty where the method needs none. */
  readonly password: string;
  /** An OAuth2 access token; empty where the method needs none. */
  readonly token: string;
  readonly server: Server | undefined;
  /** For SCRAM. */
  readonly binding: Binding;
}

/**
 * @throws PROTOCOL for words with a line break or NUL, which no server holds and which would say more than they
 * should; AUTH for a token that is none
 */
export async function mechanismFor(method: SaslMethod, identity: Identity): Promise<Mechanism> {
  const { user, password, token, server, binding } = identity;
  if (/[\r\n\0]/.test(user + password + token)) {
    throw new PopfetchError(
      'PROTOCOL',
      'a user name or password with a line break or NUL in it was not sent',
      {
        phase: 'login',
        remedy: 'check user and password',
      },
    );
  }
  switch (method) {
    case 'plain':
      return (await import('./simple.js')).plain(user, password);
    case 'login':
      return (await import('./simple.js')).login(user, password);
    case 'cram-md5':
      return (await import('./simple.js')).cramMd5(user, password);
    case 'external':
      return (await import('./simple.js')).external(user);
    case 'xoauth2':
      return (await import('./bearer.js')).xoauth2(user, token);
    case 'oauthbearer':
      return (await import('./bearer.js')).oauthBearer(user, token, server);
    case 'scram-sha-1':
    case 'scram-sha-1-plus':
      return (await import('./scram.js')).scram({ hash: 'sha1', user, password, binding });
    case 'scram-sha-256':
    case 'scram-sha-256-plus':
      return (await import('./scram.js')).scram({ hash: 'sha256', user, password, binding });
  }
}
