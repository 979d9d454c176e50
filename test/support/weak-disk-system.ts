/** The code as it stands in src/, for runs over a weak disk. */
import { runAccount } from '../../src/account/account.js';
import { identify } from '../../src/account/identify.js';
import { Tally } from '../../src/account/parts.js';
import { openDestination } from '../../src/deliver/index.js';
import { mailboxTag, messageKey } from '../../src/identity.js';
import { openSeen } from '../../src/seen/seen.js';
import type { System } from './weak-disk-runs.js';

export const SOURCE: System = {
  openSeen,
  openDestination,
  runAccount,
  identify,
  Tally,
  mailboxTag,
  messageKey,
};
