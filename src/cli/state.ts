/** `popfetch state …`: looking at the memory, and changing it on purpose. What it says of a message decides what a fetch does. */
import { nearest } from '../config/problems.js';
import { PopfetchError } from '../errors.js';
import { printable } from '../escape.js';
import type { Context } from './context.js';
import type { Request } from './request.js';

type Part = (request: Request, context: Context) => Promise<number>;

interface Word {
  /** Loads its code only when it is asked for. */
  readonly load: () => Promise<Part>;
  /** How many words it takes. */
  readonly takes: number;
  /** Whether it takes --all. */
  readonly all: boolean;
}

const WORDS: Readonly<Record<string, Word>> = {
  list: { load: async () => (await import('./statelist.js')).list, takes: 0, all: false },
  forget: { load: async () => (await import('./stateforget.js')).forget, takes: Infinity, all: true },
  'mark-seen': { load: async () => (await import('./statemark.js')).markSeen, takes: Infinity, all: true },
  rebuild: { load: async () => (await import('./staterebuild.js')).rebuild, takes: 0, all: false },
  export: { load: async () => (await import('./statetransfer.js')).exportState, takes: 0, all: false },
  import: { load: async () => (await import('./statetransfer.js')).importState, takes: 1, all: false },
};

/** @throws USAGE for a word that is not known or does not take what stands behind it, and what the words throw */
export async function state(request: Request, context: Context): Promise<number> {
  const [word = '', ...words] = request.words;
  const found = Object.hasOwn(WORDS, word) ? WORDS[word] : undefined;
  if (found === undefined) throw unknownWord(word);
  const [extra] = words.slice(found.takes);
  if (extra !== undefined) throw usage(`state ${word} does not take "${printable(extra, 60)}"`);
  if (request.flags.all && !found.all) throw usage(`state ${word} does not take --all`);
  if (found.all && request.flags.all === words.length > 0) {
    const what = request.flags.all ? 'takes UIDs or --all, not both' : 'needs UIDs, or --all';
    throw usage(`state ${word} ${what}`);
  }
  const part = await found.load();
  return part({ ...request, words }, context);
}

function unknownWord(word: string): PopfetchError {
  const meant = nearest(word, Object.keys(WORDS));
  const remedy = meant === undefined ? 'popfetch state shows what it takes' : `did you mean ${meant}?`;
  return new PopfetchError('USAGE', `state knows nothing of "${printable(word, 60)}"`, { remedy });
}

function usage(sentence: string): PopfetchError {
  return new PopfetchError('USAGE', sentence, { remedy: 'see popfetch state --help' });
}
