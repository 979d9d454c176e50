/** Config files in a directory of their own, loaded with nothing of the real environment. */
import { chmod, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Account, Config } from '../../src/config/account.js';
import { loadConfig, type LoadOptions } from '../../src/config/load.js';
import { ConfigError, renderProblem } from '../../src/config/problems.js';

/** The user the tests run as. */
export const UID = process.getuid?.() ?? 0;

export class ConfigHome {
  private constructor(readonly home: string) {}

  static async create(): Promise<ConfigHome> {
    return new ConfigHome(await realpath(await mkdtemp(join(tmpdir(), 'popfetch-config-'))));
  }

  /** What a load gets unless told otherwise: no environment, this home, an empty current directory. */
  get options(): LoadOptions {
    return { env: {}, home: this.home, uid: UID, cwd: this.path('cwd'), system: this.path('etc/popfetch') };
  }

  path(...parts: readonly string[]): string {
    return join(this.home, ...parts);
  }

  /** Writes a file, 0600 unless told, with the directories it needs. */
  async write(name: string, text: string | Buffer, mode = 0o600): Promise<string> {
    const file = this.path(name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
    await chmod(file, mode);
    return file;
  }

  /** Writes `text` and loads it by name. */
  async load(text: string, name = 'config.yaml', options: Partial<LoadOptions> = {}): Promise<Config> {
    const file = await this.write(name, text);
    return loadConfig({ ...this.options, ...options, file });
  }

  /** The one account of a config with that account. */
  async account(fields: object, options: Partial<LoadOptions> = {}): Promise<Account> {
    const { accounts } = await this.load(JSON.stringify(oneAccount(fields)), 'config.json', options);
    const [account] = accounts;
    if (account === undefined) throw new Error('no account was loaded');
    return account;
  }

  /** What is wrong with a config, a line each, without the directory of the file. */
  async problems(text: string, name = 'config.yaml', options: Partial<LoadOptions> = {}): Promise<string[]> {
    const error = await caught(this.load(text, name, options));
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map((problem) => renderProblem(problem).replace(`${this.home}/`, ''));
  }

  /** What is wrong with one account of which only these fields are not as they should be. */
  async faults(fields: object, options: Partial<LoadOptions> = {}): Promise<string[]> {
    const lines = await this.problems(JSON.stringify(oneAccount(fields)), 'config.json', options);
    return lines.map((line) => line.replace('config.json:1: accounts.work', ''));
  }

  async remove(): Promise<void> {
    await rm(this.home, { recursive: true, force: true });
  }
}

/** A config of one right account with `fields` changed; undefined leaves one out. */
export function oneAccount(fields: object = {}): object {
  const right = { host: 'pop.example.com', user: 'taro', password: { env: 'PW' }, deliver: 'stdout' };
  return { accounts: { work: { ...right, ...fields } } };
}

/** What a promise rejects with; throws when it does not. */
export async function caught(promise: Promise<unknown>): Promise<unknown> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ('error' in outcome) return outcome.error;
  throw new Error(`expected a failure, got ${JSON.stringify(outcome.value)}`);
}
