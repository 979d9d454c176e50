/**
 * Every limit and deadline on what a server may send and how long it may take, with the reason. Those that a user may
 * have a reason to change are only the defaults here: `maxSize` and `timeout` of an account set them.
 */

/** Octets in a status line, its line end included. RFC 1939 says 512; real servers send more. */
export const STATUS_LINE = 4096;
/** Octets in a line of LIST, UIDL or CAPA. A UID has at most 70 (RFC 1939 section 7). */
export const LISTING_LINE = 1024;
/** Lines in the answer to CAPA. */
export const CAPA_LINES = 64;
/** Messages in a mailbox. Beyond it a listing is taken for an attack. */
export const MESSAGES = 1_000_000;
/** Octets in a message, unless the account says otherwise. No provider takes mail as large as this. */
export const MESSAGE = 256 * 1024 ** 2;
/** Octets in a command, CRLF included (RFC 2449 section 4). */
export const COMMAND = 255;
/** Octets in a line of a SASL exchange, which may exceed a command (RFC 5034 section 4). */
export const SASL_LINE = 16_384;
/** Challenges in one SASL exchange. No mechanism has more than three. */
export const SASL_CHALLENGES = 8;
/**
 * Rounds of SCRAM's digest. Fewer make a password cheap to guess (RFC 5802 section 5.1, RFC 7677 section 4), more keep
 * this machine busy for nothing.
 */
export const SCRAM_ROUNDS = { least: 4096, most: 600_000 } as const;

/** Octets read ahead of the consumer before the socket is told to wait. */
export const READ_AHEAD = 256 * 1024;

/** Commands under way at once where the server pipelines (RFC 2449 section 6.6). */
export const PIPELINE_COMMANDS = 64;
/** Octets asked for ahead, by LIST, in answers under way. */
export const PIPELINE_OCTETS = 1024 * 1024;

/** Messages without a line in UIDL that are asked for one by one. */
export const UNLISTED = 256;

/** Milliseconds that a server has for each phase, unless the account says otherwise. Each covers its phase from end to end. */
export const DEADLINES = {
  /** DNS, every address, TCP and TLS together; again for TLS after STLS. A person at a terminal waits no longer. */
  connect: 30_000,
  /** A status line, however slowly it comes. The greeting too: servers look the client up in DNS, or let it wait, before it. */
  reply: 60_000,
  /** Between two pieces of a body. */
  idle: 60_000,
  /** The server removes messages now, but nobody waits for ever. */
  quit: 30_000,
  /** Everything, so that a run from cron ends whatever the server does. */
  session: 3_600_000,
} as const;

/** A speed below which a body is not waited for any longer. */
export interface Pace {
  /** So many octets, or the end of the body, have to come … */
  readonly octets: number;
  /** … within so many milliseconds of waiting, time after time. */
  readonly within: number;
}

/** 128 octets a second over two minutes. The slowest modem is faster; a server that drips an octet a minute is not. */
export const SLOWEST: Pace = { octets: 128 * 120, within: 120_000 };

/**
 * Milliseconds for one address where a name has several: a satellite takes 700, and a lost SYN is sent again after
 * 1 000. An address that does not answer costs this much before the next one is tried.
 */
export const ADDRESS_TIMEOUT = 2_000;
