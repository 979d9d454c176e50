/**
 * `npm run bench`, or `npx tsx test/bench/shown.ts [many] [parallel] [large] [start]` after a build: what the README
 * promises, measured. Needs Dovecot. Every figure is checked before it is printed: all messages there, each once, octet
 * for octet.
 */
import { certificates, removeCertificates } from '../support/certificates.js';
import { startDovecot, type Dovecot } from '../support/dovecot.js';
import { digestOf, maildirDigest, mboxDigest, stored } from '../support/e2e.js';
import type { MessageSource } from '../support/mailbox.js';
import { huge } from '../support/messages.js';
import { mixed } from '../support/mixed.js';
import { startProxy } from '../support/proxy.js';
import { Sandbox } from '../support/sandbox.js';
import { startServer } from '../support/server.js';
import { maildirMessages, mboxMessages } from '../support/stored.js';

const MIB = 1024 * 1024;
const PASSWORD = 'pw';
const DESTINATIONS = { maildir: { maildir: '~/box' }, mbox: { mbox: '~/box' } } as const;
type Kind = keyof typeof DESTINATIONS;
const KINDS: readonly Kind[] = ['maildir', 'mbox'];

/** A server to fetch from, over TLS. */
interface Target {
  readonly port: number;
  readonly ca: string;
}

const tlsOf = ({ tlsPort, ca }: Dovecot): Target => ({ port: tlsPort, ca });

function accountOf({ port, ca }: Target, fields: object): object {
  return { host: 'localhost', port, tls: { ca }, user: 'taro', password: PASSWORD, ...fields };
}

function check(isSo: boolean, what: string): void {
  if (!isSo) throw new Error(`not so: ${what}`);
}

function say(what: string, ...figures: readonly string[]): void {
  process.stdout.write(`${what.padEnd(58)} ${figures.join(', ')}\n`);
}

const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`;
const memory = (octets: number): string => `peak memory ${Math.round(octets / MIB)} MiB`;

/** Runs popfetch to a quiet end. @returns milliseconds, and the peak of memory in octets where it was measured */
async function quiet(
  sandbox: Sandbox,
  args: readonly string[] = [],
  measure = true,
): Promise<{ elapsed: number; peak: number }> {
  const { code, stdout, stderr, elapsed, peakMemory } = await sandbox.run(args, {
    measure,
    timeout: 600_000,
  });
  const words = args.includes('--version') ? '' : stdout.toString('utf8') + stderr;
  check(code === 0 && words === '', `popfetch ${args.join(' ')} ended with ${code ?? 'a signal'}: ${words}`);
  return { elapsed, peak: peakMemory ?? 0 };
}

async function withSandbox<T>(work: (sandbox: Sandbox) => Promise<T>): Promise<T> {
  const sandbox = await Sandbox.create();
  try {
    return await work(sandbox);
  } finally {
    await sandbox.remove();
  }
}

/** What is in the middle. */
function median(figures: readonly number[]): number {
  return [...figures].sort((a, b) => a - b)[Math.floor(figures.length / 2)] ?? NaN;
}

async function contentOf(kind: Kind, path: string): Promise<string[]> {
  const messages = kind === 'mbox' ? await mboxMessages(path) : await maildirMessages(path);
  return messages.map(({ data }) => data.toString('latin1')).sort();
}

const same = (got: readonly string[], expected: readonly string[]): boolean =>
  got.length === expected.length && got.every((text, index) => text === expected[index]);

/** 2,000 mixed messages of 94 MB from Dovecot. */
async function many(): Promise<void> {
  const mail = mixed(2000, 94_000_000);
  const expected = stored(...mail);
  for (const kind of KINDS) {
    const dovecot = await startDovecot({ users: { taro: { password: PASSWORD, messages: mail } } });
    try {
      await withSandbox((sandbox) => fetchMany(sandbox, dovecot, kind, expected));
    } finally {
      await dovecot.close();
    }
  }
}

async function fetchMany(
  sandbox: Sandbox,
  dovecot: Dovecot,
  kind: Kind,
  expected: readonly string[],
): Promise<void> {
  const deliver = DESTINATIONS[kind];
  const path = sandbox.path('box');
  await sandbox.writeConfig({ accounts: { work: accountOf(tlsOf(dovecot), { deliver }) } });
  const first = await quiet(sandbox);
  check(same(await contentOf(kind, path), expected), `${kind}: octet for octet, each once`);
  const second = await quiet(sandbox);
  await sandbox.writeConfig({
    accounts: { work: accountOf(tlsOf(dovecot), { deliver, delete: 'delivered' }) },
  });
  const removal = await quiet(sandbox);
  check((await dovecot.mailbox('taro')).length === 0, 'the mailbox is empty');
  const third = await quiet(sandbox);
  check(same(await contentOf(kind, path), expected), `${kind}: nothing doubled`);
  const rate = (94 / (first.elapsed / 1000)).toFixed(0);
  say(
    `2,000 messages of 94 MB, Dovecot, TLS, ${kind}: fetch`,
    seconds(first.elapsed),
    `${rate} MB/s`,
    memory(first.peak),
  );
  say('  again, nothing new', seconds(second.elapsed));
  say('  with delete: delivered, all removed', seconds(removal.elapsed));
  say('  again, nothing there', seconds(third.elapsed));
}

/** Eight accounts behind a line of 20 ms each way, against one of them: with what a poll brings, and with more. */
async function parallel(): Promise<void> {
  const users = Array.from({ length: 8 }, (_, index) => `user${index}`);
  for (const [count, octets] of [
    [5, 50_000],
    [50, 1_000_000],
  ] as const) {
    const messages = mixed(count, octets);
    const accounts = Object.fromEntries(users.map((user) => [user, { password: PASSWORD, messages }]));
    const server = await startServer({ accounts, tls: 'implicit' });
    const dovecot = await startDovecot({ users: accounts });
    try {
      const far = { users, expected: stored(...messages) };
      await atOnce('the test server', { host: server.host, port: server.port, ca: server.ca }, far);
      await atOnce('Dovecot', { host: dovecot.host, ...tlsOf(dovecot) }, far);
    } finally {
      await server.close();
      await dovecot.close();
    }
  }
}

/** The medians of five runs for one and for all, each in a home of its own. */
async function atOnce(
  name: string,
  target: Target & { readonly host: string },
  { users, expected }: { readonly users: readonly string[]; readonly expected: readonly string[] },
): Promise<void> {
  const proxy = await startProxy(target, 20);
  const run = (chosen: readonly string[]): Promise<number> =>
    withSandbox(async (sandbox) => {
      const fields = (user: string): object => ({ user, deliver: { maildir: `~/${user}` } });
      const named = chosen.map((user) => [user, accountOf({ ...target, port: proxy.port }, fields(user))]);
      await sandbox.writeConfig({ accounts: Object.fromEntries(named) as object });
      const { elapsed } = await quiet(sandbox, ['--parallel', '8'], false);
      for (const user of chosen) {
        check(
          same(await contentOf('maildir', sandbox.path(user)), expected),
          `${user} has its mail, each once`,
        );
      }
      return elapsed;
    });
  const [one, eight]: [number[], number[]] = [[], []];
  for (let round = 0; round < 5; round += 1) {
    one.push(await run(users.slice(0, 1)));
    eight.push(await run(users));
  }
  await proxy.close();
  const ratio = (median(eight) / median(one)).toFixed(2);
  say(`one account, ${expected.length} messages, 20 ms each way, TLS, ${name}`, seconds(median(one)));
  say('  eight accounts at once', seconds(median(eight)), `ratio ${ratio}`);
}

/** One message of 300 MB. */
async function large(): Promise<void> {
  const message = huge(300_000_000);
  const accounts = { taro: { password: PASSWORD, messages: [message] } };
  const server = await startServer({ accounts, tls: 'implicit' });
  try {
    for (const kind of KINDS) await fetchLarge('the test server', server, kind, message);
  } finally {
    await server.close();
  }
  const users = { taro: { password: PASSWORD, messages: [await whole(message)] } };
  const dovecot = await startDovecot({ users });
  try {
    for (const kind of KINDS) await fetchLarge('Dovecot', tlsOf(dovecot), kind, message);
  } finally {
    await dovecot.close();
  }
}

async function whole(message: MessageSource): Promise<Buffer> {
  if ('data' in message) return message.data;
  const pieces: Buffer[] = [];
  for await (const piece of message.generate()) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function fetchLarge(name: string, target: Target, kind: Kind, message: MessageSource): Promise<void> {
  await withSandbox(async (sandbox) => {
    const deliver = DESTINATIONS[kind];
    await sandbox.writeConfig({ accounts: { work: accountOf(target, { deliver, maxSize: '1GiB' }) } });
    const { elapsed, peak } = await quiet(sandbox);
    const expected = await digestOf(message);
    const path = sandbox.path('box');
    const got = kind === 'mbox' ? await mboxDigest(path, expected.length) : await maildirDigest(path);
    check(got.sha256 === expected.sha256, `${kind}: octet for octet`);
    check(peak < 120 * MIB, `peak memory below 120 MiB, not ${peak}`);
    say(`one message of 300 MB, ${name}, TLS, ${kind}`, seconds(elapsed), memory(peak));
  });
}

/** How long it takes to find out that there is nothing to do. */
async function start(): Promise<void> {
  const dovecot = await startDovecot({
    users: { taro: { password: PASSWORD, messages: mixed(100, 1_000_000) } },
  });
  try {
    await withSandbox(async (sandbox) => {
      const account = accountOf(tlsOf(dovecot), { deliver: DESTINATIONS.maildir });
      await sandbox.writeConfig({ accounts: { work: account } });
      await quiet(sandbox);
      const repeated = async (args: readonly string[]): Promise<string> => {
        const figures: number[] = [];
        for (let round = 0; round < 15; round += 1) figures.push((await quiet(sandbox, args, false)).elapsed);
        return `${median(figures).toFixed(0)} ms`;
      };
      say('popfetch --version', await repeated(['--version']));
      say('popfetch with nothing new, Dovecot, TLS', await repeated([]));
    });
  } finally {
    await dovecot.close();
  }
}

const PARTS = { many, parallel, large, start } as const;
const chosen = process.argv.slice(2);
for (const [name, part] of Object.entries(PARTS)) {
  if (chosen.length === 0 || chosen.includes(name)) await part();
}
await removeCertificates(await certificates());
