/** The records of a journal, added up: what a memory knows. Pure. */
import type { Intent } from '../deliver/destination.js';
import { PopfetchError } from '../errors.js';
import { Entries } from './entries.js';
import type { JournalRecord } from './journal.js';
import {
  mayPipeline,
  RETENTION,
  type Entry,
  type Memory,
  type Outline,
  type RunRecord,
  type Trouble,
  type TroubleKind,
} from './memory.js';

/** Format of the journal; a newer one is refused, never guessed at. */
export const VERSION = '1';

/** Says that a memory without messages is no lost one: they were forgotten, or there were none to recognise. */
export const BEGUN: JournalRecord = { verb: 'BEGUN', fields: [] };

/** The fields of a journal are octets as latin1; texts of ours (paths, names) go in as UTF-8. */
export const toOctets = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');
const fromOctets = (octets: string): string =>
  ASCII.test(octets) ? octets : Buffer.from(octets, 'latin1').toString('utf8');
/** Most paths are the same either way. */
const ASCII = /^[\x20-\x7e]*$/;

/** The record of an intent. */
export function intentRecord(intent: Intent): JournalRecord {
  const { uid, key, destination, size, octets, sha256, headerSha256, details } = intent;
  const words = [String(size), String(octets), sha256, headerSha256, toOctets(JSON.stringify(details))];
  return { verb: 'INTENT', fields: [uid, key, toOctets(destination), ...words] };
}

function parseIntent(fields: readonly string[]): Intent {
  const [uid = '', key = '', destination = '', size = '', octets = '', ...rest] = fields;
  const [sha256 = '', headerSha256 = '', details = '{}'] = rest;
  return {
    uid,
    key,
    destination: fromOctets(destination),
    size: Number(size),
    octets: Number(octets),
    sha256,
    headerSha256,
    details: JSON.parse(fromOctets(details)) as Intent['details'],
  };
}

/** A done message in one record, as a rewritten journal holds it. `-` stands for a time that is not there. */
export function seenRecord(entry: Entry): JournalRecord {
  const { uid, key, size, octets, sha256, headerSha256, destination, doneAt, removedAt, goneAt } = entry;
  const times = [doneAt, removedAt ?? '-', goneAt ?? '-'].map(String);
  const facts = [String(size), String(octets), sha256, headerSha256, toOctets(destination)];
  return { verb: 'SEEN', fields: [uid, key, ...facts, ...times] };
}

function parseTime(field = '-'): number | undefined {
  return field === '-' ? undefined : Number(field);
}

function parseSeen(fields: readonly string[]): Entry {
  const [uid = '', key = '', size = '', octets = '', sha256 = '', headerSha256 = '', destination = ''] =
    fields;
  const [doneAt, removedAt, goneAt] = [fields[7], fields[8], fields[9]].map(parseTime);
  return {
    uid,
    key,
    size: Number(size),
    octets: Number(octets),
    sha256,
    headerSha256,
    destination: fromOctets(destination),
    doneAt: doneAt ?? 0,
    removedAt,
    goneAt,
  };
}

/** The record of a message that could not be delivered; the last one of a message counts. */
export function troubleRecord(uid: string, { kind, count, lastAt }: Trouble): JournalRecord {
  return { verb: 'TROUBLE', fields: [uid, kind, String(count), String(lastAt)] };
}

/** The record of how a run ended. */
export function runRecord(run: RunRecord): JournalRecord {
  const { time, result, listed, delivered, removed } = run;
  return { verb: 'RUN', fields: [String(time), result, String(listed), String(delivered), String(removed)] };
}

function parseRun(fields: readonly string[]): RunRecord {
  const [time, result = '', listed, delivered, removed] = fields;
  const [at = 0, ...counts] = [time, listed, delivered, removed].map(Number);
  return { time: at, result, listed: counts[0] ?? 0, delivered: counts[1] ?? 0, removed: counts[2] ?? 0 };
}

/** What the journal of one mailbox says, record by record. */
export class Book implements Memory {
  readonly path: string;
  readonly #entries = new Entries();
  /** By uid: the deliveries begun, one for each destination. */
  readonly #intents = new Map<string, Intent[]>();
  /** By uid: the destinations that have the message while others do not. */
  readonly #stored = new Map<string, Set<string>>();
  readonly #reported = new Set<string>();
  readonly #exceeds = new Map<string, number>();
  readonly #troubles = new Map<string, Trouble>();
  /** What stands before the NUL in uids that have one. */
  readonly #shared = new Set<string>();
  #begun = false;
  #lastRun: RunRecord | undefined;
  #outOfStepAt: number | undefined;

  constructor(path: string) {
    this.path = path;
  }

  get lastRun(): RunRecord | undefined {
    return this.#lastRun;
  }

  get outOfStepAt(): number | undefined {
    return this.#outOfStepAt;
  }

  get fresh(): boolean {
    return !this.#begun;
  }

  has(uid: string): boolean {
    return this.#entries.find(uid) >= 0;
  }

  entry(uid: string): Entry | undefined {
    const row = this.#entries.find(uid);
    return row < 0 ? undefined : this.#entries.entry(row);
  }

  outline(uid: string): Outline | undefined {
    const row = this.#entries.find(uid);
    return row < 0 ? undefined : this.#entries.outline(row);
  }

  get size(): number {
    return this.#entries.size;
  }

  *entries(): Generator<Entry> {
    for (let row = 0; row < this.#entries.size; row += 1) yield this.#entries.entry(row);
  }

  *outlines(): Generator<Outline> {
    for (let row = 0; row < this.#entries.size; row += 1) yield this.#entries.outline(row);
  }

  /** What a complete listing shows of the messages that are done: first who has gone, then who is back. */
  *absences(listed: Iterable<string>): Generator<{ readonly uid: string; readonly gone: boolean }> {
    const there = new Uint8Array(this.#entries.size);
    for (const uid of listed) {
      const row = this.#entries.find(uid);
      if (row >= 0) there[row] = 1;
    }
    for (const gone of [true, false]) {
      for (let row = 0; row < there.length; row += 1) {
        const missing = there[row] === 0;
        const missed = this.#entries.goneAt(row) !== undefined;
        if (missing === gone && missed !== gone) yield { uid: this.#entries.uid(row), gone };
      }
    }
  }

  unfinished(): readonly Intent[] {
    return [...this.#intents.values()]
      .flat()
      .filter(({ uid, destination }) => !this.isStored(uid, destination));
  }

  isStored(uid: string, destination: string): boolean {
    return this.#stored.get(uid)?.has(destination) ?? false;
  }

  shared(uid: string): boolean {
    return this.#shared.has(uid);
  }

  exceeds(uid: string): number {
    return this.#exceeds.get(uid) ?? 0;
  }

  trouble(uid: string): Trouble | undefined {
    return this.#troubles.get(uid);
  }

  troubles(): Iterable<Trouble> {
    return this.#troubles.values();
  }

  reported(uid: string): boolean {
    return this.#reported.has(uid);
  }

  /** Takes one record in. @throws STATE for a record of a format that is not known */
  apply(record: JournalRecord): void {
    const { verb, fields } = record;
    const [uid = '', argument = ''] = fields;
    switch (verb) {
      case 'POPFETCH':
        if (uid !== VERSION) throw this.#unknown(`format ${uid}`);
        break;
      case 'BEGUN':
        this.#begun = true;
        break;
      case 'INTENT':
        this.#intend(parseIntent(fields));
        break;
      case 'STORED':
        this.#stored.set(uid, (this.#stored.get(uid) ?? new Set()).add(fromOctets(argument)));
        break;
      case 'DONE':
        this.#done(uid, Number(argument));
        break;
      case 'UNDONE':
        this.#intents.delete(uid);
        break;
      case 'SEEN':
        this.#add(parseSeen(fields));
        break;
      case 'QUIT_OK':
        this.#entries.setRemovedAt(this.#entries.find(uid), Number(argument));
        break;
      case 'GONE':
        this.#entries.setGoneAt(this.#entries.find(uid), Number(argument));
        break;
      case 'BACK':
        this.#entries.setGoneAt(this.#entries.find(uid), undefined);
        break;
      case 'REPORTED':
        this.#reported.add(uid);
        break;
      case 'OUTGREW':
        this.#exceeds.set(uid, Number(argument));
        break;
      case 'TROUBLE': {
        const [, kind, count, lastAt] = fields;
        this.#troubles.set(uid, { kind: kind as TroubleKind, count: Number(count), lastAt: Number(lastAt) });
        break;
      }
      case 'OUT_OF_STEP':
        this.#outOfStepAt = Number(uid);
        break;
      case 'RUN':
        this.#lastRun = parseRun(fields);
        break;
      default:
        throw this.#unknown(`record ${verb}`);
    }
  }

  /**
   * The fewest records that say the same, without what vanished from the server longer than {@link RETENTION} before
   * `now`. To be read to the end before anything is added.
   */
  *records(now: number): Generator<JournalRecord> {
    let kept = 0;
    for (let row = 0; row < this.#entries.size; row += 1) {
      if (!this.#isKept(row, now)) continue;
      kept += 1;
      yield seenRecord(this.#entries.entry(row));
    }
    if (this.#begun && kept === 0) yield BEGUN;
    yield* this.#otherRecords(now);
  }

  /** How many {@link records} there are. */
  count(now: number): number {
    let kept = 0;
    for (let row = 0; row < this.#entries.size; row += 1) if (this.#isKept(row, now)) kept += 1;
    return (this.#begun && kept === 0 ? 1 : kept) + [...this.#otherRecords(now)].length;
  }

  #isKept(row: number, now: number): boolean {
    const goneAt = this.#entries.goneAt(row);
    return goneAt === undefined || goneAt + RETENTION > now;
  }

  /** What is remembered besides the messages that are done. */
  *#otherRecords(now: number): Generator<JournalRecord> {
    for (const intents of this.#intents.values()) yield* intents.map(intentRecord);
    for (const [uid, names] of this.#stored) {
      for (const name of names) yield { verb: 'STORED', fields: [uid, toOctets(name)] };
    }
    for (const uid of this.#reported) yield { verb: 'REPORTED', fields: [uid] };
    for (const [uid, octets] of this.#exceeds) yield { verb: 'OUTGREW', fields: [uid, String(octets)] };
    for (const [uid, trouble] of this.#troubles) {
      if (trouble.lastAt + RETENTION > now) yield troubleRecord(uid, trouble);
    }
    if (!mayPipeline(this, now)) yield { verb: 'OUT_OF_STEP', fields: [String(this.#outOfStepAt)] };
    if (this.#lastRun !== undefined) yield runRecord(this.#lastRun);
  }

  #intend(intent: Intent): void {
    this.#begun = true;
    const others = this.#intents
      .get(intent.uid)
      ?.filter(({ destination }) => destination !== intent.destination);
    this.#intents.set(intent.uid, [...(others ?? []), intent]);
  }

  #done(uid: string, doneAt: number): void {
    const intents = this.#intents.get(uid) ?? [];
    const { key = '', size = 0, octets = 0, sha256 = '', headerSha256 = '' } = intents.at(-1) ?? {};
    const destination = intents.map((intent) => intent.destination).join(' ');
    const facts = { uid, key, size, octets, sha256, headerSha256, destination, doneAt };
    this.#add({ ...facts, removedAt: undefined, goneAt: undefined });
    this.#intents.delete(uid);
    this.#stored.delete(uid);
    this.#reported.delete(uid);
    this.#exceeds.delete(uid);
  }

  #add(entry: Entry): void {
    this.#begun = true;
    this.#entries.set(entry);
    this.#troubles.delete(entry.uid);
    const end = entry.uid.indexOf('\0');
    if (end >= 0) this.#shared.add(entry.uid.slice(0, end));
  }

  #unknown(what: string): PopfetchError {
    return new PopfetchError('STATE', `${this.path}: this popfetch does not know ${what}`, {
      phase: 'state',
      remedy: 'a newer popfetch wrote it: use that one',
    });
  }
}
