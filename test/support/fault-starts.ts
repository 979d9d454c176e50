/** Worlds in which a fault strikes: one where nothing has happened yet, and what crashes leave. */
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { mailboxTag } from '../../src/identity.js';
import { encodeWrite } from '../../src/seen/journal.js';
import { diskOf, type Start } from './fault-cases.js';
import { FaultWorld, type Kind } from './fault-world.js';
import { Crash } from './watched-disk.js';

/** Records that make a journal long enough to be rewritten. */
const LONG = 1100;

/** A fresh world. */
export function fresh(kind: Kind, remove: 'never' | 'delivered' = 'delivered'): Start {
  return () => Promise.resolve(new FaultWorld(kind, remove));
}

/** What is left when a run dies while it asks something of the disk for the `nth` time; a write gets half-way. */
async function crashed(kind: Kind, asked: string, nth: number): Promise<FaultWorld> {
  const world = new FaultWorld(kind, 'delivered');
  const disk = diskOf(world);
  const allowed = disk.before;
  let left = nth;
  disk.before = (call, path) => {
    disk.tearing = left === 1;
    if (left === 0 || (`${call} ${world.roleOf(path)}` === asked && (left -= 1) === 0)) throw new Crash();
    disk.tearing = false;
    allowed(call, path);
  };
  const { error } = await world.run(disk);
  if (error === undefined) throw new Error(`nothing died at ${asked}`);
  await disk.die();
  // A power cut may tear the last line of the journal, too.
  appendFileSync(journalOf(world), '999 999 0');
  return world;
}

function journalOf(world: FaultWorld): string {
  const name = readdirSync(world.path('state')).find((each) => each.endsWith('.journal')) ?? '';
  return world.path('state', name);
}

/** An hour of 1970: long ago. */
const OLD = new Date(3_600_000);

/** Left in tmp/ by a machine that is no more. */
function orphan(world: FaultWorld): void {
  const path = world.path(
    'mail',
    'box',
    'tmp',
    `1.A${mailboxTag(world.account)}K${'a'.repeat(26)}.elsewhere`,
  );
  writeFileSync(path, 'Subject: half');
  utimesSync(path, OLD, OLD);
}

/** A mail reader that rewrote the mbox, and a program that died while it held the lock. */
function rewritten(world: FaultWorld): void {
  const mbox = world.path('mail', 'mbox');
  copyFileSync(mbox, `${mbox}.new`);
  renameSync(`${mbox}.new`, mbox);
  for (const name of readdirSync(world.path('mail'))) {
    if (name.startsWith('mbox.')) rmSync(world.path('mail', name));
  }
  writeFileSync(`${mbox}.lock`, '999999999 elsewhere.example other');
  utimesSync(`${mbox}.lock`, OLD, OLD);
}

/** A journal of so many runs that it is due to be rewritten; an older one, and a draft that a crash left, beside it. */
function longJournal(world: FaultWorld): void {
  const journal = journalOf(world);
  const whole = readFileSync(journal, 'latin1').slice(0, -'999 999 0'.length);
  const runs = Array.from({ length: LONG }, () => ({ verb: 'RUN', fields: ['0', 'ok', '0', '0', '0'] }));
  writeFileSync(journal, whole + encodeWrite(runs, whole.split('\n').length), 'latin1');
  for (const beside of ['.old', '.new']) {
    if (!existsSync(journal + beside)) writeFileSync(journal + beside, whole, 'latin1');
  }
}

/** What crashes leave for each kind of destination, by what is special about it. */
export const CRASHED: Readonly<Record<Kind, Readonly<Record<string, Start>>>> = {
  Maildir: {
    'died between two links': async () => {
      const world = await crashed('Maildir', 'link mail/box/new/*', 2);
      orphan(world);
      return world;
    },
    'died, and the journal has become long': async () => {
      const world = await crashed('Maildir', 'link mail/box/new/*', 2);
      longJournal(world);
      return world;
    },
  },
  'Maildir without hard links': {
    'died between two moves': () => crashed('Maildir without hard links', 'rename mail/box/new/*', 2),
  },
  mbox: {
    'died within a write': () => crashed('mbox', 'write mail/mbox', 2),
    'died before a sync, and a mail reader came': async () => {
      const world = await crashed('mbox', 'sync mail/mbox', 2);
      rewritten(world);
      return world;
    },
  },
  'Maildir and mbox': {
    'died within a write to the second': () => crashed('Maildir and mbox', 'write mail/mbox', 1),
  },
  stdout: { 'died with a message in the spool': () => crashed('stdout', 'unlink state/spool/*', 1) },
};
