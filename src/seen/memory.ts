/** What is remembered of one mailbox, as those see it who read it and those who add to it. Types, and what follows from them. */
import type { DeliveryLog, Intent } from '../deliver/destination.js';

/** What is remembered of a message that is done. Times in milliseconds since 1970, sizes in octets. */
export interface Entry extends Outline {
  readonly uid: string;
  readonly key: string;
  readonly octets: number;
  readonly sha256: string;
  readonly headerSha256: string;
}

/** That part of an {@link Entry} by which it is decided what is done with a message: cheap to ask for. */
export interface Outline {
  /** By LIST, when it was delivered. */
  readonly size: number;
  readonly destination: string;
  readonly doneAt: number;
  /** When the server said +OK to the QUIT that removes it. */
  readonly removedAt: number | undefined;
  /** When a complete listing first no longer showed it. */
  readonly goneAt: number | undefined;
}

/**
 * Why a message could not be delivered so far. `server`: RETR was refused, or the session broke while it was read.
 * `later`: a destination wants it later. `rejected`: a destination will never take it.
 */
export type TroubleKind = 'server' | 'later' | 'rejected';

/** What is remembered of a message that could not be delivered. */
export interface Trouble {
  readonly kind: TroubleKind;
  /** How many runs have tried in vain. */
  readonly count: number;
  /** When it was tried last, in milliseconds since 1970. */
  readonly lastAt: number;
}

/** How a run ended. */
export interface RunRecord {
  /** Milliseconds since 1970. */
  readonly time: number;
  /** `ok`, or the code of the error that ended it. */
  readonly result: string;
  readonly listed: number;
  readonly delivered: number;
  readonly removed: number;
}

/** The memory as anyone may read it, without the lock. */
export interface Memory {
  /** The journal's file. */
  readonly path: string;
  /** Whether no message was ever delivered or marked as seen, as far as it knows. */
  readonly fresh: boolean;
  /** Whether the message is done, on disk. */
  has(uid: string): boolean;
  entry(uid: string): Entry | undefined;
  /** The same in short. */
  outline(uid: string): Outline | undefined;
  /** How many messages are done. */
  readonly size: number;
  entries(): Iterable<Entry>;
  /** The same in short, and much cheaper where there are many. */
  outlines(): Iterable<Outline>;
  /** Deliveries that were begun and are neither done nor undone. */
  unfinished(): readonly Intent[];
  /** Whether several messages have gone by this uid, each remembered as the uid, a NUL and what tells it apart. */
  shared(uid: string): boolean;
  /** Whether this message was reported as left alone before. */
  reported(uid: string): boolean;
  /** Octets that a message is known to exceed, whatever LIST says; 0 where nothing is known. */
  exceeds(uid: string): number;
  /** What stood in the way of this message in earlier runs; undefined where nothing did. */
  trouble(uid: string): Trouble | undefined;
  /** The same of all messages that are still in trouble, or were when they were last listed. */
  troubles(): Iterable<Trouble>;
  readonly lastRun: RunRecord | undefined;
  /** When the server last fell out of step with several commands at once, in milliseconds since 1970; undefined for never. */
  readonly outOfStepAt: number | undefined;
}

/** The memory for the one run that holds its lock. Every promise resolves when it is on disk, and may throw STATE. */
export interface Seen extends Memory, DeliveryLog {
  /** The message is durable wherever it had to go; what is remembered of it is what was intended. */
  done(uid: string): Promise<void>;
  /** What was intended left no trace: the message is as new. */
  undone(uid: string): Promise<void>;
  /** The message that the memory knows as `known` goes by this uid from now on. */
  adopt(uid: string, known: Entry): Promise<void>;
  /** The message was left alone and a person was told. */
  report(uid: string): Promise<void>;
  /** The message turned out to have more than so many octets. */
  outgrew(uid: string, octets: number): Promise<void>;
  /** The message could not be delivered in this run. @returns what is remembered of that from now on */
  failed(uid: string, kind: TroubleKind): Promise<Trouble>;
  /** The server does not keep step with several commands at once, whatever it announces. */
  fellOutOfStep(): Promise<void>;
  /** QUIT was answered +OK after DELE for these. */
  removed(uids: readonly string[]): Promise<void>;
  /**
   * Records how the run went and gives the lock back. `listed`: the uids of a complete listing, or undefined where
   * there was none: only a complete listing can show that a message is gone.
   */
  close(run: RunRecord, listed: Iterable<string> | undefined): Promise<void>;
}

/** Milliseconds for which a message is remembered after it was last listed: a sick server may list it again. */
export const RETENTION = 90 * 24 * 3600 * 1000;

/** Milliseconds for which a server that fell out of step is sent one command at a time: it may have been mended since. */
const CAUTION = 30 * 24 * 3600 * 1000;

/** Whether a server may be sent several commands at once, as far as the memory (undefined where there is none) knows. */
export function mayPipeline(memory: Pick<Memory, 'outOfStepAt'> | undefined, now: number): boolean {
  return memory?.outOfStepAt === undefined || memory.outOfStepAt + CAUTION <= now;
}
