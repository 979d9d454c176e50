/** The points of the kill sweep: where a run is killed, and the choice of some of them by a seed. */
import { CALLS } from '../support/strace.js';
import type { Call } from '../support/strace.js';

/** A Maildir, an mbox, a Maildir on a file system that has no hard links, and an mbox to which more is written than goes at once. */
export const DESTINATIONS = ['maildir', 'mbox', 'linkless', 'bulky'] as const;
export const DELETIONS = ['never', 'delivered'] as const;

/** One death. */
export interface Kill {
  /** At an event of the server, or at the entry to a system call that concerns the run's files. */
  readonly at: 'event' | Call;
  /** 1 and up. */
  readonly nth: number;
  /** Threads that node has for files. With one the calls come in the same order each time; with more each counts its own. */
  readonly threads: number;
}

/** One way to go: an account, and the deaths of as many runs in a row, the second and later ones while they recover. */
export interface Point {
  readonly destination: (typeof DESTINATIONS)[number];
  readonly deletion: (typeof DELETIONS)[number];
  readonly kills: readonly Kill[];
}

/** What a run that nobody kills does: the labels of its events in order, and how often it makes each call. */
export interface Course extends Omit<Point, 'kills'> {
  readonly events: readonly string[];
  readonly calls: Readonly<Partial<Record<Call, number>>>;
}

/** Node's own number of threads for files. */
const THREADS = 4;

/** As it is written on a command line: `mbox:delivered:fsync.7:event.12:write.3x4`. */
export function nameOf({ destination, deletion, kills }: Point): string {
  const deaths = kills.map(({ at, nth, threads }) => `${at}.${nth}${suffixOf(at, threads)}`);
  return [destination, deletion, ...deaths].join(':');
}

function suffixOf(at: Kill['at'], threads: number): string {
  return at === 'event' || threads === 1 ? '' : `x${threads}`;
}

/** The point of that name. @throws Error where there is none */
export function pointOf(name: string): Point {
  const [first = '', second = '', ...deaths] = name.split(':');
  const destination = DESTINATIONS.find((each) => each === first);
  const deletion = DELETIONS.find((each) => each === second);
  if (destination === undefined || deletion === undefined || deaths.length === 0)
    throw new Error(`${name} is no point; one is mbox:delivered:fsync.7:event.12`);
  return { destination, deletion, kills: deaths.map(killOf) };
}

function killOf(text: string): Kill {
  const [, name, nth, threads] = /^(\w+)\.([1-9]\d*)(?:x([1-9]\d*))?$/.exec(text) ?? [];
  const at = (['event', ...CALLS] as const).find((each) => each === name);
  if (at === undefined) throw new Error(`${text} is no place to die at; one is fsync.7`);
  return { at, nth: Number(nth), threads: Number(threads ?? (at === 'event' ? THREADS : 1)) };
}

/** Numbers from 0 up to 1 that a seed decides (mulberry32). */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A first death, and what it is an example of. */
interface First {
  readonly course: Course;
  readonly kill: Kill;
  readonly example: string;
}

/** Which deaths are asked for. */
export type Places = 'events' | 'calls' | 'all';

/**
 * As many points as asked for. The first deaths go round all there are, in an order that the seed decides, but with an
 * example of every kind of call on every destination and of every event up front; each is followed by none, one or two more.
 */
export function choose(courses: readonly Course[], count: number, seed: number, places: Places): Point[] {
  const next = random(seed);
  const all = courses.flatMap((course) => firstsOf(course, places));
  const points: Point[] = [];
  while (points.length < count && all.length > 0) {
    const round = examplesFirst(shuffled(all, next));
    for (const first of round.slice(0, count - points.length)) points.push(pointFrom(first, places, next));
  }
  return points;
}

function firstsOf(course: Course, places: Places): First[] {
  const events = course.events.map((label, index): First => {
    return { course, kill: { at: 'event', nth: index + 1, threads: THREADS }, example: label };
  });
  const calls = CALLS.flatMap((at) =>
    Array.from({ length: course.calls[at] ?? 0 }, (_, index): First => {
      return { course, kill: { at, nth: index + 1, threads: 1 }, example: exampleOf(course, at, index + 1) };
    }),
  );
  // What is different about the other two is so between two calls.
  const byEvent = places !== 'calls' && ['maildir', 'mbox'].includes(course.destination);
  const byCall = course.destination === 'bulky' ? calls.filter(({ kill }) => kill.at === 'write') : calls;
  return [...(byEvent ? events : []), ...(places === 'events' ? [] : byCall)];
}

/** Each write of a bulky mbox stands for itself: there is one that leaves half a message behind. */
function exampleOf({ destination, deletion }: Course, at: Call, nth: number): string {
  return destination === 'bulky' ? `${destination} ${at} ${nth}` : `${destination} ${deletion} ${at}`;
}

function examplesFirst(firsts: readonly First[]): First[] {
  const chosen = new Map<string, First>();
  for (const first of firsts) if (!chosen.has(first.example)) chosen.set(first.example, first);
  return [...chosen.values(), ...firsts.filter((first) => chosen.get(first.example) !== first)];
}

function shuffled<T>(items: readonly T[], next: () => number): T[] {
  const mixed = items.map((item) => ({ item, at: next() }));
  return mixed.sort((a, b) => a.at - b.at).map(({ item }) => item);
}

function pointFrom({ course, kill }: First, places: Places, next: () => number): Point {
  const { destination, deletion } = course;
  const deaths = next();
  const more = deaths < 0.85 ? (deaths < 0.55 && destination !== 'bulky' ? 0 : 1) : 2;
  const later = Array.from({ length: more }, () => laterKill(course, places, next));
  return { destination, deletion, kills: [kill, ...later] };
}

/** What the recovery of half a message in an mbox is made of. */
const MENDING: readonly Call[] = ['ftruncate', 'fsync', 'write', 'unlink'];

/** An early one is more likely: what a run has to recover comes first, and it has less left to do. */
function laterKill({ destination, events, calls }: Course, places: Places, next: () => number): Kill {
  const known = (destination === 'bulky' ? MENDING : CALLS).filter((call) => (calls[call] ?? 0) > 0);
  const mixed = places === 'all' && destination !== 'bulky';
  const byEvent = places === 'events' || known.length === 0 || (mixed && next() < 0.3);
  const at = byEvent ? 'event' : known[Math.floor(next() * known.length)]!;
  // A recovery may have something to cut off or to remove that an undisturbed run has not.
  const most = at === 'event' ? events.length : calls[at]! + 1;
  const nth = 1 + Math.floor(next() ** 2 * most);
  if (at === 'event' || next() < 0.5) return { at, nth, threads: at === 'event' ? THREADS : 1 };
  // Each of the threads makes about a part of the calls.
  return { at, nth: Math.ceil(nth / THREADS), threads: THREADS };
}
