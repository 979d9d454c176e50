import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, open as openFile, readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Command } from '../src/deliver/command.js';
import type { DestinationContext } from '../src/deliver/context.js';
import type { Destination } from '../src/deliver/destination.js';
import type { Patience } from '../src/deliver/handover.js';
import { openDestination } from '../src/deliver/index.js';
import { Spool } from '../src/deliver/spool.js';
import { PopfetchError } from '../src/errors.js';
import { caught } from './support/config-file.js';
import { broken, fetchInto, keyOf, message, Place, recover, sweep, TAG } from './support/delivery.js';
import { until } from './support/e2e.js';
import { MemoryLog } from './support/log.js';
import { awkward, toLf } from './support/messages.js';
import { systemError, WatchedDisk } from './support/watched-disk.js';

let place: Place;
let log: MemoryLog;
let out: string;
let notes: string[];

beforeEach(async () => {
  place = await Place.create();
  log = new MemoryLog();
  out = place.path('out');
  notes = [];
});

afterEach(() => place.remove());

type Changes = Partial<DestinationContext>;

function context(changes: Changes = {}): DestinationContext {
  const note = (sentence: string): void => void notes.push(sentence);
  return place.context({ env: { PATH: process.env['PATH'] }, note, ...changes });
}

function open(command: readonly string[], changes: Changes = {}): Promise<Destination> {
  return openDestination([{ command }], context(changes));
}

/** A script that finds the path of `out` as `$1`. */
function script(text: string): string[] {
  return ['sh', '-c', text, 'sh', out];
}

/** One that is ended sooner than programs of people are. */
function impatient(text: string, changes: Changes = {}, patience: Partial<Patience> = {}): Command {
  const all = context(changes);
  const spool = new Spool(all.disk, all.spool, TAG);
  return new Command(script(text), all, spool, { ending: 300, aborted: 300, hurried: 300, ...patience });
}

const read = (): Promise<string> => readFile(out, 'latin1');
const MAIL = Buffer.from('Subject: x\r\n\r\nFrom here\r\n');
const LARGE = Buffer.alloc(3_000_000, 'large\r\n');

/** A script whose processes hold a pipe open; the promise resolves when the last of them has ended. */
async function holding(): Promise<{ readonly fifo: string; readonly allGone: Promise<void> }> {
  const fifo = place.path('fifo');
  await promisify(execFile)('mkfifo', [fifo]);
  const allGone = (async () => {
    const file = await openFile(fifo, 'r');
    while ((await file.read(Buffer.alloc(100))).bytesRead > 0);
    await file.close();
  })();
  return { fifo, allGone };
}

describe('a command', () => {
  it.each(Object.entries(awkward))('gets %s on its stdin, and nothing else', async (_, data) => {
    for (const eol of ['lf', 'crlf'] as const) {
      const destination = await open(script('cat >"$1"'), { eol });
      expect(await fetchInto(destination, log, message(1, data))).toBe(data.length);
      expect(await read()).toBe((eol === 'lf' ? toLf(data) : data).toString('latin1'));
    }
    expect(notes).toEqual([]);
    expect(await place.spooled()).toEqual([]);
  });

  it('gets a large message whole', async () => {
    const disk = new WatchedDisk();
    const destination = await open(script('cat >"$1"'), { disk });
    await fetchInto(destination, log, message(1, LARGE));
    expect((await read()) === toLf(LARGE).toString('latin1')).toBe(true);
    expect(disk.openFiles).toBe(0);
    expect(await place.spooled()).toEqual([]);
  });

  it.each(['exit 0', 'head -c 10 >/dev/null', 'exec <&-; exit 0'])('need not read it: %s', async (text) => {
    const destination = await open(script(text));
    expect(await fetchInto(destination, log, message(1, LARGE))).toBe(LARGE.length);
  });

  it('is run with its arguments as they are, by no shell [103]', async () => {
    const words = ['$HOME', '*', 'a b', '', "'", '~', '`id`', '\u{1f4ec}'];
    const code = `require('fs').writeFileSync(process.argv[1], JSON.stringify(process.argv.slice(2)))`;
    await fetchInto(await open([process.execPath, '-e', code, out, ...words]), log, message(1, MAIL));
    expect(JSON.parse(await readFile(out, 'utf8'))).toEqual(words);
  });

  it('sees the environment that it is given, what popfetch says of the message, and nothing else [103]', async () => {
    const code = `require('fs').writeFileSync(process.argv[1], JSON.stringify(process.env))`;
    const env = { HOME: '/home/taro', POPFETCH_KEY: 'stale', GONE: undefined };
    const destination = await open([process.execPath, '-e', code, out], { account: '\u4ed5\u4e8b', env });
    const uid = 'a\0b\x1b[31m\xe9 \\';
    const mail = 'X: y\r\nReturn-Path: <hanako@example.com>\r\n\r\nReturn-Path: <body@example.com>\r\n';
    await fetchInto(destination, log, { ...message(1, mail), uid });
    const seen = JSON.parse(await readFile(out, 'utf8')) as Record<string, string>;
    // The system of a Mac puts it into every program.
    delete seen['__CF_USER_TEXT_ENCODING'];
    expect(seen).toEqual({
      HOME: '/home/taro',
      POPFETCH_KEY: keyOf(1),
      POPFETCH_ACCOUNT: '\u4ed5\u4e8b',
      POPFETCH_UID: 'a\\x00b\\x1b[31m\\xe9 \\\\',
      POPFETCH_SENDER: 'hanako@example.com',
    });
  });

  it.each(['Return-Path: <>\r\n\r\n', 'Subject: x\r\n\r\n', ''])('has no sender for %j', async (mail) => {
    const destination = await open(script('printf "%s" "${POPFETCH_SENDER-unset}" >"$1"'));
    await fetchInto(destination, log, message(1, mail));
    expect(await read()).toBe('');
  });

  it('has a name that tells it from others and hides its arguments', async () => {
    const names = await Promise.all(
      [['a'], ['a', 'secret'], ['a', 'other'], ['a', 'secret']].map(async (argv) => (await open(argv)).name),
    );
    expect(new Set(names).size).toBe(3);
    expect(names[1]).toBe(names[3]);
    for (const name of names) expect(name).toMatch(/^command:a#[0-9a-f]{8}$/);
  });

  it('has one message under way at a time', async () => {
    expect((await open(['true'])).window).toBe(1);
  });

  it.each([10, 200_000])(
    'is started when all of %i octets are on stable storage and the intent is recorded, not before',
    async (size) => {
      const disk = new WatchedDisk();
      const order: string[] = [];
      const started = (): void => {
        expect(existsSync(out), order.at(-1)).toBe(false);
      };
      disk.before = (call) => {
        if (!call.startsWith('open read') && order.at(-1) !== 'intend') started();
        order.push(call);
      };
      log.before = (verb) => {
        started();
        order.push(verb);
        return Promise.resolve();
      };
      const destination = await open(script('touch "$1"'), { disk });
      await destination.deliver(message(1, Buffer.alloc(size, 'x')), log);
      const before = order.slice(0, order.indexOf('intend')).filter((call) => call !== 'write');
      expect(before).toEqual(['open create', 'sync', 'close', 'syncDirectory']);
      expect(existsSync(out)).toBe(true);
      expect(log.intents()[0]).toMatchObject({ destination: destination.name, octets: size, details: {} });
    },
  );

  it('is not started for a message that does not arrive whole [102]', async () => {
    const destination = await open(script('touch "$1"'));
    const error = new Error('lost');
    for (const size of [10, 1_000_000]) {
      await expect(destination.deliver(broken(1, Buffer.alloc(size, 'x'), error), log)).rejects.toBe(error);
    }
    expect(existsSync(out)).toBe(false);
    expect(log.intents()).toEqual([]);
    expect(await place.spooled()).toEqual([]);
  });

  it('is not started when the intent cannot be recorded', async () => {
    const error = new PopfetchError('STATE', 'the memory cannot be written');
    log.before = () => Promise.reject(error);
    await expect((await open(script('touch "$1"'))).deliver(message(1, MAIL), log)).rejects.toBe(error);
    expect(existsSync(out)).toBe(false);
    expect(await place.spooled()).toEqual([]);
  });

  it.each(['write', 'sync', 'syncDirectory', 'open read'])(
    'is not started when the disk fails at %s',
    async (fails) => {
      const disk = new WatchedDisk();
      disk.before = (call) => {
        if (call === fails) throw systemError('ENOSPC');
      };
      const destination = await open(script('touch "$1"'), { disk });
      await expect(destination.deliver(message(1, MAIL), log)).rejects.toMatchObject({ code: 'DELIVERY' });
      expect(existsSync(out)).toBe(false);
      expect(disk.openFiles).toBe(0);
      expect(await place.spooled()).toEqual([]);
    },
  );

  it('counts what a crash interrupted as not delivered', async () => {
    const destination = await open(['true']);
    await destination.deliver(message(1, MAIL), log);
    expect(await recover(destination, log)).toEqual([]);
  });
});

describe('the exit status of a command [102]', () => {
  it.each([1, 2, 64, 66, 69, 70, 71, 72, 73, 74, 75, 78, 100, 126, 127, 128, 255])(
    '%i leaves the message for a later run',
    async (status) => {
      const error = await caught((await open(script(`exit ${status}`))).deliver(message(7, MAIL), log));
      expect(error).toMatchObject({
        ...{ code: 'REFUSED', phase: 'deliver', reach: 'message', temporary: true, exit: 75 },
        message: `the command sh did not take message 7: it ended with status ${status}`,
      });
      expect(await place.spooled()).toEqual([]);
    },
  );

  it.each([65, 67, 68, 76, 77])('%i refuses it for good', async (status) => {
    const error = await caught((await open(script(`exit ${status}`))).deliver(message(7, MAIL), log));
    expect(error).toMatchObject({
      ...{ code: 'DATA', phase: 'deliver', reach: 'message', temporary: false, exit: 65 },
      message: `the command sh did not take message 7: it ended with status ${status}`,
      remedy: 'it stays on the server; "rejected" names a Maildir for such messages',
    });
    expect(await place.spooled()).toEqual([]);
  });

  it('does not matter when a signal ended it: the message is left for a later run', async () => {
    const error = await caught((await open(script('kill -9 $$'))).deliver(message(7, MAIL), log));
    expect(error).toMatchObject({
      code: 'REFUSED',
      message: 'the command sh did not take message 7: it was ended by SIGKILL',
    });
  });
});

describe('what a command writes [102]', () => {
  it('to stderr is passed on, the first line of it, when the message is delivered', async () => {
    const text = String.raw`printf '\n \033[31mred\033[0m\tline \nmore\n' >&2`;
    await fetchInto(await open(script(text)), log, message(1, MAIL));
    expect(notes).toEqual([String.raw`the command sh says: "\x1b[31mred\x1b[0m\tline"`]);
  });

  it('to stderr is part of the error when it is not, the first and the last line of it', async () => {
    const fail = async (text: string): Promise<unknown> =>
      caught((await open(script(text))).deliver(message(1, MAIL), log));
    expect(await fail('echo "no such user" >&2; exit 67')).toMatchObject({
      message: 'the command sh did not take message 1: it ended with status 67, "no such user"',
    });
    expect(await fail('echo Traceback >&2; echo ... >&2; echo "NameError" >&2; exit 1')).toMatchObject({
      message: 'the command sh did not take message 1: it ended with status 1, "Traceback", "NameError"',
    });
    expect(notes).toEqual([]);
  });

  it('to stderr is shown up to 200 characters, and a flood of it stops nothing', async () => {
    const text = `head -c 1000000 /dev/zero | tr '\\0' x >&2`;
    await fetchInto(await open(script(text)), log, message(1, MAIL));
    expect(notes).toEqual([`the command sh says: "${'x'.repeat(200)}[+${65_536 - 200}]"`]);
  });

  it('to stdout goes nowhere, however much it is', async () => {
    await fetchInto(await open(script('head -c 1000000 /dev/zero')), log, message(1, MAIL));
    expect(notes).toEqual([]);
  });
});

describe('a command that cannot be started [102]', () => {
  it.each([
    ['is not on PATH', 'no-such-program', 'the command no-such-program was not found'],
    ['is not there', '/no/such/program', 'the command /no/such/program was not found'],
    ['is a directory', '/', 'the command / cannot be started (EACCES)'],
    ['would need a shell', '~/filter', 'the command ~/filter was not found'],
  ])('because it %s is found out before any mail is fetched', async (_, program, sentence) => {
    const error = await caught((await open([program, 'x'])).recover([], log));
    expect(error).toMatchObject({ code: 'CREATE', exit: 73, phase: 'destination', message: sentence });
    expect((error as PopfetchError).remedy).toContain('PATH');
  });

  it('because it may not be executed is found out, too', async () => {
    await writeFile(out, '#!/bin/sh\n', { mode: 0o600 });
    await expect((await open([out])).recover([], log)).rejects.toMatchObject({
      message: `the command ${out} cannot be started (EACCES)`,
    });
    await chmod(out, 0o700);
    expect(await (await open([out])).recover([], log)).toEqual([]);
  });

  it('is looked for on the PATH that it will have', async () => {
    await mkdir(place.path('bin'));
    await writeFile(place.path('bin', 'filter'), `#!/bin/sh\n/bin/cat >${out}\n`, { mode: 0o700 });
    const there = await open(['filter'], { env: { PATH: `/nowhere:${place.path('bin')}` } });
    expect(await there.recover([], log)).toEqual([]);
    await fetchInto(there, log, message(1, MAIL));
    expect(await read()).toBe(toLf(MAIL).toString());
    await expect((await open(['filter'], { env: {} })).recover([], log)).rejects.toMatchObject({
      code: 'CREATE',
    });
    expect(await (await open(['sh'], { env: {} })).recover([], log)).toEqual([]);
  });

  it.each([
    ['is gone', ['no-such-program'], /^the command no-such-program was not found$/],
    ['has too many words', ['true', 'x'.repeat(3_000_000)], /^the command true cannot be started \(E2BIG\)$/],
  ])('because it %s later on stops the account, and nothing is lost', async (_, argv, sentence) => {
    const error = await caught((await open(argv)).deliver(message(1, MAIL), log));
    expect(error).toMatchObject({ code: 'DELIVERY', exit: 74, reach: 'account', phase: 'deliver' });
    expect((error as PopfetchError).message).toMatch(sentence);
    expect(await place.spooled()).toEqual([]);
  });
});

describe('a command that takes longer than it may [102]', () => {
  it('is ended with all that it started', async () => {
    const { fifo, allGone } = await holding();
    // One goes at the first word, one ignores it.
    const text = `exec 3>${fifo}; (trap '' TERM; sleep 60) & sleep 60 & wait`;
    const error = await caught(impatient(text, { timeLimit: 1000 }).deliver(message(3, MAIL), log));
    expect(error).toMatchObject({
      code: 'REFUSED',
      message: 'the command sh did not take message 3: it did not end within 1 s',
    });
    await allGone;
    expect(await place.spooled()).toEqual([]);
  });

  it('has not delivered, though it says so when it is ended', async () => {
    const text = 'trap "exit 0" TERM; echo working >&2; sleep 60 & wait';
    await expect(impatient(text, { timeLimit: 500 }).deliver(message(1, MAIL), log)).rejects.toMatchObject({
      message: 'the command sh did not take message 1: it did not end within 0.5 s, "working"',
    });
  });

  it('has the time to tidy up', async () => {
    const text = `trap 'sleep 0.2; echo tidy >"$1"; exit 1' TERM; sleep 60 & wait`;
    const slow = impatient(text, { timeLimit: 500 }, { ending: 10_000 });
    await expect(slow.deliver(message(1, MAIL), log)).rejects.toMatchObject({ code: 'REFUSED' });
    expect(await read()).toBe('tidy\n');
  });
});

describe('what a command leaves behind [102]', () => {
  it('goes on, and is not waited for', async () => {
    const text = `(sleep 0.3; echo done >"$1") & exit 0`;
    await fetchInto(await open(script(text)), log, message(1, MAIL));
    expect(existsSync(out)).toBe(false);
    await until(() => existsSync(out), 'it has done its work');
  });
});

describe('when the run is to end', () => {
  const reason = new PopfetchError('ABORTED', 'interrupted by SIGTERM');

  it('a command is not started any more', async () => {
    const destination = await open(script('touch "$1"'), { signal: AbortSignal.abort(reason) });
    await expect(destination.deliver(message(1, MAIL), log)).rejects.toBe(reason);
    expect(existsSync(out)).toBe(false);
    expect(log.intents()).toEqual([]);
    expect(await place.spooled()).toEqual([]);
  });

  it('the message in hand may be finished', async () => {
    const ending = new AbortController();
    const text = 'touch "$1.started"; while [ ! -e "$1.go" ]; do sleep 0.02; done; cat >"$1"';
    const one = impatient(text, { signal: ending.signal }, { aborted: 20_000 });
    const delivery = one.deliver(message(1, MAIL), log);
    await until(() => existsSync(`${out}.started`), 'it is started');
    ending.abort(reason);
    await writeFile(`${out}.go`, '');
    expect((await delivery).octets).toBe(MAIL.length);
    expect(await read()).toBe(toLf(MAIL).toString());
  });

  it('a command that goes on is ended, with all that it started', async () => {
    const { fifo, allGone } = await holding();
    const ending = new AbortController();
    const text = `exec 3>${fifo}; trap '' TERM; touch "$1"; sleep 60 & wait; sleep 60`;
    const delivery = impatient(text, { signal: ending.signal }).deliver(message(1, MAIL), log);
    const outcome = caught(delivery);
    await until(() => existsSync(out), 'it is started');
    ending.abort(reason);
    expect(await outcome).toBe(reason);
    await allGone;
    expect(await place.spooled()).toEqual([]);
  });
});

it('a command that is killed with popfetch at every step loses nothing, and one message at most comes twice', async () => {
  const messages = [MAIL, LARGE.subarray(0, 200_000), Buffer.from('Subject: last\r\n\r\n')];
  const sizes = messages.map((data) => toLf(data).length).sort((a, b) => a - b);
  let doubled = 0;
  const killed = await sweep({
    configs: (where) => [{ command: ['sh', '-c', 'wc -c >>"$1"', 'sh', where.path('out')] }],
    context: { env: { PATH: process.env['PATH'] } },
    messages,
    check: async (where, step) => {
      const text = await readFile(where.path('out'), 'utf8');
      const got = text.trim().split(/\s+/).map(Number);
      expect(
        [...new Set(got)].sort((a, b) => a - b),
        `killed at step ${step}`,
      ).toEqual(sizes);
      expect(got.length, `killed at step ${step}`).toBeLessThanOrEqual(sizes.length + 1);
      if (got.length > sizes.length) doubled += 1;
      expect(await where.spooled()).toEqual([]);
    },
  });
  expect(killed).toBeGreaterThan(30);
  expect(doubled).toBeGreaterThan(0);
}, 120_000);
