/** The rules of the house, read off the source: who may import whom, and what has one home. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SRC = join(ROOT, 'src');

/** One import, export from or import() of a file. */
interface Arrow {
  readonly from: string;
  /** A file under src/, or a package. */
  readonly to: string;
  /** Gone at run time. */
  readonly typeOnly: boolean;
  readonly names: readonly string[];
}

interface SourceFile {
  readonly name: string;
  readonly text: string;
  readonly lines: number;
  readonly arrows: readonly Arrow[];
  /** Names that are used and belong to nobody: `process.env`, not `context.process`. */
  readonly identifiers: ReadonlySet<string>;
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .sort()
  .map(read);
const arrows = files.flatMap((file) => file.arrows);
const atRunTime = arrows.filter(({ typeOnly }) => !typeOnly);

function read(name: string): SourceFile {
  const text = readFileSync(join(SRC, name), 'utf8');
  const found: Arrow[] = [];
  const identifiers = new Set<string>();
  const add = (specifier: ts.Expression, typeOnly: boolean, names: readonly string[]): void => {
    if (ts.isStringLiteral(specifier))
      found.push({ from: name, to: target(name, specifier.text), typeOnly, names });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, ...importedBy(node.importClause));
    else if (ts.isExportDeclaration(node) && node.moduleSpecifier)
      add(node.moduleSpecifier, ...exportedBy(node));
    else if (ts.isCallExpression(node) && isLoader(node.expression)) add(node.arguments[0]!, false, []);
    else if (ts.isIdentifier(node) && !isMember(node)) identifiers.add(node.text);
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(name, text, ts.ScriptTarget.ES2022, true));
  return { name, text, lines: text.trimEnd().split('\n').length, arrows: found, identifiers };
}

/** `import('x')`, `require('x')`, `createRequire(…)('x')` and `createRequire(…).resolve('x')`. */
function isLoader(callee: ts.Expression): boolean {
  if (callee.kind === ts.SyntaxKind.ImportKeyword) return true;
  if (ts.isCallExpression(callee)) return isLoader(callee.expression);
  if (ts.isPropertyAccessExpression(callee) && ts.isCallExpression(callee.expression)) {
    return callee.name.text === 'resolve' && isLoader(callee.expression);
  }
  return ts.isIdentifier(callee) && ['require', 'createRequire'].includes(callee.text);
}

function importedBy(clause: ts.ImportClause | undefined): [typeOnly: boolean, names: string[]] {
  if (clause === undefined) return [false, []];
  const { name, namedBindings } = clause;
  const elements = namedBindings && ts.isNamedImports(namedBindings) ? [...namedBindings.elements] : [];
  const whole = clause.phaseModifier === ts.SyntaxKind.TypeKeyword;
  const single = name === undefined && elements.length > 0 && elements.every((each) => each.isTypeOnly);
  return [whole || single, elements.map((each) => (each.propertyName ?? each.name).text)];
}

function exportedBy({
  isTypeOnly,
  exportClause,
}: ts.ExportDeclaration): [typeOnly: boolean, names: string[]] {
  const elements = exportClause && ts.isNamedExports(exportClause) ? [...exportClause.elements] : [];
  const types = elements.length > 0 && elements.every((each) => each.isTypeOnly);
  return [isTypeOnly || types, elements.map((each) => (each.propertyName ?? each.name).text)];
}

function isMember(node: ts.Identifier): boolean {
  return ts.isPropertyAccessExpression(node.parent) && node.parent.name === node;
}

function target(from: string, specifier: string): string {
  if (!specifier.startsWith('.')) return specifier;
  return normalize(join(dirname(from), specifier)).replace(/\.js$/, '.ts');
}

const isFile = (to: string): boolean => to.endsWith('.ts');
/** `nodemailer/lib/smtp-connection` is of the package nodemailer. */
const packageOf = (to: string): string => /^(?:@[^/]+\/)?[^/]+/.exec(to)?.[0] ?? to;
const isPackage = (to: string): boolean => !isFile(to) && !to.startsWith('node:');
const shown = ({ from, to }: Arrow): string => `${from} -> ${to}`;

/** A folder, or a file that stands by itself. */
function roomOf(name: string): string {
  return name.includes('/') ? name.slice(0, name.indexOf('/')) : name.replace(/\.ts$/, '');
}

/** What everybody may use: it uses nothing but itself. */
const GROUND = ['errors', 'events', 'escape', 'identity', 'compact', 'disk', 'lock', 'owner', 'program'];

/** By room: the rooms that it may use at run time, and those of which it may know the types. */
const ROOMS: Readonly<
  Record<string, { readonly uses: readonly string[]; readonly knows: readonly string[] }>
> = {
  index: { uses: ['run', 'config', 'deliver', 'pop3'], knows: [] },
  cli: { uses: ['run', 'account', 'config', 'deliver', 'pop3', 'report', 'seen', 'wire'], knows: [] },
  run: { uses: ['account', 'deliver', 'pop3', 'seen'], knows: ['config'] },
  report: { uses: ['config'], knows: ['run'] },
  account: { uses: [], knows: ['config', 'deliver', 'pop3', 'seen'] },
  seen: { uses: [], knows: ['deliver'] },
  deliver: { uses: [], knows: ['config'] },
  pop3: { uses: ['wire'], knows: [] },
  wire: { uses: [], knows: [] },
  config: { uses: [], knows: [] },
  ...Object.fromEntries(GROUND.map((name) => [name, { uses: [], knows: [] }])),
};

/** Arrows that a rule does not foresee, each with its reason. */
const EXCEPTIONS: Readonly<Record<string, string>> = {
  'deliver/lmtpsession.ts -> wire/dial.ts':
    'an LMTP server is reached over a socket, and sockets are for wire/',
  'config/account.ts -> wire/limits.ts':
    'what a server may send and take has its limits in one place; constants',
  'account/identify.ts -> deliver/lines.ts': 'headers are compared by the hash that a delivery records; pure',
};

describe('arrows', () => {
  it('come from files that are there', () => {
    expect(files.length).toBeGreaterThan(50);
    expect(files.map(({ name }) => name)).toContain('run.ts');
    expect(atRunTime.map(shown)).toContain('run.ts -> account/account.ts');
    const names = new Set(files.map(({ name }) => name));
    expect(arrows.filter(({ to }) => isFile(to) && !names.has(to)).map(shown)).toEqual([]);
  });

  it('start in a room of the house', () => {
    expect([...new Set(files.map(({ name }) => roomOf(name)))].sort()).toEqual(Object.keys(ROOMS).sort());
  });

  it('go from room to room in one direction only: bin, cli, run, then the policy and its parts', () => {
    const stray = arrows.filter((arrow) => {
      const [from, to] = [roomOf(arrow.from), roomOf(arrow.to)];
      if (!isFile(arrow.to) || from === to || shown(arrow) in EXCEPTIONS) return false;
      const { uses, knows } = ROOMS[from] ?? { uses: [], knows: [] };
      const allowed = [...GROUND, ...uses, ...(arrow.typeOnly ? knows : [])];
      return !allowed.includes(to);
    });
    expect(stray.map(shown)).toEqual([]);
    expect(Object.keys(EXCEPTIONS).filter((each) => !atRunTime.map(shown).includes(each))).toEqual([]);
  });

  it('never lead back to where they started', () => {
    const next = new Map(files.map((file) => [file.name, file.arrows.map(({ to }) => to).filter(isFile)]));
    const done = new Set<string>();
    const visit = (name: string, path: readonly string[]): void => {
      if (path.includes(name)) throw new Error([...path.slice(path.indexOf(name)), name].join(' -> '));
      if (done.has(name)) return;
      for (const to of next.get(name) ?? []) visit(to, [...path, name]);
      done.add(name);
    };
    for (const { name } of files) visit(name, []);
  });

  it('from the program lead to the command and nowhere else', () => {
    const program = readFileSync(join(ROOT, 'bin', 'popfetch.js'), 'utf8');
    expect(
      [...program.matchAll(/from '([^']+)'|import\('([^']+)'\)/g)].map(([, path, loaded]) => path ?? loaded),
    ).toEqual(['../dist/cli/main.js']);
    expect(program.trim().split('\n').length).toBeLessThan(20);
  });

  it('from the ground lead to the ground', () => {
    const stray = arrows.filter(({ from, to }) => {
      return GROUND.includes(roomOf(from)) && isFile(to) && !GROUND.includes(roomOf(to));
    });
    expect(stray.map(shown)).toEqual([]);
  });
});

describe('packages', () => {
  const used = arrows.filter(({ to }) => isPackage(to));

  it('are each imported by one file, but for what the schema is made of', () => {
    const homes = new Map<string, Set<string>>();
    for (const { from, to } of used) {
      homes.set(packageOf(to), (homes.get(packageOf(to)) ?? new Set()).add(from));
    }
    const several = [...homes].filter(([, from]) => from.size > 1).map(([to, from]) => [to, ...from]);
    expect(several).toEqual([['zod', 'config/elements.ts', 'config/passwordfield.ts', 'config/schema.ts']]);
  });

  it('are those that package.json names, all of them', () => {
    const named = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      dependencies: Record<string, string>;
      optionalDependencies: Record<string, string>;
    };
    expect([...new Set(used.map(({ to }) => packageOf(to)))].sort()).toEqual(
      Object.keys({ ...named.dependencies, ...named.optionalDependencies }).sort(),
    );
  });

  it('of the config stay in it', () => {
    const home = (name: string): string[] => [
      ...new Set(used.filter(({ to }) => to === name).map(({ from }) => roomOf(from))),
    ];
    for (const name of ['zod', 'cosmiconfig', 'yaml', 'smol-toml', '@napi-rs/keyring'])
      expect(home(name), name).toEqual(['config']);
  });
});

describe('what has one home', () => {
  const importing = (...modules: readonly string[]): string[] =>
    arrows
      .filter(({ to }) => modules.includes(to))
      .map(({ from, to, names }) => [from, to, ...[...names].sort()].join(' '))
      .sort();

  it('is the network: sockets are for wire/', () => {
    const outside = importing('node:net', 'node:tls', 'node:dgram', 'node:http', 'node:https').filter(
      (line) => !line.startsWith('wire/'),
    );
    // A type, and a list of certificates: no sockets.
    expect(outside).toEqual([
      'deliver/lmtpsession.ts node:net Socket',
      'pop3/open.ts node:tls rootCertificates',
    ]);
  });

  it('is the process: the command alone knows it, but for its number and other processes', () => {
    const users = files.filter(({ identifiers }) => identifiers.has('process')).map(({ name }) => name);
    expect(users).toEqual(['cli/main.ts']);
    expect(importing('node:process')).toEqual([
      'deliver/dotlock.ts node:process pid',
      'owner.ts node:process getegid geteuid',
      'program.ts node:process execPath kill',
      'seen/runlock.ts node:process pid',
    ]);
    const used = arrows.filter(({ to, typeOnly }) => to === 'node:child_process' && !typeOnly);
    expect(used.map(({ from }) => from)).toEqual(['program.ts']);
  });

  it('is output: nobody has a console', () => {
    expect(files.filter(({ identifiers }) => identifiers.has('console')).map(({ name }) => name)).toEqual([]);
  });

  it('is the disk: what has to be durable goes through one seam', () => {
    const rooms = new Set(['account', 'deliver', 'seen', 'pop3', 'wire']);
    const direct = atRunTime.filter(({ from, to }) => rooms.has(roomOf(from)) && to.startsWith('node:fs'));
    // Authorities are read, and never written.
    expect(direct.map(shown)).toEqual([
      'pop3/open.ts -> node:fs/promises',
      'wire/trust.ts -> node:fs/promises',
    ]);
    const real = arrows.filter(({ to, names }) => to === 'disk.ts' && names.includes('nodeDisk'));
    expect(real.map(({ from }) => roomOf(from)).filter((room) => room !== 'cli' && room !== 'run')).toEqual(
      [],
    );
  });

  it('is a native module: one is loaded by the file that locks, one by the file that asks the keyring', () => {
    expect(importing('node:module').map((line) => line.split(' ')[0])).toEqual([
      'config/keyring.ts',
      'lock.ts',
    ]);
  });
});

it('no file is longer than a person reads at a time', () => {
  expect(
    files.filter(({ lines }) => lines > 350).map(({ name, lines }) => `${name}: ${lines} lines`),
  ).toEqual([]);
});

it('every file begins by saying what it is for', () => {
  expect(files.filter(({ text }) => !text.startsWith('/**')).map(({ name }) => name)).toEqual([]);
});
