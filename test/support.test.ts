import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { HOGEHOGE_BODY, hogehogeJis, hogehogeUtf8, huge, padded, plain } from './support/messages.js';
import { mixed } from './support/mixed.js';
import { RawClient } from './support/raw-client.js';
import { Sandbox } from './support/sandbox.js';
import type { Running } from './support/sandbox.js';
import { startServer } from './support/server.js';
import { maildirMessages, mboxMessages } from './support/stored.js';

const open: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function sandbox(): Promise<Sandbox> {
  const made = await Sandbox.create();
  open.push(() => made.remove());
  return made;
}

/** Options that make node run this text, in place of the program. */
function script(text: string): { readonly nodeOptions: readonly string[] } {
  return { nodeOptions: ['-e', text] };
}

describe('the sandbox', () => {
  test('gives a program a home of its own and nothing of ours', async () => {
    const box = await sandbox();
    const { stdout, code } = await box.run(['a b'], {
      ...script('console.log(JSON.stringify([process.env, process.cwd(), process.argv.slice(2)]))'),
      env: { ONE: 'more', LANG: undefined },
    });
    expect(code).toBe(0);
    const [env, cwd, args] = JSON.parse(stdout.toString()) as [Record<string, string>, string, string[]];
    expect(Object.keys(env).sort()).toEqual(
      ['HOME', 'ONE', 'PATH', 'TZ', 'XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'XDG_RUNTIME_DIR', 'XDG_STATE_HOME'], // prettier-ignore
    );
    expect([env['HOME'], cwd, args]).toEqual([box.home, box.work, ['a b']]);
    expect((await stat(await box.writeConfig({ accounts: {} }))).mode & 0o777).toBe(0o600);
    expect((await stat(box.state)).mode & 0o777).toBe(0o700);
  });

  test('collects output, status, signal and peak memory', async () => {
    const box = await sandbox();
    const text =
      'const b = Buffer.alloc(80e6, 1); process.stdin.on("data", (d) => process.stdout.write(d)); ' +
      'process.stdin.on("end", () => { process.stderr.write("é"); process.exitCode = 75; })';
    const result = await box.run([], { ...script(text), stdin: Buffer.from([0xff, 0x0a]), measure: true });
    expect([result.code, result.signal, result.stderr]).toEqual([75, null, 'é']);
    expect(result.stdout.equals(Buffer.from([0xff, 0x0a]))).toBe(true);
    expect(result.peakMemory).toBeGreaterThan(80e6);
    expect(result.peakMemory).toBeLessThan(250e6);
    const running = box.start([], script('setInterval(() => {}, 1000)'));
    expect(running.ended).toBe(false);
    running.kill('SIGTERM');
    expect(await running.done).toMatchObject({ code: null, signal: 'SIGTERM', peakMemory: undefined });
    expect(running.ended).toBe(true);
  });

  test('a program that does not end in time is killed, and what it said is told', async () => {
    const box = await sandbox();
    const run = box.run(['x'], { ...script('console.log("hello"); setInterval(() => {}, 9)'), timeout: 500 });
    await expect(run).rejects.toThrow('popfetch x did not end within 500 ms; it said: hello');
  });
});

test('a server can kill its client at any event, and takes the next one at once', async () => {
  const talk = (port: number): string => `
    const s = require('net').connect(${port}, '127.0.0.1');
    const lines = ['USER taro', 'PASS x', 'RETR 1', 'DELE 1', 'QUIT'];
    const waitFor = [/\\r\\n$/, /\\r\\n$/, /\\r\\n$/, /\\r\\n\\.\\r\\n$/, /\\r\\n$/];
    let seen = '';
    s.on('data', (d) => {
      seen += d;
      if (lines.length > 0 && waitFor[0].test(seen)) { seen = ''; waitFor.shift(); s.write(lines.shift() + '\\r\\n'); }
    });`;
  const box = await sandbox();
  for (const fatal of [1, 6, 11, 14, 16, 17]) {
    const runs: Running[] = [];
    const server = await startServer({
      accounts: { taro: { password: 'x', messages: [plain(1), plain(2)] } },
      onEvent: async ({ number }) => {
        if (number !== fatal) return undefined;
        runs[0]!.kill();
        await runs[0]!.done;
        return undefined;
      },
    });
    open.push(() => server.close());
    runs.push(box.start([], script(talk(server.port))));
    expect((await runs[0]!.done).signal).toBe('SIGKILL');
    const client = await RawClient.connect(server);
    await client.line();
    expect(await client.login('taro', 'x')).toMatch(/^\+OK/);
    // Events 16 and 17 are the command QUIT and its reply: what the server has received it does.
    expect(server.mailbox('taro').uids).toEqual(fatal < 16 ? ['uid-1', 'uid-2'] : ['uid-2']);
    client.close();
  }
});

describe('reading back', () => {
  async function file(content: string): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'popfetch-stored-'));
    open.push(() => rm(directory, { recursive: true }));
    const path = join(directory, 'mbox');
    await writeFile(path, content, 'latin1');
    return path;
  }

  test('an mbox is taken apart at its From lines, and the quoting is undone', async () => {
    const path = await file(
      'From a x\nA: b\n\n>From c\n>>From d\n> From\ne\rFrom f\n\n\nFrom b y\nC: d\n\n\n\nFrom c z\n\n',
    );
    expect((await mboxMessages(path)).map(({ envelope, data }) => [envelope, data.toString()])).toEqual([
      ['From a x', 'A: b\n\nFrom c\n>From d\n> From\ne\rFrom f\n\n'],
      ['From b y', 'C: d\n\n\n'],
      ['From c z', ''],
    ]);
  });

  test('an mbox that is damaged is not read', async () => {
    await expect(mboxMessages(await file('A: b\n'))).rejects.toThrow('does not start with a From line');
    await expect(mboxMessages(await file('From a x\nA: b\n\nc\n'))).rejects.toThrow('no empty line');
  });

  test('where there is nothing, there are no messages', async () => {
    expect(await mboxMessages('/nonexistent/mbox')).toEqual([]);
    expect(await maildirMessages('/nonexistent')).toEqual([]);
  });
});

describe('messages', () => {
  test('the Japanese mails read the same in both charsets', () => {
    expect(new TextDecoder('utf-8').decode(hogehogeUtf8)).toContain(`\r\n\r\n${HOGEHOGE_BODY}\r\n`);
    expect(new TextDecoder('iso-2022-jp').decode(hogehogeJis)).toContain(`\r\n\r\n${HOGEHOGE_BODY}\r\n`);
    expect(hogehogeJis.every((octet) => octet < 0x80)).toBe(true);
  });

  test('padding and huge messages have exactly the size asked for', () => {
    for (const octets of [387, 388, 460, 461, 462, 1000, 2000, 2932]) {
      expect(padded(hogehogeUtf8, octets)).toHaveLength(octets);
    }
    expect(() => padded(hogehogeUtf8, 386)).toThrow(RangeError);
    const source = huge(1_234_567);
    if (!('generate' in source)) throw new Error('huge() is made while it is sent');
    const pieces = [...(source.generate() as Iterable<Buffer>)];
    expect(pieces.reduce((sum, piece) => sum + piece.length, 0)).toBe(1_234_567);
    expect(pieces.at(-1)!.toString()).toBe('\r\n');
  });

  test('a mixed mailbox adds up, is the same for the same seed, and holds nothing that a server may change', () => {
    const messages = mixed(200, 9_400_000, 7);
    const text = messages.map((data) => data.toString('latin1'));
    expect(text.reduce((sum, { length }) => sum + length, 0)).toBe(9_400_000);
    expect(Math.min(...text.map(({ length }) => length))).toBeGreaterThanOrEqual(300);
    expect(new Set(text).size).toBe(200);
    expect(text.every((one) => one.endsWith('\r\n') && !/[^\r]\n|\r[^\n]|\0/.test(one))).toBe(true);
    expect(mixed(200, 9_400_000, 7).every((data, index) => data.equals(messages[index]!))).toBe(true);
    expect(mixed(200, 9_400_000, 8).every((data, index) => data.equals(messages[index]!))).toBe(false);
  });
});
