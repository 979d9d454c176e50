import { afterAll, beforeAll, expect, it } from 'vitest';
import { mask, maskedYaml } from '../src/config/print.js';
import { ConfigHome } from './support/config-file.js';

let home: ConfigHome;
beforeAll(async () => {
  home = await ConfigHome.create();
});
afterAll(() => home.remove());

const TEXT = `parallel: 2
defaults: {user: taro, maxSize: 1000001}
accounts:
  work:
    host: pop.example.com
    password: hunter2
    deliver: {maildir: ~/Mail/work}
  "no":
    host: localhost
    port: 1110
    tls: {mode: starttls, pin: "sha256:${'AB'.repeat(32)}", servername: "null"}
    password: {command: [pass, show, "a: b"]}
    deliver:
      - {mbox: inbox}
      - stdout
      - {command: [maildrop, -d, "a: b"]}
      - {lmtp: "[::1]:24", recipient: taro}
      - {lmtp: ./lmtp, recipient: [taro, hanako]}
    rejected: refused
    delete: 30d
    identity: hash
    timeout: {session: 90m, deliver: 90s}
`;

it('a config is printed as it was resolved, its passwords masked', async () => {
  expect(await maskedYaml(await home.load(TEXT))).toBe(`parallel: 2
accounts:
  work:
    host: pop.example.com
    port: 995
    tls:
      mode: implicit
      minVersion: TLSv1.2
    user: taro
    password: '********'
    auth: auto
    insecure: false
    deliver:
      maildir: ${home.path('Mail/work')}
    delete: never
    limit: 0
    maxSize: 1000001B
    order: oldest
    eol: lf
    identity: uidl
    timeout:
      connect: 30s
      reply: 60s
      idle: 60s
      session: 60m
      deliver: 5m
    disabled: false
  no:
    host: localhost
    port: 1110
    tls:
      mode: starttls
      minVersion: TLSv1.2
      pin:
        - sha256:${'ab'.repeat(32)}
      servername: 'null'
    user: taro
    password:
      command:
        - pass
        - show
        - 'a: b'
    auth: auto
    insecure: false
    deliver:
      - mbox: ${home.path('inbox')}
      - stdout
      - command:
          - maildrop
          - -d
          - 'a: b'
      - lmtp: '[::1]:24'
        recipient: taro
      - lmtp: ${home.path('lmtp')}
        recipient:
          - taro
          - hanako
    rejected: ${home.path('refused')}
    delete: 30d
    limit: 0
    maxSize: 1000001B
    order: oldest
    eol: lf
    identity: hash
    timeout:
      connect: 30s
      reply: 60s
      idle: 60s
      session: 90m
      deliver: 90s
    disabled: false
`);
});

it('what is printed loads to the same config again, apart from the masked passwords', async () => {
  const config = await home.load(TEXT);
  const again = await home.load(await maskedYaml(config), 'again.yaml');
  const accounts = config.accounts.map((account) =>
    account.password !== undefined && 'value' in account.password
      ? { ...account, password: { value: '********' } }
      : account,
  );
  expect(again).toEqual({ ...config, accounts, file: again.file });
});

it('the masked config is plain data for JSON too', async () => {
  const masked = mask(await home.load(TEXT));
  expect(JSON.parse(JSON.stringify(masked))).toEqual(masked);
  expect(JSON.stringify(masked)).not.toContain('hunter2');
});

it.each([{ env: 'PW' }, { keyring: true }, { netrc: true }, { credential: 'work' }])(
  'where a password comes from is shown: %j',
  async (password) => {
    const account = { host: 'h', user: 'u', password, deliver: 'stdout' };
    const masked = mask(await home.load(JSON.stringify({ accounts: { work: account } }), 'c.json'));
    expect(masked).toMatchObject({ accounts: { work: { password } } });
  },
);

it('an account without a password is printed without one', async () => {
  const config = await home.load('accounts:\n  work: {host: h, user: u, deliver: stdout}\n');
  expect(await maskedYaml(config)).not.toContain('password');
});
