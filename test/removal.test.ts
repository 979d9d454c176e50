/** What is removed from the server: only what is stored, looked at once more, and in steps that the server confirms. */
import { readdirSync, renameSync, truncateSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Event } from '../src/events.js';
import { Box, mail, subject, type Ran } from './support/inprocess.js';
import type { TestServer } from './support/server.js';

let box: Box;
beforeEach(async () => {
  box = await Box.create();
});
afterEach(() => box.remove());

const DUE = { delete: 'delivered' } as const;
const three = [1, 2, 3].map((n) => ({ data: mail(n) }));

describe('a copy that is looked at once more', () => {
  /** A run in which something happens to the first file in new/ as soon as everything is delivered. */
  async function runAnd(server: TestServer, happen: (path: string, name: string) => void): Promise<Ran> {
    const events: Event[] = [];
    const emit = (event: Event): void => {
      events.push(event);
      if (event.type !== 'delivered' || event.number !== 3) return;
      const [name = ''] = readdirSync(join(box.maildir, 'new'));
      happen(join(box.maildir, 'new', name), name);
    };
    const ran = await box.run(server, DUE, { emit });
    return { ...ran, events };
  }

  it.each([
    [
      'has become shorter',
      (path: string) => {
        truncateSync(path, 5);
      },
    ],
    [
      'is gone',
      (path: string) => {
        unlinkSync(path);
      },
    ],
  ])('and %s stays on the server in this run, and a person is told', async (_, happen) => {
    const server = await box.serve(three);
    const { outcome, events } = await runAnd(server, happen);
    expect(outcome).toMatchObject({ delivered: 3, removed: 2, errors: [] });
    expect(server.mailbox('taro').uids).toHaveLength(1);
    expect(events).toContainEqual({
      type: 'warning',
      account: 'work',
      message:
        '1 of 3 copies cannot be found where they were stored a moment ago; ' +
        'the next run removes those messages from the server',
    });
    expect((await box.fetch(server, DUE)).outcome).toMatchObject({ delivered: 0, removed: 1 });
  });

  it('and has been moved by its reader is there', async () => {
    const server = await box.serve(three);
    const { outcome } = await runAnd(server, (path, name) => {
      renameSync(path, join(box.maildir, 'cur', `${name}:2,S`));
    });
    expect(outcome).toMatchObject({ delivered: 3, removed: 3, errors: [] });
  });

  it('in an mbox that has become shorter is not there', async () => {
    const server = await box.serve(three);
    const mbox = join(box.home, 'mbox');
    const emit = (event: Event): void => {
      if (event.type === 'delivered' && event.number === 3) truncateSync(mbox, 5);
    };
    const { outcome } = await box.run(server, { ...DUE, deliver: [{ mbox }] }, { emit });
    expect(outcome).toMatchObject({ delivered: 3, removed: 0 });
    expect(server.mailbox('taro').uids).toHaveLength(3);
  });
});

describe('much to remove', () => {
  const many = Array.from({ length: 1100 }, (_, index) => ({ data: mail(index + 1) }));
  const dele = ({ asked }: Ran): number[] =>
    asked.map((lines) => lines.filter((line) => line.startsWith('DELE')).length);

  it('is removed in several sessions of 500 messages', async () => {
    const server = await box.serve(many);
    const ran = await box.fetch(server, DUE);
    expect(ran.outcome).toMatchObject({ delivered: 1100, removed: 1100 });
    expect(dele(ran)).toEqual([500, 500, 100]);
    expect(server.mailbox('taro').uids).toEqual([]);
  });

  it('goes on in the next run where a session breaks; what was confirmed before is gone', async () => {
    const server = await box.serve(many, {
      faults: [{ at: 'command', verb: 'DELE', nth: 700, action: 'drop' }],
    });
    const { outcome } = await box.run(server, DUE);
    expect(outcome).toMatchObject({ removed: 500, errors: [{ code: 'LOST' }] });
    expect(server.mailbox('taro').uids).toHaveLength(600);
    const next = await box.fetch(server, DUE);
    expect(next.outcome).toMatchObject({ delivered: 0, removed: 600 });
    expect(await box.subjects()).toHaveLength(1100);
  });

  it('waits for the next run where the server wants no new session so soon [76]', async () => {
    const server = await box.serve(many);
    let logins = 0;
    server.overrides['PASS'] = () => ((logins += 1) === 2 ? '-ERR [LOGIN-DELAY] too soon' : undefined);
    const { outcome, events } = await box.run(server, { ...DUE, auth: 'user' });
    expect(outcome).toMatchObject({ removed: 500, errors: [] });
    expect(events).toContainEqual({
      type: 'warning',
      account: 'work',
      message: 'the server asks to come back later; the next run removes the rest',
    });
  });

  it('that the server refuses to mark ends the run with a warning, not with session after session [71]', async () => {
    const server = await box.serve(many, { overrides: { DELE: '-ERR read-only' } });
    const { outcome, asked } = await box.run(server, DUE);
    expect(outcome).toMatchObject({ delivered: 1100, removed: 0, errors: [] });
    expect(asked).toHaveLength(1);
    expect(await box.subjects()).toContain(subject(1));
  });
});
