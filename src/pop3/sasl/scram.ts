/**
 * SCRAM (RFC 5802, RFC 7677): the password never crosses the network, and the server proves that it knows it, too.
 * With a channel binding nobody in between can pass the exchange on.
 */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { PopfetchError } from '../../errors.js';
import type { ChannelBinding } from '../../wire/binding.js';
import { SCRAM_ROUNDS } from '../../wire/limits.js';
import { decoded, distrusted, saslName, type Mechanism, type Refusal } from './mechanism.js';
import { prepared } from './prepare.js';

/**
 * What the client says about binding (RFC 5802 section 6): `n`, it cannot or the server can and it was told not to;
 * `y`, it could and the server does not offer to, which a server that does offer takes for an attack; or it binds.
 */
export type Binding = 'n' | 'y' | ChannelBinding;

/** One exchange. */
export interface ScramOptions {
  readonly hash: 'sha1' | 'sha256';
  readonly user: string;
  readonly password: string;
  readonly binding: Binding;
  /** Printable ASCII without a comma; random unless told. */
  readonly nonce?: string;
}

/** The mechanism; `-PLUS` where it binds. */
export async function scram(options: ScramOptions): Promise<Mechanism> {
  const { nonce = randomBytes(24).toString('base64') } = options;
  const user = await prepared(options.user, 'user');
  const password = await prepared(options.password, 'password');
  return new Scram({ ...options, user, password, nonce });
}

const NAMES = { sha1: 'SCRAM-SHA-1', sha256: 'SCRAM-SHA-256' } as const;

/** RFC 5802 section 7. `r` is printable without a comma; what follows `i` are extensions, which may be ignored. */
const SERVER_FIRST = /^r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=([1-9]\d{0,9})(?:,|$)/;
const SERVER_FINAL = /^v=([A-Za-z0-9+/=]+)(?:,|$)/;
const SERVER_ERROR = /^e=([A-Za-z0-9.-]{1,64})/;

class Scram implements Mechanism {
  readonly name: string;
  readonly initial: Buffer;
  readonly secrets: string[] = [];
  refusal: Refusal | undefined;
  readonly #options: Required<ScramOptions>;
  /** Flag and binding as the server is to see them again (`c=`). */
  readonly #header: string;
  readonly #firstBare: string;
  /** Of the server, once the client's own proof is sent. */
  #signature: Buffer | undefined;
  #verified = false;

  constructor(options: Required<ScramOptions>) {
    const { hash, binding, user, nonce } = options;
    this.#options = options;
    this.name = NAMES[hash] + (typeof binding === 'string' ? '' : '-PLUS');
    this.#header = `${typeof binding === 'string' ? binding : `p=${binding.type}`},,`;
    this.#firstBare = `n=${saslName(user)},r=${nonce}`;
    this.initial = Buffer.from(this.#header + this.#firstBare);
  }

  async answer(challenge: string): Promise<Buffer> {
    const text = decoded(challenge).toString('latin1');
    const reason = SERVER_ERROR.exec(text)?.[1];
    if (reason !== undefined && this.refusal === undefined && !this.#verified) return this.#refused(reason);
    if (this.#verified || this.refusal !== undefined) throw distrusted('the server does not end the login');
    return this.#signature === undefined ? this.#prove(text) : this.#verify(text, this.#signature);
  }

  finish(): void {
    if (!this.#verified) throw impostor();
  }

  /** Answers the server's first message with the proof (RFC 5802 section 3). */
  async #prove(serverFirst: string): Promise<Buffer> {
    const { hash, password } = this.#options;
    const { nonce, salt, rounds } = this.#agreed(serverFirst);
    const length = createHash(hash).digest().length;
    const salted = await promisify(pbkdf2)(password, salt, rounds, length, hash);
    const hmac = (key: Buffer, text: string): Buffer => createHmac(hash, key).update(text).digest();
    const clientKey = hmac(salted, 'Client Key');
    const withoutProof = `c=${this.#bound()},r=${nonce}`;
    const dialogue = [this.#firstBare, serverFirst, withoutProof].join(',');
    const storedKey = createHash(hash).update(clientKey).digest();
    const proof = xor(clientKey, hmac(storedKey, dialogue)).toString('base64');
    this.#signature = hmac(hmac(salted, 'Server Key'), dialogue);
    this.secrets.push(proof);
    return Buffer.from(`${withoutProof},p=${proof}`);
  }

  #agreed(serverFirst: string): { nonce: string; salt: Buffer; rounds: number } {
    const [, nonce = '', salt = '', digits = ''] = SERVER_FIRST.exec(serverFirst) ?? [];
    if (nonce === '') throw distrusted('the server sent no challenge of SCRAM');
    const own = this.#options.nonce;
    if (!nonce.startsWith(own) || nonce === own) {
      throw distrusted('the server answered another login than this one', IMPOSTOR_REMEDY);
    }
    const rounds = Number(digits);
    if (rounds < SCRAM_ROUNDS.least || rounds > SCRAM_ROUNDS.most) {
      throw distrusted(
        `the server wants the password digested ${rounds} times; ${SCRAM_ROUNDS.least} to ${SCRAM_ROUNDS.most} are accepted`,
        rounds < SCRAM_ROUNDS.least
          ? 'fewer make it easy to guess; ask the provider to store the password anew'
          : 'more keep this machine busy for nothing; ask the provider',
      );
    }
    return { nonce, salt: decoded(salt), rounds };
  }

  #bound(): string {
    const { binding } = this.#options;
    const data = typeof binding === 'string' ? Buffer.alloc(0) : binding.data;
    return Buffer.concat([Buffer.from(this.#header), data]).toString('base64');
  }

  #verify(serverFinal: string, expected: Buffer): Buffer {
    const signature = decoded(SERVER_FINAL.exec(serverFinal)?.[1] ?? '');
    if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) throw impostor();
    this.#verified = true;
    // POP3 has no room for what the server says last but a challenge, which is answered with nothing (RFC 5034).
    return Buffer.alloc(0);
  }

  #refused(reason: string): Buffer {
    this.refusal = (Object.hasOwn(REFUSALS, reason) ? REFUSALS[reason] : undefined) ?? UNEXPLAINED;
    return Buffer.alloc(0);
  }
}

const IMPOSTOR_REMEDY =
  'somebody may be in between; do not log in to it in another way before the provider has explained it';

function impostor(): PopfetchError {
  return distrusted('the server did not prove that it knows the password', IMPOSTOR_REMEDY);
}

const UNEXPLAINED: Refusal = { message: 'the server refused the login', remedy: 'check user and password' };
const UNBOUND: Refusal = {
  message: 'the server cannot tie the login to this connection in the way that TLS version has',
  remedy: 'use auth: scram-sha-256, or auth: plain, which do without',
};

/** By the server's error value (RFC 5802 section 7), where there is more to say than that the login failed. */
const REFUSALS: Readonly<Record<string, Refusal>> = {
  'channel-bindings-dont-match': {
    message: 'the server sees another TLS connection than this one',
    remedy: 'somebody may be in between, or a proxy ends TLS before the server; ask the provider',
  },
  'server-does-support-channel-binding': {
    message: 'the server can tie the login to the connection, and its offer to do so did not arrive',
    remedy: 'somebody may be in between; ask the provider',
  },
  'channel-binding-not-supported': UNBOUND,
  'unsupported-channel-binding-type': UNBOUND,
};

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((octet, index) => octet ^ (b[index] ?? 0)));
}
