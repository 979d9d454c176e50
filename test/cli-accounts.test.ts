import { expect, test } from 'vitest';
import { chooseAccounts } from '../src/cli/accounts.js';
import { atOnce } from '../src/run.js';
import { DEFAULTS, type Account } from '../src/config/account.js';

function account(name: string, disabled = false): Account {
  return {
    ...DEFAULTS,
    name,
    host: 'pop.example.com',
    port: 995,
    user: 'taro',
    password: { value: 'secret' },
    deliver: [{ maildir: '/tmp/mail' }],
    disabled,
  };
}

const ACCOUNTS = [account('work'), account('home'), account('old', true), account('w.x'), account('w+x')];

function chosen(...patterns: string[]): string[] {
  return chooseAccounts(ACCOUNTS, patterns).map(({ name }) => name);
}

test('without names all accounts that are not disabled are meant, in the order of the config', () => {
  expect(chosen()).toEqual(['work', 'home', 'w.x', 'w+x']);
});

test('names and globs add up, each account once, in the order of the config', () => {
  expect(chosen('home', 'work', 'w*')).toEqual(['work', 'home', 'w.x', 'w+x']);
  expect(chosen('?ome')).toEqual(['home']);
  expect(chosen('**')).toEqual(['work', 'home', 'w.x', 'w+x']);
});

test('only * and ? are special', () => {
  expect(chosen('w.x')).toEqual(['w.x']);
  expect(chosen('w+*')).toEqual(['w+x']);
});

test('a disabled account is meant only by its name', () => {
  expect(chosen('old')).toEqual(['old']);
  expect(() => chosen('o*')).toThrow('no account in use matches "o*"; there are: work, home, old, w.x, w+x');
});

test('an unknown name is refused with the names there are and the one that was probably meant', () => {
  const known = 'there are: work, home, old, w.x, w+x';
  const refusal = (pattern: string): unknown => {
    try {
      return chosen(pattern);
    } catch (error) {
      return error;
    }
  };
  expect(refusal('wrok')).toMatchObject({
    ...{ code: 'USAGE', exit: 64 },
    message: `there is no account "wrok"; ${known}`,
    remedy: 'did you mean work?',
  });
  expect(refusal('zzzzzz')).toMatchObject({ remedy: 'choose one of them with -a' });
});

test('a config with very many accounts does not flood the screen', () => {
  const many = Array.from({ length: 30 }, (_, index) => account(`a${index}`));
  expect(() => chooseAccounts(many, ['nobody'])).toThrow(/: a0, a1, .*, a19, …$/);
});

test('work is done for at most so many at once, and the results keep their order', async () => {
  let running = 0;
  let most = 0;
  const results = await atOnce([5, 1, 4, 2, 3], 2, async (turns) => {
    most = Math.max(most, (running += 1));
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    running -= 1;
    return turns * 10;
  });
  expect(results).toEqual([50, 10, 40, 20, 30]);
  expect(most).toBe(2);
  expect(await atOnce([], 4, () => Promise.resolve(1))).toEqual([]);
});
