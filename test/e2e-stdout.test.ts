/** Mail to stdout: in every format, to a program, to a file, and to a reader that goes away. */
import { writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { wire } from './support/body.js';
import { lf, reach, said, stored, until, World } from './support/e2e.js';
import { awkward, hogehogeUtf8, padded, plain } from './support/messages.js';
import { mboxMessages } from './support/stored.js';

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

describe('popfetch --stdout', () => {
  test('--limit 1 is one message and nothing else', async () => {
    const server = await world.serve({ taro: [hogehogeUtf8, plain(2)] });
    await world.configure({ work: reach(server) });
    const { code, stdout, stderr } = await world.run(['--stdout', '--limit', '1']);
    expect([code, stdout.toString('latin1'), stderr]).toEqual([0, stored(hogehogeUtf8)[0], '']);
    const second = await world.run(['--stdout', '--limit', '1', '--format', 'raw']);
    expect(second.stdout.toString('latin1')).toBe(stored(plain(2))[0]);
    const third = await world.run(['--stdout', '--limit', '1']);
    expect([third.code, third.stdout.length]).toEqual([0, 0]);
  });

  test('is an mbox that holds every awkward message as it was', async () => {
    const mail = Object.values(awkward);
    const server = await world.serve({ taro: mail });
    await world.configure({ work: reach(server) });
    const { code, stdout } = await world.run(['--stdout']);
    expect(code).toBe(0);
    const file = world.sandbox.path('out');
    await writeFile(file, stdout);
    const got = (await mboxMessages(file)).map(({ data }) => data.toString('latin1'));
    const expected = mail.map((message) => lf(wire(message).toString('latin1')));
    expect(got.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
    expect(got.every((text, index) => text === expected[index])).toBe(true);
  });

  test('--format json is one object a line', async () => {
    const mail = [awkward['all octets']!, padded(plain(2), 300_000)];
    const server = await world.serve({ taro: mail });
    await world.configure({ work: reach(server) });
    const { code, stdout } = await world.popfetch('--stdout', '--format', 'json');
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    const objects = lines.map((line) => JSON.parse(line) as { readonly raw: string });
    expect(objects.map(({ raw, ...rest }) => [rest, Buffer.from(raw, 'base64').toString('latin1')])).toEqual(
      mail.map((message, index) => [
        {
          ...{ account: 'work', uid: `uid-${index + 1}`, octets: message.length },
          key: expect.stringMatching(/^[a-z2-7]{26}$/) as string,
        },
        lf(message.toString('latin1')),
      ]),
    );
  });

  test('consumes: what was written is remembered, and removed where the config says so', async () => {
    const server = await world.serve({ taro: [plain(1), plain(2)] });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    expect((await world.popfetch('--stdout')).stdout.match(/^From /gm)).toHaveLength(2);
    expect(server.mailbox('taro').uids).toEqual([]);
    expect(await world.popfetch()).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await world.maildir('work')).toEqual([]);
  });

  test('keeps the messages of several accounts apart', async () => {
    const users = ['a', 'b', 'c'];
    const mail = users.map((_, index) => [
      padded(plain(2 * index), 500_000),
      padded(plain(2 * index + 1), 90_000),
    ]);
    const server = await world.serve(Object.fromEntries(users.map((user, index) => [user, mail[index]!])));
    await world.configure(Object.fromEntries(users.map((user) => [user, reach(server, { user })])));
    const { stdout } = await world.run(['--stdout']);
    const file = world.sandbox.path('out');
    await writeFile(file, stdout);
    const got = (await mboxMessages(file)).map(({ data }) => data.toString('latin1')).sort();
    expect(got.map(({ length }) => length)).toEqual(stored(...mail.flat()).map(({ length }) => length));
    expect(got.join('') === stored(...mail.flat()).join('')).toBe(true);
  });
});

describe('a reader that goes away [105]', () => {
  const told =
    'popfetch: work: deliver: stdout was closed by its reader; ' +
    'the program behind the pipe ended early; what it did not get is still on the server\n';

  test.each(['at once', 'in the middle of a message'])('%s loses nothing', async (when) => {
    const mail = [padded(plain(1), 1_000_000), padded(plain(2), 1_000_000)];
    const server = await world.serve({ taro: mail });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    const running = world.start(['--stdout']);
    const out = running.child.stdout;
    if (when === 'at once') out?.destroy();
    else out?.once('data', () => out.destroy());
    const { code, stderr } = await running.done;
    expect([code, stderr]).toEqual([74, told]);
    expect(server.mailbox('taro').uids).toHaveLength(2);
    expect(server.sessions.some(({ quit }) => quit)).toBe(false);
    expect(await world.leftovers()).toEqual([]);
    const { code: second, stdout } = await world.run(['--stdout']);
    expect(second).toBe(0);
    const file = world.sandbox.path('out');
    await writeFile(file, stdout);
    const got = (await mboxMessages(file)).map(({ data }) => data.length);
    expect(got).toEqual(mail.map((message) => lf(message.toString('latin1')).length));
    expect(server.mailbox('taro').uids).toEqual([]);
    expect(await world.popfetch('--stdout')).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test('after one message has that one, and gets the others from the next run', async () => {
    const mail = [plain(1), padded(plain(2), 1_000_000), plain(3)];
    const server = await world.serve({ taro: mail });
    await world.configure({ work: reach(server) });
    const running = world.start(['--stdout']);
    const out = running.child.stdout;
    let got = '';
    out?.on('data', (chunk: Buffer) => {
      got += chunk.toString('latin1');
      if (got.includes('X-Padding')) out.destroy();
    });
    expect((await running.done).code).toBe(74);
    expect(got).toContain('body of message 1\n');
    const { stdout } = await world.popfetch('--stdout');
    expect(stdout.match(/^Subject: .*/gm)).toEqual(['Subject: message 2', 'Subject: message 3']);
    expect(said(server, 'RETR').filter((line) => line === 'RETR 1')).toHaveLength(1);
  });

  test('is the same for a pipe of a shell', async () => {
    const server = await world.serve({ taro: [padded(plain(1), 1_000_000)] });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    const { stdout, stderr } = await world.shell('(popfetch --stdout; echo "status $?" >&2) | head -c 5');
    expect([stdout, stderr]).toEqual(['From ', `${told}status 74\n`]);
    expect(server.mailbox('taro').uids).toHaveLength(1);
    expect((await world.shell('popfetch --stdout | tail -n 2')).stdout).toBe('body of message 1\n\n');
    expect(server.mailbox('taro').uids).toEqual([]);
  });

  test('does not hold up an account that delivers elsewhere', async () => {
    const server = await world.serve({ taro: [padded(plain(1), 1_000_000)], jiro: [plain(2)] });
    await world.configure({
      work: reach(server, { deliver: 'stdout' }),
      home: reach(server, { user: 'jiro' }),
    });
    const running = world.start([]);
    running.child.stdout?.destroy();
    expect(await running.done).toMatchObject({ code: 74, stderr: told });
    expect(await world.maildir('home')).toEqual(stored(plain(2)));
  });
});

describe('a reader that is slow [105]', () => {
  test('gets everything, and no message is asked for before it has the one before', async () => {
    const mail = [1, 2, 3, 4, 5, 6].map((n) => padded(plain(n), 3_000_000));
    const server = await world.serve({ taro: mail });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    const running = world.start(['--stdout']);
    const out = running.child.stdout;
    out?.pause();
    await until(() => said(server, 'RETR').length > 0, 'the first message is asked for');
    await until(() => (out?.readableLength ?? 0) > 0, 'the first message is on its way to the reader');
    expect(said(server, 'RETR')).toEqual(['RETR 1']);
    out?.resume();
    const { code, stdout } = await running.done;
    expect([code, stdout.toString('latin1').match(/^From /gm)?.length]).toEqual([0, 6]);
    expect(server.mailbox('taro').uids).toEqual([]);
  });
});

describe('stdout that is a file [105]', () => {
  test('has everything before anything is removed from the server', async () => {
    const mail = [plain(1), padded(plain(2), 300_000)];
    const server = await world.serve({ taro: mail });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    expect(await world.shell('popfetch --stdout >>"$HOME/out"')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect((await mboxMessages(world.sandbox.path('out'))).map(({ data }) => data.length)).toEqual(
      mail.map((message) => lf(message.toString('latin1')).length),
    );
    expect(server.mailbox('taro').uids).toEqual([]);
  });

  test('on a full disk keeps the message on the server', async () => {
    const server = await world.serve({ taro: [plain(1)] });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    expect(await world.shell('popfetch --stdout >/dev/full')).toEqual({
      code: 74,
      stdout: '',
      stderr:
        'popfetch: work: deliver: stdout: the disk is full; make room on that file system, ' +
        'then run popfetch again: the message is still on the server\n',
    });
    expect(server.mailbox('taro').uids).toHaveLength(1);
    expect((await world.popfetch('--stdout')).stdout).toContain('body of message 1\n');
  });
});
