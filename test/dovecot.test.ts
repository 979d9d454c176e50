/** The real command against a real Dovecot. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findDovecot, startDovecot, type Dovecot } from './support/dovecot.js';
import { toLf } from './support/messages.js';
import { mixed } from './support/mixed.js';
import { Sandbox } from './support/sandbox.js';
import { maildirLeftovers, maildirMessages, mboxMessages } from './support/stored.js';

const MAIL = mixed(60, 2_800_000, 7);

/** The messages as they are to be stored, in an order of their own. */
const STORED = sorted(MAIL.map(toLf));

function sorted(messages: readonly Buffer[]): string[] {
  return messages.map((data) => data.toString('latin1')).sort();
}

describe.skipIf(findDovecot() === undefined)('with Dovecot', () => {
  let dovecot: Dovecot;
  let sandbox: Sandbox;

  beforeEach(async () => {
    sandbox = await Sandbox.create();
    sandbox.secrets.keepSecret('two words');
    dovecot = await startDovecot({ apop: true, users: { taro: { password: 'two words', messages: MAIL } } });
  });
  afterEach(async () => {
    await sandbox.remove();
    await dovecot.close();
  });

  type Way = 'implicit' | 'starttls' | 'none';

  async function configure(way: Way, fields: object): Promise<void> {
    const port = way === 'implicit' ? dovecot.tlsPort : dovecot.plainPort;
    const tls = way === 'none' ? way : { mode: way, ca: dovecot.ca };
    const account = { host: 'localhost', port, tls, user: 'taro', password: 'two words', ...fields };
    await sandbox.writeConfig({ accounts: { work: account } });
  }

  /** Exit status and all that was printed. */
  async function popfetch(...args: string[]): Promise<[number | null, string, string]> {
    const { code, stdout, stderr } = await sandbox.run(args);
    return [code, stdout.toString(), stderr];
  }

  const QUIET = [0, '', ''];

  describe.each<Way>(['implicit', 'starttls', 'none'])('tls: %s', (way) => {
    it('every octet arrives in a Maildir, once, and the second run changes nothing', async () => {
      await configure(way, { deliver: { maildir: '~/Mail' } });
      expect(await popfetch()).toEqual(QUIET);
      const first = await maildirMessages(sandbox.path('Mail'));
      expect(sorted(first.map(({ data }) => data))).toEqual(STORED);
      expect(await popfetch()).toEqual(QUIET);
      expect((await maildirMessages(sandbox.path('Mail'))).map(({ name }) => name)).toEqual(
        first.map(({ name }) => name),
      );
      expect(await maildirLeftovers(sandbox.path('Mail'))).toEqual([]);
    });

    it('every octet arrives in an mbox, the mailbox is empty afterwards, and a third run is quiet', async () => {
      await configure(way, { deliver: { mbox: '~/mbox' }, delete: 'delivered' });
      expect(await popfetch()).toEqual(QUIET);
      expect(await dovecot.mailbox('taro')).toEqual([]);
      expect(await popfetch()).toEqual(QUIET);
      expect(await popfetch()).toEqual(QUIET);
      const stored = await mboxMessages(sandbox.path('mbox'));
      expect(sorted(stored.map(({ data }) => data))).toEqual(STORED);
    });
  });

  it.each(['auto', 'user', 'plain', 'apop'])('auth: %s logs in', async (auth) => {
    await configure('implicit', { auth, limit: 1, deliver: { maildir: '~/Mail' } });
    expect(await popfetch()).toEqual(QUIET);
    expect(await maildirMessages(sandbox.path('Mail'))).toHaveLength(1);
  });

  it('a wrong password ends in 77, with the words of the server', async () => {
    await configure('implicit', { password: 'wrong', deliver: { maildir: '~/Mail' } });
    expect(await popfetch()).toEqual([
      77,
      '',
      'popfetch: work: login: the server refused the login: "[AUTH] Authentication failed."; check user and password\n',
    ]);
  });

  it('show gives a message octet for octet and list knows them all, and neither is taken for a wish to delete', async () => {
    await configure('starttls', { deliver: { maildir: '~/Mail' } });
    const [code, stdout] = await popfetch('list', '--json');
    expect(code).toBe(0);
    const { accounts } = JSON.parse(stdout) as { accounts: { messages: { number: number }[] }[] };
    expect(accounts[0]!.messages.map(({ number }) => number)).toEqual(MAIL.map((_, index) => index + 1));
    const shown = await sandbox.run(['show', '1']);
    expect(STORED).toContain(shown.stdout.toString('latin1'));
    expect(await dovecot.mailbox('taro')).toHaveLength(MAIL.length);
  });

  it('check finds nothing wrong', async () => {
    await configure('implicit', { deliver: { maildir: '~/Mail' } });
    const [code, stdout] = await popfetch('check');
    expect(stdout).not.toMatch(/FAIL/);
    expect(code).toBe(0);
  });
});
