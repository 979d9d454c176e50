/** What a program that mail is handed to may know: it reads what strangers have written. */
import { describe, expect, it } from 'vitest';
import { mailEnvironment } from '../../src/program.js';

const env = (names: readonly string[]): Record<string, string> =>
  Object.fromEntries(names.map((name) => [name, 'x']));

describe('the environment of a command [103]', () => {
  it('has where things are, whose they are and how people are spoken to', () => {
    const names = [
      'PATH',
      'HOME',
      'USER',
      'LOGNAME',
      'SHELL',
      'TMPDIR',
      'TZ',
      'LANG',
      'LC_ALL',
      'MAIL',
      'MAILDIR',
    ];
    const more = ['XDG_CONFIG_HOME', 'XDG_RUNTIME_DIR', 'LC_TIME', 'LANGUAGE'];
    expect(Object.keys(mailEnvironment(env([...names, ...more]), new Set()))).toEqual([...names, ...more]);
  });

  it.each([
    ...[
      'AWS_SECRET_ACCESS_KEY',
      'GITHUB_TOKEN',
      'SSH_AUTH_SOCK',
      'GPG_TTY',
      'DBUS_SESSION_BUS_ADDRESS',
      'HTTP_PROXY',
    ],
    ...[
      'LD_PRELOAD',
      'NODE_OPTIONS',
      'PERL5OPT',
      'PYTHONSTARTUP',
      'BASH_ENV',
      'ENV',
      'IFS',
      'POPFETCH_CONFIG',
      'POPFETCH_UID',
    ],
    ...['PATHS', 'MY_HOME', 'home', 'LC_', 'XDG_', '', 'TOKEN\nPATH', '__proto__'],
  ])('does not have %j', (name) => {
    expect(Object.keys(mailEnvironment(env([name, 'PATH']), new Set()))).toEqual(['PATH']);
  });

  it('has no variable with a password, whatever it is called', () => {
    expect(mailEnvironment(env(['LANG', 'PATH']), new Set(['LANG']))).toEqual({ PATH: 'x' });
  });
});
