/** popfetch on a real terminal, with somebody who types: `script` of util-linux lends the terminal. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Sandbox } from './sandbox.js';

const PROGRAM = fileURLToPath(new URL('../../bin/popfetch.js', import.meta.url));

/** Whether there is a `script` as util-linux has it. */
export function hasTerminal(): boolean {
  const { error, stdout } = spawnSync('script', ['--version'], { encoding: 'utf8' });
  return error === undefined && stdout.includes('util-linux');
}

/** One thing to type, once this has been shown since the last. */
export type Typed = readonly [shown: string, keys: string];

/** What a run on a terminal came to. */
export interface Session {
  readonly code: number | null;
  /** All that the terminal showed, CR LF as LF. */
  readonly shown: string;
}

/** Runs `popfetch ARGS` on a terminal. Stdin and stderr, and stdout, are that. */
export async function onTerminal(
  { home, config, state, runtime, work }: Sandbox,
  args: readonly string[],
  typing: readonly Typed[],
  env: NodeJS.ProcessEnv = {},
): Promise<Session> {
  const command = [process.execPath, PROGRAM, ...args].map((word) => `'${word}'`).join(' ');
  const child = spawn('script', ['-qefc', `exec ${command}`, '/dev/null'], {
    cwd: work,
    env: {
      ...{ PATH: process.env['PATH'], HOME: home, SHELL: '/bin/sh', TERM: 'xterm', CI: '' },
      ...{ XDG_CONFIG_HOME: config, XDG_STATE_HOME: state, XDG_RUNTIME_DIR: runtime, ...env },
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const left = [...typing];
  let shown = '';
  let answered = 0;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
    const [next] = left;
    if (next === undefined || !shown.slice(answered).includes(next[0])) return;
    left.shift();
    answered = shown.length;
    child.stdin.write(next[1]);
  });
  child.stdin.on('error', () => undefined);
  const timer = setTimeout(() => child.kill('SIGKILL'), 25_000);
  const [code] = (await once(child, 'close')) as [number | null];
  clearTimeout(timer);
  return { code, shown: shown.replaceAll('\r\n', '\n') };
}
