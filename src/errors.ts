/**
 * Everything that can go wrong, in one table: how far a failure reaches, whether trying again later may help,
 * the exit status (sysexits.h) and what a person can do about it.
 */

/** How much of a run a failure stops: one message, one account, or everything. */
export type Reach = 'message' | 'account' | 'run';

/** Every code a {@link PopfetchError} can carry. */
export type ErrorCode =
  | 'USAGE'
  | 'CONFIG'
  | 'PERMISSION'
  | 'LOCKED'
  | 'CONNECT'
  | 'LOST'
  | 'TIMEOUT'
  | 'TLS'
  | 'AUTH'
  | 'BUSY'
  | 'REFUSED'
  | 'PROTOCOL'
  | 'DATA'
  | 'CREATE'
  | 'DELIVERY'
  | 'STATE'
  | 'ABORTED';

/** Where in a session a failure happened. */
export type Phase =
  | 'config'
  | 'state'
  | 'destination'
  | 'connect'
  | 'tls'
  | 'greeting'
  | 'login'
  | 'list'
  | 'retrieve'
  | 'deliver'
  | 'remove'
  | 'quit';

interface Row {
  readonly reach: Reach;
  /** True when the same run may succeed later without anybody changing anything. */
  readonly temporary: boolean;
  readonly exit: number;
  /** What to do about it, where the thrower knows nothing better. */
  readonly remedy?: string;
}

/** The table. A code without a row does not compile. */
export const ERRORS: Readonly<Record<ErrorCode, Row>> = {
  USAGE: { reach: 'run', temporary: false, exit: 64, remedy: 'see popfetch --help' },
  CONFIG: { reach: 'run', temporary: false, exit: 78 },
  PERMISSION: { reach: 'run', temporary: false, exit: 77 },
  LOCKED: { reach: 'account', temporary: true, exit: 75, remedy: 'use --wait to wait for the other run' },
  CONNECT: { reach: 'account', temporary: true, exit: 69, remedy: 'check host and port, and the network' },
  LOST: { reach: 'account', temporary: true, exit: 75, remedy: 'nothing is lost; the next run goes on' },
  TIMEOUT: { reach: 'account', temporary: true, exit: 75, remedy: 'nothing is lost; the next run goes on' },
  TLS: { reach: 'account', temporary: false, exit: 76 },
  AUTH: { reach: 'account', temporary: false, exit: 77, remedy: 'check user and password' },
  BUSY: { reach: 'account', temporary: true, exit: 75, remedy: 'the server asks to try again later' },
  REFUSED: { reach: 'message', temporary: true, exit: 75, remedy: 'the next run tries it again' },
  PROTOCOL: { reach: 'account', temporary: false, exit: 76, remedy: 'run again with --trace FILE' },
  DATA: { reach: 'message', temporary: false, exit: 65 },
  CREATE: { reach: 'account', temporary: false, exit: 73 },
  DELIVERY: { reach: 'account', temporary: true, exit: 74 },
  STATE: { reach: 'account', temporary: true, exit: 74 },
  ABORTED: { reach: 'run', temporary: true, exit: 130 },
};

/** What a {@link PopfetchError} may carry besides its code and its sentence. */
export interface ErrorDetails {
  readonly account?: string;
  readonly phase?: Phase;
  /** The server's own words, as received (latin1), never mixed into `message`. Escape before showing. */
  readonly serverText?: string;
  /** What to do about it; overrides the table. */
  readonly remedy?: string;
  /** Exit status for this one error, where the table's does not fit (130 or 143 for ABORTED). */
  readonly exit?: number;
  readonly cause?: unknown;
}

/**
 * The one error class of popfetch. `message` is one sentence in our words: no secret, no server text, no trailing
 * full stop. Anything thrown that is not a PopfetchError is a bug in popfetch.
 */
export class PopfetchError extends Error {
  override readonly name = 'PopfetchError';
  readonly code: ErrorCode;
  readonly account: string | undefined;
  readonly phase: Phase | undefined;
  readonly serverText: string | undefined;
  readonly remedy: string | undefined;
  readonly exit: number;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.account = details.account;
    this.phase = details.phase;
    this.serverText = details.serverText;
    this.remedy = details.remedy ?? ERRORS[code].remedy;
    this.exit = details.exit ?? ERRORS[code].exit;
  }

  get reach(): Reach {
    return ERRORS[this.code].reach;
  }

  get temporary(): boolean {
    return ERRORS[this.code].temporary;
  }

  /** The same error, now saying which account and phase it belongs to; what is already known is kept. */
  within(where: { readonly account?: string; readonly phase?: Phase }): PopfetchError {
    const { code, message, serverText, remedy, exit, cause } = this;
    const known = { account: this.account ?? where.account, phase: this.phase ?? where.phase };
    return new PopfetchError(code, message, defined({ ...known, serverText, remedy, exit, cause }));
  }
}

/** Exit status when something that is not a {@link PopfetchError} was thrown: a bug in popfetch (EX_SOFTWARE). */
export const EXIT_BUG = 70;

/**
 * The exit status of a run from the errors of its accounts, in config order: 0 without errors; the common status
 * where they agree; 75 where all are temporary; else the first that is not temporary.
 */
export function exitCode(errors: readonly PopfetchError[]): number {
  const [first] = errors;
  if (first === undefined) return 0;
  const aborted = errors.find((error) => error.code === 'ABORTED');
  if (aborted !== undefined) return aborted.exit;
  if (errors.every((error) => error.exit === first.exit)) return first.exit;
  return errors.find((error) => !error.temporary)?.exit ?? 75;
}

/** What was thrown, as an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** The same object without its undefined properties. */
function defined<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
