import { describe, expect, it } from 'vitest';
import {
  apopDigest,
  chooseMethod,
  formsOf,
  plainResponse,
  type Method,
  type Offer,
} from '../src/pop3/auth.js';
import { NO_CAPABILITIES, parseCapabilities } from '../src/pop3/replies.js';

describe('APOP', () => {
  it('has the digest of the example in RFC 1939 section 7', () => {
    expect(apopDigest('<1896.697170952@dbc.mtview.ca.us>', 'tanstaaf')).toBe(
      'c4c9334bac560ecc979e58001b3e22fb',
    );
  });

  it('takes a password beyond ASCII as UTF-8', () => {
    expect(apopDigest('<a@b>', 'pässwörd-ほげ')).toBe('8a910ee407b0c54375d70a0f9e45b281');
  });
});

describe('PLAIN', () => {
  it('is the example of RFC 4616 section 4 in base64', () => {
    expect(plainResponse('tim', 'tanstaaftanstaaf')).toBe('AHRpbQB0YW5zdGFhZnRhbnN0YWFm');
  });

  it('is UTF-8, and keeps blanks', () => {
    expect(Buffer.from(plainResponse('太郎', ' ほげ '), 'base64').toString()).toBe('\0太郎\0 ほげ ');
  });
});

describe('the method', () => {
  const offer = (changes: Partial<Offer> = {}): Offer => ({
    capabilities: NO_CAPABILITIES,
    timestamp: undefined,
    clearTextAllowed: true,
    bindable: false,
    secret: 'password',
    ...changes,
  });
  const saying = (...lines: string[]): Partial<Offer> => ({ capabilities: parseCapabilities(lines) });
  const timestamp = '<1@a>';

  it.each([
    ['auto', {}, 'user'],
    ['auto', saying(), 'user'],
    ['auto', saying('USER'), 'user'],
    ['auto', saying('USER', 'SASL CRAM-MD5'), 'user'],
    ['auto', saying('USER', 'SASL CRAM-MD5 PLAIN'), 'plain'],
    ['auto', saying('sasl plain'), 'plain'],
    // MD5 gives a password away to whoever plays the server, so nobody gets it unasked.
    ['auto', { timestamp }, 'user'],
    ['auto', { ...saying('SASL PLAIN'), timestamp }, 'plain'],
    ['user', saying('SASL PLAIN'), 'user'],
    ['auto', saying('USER', 'SASL LOGIN'), 'login'],
    ['auto', saying('SASL LOGIN PLAIN'), 'plain'],
    ['auto', saying('SASL PLAIN SCRAM-SHA-1'), 'scram-sha-1'],
    ['auto', saying('SASL scram-sha-1 plain scram-sha-256'), 'scram-sha-256'],
    ['auto', saying('SASL SCRAM-SHA-256 SCRAM-SHA-256-PLUS'), 'scram-sha-256'],
    ['auto', { ...saying('SASL SCRAM-SHA-256 SCRAM-SHA-256-PLUS'), bindable: true }, 'scram-sha-256-plus'],
    ['auto', { ...saying('SASL SCRAM-SHA-256 SCRAM-SHA-1-PLUS'), bindable: true }, 'scram-sha-1-plus'],
    ['auto', saying('SASL CRAM-MD5 DIGEST-MD5 NTLM GSSAPI EXTERNAL ANONYMOUS XOAUTH2'), 'user'],
    // No password crosses, so nobody has to permit it.
    ['auto', { ...saying('SASL PLAIN SCRAM-SHA-1'), clearTextAllowed: false }, 'scram-sha-1'],
    ['auto', { ...saying('SASL PLAIN XOAUTH2 OAUTHBEARER'), secret: 'token' }, 'oauthbearer'],
    ['auto', { ...saying('SASL PLAIN XOAUTH2'), secret: 'token' }, 'xoauth2'],
    ['auto', { secret: 'token' }, 'xoauth2'],
    ['scram-sha-256', { ...saying('SASL SCRAM-SHA-256-PLUS'), bindable: true }, 'scram-sha-256'],
    ['scram-sha-256-plus', { bindable: true }, 'scram-sha-256-plus'],
    ['cram-md5', { clearTextAllowed: false }, 'cram-md5'],
    ['external', { secret: 'none', clearTextAllowed: false }, 'external'],
    ['plain', {}, 'plain'],
    ['plain', saying('USER'), 'plain'],
    ['apop', { timestamp }, 'apop'],
    ['apop', { timestamp, clearTextAllowed: false }, 'apop'],
  ] as const)('%s, offered %o, is %s [33]', (wanted: Method | 'auto', changes, method) => {
    expect(chooseMethod(wanted, offer(changes))).toBe(method);
  });

  it.each(['auto', 'user', 'plain', 'login'] as const)(
    '%s sends no password in clear without permission [33]',
    (wanted) => {
      for (const changes of [{}, saying('SASL PLAIN'), { timestamp }]) {
        expect(() => chooseMethod(wanted, offer({ ...changes, clearTextAllowed: false }))).toThrow(
          expect.objectContaining({
            code: 'AUTH',
            phase: 'login',
            message: 'the password was not sent, since it would cross the network in clear',
            remedy: 'use tls: implicit or starttls; insecure: true permits it',
          }),
        );
      }
    },
  );

  it.each(['auto', 'xoauth2', 'oauthbearer'] as const)(
    '%s sends no access token in clear without permission [33]',
    (wanted) => {
      for (const changes of [{}, saying('SASL XOAUTH2 OAUTHBEARER')]) {
        const clear = { ...changes, secret: 'token', clearTextAllowed: false } as const;
        expect(() => chooseMethod(wanted, offer(clear))).toThrow(
          'the access token was not sent, since it would cross the network in clear',
        );
      }
    },
  );

  it.each([
    ['plain', 'token', 'auth: plain needs a password'],
    ['plain', 'none', 'auth: plain needs a password'],
    ['auto', 'none', 'auth: user needs a password'],
    ['xoauth2', 'password', 'auth: xoauth2 needs an access token (oauth2)'],
    ['oauthbearer', 'none', 'auth: oauthbearer needs an access token (oauth2)'],
  ] as const)('%s cannot do with %s', (wanted, secret, message) => {
    expect(() => chooseMethod(wanted, offer({ secret }))).toThrow(
      expect.objectContaining({ code: 'AUTH', phase: 'login', message }),
    );
  });

  it('auto sends a token to nobody who has no use for it', () => {
    expect(() => chooseMethod('auto', offer({ ...saying('SASL PLAIN'), secret: 'token' }))).toThrow(
      'the server offers no login with an access token',
    );
  });

  it.each(['scram-sha-256-plus', 'scram-sha-1-plus'] as const)(
    '%s does not do without what it is tied to [16]',
    (wanted) => {
      expect(() => chooseMethod(wanted, offer(saying('SASL SCRAM-SHA-256-PLUS')))).toThrow(
        'the login cannot be tied to this connection',
      );
    },
  );

  it('apop needs a timestamp', () => {
    expect(() => chooseMethod('apop', offer(saying('SASL PLAIN')))).toThrow(
      expect.objectContaining({
        code: 'AUTH',
        message: 'the server offers no APOP',
        remedy: 'use auth: auto',
      }),
    );
  });
});

describe('the forms of a secret [30]', () => {
  it('are itself, base64, hex and URL-encoded, longest first and each once', () => {
    const [encoded, hex, inBase64] = ['p%20w%2F%3F', ['7020772f3f', '7020772F3F'], ['cCB3Lz8=', 'cCB3Lz8']];
    // As a part of something longer: the octets before it move it by a third of a character or two.
    const parts = ['cCB3Lz', 'Agdy8/', 'wIHcvP', 'Agdy8_'];
    expect(formsOf(['p w/?'])).toEqual([encoded, ...hex, ...inBase64, ...parts, 'p w/?']);
  });

  it('are also the octets of it that a server may send back, as latin1', () => {
    expect(formsOf(['ほ'])).toContain('\xe3\x81\xbb');
  });

  it('are those of all secrets together', () => {
    const forms = formsOf(['one', 'three']);
    expect(forms).toEqual(
      expect.arrayContaining(['one', 'b25l', '6f6e65', 'three', 'dGhyZWU=', '7468726565']),
    );
    expect(forms.map(({ length }) => length)).toEqual(
      forms.map(({ length }) => length).sort((a, b) => b - a),
    );
  });

  it('are there for what is no well-formed text, too', () => {
    expect(formsOf(['\ud800x'])).toContain('%EF%BF%BDx');
  });

  it('are none for an empty one', () => {
    expect(formsOf([''])).toEqual([]);
    expect(formsOf([])).toEqual([]);
  });
});
