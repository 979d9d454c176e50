/** Where a reply ends: whatever way the octets are cut, and whatever a message holds that looks like an end. */
import { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SocketConnection } from '../../src/wire/connection.js';
import { Dots } from '../../src/wire/dots.js';

interface Decoded {
  readonly body: string;
  readonly rest: string;
}

/** Feeds `wire` cut at the given positions; undefined where the body has no end. */
function decode(wire: string, cuts: readonly number[], bare: boolean): Decoded | undefined {
  const octets = Buffer.from(wire, 'latin1');
  const dots = new Dots(bare);
  const pieces: Buffer[] = [];
  let from = 0;
  for (const to of [...cuts, octets.length]) {
    const end = dots.push(octets.subarray(from, to), pieces);
    if (end >= 0) {
      return {
        body: Buffer.concat(pieces).toString('latin1'),
        rest: octets.subarray(from + end).toString('latin1'),
      };
    }
    from = to;
  }
  return undefined;
}

/** Every cut and every pair of cuts. */
function* pairs(length: number): Generator<readonly [number, number]> {
  for (let first = 0; first <= length; first += 1) {
    for (let second = first; second <= length; second += 1) yield [first, second];
  }
}

function expectEverywhere(wire: string, bare: boolean, expected: Decoded | undefined): void {
  for (const cuts of pairs(wire.length)) {
    const got = decode(wire, cuts, bare);
    if (got?.body !== expected?.body || got?.rest !== expected?.rest)
      expect({ cuts, got }).toEqual({ cuts, got: expected });
  }
}

/** After a status line that ended in CRLF. */
const STRICT: readonly (readonly [wire: string, body: string, rest: string])[] = [
  ['a\n.\nb\r\n.\r\n', 'a\n.\nb\r\n', ''],
  ['a\n.\r\nb\r\n.\r\n', 'a\n.\r\nb\r\n', ''],
  ['a\r.\r\nb\r\n.\r\n', 'a\r.\r\nb\r\n', ''],
  ['a\r\n.\nb\r\n.\r\n', 'a\r\n\nb\r\n', ''],
  ['a\r\n.\r\r\n.\r\n', 'a\r\n\r\r\n', ''],
  ['a\n.\r\n.\r\n+OK', 'a\n.\r\n', '+OK'],
  ['a\n..\n.\r\n.\r\n', 'a\n..\n.\r\n', ''],
  ['.\n.\r\n.\r\n', '\n.\r\n', ''],
  ['a\0\n.\n\xff\r\n.\r\n', 'a\0\n.\n\xff\r\n', ''],
  ['a\r\n.\r\n.\r\n', 'a\r\n', '.\r\n'],
  ['a\r\n..\r\n...\r\n.\r\n', 'a\r\n.\r\n..\r\n', ''],
  ['\r\n\r\n.\r\n', '\r\n\r\n', ''],
];

/** After a status line that ended in a bare LF. */
const BARE: readonly (readonly [wire: string, body: string, rest: string])[] = [
  ['.\n', '', ''],
  ['.\r\n', '', ''],
  ['a\n.\n', 'a\n', ''],
  ['a\n.\n+OK\n', 'a\n', '+OK\n'],
  ['\n.\n', '\n', ''],
  ['..\n.\n', '.\n', ''],
  ['..a\n..b\n...\n.\n', '.a\n.b\n..\n', ''],
  ['.a\n.\n', 'a\n', ''],
  ['a\rb\n.\n', 'a\rb\n', ''],
  ['a\r\r\n.\r\n', 'a\r\r\n', ''],
  ['.\rX\n.\n', '\rX\n', ''],
  // The first CRLF: from there on the strict rule holds.
  ['a\r\n.\r\n', 'a\r\n', ''],
  ['a\r\nb\n.\nc\r\n.\r\n', 'a\r\nb\n.\nc\r\n', ''],
  ['a\nb\r\nc\n.\nd\r\n.\r\n', 'a\nb\r\nc\n.\nd\r\n', ''],
  ['a\n.\r\n.\r\n', 'a\n.\r\n', ''],
  ['a\n.\r\nb\n.\nc\r\n.\r\n', 'a\n.\r\nb\n.\nc\r\n', ''],
  ['a\n..\r\n.\r\n', 'a\n.\r\n', ''],
  ['\0\xff\n.\n..', '\0\xff\n', '..'],
];

describe('wherever a body is cut, once or twice, it ends in one place', () => {
  it.each(STRICT)(
    '%j is %j, leaving %j: a bare LF or CR is content [37] [39] [40] [43]',
    (wire, body, rest) => {
      expectEverywhere(wire, false, { body, rest });
    },
  );

  it.each(BARE)(
    'after a status line with a bare LF %j is %j, leaving %j [37] [42] [43]',
    (wire, body, rest) => {
      expectEverywhere(wire, true, { body, rest });
    },
  );

  it.each(['a\nb\r\n.\n', 'a\nb\r\n.\n.\r\n', 'a\r\n.\n', 'a\n.\r', 'a\n.', 'a\n..\n', 'a.\n', 'a\r.\n'])(
    'after a status line with a bare LF %j has no end yet [42] [43]',
    (wire) => {
      expectEverywhere(wire, true, undefined);
    },
  );

  it.each(['a\n.\n', 'a\n.\r\n', 'a\r.\r\n', '.\n', 'a\r\n.\n', 'a\r\n.\r.\r\n', 'a\r\n.', 'a\r\n.\r'])(
    'after a status line with CRLF %j has no end yet [41] [43]',
    (wire) => {
      expectEverywhere(wire, false, undefined);
    },
  );

  it('any message of bare LF, stuffed by a server of bare LF, comes back at any cut [37] [42]', () => {
    const part = fc.constantFrom('\r', '\n', '.', '\n.', '..', 'a', '\0', '\xff');
    fc.assert(
      fc.property(fc.array(part), fc.array(fc.nat(60)), (parts, positions) => {
        const body = `${parts.join('').replace(/\r+\n/g, '\n')}x\n`;
        const wire = `${body.replace(/(^|\n)\./g, '$1..')}.\n`;
        const cuts = positions.map((at) => Math.min(at, wire.length)).sort((a, b) => a - b);
        expect(decode(wire, cuts, true)).toEqual({ body, rest: '' });
      }),
      { numRuns: 1_000 },
    );
  });
});

/** Everything of a session in one row of octets: statuses, bodies and lines, as a server that pipelines sends them. */
const CONVERSATION =
  '+OK hi <1@a>\r\n+OK\r\nPIPELINING\r\n.\r\n+OK\n1 a\n.\n-ERR [X] no\r\n+OK 9\r\n..a\r\n.\r\n+OK\r\n\n.\n\r\n.\r\n+OK bye\r\n';
const HEARD = [
  'line +OK hi <1@a>',
  'line +OK',
  'body PIPELINING\r\n',
  'line +OK',
  'body 1 a\n',
  'line -ERR [X] no',
  'line +OK 9',
  'body .a\r\n',
  'line +OK',
  'body \n.\n\r\n',
  'line +OK bye',
];

const FOREVER = { connect: 20_000, reply: 20_000, idle: 20_000 };

/** What a reader of {@link HEARD} hears of these chunks, and how much is left over. */
async function hear(chunks: readonly Buffer[]): Promise<{ heard: string[]; pending: number }> {
  const socket = new Duplex({
    read: () => undefined,
    write: (_chunk, _encoding, done) => {
      done();
    },
  });
  const connection = new SocketConnection(socket as unknown as Socket, FOREVER, undefined);
  const heard: string[] = [];
  const rest = [...chunks];
  // The next chunk comes only when all before it has been taken: a cut that the reader gets to see.
  const feed = (): void => {
    const next = rest.shift();
    if (next !== undefined && next.length > 0) socket.emit('data', next);
    if (rest.length > 0) setImmediate(feed);
  };
  feed();
  for (const expected of HEARD) {
    if (expected.startsWith('line')) heard.push(`line ${await connection.readLine()}`);
    else {
      const pieces: Buffer[] = [];
      for await (const piece of connection.body()) pieces.push(piece);
      heard.push(`body ${Buffer.concat(pieces).toString('latin1')}`);
    }
  }
  const { pending } = connection;
  connection.close();
  return { heard, pending };
}

describe('a whole conversation with replies behind each other', () => {
  it('is heard the same at every cut and every pair of cuts [37] [38] [39]', async () => {
    const octets = Buffer.from(CONVERSATION, 'latin1');
    const all = [...pairs(octets.length)];
    for (let from = 0; from < all.length; from += 500) {
      const some = all.slice(from, from + 500);
      const results = await Promise.all(
        some.map(([first, second]) =>
          hear([octets.subarray(0, first), octets.subarray(first, second), octets.subarray(second)]),
        ),
      );
      for (const [index, result] of results.entries())
        expect(result, `cut at ${some[index]!.join()}`).toEqual({ heard: HEARD, pending: 0 });
    }
  });

  it('is heard the same octet by octet [37] [38]', async () => {
    const octets = [...Buffer.from(CONVERSATION, 'latin1')].map((octet) => Buffer.of(octet));
    expect(await hear(octets)).toEqual({ heard: HEARD, pending: 0 });
  });
});
