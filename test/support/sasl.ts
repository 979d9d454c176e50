/**
 * The server's side of SASL for the in-memory server: an override for AUTH that speaks the mechanisms honestly, unless
 * a test has it say something else. It shares no code with popfetch.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import type { Override, Reply, Session } from './session.js';
import { login } from './verbs.js';

/** How the server is to differ from an honest one. Lines are whole: `+ ` and base64, or whatever else. */
export interface SaslOptions {
  /** Rounds of SCRAM; 4096 unless told. */
  readonly rounds?: number;
  /** In place of SCRAM's first challenge. */
  readonly first?: (honest: string) => Reply;
  /** In place of SCRAM's last challenge, the one with the signature. */
  readonly final?: (honest: string) => Reply;
  /** Of a user: what is let in by XOAUTH2 and OAUTHBEARER. */
  readonly tokens?: Readonly<Record<string, string>>;
  /** What a token that is not let in is answered with, before the -ERR. */
  readonly problem?: string;
  /** Says `+ ` first although the response came with the command, and reads it again. */
  readonly deaf?: boolean;
  /** It has the -PLUS mechanisms, whatever the client was told. */
  readonly binds?: boolean;
  /** The certificate's hash as the server has it; for a binding to the certificate. */
  readonly endPoint?: Buffer;
}

/** `+ ` and the text in base64. */
export const challenge = (text: string): string => `+ ${Buffer.from(text).toString('base64')}`;

/** AUTH, honest but for `options`. */
export function saslServer(options: SaslOptions = {}): Override {
  return async (session, [mechanism = '', initial]) => {
    const first = await responseOf(session, mechanism.toUpperCase(), initial, options);
    return first === undefined ? '-ERR given up' : speak(session, mechanism.toUpperCase(), first, options);
  };
}

/** The client's first words; of a mechanism in which the server begins, nothing. */
async function responseOf(
  session: Session,
  mechanism: string,
  initial: string | undefined,
  { deaf = false }: SaslOptions,
): Promise<string | undefined> {
  if (/^(LOGIN|CRAM-MD5)$/.test(mechanism)) return '';
  if (initial !== undefined && !deaf) return initial === '=' ? '' : text(initial);
  return ask(session, '+ ');
}

async function speak(
  session: Session,
  mechanism: string,
  first: string,
  options: SaslOptions,
): Promise<Reply> {
  if (mechanism.startsWith('SCRAM-')) return scram(session, mechanism, first, options);
  switch (mechanism) {
    case 'PLAIN': {
      const [, name = '', given] = first.split('\0');
      return login(session, name, (password) => password === given);
    }
    case 'EXTERNAL':
      return login(session, first, () => true);
    case 'LOGIN': {
      const name = await ask(session, challenge('Username:'));
      const given = name === undefined ? undefined : await ask(session, challenge('Password:'));
      return given === undefined ? '-ERR given up' : login(session, name!, (password) => password === given);
    }
    case 'CRAM-MD5':
      return cramMd5(session);
    case 'XOAUTH2':
      return bearer(session, FORMS.XOAUTH2, first, '', options);
    case 'OAUTHBEARER':
      return bearer(session, FORMS.OAUTHBEARER, first, DUMMY, options);
    default:
      return '-ERR no such mechanism';
  }
}

/** What comes between the parts of a message with a token (RFC 7628 section 3.1), and the whole of the dummy. */
const DUMMY = '\x01';
const FORMS = {
  XOAUTH2: messageForm('user=([^,]*)', 'auth=Bearer ([!-~]*)'),
  OAUTHBEARER: messageForm('n,a=([^,]*),', '(?:host=[!-~]*', ')?(?:port=\\d+', ')?auth=Bearer ([!-~]*)'),
};

function messageForm(...parts: readonly string[]): RegExp {
  return new RegExp(`^${[...parts, '', ''].join(DUMMY).slice(0, -1)}${DUMMY}$`);
}

async function cramMd5(session: Session): Promise<Reply> {
  const told = `<${randomBytes(6).toString('hex')}@test>`;
  const given = await ask(session, challenge(told));
  if (given === undefined) return '-ERR given up';
  const at = given.lastIndexOf(' ');
  return login(
    session,
    given.slice(0, at),
    (password) => createHmac('md5', password).update(told).digest('hex') === given.slice(at + 1),
  );
}

async function bearer(
  session: Session,
  form: RegExp,
  message: string,
  dummy: string,
  { tokens = {}, problem = '{"status":"invalid_token"}' }: SaslOptions,
): Promise<Reply> {
  const [, name = '', token] = form.exec(message) ?? [];
  if (token !== undefined && tokens[name] === token) return login(session, name, () => true);
  const answer = await ask(session, challenge(problem));
  return answer === dummy ? '-ERR [AUTH] no such token' : '-ERR what was that?';
}

const BASE64 = '[A-Za-z0-9+/]+={0,2}';

async function scram(
  session: Session,
  mechanism: string,
  clientFirst: string,
  options: SaslOptions,
): Promise<Reply> {
  const hash = mechanism.includes('SHA-256') ? 'sha256' : 'sha1';
  const [, header = '', bare = '', escaped = '', nonce = ''] =
    /^((?:[ny]|p=[a-z-]+),,)(n=([^,]*),r=([!-+\--~]+))$/.exec(clientFirst) ?? [];
  const name = escaped.replaceAll('=2C', ',').replaceAll('=3D', '=');
  const password = session.shared.mailboxes.get(name)?.password ?? randomBytes(8).toString('hex');
  const salt = randomBytes(12);
  const rounds = options.rounds ?? 4096;
  const all = `${nonce}${randomBytes(9).toString('base64')}`;
  const serverFirst = `r=${all},s=${salt.toString('base64')},i=${rounds}`;
  const reply = options.first?.(serverFirst) ?? challenge(serverFirst);
  if (typeof reply !== 'string' || !reply.startsWith('+ ')) return reply;
  const clientFinal = await ask(session, reply);
  if (clientFinal === undefined) return '-ERR given up';
  const [, withoutProof = '', bound = '', echoed, proof = ''] =
    new RegExp(`^(c=(${BASE64}),r=([!-+\\--~]+)),p=(${BASE64})$`).exec(clientFinal) ?? [];

  const salted = pbkdf2Sync(password, salt, Math.min(rounds, 10_000), hash === 'sha1' ? 20 : 32, hash);
  const hmac = (key: Buffer, data: string): Buffer => createHmac(hash, key).update(data).digest();
  const clientKey = hmac(salted, 'Client Key');
  const stored = createHash(hash).update(clientKey).digest();
  const dialogue = `${bare},${serverFirst},${withoutProof}`;
  const signature = hmac(stored, dialogue);
  const expected = Buffer.from(clientKey.map((octet, index) => octet ^ signature[index]!)).toString('base64');
  const binding = bindingOf(session, header, options);
  const right = Buffer.concat([Buffer.from(header), binding]).toString('base64');
  if (header.startsWith('y') && options.binds === true)
    return refuse(session, 'server-does-support-channel-binding');
  if (bound !== right) return refuse(session, 'channel-bindings-dont-match');
  if (echoed !== all || proof !== expected) return refuse(session, 'invalid-proof');

  const last = `v=${hmac(hmac(salted, 'Server Key'), dialogue).toString('base64')}`;
  const final = options.final?.(last) ?? challenge(last);
  if (typeof final === 'string' && final.startsWith('+ ')) {
    const answer = await ask(session, final);
    if (answer !== '') return '-ERR given up';
    return login(session, name, () => true);
  }
  return final === 'in' ? login(session, name, () => true) : final;
}

async function refuse(session: Session, reason: string): Promise<Reply> {
  await ask(session, challenge(`e=${reason}`));
  return '-ERR [AUTH] refused';
}

function bindingOf({ tls }: Session, header: string, { endPoint }: SaslOptions): Buffer {
  if (header.startsWith('p=tls-exporter') && tls !== undefined)
    return tls.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0));
  return header.startsWith('p=tls-server-end-point') ? (endPoint ?? Buffer.alloc(0)) : Buffer.alloc(0);
}

/** Sends a challenge and reads what answers it, decoded; undefined where the client gives up. */
async function ask(session: Session, line: string): Promise<string | undefined> {
  await session.say(line);
  const answer = await session.readLine();
  return answer === undefined || answer === '*' ? undefined : text(answer);
}

function text(base64: string): string {
  return Buffer.from(base64, 'base64').toString('utf8');
}
