/**
 * What a run has to say. The code that works emits these; `report.ts` alone decides how they look. Texts from the
 * server or a message are as received (latin1 for server text) and must be escaped by whoever prints them.
 */
import type { Phase, PopfetchError } from './errors.js';

/** Why a listed message was left alone in this run. */
export type SkipReason =
  | 'too large'
  /** The server would not give it. */
  | 'refused'
  | 'limit'
  | 'changed'
  /** It failed in earlier runs, a person was told, and it is tried once a day. */
  | 'failed';

/** How one account's part of a run ended. Counts are messages, `octets` are wire octets. */
export interface Outcome {
  readonly account: string;
  readonly listed: number;
  readonly delivered: number;
  readonly octets: number;
  readonly removed: number;
  readonly skipped: number;
  /** Milliseconds from start to end. */
  readonly elapsed: number;
  /** Everything that went wrong, worst first, also what may pass by itself and made no `failed` event; empty when all is well. */
  readonly errors: readonly PopfetchError[];
}

/** One thing that happened. `time` is not part of an event: the reporter's clock adds it. */
export type Event =
  | { readonly type: 'run-start'; readonly accounts: readonly string[] }
  | { readonly type: 'account-start'; readonly account: string }
  | { readonly type: 'phase'; readonly account: string; readonly phase: Phase }
  /** `wanted` messages of `octets` octets (by LIST, a hint) will be retrieved, `doomed` will be removed. */
  | {
      readonly type: 'planned';
      readonly account: string;
      readonly listed: number;
      readonly seen: number;
      readonly wanted: number;
      readonly octets: number;
      readonly doomed: number;
    }
  /** Octets that have just arrived, for a progress display. Frequent. */
  | { readonly type: 'progress'; readonly account: string; readonly octets: number }
  /** The message is durable at its destination and remembered on disk. */
  | {
      readonly type: 'delivered';
      readonly account: string;
      readonly number: number;
      readonly uid: string;
      readonly key: string;
      readonly octets: number;
      readonly destination: string;
    }
  | {
      readonly type: 'skipped';
      readonly account: string;
      readonly number: number;
      readonly uid: string;
      readonly octets: number;
      readonly reason: SkipReason;
      /** The server's words, where it refused. */
      readonly serverText?: string;
      /** False when an earlier run has already reported it. */
      readonly first: boolean;
    }
  /** Only with --dry-run: what would be done with this message. */
  | {
      readonly type: 'would';
      readonly account: string;
      readonly action: 'fetch' | 'remove';
      readonly number: number;
      readonly uid: string;
      readonly octets: number;
    }
  /** QUIT was answered +OK: these are gone from the server as far as the server says. */
  | { readonly type: 'removed'; readonly account: string; readonly messages: number }
  /** Something a person may want to know that stops nothing. */
  | {
      readonly type: 'warning';
      readonly account: string;
      readonly message: string;
      readonly serverText?: string;
    }
  | { readonly type: 'failed'; readonly account: string; readonly error: PopfetchError }
  | { readonly type: 'account-end'; readonly account: string; readonly outcome: Outcome }
  | { readonly type: 'run-end'; readonly outcomes: readonly Outcome[]; readonly exitCode: number };

/** Takes an event. Must not throw and must not block. */
export type Emit = (event: Event) => void;
