/** Every limit and deadline on what a server may send and how long it may take, with the reason. */

/** Octets in a status line, its line end included. RFC 1939 says 512; real servers send more. */
export const STATUS_LINE = 4096;
/** Octets in a line of LIST, UIDL or CAPA. A UID has at most 70 (RFC 1939 section 7). */
export const LISTING_LINE = 1024;
/** Lines in the answer to CAPA. */
export const CAPA_LINES = 64;
/** Messages in a mailbox. Beyond it a listing is taken for an attack. */
export const MESSAGES = 1_000_000;
/** Octets in a command, CRLF included (RFC 2449 section 4). */
export const COMMAND = 255;
/** Octets in a line of a SASL exchange, which may exceed a command (RFC 5034 section 4). */
export const SASL_LINE = 16_384;

/** Octets read ahead of the consumer before the socket is told to wait. */
export const READ_AHEAD = 256 * 1024;

/** Commands under way at once where the server pipelines (RFC 2449 section 6.6). */
export const PIPELINE_COMMANDS = 64;
/** Octets asked for ahead, by LIST, in answers under way. */
export const PIPELINE_OCTETS = 1024 * 1024;

/** Milliseconds for the answer to QUIT: the server removes messages now, but nobody waits for ever. */
export const QUIT_TIMEOUT = 30_000;
