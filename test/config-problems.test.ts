import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { jsonFault } from '../src/config/json.js';
import { nearest, renderPath } from '../src/config/problems.js';
import { ConfigError } from '../src/config/problems.js';
import { caught, ConfigHome } from './support/config-file.js';

let home: ConfigHome;
beforeAll(async () => {
  home = await ConfigHome.create();
});
afterAll(() => home.remove());

const NAME = 'a name of 1 to 64 printable characters, without blanks and / * ? [, and not starting with -';

describe('every problem is reported at once', () => {
  it('in YAML, with the line of each', async () => {
    const text = `paralel: 2
parallel: 0
defaults:
  tls:
    mod: starttls
  timeout: {reply: 1}
accounts:
  work:
    prot: 995
    port: 99999
    host: pop.example.com
    user: taro
    deliver:
      - maildir: /m
      - maildr: /m
  2nd one: {}
  third: pop.example.com
  fourth: {host: h, user: u, password: {env: PW}, deliver: stdout, tls: none}
`;
    expect(await home.problems(text)).toEqual([
      'config.yaml:1: paralel: unknown key; did you mean "parallel"?',
      'config.yaml:2: parallel: 0 is not valid (expected a whole number, 1 or more)',
      'config.yaml:5: defaults.tls.mod: unknown key; did you mean "mode"?',
      'config.yaml:6: defaults.timeout.reply: 1 is not valid (expected a duration of at most 24d, such as 90s or 5m)',
      'config.yaml:9: accounts.work.prot: unknown key; did you mean "port"?',
      'config.yaml:10: accounts.work.port: 99999 is not valid (expected a port, 1 to 65535)',
      'config.yaml:15: accounts.work.deliver[1].maildr: unknown key; did you mean "maildir"?',
      `config.yaml:16: accounts."2nd one": not a valid name (expected ${NAME})`,
      'config.yaml:16: accounts."2nd one".host: missing (expected a host name or an address)',
      'config.yaml:16: accounts."2nd one".user: missing (expected the user name)',
      'config.yaml:16: accounts."2nd one".deliver: missing (expected where mail goes, such as {maildir: ~/Mail})',
      'config.yaml:17: accounts.third: a text is not valid (expected a mapping of account fields)',
    ]);
  });

  it('even where the top of the file is wrong: what concerns several fields too', async () => {
    const text = `acounts: {}
accounts:
  one: {host: h, user: u, password: {env: PW}, deliver: stdout, tls: none}
`;
    expect(await home.problems(text)).toEqual([
      'config.yaml:1: acounts: unknown key; did you mean "accounts"?',
      'config.yaml:3: accounts.one.tls: would send the password to h unencrypted (expected tls: implicit or tls: starttls, or auth: scram-sha-256 or apop; "insecure: true" allows it all the same)',
    ]);
  });

  it('in YAML with anchors, at the place that is nearest', async () => {
    const text = `accounts:
  one: &one
    host: pop.example.com
    prot: 1
    user: u
    password: {env: PW}
    deliver: stdout
  two:
    <<: *one
    user: v
  three: *one
`;
    expect(await home.problems(text)).toEqual([
      'config.yaml:4: accounts.one.prot: unknown key; did you mean "port"?',
      'config.yaml:4: accounts.three.prot: unknown key; did you mean "port"?',
      'config.yaml:8: accounts.two.prot: unknown key; did you mean "port"?',
    ]);
  });

  it('in JSON', async () => {
    const text = `{
  "accounts": {
    "work": {
      "host": "h", "user": "u", "password": {"env": "PW"}, "deliver": "stdout",
      "order": "odlest",
      "timeout": {
        "conect": "1s"
      }
    }
  }
}`;
    expect(await home.problems(text, 'config.json')).toEqual([
      'config.json:5: accounts.work.order: "odlest" is not valid; did you mean "oldest"?',
      'config.json:7: accounts.work.timeout.conect: unknown key; did you mean "connect"?',
    ]);
  });

  it('in TOML: tables, dotted keys, inline tables, quoted names', async () => {
    const text = `parallel = 0
defaults.tls.mod = "none"
[accounts.work]
host = "h" # prot = 1
user = "u"
deliver = "stdout"
password = {env = "PW"}
prot = 995
timeout = {reply = 1}

[accounts."other one"]
host = "h"
[accounts.third.timeout]
idle = 3
`;
    expect(await home.problems(text, 'config.toml')).toEqual([
      'config.toml:1: parallel: 0 is not valid (expected a whole number, 1 or more)',
      'config.toml:2: defaults.tls.mod: unknown key; did you mean "mode"?',
      'config.toml:8: accounts.work.prot: unknown key; did you mean "port"?',
      'config.toml:9: accounts.work.timeout.reply: 1 is not valid (expected a duration of at most 24d, such as 90s or 5m)',
      `config.toml:11: accounts."other one": not a valid name (expected ${NAME})`,
      'config.toml:11: accounts."other one".user: missing (expected the user name)',
      'config.toml:11: accounts."other one".deliver: missing (expected where mail goes, such as {maildir: ~/Mail})',
      'config.toml:13: accounts.third.host: missing (expected a host name or an address)',
      'config.toml:13: accounts.third.user: missing (expected the user name)',
      'config.toml:13: accounts.third.deliver: missing (expected where mail goes, such as {maildir: ~/Mail})',
      'config.toml:14: accounts.third.timeout.idle: 3 is not valid (expected a duration of at most 24d, such as 90s or 5m)',
    ]);
  });

  it('in a program, without lines', async () => {
    const text =
      'export default {accounts: {work: {host: () => 1, limit: new Date(0), tls: new Map(), user: undefined}}};';
    expect(await home.problems(text, 'kinds.mjs')).toEqual([
      'kinds.mjs: accounts.work.host: a function is not valid (expected a host name or an address, without the port)',
      'kinds.mjs: accounts.work.tls: something that is not plain data is not valid (expected implicit, starttls, none, or a mapping)',
      'kinds.mjs: accounts.work.limit: a date is not valid (expected a whole number, 0 or more)',
      'kinds.mjs: accounts.work.user: missing (expected the user name)',
      'kinds.mjs: accounts.work.deliver: missing (expected where mail goes, such as {maildir: ~/Mail})',
    ]);
  });

  it('with a summary, and each part of a problem by itself', async () => {
    const error = await caught(home.load('accounts:\n  work: {host: h, prot: 1, port: x}\n', 'two.yaml'));
    expect(error).toBeInstanceOf(ConfigError);
    const { message, exit, problems } = error as ConfigError;
    expect(message).toBe(`4 problems in ${home.path('two.yaml')}`);
    expect(exit).toBe(78);
    expect(problems[0]).toEqual({
      file: home.path('two.yaml'),
      line: 2,
      path: 'accounts.work.port',
      what: '"x" is not valid',
      value: '"x"',
      expected: 'a port, 1 to 65535',
      suggestion: undefined,
    });
    expect(problems[1]).toMatchObject({ path: 'accounts.work.prot', suggestion: 'port' });
  });
});

describe('a file as a whole', () => {
  it.each([
    ['', 'config.yaml: the file is empty (expected a mapping with the key "accounts")'],
    ['# nothing\n', 'config.yaml: the file is empty (expected a mapping with the key "accounts")'],
    ['hunter2\n', 'config.yaml: a text is not valid (expected a mapping with the key "accounts")'],
    ['- a\n', 'config.yaml: a list is not valid (expected a mapping with the key "accounts")'],
    ['parallel: 2\n', 'config.yaml: accounts: missing (expected a mapping of account names to accounts)'],
    [
      'accounts:\n',
      'config.yaml:1: accounts: an empty value is not valid (expected a mapping of account names to accounts)',
    ],
    [
      'accounts: {}\n',
      'config.yaml:1: accounts: an empty mapping is not valid (expected at least one account)',
    ],
    [
      'accounts: [{password: hunter2}]\n',
      'config.yaml:1: accounts: a list is not valid (expected a mapping of account names to accounts)',
    ],
    [
      'accounts: "hunter2"\n',
      'config.yaml:1: accounts: a text is not valid (expected a mapping of account names to accounts)',
    ],
  ])('%j is refused', async (text, expected) => {
    expect(await home.problems(text)).toEqual([expected]);
  });

  it('may name its JSON Schema for editors', async () => {
    const text =
      '{"$schema": "popfetch.schema.json", "accounts": {"a": {"host": "h", "user": "u", "password": {"env": "P"}, "deliver": "stdout"}}}';
    expect((await home.load(text, 'config.json')).accounts).toHaveLength(1);
  });

  it('that begins with a byte order mark is read like any other', async () => {
    const text =
      '\ufeff{"accounts": {"a": {"host": "h", "user": "u", "password": {"env": "P"}, "deliver": "stdout"}}}';
    expect((await home.load(text, 'config.json')).accounts).toHaveLength(1);
    expect((await home.load(text, 'config.yaml')).accounts).toHaveLength(1);
  });
});

describe('a file that breaks the rules of its language', () => {
  it.each([
    ['a.yaml', 'accounts:\n  a: 1\n  a: 2\n', 'a.yaml:3:3: duplicated mapping key'],
    ['b.yaml', 'accounts:\n\ta: 1\n', 'b.yaml:2:1: tab characters must not be used in indentation'],
    ['c.yaml', 'accounts: {a: 1\n', 'c.yaml:2:1: unexpected end of the stream within a flow collection'],
    [
      'd.yaml',
      'accounts:\n  a: {password: *hunter2}\n',
      'd.yaml:2:25: unidentified alias (expected quotes around a value that begins with * or !)',
    ],
    [
      'e.yaml',
      'accounts:\n  a:\n    password: !hunter2 x\n',
      'e.yaml:3:25: unknown tag (expected quotes around a value that begins with * or !)',
    ],
    ['f.yaml', 'a: 1\n---\nb: 2\n', 'f.yaml: expected a single document in the stream, but found more'],
    ['.popfetchrc', '{"a": 1, "a": 2}', '.popfetchrc:1:10: duplicated mapping key'],
    ['a.json', '{"accounts": {"a": 1,\n "a": 2}}', 'a.json:2:2: duplicate key'],
    ['b.json', '{"accounts": hunter2}', 'b.json:1:14: unexpected character'],
    ['c.json', '{"accounts": 1,}', 'c.json:1:16: unexpected character'],
    ['d.json', '{"accounts": {\n', 'd.json:2:1: ends too early'],
    ['e.json', '{"accounts": 1} hunter2', 'e.json:1:17: unexpected character'],
    ['f.json', '['.repeat(300), 'f.json:1:102: nested too deeply'],
    ['a.toml', 'a = 1\na = 2\n', 'a.toml:2:1: trying to redefine an already defined table or value'],
    ['b.toml', '[accounts.a]\npassword = hunter2\n', 'b.toml:2:12: invalid value'],
    ['c.toml', 'password = "hunter2\n', 'c.toml:1:20: control characters are not allowed in strings'],
  ])('%s is refused with line, column and the words of the parser', async (name, text, expected) => {
    expect(await home.problems(text, name)).toEqual([expected]);
  });

  it.each([
    ['s.mjs', 'export default {password: hunter2', /^\S+\/s\.mjs failed with SyntaxError$/],
    ['r.mjs', 'export default {password: hunter2}', /^\S+\/r\.mjs failed with ReferenceError$/],
    ['t.cjs', 'module.exports = {a: null.hunter2}', /^\S+\/t\.cjs failed with TypeError$/],
    [
      'e.js',
      'throw new Error("set WORK\\u001b first\\nand more")',
      /^\S+\/e\.js failed with Error: set WORK\\x1b first$/,
    ],
    ['n.mjs', 'throw 1', /^\S+\/n\.mjs failed with Error: it threw no Error$/],
  ])('%s fails without showing its source', async (name, text, expected) => {
    const error = await caught(home.load(text, name));
    expect(error).toMatchObject({ code: 'CONFIG', exit: 78, remedy: 'run it with node to see where' });
    expect((error as Error).message).toMatch(expected);
    expect((error as Error).cause).toBeUndefined();
  });

  it('a program without a default export', async () => {
    expect(await home.problems('export const accounts = {};', 'x.mjs')).toEqual([
      'x.mjs: no default export (expected export default {accounts: ...})',
    ]);
  });
});

describe('hostile data [109]', () => {
  it('never reaches an object as its prototype', async () => {
    const account = '"host": "h", "user": "u", "password": {"env": "P"}, "deliver": "stdout"';
    const text = `{"__proto__": {"parallel": 9}, "accounts": {"__proto__": {${account}}, "constructor": {}, "a": {"prototype": 1, ${account}}}}`;
    const lines = [
      'config.json:1: __proto__: this key is never allowed',
      'config.json:1: accounts.__proto__: this key is never allowed',
      'config.json:1: accounts.constructor: this key is never allowed',
      'config.json:1: accounts.a.prototype: this key is never allowed',
    ];
    expect(await home.problems(text, 'config.json')).toEqual(lines);
    expect(await home.problems(text, 'p.yaml')).toEqual(
      lines.map((line) => line.replace('config.json', 'p.yaml')),
    );
    expect(await home.problems('parallel = 0\n[accounts.__proto__]\nhost = "h"\n', 'p.toml')).toEqual([
      'p.toml:1: parallel: 0 is not valid (expected a whole number, 1 or more)',
      'p.toml:2: accounts.__proto__: this key is never allowed',
      'p.toml:2: accounts: an empty mapping is not valid (expected at least one account)',
    ]);
    expect(({} as { parallel?: number }).parallel).toBeUndefined();
  });

  it('cannot unfold to more than memory holds', async () => {
    const line = (name: string, from: string) =>
      `${name}: &${name} [${Array(10).fill(`*${from}`).join(', ')}]\n`;
    const text = `a: &a [${Array(10).fill('x').join(', ')}]\n${['ab', 'bc', 'cd', 'de', 'ef', 'fg', 'gh'].map(([from, to]) => line(to!, from!)).join('')}`;
    expect(await home.problems(text)).toEqual(['config.yaml: holds too many or too deeply nested values']);
  });

  it('cannot contain itself', async () => {
    expect(await home.problems('accounts: &a {b: *a}\n')).toEqual([
      'config.yaml: holds too many or too deeply nested values',
    ]);
  });
});

describe('the fault finder for JSON', () => {
  it('finds none in what JSON.stringify writes, however it is indented', () => {
    const indented = fc.tuple(fc.json({ maxDepth: 5 }), fc.constantFrom(0, 1, '\t', '\r\n '));
    fc.assert(
      fc.property(indented, ([text, indent]) => {
        expect(jsonFault(JSON.stringify(JSON.parse(text), null, indent))).toBeUndefined();
      }),
    );
  });

  it('finds one exactly where JSON.parse does, whatever a character is changed to', () => {
    const change = fc.record({
      json: fc.json({ maxDepth: 3 }),
      at: fc.nat(),
      to: fc.constantFrom(...'{ } [ ] : , " \\ 0 - . e E t n \n \u0001 x'.split(' '), ' ', ''),
    });
    fc.assert(
      fc.property(change, ({ json, at, to }) => {
        const cut = at % (json.length + 1);
        const text = json.slice(0, cut) + to + json.slice(cut + 1);
        const fault = jsonFault(text);
        if (fault?.what === 'duplicate key') return;
        expect(fault === undefined).toBe(isJson(text));
        if (fault !== undefined) expect(fault.offset).toBeLessThanOrEqual(text.length);
      }),
      { numRuns: 2000 },
    );
  });

  it('takes keys for the same when they are the same after unescaping', () => {
    expect(jsonFault('{"a": 1, "b": {"a": 2}, "\\u0061": 3}')).toEqual({ what: 'duplicate key', offset: 24 });
  });
});

describe('suggestions', () => {
  const known = ['host', 'port', 'tls', 'user', 'password', 'maxSize', 'eol', 'delete', 'deliver'];
  it.each([
    ['prot', 'port'],
    ['Port', 'port'],
    ['tsl', 'tls'],
    ['pasword', 'password'],
    ['max_size', 'maxSize'],
    ['max-size', 'maxSize'],
    ['delte', 'delete'],
    ['server', 'host'],
    ['mbox', 'deliver'],
  ])('for %s is %s', (word, expected) => {
    expect(nearest(word, known)).toBe(expected);
  });

  it.each(['', 'foo', 'x', 'proxy', 'keyring', 'constructor', '__proto__', 'x'.repeat(1000)])(
    'for %j there is none',
    (word) => {
      expect(nearest(word, known)).toBeUndefined();
    },
  );
});

describe('paths', () => {
  it.each([
    [[], ''],
    [['parallel'], 'parallel'],
    [['accounts', 'work', 'deliver', 1, 'mbox'], 'accounts.work.deliver[1].mbox'],
    [['accounts', 'a.b', 'host'], 'accounts."a.b".host'],
    [['accounts', 'メール'], 'accounts.メール'],
    [['accounts', 'a\u001b\u202e"'], 'accounts."a\ufffd\ufffd\\""'],
  ])('%j is written %s', (path, expected) => {
    expect(renderPath(path)).toBe(expected);
  });
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
