/** A SASL exchange within POP3: AUTH, challenges, responses, and how it is given up (RFC 5034 section 4). */
import type { Status } from '../replies.js';
import { parseChallenge } from '../replies.js';
import type { Dialogue } from '../dialogue.js';
import { COMMAND, SASL_CHALLENGES, SASL_LINE } from '../../wire/limits.js';
import { distrusted, type Mechanism } from './mechanism.js';

/**
 * Speaks a mechanism to its end. A server that does what the mechanism forbids is answered `*`, and not believed
 * whatever it says then.
 * @param hide is called with all that must not be shown, before it is sent
 * @returns the server's verdict; where that is yes, the mechanism agrees
 * @throws PROTOCOL, TIMEOUT, LOST, and what the mechanism throws
 */
export async function authenticate(
  dialogue: Dialogue,
  mechanism: Mechanism,
  hide: (secrets: readonly string[]) => void,
): Promise<Status> {
  const responses: string[] = [];
  const wrap = (response: Buffer): string => {
    const text = response.toString('base64');
    responses.push(text);
    hide([...responses, ...mechanism.secrets]);
    return text;
  };
  let unsent = begin(dialogue, mechanism, wrap);
  for (let count = 1; ; count += 1) {
    const line = await receive(dialogue);
    const challenge = parseChallenge(line)?.trim();
    if (challenge === undefined) return verdict(dialogue, mechanism, line);
    // Some servers pass over what came with the command, and ask for it.
    const prompt = unsent ?? (count === 1 && challenge === '' ? mechanism.initial : undefined);
    unsent = undefined;
    try {
      if (count > SASL_CHALLENGES) throw distrusted('the server does not end the login');
      respond(dialogue, wrap(prompt ?? (await mechanism.answer(challenge))));
    } catch (error) {
      await cancel(dialogue);
      throw error;
    }
  }
}

/**
 * Sends AUTH, with what the client says first where the command stays within its limit.
 * @returns what is still to be said; undefined where nothing is
 */
function begin(
  dialogue: Dialogue,
  { name, initial }: Mechanism,
  wrap: (response: Buffer) => string,
): Buffer | undefined {
  const bare = `AUTH ${name}`;
  // RFC 5034 section 4: nothing to say is not the same as saying nothing.
  const response = initial === undefined ? undefined : wrap(initial) || '=';
  if (response === undefined || `${bare} ${response}\r\n`.length > COMMAND) {
    dialogue.send(bare, 'login');
    return initial;
  }
  dialogue.send(`${bare} ${response}`, 'login', { shown: `${bare} ********` });
  return undefined;
}

function respond(dialogue: Dialogue, response: string): void {
  dialogue.send(response, 'login', { shown: response === '' ? '' : '********', limit: SASL_LINE });
}

/** A challenge or the verdict. What is in a challenge is for the mechanism alone, so no trace shows it. */
function receive(dialogue: Dialogue): Promise<string> {
  const shown = (line: string): string => {
    const data = parseChallenge(line);
    return data === undefined || data === '' ? line : `+ [${data.length} octets]`;
  };
  return dialogue.line('login', { limit: SASL_LINE, shown });
}

function verdict(dialogue: Dialogue, mechanism: Mechanism, line: string): Status {
  const status = dialogue.parse(line, 'login');
  if (status.ok) mechanism.finish();
  return status;
}

/** Gives the exchange up. What the server says to that changes nothing. */
async function cancel(dialogue: Dialogue): Promise<void> {
  try {
    dialogue.send('*', 'login');
    await dialogue.line('login');
  } catch {
    // The connection is given up with the exchange.
  }
}
