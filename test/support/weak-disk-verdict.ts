/** What must be on a weak disk when a run has ended, and what is wrong with it where it is not. */
import { dirname } from 'node:path';
import type { DestinationConfig } from '../../src/config/account.js';
import { toLf } from './messages.js';
import { contentAt, namesIn, type Image } from './weak-disk-model.js';
import { PLACES, uidsOf, type Scenario } from './weak-disk-runs.js';

/** Each message must be there once, at every destination, and nothing else; a sentence for each thing that is wrong. */
export function problemsAtEnd(image: Image, scenario: Scenario): string[] {
  const problems = scenario.deliver.flatMap((config) => [
    ...misplaced(config, image, scenario),
    ...leftoversOf(config, image),
  ]);
  const spooled = namesIn(image, PLACES.spool);
  if (spooled.length > 0) problems.push(`${spooled.join(' ')} left in the spool`);
  return problems;
}

function misplaced(config: DestinationConfig, image: Image, scenario: Scenario): string[] {
  const wanted = wantedIn(config, scenario);
  if (config === 'stdout') return missing(wanted, storedIn(config, image), 'stdout');
  const ours = (each: string): boolean => scenario.strangers?.includes(each) !== true;
  const found = storedIn(config, image).filter(ours).sort().map(shown);
  const all = [...wanted, ...earlierIn(config, scenario)].filter(ours).sort().map(shown);
  if (found.join('\n') === all.join('\n')) return [];
  return [
    `${JSON.stringify(config)} has\n    ${found.join('\n    ')}\n  in place of\n    ${all.join('\n    ')}`,
  ];
}

/** A sentence for each message that the server no longer has and that not every destination has as a whole. */
export function problemsOfLoss(image: Image, left: readonly string[], scenario: Scenario): string[] {
  const gone = uidsOf(scenario).flatMap((uid, index) => (left.includes(uid) ? [] : [index]));
  if (gone.length === 0) return [];
  return scenario.deliver.flatMap((config) => {
    const wanted = wantedIn(config, scenario);
    const lost = gone.map((index) => wanted[index]!);
    return missing(
      lost,
      storedIn(config, image),
      `removed from the server, and in ${JSON.stringify(config)}`,
    );
  });
}

function missing(wanted: readonly string[], found: readonly string[], where: string): string[] {
  return wanted
    .filter((each) => !found.some((text) => text.includes(each)))
    .map((each) => `${where}: not there: ${shown(each)}`);
}

function shown(text: string): string {
  const line = JSON.stringify(text);
  return line.length <= 100 ? line : `${line.slice(0, 100)}… (${text.length} octets)`;
}

/** The messages as this destination should hold them, in their order. */
function wantedIn(config: DestinationConfig, { messages, eol }: Scenario): string[] {
  return messages.map((data) => {
    const text = (eol === 'crlf' ? data : toLf(data)).toString('latin1');
    return typeof config === 'object' && 'mbox' in config
      ? entryOf(text, eol === 'crlf' ? '\r\n' : '\n')
      : text;
  });
}

/** An entry of an mbox behind its `From ` line. */
function entryOf(text: string, end: string): string {
  const quoted = text.replace(/(?<=^|\n)(>*From )/g, '>$1');
  return quoted + (quoted === '' || quoted.endsWith('\n') ? end : end + end);
}

function earlierIn(config: DestinationConfig, { earlier, eol }: Scenario): string[] {
  if (earlier === undefined || typeof config !== 'object' || !('mbox' in config)) return [];
  const missing = earlier.endsWith('\n\n') ? 0 : earlier.endsWith('\n') ? 1 : 2;
  return entriesOf(earlier + (eol === 'crlf' ? '\r\n' : '\n').repeat(missing));
}

function storedIn(config: DestinationConfig, image: Image): string[] {
  if (config === 'stdout') return [contentAt(image, PLACES.stdout)?.toString('latin1') ?? ''];
  if ('mbox' in config) return entriesOf(contentAt(image, config.mbox)?.toString('latin1') ?? '');
  if (!('maildir' in config)) return [];
  const { maildir } = config;
  return ['new', 'cur'].flatMap((folder) =>
    namesIn(image, `${maildir}/${folder}`).map(
      (name) => contentAt(image, `${maildir}/${folder}/${name}`)?.toString('latin1') ?? '',
    ),
  );
}

function entriesOf(text: string): string[] {
  return text
    .split(/(?<=^|\n)From /)
    .map((entry, index) => (index === 0 ? entry : entry.slice(entry.indexOf('\n') + 1)))
    .filter((entry, index) => index > 0 || entry !== '');
}

function leftoversOf(config: DestinationConfig, image: Image): string[] {
  if (config === 'stdout') return [];
  const found =
    'maildir' in config
      ? namesIn(image, `${config.maildir}/tmp`)
      : 'mbox' in config
        ? namesIn(image, dirname(config.mbox)).filter((name) => !config.mbox.endsWith(`/${name}`))
        : [];
  return found.length === 0 ? [] : [`left lying about: ${found.join(' ')}`];
}
