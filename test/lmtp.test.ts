import { basename } from 'node:path';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DestinationContext } from '../src/deliver/context.js';
import type { Destination, Delivery } from '../src/deliver/destination.js';
import { openDestination } from '../src/deliver/index.js';
import { PopfetchError } from '../src/errors.js';
import { broken, failingDisk, fetchInto, message, Place, recover, sweep } from './support/delivery.js';
import { MemoryLog } from './support/log.js';
import { LmtpServer, PLAIN_LHLO, type Answer, type Step } from './support/lmtp.js';
import { awkward, lines, plain } from './support/messages.js';
import { systemError } from './support/watched-disk.js';

const TARO = 'taro@example.com';
const HANAKO = 'hanako@example.com';
const LARGE = Buffer.concat([plain(9), Buffer.alloc(3_000_000, '.dotted line of a large message\r\n')]);

let place: Place;
let log: MemoryLog;
let server: LmtpServer;

beforeEach(async () => {
  place = await Place.create();
  log = new MemoryLog();
  server = await LmtpServer.start();
});

afterEach(async () => {
  vi.useRealTimers();
  await server.close();
  await place.remove();
});

function open(
  changes: Partial<DestinationContext> = {},
  recipient: readonly string[] = [TARO],
  lmtp = server.address,
): Promise<Destination> {
  return openDestination([{ lmtp, recipient }], place.context(changes));
}

/** What a delivery fails with. */
async function failureOf(delivery: Promise<Delivery>): Promise<PopfetchError> {
  const error = await delivery.then(
    () => new Error('it was delivered'),
    (thrown: unknown) => thrown,
  );
  if (error instanceof PopfetchError) return error;
  throw error;
}

/** The message as LMTP can carry it: every line ends in CRLF, the last one, too, and CR CRLF is one end. */
function carried(data: Buffer): string {
  const text = data.toString('latin1').replace(/\r\r\n/g, '\r\n');
  const whole = text.replace(/\r(?!\n)|(?<!\r)\n/g, '\r\n');
  return whole.endsWith('\r\n') ? whole : `${whole}\r\n`;
}

describe('a message', () => {
  it.each(Object.entries(awkward))('arrives as it is: %s', async (_, data) => {
    const destination = await open();
    for (const size of [1, 7, 65_536].filter((each) => data.length / each < 10_000)) {
      await fetchInto(destination, log, message(size, data, size));
      expect(server.taken.at(-1)!.data.toString('latin1')).toBe(carried(data));
    }
    await destination.close();
    expect(await place.spooled()).toEqual([]);
  });

  it.each([
    '\r.\r',
    '\n.\n',
    '\r\n.\r\n',
    '\n.\r\n',
    '\r\n.\n',
    '\r.\r\n',
    '\r\n.\r',
    '\r\r\n.\r\n',
    '.\r\n',
  ])('cannot smuggle another one in by %j, however loosely a server reads line ends', async (end) => {
    const evil = `Subject: x\r\n\r\nbefore${end}MAIL FROM:<x>\r\nRCPT TO:<y>\r\nDATA\r\nafter${end}`;
    const destination = await open();
    for (const [n, data] of [`${evil}x`, evil, `${end}${evil}`].entries()) {
      await fetchInto(destination, log, message(n, data, 5));
      expect(server.taken.at(-1)!.raw.toString('latin1')).not.toMatch(/(^|\r|\n)\.(\r|\n|$)/);
      expect(server.taken.at(-1)!.raw.toString('latin1')).not.toMatch(/\r(?!\n)|(?<!\r)\n/);
    }
    expect(server.commands.filter((line) => line.startsWith('MAIL'))).toHaveLength(3);
    await destination.close();
  });

  it('of some megabytes goes out whole, and its file is gone afterwards', async () => {
    const destination = await open();
    expect(await fetchInto(destination, log, message(1, LARGE))).toBe(LARGE.length);
    expect(server.taken[0]!.data.toString('latin1')).toBe(carried(LARGE));
    expect(await place.spooled()).toEqual([]);
    await destination.close();
  });

  it('has CRLF line ends and no field of ours, whatever the line ends of the account', async () => {
    for (const eol of ['lf', 'crlf'] as const) {
      const destination = await open({ eol });
      await fetchInto(destination, log, message(1, plain(1)));
      await destination.close();
    }
    expect(server.taken.map(({ data }) => data.toString())).toEqual([
      plain(1).toString(),
      plain(1).toString(),
    ]);
  });

  it('is on its intent before the server hears of it', async () => {
    const destination = await open();
    log.after = (verb) => {
      expect([verb, server.connections]).toEqual(['intend', 0]);
      return Promise.resolve();
    };
    await destination.deliver(message(1, plain(1)), log);
    expect(log.intents().map(({ destination: name }) => name)).toEqual([`lmtp:${server.address}/${TARO}`]);
    await destination.close();
  });

  it('that did not arrive whole is never offered', async () => {
    const lost = new PopfetchError('LOST', 'the connection broke');
    const destination = await open();
    await expect(destination.deliver(broken(1, LARGE, lost), log)).rejects.toBe(lost);
    expect([server.connections, log.intents(), await place.spooled()]).toEqual([0, [], []]);
  });

  it('that cannot be read from the disk is never ended [104]', async () => {
    const disk = failingDisk((call) => (call === 'read' ? systemError('EIO') : undefined));
    disk.before = ((plan) => {
      let reads = 0;
      return (call: string, path: string): void => {
        // The first one looks for the sender.
        if (call === 'read') reads += 1;
        if (reads > 3) plan(call, path);
      };
    })(disk.before);
    const destination = await open({ disk });
    const error = await failureOf(destination.deliver(message(1, LARGE), log));
    expect(error).toMatchObject({ code: 'DELIVERY', phase: 'deliver' });
    expect(error.message).toMatch(/spool.*input\/output error/);
    await server.until(() => server.open === 0);
    expect(server.taken).toEqual([]);
    expect(disk.openFiles).toBe(0);
  });

  it('is read alike by a server of other hands [104]', async () => {
    const received: string[] = [];
    const other = new SMTPServer({
      lmtp: true,
      disabledCommands: ['AUTH', 'STARTTLS'],
      onData: (stream, _, callback) => {
        const chunks: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () => {
          received.push(Buffer.concat(chunks).toString('latin1'));
          callback(null, 'taken');
        });
      },
    });
    other.on('error', () => undefined);
    await once(other.listen(0, '127.0.0.1'), 'listening');
    const { port } = other.server.address() as AddressInfo;
    const destination = await open({}, [TARO], `127.0.0.1:${port}`);
    const all = [...Object.values(awkward), LARGE];
    for (const [n, data] of all.entries()) await fetchInto(destination, log, message(n, data));
    await destination.close();
    await new Promise<void>((resolve) => {
      other.close(resolve);
    });
    expect(received).toEqual(all.map(carried));
  });
});

describe('the envelope', () => {
  async function senderOf(...header: string[]): Promise<string> {
    const destination = await open();
    await fetchInto(destination, log, message(1, lines(...header, '', 'body')));
    await destination.close();
    return server.taken.at(-1)!.sender;
  }

  it.each([
    ['Return-Path: <taro+tag@mail.example.com>', 'taro+tag@mail.example.com'],
    ['Return-Path: <>', ''],
    ['Subject: nobody', ''],
    ['Return-Path: <root>', ''],
    ['Return-Path: <"two words"@example.com>', ''],
    ['Return-Path: <@a.example,@b.example:c@example.com>', ''],
    ['Return-Path: <a@example.com> SIZE=1', ''],
    ['Return-Path: <été@example.com>', ''],
    [`Return-Path: <${'x'.repeat(65)}@example.com>`, ''],
  ])('has the sender of %j, where every server takes it', async (header, sender) => {
    expect(await senderOf(header)).toBe(sender);
  });

  it('has the first of several', async () => {
    expect(await senderOf('Return-Path: <a@example.com>', 'Return-Path: <b@example.com>')).toBe(
      'a@example.com',
    );
  });

  it('names the recipient, says that octets may have eight bits where the server takes that, and nothing else', async () => {
    await senderOf('Return-Path: <a@example.com>');
    server.answer = (step) => (step === 'LHLO' ? PLAIN_LHLO : undefined);
    await senderOf('Return-Path: <a@example.com>');
    expect(server.commands.filter((line) => !/^(LHLO|DATA|QUIT)/.test(line))).toEqual([
      'MAIL FROM:<a@example.com> BODY=8BITMIME',
      `RCPT TO:<${TARO}>`,
      'MAIL FROM:<a@example.com>',
      `RCPT TO:<${TARO}>`,
    ]);
    expect(server.commands).not.toContain('STARTTLS');
  });
});

describe('several recipients [104]', () => {
  it('are destinations of their own, named once each', async () => {
    const destination = await open({}, [TARO, HANAKO, TARO]);
    expect(destination.name).toBe(`lmtp:${server.address}/${TARO}, lmtp:${server.address}/${HANAKO}`);
    expect(destination.window).toBe(1);
    await fetchInto(destination, log, message(1, plain(1)));
    expect(server.taken.map(({ recipient }) => recipient)).toEqual([TARO, HANAKO]);
    await destination.close();
  });

  it('do not get a message again that another one was refused', async () => {
    server.answer = (step, recipient) =>
      step === 'message' && recipient === HANAKO ? '452 full\r\n' : undefined;
    const first = await open({}, [TARO, HANAKO]);
    expect(await failureOf(first.deliver(message(1, plain(1)), log))).toMatchObject({ code: 'REFUSED' });
    await first.close();
    server.answer = () => undefined;
    const second = await open({}, [TARO, HANAKO]);
    expect(await recover(second, log)).toEqual([]);
    await fetchInto(second, log, message(1, plain(1)));
    await second.close();
    expect(server.taken.map(({ recipient }) => recipient)).toEqual([TARO, HANAKO]);
  });
});

/** How far a failure reaches by the step and the answer. */
function expected(step: Step, answer: Answer): 'DELIVERY' | 'REFUSED' | 'DATA' {
  if (step === 'greeting' || step === 'LHLO' || answer.startsWith('421')) return 'DELIVERY';
  if (/^4\d\d[ -]/.test(answer)) return 'REFUSED';
  return /^5\d\d[ -]/.test(answer) ? 'DATA' : 'DELIVERY';
}

describe.each<[string, string | undefined]>([
  ['pipelining', undefined],
  ['no extensions', PLAIN_LHLO],
])('with %s', (_, lhlo) => {
  const steps: Step[] = ['greeting', 'LHLO', 'MAIL', 'RCPT', 'DATA', 'message'];
  const answers: Answer[] = [
    '450 4.2.0 later\r\n',
    '452-4.2.2 over quota\r\n452 4.2.2 try tomorrow\r\n',
    '421 4.3.2 shutting down\r\n',
    '500 what\r\n',
    '550 5.7.1 no\r\n',
    '554 no\r\n',
    '199 soon\r\n',
    '334 VXNlcm5hbWU6\r\n',
    '99 what\r\n',
    '+OK\r\n',
    '\r\nhello\r\n',
    'close',
    'silence',
    '250 half a li',
  ];
  const odd: [Step, Answer][] = [
    ['greeting', '250 OK\r\n'],
    ['MAIL', '354 go on\r\n'],
    ['RCPT', '354 go on\r\n'],
    ['DATA', '250 OK\r\n'],
    ['message', '354 go on\r\n'],
    ['message', '2500 OK\r\n'],
  ];

  it.each([...steps.flatMap((step) => answers.map((answer): [Step, Answer] => [step, answer])), ...odd])(
    '%s answered by %j stores nothing, is said in words, and the next message goes on',
    async (step, answer) => {
      let said = false;
      server.answer = (at) => {
        if (at === step && !said) {
          said = true;
          return answer;
        }
        return at === 'LHLO' ? lhlo : undefined;
      };
      const waits = answer === 'silence' || answer.startsWith('250 half');
      const destination = await open(waits ? { timeLimit: 100 } : {});
      const error = await failureOf(destination.deliver(message(1, plain(1)), log));
      expect(error).toMatchObject({ code: expected(step, answer), phase: 'deliver' });
      expect(error.message).toContain('the LMTP server');
      expect(error.remedy).toBeDefined();
      if (error.code !== 'DELIVERY') {
        expect(error.message).toContain(`message 1 for ${TARO}`);
        expect(error.serverText).toBe(answer.trim().replaceAll('\r\n', ' '));
      }
      if (waits) expect(error.message).toContain('within 0.1 s');
      await fetchInto(destination, log, message(2, plain(2)));
      await destination.close();
      const last = server.taken.pop();
      expect(last?.data.toString()).toBe(plain(2).toString());
      // A server that took the message and said so badly is the one case that doubles.
      expect(server.taken.length).toBeLessThanOrEqual(step === 'message' && answer.startsWith('2') ? 1 : 0);
      await server.until(() => server.open === 0);
      expect(await place.spooled()).toEqual([]);
    },
  );

  it('answers of several lines, octet by octet, are understood', async () => {
    server.slow = true;
    server.answer = (step) => {
      if (step === 'LHLO' && lhlo !== undefined) return lhlo;
      return step === 'DATA' || step === 'QUIT' || step === 'LHLO'
        ? undefined
        : `2${step === 'greeting' ? 2 : 5}0-a\r\n2${step === 'greeting' ? 2 : 5}0 b\r\n`;
    };
    const destination = await open();
    for (const n of [1, 2, 3]) await fetchInto(destination, log, message(n, plain(n)));
    await destination.close();
    expect(server.taken).toHaveLength(3);
    expect(server.connections).toBe(1);
  });
});

describe('a server that answers out of turn [104]', () => {
  it('is not believed when it says yes before the message is whole', async () => {
    server.midway = () => '250 2.0.0 taken\r\n';
    const destination = await open();
    const error = await failureOf(destination.deliver(message(1, LARGE), log));
    expect(error).toMatchObject({ code: 'DELIVERY', serverText: '250 2.0.0 taken' });
    server.midway = () => undefined;
    await fetchInto(destination, log, message(2, plain(2)));
    await destination.close();
    expect(server.taken.map(({ data }) => data.toString())).toEqual([plain(2).toString()]);
  });

  it.each<[string, string]>([
    ['452 full\r\n', 'REFUSED'],
    ['552 too large\r\n', 'DATA'],
    ['421 going\r\n', 'DELIVERY'],
  ])('may refuse midway (%j), and what is left of the message goes nowhere', async (answer, code) => {
    server.midway = () => answer;
    const destination = await open();
    expect(await failureOf(destination.deliver(message(1, LARGE), log))).toMatchObject({ code });
    server.midway = () => undefined;
    await fetchInto(destination, log, message(2, plain(2)));
    await destination.close();
    expect(server.taken.map(({ data }) => data.toString())).toEqual([plain(2).toString()]);
    await server.until(() => server.unfinished.length === 1);
    // Not even a goodbye: to a server that still waits for the message it would be a line of it.
    expect(server.unfinished[0]).not.toContain('QUIT');
  });

  it('may break off midway', async () => {
    server.midway = () => 'close';
    const destination = await open();
    const error = await failureOf(destination.deliver(message(1, LARGE), log));
    expect(error).toMatchObject({ code: 'DELIVERY', reach: 'account', temporary: true });
    expect(server.taken).toEqual([]);
  });

  it('cannot make one answer count for another message', async () => {
    server.answer = (step) => (step === 'message' ? '250 taken\r\n250 taken\r\n' : undefined);
    const destination = await open();
    await fetchInto(destination, log, message(1, plain(1)));
    const outcome = await destination.deliver(message(2, plain(2)), log).then(
      () => 'delivered',
      (error: unknown) => (error as PopfetchError).code,
    );
    await destination.close();
    const second = server.taken.filter(({ data }) => data.equals(plain(2)));
    expect([outcome, second.length]).toEqual(['delivered', 1]);
  });
});

describe('a connection', () => {
  it('is kept from message to message, and ends with QUIT', async () => {
    const destination = await open();
    for (const n of [1, 2, 3]) await fetchInto(destination, log, message(n, plain(n)));
    expect(server.connections).toBe(1);
    await destination.close();
    await server.until(() => server.open === 0);
    expect(server.commands.at(-1)).toBe('QUIT');
    expect(server.taken).toHaveLength(3);
  });

  it.each([undefined, '421 4.4.2 idle\r\n'])(
    'that the server ended meanwhile (%j) is made again',
    async (word) => {
      const destination = await open();
      await fetchInto(destination, log, message(1, plain(1)));
      await server.hangUp(word);
      await fetchInto(destination, log, message(2, plain(2)));
      await destination.close();
      expect([server.connections, server.taken.length]).toEqual([2, 2]);
    },
  );

  it.each(['close', '421 4.4.2 idle\r\n'])(
    'that ends at the next MAIL (%j) is made again, once',
    async (answer) => {
      const destination = await open();
      await fetchInto(destination, log, message(1, plain(1)));
      let said = 0;
      server.answer = (step) => (step === 'MAIL' && (said += 1) === 1 ? answer : undefined);
      await fetchInto(destination, log, message(2, plain(2)));
      expect([server.connections, server.taken.length]).toEqual([2, 2]);
      server.answer = (step) => (step === 'MAIL' ? answer : undefined);
      expect(await failureOf(destination.deliver(message(3, plain(3)), log))).toMatchObject({
        code: 'DELIVERY',
      });
      expect([server.connections, server.taken.length]).toEqual([3, 2]);
      await destination.close();
    },
  );

  it('that ends after the message was sent is not made again: the message may have arrived [104]', async () => {
    const destination = await open();
    await fetchInto(destination, log, message(1, plain(1)));
    server.answer = (step) => (step === 'message' ? 'close' : undefined);
    expect(await failureOf(destination.deliver(message(2, plain(2)), log))).toMatchObject({
      code: 'DELIVERY',
    });
    expect(server.connections).toBe(1);
    await destination.close();
  });

  it('is used by one message at a time', async () => {
    const destination = await open();
    const all = [1, 2, 3, 4, 5].map((n) => fetchInto(destination, log, message(n, plain(n))));
    await Promise.all(all);
    await destination.close();
    expect([server.connections, server.taken.length]).toEqual([1, 5]);
  });

  it('is not made to see what a crash left: that counts as not delivered', async () => {
    const destination = await open();
    await destination.deliver(message(1, plain(1)), log);
    await destination.close();
    const connections = server.connections;
    expect(await recover(await open(), log)).toEqual([]);
    expect(server.connections).toBe(connections);
  });
});

describe('a server that is not there', () => {
  it.each<[string, () => Promise<string>, string]>([
    ['a port', closedPort, 'the LMTP server cannot be reached: 127.0.0.1 refuses connections on port'],
    ['a missing socket', () => Promise.resolve(place.path('none')), 'cannot be reached: there is no socket'],
    ['a socket that nobody holds', deadSocket, 'cannot be reached: nobody listens on the socket'],
  ])('is told by name: %s', async (_, where, words) => {
    const error = await failureOf((await open({}, [TARO], await where())).deliver(message(1, plain(1)), log));
    expect(error).toMatchObject({ code: 'DELIVERY', phase: 'deliver', exit: 74 });
    expect(error.message).toContain(words);
    expect(error.remedy).toContain('still on the server');
    expect(await place.spooled()).toEqual([]);
  });

  async function closedPort(): Promise<string> {
    const listener = createServer().listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    await new Promise((resolve) => listener.close(resolve));
    return `127.0.0.1:${port}`;
  }

  /** What a server that was killed leaves behind. */
  async function deadSocket(): Promise<string> {
    const { spawnSync } = await import('node:child_process');
    const path = place.path('dead');
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', script]);
    return path;
  }
});

describe('a place', () => {
  it('may be a socket', async () => {
    const local = await LmtpServer.start(place.path('socket'));
    try {
      const destination = await open({}, [TARO], local.address);
      for (const n of [1, 2]) await fetchInto(destination, log, message(n, n === 1 ? LARGE : plain(n)));
      await destination.close();
      expect(local.taken.map(({ data }) => data.length)).toEqual([carried(LARGE).length, plain(2).length]);
      expect(local.connections).toBe(1);
    } finally {
      await local.close();
    }
  });

  it('may be an address in brackets', async () => {
    const destination = await open({}, [TARO], server.address.replace('127.0.0.1', '[127.0.0.1]'));
    await fetchInto(destination, log, message(1, plain(1)));
    await destination.close();
    expect(server.taken).toHaveLength(1);
  });
});

describe('when the run is to end', () => {
  const reason = new PopfetchError('ABORTED', 'interrupted');

  it('the message in hand may be finished', async () => {
    const controller = new AbortController();
    server.answer = (step) => {
      if (step === 'message') controller.abort(reason);
      return undefined;
    };
    const destination = await open({ signal: controller.signal });
    await fetchInto(destination, log, message(1, plain(1)));
    await destination.close();
    expect(server.taken).toHaveLength(1);
  });

  it.each<Step>(['greeting', 'MAIL', 'DATA', 'message'])(
    'it has four seconds for that, and then counts as not delivered (nothing after %s)',
    async (step) => {
      const controller = new AbortController();
      let asked = false;
      server.answer = (at) => {
        if (at !== step) return undefined;
        asked = true;
        return 'silence';
      };
      const destination = await open({ signal: controller.signal });
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      const failure = failureOf(destination.deliver(message(1, plain(1)), log));
      await server.until(() => asked && server.open === 1);
      controller.abort(reason);
      vi.advanceTimersByTime(3900);
      expect(server.open).toBe(1);
      vi.advanceTimersByTime(200);
      expect(await failure).toBe(reason);
      await server.until(() => server.open === 0);
      await destination.close();
      expect(await place.spooled()).toEqual([]);
    },
  );
});

describe('killed at every step', () => {
  it.each([[false], [true]])(
    'nothing is lost, and at most one copy is made twice (torn writes: %s)',
    async (tearing) => {
      const messages = [plain(1), Buffer.concat([plain(2), Buffer.alloc(200_000, 'large\r\n')])];
      let doubles = 0;
      const killed = await sweep({
        configs: (where) => [
          {
            lmtp: server.address,
            recipient: [`a-${basename(where.directory)}`, `b-${basename(where.directory)}`],
          },
        ],
        messages,
        tearing,
        check: async (where, step) => {
          const copies = messages.flatMap((data) =>
            ['a', 'b'].map(
              (who) =>
                server.taken.filter(
                  (each) =>
                    each.recipient === `${who}-${basename(where.directory)}` &&
                    each.data.toString('latin1') === carried(data),
                ).length,
            ),
          );
          expect(Math.min(...copies), `killed at step ${step}`).toBe(1);
          const extra = copies.reduce((sum, count) => sum + count, 0) - copies.length;
          expect(extra, `killed at step ${step}`).toBeLessThanOrEqual(1);
          doubles += extra;
          expect(await where.spooled()).toEqual([]);
        },
      });
      expect(killed).toBeGreaterThan(20);
      // No client can do better; a sweep that never doubled would not have killed where it hurts.
      expect(doubles).toBeGreaterThan(0);
    },
  );
});
