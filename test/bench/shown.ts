/**
 * `npm run bench`: what the README promises, measured. Needs Dovecot. Every figure is checked before it is printed:
 * all messages there, each once, octet for octet.
 */
import { startDovecot } from '../support/dovecot.js';
import { huge } from '../support/messages.js';
import { mixed } from '../support/mixed.js';
import { startProxy } from '../support/proxy.js';
import { Sandbox } from '../support/sandbox.js';
import { startServer } from '../support/server.js';
import { maildirMessages, mboxMessages } from '../support/stored.js';

const MIB = 1024 * 1024;

function check(isSo: boolean, what: string): void {
  if (!isSo) throw new Error(`not so: ${what}`);
}

function say(what: string, figure: string): void {
  process.stdout.write(`${what.padEnd(58)} ${figure}\n`);
}

const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`;

/** Runs popfetch to a quiet end. @returns milliseconds, and the peak of memory in octets */
async function quiet(sandbox: Sandbox, ...args: string[]): Promise<{ elapsed: number; peak: number }> {
  const run = await sandbox.run(args, { measure: true, timeout: 300_000 });
  check(run.code === 0 && run.stderr === '', `popfetch ${args.join(' ')}: ${run.stderr}`);
  return { elapsed: run.elapsed, peak: run.peakMemory ?? 0 };
}

function sorted(messages: readonly Buffer[]): string {
  return messages
    .map((data) => data.toString('latin1'))
    .sort()
    .join('\0');
}

/** 2,000 mixed messages of 94 MB from Dovecot. */
async function many(): Promise<void> {
  const mail = mixed(2000, 94_000_000);
  const expected = sorted(
    mail.map((data) => Buffer.from(data.toString('latin1').replaceAll('\r\n', '\n'), 'latin1')),
  );
  for (const [kind, deliver] of Object.entries({
    maildir: { maildir: '~/Mail' },
    mbox: { mbox: '~/mbox' },
  })) {
    const dovecot = await startDovecot({ users: { taro: { password: 'pw', messages: mail } } });
    const sandbox = await Sandbox.create();
    try {
      const fields = {
        host: 'localhost',
        port: dovecot.tlsPort,
        tls: { ca: dovecot.ca },
        user: 'taro',
        password: 'pw',
      };
      await sandbox.writeConfig({ accounts: { work: { ...fields, deliver } } });
      const first = await quiet(sandbox);
      const stored = async (): Promise<string> =>
        sorted(
          (kind === 'mbox'
            ? await mboxMessages(sandbox.path('mbox'))
            : await maildirMessages(sandbox.path('Mail'))
          ).map(({ data }) => data),
        );
      check((await stored()) === expected, `${kind}: octet for octet, each once`);
      const second = await quiet(sandbox);
      await sandbox.writeConfig({ accounts: { work: { ...fields, deliver, delete: 'delivered' } } });
      const removal = await quiet(sandbox);
      check((await dovecot.mailbox('taro')).length === 0, 'the mailbox is empty');
      await quiet(sandbox);
      check((await stored()) === expected, `${kind}: nothing doubled`);
      say(
        `2,000 messages, 94 MB, TLS, ${kind}: fetch`,
        `${seconds(first.elapsed)}, ${Math.round(first.peak / MIB)} MiB`,
      );
      say(`  again, nothing new`, seconds(second.elapsed));
      say(`  with delete: delivered, all removed`, seconds(removal.elapsed));
    } finally {
      await sandbox.remove();
      await dovecot.close();
    }
  }
}

/** Eight accounts behind a line of 20 ms each way, against a ninth alone. */
async function parallel(): Promise<void> {
  const users = Array.from({ length: 9 }, (_, index) => `user${index}`);
  const messages = mixed(20, 200_000);
  const accounts = Object.fromEntries(users.map((user) => [user, { password: 'pw', messages }]));
  const server = await startServer({ accounts, tls: 'implicit' });
  const proxy = await startProxy(server, 20);
  const sandbox = await Sandbox.create();
  try {
    const account = (user: string): object => ({
      ...{ host: 'localhost', port: proxy.port, tls: { ca: server.ca }, user, password: 'pw' },
      deliver: { maildir: `~/Mail/${user}` },
    });
    const [first = '', ...others] = users;
    await sandbox.writeConfig({ accounts: Object.fromEntries(users.map((user) => [user, account(user)])) });
    const one = await quiet(sandbox, '-a', first);
    const eight = await quiet(sandbox, '--parallel', '8', ...others.flatMap((user) => ['-a', user]));
    for (const user of users) {
      check(
        (await maildirMessages(sandbox.path('Mail', user))).length === messages.length,
        `${user} has its mail`,
      );
    }
    say('one account, 20 messages, 20 ms each way', seconds(one.elapsed));
    say('eight accounts at once', seconds(eight.elapsed));
    say('  ratio', (eight.elapsed / one.elapsed).toFixed(2));
  } finally {
    await sandbox.remove();
    await proxy.close();
    await server.close();
  }
}

/** One message of 300 MB. */
async function large(): Promise<void> {
  const octets = 300_000_000;
  const server = await startServer({
    accounts: { taro: { password: 'pw', messages: [huge(octets)] } },
    tls: 'implicit',
  });
  try {
    for (const [kind, deliver] of Object.entries({
      maildir: { maildir: '~/Mail' },
      mbox: { mbox: '~/mbox' },
    })) {
      const sandbox = await Sandbox.create();
      const fields = {
        host: 'localhost',
        port: server.port,
        tls: { ca: server.ca },
        user: 'taro',
        password: 'pw',
      };
      await sandbox.writeConfig({ accounts: { work: { ...fields, deliver, maxSize: '1GiB' } } });
      const { elapsed, peak } = await quiet(sandbox);
      const stored =
        kind === 'mbox' ? mboxMessages(sandbox.path('mbox')) : maildirMessages(sandbox.path('Mail'));
      check((await stored)[0]!.data.length > 0.98 * octets * (66 / 67), 'it is there');
      check(peak < 120 * MIB, `peak memory below 120 MiB, not ${peak}`);
      say(`one message of 300 MB, TLS, ${kind}`, `${seconds(elapsed)}, ${Math.round(peak / MIB)} MiB`);
      await sandbox.remove();
    }
  } finally {
    await server.close();
  }
}

await many();
await parallel();
await large();
