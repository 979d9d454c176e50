/**
 * What a whole test run needs once: certificates that all files share, a real Dovecot and a real keyring to test
 * against, and strace to kill runs with.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { makeCertificates, removeCertificates, SHARED_DIRECTORY } from './certificates.js';
import { findDovecot } from './dovecot.js';
import { findKeyring, KEYRING_PACKAGES, keyringProblem } from './keyring.js';
import { findStrace, straceProblem } from './strace.js';

const run = promisify(execFile);

/** Set to 1, it makes a run fail that could not test against Dovecot or a keyring, or not kill at system calls. */
const REQUIRED = 'POPFETCH_REQUIRE_DOVECOT';

/**
 * A real server for POP3 and LMTP and a real keyring to test against, and a way to kill a run at a system call; where we
 * are root and can mount them, also the file systems whose power is cut.
 */
const PACKAGES = `dovecot-pop3d dovecot-lmtpd strace ${KEYRING_PACKAGES}${process.getuid?.() === 0 ? ' xfsprogs btrfs-progs' : ''}`;

/** Runs as root. No service is started, now or at the next boot; an existing policy and an existing Dovecot are left alone. */
const INSTALL = `
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\\nexit 101\\n' >"$policy"
  chmod 755 "$policy"
fi
had=no
if [ -e /usr/sbin/dovecot ]; then had=yes; fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq -o DPkg::Lock::Timeout=120 update
apt-get -qq -o DPkg::Lock::Timeout=120 -y --no-install-recommends install ${PACKAGES}
if [ "$had" = no ] && [ -d /run/systemd/system ]; then systemctl -q disable dovecot.service || true; fi
`;

/** Called by vitest before the first test file. Throws where what it cannot provide is required. */
export default async function setup(): Promise<() => Promise<void>> {
  const problem = await provide();
  if (findDovecot('lmtp') === undefined) {
    const which = findDovecot() === undefined ? 'The tests against' : 'The LMTP tests against';
    skip(`${which} a real Dovecot are skipped: ${problem ?? LOST}.`);
  }
  const untraced = straceProblem();
  if (untraced !== undefined)
    skip(
      `Killing runs at system calls with strace is skipped: ${(findStrace() ? undefined : problem) ?? untraced}.`,
    );
  const unkept = keyringProblem();
  if (unkept !== undefined) {
    skip(`The tests against a real keyring are skipped: ${(findKeyring() ? undefined : problem) ?? unkept}.`);
  }
  const set = await makeCertificates();
  process.env[SHARED_DIRECTORY] = set.directory;
  return () => removeCertificates(set);
}

const LOST = 'it was installed, but it is not where it should be';

/** @throws Error where nothing may be skipped */
function skip(sentence: string): void {
  if (process.env[REQUIRED] === '1') throw new Error(`${sentence} ${REQUIRED} forbids that.`);
  say(sentence);
}

/** Installs what is missing. @returns why it could not. */
async function provide(): Promise<string | undefined> {
  if (findDovecot('lmtp') !== undefined && findStrace() && findKeyring()) return undefined;
  if (!(await isDebian())) return 'it is not installed, and this is neither Debian nor Ubuntu';
  const root = await rootCommand();
  if (root === undefined) return `install ${PACKAGES}, or run the tests as root or with passwordless sudo`;
  say(`Installing ${PACKAGES} with apt-get, for the tests against real servers and for killing runs.`);
  try {
    const [program, ...args] = [...root, 'sh', '-c', INSTALL];
    await run(program, args, { timeout: 600_000 });
  } catch (error) {
    return `apt-get could not install ${PACKAGES} (${lastLine(error)})`;
  }
  return undefined;
}

async function isDebian(): Promise<boolean> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release);
}

/** What to put before a command so that root runs it; undefined where nobody lets us. */
async function rootCommand(): Promise<string[] | undefined> {
  if (process.getuid?.() === 0) return [];
  try {
    await run('sudo', ['-n', 'true'], { timeout: 10_000 });
    return ['sudo', '-n'];
  } catch {
    return undefined;
  }
}

function lastLine(error: unknown): string {
  const text = String((error as { stderr?: string }).stderr ?? error).trim();
  return text.split('\n').at(-1) ?? text;
}

function say(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}
