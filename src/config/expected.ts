/** What belongs where in a config file, in words for people and as patterns. Constants only. */

/** A name or an address, without a port. */
export const HOST =
  /^(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_-]{1,63})*\.?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+(?:%[\w.-]+)?)$/;

/** A SHA-256 fingerprint, with or without colons. */
export const PIN = /^sha256:(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$/;

/** A local part in dots, perhaps a domain (RFC 5321 section 4.1.2): nothing that could end the command to the server. */
export const RECIPIENT = /^[^\s\p{C}<>"\\@]{1,64}(?:@[^\s\p{C}<>"\\@]{1,255})?$/u;

/** A file in the directory of credentials: no path, and none of the names that lead out of it. */
export const CREDENTIAL = /^(?!\.{1,2}$)[^\p{C}/]{1,255}$/u;

/** An account's name. */
export const NAME = /^(?!-)[^\s\p{C}/*?[]{1,64}$/u;

/** Each is a phrase that follows "expected". */
export const EXPECTED = {
  name: 'a name of 1 to 64 printable characters, without blanks and / * ? [, and not starting with -',
  password:
    'the password as text in quotes and on one line, or one of env, file, command, keyring, netrc, credential',
  oauth2: 'command, with a program that prints an access token',
  command: 'a list of the program and its arguments, such as [pass, show, mail/work]',
  tls: 'implicit, starttls, none, or a mapping',
  credential: 'the name of a credential, without a slash, such as work',
  pin: '"sha256:" and 64 hexadecimal digits, or a list of them',
  delivery:
    '{maildir: PATH}, {mbox: PATH}, {command: [PROGRAM, ARGUMENT]}, {lmtp: ADDRESS, recipient: USER}, stdout, or a list of them',
  destination:
    'one of {maildir: PATH}, {mbox: PATH}, {command: [PROGRAM, ARGUMENT]}, {lmtp: ADDRESS, recipient: USER}, stdout',
  program: 'a list of the program and its arguments, such as [maildrop, -d, taro]',
  lmtp: 'HOST:PORT, [ADDRESS]:PORT, or the path of a socket',
  recipient: 'an address such as taro@example.com, or a list of them',
  delete: 'never, delivered, or a duration such as 30d',
  size: 'a size such as 20MiB, 256KiB or 1000000',
  timeout: 'a duration of at most 24d, such as 90s or 5m',
} as const;
