/** A keyring of the test's own: a D-Bus for nobody else, and on it gnome-keyring, unlocked. */
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { until } from './e2e.js';

const execute = promisify(execFile);

/** Debian's packages. */
export const KEYRING_PACKAGES = 'gnome-keyring dbus';

/** Why there is no keyring to test against; undefined where there is one. */
export function keyringProblem(): string | undefined {
  if (process.platform !== 'linux') return 'this is not Linux';
  try {
    createRequire(import.meta.url).resolve('@napi-rs/keyring');
  } catch {
    return 'the optional package @napi-rs/keyring is not installed';
  }
  return findKeyring() ? undefined : `${KEYRING_PACKAGES} are not installed`;
}

/** Whether the programs are there. */
export function findKeyring(): boolean {
  return ['gnome-keyring-daemon', 'dbus-daemon', 'dbus-send'].every(
    (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined,
  );
}

/** No services that could be started: nobody puts a window on the screen of whoever runs the tests. */
const busConfig = (socket: string): string => `<busconfig>
  <type>session</type>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`;

const SERVICE = 'org.freedesktop.secrets';
const COLLECTION = '/org/freedesktop/secrets/collection/login';

/** Made by {@link KeyringSession.start}, ended by {@link KeyringSession.stop}. */
export class KeyringSession {
  readonly #children: ChildProcess[] = [];

  private constructor(
    /** Where programs find it; XDG_RUNTIME_DIR alone is enough. */
    readonly env: NodeJS.ProcessEnv,
  ) {}

  /** @param home absolute, short: a socket is made in it */
  static async start(home: string): Promise<KeyringSession> {
    const runtime = join(home, 'run');
    await mkdir(runtime, { recursive: true, mode: 0o700 });
    const session = new KeyringSession({
      PATH: process.env['PATH'],
      HOME: home,
      XDG_RUNTIME_DIR: runtime,
      XDG_DATA_HOME: join(home, 'data'),
      XDG_CACHE_HOME: join(home, 'cache'),
    });
    try {
      await session.#begin(runtime);
      return session;
    } catch (error) {
      await session.stop();
      throw error;
    }
  }

  async #begin(runtime: string): Promise<void> {
    const socket = join(runtime, 'bus');
    await writeFile(join(runtime, 'bus.conf'), busConfig(socket));
    const bus = this.#child(
      'dbus-daemon',
      '--nofork',
      '--print-address',
      `--config-file=${runtime}/bus.conf`,
    );
    await once(bus.stdout!, 'data');
    this.env['DBUS_SESSION_BUS_ADDRESS'] = `unix:path=${socket}`;
    const keyring = this.#child('gnome-keyring-daemon', '--foreground', '--unlock', '--components=secrets');
    keyring.stdin!.end('opens it');
    await until(() => this.#hasKeyring(), 'the keyring is on the bus');
    delete this.env['DBUS_SESSION_BUS_ADDRESS'];
  }

  #child(program: string, ...args: readonly string[]): ChildProcess {
    const child = spawn(program, args, { env: { ...this.env }, stdio: ['pipe', 'pipe', 'ignore'] });
    child.on('error', () => undefined);
    this.#children.push(child);
    return child;
  }

  async #hasKeyring(): Promise<boolean> {
    const method = 'org.freedesktop.DBus.NameHasOwner';
    const answer = await this.#send('org.freedesktop.DBus', '/', method, `string:${SERVICE}`);
    return answer.includes('boolean true');
  }

  /** As it is before anybody logs in. */
  async lock(): Promise<void> {
    const method = 'org.freedesktop.Secret.Service.Lock';
    await this.#send(SERVICE, '/org/freedesktop/secrets', method, `array:objpath:${COLLECTION}`);
  }

  async #send(to: string, path: string, method: string, argument: string): Promise<string> {
    const bus = `--bus=unix:path=${this.env['XDG_RUNTIME_DIR'] ?? ''}/bus`;
    const { stdout } = await execute('dbus-send', [
      bus,
      '--print-reply',
      `--dest=${to}`,
      path,
      method,
      argument,
    ]);
    return stdout;
  }

  async stop(): Promise<void> {
    for (const child of this.#children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) continue;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    }
  }
}

/** A bus that takes every connection and never says a word: as good as a keyring that waits for a person. */
export async function silentBus(path: string): Promise<Server & { readonly met: Promise<unknown> }> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    // Read, so that its end is seen: a server only closes when its connections have.
    socket.resume();
  });
  const met = once(server, 'connection');
  server.listen(path);
  await once(server, 'listening');
  return Object.assign(server, { met });
}
