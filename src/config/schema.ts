/**
 * What a config file may hold, and its JSON Schema. Every `error` is a phrase that says what is expected there. The
 * types that the rest of popfetch sees are in account.ts; the checks below do not compile when they drift apart.
 */
import * as z from 'zod';
import {
  AUTH_METHODS,
  DEFAULTS,
  PORTS,
  type Account,
  type DestinationConfig,
  type TokenSource,
} from './account.js';
import { argv, field, line, mapping, path, type Expand } from './elements.js';
import { EXPECTED, HOST, NAME, PIN, RECIPIENT } from './expected.js';
import { findings } from './issues.js';
import { passwordOf } from './passwordfield.js';
import type { Finding, Path } from './problems.js';
import { holdsOne, lmtpPlace, namesOne, plainHex } from './shapes.js';
import { DURATION, formatDuration, formatSize, parseDuration, parseSize, SIZE } from './units.js';

/** setTimeout counts in 31 bits: a longer timeout would fire at once. */
const LONGEST_TIMEOUT = 2 ** 31 - 1;

const MODES = ['implicit', 'starttls', 'none'] as const;
const word = <const T extends readonly string[]>(words: T) =>
  z.enum(words, { error: `${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''}` });

const flag = () => z.boolean({ error: 'true or false' });

const count = (least: number, expected: string) => z.int({ error: expected }).min(least, { error: expected });

const duration = (expected: string) =>
  z
    .string({ error: expected })
    .regex(DURATION, { error: expected })
    .transform((text) => parseDuration(text) ?? NaN);

const timeout = duration(EXPECTED.timeout).refine((value) => value > 0 && value <= LONGEST_TIMEOUT, {
  error: EXPECTED.timeout,
});

const size = z
  .union(
    [count(1, EXPECTED.size), z.string({ error: EXPECTED.size }).regex(SIZE, { error: EXPECTED.size })],
    { error: EXPECTED.size },
  )
  .transform((value) => (typeof value === 'number' ? value : (parseSize(value) ?? NaN)))
  .refine((value) => value > 0, { error: EXPECTED.size });

/** HOST:PORT, or a path of a socket, made absolute. */
function lmtpOf(expand: Expand) {
  return line(EXPECTED.lmtp).transform((text, context) => {
    const place = lmtpPlace(text, expand);
    if (place !== undefined) return place;
    context.addIssue({ code: 'custom', message: EXPECTED.lmtp });
    return z.NEVER;
  });
}

const oauth2 = mapping(
  {
    command: field(
      argv(EXPECTED.command),
      'Program and arguments, run without a shell, for 10 s at most; the first line it prints is the access token.',
    ),
  },
  EXPECTED.oauth2,
)
  .refine(holdsOne, { error: EXPECTED.oauth2 })
  .meta({ minProperties: 1 })
  .transform(({ command = [] }): TokenSource => ({ command }));

function tlsOf(expand: Expand) {
  const pin = z.string({ error: EXPECTED.pin }).regex(PIN, { error: EXPECTED.pin }).transform(plainHex);
  const pins = z.array(pin, { error: EXPECTED.pin }).nonempty({ error: EXPECTED.pin });
  const options = mapping(
    {
      mode: field(word(MODES), 'How the session is encrypted.', DEFAULTS.tls.mode),
      ca: field(path(expand), 'PEM file with certificates to trust besides those of the system.'),
      pin: field(
        z.union([pin.transform((one) => [one]), pins], { error: EXPECTED.pin }),
        'SHA-256 fingerprints of the certificates to accept: "sha256:" and 64 hexadecimal digits, or a list of them.',
      ),
      minVersion: field(word(['TLSv1.2', 'TLSv1.3']), 'Oldest version to accept.', DEFAULTS.tls.minVersion),
      servername: field(
        z.string({ error: 'a host name' }).regex(HOST, { error: 'a host name' }),
        'Name in the certificate, where it is not that of the host.',
      ),
    },
    EXPECTED.tls,
  );
  return z.union([word(MODES), options], { error: EXPECTED.tls });
}

function deliverOf(expand: Expand) {
  const recipient = z.string({ error: EXPECTED.recipient }).regex(RECIPIENT, { error: EXPECTED.recipient });
  const recipients = z
    .array(recipient, { error: EXPECTED.recipient })
    .nonempty({ error: EXPECTED.recipient });
  const destination = z.union(
    [
      z.literal('stdout'),
      mapping(
        {
          maildir: field(path(expand), 'Maildir; made when missing.'),
          mbox: field(path(expand), 'mbox file; made when missing.'),
          command: field(
            argv(EXPECTED.program),
            'Program and arguments, run without a shell for each message, which is on its stdin.',
          ),
          lmtp: field(lmtpOf(expand), 'LMTP server: HOST:PORT, or the path of its socket.'),
          recipient: field(
            z.union([recipient.transform((one) => [one]), recipients], { error: EXPECTED.recipient }),
            'For whom the LMTP server is to deliver: an address, or a list of them.',
          ),
        },
        EXPECTED.destination,
      )
        .refine(namesOne, { error: EXPECTED.destination })
        .meta({
          minProperties: 1,
          maxProperties: 2,
          dependentRequired: { lmtp: ['recipient'], recipient: ['lmtp'] },
        })
        .transform(({ maildir, mbox, command, lmtp = '', recipient: to = [] }): DestinationConfig => {
          if (maildir !== undefined) return { maildir };
          if (mbox !== undefined) return { mbox };
          return command !== undefined ? { command } : { lmtp, recipient: to };
        }),
    ],
    { error: EXPECTED.destination },
  );
  const list = z.array(destination, { error: EXPECTED.delivery }).nonempty({ error: EXPECTED.delivery });
  return z.union([destination.transform((one) => [one]), list], { error: EXPECTED.delivery });
}

const timeouts = mapping(
  {
    connect: field(timeout, 'To connect, TLS included.', formatDuration(DEFAULTS.timeout.connect)),
    reply: field(timeout, 'For the first line of a reply.', formatDuration(DEFAULTS.timeout.reply)),
    idle: field(timeout, 'Between two pieces of a message.', formatDuration(DEFAULTS.timeout.idle)),
    session: field(timeout, 'For the whole session.', formatDuration(DEFAULTS.timeout.session)),
    deliver: field(
      timeout,
      'For a command or an LMTP server to take a message.',
      formatDuration(DEFAULTS.timeout.deliver),
    ),
  },
  'a mapping of connect, reply, idle, session, deliver to durations',
);

const deletion = z.union(
  [
    word(['never', 'delivered']),
    duration(EXPECTED.delete).refine((value) => Number.isSafeInteger(value), { error: EXPECTED.delete }),
  ],
  { error: EXPECTED.delete },
);

function accountOf(expand: Expand) {
  const port = 'a port, 1 to 65535';
  const host = 'a host name or an address, without the port';
  const shape = {
    host: field(
      z.string({ error: host }).regex(HOST, { error: host }),
      'Name or address of the POP3 server.',
    ),
    port: field(
      count(1, port).max(65_535, { error: port }),
      `Port of the server. Default: ${PORTS.implicit} for tls implicit, else ${PORTS.none}.`,
    ),
    tls: field(
      tlsOf(expand),
      'Encryption: implicit (from the first byte), starttls, none; or a mapping.',
      'implicit',
    ),
    user: field(line('the user name, on one line'), 'User name, as the server wants it.'),
    password: field(
      passwordOf(expand),
      'The password itself (then others must not be able to read this file), or where to get it. Without it popfetch asks on a terminal, and only there.',
    ),
    oauth2: field(oauth2, 'Where to get an OAuth2 access token, in place of a password.'),
    auth: field(
      word(AUTH_METHODS),
      'How to log in. auto: the strongest that the server offers of SCRAM, PLAIN and LOGIN, else USER and PASS; with oauth2, OAUTHBEARER or XOAUTH2.',
      DEFAULTS.auth,
    ),
    insecure: field(flag(), 'Allow the password to cross the network in clear.', DEFAULTS.insecure),
    deliver: field(
      deliverOf(expand),
      'Where messages go: one destination, or a list (each gets every message).',
    ),
    rejected: field(
      path(expand),
      'Maildir for messages that a command or an LMTP server refuses for good; without it they stay on the server.',
    ),
    delete: field(
      deletion,
      'When a message is deleted from the server: never, once delivered, or that long after delivery (30d).',
      DEFAULTS.delete,
    ),
    limit: field(count(0, 'a whole number, 0 or more'), 'Messages per run; 0: all.', DEFAULTS.limit),
    maxSize: field(size, 'Larger messages stay on the server.', formatSize(DEFAULTS.maxSize)),
    order: field(word(['oldest', 'newest', 'smallest']), 'Which messages come first.', DEFAULTS.order),
    eol: field(word(['lf', 'crlf']), 'Line ends of stored messages.', DEFAULTS.eol),
    identity: field(
      word(['uidl', 'hash']),
      'How messages are recognised: by unique-id, or always by their content, for servers without unique-ids.',
      DEFAULTS.identity,
    ),
    timeout: field(timeouts, 'How long to wait, for what.'),
    disabled: field(flag(), 'Leave this account out unless it is named with --account.', DEFAULTS.disabled),
  } satisfies Record<Exclude<keyof Account, 'name'>, z.ZodType>;
  return mapping(shape, 'a mapping of account fields');
}

/** What `defaults` or an account holds once checked: every field optional, paths absolute. */
export type Fields = z.output<ReturnType<typeof accountOf>>;

function fileOf<T extends z.ZodType>(account: T) {
  return mapping(
    {
      $schema: field(z.string({ error: 'the address of a JSON Schema' }), 'For editors; ignored.'),
      parallel: field(count(1, 'a whole number, 1 or more'), 'Accounts at once.', DEFAULTS.parallel),
      defaults: account
        .exactOptional()
        .meta({ description: 'Fields for every account that does not set them.' }),
      accounts: z
        .record(z.string().regex(NAME, { error: EXPECTED.name }), account, {
          error: 'a mapping of account names to accounts',
        })
        .refine((accounts) => Object.keys(accounts).length > 0, { error: 'at least one account' })
        .meta({ minProperties: 1, description: 'The accounts, by names of your choice.' }),
    },
    'a mapping with the key "accounts"',
  );
}

/** A part of a file: its value where it is right, else what is wrong with it. */
export interface Checked<T> {
  readonly value: T | undefined;
  readonly findings: readonly Finding[];
}

/** The top of a file. `defaults` and each account are still to be checked. */
export interface Outline {
  readonly parallel?: number;
  readonly defaults?: unknown;
  readonly accounts: Readonly<Record<string, unknown>>;
}

/**
 * The checks for one file; `expand` makes its paths absolute. In parts, so that a fault in one account hides nothing
 * in the others.
 */
export function checks(expand: Expand): {
  readonly outline: (value: unknown) => Checked<Outline>;
  readonly fields: (value: unknown, at: Path) => Checked<Fields>;
} {
  const outline = fileOf(z.unknown());
  const account = accountOf(expand);
  return {
    outline: (value) => check(outline, value, []),
    fields: (value, at) => check(account, value, at),
  };
}

/** The JSON Schema (draft 2020-12) of a config file, with help and default for every key. */
export function jsonSchema(): object {
  const schema = fileOf(accountOf((path) => ({ path }))).meta({
    title: 'popfetch configuration',
    description: 'Accounts to fetch mail from over POP3, and where to deliver it.',
  });
  return z.toJSONSchema(schema, {
    io: 'input',
    target: 'draft-2020-12',
    // Where input and output differ, zod leaves defaults out; ours are written as in a file.
    override: ({ zodSchema, jsonSchema: json }) => {
      const byDefault = z.globalRegistry.get(zodSchema)?.['default'];
      if (byDefault !== undefined) json.default = byDefault;
    },
  });
}

function check<T>(schema: z.ZodType<T>, value: unknown, at: Path): Checked<T> {
  const result = schema.safeParse(value);
  if (result.success) return { value: result.data, findings: [] };
  return { value: undefined, findings: findings(result.error.issues, value, at) };
}
