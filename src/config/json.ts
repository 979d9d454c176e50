/** What JSON.parse does not say: where a text stops being JSON, and which key comes twice. Pure. */

/** The first fault of a text: words, and the offset in UTF-16 units. */
export interface JsonFault {
  readonly what: string;
  readonly offset: number;
}

/** Finds the first fault of a JSON text (RFC 8259), a repeated key included; undefined when there is none. */
export function jsonFault(text: string): JsonFault | undefined {
  const scan = new Scan(text);
  try {
    scan.value(0);
    scan.end();
    return undefined;
  } catch (error) {
    if (error instanceof Fault) return { what: error.message, offset: error.offset };
    throw error;
  }
}

class Fault extends Error {
  constructor(
    what: string,
    readonly offset: number,
  ) {
    super(what);
  }
}

const DEEPEST = 100;
const BLANK = /[ \t\r\n]*/y;
// The control characters are the ones that a JSON text may not hold as they are.
// eslint-disable-next-line no-control-regex
const STRING = /"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORD = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])/y;

/** Recursive descent over the grammar; builds nothing. */
class Scan {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): void {
    if (depth > DEEPEST) this.#fail('nested too deeply');
    const sign = this.#peek();
    if (sign === '{') this.#list('}', this.#member(depth));
    else if (sign === '[')
      this.#list(']', () => {
        this.value(depth + 1);
      });
    else if (this.#take(sign === '"' ? STRING : WORD) === undefined) this.#fail();
  }

  end(): void {
    if (this.#peek() !== '') this.#fail();
  }

  /** Reads `"key": value`, each key once. */
  #member(depth: number): () => void {
    const keys = new Set<string>();
    return () => {
      this.#peek();
      const before = this.#at;
      const key = this.#take(STRING) ?? this.#fail();
      const name = JSON.parse(key) as string;
      if (keys.has(name)) throw new Fault('duplicate key', before);
      keys.add(name);
      this.#skip(':');
      this.value(depth + 1);
    };
  }

  #list(closing: '}' | ']', item: () => void): void {
    this.#at += 1;
    if (this.#peek() === closing) {
      this.#at += 1;
      return;
    }
    item();
    while (this.#peek() === ',') {
      this.#at += 1;
      item();
    }
    this.#skip(closing);
  }

  #skip(sign: string): void {
    if (this.#peek() !== sign) this.#fail();
    this.#at += 1;
  }

  /** The next character that is not blank; '' at the end. */
  #peek(): string {
    this.#take(BLANK);
    return this.#text.charAt(this.#at);
  }

  #take(token: RegExp): string | undefined {
    token.lastIndex = this.#at;
    const found = token.exec(this.#text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  #fail(what?: string): never {
    const ended = this.#at >= this.#text.length;
    throw new Fault(what ?? (ended ? 'ends too early' : 'unexpected character'), this.#at);
  }
}
