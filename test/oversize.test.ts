import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fetchAll } from '../src/run.js';
import { DEFAULTS, type Account } from '../src/config/account.js';
import type { Event, Outcome } from '../src/events.js';
import { plain } from './support/messages.js';
import { startServer, type TestServer } from './support/server.js';
import { maildirLeftovers, maildirMessages } from './support/stored.js';

let home: string;
let server: TestServer;

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'popfetch-oversize-'));
});
afterEach(async () => {
  await server.close();
  await rm(home, { recursive: true });
});

async function run(fields: Partial<Account> = {}): Promise<{ outcome: Outcome; events: readonly Event[] }> {
  const account: Account = {
    ...DEFAULTS,
    name: 'work',
    host: '127.0.0.1',
    port: server.port,
    user: 'taro',
    password: { value: 'pw' },
    tls: { mode: 'none', minVersion: 'TLSv1.2' },
    deliver: [{ maildir: join(home, 'Mail') }],
    delete: 'delivered',
    ...fields,
  };
  const events: Event[] = [];
  const [outcome] = await fetchAll([account], {
    state: join(home, 'state'),
    parallel: 1,
    emit: (event) => events.push(event),
    password: () => Promise.resolve('pw'),
    signal: new AbortController().signal,
  });
  return { outcome: outcome!, events };
}

/** Three messages; the second is far longer than LIST says. */
async function serve(): Promise<void> {
  const large = Buffer.concat([plain(2), Buffer.alloc(100_000, 'x'), Buffer.from('\r\n')]);
  const messages = [plain(1), large, plain(3)].map((data) => ({ data }));
  server = await startServer({
    accounts: { taro: { password: 'pw', messages } },
    overrides: { LIST: '+OK\r\n1 100\r\n2 100\r\n3 100\r\n.\r\n' },
  });
}

describe('a message that is larger than maxSize although LIST says otherwise [46] [64]', () => {
  it('is given up without QUIT in that session, and what came before it is kept and removed', async () => {
    await serve();
    const { outcome } = await run({ maxSize: 50_000 });
    expect(outcome.errors).toMatchObject([{ code: 'DATA', phase: 'retrieve', account: 'work' }]);
    expect(server.sessions[0]!.quit).toBe(false);
    expect(outcome).toMatchObject({ delivered: 1, removed: 1 });
    expect(await maildirLeftovers(join(home, 'Mail'))).toEqual([]);
  });

  it('is left alone by the next run, which goes on with the others', async () => {
    await serve();
    await run({ maxSize: 50_000 });
    const { outcome, events } = await run({ maxSize: 50_000 });
    expect(outcome).toMatchObject({ delivered: 1, removed: 1, skipped: 1, errors: [] });
    expect(events.filter(({ type }) => type === 'skipped')).toMatchObject([{ reason: 'too large' }]);
    expect(server.mailbox('taro').messages).toHaveLength(1);
  });

  it('is fetched once maxSize allows it', async () => {
    await serve();
    await run({ maxSize: 50_000 });
    await run({ maxSize: 50_000 });
    await run({ maxSize: 200_000 });
    expect(await maildirMessages(join(home, 'Mail'))).toHaveLength(3);
    expect(server.mailbox('taro').messages).toHaveLength(0);
  });
});
