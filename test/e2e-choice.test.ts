/** Which messages a fetch takes, and which it removes from the server. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lf, reach, said, stored, timeless, until, World } from './support/e2e.js';
import { padded, plain } from './support/messages.js';

const MAIL = [plain(1), plain(2), plain(3)];
const SILENCE = { code: 0, stdout: '', stderr: '' };

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

describe('deletion', () => {
  test('never: whatever is delivered stays on the server', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server) });
    for (let run = 0; run < 2; run += 1) expect(await world.popfetch()).toEqual(SILENCE);
    expect(said(server, 'DELE')).toEqual([]);
    expect(server.mailbox('taro').uids).toHaveLength(3);
  });

  test('delivered: what is delivered goes in the same session, and a further run has nothing to do', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(server.sessions).toHaveLength(1);
    expect(server.mailbox('taro').uids).toEqual([]);
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(said(server, 'DELE')).toEqual(['DELE 1', 'DELE 2', 'DELE 3']);
    expect(await world.maildir('work')).toEqual(stored(...MAIL));
  });

  test('a duration: what is delivered goes in the first run after that time', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server, { delete: '5s' }) });
    expect(await world.popfetch()).toEqual(SILENCE);
    const delivered = performance.now();
    server.mailbox('taro').add(plain(4));
    expect(said(server, 'DELE')).toEqual([]);
    await until(() => performance.now() - delivered > 5000, 'the time has passed');
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(said(server, 'DELE')).toEqual(['DELE 1', 'DELE 2', 'DELE 3']);
    // The new one has its own time.
    expect(server.mailbox('taro').uids).toEqual(['uid-4']);
    expect(await world.maildir('work')).toEqual(stored(...MAIL, plain(4)));
  });

  test('--keep puts it off to the next run', async () => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    for (let run = 0; run < 2; run += 1) expect(await world.popfetch('--keep')).toEqual(SILENCE);
    expect(server.mailbox('taro').uids).toHaveLength(3);
    expect(await world.popfetch()).toEqual(SILENCE);
    expect(server.mailbox('taro').uids).toEqual([]);
    expect(said(server, 'RETR')).toHaveLength(3);
  });

  test('that the server forgets is asked for again, without a second download', async () => {
    const server = await world.serve({ taro: MAIL }, { keepAfterQuit: true });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    for (let run = 0; run < 2; run += 1) expect(await world.popfetch()).toEqual(SILENCE);
    expect(said(server, 'DELE')).toHaveLength(6);
    expect(said(server, 'RETR')).toHaveLength(3);
    expect(await world.maildir('work')).toEqual(stored(...MAIL));
  });

  test('that the server refuses is a warning, and the rest goes', async () => {
    const server = await world.serve({ taro: MAIL });
    server.overrides['DELE'] = (_session, [number]) => (number === '2' ? '-ERR never' : undefined);
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    expect(await world.popfetch()).toEqual({
      ...SILENCE,
      stderr:
        'popfetch: work: warning: the server would not remove 1 of 3 messages; the next run tries again\n',
    });
    expect(server.mailbox('taro').uids).toEqual(['uid-2']);
  });
});

describe('the choice of messages', () => {
  const SIZES = [300, 900, 200, 500];
  const mail = SIZES.map((size, index) => padded(plain(index + 1), size));

  test.each([
    ['oldest', ['RETR 1', 'RETR 2', 'RETR 3', 'RETR 4']],
    ['newest', ['RETR 4', 'RETR 3', 'RETR 2', 'RETR 1']],
    ['smallest', ['RETR 3', 'RETR 1', 'RETR 4', 'RETR 2']],
  ])('order: %s', async (order, expected) => {
    const server = await world.serve({ taro: mail });
    await world.configure({ work: reach(server, { order, limit: 3 }) });
    for (let run = 0; run < 2; run += 1) expect(await world.popfetch()).toEqual(SILENCE);
    expect(said(server, 'RETR')).toEqual(expected);
  });

  test('limit: so many in each run, until all are there; --limit goes before it, and 0 is all', async () => {
    const server = await world.serve({ taro: mail });
    await world.configure({ work: reach(server, { limit: 1 }) });
    const counts: number[] = [];
    for (const args of [[], ['--limit', '2'], ['--limit', '0']]) {
      expect(await world.popfetch(...args)).toEqual(SILENCE);
      counts.push((await world.maildir('work')).length);
    }
    expect(counts).toEqual([1, 3, 4]);
  });

  test('maxSize: a larger one is told of once, stays, and comes when there is room for it', async () => {
    const server = await world.serve({ taro: mail });
    await world.configure({ work: reach(server, { maxSize: '600B', delete: 'delivered' }) });
    const sentence =
      'popfetch: work: message N (900 B) is larger than maxSize and stays on the server; ' +
      'raise maxSize, or run popfetch show uid:uid-2 -a work\n';
    expect(await world.popfetch()).toEqual({ ...SILENCE, stderr: sentence.replace('N', '2') });
    expect(await world.popfetch()).toEqual(SILENCE);
    const { stderr } = await world.popfetch('-vv');
    expect(timeless(stderr)).toEqual([
      'popfetch: work: 1 on the server, 0 seen, 0 to fetch (0 B), 0 to remove',
      sentence.replace('N', '1').trimEnd(),
      'popfetch: work: nothing new, 1 left on the server in SPAN',
    ]);
    expect(server.mailbox('taro').uids).toEqual(['uid-2']);
    expect(await world.popfetch('--max-size', '1KB')).toEqual(SILENCE);
    expect(server.mailbox('taro').uids).toEqual([]);
    expect(await world.maildir('work')).toEqual(stored(...mail));
  });

  test('maxSize holds for a message that turns out larger than it was listed', async () => {
    const lying = '+OK\r\n1 300\r\n2 100\r\n3 200\r\n4 500\r\n.\r\n';
    const server = await world.serve({ taro: mail }, { overrides: { LIST: lying } });
    await world.configure({ work: reach(server, { maxSize: '600B', delete: 'delivered' }) });
    expect(await world.popfetch()).toEqual({
      code: 65,
      stdout: '',
      stderr:
        'popfetch: work: retrieve: the message is larger than 600 octets, whatever LIST said; ' +
        'raise maxSize to fetch it\n',
    });
    expect(await world.maildir('work')).not.toContain(lf(mail[1]!.toString('latin1')));
    expect(await world.leftovers('work')).toEqual([]);
    expect(server.mailbox('taro').uids).toContain('uid-2');
    delete server.overrides['LIST'];
    expect(await world.popfetch('--max-size', '1KB')).toEqual(SILENCE);
    expect(await world.maildir('work')).toEqual(stored(...mail));
    expect(server.mailbox('taro').uids).toEqual([]);
  });
});
