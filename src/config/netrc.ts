/** The netrc format: which password a file has for a user of a host. Pure. */

/** A file that cannot be read for certain; `line` is 1-based. */
export class NetrcFault extends Error {
  constructor(readonly line: number) {
    super(`a quote on line ${line} does not end`);
  }
}

interface Entry {
  /** Of every host, in an entry `default`. */
  readonly machine: string | undefined;
  login?: string | undefined;
  password?: string | undefined;
}

/**
 * The password of the first entry for this host, or `default`, that names this user or nobody; undefined where there is
 * none. Hosts are compared without regard to case. A word may stand in quotes, and a backslash takes away what the next
 * character would mean; where a key belongs, `#` begins a comment. Macros and unknown keys are passed over.
 * @throws NetrcFault for a quote that does not end on its line
 */
export function netrcPassword(text: string, host: string, user: string): string | undefined {
  const wanted = host.toLowerCase();
  const entry = entries(new Words(text)).find(
    ({ machine, login, password }) =>
      (machine === undefined || machine.toLowerCase() === wanted) &&
      (login === undefined || login === user) &&
      password !== undefined,
  );
  return entry?.password;
}

function entries(words: Words): Entry[] {
  const found: Entry[] = [];
  for (let key = words.next(); key !== undefined; key = words.next()) {
    const entry = found.at(-1);
    if (key.startsWith('#')) words.skip(LINE);
    else if (key === 'default') found.push({ machine: undefined });
    else if (key === 'machine') found.push({ machine: words.next() ?? '' });
    else if (key === 'macdef') words.skip(MACRO);
    else if (key === 'account') words.next();
    else if (key === 'login') assign(entry, { login: words.next() });
    else if (key === 'password' || key === 'passwd') assign(entry, { password: words.next() });
  }
  return found;
}

/** What stands before the first entry belongs to nobody. */
function assign(entry: Entry | undefined, values: Partial<Entry>): void {
  if (entry !== undefined) Object.assign(entry, values);
}

const BLANKS = /[ \t\r\n]*/y;
const QUOTED = /"((?:[^"\\\n]|\\[^\n])*)"/y;
const BARE = /(?:\\[^\n]|[^ \t\r\n])+/y;
/** To the end of the line. */
const LINE = /[^\n]*/y;
/** To the first empty line, which ends a macro, or to the end. */
const MACRO = /[^]*?(?:\n\r?\n|$)/y;

/** The words of a text, one after the other. */
class Words {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** undefined at the end. @throws NetrcFault */
  next(): string | undefined {
    this.skip(BLANKS);
    const isQuoted = this.#text[this.#at] === '"';
    const found = this.#match(isQuoted ? QUOTED : BARE);
    if (found === null && isQuoted) throw new NetrcFault(this.#text.slice(0, this.#at).split('\n').length);
    return (found?.[1] ?? found?.[0])?.replace(/\\(.)/gs, '$1');
  }

  skip(what: RegExp): void {
    this.#match(what);
  }

  #match(what: RegExp): RegExpExecArray | null {
    what.lastIndex = this.#at;
    const found = what.exec(this.#text);
    if (found !== null) this.#at = what.lastIndex;
    return found;
  }
}
