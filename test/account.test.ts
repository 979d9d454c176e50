import { beforeEach, describe, expect, it } from 'vitest';
import { rehearse, runAccount } from '../src/account/account.js';
import { Tally, type Parts } from '../src/account/parts.js';
import type { Account } from '../src/config/account.js';
import { PopfetchError } from '../src/errors.js';
import type { Event } from '../src/events.js';
import {
  accountOf,
  entryOf,
  FakeDestination,
  FakeMailbox,
  FakeSeen,
  intentOf,
  listingOf,
} from './support/fakes.js';

/** Whatever was asked of the mailbox, the destination and the memory, in order. */
let calls: string[];
let events: Event[];
let destination: FakeDestination;
let seen: FakeSeen;
let tally: Tally;
let controller: AbortController;
/** The sessions that will be opened, in order. */
let mailboxes: FakeMailbox[];

beforeEach(() => {
  calls = [];
  events = [];
  destination = new FakeDestination(calls);
  seen = new FakeSeen(calls);
  tally = new Tally();
  controller = new AbortController();
  mailboxes = [];
});

/** The next session, over these uids. */
function mailbox(...uids: readonly string[]): FakeMailbox {
  const one = new FakeMailbox(calls, listingOf(uids));
  mailboxes.push(one);
  return one;
}

function parts(): Parts {
  const sessions = mailboxes[Symbol.iterator]();
  return {
    destination,
    seen,
    connect: () => {
      const { value } = sessions.next();
      if (value === undefined) throw new Error('one session too many');
      calls.push('connect');
      return Promise.resolve(value);
    },
    identify: (listing) => Promise.resolve({ ...listing, adopted: [], question: undefined }),
    key: (uid) => `key-${uid}`,
    emit: (event) => events.push(event),
    now: () => 1000,
    signal: controller.signal,
    keep: false,
    acceptReset: false,
  };
}

function run(changes: Partial<Account> = {}, other: Partial<Parts> = {}): Promise<void> {
  return runAccount(accountOf(changes), { ...parts(), ...other }, tally);
}

/** Remembers these as done. */
function remember(...uids: readonly string[]): void {
  seen = new FakeSeen(calls, { entries: uids.map((uid) => entryOf(uid)) });
}

const diskFull = (): PopfetchError => new PopfetchError('DELIVERY', 'the disk is full');
const unfit = (): PopfetchError => new PopfetchError('DATA', 'it cannot be stored');
const lost = (): PopfetchError => new PopfetchError('LOST', 'the connection broke');
const types = (): string[] => events.map(({ type }) => type);

/** A promise for a test to resolve. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

describe('a run in which all is well', () => {
  it('recovers, connects, lists, then for each message: intent, stored, done, release; then quits', async () => {
    mailbox('a', 'b');
    await run();
    expect(calls).toEqual([
      'recover',
      'connect',
      'list',
      'retrieve 1 2',
      ...['deliver a', 'read a', 'intend a', 'stored a', 'done a', 'release a'],
      ...['deliver b', 'read b', 'intend b', 'stored b', 'done b', 'release b'],
      'quit',
    ]);
    expect(destination.stored).toEqual({ a: 'body of a', b: 'body of b' });
    expect(tally).toMatchObject({ listed: 2, delivered: 2, octets: 18, removed: 0, skipped: 0, errors: [] });
    expect([...(tally.uids ?? [])]).toEqual(['a', 'b']);
  });

  it('marks for removal only after everything is done, and remembers the removal only after QUIT', async () => {
    mailbox('a', 'b');
    await run({ delete: 'delivered' });
    expect(calls.slice(-4)).toEqual(['release b', 'remove 1 2', 'quit', 'removed a b']);
    expect(tally.removed).toBe(2);
    expect(events.filter(({ type }) => type === 'removed')).toEqual([
      { type: 'removed', account: 'work', messages: 2 },
    ]);
  });

  it('says what it does as it does it', async () => {
    mailbox('a', 'b');
    remember('a');
    await run({ delete: 'delivered' });
    expect(events).toEqual([
      { type: 'phase', account: 'work', phase: 'list' },
      { type: 'planned', account: 'work', listed: 2, seen: 1, wanted: 1, octets: 100, doomed: 1 },
      { type: 'phase', account: 'work', phase: 'retrieve' },
      { type: 'progress', account: 'work', octets: 9 },
      ...[
        {
          type: 'delivered',
          account: 'work',
          number: 2,
          uid: 'b',
          key: 'key-b',
          octets: 9,
          destination: 'fake',
        },
      ],
      { type: 'phase', account: 'work', phase: 'remove' },
      { type: 'phase', account: 'work', phase: 'quit' },
      { type: 'removed', account: 'work', messages: 2 },
    ]);
  });

  it('asks for nothing when nothing is new', async () => {
    mailbox('a');
    remember('a');
    await run();
    expect(calls).toEqual(['recover', 'connect', 'list', 'quit']);
    expect(types()).not.toContain('delivered');
  });

  it('removes nothing with --keep, however old', async () => {
    mailbox('a', 'b');
    remember('a');
    await run({ delete: 'delivered' }, { keep: true });
    expect(calls.filter((call) => call.startsWith('remove'))).toEqual([]);
    expect(events).toContainEqual(expect.objectContaining({ type: 'planned', doomed: 0 }));
    expect(calls.at(-1)).toBe('quit');
  });
});

describe('DELE', () => {
  it('is only for what the memory holds as done', async () => {
    mailbox('new', 'done', 'other size', 'too large', 'refused').answers['refused'] = { refused: 'no' };
    seen = new FakeSeen(calls, { entries: [entryOf('done'), entryOf('other size', { size: 99 })] });
    const [session] = mailboxes;
    const messages = session!.listing.messages.map((one) =>
      one.uid === 'too large' ? { ...one, size: 1_000_000 } : one,
    );
    mailboxes[0] = new FakeMailbox(calls, { ...session!.listing, messages });
    mailboxes[0].answers['refused'] = { refused: 'no' };
    await run({ delete: 'delivered', maxSize: 1000 });
    expect(calls).toContain('retrieve 1 5');
    expect(calls.filter((call) => call.startsWith('remove '))).toEqual(['remove 1 2']);
    expect(calls).toContain('removed new done');
  });

  it('that the server refuses is said, and not remembered as a removal', async () => {
    mailbox('a', 'b', 'c').unremovable.add(2);
    remember('a', 'b', 'c');
    await run({ delete: 'delivered' });
    expect(calls.slice(-3)).toEqual(['remove 1 2 3', 'quit', 'removed a c']);
    expect(tally.removed).toBe(2);
    expect(events.at(-1)).toEqual({
      type: 'warning',
      account: 'work',
      message: 'the server would not remove 1 of 3 messages; the next run tries again',
    });
  });

  it('is not remembered as a removal when QUIT fails [72]', async () => {
    mailbox('a').quitError = lost();
    remember('a');
    await expect(run({ delete: 'delivered' })).rejects.toMatchObject({ code: 'LOST' });
    expect(calls.slice(-2)).toEqual(['remove 1', 'quit']);
    expect(tally.removed).toBe(0);
  });
});

describe('a message that fails by itself', () => {
  const failures = {
    'that the destination cannot store': () => {
      mailbox('a', 'b', 'c');
      destination.store = (uid) => (uid === 'b' ? Promise.reject(unfit()) : Promise.resolve());
    },
    'that the destination refuses unread': () => {
      mailbox('a', 'b', 'c');
      destination.begin = (uid) => {
        if (uid === 'b') throw unfit();
      };
    },
  };

  it.each(Object.entries(failures))(
    '%s keeps no other from being fetched, and the session from QUIT',
    async (_, fail) => {
      fail();
      await run();
      expect(Object.keys(destination.stored)).toEqual(['a', 'c']);
      expect(calls).not.toContain('done b');
      expect(calls).not.toContain('quit');
      expect(calls.at(-1)).toBe('close');
      expect(tally).toMatchObject({ delivered: 2, errors: [{ code: 'DATA' }] });
    },
  );

  it('has what is due removed in a second session, without another RETR', async () => {
    failures['that the destination cannot store']();
    mailbox('a', 'c', 'd');
    await run({ delete: 'delivered' });
    expect(calls.slice(calls.indexOf('close'))).toEqual([
      'close',
      'connect',
      'list',
      'remove 1 2',
      'quit',
      'removed a c',
    ]);
    expect(tally).toMatchObject({ delivered: 2, removed: 2 });
  });

  it('needs no second session where nothing is due', async () => {
    failures['that the destination cannot store']();
    await run({ delete: 10_000 });
    expect(calls.filter((call) => call === 'connect')).toHaveLength(1);
  });

  it('needs no second session with --keep', async () => {
    failures['that the destination cannot store']();
    await run({ delete: 'delivered' }, { keep: true });
    expect(calls.filter((call) => call === 'connect')).toHaveLength(1);
  });

  it('and a second session that fails is the failure of the run', async () => {
    failures['that the destination cannot store']();
    mailbox('a', 'c').quitError = lost();
    await expect(run({ delete: 'delivered' })).rejects.toMatchObject({ code: 'LOST' });
    expect(tally.errors).toMatchObject([{ code: 'DATA' }]);
  });

  it('because the server refuses it does no harm: the others go on, and QUIT is sent [66]', async () => {
    mailbox('a', 'b', 'c').answers['b'] = { refused: '[SYS/TEMP] busy' };
    await run();
    expect(Object.keys(destination.stored)).toEqual(['a', 'c']);
    expect(calls.at(-1)).toBe('quit');
    expect(tally).toMatchObject({ delivered: 2, skipped: 1 });
    expect(tally.errors).toEqual([]);
    expect(tally.untold).toMatchObject([
      {
        code: 'REFUSED',
        phase: 'retrieve',
        message: 'the server refuses to give message 2',
        serverText: '[SYS/TEMP] busy',
      },
    ]);
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'skipped', number: 2, uid: 'b', reason: 'refused', first: false }),
    );
  });
});

describe('a failure that reaches further than its message', () => {
  it('of the body: what was read before is kept, nothing more is asked for, and no QUIT is sent [73]', async () => {
    mailbox('a', 'b', 'c').answers['b'] = { text: 'half', then: lost() };
    await expect(run({ delete: 'delivered' })).rejects.toMatchObject({ code: 'LOST' });
    expect(Object.keys(destination.stored)).toEqual(['a']);
    expect(calls).toContain('done a');
    expect(calls).not.toContain('deliver c');
    expect(calls.at(-1)).toBe('close');
    expect(tally).toMatchObject({ delivered: 1, octets: 9, errors: [] });
  });

  it('of the mailbox: a body larger than allowed is remembered as that, and the session ends without QUIT [46] [73]', async () => {
    mailbox('a', 'b').answers['a'] = {
      text: 'much',
      then: new PopfetchError('DATA', 'the message is larger than 75 octets', { phase: 'retrieve' }),
    };
    await run({ maxSize: 75_000 });
    expect(calls).toContain('outgrew a 75001');
    expect(calls.at(-1)).toBe('close');
    expect(tally.errors).toMatchObject([{ code: 'DATA' }]);
    calls.length = 0;
    mailboxes = [];
    mailbox('a', 'b');
    await run({ maxSize: 75_000 });
    expect(calls).not.toContain('deliver a');
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'skipped', uid: 'a', reason: 'too large' }),
    );
  });

  it('of the destination: the same, and nothing is removed', async () => {
    mailbox('a', 'b', 'c');
    destination.store = (uid) => (uid === 'b' ? Promise.reject(diskFull()) : Promise.resolve());
    await expect(run({ delete: 'delivered' })).rejects.toMatchObject({ code: 'DELIVERY' });
    expect(calls).not.toContain('deliver c');
    expect(calls.filter((call) => /^(remove|quit)/.test(call))).toEqual([]);
    expect(calls.at(-1)).toBe('close');
  });

  it('of the memory, when a message is done: it is left for the next run, not counted and not removed', async () => {
    mailbox('a', 'b');
    seen.before = (call) =>
      call === 'done a' ? Promise.reject(new PopfetchError('STATE', 'no room')) : Promise.resolve();
    await expect(run({ delete: 'delivered' })).rejects.toMatchObject({ code: 'STATE' });
    expect(calls.slice(-4)).toEqual(['intend a', 'stored a', 'leave a', 'close']);
    expect(tally.delivered).toBe(0);
    expect(types()).not.toContain('delivered');
  });

  it('of the memory, before a message is stored: it is not stored', async () => {
    mailbox('a');
    seen.before = () => Promise.reject(new PopfetchError('STATE', 'no room'));
    await expect(run()).rejects.toMatchObject({ code: 'STATE' });
    expect(destination.stored).toEqual({});
    expect(calls.at(-1)).toBe('close');
  });

  it('that is a bug comes out as it is', async () => {
    const bug = new TypeError('undefined is not a function');
    mailbox('a');
    destination.store = () => Promise.reject(bug);
    await expect(run()).rejects.toBe(bug);
    expect(calls.at(-1)).toBe('close');
  });

  it('waits for what is under way before it is thrown', async () => {
    mailbox('a', 'b').answers['b'] = { text: '', then: lost() };
    destination.window = 2;
    const slow = gate();
    destination.store = () => slow.opened;
    const ended = run().catch((error: unknown) => {
      calls.push('ended');
      return error;
    });
    await expect.poll(() => calls).toContain('deliver b');
    slow.open();
    expect(await ended).toMatchObject({ code: 'LOST' });
    expect(calls.slice(-4)).toEqual(['done a', 'release a', 'close', 'ended']);
    expect(tally.delivered).toBe(1);
  });

  it('of the listing ends the run before anything is asked for', async () => {
    const session = mailbox('a');
    session.list = () => Promise.reject(new PopfetchError('PROTOCOL', 'nonsense'));
    await expect(run()).rejects.toMatchObject({ code: 'PROTOCOL' });
    expect(calls).toEqual(['recover', 'connect', 'close']);
    expect(tally.uids).toBeUndefined();
  });
});

describe('several deliveries at once', () => {
  it.each([1, 2, 5])('are never more than the %i that the destination takes', async (window) => {
    const uids = Array.from({ length: 12 }, (_, n) => `uid-${n}`);
    mailbox(...uids);
    destination.window = window;
    const waiting: (() => void)[] = [];
    destination.store = () => new Promise((resolve) => waiting.push(resolve));
    const ended = run();
    for (let stored = 0; stored < uids.length; stored += 1) {
      const under = Math.min(window, uids.length - stored);
      await expect.poll(() => [waiting.length, destination.held], { interval: 1 }).toEqual([under, under]);
      // The one that began last is ready first.
      waiting.pop()!();
    }
    await ended;
    expect(destination.mostHeld).toBe(window);
    expect(Object.keys(destination.stored).sort()).toEqual([...uids].sort());
    expect(calls.at(-1)).toBe('quit');
  });

  it('are read one after the other', async () => {
    mailbox('a', 'b', 'c');
    destination.window = 3;
    await run();
    expect(calls.filter((call) => /^(deliver|read)/.test(call))).toEqual([
      ...['deliver a', 'read a', 'deliver b', 'read b', 'deliver c', 'read c'],
    ]);
  });
});

describe('an interrupted run', () => {
  const reason = new PopfetchError('ABORTED', 'interrupted by SIGINT');

  it('begins no further message, finishes the one under way, and does not QUIT [73]', async () => {
    mailbox('a', 'b', 'c');
    destination.store = (uid) => {
      if (uid === 'b') controller.abort(reason);
      return Promise.resolve();
    };
    await expect(run({ delete: 'delivered' })).rejects.toBe(reason);
    expect(calls.slice(calls.indexOf('deliver b'))).toEqual([
      ...['deliver b', 'read b', 'intend b', 'stored b', 'done b', 'release b'],
      'close',
    ]);
    expect(tally.delivered).toBe(2);
  });

  it('opens no second session', async () => {
    mailbox('a', 'b');
    remember('a');
    destination.store = () => {
      controller.abort(reason);
      return Promise.reject(unfit());
    };
    await expect(run({ delete: 'delivered' })).rejects.toBe(reason);
    expect(calls.filter((call) => call === 'connect')).toHaveLength(1);
    expect(tally.errors).toMatchObject([{ code: 'DATA' }]);
  });
});

describe('what an earlier run left half done', () => {
  it('is finished or undone before the server is asked anything', async () => {
    mailbox('a', 'b', 'c');
    seen = new FakeSeen(calls, { intents: [intentOf('a'), intentOf('b')] });
    destination.recovered = ['b'];
    await run();
    expect(calls.slice(0, 6)).toEqual([
      'recover a b',
      'undone a',
      'done b',
      'connect',
      'list',
      'retrieve 1 3',
    ]);
  });

  it('and is delivered is only removed, not fetched again', async () => {
    mailbox('a');
    seen = new FakeSeen(calls, { intents: [intentOf('a')] });
    destination.recovered = ['a'];
    await run({ delete: 'delivered' });
    expect(calls).toEqual(['recover a', 'done a', 'connect', 'list', 'remove 1', 'quit', 'removed a']);
  });

  it('counts as one message, whatever the number of destinations that have it', async () => {
    mailbox();
    seen = new FakeSeen(calls, { intents: [intentOf('a')] });
    const twice = [intentOf('a'), intentOf('a', { destination: 'other' })];
    seen.unfinished = () => twice;
    destination.recovered = ['a'];
    await run();
    expect(calls.filter((call) => call === 'done a')).toHaveLength(1);
  });

  it('keeps the run from the server where the destination cannot be used', async () => {
    mailbox('a');
    destination.recover = () => Promise.reject(new PopfetchError('CREATE', 'no such directory'));
    await expect(run()).rejects.toMatchObject({ code: 'CREATE' });
    expect(calls).toEqual([]);
  });
});

describe('messages that are left alone', () => {
  it('are told of once; the limit is no news', async () => {
    const sizes = (uids: readonly string[]): FakeMailbox => {
      const listing = listingOf(uids);
      const messages = listing.messages.map((one) => (one.uid === 'large' ? { ...one, size: 5000 } : one));
      const one = new FakeMailbox(calls, { ...listing, messages });
      mailboxes.push(one);
      return one;
    };
    seen = new FakeSeen(calls, { entries: [entryOf('changed', { size: 1 })] });
    sizes(['large', 'changed', 'a', 'b']);
    await run({ maxSize: 1000, limit: 1, delete: 'delivered' });
    const skipped = (): unknown[] =>
      events.flatMap((event) => (event.type === 'skipped' ? [[event.uid, event.reason, event.first]] : []));
    expect(skipped()).toEqual([
      ['b', 'limit', true],
      ['large', 'too large', true],
      ['changed', 'changed', true],
    ]);
    expect(calls.filter((call) => call.startsWith('report'))).toEqual(['report large', 'report changed']);
    expect(tally.skipped).toBe(3);
    events.length = 0;
    mailboxes = [];
    sizes(['large', 'changed']);
    await run({ maxSize: 1000, limit: 1, delete: 'delivered' });
    expect(skipped()).toEqual([
      ['large', 'too large', false],
      ['changed', 'changed', false],
    ]);
    expect(calls.filter((call) => call.startsWith('report'))).toHaveLength(2);
  });
});

describe('a listing', () => {
  it('is read under the uids by which the memory knows the messages; new ones are remembered first', async () => {
    mailbox('renamed', 'b');
    remember('a');
    await run(
      { delete: 'delivered' },
      {
        identify: (listing) =>
          Promise.resolve({
            ...listing,
            messages: listing.messages.map((one) => (one.uid === 'b' ? { ...one, uid: 'b apart' } : one)),
            adopted: [{ uid: 'renamed', known: entryOf('a') }],
            question: undefined,
          }),
      },
    );
    expect(calls).toEqual([
      ...['recover', 'connect', 'list', 'adopt renamed as a', 'retrieve 2'],
      ...[
        'deliver b apart',
        'read b apart',
        'intend b apart',
        'stored b apart',
        'done b apart',
        'release b apart',
      ],
      ...['remove 1 2', 'quit', 'removed renamed b apart'],
    ]);
    expect([...(tally.uids ?? [])]).toEqual(['renamed', 'b apart']);
  });

  it('with oddities is told of', async () => {
    mailboxes.push(new FakeMailbox(calls, listingOf(['a'], { notes: ['one', 'two'] })));
    await run();
    expect(events.filter(({ type }) => type === 'warning')).toEqual([
      { type: 'warning', account: 'work', message: 'one' },
      { type: 'warning', account: 'work', message: 'two' },
    ]);
  });

  it('that is not complete does not tell what is gone', async () => {
    mailboxes.push(new FakeMailbox(calls, listingOf(['a'], { complete: false })));
    await run();
    expect(tally.uids).toBeUndefined();
    expect(tally.listed).toBe(1);
  });
});

describe('--dry-run', () => {
  it('says what would be done, and changes nothing anywhere', async () => {
    mailbox('a', 'b', 'c');
    const { connect, emit, identify, now } = parts();
    remember('b');
    calls.length = 0;
    await rehearse(
      accountOf({ delete: 'delivered', limit: 1 }),
      { connect, emit, identify, now, keep: false, seen },
      tally,
    );
    expect(calls).toEqual(['connect', 'list', 'quit']);
    expect(events.filter(({ type }) => type === 'would')).toEqual([
      { type: 'would', account: 'work', action: 'fetch', number: 1, uid: 'a', octets: 100 },
      { type: 'would', account: 'work', action: 'remove', number: 2, uid: 'b', octets: 100 },
    ]);
    expect(tally).toMatchObject({ listed: 3, delivered: 0, removed: 0 });
  });

  it('would remove nothing with --keep, and needs no memory', async () => {
    mailbox('a');
    const { connect, emit, identify, now } = parts();
    await rehearse(
      accountOf({ delete: 'delivered' }),
      { connect, emit, identify, now, keep: true, seen: undefined },
      tally,
    );
    expect(events.flatMap((event) => (event.type === 'would' ? [event.action] : []))).toEqual(['fetch']);
  });

  it('closes its session when it fails', async () => {
    mailbox('a').list = () => Promise.reject(lost());
    const { connect, emit, identify, now } = parts();
    const rehearsal = rehearse(accountOf(), { connect, emit, identify, now, keep: false, seen }, tally);
    await expect(rehearsal).rejects.toMatchObject({ code: 'LOST' });
    expect(calls).toEqual(['connect', 'close']);
  });
});
