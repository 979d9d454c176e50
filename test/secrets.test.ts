import { execFile } from 'node:child_process';
import { chmod, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readPassword } from '../src/config/secrets.js';
import { PopfetchError } from '../src/errors.js';
import { caught, ConfigHome, UID } from './support/config-file.js';

let home: ConfigHome;
beforeEach(async () => {
  home = await ConfigHome.create();
});
afterEach(() => home.remove());

const SECRET = 'hunter2 correct horse';
const env = { PATH: process.env['PATH'], PW: SECRET, EMPTY: '', LINES: 'a\nb' };
const options = { env, account: { name: 'work', host: 'pop.example.com', user: 'taro' } };
const node = (script: string, ...args: string[]) => ({ command: [process.execPath, '-e', script, ...args] });
const sh = (script: string) => ({ command: ['sh', '-c', script] });

async function failure(...args: Parameters<typeof readPassword>): Promise<PopfetchError> {
  const error = await caught(readPassword(...args));
  expect(error).toBeInstanceOf(PopfetchError);
  expect(error).toMatchObject({ account: 'work', phase: 'config' });
  const { message, remedy, stack, cause } = error as PopfetchError;
  expect(JSON.stringify([message, remedy, stack, cause])).not.toContain('hunter2');
  return error as PopfetchError;
}

describe('a password in the config', () => {
  it('is the password', async () => {
    expect(await readPassword({ value: SECRET }, options)).toBe(SECRET);
  });

  it.each(['hunter2\r\nQUIT', 'hunter2\n', 'hun\0hunter2'])(
    'is refused with a line break or NUL',
    async (value) => {
      const error = await failure({ value }, options);
      expect(error.message).toBe(
        'the password in the config holds a line break or NUL, which no server takes',
      );
    },
  );
});

describe('a password in the environment', () => {
  it('is the value of the variable', async () => {
    expect(await readPassword({ env: 'PW' }, options)).toBe(SECRET);
  });

  it.each([
    ['NOPE', 'the environment variable NOPE is not set', 'set NOPE to the password'],
    ['EMPTY', 'the environment variable EMPTY is empty', 'put the password there'],
    [
      'LINES',
      'the environment variable LINES holds a line break or NUL, which no server takes',
      'put the password alone there',
    ],
    [
      'NUL',
      'the environment variable NUL holds a line break or NUL, which no server takes',
      'put the password alone there',
    ],
  ])('in %s: %s', async (name, message, remedy) => {
    expect(await failure({ env: name }, { ...options, env: { ...env, NUL: 'a\0b' } })).toMatchObject({
      code: 'CONFIG',
      exit: 78,
      message,
      remedy,
    });
  });
});

describe('a password in a file', () => {
  it.each([SECRET, `${SECRET}\n`, `${SECRET}\r\n`, `${SECRET}\nsecond line\n`])(
    'is its first line: %j',
    async (text) => {
      expect(await readPassword({ file: await home.write('pw', text) }, options)).toBe(SECRET);
    },
  );

  it('keeps blanks and letters of every script', async () => {
    expect(await readPassword({ file: await home.write('pw', ' pässwörd \n') }, options)).toBe(' pässwörd ');
  });

  it.each([
    ['', 'is empty'],
    ['\nhunter2\n', 'is empty'],
    ['a\rhunter2\n', 'holds a line break or NUL, which no server takes'],
    ['a\0hunter2\n', 'holds a line break or NUL, which no server takes'],
  ])('with %j is refused', async (text, message) => {
    const file = await home.write('pw', text);
    const error = await failure({ file }, options);
    expect(error).toMatchObject({ code: 'CONFIG', message: `the password file ${file} ${message}` });
  });

  it('that is not UTF-8 is refused, for it would be another password', async () => {
    const file = await home.write('pw', Buffer.from('p\xe4ss\n', 'latin1'));
    expect((await failure({ file }, options)).message).toBe(`the password file ${file} is not UTF-8 text`);
  });

  it.each([0o640, 0o604, 0o644])('that others can read, with mode %o, is refused', async (mode) => {
    const file = await home.write('pw', `${SECRET}\n`, mode);
    expect(await failure({ file }, options)).toMatchObject({
      code: 'PERMISSION',
      exit: 77,
      message: `${file} holds a password and can be read by others (mode 0${mode.toString(8)})`,
      remedy: `run chmod 600 ${file}`,
    });
  });

  it('that does not exist, is a directory or a pipe is refused', async () => {
    const file = home.path('nope');
    expect(await failure({ file }, options)).toMatchObject({
      code: 'CONFIG',
      message: `cannot read the password file ${file}: ENOENT`,
    });
    await chmod(home.home, 0o700);
    expect((await failure({ file: home.home }, options)).message).toBe(
      `the password file ${home.home} is not a regular file`,
    );
    const pipe = home.path('pipe');
    await promisify(execFile)('mkfifo', ['-m', '600', pipe]);
    expect((await failure({ file: pipe }, options)).message).toBe(
      `the password file ${pipe} is not a regular file`,
    );
  });

  it.skipIf(UID === 0)('that we may not read is a matter of permissions', async () => {
    const file = await home.write('pw', SECRET, 0o200);
    expect(await failure({ file }, options)).toMatchObject({ code: 'PERMISSION', exit: 77 });
  });
});

describe('a password from a command', () => {
  it.each([
    ['a line', `printf '%s\\n' "$PW"`],
    ['no line end', `printf '%s' "$PW"`],
    ['more lines', `printf '%s\\nmore\\n' "$PW"`],
    ['words on stderr', `echo unlocking >&2; echo "$PW"`],
  ])('is the first line of its output: %s', async (_, script) => {
    expect(await readPassword(sh(script), options)).toBe(SECRET);
  });

  it('gets its arguments as they are, no shell in between', async () => {
    const script = 'console.log(JSON.stringify(process.argv.slice(1)))';
    const args = ['$PW', '`id`', 'a b', '*', ';true', ''];
    expect(JSON.parse(await readPassword(node(script, ...args), options))).toEqual(args);
  });

  it('finds nothing on stdin', async () => {
    const script = 'process.stdin.on("data", () => process.exit(9)).on("end", () => console.log("end"))';
    expect(await readPassword(node(script), options)).toBe('end');
  });

  it('sees the environment that was given and no other', async () => {
    const script =
      'console.log(Object.keys(process.env).filter((name) => /^(PW|HOME|EMPTY)$/.test(name)).join())';
    expect(await readPassword(node(script), options)).toBe('PW,EMPTY');
  });

  it.each([
    ['exits with a status', 'exit 3', 'ended with status 3'],
    ['says why', 'echo "no such entry" >&2; echo more >&2; exit 1', 'ended with status 1: no such entry'],
    [
      'says it in a way that steers a terminal',
      `printf '\\033[31mno\\n' >&2; exit 1`,
      'ended with status 1: \\x1b[31mno',
    ],
    ['shows the password in its trace', 'set -x; echo "$PW"; exit 1', 'ended with status 1: + echo ********'],
    ['is killed', 'kill -TERM $$', 'was ended by SIGTERM'],
  ])('that %s is an error', async (_, script, message) => {
    const error = await failure(sh(script), options);
    expect(error).toMatchObject({
      code: 'CONFIG',
      exit: 78,
      message: `the password command sh ${message}`,
      remedy: 'run it by hand to see what it says',
    });
  });

  it.each([
    ['nothing', 'true', 'is empty'],
    ['an empty line', 'echo; echo hunter2', 'is empty'],
    ['NUL', `printf 'hunter2\\0\\n'`, 'holds a line break or NUL, which no server takes'],
  ])('that says %s is an error', async (_, script, message) => {
    expect((await failure(sh(script), options)).message).toBe(
      `the output of the password command sh ${message}`,
    );
  });

  it('that is not there is an error', async () => {
    const { message } = await failure({ command: ['/nope/hunter', 'hunter2'] }, options);
    expect(message).toBe('the password command /nope/hunter was not found');
  });

  it('that may not be executed is an error', async () => {
    const file = await home.write('not-executable', 'x');
    const { message } = await failure({ command: [file] }, options);
    expect(message).toBe(`the password command ${file} cannot be started (EACCES)`);
  });

  it('is killed with all it started when its time is over', async () => {
    const pids = home.path('pids');
    const script = `echo $$ >> "${pids}"; (echo $(exec sh -c 'echo $PPID') >> "${pids}"; exec sleep 60) & wait`;
    const error = await failure(sh(script), { ...options, limit: 1000 });
    expect(error.message).toBe('the password command sh did not end within 1 s');
    const started = (await readFile(pids, 'utf8')).trim().split('\n').map(Number);
    expect(started).toHaveLength(2);
    for (const pid of started) await gone(pid);
  });

  it('is not waited for when it leaves a daemon behind that keeps its stdout', async () => {
    const daemon = 'setTimeout(() => {}, 60000)';
    const script = `const {spawn} = require("node:child_process");
      const child = spawn(process.execPath, ["-e", ${JSON.stringify(daemon)}], {detached: true, stdio: ["ignore", "inherit", "ignore"]});
      child.unref();
      console.log(child.pid);`;
    const start = performance.now();
    const pid = Number(await readPassword(node(script), options));
    expect(performance.now() - start).toBeLessThan(9000);
    expect(process.kill(pid, 'SIGKILL')).toBe(true);
  });

  it('that floods stdout does not fill the memory', async () => {
    const script =
      'console.log("first"); for (let i = 0; i < 200; i++) process.stdout.write("x".repeat(65536));';
    expect(await readPassword(node(script), options)).toBe('first');
  });

  it('ends when the run is interrupted, with the reason of the interruption', async () => {
    const abort = new AbortController();
    const reason = new PopfetchError('ABORTED', 'interrupted');
    const reading = caught(readPassword(sh('sleep 60'), { ...options, signal: abort.signal }));
    abort.abort(reason);
    expect(await reading).toMatchObject({ code: 'ABORTED', account: 'work' });
    expect(await caught(readPassword(sh('echo x'), { ...options, signal: abort.signal }))).toMatchObject({
      code: 'ABORTED',
    });
  });
});

/** Resolves when the process is gone: the kernel takes a moment after a kill. A zombie is as good as gone. */
async function gone(pid: number): Promise<void> {
  for (;;) {
    const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    if (status === '' || /\) [ZX] /.test(status)) return;
  }
}
