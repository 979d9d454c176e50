/** The command itself, logging in by mechanisms that send no password, and with a token: nothing of either gets out. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { formsOfSecret, PASSWORD, reach, World } from '../support/e2e.js';
import { plain } from '../support/messages.js';
import { challenge, saslServer, type SaslOptions } from '../support/sasl.js';
import type { TestServer } from '../support/server.js';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

const TOKEN = 'ya29.a0AfB_byC-canary~token/+==';
const OAUTH2 = { password: undefined, oauth2: { command: ['printf', '%s', TOKEN] } };

const serve = (mechanisms: string, sasl: SaslOptions = {}): Promise<TestServer> =>
  world.serve(
    { taro: [plain(1)] },
    {
      capa: ['USER', 'UIDL', 'TOP', `SASL ${mechanisms}`],
      overrides: { AUTH: saslServer({ tokens: { taro: TOKEN }, ...sasl }) },
    },
  );

/** Runs it with everything that can be asked for to be shown. */
async function run(...args: string[]): Promise<{ code: number | null; shown: string }> {
  const { code, stdout, stderr } = await world.popfetch(...args, '-vvv', '--trace', 'talk.log');
  const trace = await readFile(join(world.sandbox.work, 'talk.log'), 'utf8');
  return { code, shown: stdout + stderr + trace };
}

test.each(['cram-md5', 'scram-sha-1', 'scram-sha-256', 'login', 'auto'])(
  'auth: %s fetches, and what was said is in no output [30]',
  async (auth) => {
    const server = await serve('LOGIN PLAIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256');
    await world.configure({ work: reach(server, { auth }) });
    const { code, shown } = await run();
    expect(code).toBe(0);
    const said = server.sessions[0]!.received.filter((line) => /^[A-Za-z0-9+/=]{12,}$/.test(line));
    expect(said.length).toBeGreaterThan(0);
    for (const line of said) expect(shown).not.toContain(line);
    expect(await world.maildir('work')).toHaveLength(1);
  },
);

test.each(['auto', 'xoauth2', 'oauthbearer'])(
  'auth: %s fetches with the token that a program prints, and the token is in no output [30]',
  async (auth) => {
    const server = await serve('PLAIN XOAUTH2 OAUTHBEARER');
    await world.configure({ work: reach(server, { ...OAUTH2, auth }) });
    const { code, shown } = await run();
    expect(code).toBe(0);
    for (const form of formsOfSecret(TOKEN)) expect(shown).not.toContain(form);
    expect(await world.maildir('work')).toHaveLength(1);
  },
);

test('a token that is refused ends in 77 with what to do, and the JSON of the server is in no output [32]', async () => {
  const problem = JSON.stringify({ status: 'invalid_token', scope: `canary ${TOKEN}` });
  const server = await serve('XOAUTH2 OAUTHBEARER', { tokens: {}, problem });
  await world.configure({ work: reach(server, OAUTH2) });
  for (const args of [[], ['check'], ['--json']]) {
    const { code, shown } = await run(...args);
    expect(code).toBe(77);
    expect(shown).toContain('the access token has expired, was withdrawn or is not valid');
    for (const piece of [...formsOfSecret(TOKEN), 'canary', challenge(problem).slice(2, 30)])
      expect(shown).not.toContain(piece);
  }
});

test('a server that does not prove itself ends in 76, and is not asked for mail [31]', async () => {
  const server = await serve('PLAIN SCRAM-SHA-256', { final: () => 'in' });
  await world.configure({ work: reach(server, { delete: 'delivered' }) });
  const { code, shown } = await run();
  expect(code).toBe(76);
  expect(shown).toContain('login: the server did not prove that it knows the password');
  expect(server.sessions[0]!.received.map((line) => line.split(' ')[0]).slice(0, 2)).toEqual([
    'CAPA',
    'AUTH',
  ]);
  expect(server.sessions[0]!.received).toHaveLength(3);
  expect(formsOfSecret(PASSWORD).filter((form) => shown.includes(form))).toEqual([]);
});

test('a password beyond ASCII is prepared as SASLprep says', async () => {
  const server = await serve('SCRAM-SHA-256');
  // A soft hyphen, which nobody sees, is left out.
  await world.configure({ work: reach(server, { password: `${PASSWORD}\u00ad` }) });
  expect(await world.popfetch()).toEqual({ code: 0, stdout: '', stderr: '' });
});

test('check says what is offered, what is used, and why', async () => {
  const server = await serve('PLAIN X\x1bEVIL SCRAM-SHA-1');
  const OFFERED = 'PLAIN X\\x1bEVIL SCRAM-SHA-1\n';
  for (const [auth, sentence] of [
    ['auto', `as taro by SCRAM-SHA-1, the strongest of what is offered: ${OFFERED}`],
    ['plain', `as taro by PLAIN, as auth says; offered: ${OFFERED}`],
  ] as const) {
    await world.configure({ work: reach(server, { auth }) });
    expect((await world.popfetch('check')).stdout).toContain(sentence);
  }
});
