/** Goes through many points of the kill sweep, a few at a time, and adds up what they came to. */
import { CALLS, straceProblem } from '../support/strace.js';
import type { Call } from '../support/strace.js';
import { goThrough, WRONGS } from './point.js';
import type { Outcome } from './point.js';
import { DELETIONS, DESTINATIONS } from './points.js';
import type { Course, Point } from './points.js';
import { Scene } from './scene.js';

/** Runs of each account that are looked at. */
const LOOKS = 2;

/** The courses of all accounts; without strace there are no calls in them, and only accounts that need none of it. */
export async function courses(): Promise<Course[]> {
  const strace = straceProblem() === undefined;
  const found: Course[] = [];
  for (const destination of strace ? DESTINATIONS : (['maildir', 'mbox'] as const)) {
    for (const deletion of DELETIONS) {
      const looks: Course[] = [];
      while (looks.length < LOOKS) looks.push(await courseOf({ destination, deletion }, strace));
      found.push(shortest(looks));
    }
  }
  return found;
}

async function courseOf(account: Omit<Point, 'kills'>, strace: boolean): Promise<Course> {
  const scene = await Scene.create(account);
  try {
    return await scene.course(strace);
  } finally {
    await scene.close();
  }
}

/** What every run does: how many messages are written together is a matter of chance. */
function shortest(looks: readonly Course[]): Course {
  const [first] = looks;
  if (first === undefined) throw new RangeError('nobody has looked');
  const fewest = (call: Call): number => Math.min(...looks.map(({ calls }) => calls[call] ?? 0));
  return { ...first, calls: Object.fromEntries(CALLS.map((call) => [call, fewest(call)])) };
}

/** Goes through all of them, `lanes` at a time, and begins no more when the signal aborts; each outcome is told as it comes. */
export async function sweep(
  points: readonly Point[],
  lanes: number,
  tell: (outcome: Outcome) => void = () => undefined,
  signal = new AbortController().signal,
): Promise<Tally> {
  const queue = [...points];
  const tally = new Tally();
  const lane = async (): Promise<void> => {
    for (let point = queue.shift(); point !== undefined; point = queue.shift()) {
      const outcome = await goThrough(point);
      tally.add(outcome);
      tell(outcome);
      if (signal.aborted) break;
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return tally;
}

/** The sums. */
export class Tally {
  points = 0;
  /** Points of which at least the first run died. */
  dead = 0;
  /** Deaths, by place: `event`, `fsync`, … */
  readonly kills = new Map<string, number>();
  /** Runs that ended by themselves before they came to the place. */
  missed = 0;
  /** Deaths at which an mbox ended in half a message. */
  torn = 0;
  /** Points by their number of deaths, by destination, and by deletion. */
  readonly by = new Map<string, number>();
  readonly wrong = new Map<string, number>(WRONGS.map((each) => [each, 0]));
  readonly failed: Outcome[] = [];

  add(outcome: Outcome): void {
    const { point, hits, torn, findings } = outcome;
    this.points += 1;
    this.torn += torn;
    if (hits[0] === true) this.dead += 1;
    point.kills.forEach(({ at }, index) => {
      if (hits[index] === true) count(this.kills, at);
      else this.missed += 1;
    });
    for (const each of [point.destination, point.deletion, deathsOf(hits)]) count(this.by, each);
    for (const wrong of new Set(findings.map((each) => each.wrong))) count(this.wrong, wrong);
    if (findings.length > 0) this.failed.push(outcome);
  }

  /** How many runs died. */
  get deaths(): number {
    return [...this.kills.values()].reduce((sum, each) => sum + each, 0);
  }
}

function deathsOf(hits: readonly boolean[]): string {
  const deaths = hits.filter(Boolean).length;
  return deaths === 1 ? '1 death' : `${deaths} deaths`;
}

function count(counts: Map<string, number>, what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}
