/** The process itself: how it dies, what its children get of it, which modes its files have, and what it will run on. */
import { execFileSync } from 'node:child_process';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { reach, said, stored, World } from '../support/e2e.js';
import { plain } from '../support/messages.js';
import { straceProblem } from '../support/strace.js';

const MAIL = [plain(1), plain(2), plain(3)];

let world: World;
beforeEach(async () => {
  world = await World.create();
});
afterEach(() => world.close());

/** Options of node that run this text before the program. */
const preload = (text: string): string[] => ['--import', `data:text/javascript,${encodeURIComponent(text)}`];

/** Does `what` as soon as the second message is asked for. */
const atSecond = (what: string): string => `
  import net from 'node:net';
  const { write } = net.Socket.prototype;
  net.Socket.prototype.write = function (data, ...rest) {
    if (/^RETR 2/.test(String(data))) setImmediate(() => { ${what} });
    return write.call(this, data, ...rest);
  };`;

describe('a process that dies in the middle of a session tells the server nothing and writes nothing more [106]', () => {
  it.each([
    ['an exception that nobody catches', [], `throw new Error('of a test')`],
    ['a rejection that nobody handles', [], `Promise.reject(new Error('of a test'))`],
    [
      'memory that is used up',
      ['--max-old-space-size=48'],
      'const all = []; for (;;) all.push(new Array(1e5).fill({}))',
    ],
  ])('of %s', async (what, options, doing) => {
    const server = await world.serve({ taro: MAIL }, { pipelining: false });
    await world.configure({ work: reach(server, { delete: 'delivered' }) });
    const nodeOptions = [...options, ...preload(atSecond(doing))];
    // A runtime without memory says so in its own words.
    const { code, signal, stderr } = await world.sandbox.run([], { nodeOptions });
    if (options.length > 0) expect([code, signal]).toEqual([null, 'SIGABRT']);
    else
      expect([code, stderr]).toEqual([
        70,
        expect.stringMatching(/^popfetch: this is a bug in popfetch.*of a test/s),
      ]);
    expect(said(server, 'QUIT', 'DELE'), what).toEqual([]);
    // How a run went is written where it ends in order.
    const [journal = ''] = await world.journals();
    expect(await readFile(journal, 'latin1')).not.toMatch(/^RUN /m);
    expect(server.mailbox('taro').messages).toHaveLength(3);
    expect(await world.popfetch()).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await world.maildir('work')).toEqual(stored(...MAIL));
    expect([await world.leftovers('work'), server.mailbox('taro').messages]).toEqual([[], []]);
  });
});

/** What `ls -l` has written of /proc/PID/fd, as `NUMBER -> WHAT`, by number. */
async function descriptors(file: string): Promise<string[]> {
  const found = (await readFile(file, 'utf8')).match(/\d+ -> .*/g) ?? [];
  return found.sort((a, b) => parseInt(a) - parseInt(b));
}

describe('a command that mail is handed to', () => {
  it.runIf(process.platform === 'linux')(
    'has no descriptor of popfetch but its message, nowhere and stderr [107]',
    async () => {
      const server = await world.serve({ taro: MAIL.slice(0, 1) });
      const out = world.sandbox.path('descriptors');
      // The shell opens nothing for this, and what ls opens is its own.
      const script = 'exec 1>"$1"; ls -l /proc/$$/fd; :';
      await world.configure({
        work: reach(server, {
          deliver: [{ maildir: '~/work' }, { mbox: '~/box' }, { command: ['sh', '-c', script, 'sh', out] }],
        }),
      });
      expect(await world.popfetch()).toMatchObject({ code: 0 });
      const [stdin = '', , stderr = '', ...others] = await descriptors(out);
      expect(stdin).toContain(`0 -> ${join(world.sandbox.state, 'popfetch/spool')}/A`);
      expect(stderr).toMatch(/^2 -> (socket|pipe):/);
      // What the tests themselves were started with goes through all processes, and is none of popfetch's.
      execFileSync('sh', ['-c', script, 'sh', out], { stdio: ['ignore', 'ignore', 'pipe'] });
      expect(others).toEqual((await descriptors(out)).slice(3));
    },
  );

  it('cannot write to its message, which is open for reading only [107]', async () => {
    const server = await world.serve({ taro: MAIL.slice(0, 1) });
    await world.configure({
      work: reach(server, {
        deliver: {
          command: ['sh', '-c', 'echo spoilt >&0 2>/dev/null; cat >"$1"', 'sh', world.sandbox.path('out')],
        },
      }),
    });
    await world.popfetch();
    expect(await readFile(world.sandbox.path('out'), 'latin1')).toBe(stored(MAIL[0]!)[0]);
  });
});

describe('whatever the umask is [86]', () => {
  it.each(['0', '0777'])('files are 0600 and directories 0700: umask %s', async (umask) => {
    const server = await world.serve({ taro: MAIL });
    const trace = world.sandbox.path('trace');
    await world.configure({
      work: reach(server, { deliver: [{ maildir: '~/made/maildir' }, { mbox: '~/made/boxes/mbox' }] }),
    });
    const { code, stderr } = await world.shell(`umask ${umask}; popfetch --trace '${trace}'`);
    expect([code, stderr]).toEqual([0, '']);
    const modes = new Map<string, string[]>();
    for (const top of ['made', '.local/state/popfetch', 'trace']) {
      const path = world.sandbox.path(top);
      const below = await readdir(path, { recursive: true }).catch(() => []);
      for (const each of [path, ...below.map((name) => join(path, name))]) {
        const { mode } = await stat(each);
        const octal = (mode & 0o7777).toString(8);
        modes.set(octal, [...(modes.get(octal) ?? []), each]);
      }
    }
    expect([...modes.keys()].sort()).toEqual(['600', '700']);
    expect(modes.get('600')?.length).toBeGreaterThan(5);
  });

  it.skipIf(straceProblem() !== undefined)(
    'they are made so from the start, as the system calls show',
    async () => {
      const server = await world.serve({ taro: MAIL });
      await world.configure({
        work: reach(server, { deliver: [{ maildir: '~/made/maildir' }, { mbox: '~/made/mbox' }] }),
      });
      const calls = world.sandbox.path('calls');
      const names = 'trace=?open,openat,?mkdir,mkdirat,?chmod,fchmod,fchmodat';
      const under = ['sh', '-c', 'umask 0; exec "$@"', 'sh', 'strace', '-f', '-qq', '-o', calls, '-e', names];
      expect(await world.run([], { under })).toMatchObject({ code: 0 });
      const lines = (await readFile(calls, 'latin1'))
        .split('\n')
        .filter((line) => line.includes(`"${world.sandbox.home}/`));
      const made = lines.filter((line) => /O_CREAT|mkdir/.test(line) && !line.includes('EEXIST'));
      const modes = made.map(
        (line) => [/, (0\d+)\)/.exec(line)?.[1], /"([^"]*)"/.exec(line)?.[1] ?? ''] as const,
      );
      // A lock is for others to read, as far as the umask lets them, which popfetch sets to 077.
      const wrong = modes.filter(
        ([mode, path]) => mode !== '0600' && mode !== '0700' && !/\.lock\.\w+$/.test(path),
      );
      expect(wrong).toEqual([]);
      expect(modes.filter(([mode]) => mode === '0600').length).toBeGreaterThan(5);
      expect(lines.filter((line) => line.includes('chmod'))).toEqual([]);
    },
  );
});

describe('a runtime that popfetch is not made for is refused before it reads anything else [110]', () => {
  const pretending = (versions: string): string[] =>
    preload(`Object.defineProperty(process, 'versions', { value: { ...process.versions, ${versions} } })`);

  it.each([
    [`node: '20.18.3'`, 'Node.js 20.18.3'],
    [`node: '18.20.8'`, 'Node.js 18.20.8'],
    [`node: '9.0.0'`, 'Node.js 9.0.0'],
    [`node: undefined`, 'Node.js undefined'],
    [`bun: '1.3.2'`, 'Bun 1.3.2'],
    [`bun: '1.3.2', node: '24.3.0'`, 'Bun 1.3.2'],
    [`deno: '2.5.0'`, 'Deno 2.5.0'],
  ])('%s', async (versions, name) => {
    const { code, stdout, stderr } = await world.run(['--version'], { nodeOptions: pretending(versions) });
    expect([code, stdout.toString(), stderr]).toEqual([
      78,
      '',
      `popfetch: it runs on Node.js 20.19 or newer and on nothing else, and this is ${name}\n`,
    ]);
  });

  it.each([`node: '20.19.0'`, `node: '22.0.0'`, `node: '100.1.0'`])(
    'and one that it is made for is not: %s',
    async (versions) => {
      const { code, stderr } = await world.run(['--version'], { nodeOptions: pretending(versions) });
      expect([code, stderr]).toEqual([0, '']);
    },
  );

  it('in words that an old one can read', async () => {
    const text = await readFile(fileURLToPath(new URL('../../bin/popfetch.js', import.meta.url)), 'utf8');
    expect(text).not.toMatch(/^import\s|\bawait\b|\bconst\b|\?\.|\?\?|`/m);
  });
});

describe('the lock of a run', () => {
  it.each([
    ['a process that is alive, though nobody holds it', () => `${process.pid}`],
    ['the first process of the machine', () => '1'],
    ['no process', () => ''],
  ])('that names %s keeps nobody out [101]', async (_, pid) => {
    const server = await world.serve({ taro: MAIL });
    await world.configure({ work: reach(server) });
    expect(await world.popfetch()).toMatchObject({ code: 0 });
    const [journal = ''] = await world.journals();
    await writeFile(journal.replace(/journal$/, 'lock'), `${pid()} host 2026-01-01T00:00:00.000Z\n`);
    expect(await world.popfetch()).toEqual({ code: 0, stdout: '', stderr: '' });
  });
});
