/** The moving line on a terminal: every running account with what it is doing. The only file that knows ora. */
import type { Ora } from 'ora';
import { cut } from './columns.js';
import { readable } from '../escape.js';
import type { Event } from '../events.js';
import { size } from './quantities.js';

/** A stream that may be a terminal. */
export type Terminal = NodeJS.WritableStream & {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
};

/** Milliseconds between two pictures. */
const INTERVAL = 100;
/** Columns of the turning sign, the blanks behind it, and the last one, which some terminals wrap at. */
const MARGIN = 4;

/** Where one account is. */
interface Account {
  phase: string;
  wanted: number;
  done: number;
  octets: number;
  /** Time of the first octet. */
  since: number | undefined;
}

/** Whether a moving line can be drawn: ora never returns on a terminal that says it has 0 columns. */
export function canMove(
  stream: Terminal,
  env: Readonly<Record<string, string | undefined>>,
): stream is Terminal & { readonly columns: number } {
  const { CI = '', TERM } = env;
  const inCi = CI !== '' && CI !== 'false' && CI !== '0';
  return stream.isTTY === true && (stream.columns ?? 0) > 0 && !inCi && TERM !== 'dumb';
}

/** Keeps count of the running accounts and draws them. Lines that others write to the stream go above the moving one. */
export class Progress {
  readonly #stream: Terminal;
  readonly #now: () => number;
  readonly #accounts = new Map<string, Account>();
  #spinner: Ora | undefined;
  #ended = false;

  /** Draws nothing before {@link start}. */
  constructor(stream: Terminal, now: () => number) {
    this.#stream = stream;
    this.#now = now;
  }

  /** Loads ora and begins to draw, unless stop() came first. A terminal that cannot be drawn on stays as it is. */
  async start(color: boolean): Promise<void> {
    const { default: ora } = await import('ora');
    if (this.#ended || (this.#stream.columns ?? 0) <= 0) return;
    this.#stream.on('resize', this.#resized);
    this.#spinner = ora({
      stream: this.#stream,
      isEnabled: true,
      // Ctrl-C has to stay a signal, and stdin is not ours.
      discardStdin: false,
      color: color ? 'cyan' : false,
      interval: INTERVAL,
      suffixText: () => this.line(),
    }).start();
  }

  /** Takes the moving line away. */
  stop(): void {
    this.#ended = true;
    this.#stream.off('resize', this.#resized);
    this.#spinner?.stop();
    this.#spinner = undefined;
  }

  /** Takes note of an event. */
  see(event: Event): void {
    switch (event.type) {
      case 'account-start':
        this.#accounts.set(event.account, {
          phase: 'start',
          wanted: 0,
          done: 0,
          octets: 0,
          since: undefined,
        });
        return;
      case 'phase':
        this.#change(event.account, { phase: event.phase });
        return;
      case 'planned':
        this.#change(event.account, { wanted: event.wanted });
        return;
      case 'progress':
        this.#arrived(event.account, event.octets);
        return;
      case 'delivered':
        this.#change(event.account, { done: (this.#accounts.get(event.account)?.done ?? 0) + 1 });
        return;
      case 'account-end':
        this.#accounts.delete(event.account);
        return;
      case 'run-start':
      case 'skipped':
      case 'would':
      case 'removed':
      case 'warning':
      case 'failed':
      case 'run-end':
        return;
      default:
        event satisfies never;
    }
  }

  /** What is drawn, no wider than the terminal: `work 3/12 1.2 MiB 400 KiB/s · home login`. */
  line(): string {
    const parts = [...this.#accounts].map(([name, account]) => this.#describe(name, account));
    return cut(parts.join(' · '), Math.max(0, (this.#stream.columns ?? 0) - MARGIN));
  }

  /** A window that shrinks to nothing while ora draws is as bad as one that starts so. */
  readonly #resized = (): void => {
    if ((this.#stream.columns ?? 0) <= 0) this.stop();
  };

  #change(name: string, news: Partial<Account>): void {
    const account = this.#accounts.get(name);
    if (account !== undefined) Object.assign(account, news);
  }

  #arrived(name: string, octets: number): void {
    const account = this.#accounts.get(name);
    if (account === undefined) return;
    account.since ??= this.#now();
    account.octets += octets;
  }

  #describe(name: string, { phase, wanted, done, octets, since }: Account): string {
    const shown = readable(name);
    if (phase !== 'retrieve' || since === undefined) return `${shown} ${phase}`;
    const seconds = Math.max((this.#now() - since) / 1000, 1);
    return `${shown} ${done}/${wanted} ${size(octets)} ${size(octets / seconds)}/s`;
  }
}
