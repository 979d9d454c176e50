/** The mechanisms for OAuth2 access tokens: OAUTHBEARER (RFC 7628) and its elder, XOAUTH2, which Google wrote down. */
import { PopfetchError } from '../../errors.js';
import { decoded, distrusted, saslName, type Mechanism, type Refusal } from './mechanism.js';

/** Where the session goes, as the user named it; told to the server so that it can refuse tokens meant for others. */
export interface Server {
  readonly host: string;
  readonly port: number;
}

/** @throws AUTH for what is no token, or a name with control characters: either could say more than it should */
export function oauthBearer(user: string, token: string, server?: Server): Mechanism {
  refuseControls(user, token);
  const where = server === undefined ? '' : `host=${server.host}\x01port=${server.port}\x01`;
  const message = `n,a=${saslName(user)},\x01${where}auth=Bearer ${token}\x01\x01`;
  // RFC 7628 section 3.2.3: a message that says nothing, so that the server can end the exchange.
  return bearer('OAUTHBEARER', message, '\x01');
}

/** @throws AUTH as {@link oauthBearer} */
export function xoauth2(user: string, token: string): Mechanism {
  refuseControls(user, token);
  return bearer('XOAUTH2', `user=${user}\x01auth=Bearer ${token}\x01\x01`, '');
}

/** @param dummy the answer to the server's explanation of why the token is not good */
function bearer(name: string, message: string, dummy: string): Mechanism {
  let refusal: Refusal | undefined;
  return {
    name,
    initial: Buffer.from(message),
    secrets: [],
    get refusal() {
      return refusal ?? UNEXPLAINED;
    },
    answer(challenge) {
      if (refusal !== undefined) throw distrusted(`the server sent a challenge that ${name} does not have`);
      refusal = explained(decoded(challenge));
      return Buffer.from(dummy);
    },
    finish() {
      if (refusal !== undefined) throw distrusted('the server took an access token that it had refused');
    },
  };
}

const AGAIN = 'oauth2.command must print a token that is still valid, for this user';
const UNEXPLAINED: Refusal = {
  message: 'the server refused the access token',
  remedy: `check user; ${AGAIN}`,
};

/** By the `status` of the server's explanation (RFC 7628 section 3.2.2; XOAUTH2 has the numbers of HTTP). */
const REFUSALS: Readonly<Record<string, Refusal>> = {
  invalid_token: { message: 'the access token has expired, was withdrawn or is not valid', remedy: AGAIN },
  insufficient_scope: {
    message: 'the access token does not allow to read mail',
    remedy: 'ask the provider for a token with the scope of POP or IMAP',
  },
  invalid_request: {
    message: 'the server did not understand the login with an access token',
    remedy: 'try another auth: oauthbearer or xoauth2',
  },
};
const NUMBERS: Readonly<Record<string, string>> = {
  400: 'invalid_token',
  401: 'invalid_token',
  403: 'insufficient_scope',
};

/** What an error message in JSON comes to, in our own words: nothing of it is handed on. */
function explained(json: Buffer): Refusal {
  try {
    const { status } = JSON.parse(json.toString('utf8')) as { readonly status?: unknown };
    const word = typeof status === 'string' || typeof status === 'number' ? String(status) : '';
    const known = Object.hasOwn(NUMBERS, word) ? NUMBERS[word] : word;
    return (Object.hasOwn(REFUSALS, known ?? '') ? REFUSALS[known ?? ''] : undefined) ?? UNEXPLAINED;
  } catch {
    return UNEXPLAINED;
  }
}

function refuseControls(user: string, token: string): void {
  if (!/^[!-~]+$/.test(token)) {
    throw new PopfetchError('AUTH', 'the access token was not sent: it holds characters that no token has', {
      phase: 'login',
      remedy: 'oauth2.command must print the token alone',
    });
  }
  if (/\p{Cc}/u.test(user)) {
    throw new PopfetchError('AUTH', 'the user name was not sent: it holds control characters', {
      phase: 'login',
      remedy: 'check user',
    });
  }
}
