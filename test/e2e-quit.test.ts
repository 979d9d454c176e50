/** The end of a session that goes wrong: whether the server has removed anything is not known, and the next run finds out. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { reach, said, stored, World } from './support/e2e.js';
import type { Fault } from './support/faults.js';
import { plain } from './support/messages.js';
import type { TestServer } from './support/server.js';

const MAIL = [plain(1), plain(2), plain(3)];
const SILENCE = { code: 0, stdout: '', stderr: '' };

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

/** A run that brings everything, and does not get an answer to its QUIT. */
async function firstRun(fault: Omit<Fault, 'verb'>): Promise<TestServer> {
  const server = await world.serve({ taro: MAIL }, { faults: [{ verb: 'QUIT', ...fault }] });
  await world.configure({ work: reach(server, { delete: 'delivered' }) });
  const { code, stdout, stderr } = await world.popfetch();
  expect([code, stdout]).toEqual([75, '']);
  // Whether a reset is seen as one depends on what the kernel still had to hand over.
  expect(stderr).toMatch(
    /^popfetch: work: quit: (the server closed the connection|the connection broke \(E\w+\)); nothing is lost; the next run goes on\n$/,
  );
  expect(await world.maildir('work')).toEqual(stored(...MAIL));
  return server;
}

describe('a connection that breaks at QUIT [72]', () => {
  test.each(['close', 'drop', 'reset'] as const)(
    '(%s) before the server has removed anything: the next run removes, and downloads nothing',
    async (action) => {
      const server = await firstRun({ at: 'command', action });
      expect(server.mailbox('taro').uids).toHaveLength(3);
      expect(await world.popfetch()).toEqual(SILENCE);
      expect(server.sessions[1]?.verbs).not.toContain('RETR');
      expect(said(server, 'DELE').slice(3)).toEqual(['DELE 1', 'DELE 2', 'DELE 3']);
      expect(server.mailbox('taro').uids).toEqual([]);
      expect(await world.popfetch()).toEqual(SILENCE);
      expect(await world.maildir('work')).toEqual(stored(...MAIL));
    },
  );

  test.each(['close', 'drop', 'reset'] as const)(
    '(%s) after the server has removed everything: the next run has nothing to do',
    async (action) => {
      const server = await firstRun({ at: 'reply', action });
      expect(server.mailbox('taro').uids).toEqual([]);
      expect(await world.popfetch()).toEqual(SILENCE);
      expect(server.sessions[1]?.verbs.filter((verb) => verb === 'RETR' || verb === 'DELE')).toEqual([]);
      expect(await world.maildir('work')).toEqual(stored(...MAIL));
    },
  );
});

describe('a QUIT that the server refuses [72]', () => {
  test('is told in its words, and what is still there is removed by the next run, without a download', async () => {
    const server = await world.serve({ taro: MAIL });
    server.overrides['QUIT'] = (session) => {
      // RFC 1939 section 6: some of them are gone, and nobody says which.
      session.mailbox?.remove(session.messages.slice(0, 1));
      session.marked.clear();
      return '-ERR some deleted messages not removed';
    };
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    expect(await world.popfetch()).toEqual({
      code: 75,
      stdout: '',
      stderr:
        'popfetch: work: quit: the server could not finish the session: ' +
        '"some deleted messages not removed"; the next run tries it again\n',
    });
    expect(server.mailbox('taro').uids).toEqual(['uid-2', 'uid-3']);
    delete server.overrides['QUIT'];
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(server.sessions[1]?.verbs).not.toContain('RETR');
    expect(said(server, 'DELE').slice(3)).toEqual(['DELE 1', 'DELE 2']);
    expect(server.mailbox('taro').uids).toEqual([]);
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(await world.maildir('work')).toEqual(stored(...MAIL));
  });
});
