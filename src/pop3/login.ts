/** Saying who one is (RFC 1939 section 7, RFC 5034, RFC 6856). */
import { COMMAND, SASL_LINE } from '../wire/limits.js';
import { apopDigest, chooseMethod, formsOf, plainResponse, type Method } from './auth.js';
import type { Dialogue } from './dialogue.js';
import { refusalOf, type Plainly } from './refusals.js';
import { parseChallenge, type Capabilities, type Status } from './replies.js';

/** Who logs in, and how. */
export interface Credentials {
  readonly user: string;
  readonly password: string;
  readonly method: Method | 'auto';
  /** The password may cross a network in clear. Not needed on TLS or within this machine. */
  readonly insecure: boolean;
}

/** What the server has said so far. */
export interface Introduction {
  readonly capabilities: Capabilities;
  /** The APOP timestamp of the greeting. */
  readonly timestamp: string | undefined;
}

const REFUSED: Plainly = { code: 'AUTH', message: 'the server refused the login' };

/**
 * Logs in by the method that fits, after UTF8 where that is offered: without it a server may send an explanation in
 * place of a message with 8-bit headers (RFC 6856 section 2). From here on no text shows the password.
 * @returns the method. @throws AUTH, or BUSY for [IN-USE], [LOGIN-DELAY] and [SYS/TEMP]
 */
export async function logIn(
  dialogue: Dialogue,
  { user, password, method: wanted, insecure }: Credentials,
  { capabilities, timestamp }: Introduction,
): Promise<Method> {
  const { channel, loopback } = dialogue.connection;
  const clearTextAllowed = channel.protocol !== undefined || loopback || insecure;
  const method = chooseMethod(wanted, { capabilities, timestamp, clearTextAllowed });
  const plain = plainResponse(user, password);
  dialogue.connection.hide([...formsOf([password]), plain, apopDigest(timestamp ?? '', password)]);
  if (capabilities.tags.has('UTF8')) await dialogue.ask('UTF8', 'login');
  const status = await talk(dialogue, method, { user, password, plain, timestamp: timestamp ?? '' });
  if (!status.ok) throw refusalOf(dialogue, status, 'login', REFUSED);
  return method;
}

interface Words {
  readonly user: string;
  readonly password: string;
  /** The response of PLAIN. */
  readonly plain: string;
  readonly timestamp: string;
}

async function talk(dialogue: Dialogue, method: Method, words: Words): Promise<Status> {
  const { user, password, plain, timestamp } = words;
  switch (method) {
    case 'user': {
      const status = await dialogue.ask(`USER ${user}`, 'login');
      return status.ok ? dialogue.ask(`PASS ${password}`, 'login', { shown: 'PASS ********' }) : status;
    }
    case 'apop': {
      const shown = `APOP ${user} ********`;
      return dialogue.ask(`APOP ${user} ${apopDigest(timestamp, password)}`, 'login', { shown });
    }
    case 'plain':
      return authPlain(dialogue, plain);
  }
}

/** AUTH PLAIN, with its response in the command where that fits (RFC 5034 section 4). */
async function authPlain(dialogue: Dialogue, response: string): Promise<Status> {
  const fits = response.length + 'AUTH PLAIN \r\n'.length <= COMMAND;
  const command = fits ? `AUTH PLAIN ${response}` : 'AUTH PLAIN';
  dialogue.send(command, 'login', { shown: fits ? 'AUTH PLAIN ********' : command });
  const line = await dialogue.line('login');
  // Some servers ignore the response in the command and ask for it.
  if (parseChallenge(line) === undefined) return dialogue.parse(line, 'login');
  dialogue.send(response, 'login', { shown: '********', limit: SASL_LINE });
  return dialogue.status('login');
}
