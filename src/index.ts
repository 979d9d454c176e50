/** popfetch as a library: the runs and the POP3 client that the command is made of. */
export type {
  Account,
  Config,
  DestinationConfig,
  PasswordSource,
  TlsOptions,
  TokenSource,
} from './config/account.js';
export { loadConfig } from './config/load.js';
export { readPassword, readToken } from './config/secrets.js';
export type { Delivery, DeliveryLog, Destination, Intent, Message } from './deliver/destination.js';
export type { Out } from './deliver/context.js';
export { outTo } from './deliver/stdout.js';
export { ERRORS, exitCode, PopfetchError, type ErrorCode, type ErrorDetails, type Phase } from './errors.js';
export type { Emit, Event, Outcome, SkipReason } from './events.js';
export { Pop3Client, type Credentials } from './pop3/client.js';
export type { Listed, Listing, Mailbox, Retrieved } from './pop3/mailbox.js';
export { openSession, type SessionSettings } from './pop3/open.js';
export { fetchAll, openMailbox, type FetchOptions, type SessionOptions } from './run.js';
