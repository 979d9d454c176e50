/** Keeps the results of long runs in `RESULTS.md`, one section for each program. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

const FILE = fileURLToPath(new URL('RESULTS.md', import.meta.url));
const TITLE =
  '# What the long runs came to\n\nEach section is written by the program that it names, with `--record`.\n';

/** Puts these lines into a section of the file, in place of what it held; other sections stay as they are. */
export function record(section: string, lines: readonly string[], file = FILE): void {
  const heading = `## ${section}\n`;
  const [title = TITLE, ...sections] = textOf(file).split(/^(?=## )/m);
  const fresh = `${heading}\n${lines.join('\n')}\n`;
  const at = sections.findIndex((each) => each.startsWith(heading));
  sections.splice(at < 0 ? sections.length : at, 1, fresh);
  writeFileSync(file, [title, ...sections].map((part) => `${part.trimEnd()}\n`).join('\n'));
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return TITLE;
    throw error;
  }
}

/** Lines that say when, of which commit, where and by which command something was measured. */
export function circumstances(command: string): string[] {
  const changed = said('git', 'status', '--porcelain', '--untracked-files=no') === '' ? '' : ', with changes';
  const kernel = `${process.platform} ${release()}`;
  return [
    `- Date: ${new Date().toISOString().slice(0, 10)}`,
    `- Commit: ${said('git', 'rev-parse', '--short', 'HEAD')}${changed}`,
    `- Machine: ${cpus().length} cores, ${kernel}, ${fileSystem()}, Node ${process.version}`,
    `- Command: \`${command}\``,
  ];
}

/** Of the directory where runs have their homes. */
function fileSystem(): string {
  const name = said('stat', '-f', '-c', '%T', tmpdir());
  return name === '' ? 'unknown file system' : name;
}

/** What a command says; nothing where it fails. */
function said(program: string, ...args: readonly string[]): string {
  try {
    const cwd = fileURLToPath(new URL('.', import.meta.url));
    return execFileSync(program, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return '';
  }
}
