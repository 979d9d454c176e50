/**
 * Shows popfetch at work, on this machine alone: a POP3S server in memory, two accounts, a Maildir and an mbox in a
 * temporary directory. Everything it shows it checks, and it ends with 1 where anything is not as it should be.
 */
import { readdir } from 'node:fs/promises';
import { certificates, removeCertificates } from './certificates.js';
import type { Hook } from './faults.js';
import { awkward, HOGEHOGE_BODY, HOGEHOGE_FROM, hogehogeJis, hogehogeUtf8, plain } from './messages.js';
import { Sandbox } from './sandbox.js';
import type { Result } from './sandbox.js';
import { startServer } from './server.js';
import type { TestServer } from './server.js';
import { maildirMessages, mboxMessages } from './stored.js';

const WIDTH = 78;
const MAILS = {
  taro: [hogehogeUtf8, plain(1), awkward['leading dots']!, plain(2)],
  hanako: [hogehogeJis, awkward['From lines']!],
} as const;

const cleanups: (() => Promise<unknown>)[] = [];

async function demo(): Promise<void> {
  const sessions = new SessionCount();
  const server = await serve(sessions.hook);
  const sandbox = await Sandbox.create();
  cleanups.push(() => sandbox.remove());

  step('A POP3S server is running, on this machine, for this demo only.');
  print(`  ${server.host}:${server.port}, accounts taro (4 messages) and hanako (2 messages)`);

  step('This is the whole configuration:');
  const config = configFor(server);
  await sandbox.writeConfig(config);
  print(...config.trimEnd().split('\n').map(indented));

  step('One command fetches both accounts, at the same time.');
  expectSuccess(await popfetch(sandbox, 'fetch'));
  check(sessions.most === 2, 'two sessions were open at once');

  await showFiles(sandbox);
  await showMessage(sandbox);

  step('The same command again: nothing is new, so nothing is downloaded.');
  const before = server.sessions.length;
  expectSuccess(await popfetch(sandbox, 'fetch'));
  const retrieved = server.sessions
    .slice(before)
    .flatMap(({ verbs }) => verbs.filter((verb) => verb === 'RETR'));
  check(server.sessions.length === before + 2, 'both accounts were asked');
  check(retrieved.length === 0, 'no message was sent a second time');
  await checkFiles(sandbox);

  step('What is on the server, and what popfetch knows about it:');
  const list = await popfetch(sandbox, 'list');
  expectSuccess(list);
  check(list.stdout.includes('test mail'), 'the list shows the mails by subject');

  step('How the accounts are doing, from local records alone:');
  const status = await popfetch(sandbox, 'status');
  expectSuccess(status);
  check(
    Object.keys(MAILS).every((account) => status.stdout.includes(account)),
    'both accounts are in it',
  );

  print('', 'That is all. Nothing of this demo stays on your disk.');
}

async function serve(onEvent: Hook): Promise<TestServer> {
  const set = await certificates();
  cleanups.push(() => removeCertificates(set));
  const server = await startServer({
    tls: 'implicit',
    accounts: {
      taro: { password: '!4tana-mo-', messages: MAILS.taro },
      hanako: { password: 'tanamo-4!', messages: MAILS.hanako },
    },
    onEvent,
    // As far away as a server in the same country, so that two sessions can be seen to overlap.
    latency: 10,
  });
  cleanups.push(() => server.close());
  return server;
}

function configFor({ host, port, ca }: TestServer): string {
  return `defaults:
  host: ${host}
  port: ${port}
  tls:
    mode: implicit
    ca: ${ca}
accounts:
  taro:
    user: taro
    password: "!4tana-mo-"
    deliver: {maildir: ~/Mail/taro}
  hanako:
    user: hanako
    password: "tanamo-4!"
    deliver: {mbox: ~/Mail/hanako.mbox}
`;
}

async function showFiles(sandbox: Sandbox): Promise<void> {
  step('The mail is there: taro has a Maildir, hanako has an mbox.');
  for (const name of await readdir(sandbox.path('Mail/taro/new'))) print(indented(`Mail/taro/new/${name}`));
  for (const { envelope, data } of await mboxMessages(sandbox.path('Mail/hanako.mbox'))) {
    print(indented(`Mail/hanako.mbox: ${envelope} (${data.length} octets)`));
  }
  await checkFiles(sandbox);
}

/** Every message is there once, octet for octet, with LF for CRLF. */
async function checkFiles(sandbox: Sandbox): Promise<void> {
  const maildir = await maildirMessages(sandbox.path('Mail/taro'));
  const mbox = await mboxMessages(sandbox.path('Mail/hanako.mbox'));
  check(sameMessages(maildir, MAILS.taro), 'the Maildir holds the 4 messages, each once, octet for octet');
  check(sameMessages(mbox, MAILS.hanako), 'the mbox holds the 2 messages, each once, octet for octet');
}

function sameMessages(stored: readonly { readonly data: Buffer }[], sent: readonly Buffer[]): boolean {
  const found = stored.map(({ data }) => data.toString('latin1')).sort();
  const wanted = sent.map((data) => data.toString('latin1').replaceAll('\r\n', '\n')).sort();
  return found.length === wanted.length && found.every((text, index) => text === wanted[index]);
}

async function showMessage(sandbox: Sandbox): Promise<void> {
  step('One of the mails, as it is stored:');
  const stored = await maildirMessages(sandbox.path('Mail/taro'));
  const mail = stored.find(({ data }) => data.includes('=?UTF-8?B?'));
  if (mail === undefined) throw new Error('the mail of ほげほげマン is not there');
  print(...mail.data.toString('utf8').trimEnd().split('\n').map(indented));
  check(decoded(mail.data).from === HOGEHOGE_FROM, `its From reads ${HOGEHOGE_FROM}`);
  const [jis] = await mboxMessages(sandbox.path('Mail/hanako.mbox'));
  check(
    jis !== undefined && decoded(jis.data).body === HOGEHOGE_BODY,
    `in ISO-2022-JP too: ${HOGEHOGE_BODY}`,
  );
}

/** From and body of a message in one part, as a mail reader would show them. */
function decoded(message: Buffer): { from: string; body: string } {
  const text = message.toString('latin1');
  const charset = /charset=([\w-]+)/.exec(text)?.[1] ?? 'utf-8';
  const from = /^From: (.*)$/m.exec(text)?.[1] ?? '';
  return {
    from: from.replace(/=\?([\w-]+)\?B\?([^?]+)\?=/g, (_, name: string, word: string) =>
      new TextDecoder(name).decode(Buffer.from(word, 'base64')),
    ),
    body: new TextDecoder(charset).decode(message.subarray(message.indexOf('\n\n') + 2)).trimEnd(),
  };
}

/** Runs the real command, and shows what it printed. */
async function popfetch(sandbox: Sandbox, ...args: readonly string[]): Promise<Result> {
  print(`  $ popfetch ${args.join(' ')}`);
  const result = await sandbox.run(args);
  const output = `${result.stdout.toString('utf8')}${result.stderr}`.trimEnd();
  if (output !== '') print(...output.split('\n').map(indented));
  return result;
}

function expectSuccess({ code, elapsed }: Result): void {
  check(code === 0, `exit status ${String(code)} after ${(elapsed / 1000).toFixed(1)} s`);
}

/** Counts the sessions between their first octet and their QUIT. */
class SessionCount {
  #open = 0;
  /** How many were open at once, at most. */
  most = 0;

  readonly hook: Hook = ({ kind, verb }) => {
    if (kind === 'connect') this.#open += 1;
    if (kind === 'replied' && verb === 'QUIT') this.#open -= 1;
    this.most = Math.max(this.most, this.#open);
    return undefined;
  };
}

let steps = 0;

function step(sentence: string): void {
  steps += 1;
  print('', `${steps}. ${sentence}`);
}

/** Says that it is so, or throws. */
function check(isSo: boolean, sentence: string): void {
  if (!isSo) throw new Error(`this should be so, but is not: ${sentence}`);
  print(`  [ok] ${sentence}`);
}

function indented(line: string): string {
  return line.length > WIDTH - 2 ? `  ${line.slice(0, WIDTH - 3)}…` : `  ${line}`;
}

function print(...lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
}

let leaving: Promise<never> | undefined;

/** Removes what the demo made, newest first, and ends it. The first to call it decides the status. */
function leave(status: number): Promise<never> {
  leaving ??= cleanUp().then(() => process.exit(status));
  return leaving;
}

async function cleanUp(): Promise<void> {
  for (const clean of cleanups.splice(0).reverse()) await clean();
}

process.once('SIGINT', () => void leave(130));
process.once('SIGTERM', () => void leave(143));

try {
  await demo();
  await leave(0);
} catch (error) {
  print('', `The demo failed: ${error instanceof Error ? error.message : String(error)}`);
  await leave(1);
}
