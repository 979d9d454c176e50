/** The commands and options: names and what they are, for parsing and for help. No defaults: a config file decides them. */

/** Every command, in the order of the help. */
export const COMMANDS = {
  fetch: 'new mail of the chosen accounts to their destinations',
  show: 'one message, as it is, to stdout; records and deletes nothing',
  list: 'what is on the server, and what the next fetch would do',
  check: 'whether everything is set up right, and what to do where not',
  status: 'the last run and waiting deletions, without the network',
  state: 'the memory: list, forget, mark-seen, rebuild, export or import',
  auth: 'passwords in the keyring: set-password or delete-password',
  config: 'the config: path, print, validate or schema',
} as const;

export type Command = keyof typeof COMMANDS;

/** `flag` is there or not, `count` may be repeated, `value` takes one (the last counts), `list` collects them. */
type OptionKind = 'flag' | 'count' | 'value' | 'list';

export interface Option {
  readonly kind: OptionKind;
  readonly alias?: string;
  /** The command that takes it; undefined for all. */
  readonly command?: Command;
  /** Another command that takes it. */
  readonly also?: Command;
  readonly describe: string;
}

/** Every option, in the order of the help. */
export const OPTIONS: Readonly<Record<string, Option>> = {
  'dry-run': { kind: 'flag', command: 'fetch', describe: 'say what would be done, and do nothing' },
  keep: { kind: 'flag', command: 'fetch', describe: 'delete nothing from the server in this run' },
  'accept-uid-reset': {
    kind: 'flag',
    command: 'fetch',
    describe: 'fetch even what looks like another mailbox',
  },
  limit: { kind: 'value', command: 'fetch', describe: 'N messages of each account at most' },
  'max-size': {
    kind: 'value',
    command: 'fetch',
    describe: 'leave messages above SIZE (20MiB) on the server',
  },
  parallel: { kind: 'value', command: 'fetch', describe: 'N accounts at once' },
  wait: {
    kind: 'value',
    command: 'fetch',
    also: 'state',
    describe: 'wait for another run of the account to end, at most =SECONDS',
  },
  stdout: { kind: 'flag', command: 'fetch', describe: 'deliver this run to stdout instead' },
  format: {
    kind: 'value',
    command: 'fetch',
    describe: 'FORMAT of --stdout: mboxrd (usual), raw (one message at most; usual with --limit 1) or json',
  },
  headers: { kind: 'flag', command: 'show', describe: 'only the header' },
  lines: { kind: 'value', command: 'show', describe: 'the header and the first N lines of the body' },
  all: { kind: 'flag', command: 'state', describe: 'forget or mark-seen: every message' },
  account: {
    kind: 'list',
    alias: 'a',
    describe: 'only account NAME, or all that match ("w*"); may be repeated',
  },
  config: { kind: 'value', alias: 'c', describe: 'read FILE and no other config' },
  json: { kind: 'flag', describe: 'for programs: JSON to stdout' },
  quiet: { kind: 'flag', alias: 'q', describe: 'only errors' },
  verbose: { kind: 'count', alias: 'v', describe: 'a line for each account, -vv for each message' },
  trace: { kind: 'value', describe: 'write the conversation with the server to FILE, secrets masked' },
  'no-progress': { kind: 'flag', describe: 'no moving display on a terminal' },
  color: { kind: 'flag', describe: 'colours even where there is no terminal' },
  'no-color': { kind: 'flag', describe: 'no colours (as the environment variable NO_COLOR)' },
  help: { kind: 'flag', alias: 'h', describe: 'this help, or the help of a command' },
  version: { kind: 'flag', describe: 'the version' },
};

/** What stands behind the command's name, and examples with what they do. */
export const USAGE: Readonly<
  Record<Command, { readonly words: string; readonly examples: readonly (readonly [string, string])[] }>
> = {
  fetch: {
    words: '',
    examples: [
      ['popfetch', 'new mail of every account'],
      ['popfetch fetch -a work --limit 10', 'at most ten messages of one account'],
      ['popfetch fetch --dry-run', 'only say what would be done'],
      ['popfetch fetch -a work --stdout | less', 'to a program, as an mbox'],
    ],
  },
  show: {
    words: ' (N | uid:UID | newest | oldest)',
    examples: [
      ['popfetch show newest', 'the message that came last'],
      ['popfetch show 3 -a work --headers', 'the header of number 3 of one account'],
      ['popfetch show uid:0001a2b3 > saved.eml', 'the one with this unique-id'],
    ],
  },
  list: {
    words: '',
    examples: [
      ['popfetch list', 'every account'],
      ['popfetch list -a work --json', 'one account, for a program'],
    ],
  },
  check: {
    words: '',
    examples: [
      ['popfetch check', 'every account'],
      ['popfetch check -a work --trace t.log', 'one, with what was said in t.log'],
    ],
  },
  status: {
    words: '',
    examples: [
      ['popfetch status', 'every account'],
      ['popfetch status --json', 'for a program'],
    ],
  },
  state: {
    words: ' WORD [UID… | FILE]',
    examples: [
      ['popfetch state list', 'what is remembered of each message'],
      ['popfetch state forget -a work UID', 'fetch it again; --all: everything'],
      ['popfetch state mark-seen -a work --all', 'fetch nothing of what is there now'],
      ['popfetch state rebuild -a work', 'mend it, from the Maildir and server'],
      ['popfetch state export > state.ndjson', 'one line for each message'],
      ['popfetch state import -a work FILE', 'add what an export has; or from stdin'],
    ],
  },
  auth: {
    words: ' (set-password | delete-password)',
    examples: [
      ['popfetch auth set-password -a work', 'ask for it, and keep it'],
      ['pass mail/work | popfetch auth set-password -a work', 'from a pipe'],
      ['popfetch auth delete-password -a work', 'forget it'],
    ],
  },
  config: {
    words: ' (path | print | validate | schema)',
    examples: [
      ['popfetch config path', 'which file is read'],
      ['popfetch config print', 'what it comes to, secrets masked'],
      ['popfetch config validate', 'every problem in it, with its line'],
      ['popfetch config schema > schema.json', 'its JSON Schema, for an editor'],
    ],
  },
};
