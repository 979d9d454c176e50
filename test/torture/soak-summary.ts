/** What a soak came to, for people. */
import { cpus } from 'node:os';
import type { SoakResult } from './soak-world.js';

/** Entries shown of a list that should be empty. */
const SHOWN = 10;

/** How a run may end: well, with temporary trouble, on nonsense, or by a signal, also before it listens to one. */
const ENDS = ['0', '69', '75', '76', '143', 'SIGKILL', 'SIGTERM'];

/** What a run may have to say to the faults of a soak. */
const SENTENCES = [
  /^popfetch: interrupted by SIGTERM; nothing is lost; the next run goes on$/,
  /^popfetch: ACCOUNT: state: another run of popfetch is fetching this mailbox( \(process N on HOST, since TIME\))?; use --wait/,
  /^popfetch: ACCOUNT: connect: cannot connect to N\.N port N \(ECONNRESET\); check host and port, and the network$/,
  /^popfetch: ACCOUNT: \w+: the server closed the connection; nothing is lost; (the next run goes on|where TLS is spoken .*)$/,
  /^popfetch: ACCOUNT: \w+: the connection broke \((ECONNRESET|EPIPE)\); nothing is lost; (the next run goes on|where TLS is spoken .*)$/,
  /^popfetch: ACCOUNT: \w+: the server did not send (an answer|the rest of a message or listing) within N s; nothing/,
  /^popfetch: ACCOUNT: \w+: the server answered with something that is not POPN: "nonsense"; run again with --trace/,
  /^popfetch: ACCOUNT: login: the server has a temporary problem: "\[SYS\/TEMP\] try again later"; the server asks/,
  /^popfetch: ACCOUNT: login: the server wants more time between two logins: "\[LOGIN-DELAY\] not so fast"; run/,
  /^popfetch: ACCOUNT: login: another session holds the mailbox: "\[IN-USE\] .*"; wait for the other mail program/,
  /^popfetch: ACCOUNT: retrieve: the session has ended at message N in N runs \(.*\); it stays on the server/,
  /^popfetch: ACCOUNT: list: the server refuses (STAT|LIST|UIDL): ".*"; the server asks to try again later$/,
  /^popfetch: ACCOUNT: retrieve: the server refuses to give message N: ".*"; the next run tries it again$/,
  /^popfetch: ACCOUNT: warning: the server would not remove N of N messages; the next run tries again$/,
  /^popfetch: ACCOUNT: quit: the server could not finish the session: "some messages were not removed"; the next run/,
];

/** Whether nothing went wrong that a person would mind. */
export function isClean(result: SoakResult): boolean {
  return problemsOf(result).length === 0;
}

/** Everything that should not be, in words; empty when all is well. */
export function problemsOf(result: SoakResult): string[] {
  const { lost, doubled, fragments, missing, leftovers, complaints } = result;
  return [
    ...listed('lost', lost),
    ...listed('doubled', doubled),
    ...listed('fragment', fragments),
    ...listed('not fetched', missing),
    ...listed('left over', leftovers),
    ...listed('', complaints),
    ...listed('unexpected', unexpected(result)),
  ];
}

/** The result as lines of Markdown. */
export function summaryOf(result: SoakResult, seed: number): string[] {
  const { minutes, messages, faults, kills, lost, doubled, fragments, leftovers, slope, peaks } = result;
  const where = `${cpus().length} cores, Node ${process.versions.node}`;
  return [
    `${minutes} minutes, 16 accounts, seed ${seed}, ${where}.`,
    '',
    `- messages: ${messages}`,
    `- faults: ${sum(faults)} (${shares(faults)})`,
    `- kills: ${kills}; runs by exit status or signal: ${shares(result.ends)}`,
    `- lost: ${lost.length}; doubled: ${doubled.length}; fragments: ${fragments.length}; leftover files: ${leftovers.length}`,
    `- memory: slope ${slope.toFixed(0)} KiB a minute (${((slope * minutes) / messages).toFixed(1)} KiB for each message remembered) over ${peaks.length} runs of all accounts; means of the quarters ${quarters(peaks)} MiB`,
    ...problemsOf(result).map((problem) => `- PROBLEM: ${problem}`),
  ];
}

function unexpected({ ends, sentences }: SoakResult): string[] {
  const strange = [...ends.keys()].filter((end) => !ENDS.includes(end));
  const odd = [...sentences.keys()].filter((sentence) => !SENTENCES.some((each) => each.test(sentence)));
  return [...strange, ...odd];
}

function listed(what: string, entries: readonly string[]): string[] {
  const shown = entries.slice(0, SHOWN).map((entry) => (what === '' ? entry : `${what}: ${entry}`));
  return entries.length > SHOWN ? [...shown, `${what}: and ${entries.length - SHOWN} more`] : shown;
}

/** The mean peak in each quarter of the runs, in MiB. */
function quarters(peaks: SoakResult['peaks']): string {
  const means = [0, 1, 2, 3].map((n) => {
    const part = peaks.slice(Math.floor((n * peaks.length) / 4), Math.floor(((n + 1) * peaks.length) / 4));
    return part.reduce((total, { kib }) => total + kib, 0) / part.length / 1024;
  });
  return means.map((mean) => mean.toFixed(1)).join(', ');
}

function shares(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');
}

function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0);
}
