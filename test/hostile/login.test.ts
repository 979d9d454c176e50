/** What a server may say before it lets anybody in, and how often it is asked. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Box, mail, subject } from '../support/inprocess.js';
import { certificates } from '../support/certificates.js';
import type { TestServer } from '../support/server.js';
import type { Action } from '../support/channel.js';

let box: Box;
beforeEach(async () => {
  box = await Box.create();
});
afterEach(() => box.remove());

const ONE = [{ data: mail(1) }];
const secretive = /^(?:USER|PASS|AUTH|APOP)/m;
const verbs = ({ sessions }: TestServer): string[][] => sessions.map((session) => session.verbs);

describe('a greeting of -ERR', () => {
  const TEMPORARY = [
    '[SYS/TEMP]',
    '[sys/temp]',
    '[SYS/TEMP/DISK]',
    '[IN-USE]',
    '[in-use/x]',
    '[LOGIN-DELAY]',
  ];
  it.each([
    ...TEMPORARY.map((code) => [code, 'BUSY', 75] as const),
    ...['', '[AUTH]', '[X-NEW]', '[SYS]', '[SYS/PERMX]'].map((code) => [code, 'BUSY', 75] as const),
    ...['[SYS/PERM]', '[Sys/Perm]', '[SYS/PERM/GONE]'].map((code) => [code, 'AUTH', 77] as const),
  ])(
    '%s ends the session, as %s (%i), and nothing is said to it [19] [26] [27]',
    async (code, name, exit) => {
      const server = await box.serve(ONE, { greeting: `-ERR ${code} go away`.replace('  ', ' ') });
      const { outcome } = await box.run(server);
      expect(outcome.errors).toMatchObject([{ code: name, exit, phase: 'greeting' }]);
      expect(verbs(server)).toEqual([[]]);
    },
  );
});

describe('a status line', () => {
  it.each(['CAPA', 'STAT', 'DELE', 'QUIT'])('may end in a bare LF (%s) [21]', async (verb) => {
    const server = await box.serve(ONE, { greeting: Buffer.from('+OK hello\n') });
    const answers: Record<string, string> = { CAPA: '-ERR no\n', STAT: '+OK 1 74\n', DELE: '+OK\n' };
    server.overrides[verb] = (session) => {
      if (verb !== 'QUIT') return Buffer.from(answers[verb]!);
      session.mailbox?.remove(session.marked);
      return Buffer.from('+OK\n');
    };
    await box.fetch(server, { delete: 'delivered' });
    expect(await box.subjects()).toEqual([subject(1)]);
  });
});

describe('a refused login', () => {
  const REFUSALS = ['no', '[AUTH] no', '[AUTH/EXPIRED] no', '[SYS/PERM] locked', '[X-NEW] no'];
  const cases = REFUSALS.flatMap((words) => ['user', 'plain', 'auto'].map((auth) => [words, auth] as const));

  it.each(cases)('(-ERR %s) is the only one of the run, with auth: %s [25] [34]', async (words, auth) => {
    const server = await box.serve(ONE, { overrides: { PASS: `-ERR ${words}`, AUTH: `-ERR ${words}` } });
    const { outcome } = await box.run(server, { auth: auth as 'auto' });
    expect(outcome.errors).toMatchObject([{ code: 'AUTH', exit: 77, phase: 'login' }]);
    const tries = server.sessions.flatMap(({ received }) =>
      received.filter((line) => /^(?:PASS|AUTH)/.test(line)),
    );
    expect(tries).toHaveLength(1);
    expect(server.sessions).toHaveLength(1);
  });

  it.each(['[IN-USE]', '[in-use] now', '[LOGIN-DELAY] 600', '[SYS/TEMP] x', '[SYS/TEMP/LDAP] x'])(
    '(-ERR %s) that may pass is left for a later run [25] [26] [27] [76]',
    async (words) => {
      const server = await box.serve(ONE, { overrides: { AUTH: `-ERR ${words}` } });
      const { outcome } = await box.run(server);
      expect(outcome.errors).toMatchObject([{ code: 'BUSY', exit: 75, phase: 'login' }]);
      expect(server.sessions).toHaveLength(1);
    },
  );
});

describe('a server that hangs up on CAPA', () => {
  const MODES = ['none', 'implicit', 'starttls'] as const;
  const ENDS: readonly Action[] = ['close', 'drop', 'reset'];

  async function tlsOf(
    mode: (typeof MODES)[number],
  ): Promise<{ mode: typeof mode; minVersion: 'TLSv1.2'; ca?: string }> {
    const ca = mode === 'none' ? {} : { ca: (await certificates()).authority.certFile };
    return { mode, minVersion: 'TLSv1.2', ...ca };
  }

  it.each(MODES.flatMap((mode) => ENDS.map((end) => [mode, end] as const)))(
    'is asked once more, without it (tls: %s, %s) [23]',
    async (mode, end) => {
      const server = await box.serve(ONE, { tls: mode, overrides: { CAPA: end } });
      await box.fetch(server, { tls: await tlsOf(mode) });
      expect(await box.subjects()).toEqual([subject(1)]);
      expect(verbs(server)[1]!.slice(0, 3)).toEqual(
        [...(mode === 'starttls' ? ['STLS'] : []), ...['USER', 'PASS', 'STAT']].slice(0, 3),
      );
      expect(server.sessions).toHaveLength(2);
      if (mode !== 'none')
        for (const { overheard } of server.sessions) expect(overheard).not.toMatch(secretive);
    },
  );

  it.each(ENDS)(
    'once TLS is up is asked once more, and everything goes through TLS again (%s) [23]',
    async (end) => {
      const overrides = { CAPA: ({ secure }: { secure: boolean }) => (secure ? end : undefined) };
      const server = await box.serve(ONE, { tls: 'starttls', overrides });
      await box.fetch(server, { tls: await tlsOf('starttls') });
      expect(verbs(server)[1]!.slice(0, 3)).toEqual(['STLS', 'USER', 'PASS']);
      for (const { overheard } of server.sessions) expect(overheard).not.toMatch(secretive);
    },
  );

  it('and refuses STLS gets no password, and no third session [23]', async () => {
    const server = await box.serve(ONE, { tls: 'starttls', overrides: { CAPA: 'close', STLS: '-ERR no' } });
    const { outcome } = await box.run(server, { tls: await tlsOf('starttls') });
    expect(outcome.errors).toMatchObject([{ code: 'TLS' }]);
    expect(verbs(server)).toEqual([['CAPA'], ['STLS']]);
  });

  it('and on USER too is not asked for ever [23]', async () => {
    const server = await box.serve(ONE, { overrides: { CAPA: 'close', USER: 'close' } });
    expect((await box.run(server)).outcome.errors).toMatchObject([{ code: 'LOST', phase: 'login' }]);
    expect(verbs(server)).toEqual([['CAPA'], ['USER']]);
  });

  it('after the login has only lost its connection [23]', async () => {
    const overrides = {
      CAPA: ({ state }: { state: string }) => (state === 'transaction' ? 'close' : undefined),
    };
    const server = await box.serve(ONE, { overrides });
    expect((await box.run(server)).outcome.errors).toMatchObject([{ code: 'LOST', phase: 'login' }]);
    expect(server.sessions).toHaveLength(1);
  });

  it('or answers it with nonsense is not asked again [23]', async () => {
    const server = await box.serve(ONE, { overrides: { CAPA: '+ok' } });
    expect((await box.run(server)).outcome.errors).toMatchObject([{ code: 'PROTOCOL' }]);
    expect(server.sessions).toHaveLength(1);
  });
});

describe('CAPA', () => {
  it.each([
    [['pipelining', 'Uidl', 'SASL plain']],
    [['UIDL', 'UIDL', 'uidl', 'PIPELINING x', 'SASL PLAIN', 'SASL']],
    [['', ' ', '\x1b[2J', '\xff\xfe', 'X-'.repeat(400), 'SASL PLAIN']],
    [Array.from({ length: 60 }, (_, n) => `X-TAG-${n}`)],
    [['LAST', 'XTND XMIT', 'UIDL', 'EXPIRE 0', 'LOGIN-DELAY -1', 'IMPLEMENTATION %s%n']],
  ])('with %j is understood as far as it means anything [24] [65]', async (capa) => {
    const server = await box.serve(ONE, { capa });
    await box.fetch(server, { delete: 'delivered' });
    expect(await box.subjects()).toEqual([subject(1)]);
    const known = ['CAPA', 'USER', 'PASS', 'AUTH', 'STAT', 'LIST', 'UIDL', 'RETR', 'DELE', 'QUIT'];
    expect(
      verbs(server)
        .flat()
        .filter((verb) => !known.includes(verb)),
    ).toEqual([]);
  });
});
