/** What `popfetch check` has to say about what it saw. Pure. */
import type { Account } from '../config/account.js';
import type { PopfetchError } from '../errors.js';
import { printable, readable } from '../escape.js';
import type { Listing } from '../pop3/mailbox.js';
import type { Capabilities } from '../pop3/replies.js';
import { moment, plural } from '../report/quantities.js';
import { quoted } from '../report/sentences.js';
import type { Memory } from '../seen/memory.js';
import type { ChannelInfo } from '../wire/trust.js';

/** One thing that was looked at. `fail` keeps mail from being fetched, `warn` does not. */
export interface Finding {
  readonly level: 'ok' | 'warn' | 'fail';
  readonly subject:
    'config' | 'dns' | 'tls' | 'capa' | 'login' | 'uidl' | 'destination' | 'state' | 'connect';
  readonly sentence: string;
  readonly remedy?: string;
  /** With `fail`. */
  readonly error?: PopfetchError;
}

/** Days before the end of a certificate from which it is worth a warning. */
const SOON = 14;
const DAY = 86_400_000;
/** RFC 1939 section 7. */
const UID_OCTETS = 70;

/** More than any server has: a longer list is one that a server makes up. */
const MECHANISMS_SHOWN = 16;

/** A failure under the name of what failed; account and phase are said by where it is printed. */
export function failure(subject: Finding['subject'], error: PopfetchError): Finding {
  const { message, serverText, remedy } = error;
  const words = serverText === undefined || serverText === '' ? '' : `: ${quoted(serverText)}`;
  return {
    level: 'fail',
    subject,
    sentence: message + words,
    error,
    ...(remedy === undefined ? {} : { remedy }),
  };
}

/** How the channel is secured, by whom, and for how long. In clear is worth a warning unless it is within this machine. */
export function tlsFindings({ protocol, chain }: ChannelInfo, loopback: boolean, now: number): Finding[] {
  if (protocol === undefined) {
    const inClear = { subject: 'tls', sentence: 'no TLS' } as const;
    if (loopback) return [{ ...inClear, level: 'ok', sentence: 'no TLS, within this machine' }];
    return [{ ...inClear, level: 'warn', remedy: 'mail can be read on the way; use tls: implicit' }];
  }
  const names = chain.map(({ subject }) => printable(subject, 80) || '(no name)').join(' < ');
  return [{ level: 'ok', subject: 'tls', sentence: `${protocol}, ${names}` }, ...expiry(chain, now)];
}

/** The certificate of the chain that ends first decides. */
function expiry(chain: ChannelInfo['chain'], now: number): Finding[] {
  const ends = chain.map(({ validTo }) => validTo).filter((time) => !Number.isNaN(time));
  if (ends.length === 0) return [];
  const first = ends.reduce((a, b) => Math.min(a, b));
  const days = Math.floor((first - now) / DAY);
  const sentence =
    days < 0
      ? `the certificate ended on ${moment(first)}`
      : `the certificate is good for ${plural(days, 'more day')}`;
  if (days >= SOON) return [{ level: 'ok', subject: 'tls', sentence }];
  return [{ level: 'warn', subject: 'tls', sentence, remedy: "ask the server's administrator to renew it" }];
}

/** What the server offers (RFC 2449), and what of it makes a difference to popfetch. */
export function capaFinding({ known, tags }: Capabilities): Finding {
  if (!known) {
    const sentence = 'the server does not know CAPA; one command at a time';
    return { level: 'ok', subject: 'capa', sentence };
  }
  const used = ['PIPELINING', 'UIDL', 'TOP', 'UTF8'].filter((tag) => tags.has(tag));
  const offered = [...tags.keys()].map((tag) => printable(tag, 40)).join(' ');
  const sentence = `offered: ${offered}; of use: ${used.length === 0 ? 'none' : used.join(' ')}`;
  return { level: 'ok', subject: 'capa', sentence };
}

/** Whether the unique-ids tell messages apart (RFC 1939 section 7). */
export function uidlFindings({ messages, complete, uidl, notes }: Listing): Finding[] {
  if (!uidl) {
    const sentence = 'the server has no unique-ids; every run reads all messages';
    return [{ level: 'warn', subject: 'uidl', sentence }];
  }
  const warn = (sentence: string, remedy?: string): Finding => ({
    level: 'warn',
    subject: 'uidl',
    sentence,
    ...(remedy === undefined ? {} : { remedy }),
  });
  const repeated = messages.length - new Set(messages.map(({ uid }) => uid)).size;
  const long = messages.filter(({ uid }) => uid.length > UID_OCTETS).length;
  const warnings = [
    ...notes.map((text) => warn(readable(text))),
    ...(repeated > 0
      ? [warn(`${plural(repeated, 'message')} with the unique-id of another one`, 'tell the provider')]
      : []),
    ...(long > 0 ? [warn(`${plural(long, 'unique-id')} of more than ${UID_OCTETS} octets`)] : []),
  ];
  const count = plural(messages.length, 'message');
  const sentence = complete ? `${count}, all with a unique-id` : `${count} with a unique-id`;
  return warnings.length > 0 ? warnings : [{ level: 'ok', subject: 'uidl', sentence }];
}

/** What is remembered; undefined where nothing is yet. */
export function stateFinding(memory: Memory | undefined): Finding {
  if (memory === undefined) return { level: 'ok', subject: 'state', sentence: 'nothing remembered yet' };
  const remembered = plural(memory.size, 'message');
  const unfinished = memory.unfinished().length;
  const rest = unfinished === 0 ? '' : `; ${unfinished} cut off, which the next fetch finishes`;
  return { level: 'ok', subject: 'state', sentence: `${remembered} remembered${rest}` };
}

/** A login that worked, the method that it went by, and why that one: what was offered, or what `auth` says. */
export function loginFinding(
  { user, auth }: Account,
  method: string | undefined,
  offered: readonly string[],
): Finding {
  const list = offered.slice(0, MECHANISMS_SHOWN).map((name) => printable(name, 40));
  const names = list.length === 0 ? 'no SASL' : list.join(' ');
  const why =
    auth === 'auto' ? `the strongest of what is offered: ${names}` : `as auth says; offered: ${names}`;
  const how = method === undefined ? '' : ` by ${method.toUpperCase()}, ${why}`;
  return { level: 'ok', subject: 'login', sentence: `as ${readable(user)}${how}` };
}
