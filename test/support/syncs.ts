/** Finds every call in the source that syncs something, and builds the code without one of them. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';
import ts from 'typescript';
import type { Disk } from '../../src/disk.js';
import { CALLS, callsOver, type Calls } from './weak-disk-calls.js';
import type { System } from './weak-disk-runs.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Where what is stored is made durable. */
const PLACES = ['src/deliver', 'src/seen', 'src/disk.ts'];

/** One call that waits for stable storage. */
export interface Sync {
  /** From the root of the project. */
  readonly file: string;
  readonly line: number;
  /** The name of what it stands in. */
  readonly within: string;
  /** As it is written. */
  readonly text: string;
  readonly start: number;
  readonly end: number;
  /** 1 for the first of its text in what it stands in. */
  readonly nth: number;
}

/** `deliver/maildir.ts #write: file.sync()`: one name for one call, as long as the code around it stays. */
export function nameOf({ file, within, text, nth }: Sync): string {
  return `${file.replace(/^src\//, '')} ${within}: ${text}${nth === 1 ? '' : ` (${nth})`}`;
}

/** All of them, in the order of the files. */
export function findSyncs(): Sync[] {
  const files = PLACES.flatMap((place) =>
    place.endsWith('.ts')
      ? [place]
      : readdirSync(join(ROOT, place), { recursive: true, encoding: 'utf8' })
          .filter((name) => name.endsWith('.ts'))
          .sort()
          .map((name) => `${place}/${name}`),
  );
  return files.flatMap(syncsIn);
}

function syncsIn(file: string): Sync[] {
  const source = ts.createSourceFile(
    file,
    readFileSync(join(ROOT, file), 'utf8'),
    ts.ScriptTarget.ES2022,
    true,
  );
  const found: Sync[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^#?(data)?sync/.test(calleeOf(node.expression))) {
      const start = node.getStart();
      const { line } = source.getLineAndCharacterOfPosition(start);
      const text = node.getText().replace(/\s+/g, ' ');
      const within = placeOf(node);
      const nth = 1 + found.filter((each) => each.within === within && each.text === text).length;
      found.push({ file, line: line + 1, within, text, start, end: node.getEnd(), nth });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function calleeOf(callee: ts.Expression): string {
  if (ts.isPropertyAccessExpression(callee) || ts.isIdentifier(callee)) {
    return ts.isIdentifier(callee) ? callee.text : callee.name.text;
  }
  return '';
}

/** The function or method around a node. */
function placeOf(node: ts.Node): string {
  for (let at = node.parent; !ts.isSourceFile(at); at = at.parent) {
    if (ts.isMethodDeclaration(at) || ts.isFunctionDeclaration(at)) return at.name?.getText() ?? '';
  }
  return '';
}

/** The code under test, built from the source. */
export interface Built extends System {
  /** The same on its own disk, which makes its calls on the weak one. */
  readonly onItsDisk: System;
}

const ENTRY = `
export { openSeen } from './src/seen/seen.ts';
export { openDestination } from './src/deliver/index.ts';
export { runAccount } from './src/account/account.ts';
export { identify } from './src/account/identify.ts';
export { Tally } from './src/account/parts.ts';
export { mailboxTag, messageKey } from './src/identity.ts';
export { nodeDisk } from './src/disk.ts';
export { use } from 'node:fs/promises';
`;

/** In the place of node:fs/promises: its calls go to whatever is in use. */
const CALLS_MODULE = [
  'let calls; export const use = (those) => { calls = those; };',
  ...CALLS.map((name) => `export const ${name} = (...given) => calls.${name}(...given);`),
].join('\n');

/** Builds the code, without the given sync where there is one: a promise that is kept at once stands there. */
export async function builtWithout(sync: Sync | undefined): Promise<Built> {
  const { outputFiles } = await build({
    stdin: { contents: ENTRY, resolveDir: ROOT, loader: 'ts' },
    ...{
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20.19',
      write: false,
      logLevel: 'error',
    },
    external: ['fs-native-extensions', 'typescript'],
    plugins: [withoutSync(sync), weakCalls],
  });
  // Beside the tests, where the packages that stay outside are found.
  const directory = await mkdtemp(join(ROOT, 'node_modules', '.popfetch-built-'));
  try {
    const path = join(directory, 'built.mjs');
    writeFileSync(path, outputFiles[0]!.text);
    return systemOf((await import(/* @vite-ignore */ pathToFileURL(path).href)) as BuiltModule);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

interface BuiltModule extends System {
  readonly nodeDisk: Disk;
  readonly use: (calls: Calls) => void;
}

function systemOf(module: BuiltModule): Built {
  const { openSeen, openDestination, runAccount, identify, Tally, mailboxTag, messageKey } = module;
  const system = { openSeen, openDestination, runAccount, identify, Tally, mailboxTag, messageKey };
  const onItsDisk: System = {
    ...system,
    diskOver: (disk) => {
      module.use(callsOver(disk));
      return module.nodeDisk;
    },
  };
  return { ...system, onItsDisk };
}

function withoutSync(sync: Sync | undefined): Plugin {
  return {
    name: 'without-sync',
    setup(on) {
      on.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        if (relative(ROOT, path) !== sync?.file) return undefined;
        const text = readFileSync(path, 'utf8');
        const contents = `${text.slice(0, sync.start)}Promise.resolve()${text.slice(sync.end)}`;
        return { contents, loader: 'ts' };
      });
    },
  };
}

const weakCalls: Plugin = {
  name: 'weak-calls',
  setup(on) {
    on.onResolve({ filter: /^node:fs\/promises$/ }, ({ path, importer }) =>
      // Other files look at what has nothing to do with mail: programs on PATH, certificates.
      /^src\/(?!disk\.ts)/.test(relative(ROOT, importer)) ? undefined : { path, namespace: 'weak-calls' },
    );
    on.onLoad({ filter: /.*/, namespace: 'weak-calls' }, () => ({ contents: CALLS_MODULE, loader: 'js' }));
  },
};
