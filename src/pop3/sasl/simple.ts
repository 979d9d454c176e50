/** The mechanisms that take a line or two: PLAIN, LOGIN, CRAM-MD5, EXTERNAL. */
import { createHmac } from 'node:crypto';
import { decoded, distrusted, type Mechanism } from './mechanism.js';

/** PLAIN (RFC 4616): no authorization identity, user, password. */
export function plain(user: string, password: string): Mechanism {
  return saidAtOnce('PLAIN', Buffer.from(`\0${user}\0${password}`));
}

/** EXTERNAL (RFC 4422 appendix A): who one is, the server knows already, by a client certificate for example. */
export function external(user: string): Mechanism {
  return saidAtOnce('EXTERNAL', Buffer.from(user));
}

/**
 * LOGIN, which no RFC describes: user and password, each when asked. How servers word the questions differs, so that
 * only their order counts.
 */
export function login(user: string, password: string): Mechanism {
  const answers = [user, password];
  return {
    ...NOTHING_TO_VERIFY,
    name: 'LOGIN',
    initial: undefined,
    answer: () => Buffer.from(answers.shift() ?? tooMuch('LOGIN')),
  };
}

/** CRAM-MD5 (RFC 2195): the challenge and the password digested, so that the password does not cross the network. */
export function cramMd5(user: string, password: string): Mechanism {
  const secrets: string[] = [];
  return {
    ...NOTHING_TO_VERIFY,
    name: 'CRAM-MD5',
    initial: undefined,
    secrets,
    answer(challenge) {
      if (secrets.length > 0 || challenge === '') return tooMuch('CRAM-MD5');
      const digest = createHmac('md5', password).update(decoded(challenge)).digest('hex');
      secrets.push(digest);
      return Buffer.from(`${user} ${digest}`);
    },
  };
}

const NOTHING_TO_VERIFY = { secrets: [], refusal: undefined, finish: () => undefined } as const;

/** One response and no more. Some servers ask for it although it came with the command. */
function saidAtOnce(name: string, response: Buffer): Mechanism {
  let asked = false;
  return {
    ...NOTHING_TO_VERIFY,
    name,
    initial: response,
    answer() {
      if (asked) return tooMuch(name);
      asked = true;
      return response;
    },
  };
}

function tooMuch(name: string): never {
  throw distrusted(`the server sent a challenge that ${name} does not have`);
}
