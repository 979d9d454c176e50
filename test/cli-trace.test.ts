import { link, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openTrace } from '../src/report/trace.js';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'popfetch-trace-'));
});
afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

const path = (name: string): string => join(directory, name);
const now = (): number => Date.UTC(2026, 0, 1);

test('each line has time, account, direction and the text, which is escaped [52]', async () => {
  const { trace, close } = await openTrace(path('t'), { now });
  trace('work', '*', 'connected');
  trace('w\x1b', 'S', '+OK \x1b[2J\r\n\xe9');
  trace('work', 'C', 'USER taro');
  await close();
  expect(await readFile(path('t'), 'utf8')).toBe(
    '2026-01-01T00:00:00.000Z work *: connected\n' +
      '2026-01-01T00:00:00.000Z w\\x1b S: +OK \\x1b[2J\\r\\n\\xe9\n' +
      '2026-01-01T00:00:00.000Z work C: USER taro\n',
  );
});

test('a line is in the file before the conversation goes on', async () => {
  const { trace, close } = await openTrace(path('t'), { now });
  trace('work', 'C', 'NOOP');
  expect(await readFile(path('t'), 'utf8')).toBe('2026-01-01T00:00:00.000Z work C: NOOP\n');
  await close();
});

test('the file is for its owner alone, and what was in it before is gone [30]', async () => {
  await writeFile(path('t'), 'something old and long '.repeat(9), { mode: 0o644 });
  const { trace, close } = await openTrace(path('t'), { now, uid: process.getuid?.() });
  trace('work', 'C', 'NOOP');
  await close();
  const { mode, size } = await stat(path('t'));
  expect(mode & 0o777).toBe(0o600);
  expect(size).toBe('2026-01-01T00:00:00.000Z work C: NOOP\n'.length);
});

test('a symbolic link, a second name, a directory and a file of another user are refused and left as they are [84]', async () => {
  await writeFile(path('precious'), 'precious');
  await symlink(path('precious'), path('symbolic'));
  await link(path('precious'), path('hard'));
  await mkdir(path('directory'));
  await writeFile(path('theirs'), 'theirs');
  const refusal = (name: string, why: string): object => ({
    code: 'CREATE',
    exit: 73,
    message: `cannot write the trace to ${path(name)}: ${why}`,
  });
  await expect(openTrace(path('symbolic'))).rejects.toMatchObject(
    refusal('symbolic', 'it is a symbolic link'),
  );
  await expect(openTrace(path('hard'))).rejects.toMatchObject(
    refusal('hard', 'it has a second name (hard link)'),
  );
  await expect(openTrace(path('directory'))).rejects.toMatchObject(refusal('directory', 'EISDIR'));
  await expect(openTrace(path('no/t'))).rejects.toMatchObject(refusal('no/t', 'ENOENT'));
  await expect(openTrace(path('theirs'), { uid: -1 })).rejects.toMatchObject(
    refusal('theirs', 'it belongs to another user'),
  );
  expect(await readFile(path('precious'), 'utf8')).toBe('precious');
  expect(await readFile(path('theirs'), 'utf8')).toBe('theirs');
});

test('a device is refused', async () => {
  await expect(openTrace('/dev/null')).rejects.toMatchObject({ code: 'CREATE' });
});
