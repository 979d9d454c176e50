/** The command line as words and options, and the layout of the help. The only file that knows yargs. */
import yargs, { type Argv } from 'yargs';
import { PopfetchError } from '../errors.js';
import { COMMANDS, OPTIONS, USAGE, type Command, type Option } from './options.js';

/** Columns of the help. */
const WIDTH = 80;

/** The options that were given, by their long names, and the rest. */
export interface Given {
  readonly options: ReadonlyMap<string, unknown>;
  readonly words: readonly string[];
}

/**
 * Takes the command line apart; nothing is judged yet, so that unknown options come back too.
 * @throws USAGE for a value given to an option that takes none
 */
export function read(argv: readonly string[]): Given {
  const { _, ...options } = withOptions(bare(), () => true).parseSync(prepare(argv)) as Record<
    string,
    unknown
  >;
  const given = Object.entries(options).filter(
    ([name, value]) => name !== '$0' && value !== undefined && value !== 0,
  );
  return { options: new Map(given), words: (_ as unknown[]).map(String) };
}

/**
 * The help of a command, or of all: what it is, examples, usage, options. For {@link WIDTH} columns; ends with a
 * line end.
 */
export async function help(command: Command | undefined): Promise<string> {
  const { words, examples } = USAGE[command ?? 'fetch'];
  const title = `popfetch ${command ?? ''}: ${command === undefined ? SLOGAN : COMMANDS[command]}`;
  const left = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, what]) => `  ${line.padEnd(left)}  ${what}`);
  const parser = bare()
    .usage(`Usage: popfetch ${command ?? '[command]'}${words} [options]`)
    .wrap(WIDTH);
  if (command === undefined) {
    for (const [name, what] of Object.entries(COMMANDS)) parser.command(name, what);
  }
  withOptions(parser, (of) => of === undefined || of === (command ?? 'fetch'), command);
  const layout = (await parser.getHelp()).replace(KINDS, '');
  return `${title.replace(' :', ':')}\n\nExamples:\n${lines.join('\n')}\n\n${layout}\n`;
}

const SLOGAN = 'mail from POP3 servers: nothing lost, nothing doubled';
/** The kind of each option, which yargs puts at the end of its line: the description says it. */
const KINDS = / +\[(?:array|boolean|count|string)\]/g;

function bare(): Argv {
  return yargs()
    .locale('en')
    .scriptName('popfetch')
    .exitProcess(false)
    .help(false)
    .version(false)
    .parserConfiguration({
      'boolean-negation': false,
      'camel-case-expansion': false,
      'dot-notation': false,
      'greedy-arrays': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'strip-aliased': true,
    })
    .fail((message: string, error: Error | undefined) => {
      throw error ?? new PopfetchError('USAGE', message);
    });
}

function withOptions(
  parser: Argv,
  wanted: (command: Command | undefined) => boolean,
  helped?: Command,
): Argv {
  return Object.entries(OPTIONS)
    .filter(([, { command, also }]) => wanted(command) || (also !== undefined && wanted(also)))
    .reduce((known, [name, option]) => declare(known, name, option, helped), parser);
}

function declare(parser: Argv, name: string, option: Option, helped: Command | undefined): Argv {
  const { kind, alias, describe, command, also } = option;
  const of = also !== undefined && also === helped ? also : command;

  return parser.option(name, {
    ...(alias === undefined ? {} : { alias }),
    ...(kind === 'count' ? { count: true } : { type: kind === 'flag' ? 'boolean' : 'string' }),
    ...(kind === 'list' ? { array: true } : {}),
    describe,
    group: of === undefined ? 'Everywhere:' : `Options of ${of}:`,
  });
}

/**
 * `--wait` may stand alone, so the next word is not its value; `--keep=no` must not pass for anything; and the names
 * that every JavaScript object has (`--constructor`) make yargs stumble.
 */
function prepare(argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  return argv.map((word, index) => {
    const [, name, value] = /^--([^=]+)(=.*)?$/s.exec(word) ?? [];
    if (name === undefined || (end >= 0 && index >= end)) return word;
    if (name in {}) throw new PopfetchError('USAGE', `unknown option --${name}`);
    const kind = OPTIONS[name]?.kind;
    if (value !== undefined && (kind === 'flag' || kind === 'count')) {
      throw new PopfetchError('USAGE', `--${name} takes no value`);
    }
    return word === '--wait' ? '--wait=forever' : word;
  });
}
