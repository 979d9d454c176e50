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
    ['plain', {}, 'plain'],
    ['plain', saying('USER'), 'plain'],
    ['apop', { timestamp }, 'apop'],
    ['apop', { timestamp, clearTextAllowed: false }, 'apop'],
  ] as const)('%s, offered %o, is %s', (wanted: Method | 'auto', changes, method) => {
    expect(chooseMethod(wanted, offer(changes))).toBe(method);
  });

  it.each(['auto', 'user', 'plain'] as const)(
    '%s sends no password in clear without permission',
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

describe('the forms of a secret', () => {
  it('are itself, base64, hex and URL-encoded, longest first and each once', () => {
    expect(formsOf(['p w/?'])).toEqual([
      'p%20w%2F%3F',
      '7020772f3f',
      '7020772F3F',
      'cCB3Lz8=',
      'cCB3Lz8',
      'p w/?',
    ]);
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
