/** The SASL mechanisms by themselves: the examples of the RFCs, and what each refuses. */
import { describe, expect, it } from 'vitest';
import { oauthBearer, xoauth2 } from '../src/pop3/sasl/bearer.js';
import type { Mechanism } from '../src/pop3/sasl/mechanism.js';
import { mechanismFor } from '../src/pop3/sasl/mechanisms.js';
import { prepared } from '../src/pop3/sasl/prepare.js';
import { scram, type ScramOptions } from '../src/pop3/sasl/scram.js';
import { cramMd5, external, login, plain } from '../src/pop3/sasl/simple.js';
import type { PopfetchError } from '../src/errors.js';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** The answer to a challenge that is given as text. */
async function answer(mechanism: Mechanism, challenge: string): Promise<string> {
  return (await mechanism.answer(base64(challenge))).toString();
}

/** What it comes to where it must not work out. */
async function failure(work: () => unknown): Promise<PopfetchError> {
  try {
    await work();
  } catch (error) {
    return error as PopfetchError;
  }
  throw new Error('it did not fail');
}

describe('PLAIN', () => {
  it('says what the first example of RFC 4616 section 4 says', () => {
    expect(plain('tim', 'tanstaaftanstaaf')).toMatchObject({
      name: 'PLAIN',
      initial: Buffer.from('\0tim\0tanstaaftanstaaf'),
    });
  });

  it('answers once where the server asks all the same, whatever it asks, and not twice', async () => {
    const mechanism = plain('tim', 'secret');
    expect(await mechanism.answer('go ahead')).toEqual(Buffer.from('\0tim\0secret'));
    expect(await failure(() => mechanism.answer(''))).toMatchObject({ code: 'PROTOCOL', phase: 'login' });
  });
});

describe('EXTERNAL', () => {
  it('says the name and nothing else', () => {
    expect(external('太郎')).toMatchObject({ name: 'EXTERNAL', initial: Buffer.from('太郎') });
  });
});

describe('LOGIN', () => {
  it.each([
    ['Username:', 'Password:'],
    ['User Name\0', 'Password\0'],
    ['', ''],
  ])('answers %j and %j with user and password, and nothing after', async (first, second) => {
    const mechanism = login('ta ro', ' ほげ ');
    expect(mechanism.initial).toBeUndefined();
    expect(await answer(mechanism, first)).toBe('ta ro');
    expect(await answer(mechanism, second)).toBe(' ほげ ');
    expect(await failure(() => answer(mechanism, 'Really?'))).toMatchObject({ code: 'PROTOCOL' });
  });
});

describe('CRAM-MD5', () => {
  it('is the example of RFC 2195 section 2', async () => {
    const mechanism = cramMd5('tim', 'tanstaaftanstaaf');
    expect(mechanism.initial).toBeUndefined();
    expect(await answer(mechanism, '<1896.697170952@postoffice.reston.mci.net>')).toBe(
      'tim b913a602c7eda7a495b4e6e7334d3890',
    );
    expect(mechanism.secrets).toEqual(['b913a602c7eda7a495b4e6e7334d3890']);
  });

  it.each(['', '!!!!', 'PDE+=', 'PDE', '= ='])('does not answer the challenge %j', async (challenge) => {
    expect(await failure(() => cramMd5('tim', 'secret').answer(challenge))).toMatchObject({
      code: 'PROTOCOL',
    });
  });

  it('answers one challenge', async () => {
    const mechanism = cramMd5('tim', 'secret');
    await answer(mechanism, '<1@a>');
    expect(await failure(() => answer(mechanism, '<2@a>'))).toMatchObject({ code: 'PROTOCOL' });
  });
});

describe('SCRAM', () => {
  const RFC_5802 = {
    options: { hash: 'sha1', nonce: 'fyko+d2lbbFgONRv9qkxdawL' },
    first: 'n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL',
    serverFirst: 'r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096',
    final: 'c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    serverFinal: 'v=rmF9pqV8S7suAoZWja4dJRkFsKQ=',
  } as const;
  const RFC_7677 = {
    options: { hash: 'sha256', nonce: 'rOprNGfwEbeRWgbNEkqO' },
    first: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
    serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    final:
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  } as const;

  const made = (options: Partial<ScramOptions> = {}): Promise<Mechanism> =>
    scram({ user: 'user', password: 'pencil', binding: 'n', ...RFC_5802.options, ...options });

  it.each([
    ['RFC 5802 section 5', RFC_5802],
    ['RFC 7677 section 3', RFC_7677],
  ])('is the example of %s', async (_, { options, first, serverFirst, final, serverFinal }) => {
    const mechanism = await made(options);
    expect(mechanism.initial?.toString()).toBe(first);
    expect(await answer(mechanism, serverFirst)).toBe(final);
    expect(mechanism.secrets).toEqual([final.slice(final.indexOf('p=') + 2)]);
    expect(await answer(mechanism, serverFinal)).toBe('');
    mechanism.finish();
  });

  it('goes by the name of its hash, and is PLUS where it binds [16]', async () => {
    const binding = { type: 'tls-exporter', data: Buffer.from('bound') } as const;
    expect((await made({ hash: 'sha1' })).name).toBe('SCRAM-SHA-1');
    expect((await made({ hash: 'sha256', binding: 'y' })).name).toBe('SCRAM-SHA-256');
    expect((await made({ hash: 'sha256', binding })).name).toBe('SCRAM-SHA-256-PLUS');
  });

  it.each([
    ['n', 'n,,', 'n,,'],
    ['y', 'y,,', 'y,,'],
    [{ type: 'tls-exporter', data: Buffer.from('ab') }, 'p=tls-exporter,,', 'p=tls-exporter,,ab'],
    [
      { type: 'tls-server-end-point', data: Buffer.from('ab') },
      'p=tls-server-end-point,,',
      'p=tls-server-end-point,,ab',
    ],
  ] as const)(
    'says %o of binding twice, the second time under its proof [16]',
    async (binding, flag, bound) => {
      const mechanism = await made({ binding });
      expect(mechanism.initial?.toString()).toBe(`${flag}n=user,r=${RFC_5802.options.nonce}`);
      expect(await answer(mechanism, RFC_5802.serverFirst)).toMatch(`c=${base64(bound)},r=`);
    },
  );

  it('takes a nonce of its own every time, which a server cannot know before', async () => {
    const nonces = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { initial } = await scram({ hash: 'sha1', user: 'u', password: 'p', binding: 'n' });
        return /^n,,n=u,r=([!-+\--~]{24,})$/.exec(initial!.toString())?.[1];
      }),
    );
    expect(new Set(nonces).size).toBe(20);
    expect(nonces).not.toContain(undefined);
  });

  it('keeps commas and equals signs of a name apart from its own, and keeps blanks', async () => {
    expect((await made({ user: 'a=b, c' })).initial?.toString()).toMatch('n,,n=a=3Db=2C c,r=');
  });

  it('takes extensions that the server adds', async () => {
    const mechanism = await made();
    expect(await answer(mechanism, `${RFC_5802.serverFirst},x=new`)).not.toBe(RFC_5802.final);
  });

  const nonce = `${RFC_5802.options.nonce}more`;
  const start = `r=${nonce},s=QSXCR+Q6sek8bf92`;

  it.each([
    ['another nonce', 'r=3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096'],
    ['the nonce with nothing added', `r=${RFC_5802.options.nonce},s=QSXCR+Q6sek8bf92,i=4096`],
    ['the nonce in another case', `r=${nonce.toUpperCase()},s=QSXCR+Q6sek8bf92,i=4096`],
    ['one round', `${start},i=1`],
    ['one round too few', `${start},i=4095`],
    ['one round too many', `${start},i=600001`],
    ['2^31 rounds', `${start},i=2147483648`],
    ['2^64 rounds', `${start},i=18446744073709551616`],
    ['no rounds', `${start},i=0`],
    ['negative rounds', `${start},i=-4096`],
    ['rounds in hex', `${start},i=0x2000`],
    ['rounds with a leading zero', `${start},i=04096`],
    ['rounds and more digits', `${start},i=4096.5`],
    ['rounds that are missing', start],
    ['salt that is empty', `r=${nonce},s=,i=4096`],
    ['salt that is not base64', `r=${nonce},s=QSX,i=4096`],
    ['salt that is missing', `r=${nonce},i=4096`],
    ['another order', `s=QSXCR+Q6sek8bf92,r=${nonce},i=4096`],
    ['an extension that must be known', `m=new,${start},i=4096`],
    ['a nonce with control characters', `r=${nonce}\x07,s=QSXCR+Q6sek8bf92,i=4096`],
    ['its last message first', RFC_5802.serverFinal],
    ['nothing', ''],
    ['nonsense', '\xff\xfe\0'],
  ])('answers no challenge with %s [31]', async (_, challenge) => {
    const mechanism = await made();
    expect(await failure(() => answer(mechanism, challenge))).toMatchObject({
      code: 'PROTOCOL',
      phase: 'login',
    });
    expect(mechanism.secrets).toEqual([]);
    expect(
      await failure(() => {
        mechanism.finish();
      }),
    ).toMatchObject({ code: 'PROTOCOL' });
  });

  it.each(['!!!!', 'cj1h cg==', 'cj1hCg', 'cj1hCg===', 'cj1hC-_='])(
    'answers no challenge %j, which is not base64 [31]',
    async (challenge) => {
      const mechanism = await made();
      expect(await failure(() => mechanism.answer(challenge))).toMatchObject({
        message: 'the server sent a challenge that is not base64',
      });
    },
  );

  it('digests as often as RFC 5802 asks at least and as OWASP asks at most', async () => {
    for (const rounds of [4096, 600_000]) {
      expect(await answer(await made(), `${start},i=${rounds}`)).toMatch(/,p=/);
    }
  });

  it.each([
    ['the signature of another password', 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='],
    ['a signature with one bit changed', 'v=rmF9pqV8S7suAoZWja4dJRkFsKU='],
    ['a signature cut short', 'v=rmF9pqV8S7suAoZWja4dJRkFsA=='],
    ['an empty signature', 'v='],
    ['a signature that is not base64', 'v=rmF9pqV8S7suAoZWja4dJRkFsKQ'],
    ['the proof of the client', 'v=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts='],
    ['no signature', 'x=1'],
    ['nothing', ''],
    ['its first message once more', RFC_5802.serverFirst],
  ])('does not believe a server with %s [31]', async (_, serverFinal) => {
    const mechanism = await made();
    await answer(mechanism, RFC_5802.serverFirst);
    const error = await failure(() => answer(mechanism, serverFinal));
    expect(error).toMatchObject({ code: 'PROTOCOL', phase: 'login' });
    expect(
      await failure(() => {
        mechanism.finish();
      }),
    ).toMatchObject({
      code: 'PROTOCOL',
      message: 'the server did not prove that it knows the password',
    });
  });

  it('does not go on after the end', async () => {
    const mechanism = await made();
    await answer(mechanism, RFC_5802.serverFirst);
    await answer(mechanism, RFC_5802.serverFinal);
    for (const more of ['e=other-error', RFC_5802.serverFinal])
      expect(await failure(() => answer(mechanism, more))).toMatchObject({ code: 'PROTOCOL' });
  });

  it.each([
    ['channel-bindings-dont-match', 'the server sees another TLS connection than this one'],
    [
      'server-does-support-channel-binding',
      'the server can tie the login to the connection, and its offer to do so did not arrive',
    ],
    [
      'unsupported-channel-binding-type',
      'the server cannot tie the login to this connection in the way that TLS version has',
    ],
    ['invalid-proof', 'the server refused the login'],
    ['constructor', 'the server refused the login'],
  ])('explains the error %s of the server, and never takes it for a yes [16]', async (reason, message) => {
    const mechanism = await made();
    await answer(mechanism, RFC_5802.serverFirst);
    expect(await answer(mechanism, `e=${reason}`)).toBe('');
    expect(mechanism.refusal?.message).toBe(message);
    expect(
      await failure(() => {
        mechanism.finish();
      }),
    ).toMatchObject({ code: 'PROTOCOL' });
  });
});

describe('names and passwords are prepared (RFC 4013)', () => {
  it.each([
    // The examples of section 3.
    ['I\u00adX', 'IX'],
    ['user', 'user'],
    ['USER', 'USER'],
    ['\u00aa', 'a'],
    ['\u2168', 'IX'],
    // What SASLprep forbids stays as it is: the server has not prepared it either.
    ['\u0007', '\u0007'],
    ['\u0627\u0031', '\u0627\u0031'],
    ['p🔑', 'p🔑'],
    // Nothing would be left of it.
    ['\u00ad', '\u00ad'],
    ['a\u00a0b', 'a b'],
    ['ﾎｹﾞ', 'ホゲ'],
    ['', ''],
  ])('%j as %j', async (text, expected) => {
    expect(await prepared(text, 'password')).toBe(expected);
  });
});

describe('OAUTHBEARER', () => {
  const TOKEN = 'vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==';
  const server = { host: 'server.example.com', port: 143 };

  it('is the example of RFC 7628 section 4.1', () => {
    expect(oauthBearer('user@example.com', TOKEN, server).initial?.toString('base64')).toBe(
      'bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB',
    );
  });

  it('keeps the signs of a name apart from its own', () => {
    expect(oauthBearer('a,b=c', 'T').initial?.toString()).toBe('n,a=a=2Cb=3Dc,\x01auth=Bearer T\x01\x01');
  });

  it('answers the error of RFC 7628 section 4.3 with the dummy and explains it [32]', async () => {
    const mechanism = oauthBearer('user@example.com', TOKEN, server);
    const error = `{"status":"invalid_token","scope":"example_scope","openid-configuration":"https://example.com/.well-known/openid-configuration"}`;
    expect((await mechanism.answer(base64(error))).toString('base64')).toBe('AQ==');
    expect(mechanism.refusal?.message).toBe('the access token has expired, was withdrawn or is not valid');
    expect(
      await failure(() => {
        mechanism.finish();
      }),
    ).toMatchObject({ code: 'PROTOCOL' });
    expect(await failure(() => answer(mechanism, error))).toMatchObject({ code: 'PROTOCOL' });
  });

  it.each([
    ['{"status":"insufficient_scope"}', 'the access token does not allow to read mail'],
    ['{"status":"invalid_request"}', 'the server did not understand the login with an access token'],
    ['{"status":401}', 'the access token has expired, was withdrawn or is not valid'],
    ['{"status":"constructor"}', 'the server refused the access token'],
    ['{"status":{"toString":1}}', 'the server refused the access token'],
    ['{"__proto__":{"status":"invalid_token"}}', 'the server refused the access token'],
    ['{"status":', 'the server refused the access token'],
    ['null', 'the server refused the access token'],
    ['[1]', 'the server refused the access token'],
    ['"text"', 'the server refused the access token'],
    ['['.repeat(10_000), 'the server refused the access token'],
    ['', 'the server refused the access token'],
  ])('takes the error %.60s for "%s" and hands nothing of it on [32]', async (error, message) => {
    const mechanism = oauthBearer('u', 'T');
    expect(await answer(mechanism, error)).toBe('\x01');
    expect(mechanism.refusal?.message).toBe(message);
  });
});

describe('XOAUTH2', () => {
  it('is user and token in the form that Google documents, and answers an error with nothing [32]', async () => {
    const mechanism = xoauth2('someuser@example.com', 'ya29.token');
    expect(mechanism.initial?.toString()).toBe('user=someuser@example.com\x01auth=Bearer ya29.token\x01\x01');
    expect(await answer(mechanism, '{"status":"400","schemes":"Bearer","scope":"https://mail/"}')).toBe('');
    expect(mechanism.refusal?.message).toBe('the access token has expired, was withdrawn or is not valid');
  });
});

describe('what would say more than it should is not sent [28]', () => {
  it.each(['', 'a b', 'a\x01auth=Bearer x', 'tokén', 'a\ttab'])('as a token: %j', async (token) => {
    for (const make of [oauthBearer, xoauth2])
      expect(await failure(() => make('taro', token))).toMatchObject({ code: 'AUTH', phase: 'login' });
  });

  it('as a user name with a token', async () => {
    for (const make of [oauthBearer, xoauth2])
      expect(await failure(() => make('taro\x01auth=Bearer x', 'T'))).toMatchObject({ code: 'AUTH' });
  });

  const METHODS = [
    'plain',
    'login',
    'cram-md5',
    'scram-sha-1',
    'scram-sha-256',
    'external',
    'xoauth2',
  ] as const;
  const words = ['ta\rro', 'ta\nro', 'ta\0ro'];
  it.each(METHODS.flatMap((method) => words.map((word) => [method, word] as const)))(
    'by %s: %j',
    async (method, word) => {
      const identity = { user: 'u', password: 'p', token: 't', server: undefined, binding: 'n' } as const;
      for (const change of [{ user: word }, { password: word }, { token: word }])
        expect(await failure(() => mechanismFor(method, { ...identity, ...change }))).toMatchObject({
          code: 'PROTOCOL',
          phase: 'login',
          message: 'a user name or password with a line break or NUL in it was not sent',
        });
    },
  );
});
