/** A small share of the long fuzzing, the same every time, and everything that fuzzing has found before. */
import { rmSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { inVirtualTime } from './fuzz/clock.js';
import { allFound } from './fuzz/found.js';
import { fuzzParsers, SUBJECTS, tried } from './fuzz/parsers.js';
import { planOf } from './fuzz/plan.js';
import { fuzzSessions, problemOf, scratch } from './fuzz/sessions.js';
import { answersOn } from './fuzz/wire.js';

const home = scratch();
afterAll(() => {
  rmSync(home, { recursive: true });
});

describe('what was found before', () => {
  it.each(allFound())('%s is as it must be [50][57][62]', async (_, found) => {
    if ('plan' in found) expect(await problemOf(found.plan, home)).toBeUndefined();
    else {
      const subject = SUBJECTS.find(({ name }) => name === found.subject)!;
      expect(tried(subject, found.text, found.seed).problem).toBeUndefined();
    }
  });
});

describe('by chance', { timeout: 120_000 }, () => {
  it('no text makes a reader throw, differ under a cut, lose anything or take long [37][39][40][53][56][58]', () => {
    const { executions, slowest, found } = fuzzParsers(7, 10_000);
    expect(found).toEqual([]);
    expect(executions).toBe(10_000);
    expect(slowest).toBeLessThan(1000);
  });

  it('no server makes a run lose or double mail, delete what is not delivered, hang or throw [41][48][50][51][71][72][73]', async () => {
    const { sessions, delivered, codes, found } = await fuzzSessions(7, 300);
    expect(found).toEqual([]);
    expect(sessions).toBeGreaterThanOrEqual(300);
    expect(delivered).toBeGreaterThan(150);
    for (const code of ['LOST', 'TIMEOUT', 'PROTOCOL', 'BUSY']) expect([...codes.keys()]).toContain(code);
  });
});

describe('the fuzzers themselves', () => {
  it('repeat a case by its seed', () => {
    expect(planOf(12)).toEqual(planOf(12));
    expect(planOf(12)).not.toEqual(planOf(13));
  });

  it('say that a message was lost where a server forgets one', async () => {
    const plan = { ...planOf(1), honest: true, mischief: [], delete: 'never' as const, limit: 0 };
    const mail = { uid: 'a', text: 'Subject: x\r\n\r\nx\r\n', since: 0 };
    expect(await problemOf({ ...plan, mails: [mail] }, home)).toBeUndefined();
    expect(
      await problemOf({ ...plan, mails: [mail, { ...mail, uid: 'b', since: 99 }] }, home),
    ).toBeUndefined();
    const late = { ...mail, uid: 'b', text: 'Subject: y\r\n\r\ny\r\n', since: 99 };
    expect(await problemOf({ ...plan, mails: [mail, late] }, home)).toBe(
      'Violation: lost or never fetched: b',
    );
  });

  it('read a conversation by RFC 1939, up to where it is none', () => {
    const heard = ['CAPA', 'RETR 1', 'DELE 1', 'RETR 2', 'NOOP'];
    const said = '+OK hi\r\n-ERR what\r\n+OK\r\n..a\r\n.b\r\n.\r\n+OK\r\n+OK\r\nhalf';
    expect(answersOn({ heard, said })).toEqual([
      { command: 'CAPA', ok: false, body: undefined },
      { command: 'RETR 1', ok: true, body: '.a\r\nb\r\n' },
      { command: 'DELE 1', ok: true, body: undefined },
      { command: 'RETR 2', ok: true, body: undefined },
    ]);
  });

  it('let time pass only where somebody waits for it, and notice when nobody does', async () => {
    const start = Date.now();
    const elapsed = await inVirtualTime(() => new Promise((resolve) => setTimeout(resolve, 3_600_000)));
    expect(elapsed).toBe(3_600_000);
    expect(Date.now() - start).toBeLessThan(10_000);
    await expect(inVirtualTime(() => new Promise(() => undefined))).rejects.toThrow('cannot come');
  });
});
