/** The standard answers of the in-memory POP3 server, one verb at a time. */
import { createHash } from 'node:crypto';
import { lines } from './messages.js';
import { top } from './body.js';
import type { StoredMessage } from './mailbox.js';
import type { MultiLine, Reply, Session } from './session.js';

interface Verb {
  readonly states: readonly Session['state'][];
  readonly answer: (session: Session, args: readonly string[]) => Reply | Promise<Reply>;
}

const AUTHORIZATION = ['authorization'] as const;
const TRANSACTION = ['transaction'] as const;
const BOTH = ['authorization', 'transaction'] as const;

/** Every verb that the server knows. */
export const VERBS: Readonly<Record<string, Verb>> = {
  CAPA: { states: BOTH, answer: capa },
  STLS: { states: AUTHORIZATION, answer: stls },
  UTF8: { states: AUTHORIZATION, answer: utf8 },
  USER: { states: AUTHORIZATION, answer: user },
  PASS: { states: AUTHORIZATION, answer: pass },
  APOP: { states: AUTHORIZATION, answer: apop },
  AUTH: { states: AUTHORIZATION, answer: auth },
  STAT: { states: TRANSACTION, answer: stat },
  LIST: { states: TRANSACTION, answer: (session, [n]) => listing(session, n, ({ size }) => String(size)) },
  UIDL: { states: TRANSACTION, answer: uidl },
  TOP: { states: TRANSACTION, answer: topOf },
  RETR: { states: TRANSACTION, answer: retr },
  DELE: { states: TRANSACTION, answer: dele },
  RSET: { states: TRANSACTION, answer: rset },
  NOOP: { states: TRANSACTION, answer: () => '+OK' },
  QUIT: { states: BOTH, answer: quit },
};

/** What CAPA says where a test does not decide: no word about passwords before TLS can be had. */
function capabilities(session: Session): string[] {
  const { shared, secure } = session;
  const beforeTls = shared.tls === 'starttls' && !secure;
  return [
    'TOP',
    ...(shared.uidl ? ['UIDL'] : []),
    'RESP-CODES',
    'AUTH-RESP-CODE',
    ...(shared.pipelining ? ['PIPELINING'] : []),
    ...(shared.utf8 ? ['UTF8'] : []),
    ...(beforeTls ? ['STLS'] : ['USER', 'SASL PLAIN']),
  ];
}

function capa(session: Session): Reply {
  const chosen = session.shared.capa ?? capabilities;
  const list = typeof chosen === 'function' ? chosen(session) : chosen;
  if (list === false) return '-ERR unknown command';
  return { status: '+OK here is what I can do', body: [lines(...list)] };
}

async function stls(session: Session): Promise<Reply> {
  if (session.shared.tls !== 'starttls' || session.secure) return '-ERR not here';
  await session.say('+OK begin TLS');
  await session.startTls();
  session.user = undefined;
  return 'sent';
}

/** RFC 6856 section 2.1: before login; afterwards headers may hold UTF-8. */
function utf8(session: Session): Reply {
  if (!session.shared.utf8) return '-ERR unknown command';
  session.utf8 = true;
  return '+OK UTF-8 it is';
}

function user(session: Session): Reply {
  if (session.rest === '') return '-ERR whose?';
  session.user = session.rest;
  return `+OK password required for ${session.rest}`;
}

function pass(session: Session): Reply {
  const name = session.user;
  session.user = undefined;
  if (name === undefined) return '-ERR USER first';
  return login(session, name, (password) => password === session.rest);
}

function apop(session: Session, [name = '', digest]: readonly string[]): Reply {
  const { timestamp } = session.shared;
  if (timestamp === undefined) return '-ERR unknown command';
  return login(session, name, (password) => apopDigest(timestamp, password) === digest);
}

/** The digest of APOP (RFC 1939 section 7), lower-case hex. */
export function apopDigest(timestamp: string, password: string): string {
  return createHash('md5')
    .update(timestamp + password, 'utf8')
    .digest('hex');
}

/** RFC 5034: the credentials come with the command ("=" for none), or after `+ `. "*" gives up. */
async function auth(session: Session, [mechanism, initial]: readonly string[]): Promise<Reply> {
  if (mechanism === undefined) return { status: '+OK', body: [lines('PLAIN')] };
  if (mechanism.toUpperCase() !== 'PLAIN') return '-ERR no such mechanism';
  let answer = initial;
  if (answer === undefined) {
    await session.say('+ ');
    answer = await session.readLine();
  }
  if (answer === undefined || answer === '*') return '-ERR given up';
  const [, name = '', given] = Buffer.from(answer === '=' ? '' : answer, 'base64')
    .toString('utf8')
    .split('\0');
  return login(session, name, (password) => password === given);
}

/** Lets a user in, or does not. The name is latin1 of what came, or text. */
export function login(session: Session, name: string, right: (password: string) => boolean): Reply {
  const decoded = Buffer.from(name, 'latin1').toString('utf8');
  const mailbox = session.shared.mailboxes.get(name) ?? session.shared.mailboxes.get(decoded);
  if (mailbox === undefined || !right(mailbox.password)) return '-ERR [AUTH] wrong user or password';
  if (!mailbox.lock(session)) return '-ERR [IN-USE] another session has this mailbox';
  session.mailbox = mailbox;
  session.messages = mailbox.messages;
  session.state = 'transaction';
  return `+OK ${name} has ${summary(session)}`;
}

function stat(session: Session): Reply {
  const there = present(session);
  return `+OK ${there.length} ${total(there)}`;
}

function uidl(session: Session, [n]: readonly string[]): Reply {
  if (!session.shared.uidl) return '-ERR unknown command';
  return listing(session, n, ({ uid }) => uid);
}

function listing(session: Session, n: string | undefined, what: (message: StoredMessage) => string): Reply {
  if (n !== undefined) return withMessage(session, n, (message) => `+OK ${n} ${what(message)}`);
  const body = session.messages.flatMap((message, index) =>
    session.marked.has(message) ? [] : [Buffer.from(`${index + 1} ${what(message)}\r\n`, 'latin1')],
  );
  return { status: `+OK ${summary(session)}`, body: [Buffer.concat(body)] };
}

function topOf(session: Session, [n, count = '']: readonly string[]): Reply {
  if (!/^\d+$/.test(count)) return '-ERR how many lines?';
  return withMessage(session, n, (message): MultiLine => ({
    status: '+OK',
    body: top(message.content(), Number(count)),
  }));
}

function retr(session: Session, [n]: readonly string[]): Reply {
  return withMessage(session, n, (message): MultiLine => ({
    status: `+OK ${message.size} octets`,
    body: message.content(),
    size: message.size,
  }));
}

function dele(session: Session, [n]: readonly string[]): Reply {
  return withMessage(session, n, (message) => {
    session.marked.add(message);
    return `+OK message ${n ?? ''} marked`;
  });
}

function rset(session: Session): Reply {
  session.marked.clear();
  return `+OK ${summary(session)}`;
}

/** Only here do messages go (RFC 1939 section 6). */
function quit(session: Session): Reply {
  if (session.state === 'transaction' && !session.shared.keepAfterQuit) {
    session.mailbox?.remove(session.marked);
  }
  session.state = 'update';
  return '+OK bye';
}

function withMessage(
  session: Session,
  n: string | undefined,
  answer: (message: StoredMessage) => Reply,
): Reply {
  if (n === undefined || !/^\d+$/.test(n)) return '-ERR which message?';
  const message = session.messages[Number(n) - 1];
  if (message === undefined) return `-ERR no such message, there are ${session.messages.length}`;
  return session.marked.has(message) ? '-ERR that message is marked for deletion' : answer(message);
}

function present(session: Session): StoredMessage[] {
  return session.messages.filter((message) => !session.marked.has(message));
}

function total(messages: readonly StoredMessage[]): number {
  return messages.reduce((sum, { size }) => sum + size, 0);
}

function summary(session: Session): string {
  const there = present(session);
  return `${there.length} messages (${total(there)} octets)`;
}
