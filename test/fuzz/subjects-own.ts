/** Readers of what popfetch, or the person who uses it, has written: memory, config, and what is shown of it all. */
import { jsonFault } from '../../src/config/json.js';
import { expand } from '../../src/config/paths.js';
import { resolve } from '../../src/config/resolve.js';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.js';
import { yamlLines } from '../../src/config/yaml.js';
import { PopfetchError } from '../../src/errors.js';
import { printable, readable, shellWord } from '../../src/escape.js';
import { messageKey } from '../../src/identity.js';
import { cut, width } from '../../src/report/columns.js';
import { toJson } from '../../src/report/sentences.js';
import { encodeWrite, parseJournal, WholeLines, type JournalRecord } from '../../src/seen/journal.js';
import { parseExport } from '../../src/seen/transfer.js';
import { must, same, type Subject } from './subject.js';

const JOURNAL = encodeWrite(
  [
    { verb: 'POPFETCH', fields: ['1', 'pop.example.com', '995', 'taro'] },
    { verb: 'DONE', fields: ['uid with blank', '1'] },
  ],
  1,
);

function parsed(text: string): readonly JournalRecord[] | undefined {
  try {
    const { records, length } = parseJournal(text, 'journal');
    must(length <= text.length, 'no more than there is');
    return records;
  } catch (error) {
    if (error instanceof PopfetchError && error.code === 'STATE') return undefined;
    throw error;
  }
}

const journal: Subject = {
  name: 'journal',
  corpus: [JOURNAL, `${JOURNAL}${encodeWrite([{ verb: 'GONE', fields: ['x', ''] }], 3)}`, 'a b c'],
  check(text, by) {
    const records = parsed(text);
    const whole: JournalRecord[] = [];
    const lines = new WholeLines((record) => whole.push(record));
    lines.push(Buffer.from(text, 'latin1'));
    lines.end();
    if (records !== undefined) same(whole.slice(0, records.length), records, 'whole lines');
    const fields = text.slice(0, 300).split(' ').slice(0, 8);
    const own = encodeWrite([{ verb: 'DONE', fields }], 3);
    must(/^[!-~ ]+\n$/.test(own), 'a record is one line of ASCII');
    const both = JOURNAL + own;
    same(parsed(both)?.[2]?.fields, fields, 'what was written');
    const torn = both.slice(0, by.between(0, both.length - 1));
    must((parsed(torn)?.length ?? 9) <= 2, 'what was torn is not believed');
  },
};

const units: Subject = {
  name: 'durations and sizes',
  corpus: ['90s', '30d', '500ms', '20MiB', '256KiB', '1GB', '0', '999999999999999', '1h'],
  check(text) {
    const duration = parseDuration(text);
    must(duration === undefined || Number.isSafeInteger(duration), 'a duration can be counted');
    if (duration !== undefined) same(parseDuration(formatDuration(duration)), duration, 'a duration');
    const size = parseSize(text);
    must(size === undefined || Number.isSafeInteger(size), 'a size can be counted');
    if (size !== undefined) same(parseSize(formatSize(size)), size, 'a size');
  },
};

const CONFIG = JSON.stringify({
  accounts: {
    work: { host: 'a.example', user: 'taro', password: 'x', deliver: { maildir: '~/Mail' }, limit: 3 },
  },
});

const config: Subject = {
  name: 'config',
  corpus: [
    CONFIG,
    '{"a":1,"a":2}',
    '[1,2.5e3,"\\u0041",null,true]',
    '{"__proto__":{"x":1},"parallel":"4"}',
    '$HOME/x',
    '~/${X}',
  ],
  check(text) {
    const fault = jsonFault(text);
    let raw: unknown;
    let valid = true;
    try {
      raw = JSON.parse(text);
    } catch {
      valid = false;
    }
    must(fault !== undefined || valid, 'a text without a fault is JSON');
    must(fault === undefined || (fault.offset >= 0 && fault.offset <= text.length), 'a fault is somewhere');
    if (valid) {
      resolve(raw, { file: '/home/taro/config.json', env: { HOME: '/home/taro' }, home: '/home/taro' });
      must(!('x' in {}), 'nothing gets into the prototype of all objects');
    }
    yamlLines(text.slice(0, 300))(['accounts', 'work', 'host']);
    const expanded = expand(text, { env: { HOME: '/home/taro' }, home: '/home/taro', directory: '/etc' });
    must(!('path' in expanded) || (expanded.path.startsWith('/') && !/[\r\n]/.test(expanded.path)), 'a path');
  },
};

/** `printable` the other way round. */
function unescaped(text: string): string {
  return text.replace(
    /\\(?:x([0-9a-f]{2})|u\{([0-9a-f]+)\}|(.))/g,
    (_, octet?: string, code?: string, name = '') => {
      const hex = octet ?? code;
      if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
      return { n: '\n', r: '\r', t: '\t' }[name as string] ?? String(name);
    },
  );
}

const STEERS = /[\p{Cc}\p{Cs}\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/u;

const shown: Subject = {
  name: 'what is shown',
  corpus: [
    '\x1b[2J\x9b31m',
    '\xe2\x80\xaeabc',
    'plain',
    'tab\tand\r\nend',
    '\xf0\x9f\x98\x80\xed\xa0\x80',
    "it's -a $(x)",
  ],
  check(octets, by) {
    const text = by.happens(0.5) ? octets : Buffer.from(octets, 'latin1').toString('utf8');
    const limit = by.pick([10, 1024, 5000]);
    const escaped = printable(text, limit);
    must(/^[ -~]*$/.test(escaped), 'printable is printable');
    must(escaped.length <= 10 * limit + 20, 'no longer than it may be');
    if (text.length <= limit) same(unescaped(escaped), text, 'what is printable');
    must(!STEERS.test(readable(text)), 'readable steers nothing');
    must(!STEERS.test(shellWord(text)), 'a word for the shell steers nothing');
    must(
      /^(?:'(?:[^']|'\\'')*'|[^\s'"$`\\;&|<>()*?[\]{}~#!]+)$/u.test(shellWord(text)),
      'one word for the shell',
    );
    must(width(cut(readable(text), 20)) <= 20, 'no wider than its column');
    const json = toJson({ text });
    must(/^[ -~]*$/.test(json), 'JSON in ASCII');
    same((JSON.parse(json) as { text: string }).text, text, 'JSON');
    must(
      /^[a-z2-7]{26}$/.test(messageKey({ host: 'h', port: 1, user: 'u' }, octets)),
      'a key for file names',
    );
  },
};

const transfer: Subject = {
  name: 'exported memory',
  corpus: [
    '{"popfetch":1,"host":"h","port":995,"user":"u"}\n{"uid":"a","exceeds":3}\n{"uid":"b","reported":true}\n',
    '{"popfetch":2}\n[]\nnull\n',
  ],
  check(text) {
    const { exported, bad } = parseExport(text);
    must(
      bad.every(({ line }) => line >= 1 && line <= text.split('\n').length),
      'a bad line is somewhere',
    );
    must(exported.length <= text.split('\n').length, 'no memory out of nothing');
  },
};

export const OWN: readonly Subject[] = [journal, units, config, shown, transfer];
