import { describe, expect, it } from 'vitest';
import { NetrcFault, netrcPassword } from '../src/config/netrc.js';

/** Of taro at pop.example.com. */
function password(text: string): string | undefined {
  return netrcPassword(text, 'pop.example.com', 'taro');
}

describe('the password in a netrc file', () => {
  it.each<[string, string, string | undefined]>([
    ['on one line', 'machine pop.example.com login taro password pw', 'pw'],
    ['over lines', 'machine pop.example.com\n\tlogin taro\n\tpassword pw\n', 'pw'],
    ['with line ends of DOS', 'machine pop.example.com\r\nlogin taro\r\npassword pw\r\n', 'pw'],
    ['password before login', 'machine pop.example.com password pw login taro', 'pw'],
    ['passwd for password', 'machine pop.example.com login taro passwd pw', 'pw'],
    [
      'with an account, which is not for mail',
      'machine pop.example.com login taro account x password pw',
      'pw',
    ],
    ['a host in capitals', 'machine POP.Example.COM login taro password pw', 'pw'],
    [
      'the second machine',
      'machine a login taro password no machine pop.example.com login taro password pw',
      'pw',
    ],
    [
      'the second user of the machine',
      'machine pop.example.com login jiro password no\nmachine pop.example.com login taro password pw',
      'pw',
    ],
    [
      'the first of two',
      'machine pop.example.com login taro password pw machine pop.example.com login taro password no',
      'pw',
    ],
    ['of nobody in particular', 'machine pop.example.com password pw', 'pw'],
    ['of every host', 'machine a password no\ndefault login taro password pw', 'pw'],
    ['a default for another user', 'default login jiro password no', undefined],
    ['another user only', 'machine pop.example.com login Taro password no', undefined],
    ['a longer name', 'machine pop.example.com.evil.example login taro password no', undefined],
    ['a shorter name', 'machine example.com login taro password no', undefined],
    ['no password', 'machine pop.example.com login taro', undefined],
    ['cut off', 'machine pop.example.com login taro password', undefined],
    [
      'an entry without a password before one with',
      'machine pop.example.com login taro default password pw',
      'pw',
    ],
    ['a password before the first entry', 'password no login taro', undefined],
    ['nothing', '', undefined],
    ['only blanks', ' \n\t\r\n', undefined],
    ['in quotes', 'machine pop.example.com login taro password "a b # c"', 'a b # c'],
    ['an empty password in quotes', 'machine pop.example.com login taro password ""', ''],
    [
      'quotes and backslashes in quotes',
      String.raw`machine pop.example.com login taro password "a\"b\\c"`,
      String.raw`a"b\c`,
    ],
    [
      'escaped outside of quotes',
      String.raw`machine pop.example.com login taro password a\ b\"\\`,
      String.raw`a b"\ `.trim(),
    ],
    ['a quote inside a word', 'machine pop.example.com login taro password a"b', 'a"b'],
    ['that begins with #', 'machine pop.example.com login taro password #pw', '#pw'],
    ['that is a keyword', 'machine pop.example.com login taro password machine', 'machine'],
    [
      'with a space that is none',
      'machine pop.example.com login taro password a\u00a0b\u3000c',
      'a\u00a0b\u3000c',
    ],
    ['in every script', 'machine pop.example.com login taro password パスワード🔑', 'パスワード🔑'],
    ['with a backslash at the end of all', 'machine pop.example.com login taro password a\\', 'a\\'],
    [
      'after a comment',
      '# machine pop.example.com login taro password no\nmachine pop.example.com password pw',
      'pw',
    ],
    ['after a comment with a quote', '#don"t "touch\nmachine pop.example.com password pw', 'pw'],
    ['before a comment', 'machine pop.example.com login taro # password no\npassword pw', 'pw'],
    ['after an empty comment', '#\nmachine pop.example.com password pw', 'pw'],
    [
      'after a macro',
      'macdef init\nmachine pop.example.com password no\n"\n\nmachine pop.example.com login taro password pw',
      'pw',
    ],
    [
      'after a macro with line ends of DOS',
      'macdef m\r\npassword no\r\n\r\nmachine pop.example.com password pw',
      'pw',
    ],
    ['in a macro that does not end', 'machine a\nmacdef m\nmachine pop.example.com password no', undefined],
    ['behind an unknown word', 'machine pop.example.com port 995 login taro password pw', 'pw'],
  ])('is found: %s', (_what, text, expected) => {
    expect(password(text)).toBe(expected);
  });

  it.each([
    ['machine a password "b c\n', 1],
    ['machine a\nlogin x\n  password "b\\"', 3],
  ])('with a quote that does not end is told by its line: %j', (text, line) => {
    expect(() => password(text)).toThrow(new NetrcFault(line));
  });

  it.each([
    ['one word', 'x'.repeat(1024 ** 2)],
    ['backslashes', '\\'.repeat(1024 ** 2)],
    ['a macro', `macdef a${'\nx'.repeat(500_000)}`],
    ['quoted', `"${'a\\'.repeat(500_000)}b"`],
    ['comments', '#\n'.repeat(500_000)],
  ])('is looked for in a mebibyte of %s without trouble', (_what, text) => {
    expect(password(`${text}\n\nmachine pop.example.com password pw`)).toBe('pw');
  });
});
