/**
 * A memory as lines of JSON, to be moved or kept: first `{"popfetch":1,"host":…,"port":…,"user":…}`, then one object for
 * each message. Several memories may stand one after the other. Pure.
 */
import type { Book } from './book.js';
import type { MailboxAddress } from '../identity.js';
import type { Entry } from './memory.js';

/** Format of an export; another one is refused. */
const FORMAT = 1;

/** What is known of a message that is not done. */
type Remark =
  /** Octets that it is known to exceed. */
  | { readonly uid: string; readonly exceeds: number }
  /** Somebody was told that it is left alone. */
  | { readonly uid: string; readonly reported: true };

/** One memory of an export. */
export interface Exported {
  readonly address: MailboxAddress;
  readonly entries: readonly Entry[];
  readonly remarks: readonly Remark[];
}

/** A line of an import that cannot be used, and why. */
export interface BadLine {
  readonly line: number;
  readonly why: string;
}

/** The objects of an export, one for each line. Unique-ids are octets, one character each (U+0000 to U+00FF). */
export function* exportObjects(
  { host, port, user }: MailboxAddress,
  book: Book,
  now: number,
): Generator<object> {
  yield { popfetch: FORMAT, host, port, user };
  const iso = (time: number | undefined): string | null =>
    time === undefined ? null : new Date(time).toISOString();
  for (const { verb, fields } of book.records(now)) {
    const [uid = '', argument] = fields;
    const entry = verb === 'SEEN' ? book.entry(uid) : undefined;
    if (entry !== undefined) {
      const { doneAt, removedAt, goneAt, ...facts } = entry;
      yield { ...facts, doneAt: iso(doneAt), removedAt: iso(removedAt), goneAt: iso(goneAt) };
    } else if (verb === 'OUTGREW') yield { uid, exceeds: Number(argument) };
    else if (verb === 'REPORTED') yield { uid, reported: true };
  }
}

/** Takes an export apart and checks every line of it. Lines without anything in them are passed over. */
export function parseExport(text: string): { readonly exported: Exported[]; readonly bad: BadLine[] } {
  const exported: Draft[] = [];
  const bad: BadLine[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const why = takeLine(line, exported);
    if (why !== undefined) bad.push({ line: index + 1, why });
  }
  return { exported, bad };
}

interface Draft {
  readonly address: MailboxAddress;
  readonly entries: Entry[];
  readonly remarks: Remark[];
}

/** @returns what is wrong with the line */
function takeLine(line: string, exported: Draft[]): string | undefined {
  const fields = parseObject(line);
  if (fields === undefined) return 'not a JSON object';
  if ('popfetch' in fields) {
    const wrong = wrongField(fields, HEADER);
    if (wrong === undefined)
      exported.push({ address: fields as unknown as MailboxAddress, entries: [], remarks: [] });
    return wrong;
  }
  const draft = exported.at(-1);
  if (draft === undefined) return 'there is no line {"popfetch":1,"host":…,"port":…,"user":…} before it';
  const isRemark = 'exceeds' in fields || 'reported' in fields;
  const wrong = wrongField(fields, isRemark ? ('exceeds' in fields ? EXCEEDS : REPORTED) : ENTRY);
  if (wrong !== undefined) return wrong;
  if (isRemark) draft.remarks.push(fields as unknown as Remark);
  else draft.entries.push(entryFrom(fields));
  return undefined;
}

function parseObject(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? (value as Readonly<Record<string, unknown>>) : undefined;
  } catch {
    return undefined;
  }
}

/** What a field must be, in words, and whether a value is that. */
type Rule = readonly [what: string, isRight: (value: unknown) => boolean];

const matches =
  (pattern: RegExp) =>
  (value: unknown): boolean =>
    typeof value === 'string' && pattern.test(value);
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
/** As `toISOString()` writes it, and nothing that only looks like a date. */
const isTime = (value: unknown): boolean => {
  const time = typeof value === 'string' ? Date.parse(value) : NaN;
  return !Number.isNaN(time) && new Date(time).toISOString() === value;
};

const COUNT: Rule = ['a whole number', isCount];
const HASH: Rule = ['64 hexadecimal digits, or empty', matches(/^([0-9a-f]{64})?$/)];
const UID: Rule = ['a text of characters up to U+00FF', matches(/^[\0-\xff]+$/)];
const TIME: Rule = ['a time such as "2026-01-31T09:05:00.000Z"', isTime];
const TIME_OR_NULL: Rule = [`${TIME[0]}, or null`, (value) => value === null || isTime(value)];
const TEXT: Rule = ['a text', matches(/./s)];

const HEADER: Readonly<Record<string, Rule>> = {
  popfetch: [`${FORMAT}: another popfetch wrote this`, (value) => value === FORMAT],
  host: TEXT,
  port: ['a port', (value) => isCount(value) && (value as number) < 65_536],
  user: TEXT,
};
const EXCEEDS: Readonly<Record<string, Rule>> = { uid: UID, exceeds: COUNT };
const REPORTED: Readonly<Record<string, Rule>> = { uid: UID, reported: ['true', (value) => value === true] };
const ENTRY: Readonly<Record<string, Rule>> = {
  uid: UID,
  key: ['26 characters of base32', matches(/^[a-z2-7]{26}$/)],
  size: COUNT,
  octets: COUNT,
  sha256: HASH,
  headerSha256: HASH,
  destination: TEXT,
  doneAt: TIME,
  removedAt: TIME_OR_NULL,
  goneAt: TIME_OR_NULL,
};

function wrongField(
  fields: Readonly<Record<string, unknown>>,
  rules: Readonly<Record<string, Rule>>,
): string | undefined {
  const stray = Object.keys(fields).find((name) => !Object.hasOwn(rules, name));
  if (stray !== undefined) return `unknown field ${JSON.stringify(stray)}`;
  const wrong = Object.entries(rules).find(([name, [, isRight]]) => !isRight(fields[name]));
  if (wrong === undefined) return undefined;
  const [name, [what]] = wrong;
  return Object.hasOwn(fields, name) ? `${name} must be ${what}` : `${name} is missing`;
}

type Times = 'doneAt' | 'removedAt' | 'goneAt';

function entryFrom(fields: Readonly<Record<string, unknown>>): Entry {
  const facts = fields as unknown as Omit<Entry, Times> & Readonly<Record<Times, string | null>>;
  const time = (text: string | null): number | undefined => (text === null ? undefined : Date.parse(text));
  const { doneAt, removedAt, goneAt } = facts;
  return { ...facts, doneAt: time(doneAt) ?? 0, removedAt: time(removedAt), goneAt: time(goneAt) };
}
