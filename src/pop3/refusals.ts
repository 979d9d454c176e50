/** What a server means by refusing a session or a login: its response code (RFC 2449 section 8, RFC 3206) decides. */
import type { ErrorCode, Phase, PopfetchError } from '../errors.js';
import type { Dialogue } from './dialogue.js';
import { responseCode, type Status } from './replies.js';

/** What a refusal without a code that says more is. */
export interface Plainly {
  readonly code: ErrorCode;
  readonly message: string;
  readonly remedy?: string | undefined;
}

/**
 * The error of a refused greeting or login: BUSY for [IN-USE], [LOGIN-DELAY] and [SYS/TEMP], AUTH for [SYS/PERM],
 * which trying again will not change; `otherwise` for all else.
 */
export function refusalOf(
  dialogue: Dialogue,
  status: Status,
  phase: Phase,
  otherwise: Plainly,
): PopfetchError {
  const refuse = (code: ErrorCode, sentence: string, remedy?: string): PopfetchError =>
    dialogue.refusal(status, sentence, { phase, ...(remedy === undefined ? {} : { remedy }) }, code);
  switch (responseCode(status)) {
    case 'IN-USE':
      return refuse('BUSY', 'another session holds the mailbox', 'wait for the other mail program to finish');
    case 'LOGIN-DELAY':
      return refuse(
        'BUSY',
        'the server wants more time between two logins',
        'run popfetch less often for this account',
      );
    case 'SYS/TEMP':
      return refuse('BUSY', 'the server has a temporary problem');
    case 'SYS/PERM':
      return refuse('AUTH', 'the server has a lasting problem with this account', 'ask the provider');
    case 'AUTH':
    case undefined:
      return refuse(otherwise.code, otherwise.message, otherwise.remedy);
  }
}
