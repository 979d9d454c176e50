/** The password of every test account, and where it may not be: in nothing that is said, written, or shown of a process. */
import { readFileSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** With what JSON, YAML, base64 and URLs each write in their own way. */
export const PASSWORD = 'hi"mi\\tsu & 100%/+=';

/** Octets up to which a file is looked through; only a message can be larger, and a test has made that. */
const LOOKED_THROUGH = 64 * 1024 * 1024;

/** Milliseconds between two looks at the processes of a run. */
const LOOK = 40;

/** Every form in which a password could be found, base64 also as a part of something longer. */
export function formsOfSecret(password: string): string[] {
  const bytes = Buffer.from(password);
  const inBase64 = [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes])
      .toString('base64')
      .replace(/=+$/, '');
    // The characters at either end depend on the neighbours, too.
    return text.slice(before === 0 ? 0 : before + 1, -1);
  });
  const hex = bytes.toString('hex');
  const forms = [password, JSON.stringify(password).slice(1, -1), encodeURIComponent(password)];
  return [
    ...new Set([...forms, ...inBase64, bytes.toString('base64url').slice(0, -1), hex, hex.toUpperCase()]),
  ];
}

/** Looks for passwords in whatever one home has seen. */
export class Watch {
  readonly #forms = new Set<string>(formsOfSecret(PASSWORD));
  /** What has been found so far. */
  readonly #slips: string[] = [];

  /** One more secret that must not turn up anywhere. */
  keepSecret(password: string): void {
    for (const form of formsOfSecret(password)) this.#forms.add(form);
  }

  /** Looks at octets. Says nothing yet. */
  see(octets: Buffer | string, where: string): void {
    const form = [...this.#forms].find((each) => octets.includes(each));
    if (form !== undefined) this.#slips.push(`the password is in ${where}, as ${form}`);
  }

  /**
   * Looks at a process and its children until the returned function is called: at how each was called, and at what the
   * children find in their environment. That of the process itself is the business of whoever started it.
   */
  follow(pid: number): () => void {
    const look = (): void => {
      const own = procText(pid, 'cmdline');
      this.see(own, 'the process list');
      for (const child of procText(pid, `task/${pid}/children`).split(' ').filter(Number)) {
        const called = procText(Number(child), 'cmdline');
        const environ = procText(Number(child), 'environ');
        // Until it is a program of its own, a child is its parent over again, environment and all.
        if (called === own || called !== procText(Number(child), 'cmdline')) continue;
        this.see(called, 'the process list, of a child');
        this.see(environ, 'the environment of a child');
      }
    };
    const timer = setInterval(look, LOOK);
    return () => {
      clearInterval(timer);
    };
  }

  /** Looks at every file below a directory, names included, but for what is below `except`. */
  async walk(directory: string, except: string): Promise<void> {
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (path === except) continue;
      this.see(entry.name, 'a file name');
      if (entry.isDirectory()) await this.walk(path, except);
      else if (entry.isFile() && (await stat(path)).size < LOOKED_THROUGH)
        this.see(await readFile(path), path);
    }
  }

  /** @throws Error where a password was found */
  verdict(): void {
    if (this.#slips.length > 0) throw new Error(this.#slips.join('; '));
  }
}

/** A file of a process; empty where the process has gone, or there are no such files. */
function procText(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch {
    return '';
  }
}
