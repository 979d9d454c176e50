/** What the crash tests fetch, and to where. */
import { lines, plain } from './messages.js';
import { OTHERS } from './mbox.js';
import { PLACES, type Scenario } from './weak-disk-runs.js';
import type { WeakDisk } from './weak-disk.js';
import { contentAt, find, namesIn } from './weak-disk-model.js';

/** Small, and no two alike: one with lines that an mbox quotes, one that does not end in a line end. */
const THREE = [
  lines('Subject: one', '', 'From here', '.', 'to there'),
  plain(2),
  Buffer.from('Subject: three\r\n\r\nno line end', 'latin1'),
];

/** One that takes several writes, and a file of its own in the spool. */
const LARGE = Buffer.concat([lines('Subject: large', ''), Buffer.alloc(140_000, 'all work and no play\r\n')]);

const maildir = [{ maildir: PLACES.maildir }] as const;
const mbox = [{ mbox: PLACES.mbox }] as const;
const both = [{ maildir: PLACES.maildir }, { mbox: PLACES.mbox }] as const;

function scenario(name: string, changes: Pick<Scenario, 'deliver'> & Partial<Scenario>): Scenario {
  return { name, messages: THREE, delete: 'never', ...changes };
}

/**
 * New mail that the memory does not have as done, in a Maildir that is whole. What becomes of the rest when a mail
 * reader has moved it is between the reader and the disk.
 */
function unfinished(disk: WeakDisk): string[] {
  if (!namesIn(disk.image, PLACES.maildir).includes('cur')) return [];
  const journals = namesIn(disk.image, PLACES.state).filter((name) => name.endsWith('.journal'));
  const memory = journals
    .map((name) => contentAt(disk.image, `${PLACES.state}/${name}`)?.toString('latin1'))
    .join('');
  return namesIn(disk.image, `${PLACES.maildir}/new`).filter((name) => {
    const key = /K([a-z2-7]{26})/.exec(name)?.[1] ?? '';
    const uid = new RegExp(`INTENT (\\S+) ${key}`).exec(memory)?.[1];
    return uid !== undefined && !memory.includes(`DONE ${uid} `);
  });
}

/** A mail reader that takes new mail to cur/ and syncs nothing. */
function readerMoves(disk: WeakDisk): void {
  for (const name of unfinished(disk)) {
    disk.renameNow(`${PLACES.maildir}/new/${name}`, `${PLACES.maildir}/cur/${name}:2,S`);
  }
}

/** A mail reader that gives new mail names of its own, for good. */
function readerRenames(disk: WeakDisk): void {
  for (const name of unfinished(disk)) {
    const own = `1.reader${find(disk.image, `${PLACES.maildir}/new/${name}`) ?? ''}:2,`;
    disk.renameNow(`${PLACES.maildir}/new/${name}`, `${PLACES.maildir}/cur/${own}`);
    for (const folder of ['new', 'cur']) disk.syncDirectoryNow(`${PLACES.maildir}/${folder}`);
  }
}

/**
 * Another program that delivers to the mbox where it is not locked, and syncs nothing. Not behind a part of a message,
 * which would then have to stay. (A part may end like a whole one: with the empty line behind its header.)
 */
function anotherDelivers(disk: WeakDisk): void {
  const content = contentAt(disk.image, PLACES.mbox)?.toString('latin1') ?? '';
  const last = content.slice(content.lastIndexOf('\nFrom ') + 1);
  if (last !== '' && !/\n\n.*\n\n$/s.test(last)) return;
  if (find(disk.image, `${PLACES.mbox}.lock`) !== undefined) return;
  disk.writeNow(PLACES.mbox, Buffer.from(OTHERS));
}

/** One message after the other: few enough states to try them all. */
export const SERIAL: readonly Scenario[] = (['never', 'delivered'] as const).flatMap((when) => [
  scenario(`Maildir, one by one, delete: ${when}`, { deliver: maildir, serial: true, delete: when }),
  scenario(`Maildir without hard links, one by one, delete: ${when}`, {
    ...{ deliver: maildir, serial: true, delete: when, hardLinks: false },
  }),
  scenario(`mbox, one by one, delete: ${when}`, { deliver: mbox, serial: true, delete: when }),
  scenario(`mbox with mail in it, one by one, delete: ${when}`, {
    ...{ deliver: mbox, serial: true, delete: when, earlier: OTHERS },
  }),
]);

/** As many at once as the destination takes. */
export const GROUPED: readonly Scenario[] = (['never', 'delivered'] as const).flatMap((when) => [
  scenario(`Maildir, delete: ${when}`, { deliver: maildir, delete: when }),
  scenario(`Maildir without hard links, delete: ${when}`, {
    deliver: maildir,
    delete: when,
    hardLinks: false,
  }),
  scenario(`Maildir with a reader, delete: ${when}`, { deliver: maildir, delete: when, reader: readerMoves }),
  scenario(`Maildir with a reader that renames, delete: ${when}`, {
    ...{ deliver: maildir, delete: when, reader: readerRenames },
  }),
  scenario(`mbox, delete: ${when}`, { deliver: mbox, delete: when }),
  scenario(`mbox whose last line has no end, eol: crlf, delete: ${when}`, {
    ...{ deliver: mbox, delete: when, earlier: 'From a\nx', eol: 'crlf' },
  }),
  scenario(`mbox without hard links, delete: ${when}`, { deliver: mbox, delete: when, hardLinks: false }),
  scenario(`Maildir and mbox, delete: ${when}`, { deliver: both, delete: when }),
]);

/** A Maildir that a killed run has left half made, and a reader that is quick. */
export const HALF_MADE: readonly Scenario[] = (['never', 'delivered'] as const).map((when) =>
  scenario(`Maildir half made, with a reader, delete: ${when}`, {
    ...{ deliver: maildir, delete: when, halfMade: true, reader: readerMoves },
  }),
);

/**
 * A disk that is full once, and other mail behind what was taken back. For one crash only: what becomes of mail that
 * others did not sync is not ours to say, and with a second crash it could stand before ours.
 */
export const FULL: readonly Scenario[] = (['never', 'delivered'] as const).map((when) =>
  scenario(`mbox on a disk that is full once, with other mail, delete: ${when}`, {
    ...{ deliver: mbox, delete: when, earlier: OTHERS, reader: anotherDelivers },
    ...{ full: { path: PLACES.mbox, nth: 2 }, strangers: [OTHERS.slice(OTHERS.indexOf('\n') + 1)] },
  }),
);

/** A server that forgets what it has sent. */
export const FORGETFUL: readonly Scenario[] = [
  scenario('Maildir, EXPIRE 0', { deliver: maildir, forgets: true }),
  scenario('mbox, EXPIRE 0', { deliver: mbox, forgets: true }),
  scenario('Maildir and mbox, EXPIRE 0', { deliver: both, forgets: true }),
];

/** At least once: standard output that is a file. */
export const STDOUT: Scenario = scenario('stdout', { deliver: ['stdout'], delete: 'delivered' });

/** Longer ones, which take their time. */
export const LONG: readonly Scenario[] = [
  scenario('Maildir, large', { deliver: maildir, messages: [LARGE, ...THREE.slice(1)], delete: 'delivered' }),
  scenario('mbox, large', { deliver: mbox, messages: [LARGE, ...THREE.slice(1)], delete: 'delivered' }),
  scenario('Maildir, with a journal that is rewritten', { deliver: maildir, delete: 'never', ballast: 1100 }),
];
