/** What happened, in words. Pure; everything that comes from a server is escaped here. */
import { ConfigError, renderProblem } from '../config/problems.js';
import type { PopfetchError } from '../errors.js';
import { printable, readable, shellWord } from '../escape.js';
import type { Event, Outcome } from '../events.js';
import { plural, size, span } from './quantities.js';

/** Characters of a server's answer that are shown. */
const WORDS = 300;

/**
 * An error for people: account, phase, sentence, the server's own words in quotes, remedy. One line, or several for a
 * config with several problems and for a remedy that is a text to paste.
 * @param prefix put before every problem, such as `popfetch: `
 */
export function formatError(error: PopfetchError, prefix = ''): string {
  if (error instanceof ConfigError) {
    return readableLines(error.problems.map((problem) => prefix + renderProblem(problem)).join('\n'));
  }
  const { account, phase, message, serverText, remedy } = error;
  const where = account === undefined ? [] : [readable(account), phase];
  const words = serverText === undefined || serverText === '' ? undefined : quoted(serverText);
  const parts = [...where, message, words].filter((part) => part !== undefined);
  const advice = remedy === undefined ? '' : `${remedy.includes('\n') ? '\n' : '; '}${remedy}`;
  return readableLines(`${prefix}${parts.join(': ')}${advice}`);
}

/** Text of several lines: a path or a name from a config may be in it. */
function readableLines(text: string): string {
  return text.split('\n').map(readable).join('\n');
}

/** An interruption for people, whichever account it met. */
export function formatInterruption({ message, remedy }: PopfetchError, prefix: string): string {
  return `${prefix}${message}${remedy === undefined ? '' : `; ${remedy}`}`;
}

/** An error for programs. Field names are stable; undefined fields are left out of JSON. */
export function errorFields(error: PopfetchError): object {
  const { code, account, phase, message, serverText, remedy, exit } = error;
  const problems = error instanceof ConfigError ? { problems: error.problems } : {};
  const words = serverText === undefined ? undefined : printable(serverText, WORDS);
  return { code, account, phase, message, serverText: words, remedy, exit, ...problems };
}

/** A document or an event as JSON in ASCII: nothing in it can steer a terminal, and nothing is lost. */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(
    /[^\n -~]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** How an account's part of a run ended: `3 new messages (12 KiB), 2 removed in 1.2 s`. */
export function outcomeSentence({ delivered, octets, removed, skipped, elapsed, errors }: Outcome): string {
  const nothing = errors.length === 0 ? 'nothing new' : 'nothing fetched';
  const parts = [
    delivered > 0 ? `${plural(delivered, 'new message')} (${size(octets)})` : nothing,
    ...(removed > 0 ? [`${removed} removed`] : []),
    ...(skipped > 0 ? [`${skipped} left on the server`] : []),
  ];
  return `${parts.join(', ')} in ${span(elapsed)}`;
}

/** What a dry run found: `would fetch 3 messages (12 KiB) and remove 2`. */
export function dryRunSentence(fetch: { count: number; octets: number }, remove: number): string {
  const first =
    fetch.count === 0
      ? 'would fetch nothing'
      : `would fetch ${plural(fetch.count, 'message')} (${size(fetch.octets)})`;
  return remove === 0 ? first : `${first} and remove ${remove}`;
}

/** Why a message stays where it is, and what can be done about it. */
export function skippedSentence(event: Extract<Event, { type: 'skipped' }>): string {
  const { account, number, uid, octets, reason } = event;
  const message = `message ${number} (${size(octets)})`;
  switch (reason) {
    case 'too large': {
      const show = `popfetch show ${messageName(uid, number)} -a ${shellWord(account)}`;
      return `${message} is larger than maxSize and stays on the server; raise maxSize, or run ${show}`;
    }
    case 'refused':
      return `${message} is refused by the server${said(event.serverText)} and stays there; the next run tries it again`;
    case 'changed':
      return `${message} has another size than when it was fetched, and is not removed from the server`;
    case 'failed':
      return `${message} failed in earlier runs and is tried again once a day`;
    case 'limit':
      return `${message} is left for a later run`;
    default:
      return reason satisfies never;
  }
}

/** What a person can type to name a message: its unique-id where that needs no quoting, else its number. */
function messageName(uid: string, number: number): string {
  return /^[\w.@%+=:,/-]+$/.test(uid) ? `uid:${uid}` : String(number);
}

function said(words = ''): string {
  return words === '' ? '' : ` (${quoted(words)})`;
}

/** A server's words in quotes, escaped. */
export function quoted(words: string): string {
  return `"${printable(words, WORDS)}"`;
}
