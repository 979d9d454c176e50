/** From the words of a command line to what they ask for: every check, with a suggestion where one is near. */
import { nearest } from '../config/problems.js';
import { parseDuration, parseSize } from '../config/units.js';
import { PopfetchError } from '../errors.js';
import { printable } from '../escape.js';
import { help, read } from './args.js';
import { COMMANDS, OPTIONS, type Command } from './options.js';

/** Formats of --stdout. */
const FORMATS = ['raw', 'mboxrd', 'json'] as const;

/** What the options say. undefined where nothing was said: the config decides then. Sizes in octets, times in milliseconds. */
export interface Flags {
  readonly account: readonly string[];
  readonly config: string | undefined;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: number;
  readonly trace: string | undefined;
  readonly progress: boolean;
  readonly color: boolean | undefined;
  readonly dryRun: boolean;
  readonly keep: boolean;
  readonly acceptReset: boolean;
  readonly limit: number | undefined;
  readonly maxSize: number | undefined;
  readonly parallel: number | undefined;
  /** Infinity for --wait without a time. */
  readonly wait: number | undefined;
  readonly stdout: boolean;
  readonly format: (typeof FORMATS)[number] | undefined;
  readonly headers: boolean;
  readonly lines: number | undefined;
  readonly all: boolean;
}

/** A command to carry out. */
export interface Request {
  readonly command: Command;
  /** What stands behind the command's name: as many words as the command takes; of `state` at least one. */
  readonly words: readonly string[];
  readonly flags: Flags;
}

/** What the command line asks for. */
export type Asked =
  Request | { readonly command: 'help'; readonly text: string } | { readonly command: 'version' };

/** @throws USAGE with a suggestion where one is near */
export async function parse(argv: readonly string[]): Promise<Asked> {
  const given = read(argv);
  const [word, ...words] = given.words;
  if (given.options.has('help')) return { command: 'help', text: await help(commandOf(word)) };
  if (given.options.has('version')) return { command: 'version' };
  const command = word === undefined ? 'fetch' : commandOf(word);
  if (given.options.has('wait') && /^\d+$/.test(word ?? '')) {
    throw usage('--wait takes its seconds with "="', `did you mean --wait=${word ?? ''}?`);
  }
  if (command === undefined) throw unknown(`unknown command "${printable(word ?? '')}"`, word, COMMAND_NAMES);
  checkOptions(given.options, command);
  // A word that explains itself better than an error could.
  if (command === 'state' && words.length === 0) return { command: 'help', text: await help(command) };
  checkWords(words, command);
  return { command, words, flags: flagsOf(given.options) };
}

const COMMAND_NAMES = Object.keys(COMMANDS);
const WORDS: Readonly<Record<Command, string | undefined>> = {
  fetch: undefined,
  show: 'N, uid:UID, newest or oldest',
  list: undefined,
  check: undefined,
  status: undefined,
  state: 'list, forget, mark-seen, rebuild, export or import',
  auth: 'set-password or delete-password',
  config: 'path, print, validate or schema',
};
/** How many words a command takes that takes any. */
const MOST: Partial<Record<Command, number>> = { state: Infinity };

function commandOf(word: string | undefined): Command | undefined {
  return word !== undefined && Object.hasOwn(COMMANDS, word) ? (word as Command) : undefined;
}

function checkOptions(options: ReadonlyMap<string, unknown>, command: Command): void {
  for (const name of options.keys()) {
    const option = Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
    const shown = `${name.length === 1 ? '-' : '--'}${printable(name, 60)}`;
    if (option === undefined) throw unknown(`unknown option ${shown}`, name, optionNames(command), '--');
    if (option.command !== undefined && ![option.command, option.also].includes(command)) {
      throw usage(
        `${shown} is an option of ${option.command}, not of ${command}`,
        `see popfetch ${command} --help`,
      );
    }
  }
}

function optionNames(command: Command): string[] {
  return Object.keys(OPTIONS).filter((name) => {
    const { command: of, also } = OPTIONS[name] ?? {};
    return of === undefined || [of, also].includes(command);
  });
}

function checkWords(words: readonly string[], command: Command): void {
  const wanted = WORDS[command];
  const [extra] = words.slice(wanted === undefined ? 0 : (MOST[command] ?? 1));
  if (extra !== undefined) {
    const remedy =
      wanted === undefined ? `choose accounts with -a; see popfetch ${command} --help` : undefined;
    throw usage(`${command} does not take "${printable(extra, 60)}"`, remedy);
  }
  if (wanted !== undefined && words.length === 0) {
    throw usage(`${command} needs one of ${wanted}`, `see popfetch ${command} --help`);
  }
}

function flagsOf(options: ReadonlyMap<string, unknown>): Flags {
  const flag = (name: string): boolean => options.has(name);
  const value = (name: string): string | undefined => textOf(options, name);
  return {
    account: accountsOf(options),
    config: value('config'),
    json: flag('json'),
    quiet: flag('quiet'),
    verbose: Number(options.get('verbose') ?? 0),
    trace: value('trace'),
    progress: !flag('no-progress'),
    color: flag('no-color') ? false : flag('color') ? true : undefined,
    dryRun: flag('dry-run'),
    keep: flag('keep'),
    acceptReset: flag('accept-uid-reset'),
    limit: wholeNumber('limit', value('limit'), 0),
    maxSize: sizeOf(value('max-size')),
    parallel: wholeNumber('parallel', value('parallel'), 1),
    wait: waitOf(value('wait')),
    stdout: flag('stdout'),
    format: formatOf(value('format')),
    headers: flag('headers'),
    lines: wholeNumber('lines', value('lines'), 0),
    all: flag('all'),
  };
}

/** The last value where there are several. @throws USAGE for an option without its value */
function textOf(options: ReadonlyMap<string, unknown>, name: string): string | undefined {
  const all = [options.get(name)].flat();
  const last = all.at(-1);
  if (options.has(name) && (typeof last !== 'string' || last === '')) throw usage(`--${name} needs a value`);
  return typeof last === 'string' ? last : undefined;
}

function accountsOf(options: ReadonlyMap<string, unknown>): string[] {
  textOf(options, 'account');
  return [options.get('account') ?? []].flat().map(String);
}

function wholeNumber(name: string, text: string | undefined, least: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^\d{1,9}$/.test(text) && value >= least) return value;
  throw usage(`--${name} takes a whole number from ${least}, not "${printable(text, 60)}"`);
}

function sizeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const octets = parseSize(text);
  if (octets !== undefined && octets > 0) return octets;
  throw usage(`--max-size takes a size such as 20MiB, not "${printable(text, 60)}"`);
}

function waitOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (text === 'forever') return Infinity;
  const milliseconds = parseDuration(/^\d+$/.test(text) ? `${text}s` : text);
  if (milliseconds !== undefined) return milliseconds;
  throw usage(`--wait takes seconds (--wait=90) or nothing, not "${printable(text, 60)}"`);
}

function formatOf(text: string | undefined): Flags['format'] {
  const format = FORMATS.find((known) => known === text);
  if (format !== undefined || text === undefined) return format;
  throw unknown(`--format takes ${FORMATS.join(', ')}, not "${printable(text, 60)}"`, text, FORMATS);
}

function usage(sentence: string, remedy?: string): PopfetchError {
  return new PopfetchError('USAGE', sentence, remedy === undefined ? {} : { remedy });
}

function unknown(sentence: string, word = '', known: readonly string[] = [], prefix = ''): PopfetchError {
  const meant = nearest(word, known);
  return usage(sentence, meant === undefined ? undefined : `did you mean ${prefix}${meant}?`);
}
