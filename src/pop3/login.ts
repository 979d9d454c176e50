/** Saying who one is (RFC 1939 section 7, RFC 5034, RFC 6856). */
import { PopfetchError } from '../errors.js';
import {
  apopDigest,
  chooseMethod,
  formsOf,
  isBound,
  isSasl,
  offeredMechanisms,
  plainResponse,
  type Method,
} from './auth.js';
import type { Dialogue } from './dialogue.js';
import { refusalOf, type Plainly } from './refusals.js';
import type { Capabilities, Status } from './replies.js';
import type { Server } from './sasl/bearer.js';
import { authenticate } from './sasl/exchange.js';
import { mechanismFor } from './sasl/mechanisms.js';
import type { Binding } from './sasl/scram.js';

/** Who logs in, and how. */
export interface Credentials {
  readonly user: string;
  /** Absent where the method needs none. */
  readonly password?: string | undefined;
  /** An OAuth2 access token, in place of a password. */
  readonly token?: string | undefined;
  readonly method: Method | 'auto';
  /** The password or token may cross a network in clear. Not needed on TLS or within this machine. */
  readonly insecure: boolean;
}

/** What the server has said so far. */
export interface Introduction {
  readonly capabilities: Capabilities;
  /** The APOP timestamp of the greeting. */
  readonly timestamp: string | undefined;
  /** The server as the user named it, where that is known. */
  readonly server?: Server | undefined;
}

const REFUSED: Plainly = { code: 'AUTH', message: 'the server refused the login' };

/**
 * Logs in by the method that fits, after UTF8 where that is offered: without it a server may send an explanation in
 * place of a message with 8-bit headers (RFC 6856 section 2). From here on no text shows the password or token.
 * A refused login is not tried in another way: that would hand the secret out again, and may lock the account.
 * @returns the method. @throws AUTH, or BUSY for [IN-USE], [LOGIN-DELAY] and [SYS/TEMP]
 */
export async function logIn(
  dialogue: Dialogue,
  credentials: Credentials,
  { capabilities, timestamp = '', server }: Introduction,
): Promise<Method> {
  const { user, password = '', token = '' } = credentials;
  const method = methodFor(dialogue, credentials, capabilities, timestamp);
  const own = [...formsOf([password, token]), plainResponse(user, password), apopDigest(timestamp, password)];
  const hide = (more: readonly string[]): void => {
    // The longest first: a piece taken out of the midst would leave the rest of it to be read.
    dialogue.connection.hide([...formsOf(more), ...own].sort((a, b) => b.length - a.length));
  };
  hide([]);
  const binding = bindingFor(dialogue, method, capabilities);
  const mechanism = isSasl(method)
    ? await mechanismFor(method, { user, password, token, server, binding })
    : undefined;
  if (capabilities.tags.has('UTF8')) await dialogue.ask('UTF8', 'login');
  const status =
    mechanism === undefined
      ? await sayName(dialogue, method, { user, password, timestamp })
      : await authenticate(dialogue, mechanism, hide);
  if (!status.ok) throw refusalOf(dialogue, status, 'login', { ...REFUSED, ...mechanism?.refusal });
  return method;
}

function methodFor(
  { connection: { channel, loopback } }: Dialogue,
  { method, password, token, insecure }: Credentials,
  capabilities: Capabilities,
  timestamp: string,
): Method {
  return chooseMethod(method, {
    capabilities,
    timestamp: timestamp === '' ? undefined : timestamp,
    clearTextAllowed: channel.protocol !== undefined || loopback || insecure,
    bindable: channel.binding !== undefined,
    secret: token !== undefined ? 'token' : password !== undefined ? 'password' : 'none',
  });
}

/**
 * What SCRAM says of channel binding (RFC 5802 section 6). A server that binds refuses `y`: by that it learns that
 * its offer was taken out on the way.
 */
function bindingFor({ connection }: Dialogue, method: Method, capabilities: Capabilities): Binding {
  const { binding } = connection.channel;
  if (binding === undefined) return 'n';
  if (isBound(method)) return binding;
  return offeredMechanisms(capabilities).some((name) => name.endsWith('-PLUS')) ? 'n' : 'y';
}

interface Words {
  readonly user: string;
  readonly password: string;
  readonly timestamp: string;
}

/** USER and PASS, or APOP. */
async function sayName(dialogue: Dialogue, method: Method, words: Words): Promise<Status> {
  const { user, password, timestamp } = words;
  if (method === 'user') {
    const status = await dialogue.ask(`USER ${user}`, 'login');
    return status.ok ? dialogue.ask(`PASS ${password}`, 'login', { shown: 'PASS ********' }) : status;
  }
  if (user.includes(' ')) {
    throw new PopfetchError('AUTH', 'APOP cannot carry a user name with a blank in it', {
      phase: 'login',
      remedy: 'use auth: auto',
    });
  }
  const shown = `APOP ${user} ********`;
  return dialogue.ask(`APOP ${user} ${apopDigest(timestamp, password)}`, 'login', { shown });
}
