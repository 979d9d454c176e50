/** From events to what is seen: lines for people on stderr, a moving line on a terminal, or NDJSON on stdout. */
import { styleText } from 'node:util';
import { readable } from '../escape.js';
import type { Emit, Event } from '../events.js';
import { ndjson } from './ndjson.js';
import { canMove, Progress, type Terminal } from './progress.js';
import { plural, size } from './quantities.js';
import {
  dryRunSentence,
  formatError,
  formatInterruption,
  outcomeSentence,
  quoted,
  skippedSentence,
} from './sentences.js';

export { formatError } from './sentences.js';

export interface ReporterOptions {
  readonly stderr: Terminal;
  readonly stdout: { write(text: string): unknown };
  /** Events to stdout, one a line, and nothing to stderr. */
  readonly json: boolean;
  /** Only errors. */
  readonly quiet: boolean;
  /** 1: a line for each account; 2: for each message; 3: for each step. A terminal gets one more. */
  readonly verbose: number;
  /** False: no moving line. */
  readonly progress: boolean;
  /** undefined: where the terminal shows them and NO_COLOR does not forbid. */
  readonly color: boolean | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** Shows a run. */
export interface Reporter {
  /** Neither throws nor blocks. */
  readonly emit: Emit;
  /** To be called when nothing more happens: leaves the terminal as it was. */
  done(): void;
}

/** Chooses how a run is shown. */
export function createReporter(options: ReporterOptions): Reporter {
  const { stderr, stdout, json, quiet, env, now = Date.now } = options;
  if (json) {
    const emit = (event: Event): void => void stdout.write(ndjson(event, now()));
    return { emit, done: () => undefined };
  }
  const terminal = stderr.isTTY === true;
  const color = options.color ?? (terminal && hasColor(env));
  const lines = new LineReporter((line) => stderr.write(line), {
    level: quiet ? -1 : options.verbose + (terminal ? 1 : 0),
    prefix: terminal ? '' : 'popfetch: ',
    color,
  });
  const moving = options.progress && !quiet && canMove(stderr, env);
  return moving ? new TerminalReporter(lines, new Progress(stderr, now), color) : lines;
}

/** https://no-color.org: any value but the empty one. */
function hasColor({ NO_COLOR = '', TERM }: ReporterOptions['env']): boolean {
  return NO_COLOR === '' && TERM !== 'dumb';
}

interface LineStyle {
  /** -1: errors; 0: problems; 1: accounts; 2: messages; 3: steps. */
  readonly level: number;
  readonly prefix: string;
  readonly color: boolean;
}

type Color = 'green' | 'yellow' | 'red';

/** Lines for people: what needs a person always, the rest as far as it was asked for. */
class LineReporter implements Reporter {
  readonly #write: (line: string) => void;
  readonly #style: LineStyle;
  #interrupted = false;
  /** What a dry run would do, by account. */
  readonly #would = new Map<string, { fetch: { count: number; octets: number }; remove: number }>();

  constructor(write: (line: string) => void, style: LineStyle) {
    this.#write = write;
    this.#style = style;
  }

  readonly emit = (event: Event): void => {
    switch (event.type) {
      case 'failed':
        this.#error(event);
        return;
      case 'warning': {
        const { message, serverText } = event;
        const words = serverText === undefined || serverText === '' ? '' : `: ${quoted(serverText)}`;
        this.#say(0, event, `warning: ${readable(message)}${words}`, 'yellow');
        return;
      }
      case 'skipped':
        // A refusal that a person has to know of is told as an error; before that, it is for those who watch.
        if (event.reason === 'refused') {
          this.#say(event.first ? 2 : 1, event, skippedSentence(event));
          return;
        }
        // A limit is what was asked for.
        if (event.reason === 'limit' || !event.first) {
          this.#say(2, event, skippedSentence(event));
          return;
        }
        this.#say(0, event, skippedSentence(event), 'yellow');
        return;
      case 'would':
        this.#plan(event);
        return;
      case 'account-end':
        this.#end(event);
        return;
      case 'planned':
      case 'delivered':
      case 'removed':
      case 'phase':
        this.#detail(event);
        return;
      case 'run-start':
      case 'account-start':
      case 'progress':
      case 'run-end':
        return;
      default:
        event satisfies never;
    }
  };

  done(): void {
    // Every line is out already.
  }

  #detail(event: Extract<Event, { type: 'planned' | 'delivered' | 'removed' | 'phase' }>): void {
    switch (event.type) {
      case 'planned': {
        const { listed, seen, wanted, octets, doomed } = event;
        const fetch = `${wanted} to fetch (${size(octets)})`;
        this.#say(2, event, `${listed} on the server, ${seen} seen, ${fetch}, ${doomed} to remove`);
        return;
      }
      case 'delivered': {
        const { number, octets, destination } = event;
        this.#say(2, event, `message ${number} (${size(octets)}) to ${readable(destination)}`);
        return;
      }
      case 'removed':
        this.#say(2, event, `${plural(event.messages, 'message')} removed from the server`);
        return;
      case 'phase':
        this.#say(3, event, event.phase);
    }
  }

  #plan(event: Extract<Event, { type: 'would' }>): void {
    const { account, action, number, octets } = event;
    const sum = this.#would.get(account) ?? { fetch: { count: 0, octets: 0 }, remove: 0 };
    this.#would.set(account, sum);
    if (action === 'remove') sum.remove += 1;
    else sum.fetch = { count: sum.fetch.count + 1, octets: sum.fetch.octets + octets };
    this.#say(1, event, `would ${action} message ${number} (${size(octets)})`);
  }

  #end({ account, outcome }: Extract<Event, { type: 'account-end' }>): void {
    const would = this.#would.get(account);
    if (would !== undefined) {
      this.#say(0, { account }, dryRunSentence(would.fetch, would.remove));
      return;
    }
    const failed = outcome.errors.length > 0;
    // The error has been told, and there is nothing to add.
    if (failed && outcome.delivered + outcome.removed === 0) return;
    this.#say(1, { account }, outcomeSentence(outcome), failed ? 'yellow' : 'green');
  }

  #error({ account, error }: Extract<Event, { type: 'failed' }>): void {
    const { prefix, color } = this.#style;
    const interrupted = error.code === 'ABORTED';
    // It ends every account, and is the fault of none: to be told once.
    if (interrupted && this.#interrupted) return;
    this.#interrupted ||= interrupted;
    const text = interrupted
      ? formatInterruption(error, prefix)
      : formatError(error.within({ account }), prefix);
    this.#write(`${color ? paint('red', text) : text}\n`);
  }

  #say(level: number, { account }: { readonly account: string }, sentence: string, color?: Color): void {
    if (level > this.#style.level) return;
    const name = readable(account);
    const shown = this.#style.color && color !== undefined ? paint(color, name) : name;
    this.#write(`${this.#style.prefix}${shown}: ${sentence}\n`);
  }
}

/** Whether to colour has been decided already, and not by what stdout is. */
function paint(color: Color, text: string): string {
  return styleText(color, text, { validateStream: false });
}

/** Lines, and below them the moving one while accounts run. */
class TerminalReporter implements Reporter {
  readonly #lines: LineReporter;
  readonly #progress: Progress;
  readonly #color: boolean;

  constructor(lines: LineReporter, progress: Progress, color: boolean) {
    this.#lines = lines;
    this.#progress = progress;
    this.#color = color;
  }

  readonly emit = (event: Event): void => {
    // Without its moving line a run is still a run.
    if (event.type === 'run-start') this.#progress.start(this.#color).catch(() => undefined);
    this.#progress.see(event);
    this.#lines.emit(event);
  };

  done(): void {
    this.#progress.stop();
  }
}
