/**
 * Faults at every place that asks something of the disk. An undisturbed run shows the places: what is asked, of what
 * kind of file, by which line of the source. Then each of them fails, with each error, the first time, in the middle
 * and the last time.
 */
import { asError, PopfetchError } from '../../src/errors.js';
import { FaultWorld, MESSAGES, type Ended } from './fault-world.js';
import { promptDisk } from './prompt-disk.js';
import { systemError, WatchedDisk } from './watched-disk.js';

/** What the disk may say. */
const ERRORS = ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS', 'EMFILE', 'EACCES'] as const;
type Errno = (typeof ERRORS)[number];

/** How a message says it, in words or by the name of the error. */
const WORDS: Readonly<Record<Errno, RegExp>> = {
  ENOSPC: /the disk is full|ENOSPC/,
  EDQUOT: /quota is used up|EDQUOT/,
  EIO: /input\/output error|EIO/,
  EROFS: /read-only|EROFS/,
  EMFILE: /too many files are open|EMFILE/,
  EACCES: /permission denied|EACCES/,
};

/** Calls that can be made and be denied all the same, as over a network. */
const DENIABLE = new Set(['link', 'rename', 'unlink', 'mkdir', 'truncate']);

/** What an error that lasts holds up: a full disk, a broken one, one that has become read-only. */
const LASTING: Readonly<Partial<Record<Errno, RegExp>>> = {
  ENOSPC: /^(open create|write|mkdir|link|rename)/,
  EIO: /^(?!close)/,
  EROFS: /^(open (create|append|update)|write|truncate|mkdir|link|rename|unlink)/,
};

/** What is asked once a message is delivered, or a copy of it dropped: by then nothing can turn the yes into a no. */
const CLEANING =
  /^(unlink (mail\/box\/tmp\/\*|state\/spool\/\*|mail\/mbox\.lock.*)|lstat mail\/mbox\.lock|close mail\/mbox)$/;

/** A line of the source that asks something of one kind of file. */
export interface Site {
  /** `CALL ROLE`. */
  readonly asked: string;
  readonly caller: string;
  /** Which of the calls of that kind are made there, counted from 1. */
  readonly calls: readonly number[];
}

/**
 * `plain`: this once. `half`: the same, and half of the data is written. `late`: the work is done, and denied. `lasting`:
 * from then on, on that file system, whatever such an error would hold up.
 */
type Manner = 'plain' | 'half' | 'late' | 'lasting';

/** How a call fails. */
export interface Fault {
  readonly site: Site;
  readonly occurrence: number;
  readonly errno: Errno;
  readonly manner: Manner;
}

/** A world to begin with, each time the same. */
export type Start = () => Promise<FaultWorld>;

/** A watched disk in this world: where there are no hard links, it says so. */
export function diskOf(world: FaultWorld): WatchedDisk {
  const disk = new WatchedDisk(promptDisk);
  disk.before = noLinks(world);
  return disk;
}

function noLinks(world: FaultWorld): WatchedDisk['before'] {
  return (call, path) => {
    const refused = world.kind === 'Maildir without hard links' && call === 'link' && !world.isState(path);
    if (refused) throw systemError('EPERM');
  };
}

/** The sites that an undisturbed run comes by. */
export async function sitesOf(start: Start): Promise<Site[]> {
  const world = await start();
  try {
    const disk = diskOf(world);
    disk.tracing = true;
    const { error } = await world.run(disk);
    if (error !== undefined) throw error;
    return grouped(disk, world);
  } finally {
    world.remove();
  }
}

function grouped(disk: WatchedDisk, world: FaultWorld): Site[] {
  const counts = new Map<string, number>();
  const sites = new Map<string, { asked: string; caller: string; calls: number[] }>();
  disk.calls.forEach((line, index) => {
    const asked = askedBy(world, line);
    // Looks at what is above both the memory and the mail: whose of them it is cannot be told from the path.
    if (/ (\.\.)?$/.test(asked)) return;
    const caller = disk.callers[index] ?? '';
    const count = (counts.get(asked) ?? 0) + 1;
    counts.set(asked, count);
    const site = sites.get(`${asked} ${caller}`) ?? { asked, caller, calls: [] };
    site.calls.push(count);
    sites.set(`${asked} ${caller}`, site);
  });
  return [...sites.values()];
}

function askedBy(world: FaultWorld, line: string): string {
  const at = line.lastIndexOf(' ');
  return `${line.slice(0, at)} ${world.roleOf(line.slice(at + 1))}`;
}

/** Every way in which a site may fail: each error at the first, the middle and the last call. */
export function faultsAt(site: Site): Fault[] {
  const { calls, asked } = site;
  const some = new Set([calls[0], calls[calls.length >> 1], calls.at(-1)].filter((n) => n !== undefined));
  const call = asked.slice(0, asked.lastIndexOf(' '));
  return [...some].flatMap((occurrence) => [
    ...ERRORS.map((errno): Fault => ({ site, occurrence, errno, manner: 'plain' })),
    ...(call === 'write' ? ERRORS.map((errno): Fault => ({ site, occurrence, errno, manner: 'half' })) : []),
    ...(DENIABLE.has(call) ? [{ site, occurrence, errno: 'EIO', manner: 'late' } as const] : []),
  ]);
}

/** The same site, on a file system that does not recover within the run. */
export function lastingFaultsAt(site: Site): Fault[] {
  const lasting = ERRORS.filter((errno) => LASTING[errno]?.test(site.asked) === true);
  return lasting.map((errno) => ({ site, occurrence: site.calls[0] ?? 1, errno, manner: 'lasting' }));
}

/** One error for each place: each time another one. */
export function oneFaultAt(site: Site, index: number): Fault[] {
  const errno = ERRORS[index % ERRORS.length] ?? 'EIO';
  return [{ site, occurrence: site.calls.at(-1) ?? 1, errno, manner: 'plain' }];
}

/** A fault in a sentence. */
function told({ site, occurrence, errno, manner }: Fault): string {
  return `${errno} (${manner}) at ${site.asked} from ${site.caller}, number ${occurrence}`;
}

/** What a run came to whose disk failed. */
interface Disturbed extends Ended {
  readonly hit: boolean;
  /** Whether the destination was being opened then: nobody had logged in. */
  readonly opening: boolean;
  readonly disk: WatchedDisk;
}

async function disturbed(world: FaultWorld, { site, occurrence, errno, manner }: Fault): Promise<Disturbed> {
  const disk = diskOf(world);
  const allowed = disk.before;
  const { sessions } = world.server;
  let [left, hit, opening, onState] = [occurrence, false, false, false];
  const strike = (call: string, path: string): void => {
    const again =
      hit && manner === 'lasting' && world.isState(path) === onState && LASTING[errno]?.test(call);
    if (again === true) throw systemError(errno);
    if (hit || `${call} ${world.roleOf(path)}` !== site.asked || (left -= 1) > 0) return;
    hit = true;
    onState = world.isState(path);
    opening = world.server.sessions === sessions;
    throw systemError(errno);
  };
  disk.tearing = manner === 'half' || manner === 'lasting';
  disk.before = (call, path) => {
    if (manner !== 'late') strike(call, path);
    allowed(call, path);
  };
  if (manner === 'late') disk.after = strike;
  const ended = await inTime(world.run(disk));
  return { ...ended, hit, opening, disk };
}

/** Rejections that nobody handled. */
const unhandled: unknown[] = [];
process.on('unhandledRejection', (reason) => unhandled.push(reason));

/** A run that waits for what never comes is a failure of its own. */
async function inTime(run: Promise<Ended>): Promise<Ended> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error('the run does not end'));
    }, 10_000);
  });
  try {
    const ended = await Promise.race([run, late]);
    // A promise that was left behind is told of by the next turn.
    await new Promise(setImmediate);
    return ended;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Lets one call fail, looks at what that run leaves, lets the next one go through, and sees that a third has nothing
 * to do. @returns what is wrong, in sentences; undefined where the call was never made
 */
async function tried(start: Start, fault: Fault): Promise<string[] | undefined> {
  const world = await start();
  try {
    const before = { left: world.leftovers(), trouble: world.trouble() };
    world.fragmentsOut = fault.site.asked === 'read state/spool/*';
    const outcome = await disturbed(world, fault);
    if (!outcome.hit) return undefined;
    return [
      ...wrongWithEnd(world, fault, outcome),
      ...(await wrongWithLeft(world, fault, outcome, before)),
      ...(await wrongWithNext(world)),
      ...unhandled.splice(0).map((reason) => `a rejection nobody handled: ${String(reason)}`),
    ];
  } catch (error) {
    return [asError(error).message];
  } finally {
    world.remove();
  }
}

function wrongWithEnd(
  world: FaultWorld,
  { site, errno, manner }: Fault,
  { error, opening }: Disturbed,
): string[] {
  if (error === undefined) {
    const lacking = world.lacking();
    return lacking.length === 0 ? [] : [`nothing is said, and there is no ${lacking.join(', no ')}`];
  }
  if (!opening && manner !== 'lasting' && CLEANING.test(site.asked))
    return [`yes became no: ${error.message}`];
  if (!(error instanceof PopfetchError)) return [`a bug: ${error.stack ?? String(error)}`];
  const wrong: string[] = [];
  const role = site.asked.slice(site.asked.lastIndexOf(' ') + 1);
  const { code, exit, phase, message, remedy } = error;
  const expected = expectedCode(role, errno, opening);
  if (!WORDS[errno].test(message)) wrong.push(`it is not said what happened: ${message}`);
  if (remedy === undefined) wrong.push('no remedy');
  // Where one error is followed by others, any of them may be the one that is told.
  if (manner === 'lasting')
    return [73, 74].includes(exit) && phase !== undefined ? wrong : [...wrong, `${code} ${exit}`];
  if (`${code} ${exit}` !== expected) wrong.push(`${code} ${exit} instead of ${expected}`);
  const phases = code === 'STATE' ? ['state'] : opening ? ['destination'] : ['deliver'];
  if (!phases.includes(String(phase))) wrong.push(`phase ${phase ?? 'unknown'} instead of ${phases.join()}`);
  if (!message.startsWith(world.path(rootOf(role)))) wrong.push(`${rootOf(role)} is not named: ${message}`);
  return wrong;
}

function expectedCode(role: string, errno: Errno, opening: boolean): string {
  if (role === 'state' || role.startsWith('state/*')) return 'STATE 74';
  return opening && (errno === 'EACCES' || errno === 'EROFS') ? 'CREATE 73' : 'DELIVERY 74';
}

/** What a person must be told of. */
function rootOf(role: string): string {
  return ['state/spool', 'state', 'mail/box', 'mail/mbox'].find((each) => role.startsWith(each)) ?? 'mail';
}

/** What was there before a run. */
interface Before {
  readonly left: readonly string[];
  readonly trouble: string | undefined;
}

async function wrongWithLeft(
  world: FaultWorld,
  { site, manner }: Fault,
  { disk }: Disturbed,
  before: Before,
): Promise<string[]> {
  const wrong = world.broken.splice(0);
  const trouble = world.trouble();
  // On a disk that lets nothing be taken back, half a message may stay until it does.
  const tolerated = manner === 'lasting' && trouble?.startsWith('in the mbox there is') === true;
  if (trouble !== undefined && trouble !== before.trouble && !tolerated) wrong.push(trouble);
  if (disk.openFiles > 0) wrong.push(`${disk.openFiles} files are open`);
  for (const call of disk.afterFailedSync) wrong.push(`after its sync had failed: ${call}`);
  // What could not be removed stays, and so does what was there before the run.
  const stuck = manner === 'lasting' || (manner === 'plain' && /^(unlink|readdir|lstat)/.test(site.asked));
  const needed = [...before.left, ...(await world.intended())];
  const left = world.leftovers().filter((path) => !needed.includes(path));
  if (left.length > 0 && !stuck) wrong.push(`left behind: ${left.join(', ')}`);
  return wrong;
}

/** The next run brings all, and the one after it changes nothing. */
async function wrongWithNext(world: FaultWorld): Promise<string[]> {
  const wrong: string[] = [];
  let before = '';
  for (const which of ['next', 'third']) {
    const disk = diskOf(world);
    const { error } = await inTime(world.run(disk));
    const found = [...world.broken.splice(0), error?.message, world.trouble()].filter(
      (each) => each !== undefined,
    );
    found.push(
      ...world.lacking().map((each) => `no ${each}`),
      ...world.leftovers().map((each) => `${each} is left`),
    );
    if (disk.openFiles > 0) found.push(`${disk.openFiles} files are open`);
    if (which === 'third' && world.snapshot() !== before) found.push('something changes');
    before = world.snapshot();
    wrong.push(...found.map((each) => `in the ${which} run: ${each}`));
  }
  const expected = world.account.delete === 'delivered' ? 0 : MESSAGES.size;
  const { size } = world.server.messages;
  return size === expected ? wrong : [...wrong, `${size} messages are on the server, not ${expected}`];
}

/** These faults, one after the other. @returns how many there were, and what went wrong with each */
export async function tryAll(
  start: Start,
  faults: readonly Fault[],
): Promise<{ readonly cases: number; readonly wrong: string[] }> {
  const wrong: string[] = [];
  const missed: string[] = [];
  let cases = 0;
  for (const fault of faults) {
    // Deliveries that share a sync do not share it in every run: the last call may be one earlier.
    let found: string[] | undefined;
    for (let occurrence = fault.occurrence; found === undefined && occurrence > 0; occurrence -= 1) {
      found = await tried(start, { ...fault, occurrence });
    }
    if (found === undefined) missed.push(`${told(fault)}: no such call was made`);
    else cases += 1;
    wrong.push(...(found ?? []).map((each) => `${told(fault)}: ${each}`));
  }
  // A call that fails by itself cannot be denied when it has been made.
  return { cases, wrong: [...wrong, ...missed.filter((each) => !each.includes('(late)'))] };
}
