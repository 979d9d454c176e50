/** The configuration of a Dovecot that lives in one directory and touches nothing else. */
import { join } from 'node:path';

/** What a configuration has to say. */
export interface DovecotSetup {
  /** Everything is in here; `passwd`, `mail/USER/Maildir`, `run/` and `dovecot.log` by name. */
  readonly directory: string;
  readonly plainPort: number;
  readonly tlsPort: number;
  readonly certFile: string;
  readonly keyFile: string;
  readonly apop: boolean;
  /** SASL mechanisms besides PLAIN and LOGIN. */
  readonly mechanisms: readonly string[];
  /** Where LMTP is to be offered, if at all. */
  readonly lmtp: { readonly port: number; readonly socket: string } | undefined;
  /**
   * Whose the mail is. Numbers where Dovecot is started as root, as whom it refuses to read mail; names where it is
   * started by somebody else, as whom then everything has to run.
   */
  readonly owner: MailOwner;
}

export type MailOwner =
  { readonly uid: number; readonly gid: number } | { readonly user: string; readonly group: string };

/** The text of dovecot.conf, in the language of that version ("2.3.19.1 (9b53102964)"). */
export function dovecotConfig(version: string, setup: DovecotSetup): string {
  const modern = !/^2\.[0-3]\./.test(version);
  return [...(modern ? modernLines(setup) : classicLines(setup)), ...commonLines(setup), ''].join('\n');
}

/** The settings that go by the same name from 2.3 to 2.4. */
function commonLines(setup: DovecotSetup): string[] {
  const { directory } = setup;
  return [
    'listen = 127.0.0.1',
    `base_dir = ${join(directory, 'run')}`,
    `state_dir = ${join(directory, 'state')}`,
    `log_path = ${join(directory, 'dovecot.log')}`,
    `instance_name = ${directory.split('/').at(-1) ?? 'popfetch'}`,
    'ssl = yes',
    `auth_mechanisms = ${['plain', 'login', ...(setup.apop ? ['apop'] : []), ...setup.mechanisms].join(' ')}`,
    // No waiting after a wrong password, and no limit that a test with many sessions could meet.
    'auth_failure_delay = 0',
    'service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}',
    'mail_max_userip_connections = 100',
    'pop3_lock_session = yes',
    'mail_fsync = never',
    'first_valid_uid = 1',
    ...listeners(setup),
    ...lmtpListeners(setup),
    ...ownerLines(setup.owner),
  ];
}

function classicLines({ directory, certFile, keyFile, lmtp }: DovecotSetup): string[] {
  return [
    `protocols = pop3${lmtp === undefined ? '' : ' lmtp'}`,
    `ssl_cert = <${certFile}`,
    `ssl_key = <${keyFile}`,
    'disable_plaintext_auth = no',
    'mail_location = maildir:~/Maildir',
    `passdb {\n  driver = passwd-file\n  args = ${join(directory, 'passwd')}\n}`,
    `userdb {\n  driver = static\n  args = home=${join(directory, 'mail')}/%u\n}`,
  ];
}

function modernLines({ directory, certFile, keyFile, lmtp }: DovecotSetup): string[] {
  return [
    // These two come first, and name the oldest version whose settings are meant.
    'dovecot_config_version = 2.4.0',
    'dovecot_storage_version = 2.4.0',
    `protocols {\n  pop3 = yes${lmtp === undefined ? '' : '\n  lmtp = yes'}\n}`,
    `ssl_server_cert_file = ${certFile}`,
    `ssl_server_key_file = ${keyFile}`,
    'auth_allow_cleartext = yes',
    'mail_driver = maildir',
    'mail_path = ~/Maildir',
    `passdb passwd-file {\n  passwd_file_path = ${join(directory, 'passwd')}\n}`,
    `userdb static {\n  fields {\n    home = ${join(directory, 'mail')}/%{user}\n  }\n}`,
    'namespace inbox {\n  inbox = yes\n}',
  ];
}

function listeners({ plainPort, tlsPort }: DovecotSetup): string[] {
  return [
    'service pop3-login {',
    `  inet_listener pop3 {\n    port = ${plainPort}\n  }`,
    `  inet_listener pop3s {\n    port = ${tlsPort}\n    ssl = yes\n  }`,
    '}',
  ];
}

function lmtpListeners({ lmtp }: DovecotSetup): string[] {
  if (lmtp === undefined) return [];
  return [
    'postmaster_address = postmaster@example.com',
    'service lmtp {',
    `  inet_listener lmtp {\n    port = ${lmtp.port}\n  }`,
    `  unix_listener ${lmtp.socket} {\n    mode = 0666\n  }`,
    '}',
  ];
}

function ownerLines(owner: MailOwner): string[] {
  if ('uid' in owner) return [`mail_uid = ${owner.uid}`, `mail_gid = ${owner.gid}`];
  return [
    `mail_uid = ${owner.user}`,
    `mail_gid = ${owner.group}`,
    `default_internal_user = ${owner.user}`,
    `default_internal_group = ${owner.group}`,
    `default_login_user = ${owner.user}`,
    // Only root can lock a process into a directory.
    'service anvil {\n  chroot =\n}',
    'service pop3-login {\n  chroot =\n}',
  ];
}
