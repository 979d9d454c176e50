/** Logins over a connection, with servers that are honest, odd, or not what they say. */
import { afterEach, describe, expect, it } from 'vitest';
import type { Credentials } from '../../src/pop3/client.js';
import { COMMAND, SASL_LINE } from '../../src/wire/limits.js';
import { attempt, type Attempt } from '../support/login.js';
import { plain } from '../support/messages.js';
import { challenge, saslServer, type SaslOptions } from '../support/sasl.js';
import type { Override } from '../support/session.js';
import type { ServerOptions } from '../support/server.js';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const TOKEN = 'ya29.secret-token';
const tokens = { taro: TOKEN };
const ALL = ['plain', 'login', 'cram-md5', 'scram-sha-1', 'scram-sha-256', 'external'] as const;
const BEARER = ['xoauth2', 'oauthbearer'] as const;
const EVERY = [...ALL, ...BEARER];

/** What each method needs to log in. */
function words(method: Credentials['method']): Partial<Credentials> {
  return (BEARER as readonly string[]).includes(method)
    ? { method, password: undefined, token: TOKEN }
    : { method };
}

/** Logs in with the server's side of SASL as told. */
function logIn(
  sasl: SaslOptions,
  credentials: Partial<Credentials>,
  options: Partial<ServerOptions> = {},
): Promise<Attempt> {
  return attempt(ends, { overrides: { AUTH: saslServer({ tokens, ...sasl }) }, ...options }, credentials);
}

/** Logs in to a server that answers AUTH with this, and whatever follows with the lines after it. */
function answered(lines: readonly string[], credentials: Partial<Credentials>): Promise<Attempt> {
  const AUTH: Override = async (session) => {
    for (const line of lines.slice(0, -1)) {
      await session.say(line);
      if ((await session.readLine()) === '*') return '-ERR given up';
    }
    return lines.at(-1);
  };
  return attempt(ends, { overrides: { AUTH } }, credentials);
}

const received = ({ server }: Attempt): string[] => server.sessions[0]!.received;

describe.each(EVERY)('a login by %s', (method) => {
  it('works, and its trace holds nothing of it [30]', async () => {
    const { client, error, trace, server } = await logIn({}, words(method));
    expect(error).toBeUndefined();
    expect(client?.method).toBe(method);
    expect((await client!.list()).messages).toHaveLength(1);
    const sent = server.sessions[0]!.received.filter((line) => !/^(CAPA|STAT|LIST|UIDL)?$/.test(line));
    for (const line of sent) {
      const data = line.replace(/^AUTH \S+ ?/, '');
      if (data.length > 4) expect(trace).not.toContain(data);
    }
    expect(trace).toMatch(/^C AUTH [A-Z0-9-]+( \*{8})?$/m);
  });

  it('works where the server asks for what came with the command', async () => {
    const { client, error } = await logIn({ deaf: true }, words(method));
    expect(error).toBeUndefined();
    expect((await client!.list()).messages).toHaveLength(1);
  });

  it('works with a name and a secret too long for a command, which then has neither [29]', async () => {
    const user = 'u'.repeat(1000);
    const secret = 'p'.repeat(1000);
    const accounts = { [user]: { password: secret, messages: [plain(1)] } };
    const token = words(method).token === undefined ? {} : { token: secret };
    const { client, error, server } = await logIn(
      { tokens: { [user]: secret } },
      { password: secret, ...words(method), ...token, user },
      { accounts },
    );
    expect(error).toBeUndefined();
    expect(client?.method).toBe(method);
    const commands = server.sessions[0]!.received.filter((line) => /^[A-Z]{4}( |$)/.test(line));
    expect(commands).toContain(`AUTH ${method.toUpperCase()}`);
    for (const command of commands) expect(command.length + 2).toBeLessThanOrEqual(COMMAND);
  });

  it('that is refused is a refused login, and is not tried in another way [34]', async () => {
    for (const [text, code] of [
      ['[AUTH] no', 'AUTH'],
      ['[IN-USE] busy', 'BUSY'],
      ['[SYS/TEMP] later', 'BUSY'],
    ] as const) {
      const result = await answered([`-ERR ${text}`], words(method));
      expect(result.error).toMatchObject({ code, phase: 'login', serverText: text });
      expect(received(result).map((line) => line.split(' ', 1)[0])).toEqual(['CAPA', 'AUTH']);
    }
  });

  it('ends with a server that never ends it', async () => {
    const more = challenge('r=again');
    const result = await answered(Array<string>(30).fill(more), words(method));
    expect(result.error).toMatchObject({ code: 'PROTOCOL', phase: 'login' });
    expect(received(result).length).toBeLessThan(12);
    expect(received(result).at(-1)).toBe('*');
  });

  it.each([`+ ${'A'.repeat(SASL_LINE)}`, `+ ${'A'.repeat(200_000)}`])(
    'ends with a challenge that is too long',
    async (line) => {
      const result = await answered([line, '+OK'], words(method));
      expect(result.error).toMatchObject({
        code: 'PROTOCOL',
        phase: 'login',
        message: `the server sent a line of more than ${SASL_LINE} octets`,
      });
    },
  );

  it.each(['what?', '+', '+OKAY', 'OK', '* OK', '334 VXNlcm5hbWU6'])(
    'does not take %j for a verdict or for anything else that lets it in',
    async (line) => {
      const { error, client } = await answered([line, '-ERR no'], words(method));
      expect(client).toBeUndefined();
      expect(['PROTOCOL', 'AUTH']).toContain(error?.code);
    },
  );
});

describe('a login in which the challenge is not base64 is given up with a * [31]', () => {
  it.each(['cram-md5', 'scram-sha-1', 'scram-sha-256', 'xoauth2', 'oauthbearer'] as const)(
    'by %s',
    async (method) => {
      for (const bad of ['+ !!!!', '+ YQ', '+ YQ=== ', '+ =']) {
        const result = await answered([bad, '+OK'], words(method));
        expect(result.error).toMatchObject({
          code: 'PROTOCOL',
          message: 'the server sent a challenge that is not base64',
        });
        expect(received(result).slice(2)).toEqual(['*']);
      }
    },
  );
});

describe.each(['scram-sha-1', 'scram-sha-256'] as const)('%s', (method) => {
  const impostor = {
    code: 'PROTOCOL',
    phase: 'login',
    message: 'the server did not prove that it knows the password',
  };

  it('believes no +OK that comes at once [31]', async () => {
    const result = await answered(['+OK logged in'], { method });
    expect(result.error).toMatchObject(impostor);
    expect(received(result).map((line) => line.split(' ', 1)[0])).toEqual(['CAPA', 'AUTH']);
  });

  it('believes no +OK in place of the signature, and asks for nothing after it [31]', async () => {
    const result = await logIn({ final: () => 'in' }, { method });
    expect(result.error).toMatchObject(impostor);
    expect(result.client).toBeUndefined();
    expect(received(result)).toHaveLength(3);
    expect(result.server.sessions[0]!.quit).toBe(false);
  });

  it('gives up with a * where the signature is wrong, missing or an error that is no error [31]', async () => {
    for (const line of [
      challenge(`v=${'A'.repeat(43)}=`),
      challenge(`v=${'A'.repeat(27)}=`),
      challenge('v='),
      '+ ',
      challenge('hello'),
    ]) {
      const result = await logIn({ final: () => line }, { method });
      expect(result.error?.code).toBe('PROTOCOL');
      expect(result.client).toBeUndefined();
      expect(received(result)[3]).toBe('*');
    }
  });

  it('gives up with a * where nonce or rounds are not what they have to be [31]', async () => {
    for (const change of [
      (text: string) => text.replace(/r=./, 'r=!'),
      (text: string) => text.replace('i=4096', 'i=4095'),
      (text: string) => text.replace('i=4096', 'i=2147483648'),
      (text: string) => text.replace(/^r=[^,]*/, 'r=fyko'),
    ]) {
      const result = await logIn({ first: (text) => challenge(change(text)) }, { method });
      expect(result.error?.code).toBe('PROTOCOL');
      expect(received(result).slice(2)).toEqual(['*']);
    }
  });

  it('takes a * that is not answered for the end all the same [31]', async () => {
    const AUTH: Override = async (session) => {
      await session.say('+ !!!!');
      await session.readLine();
      return 'close';
    };
    const result = await attempt(ends, { overrides: { AUTH } }, { method });
    expect(result.error?.message).toBe('the server sent a challenge that is not base64');
  });

  it('calls a wrong password a refused login', async () => {
    const result = await logIn({}, { method, password: 'wrong' });
    expect(result.error).toMatchObject({
      code: 'AUTH',
      message: 'the server refused the login',
      serverText: '[AUTH] refused',
    });
  });

  it.each([' two  words ', 'ほげ太郎', 'a,b=c', 'p🔑', 'I\u00adX'])(
    'carries the password %j',
    async (password) => {
      const user = 'ta ro, x=1 太郎';
      const accounts = { [user]: { password: password.replace('\u00ad', ''), messages: [plain(1)] } };
      const { error } = await logIn({}, { method, user, password }, { accounts });
      expect(error).toBeUndefined();
    },
  );
});

describe('a server that knows the user and then', () => {
  it.each([
    ['refuses the password', '-ERR no', 'AUTH'],
    ['is silent', 'stall', 'TIMEOUT'],
    ['hangs up', 'close', 'LOST'],
    ['asks for more', '+ more', 'PROTOCOL'],
  ] as const)('%s gets it in no other way [34]', async (_, PASS, code) => {
    const capa = ['USER', 'SASL XOAUTH2 CRAM-MD5'];
    const result = await attempt(ends, { capa, apop: '<1@a>', overrides: { PASS } }, {}, 300);
    expect(result.error).toMatchObject({ code, phase: 'login' });
    expect(received(result)).toEqual(['CAPA', 'USER taro', 'PASS himitsu']);
    expect(result.server.sessions).toHaveLength(1);
  });
});

it.each(['plain', 'login', 'cram-md5', 'scram-sha-256', 'xoauth2'] as const)(
  'a server that is silent after AUTH is given up, and %s is tried no second time [34]',
  async (method) => {
    const result = await attempt(ends, { overrides: { AUTH: 'stall' } }, words(method), 300);
    expect(result.error).toMatchObject({ code: 'TIMEOUT', phase: 'login' });
    expect(result.server.sessions).toHaveLength(1);
    expect(result.server.sessions[0]!.verbs).toEqual(['CAPA', 'AUTH']);
  },
);

it('APOP cannot carry a name with a blank, and says so before it says anything [29]', async () => {
  const result = await attempt(ends, { apop: '<1@a>' }, { user: 'ta ro', method: 'apop' });
  expect(result.error).toMatchObject({
    code: 'AUTH',
    message: 'APOP cannot carry a user name with a blank in it',
  });
  expect(received(result)).toEqual(['CAPA']);
});

describe('a token that is refused', () => {
  const problem = `{"status":"invalid_token","scope":"${TOKEN} \\u001b[2J canary"}`;

  it.each([
    ['oauthbearer', 'AQ=='],
    ['xoauth2', ''],
  ] as const)(
    'by %s is explained, the verdict is waited for, and the JSON is nowhere [32]',
    async (method, dummy) => {
      const result = await logIn({ problem, tokens: {} }, words(method));
      expect(received(result).slice(2)).toEqual([dummy]);
      expect(result.error).toMatchObject({
        code: 'AUTH',
        message: 'the access token has expired, was withdrawn or is not valid',
        remedy: 'oauth2.command must print a token that is still valid, for this user',
        serverText: '[AUTH] no such token',
      });
      const seen = `${result.trace}\n${result.error!.stack!}\n${JSON.stringify(result.error)}`;
      for (const piece of ['canary', 'invalid_token', challenge(problem).slice(2, 40), TOKEN])
        expect(seen).not.toContain(piece);
      expect(result.trace).toMatch(/^S \+ \[\d+ octets\]$/m);
    },
  );

  it('is explained even where the server gives no reason [32]', async () => {
    const result = await answered(['-ERR [AUTH] no'], words('xoauth2'));
    expect(result.error).toMatchObject({ code: 'AUTH', message: 'the server refused the access token' });
  });

  it('and then let in after all is not believed [32]', async () => {
    for (const method of BEARER) {
      const result = await answered([challenge(problem), '+OK'], words(method));
      expect(result.error).toMatchObject({ code: 'PROTOCOL' });
    }
  });
});

describe('what a server repeats of a secret', () => {
  it.each(EVERY)('after a login by %s is masked, however it is wrapped [30]', async (method) => {
    const secret = words(method).token ?? 'himitsu';
    const AUTH: Override = async (session, [, initial = '']) => {
      const heard = [initial];
      for (const line of [
        '+ ',
        challenge(`r=${Buffer.from(initial, 'base64').toString().split('r=')[1] ?? ''}x,s=AAAA,i=4096`),
      ]) {
        await session.say(line);
        heard.push((await session.readLine()) ?? '');
      }
      const texts = heard.map((line) => Buffer.from(line, 'base64').toString('latin1'));
      const proofs = texts.flatMap((text) => [
        /p=(.*)$/.exec(text)?.[1] ?? '',
        / ([0-9a-f]{32})$/.exec(text)?.[1] ?? '',
      ]);
      const inside = [0, 1, 2].map((before) =>
        Buffer.from(`${'x'.repeat(before)}${secret}y`).toString('base64'),
      );
      return `-ERR ${[...heard, ...proofs, ...inside].filter((each) => each.length > 6).join(' and ')}`;
    };
    const result = await attempt(ends, { overrides: { AUTH } }, words(method));
    const seen = `${result.trace}\n${result.error!.serverText ?? ''}\n${result.error!.stack!}`;
    const core = [0, 1, 2].map((before) =>
      Buffer.from(`${'x'.repeat(before)}${secret}`)
        .toString('base64')
        .replace(/=+$/, '')
        .slice(before === 0 ? 0 : before + 1, -1),
    );
    const said = received(result)
      .slice(2)
      .filter((line) => line.length > 6 && line !== '*');
    for (const piece of [secret, ...core, ...said]) expect(seen).not.toContain(piece);
  });
});
