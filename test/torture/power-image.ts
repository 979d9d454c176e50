/**
 * File systems in files, whose power can be cut. Where the kernel can shut a file system down without writing what is
 * in memory, that is done to it; else to the one that its image lies on, so that its device dies under it and what the
 * device had not been told to keep is gone.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { access, mkdir, mkdtemp, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A file system, and how its power is cut. */
export interface Kind {
  readonly name: string;
  readonly mkfs: readonly string[];
  /** Of the image: what its file system needs at least, and the room that popfetch leaves free. */
  readonly mebibytes: number;
  /** Which one is shut down: itself, or the one below. */
  readonly cut: 'itself' | 'its device';
}

const EXT4 = ['mkfs.ext4', '-q', '-F'] as const;

/** Those that are cut. */
export const KINDS: readonly Kind[] = [
  { name: 'ext4', mkfs: EXT4, mebibytes: 256, cut: 'itself' },
  { name: 'xfs', mkfs: ['mkfs.xfs', '-q'], mebibytes: 300, cut: 'itself' },
  { name: 'btrfs', mkfs: ['mkfs.btrfs', '-q'], mebibytes: 256, cut: 'its device' },
  { name: 'ext4 on a dying device', mkfs: EXT4, mebibytes: 256, cut: 'its device' },
];

/** XFS_IOC_GOINGDOWN, which ext4 knows by the same number, with the flag for "write nothing more, the log neither". */
const SHUTDOWN = `
  open(F, '<', $ARGV[0]) or die "$!";
  $| = 1; print "ready\\n"; <STDIN>;
  ioctl(F, 0x8004587d, my $flags = pack('L', 2)) or die "$!";
  print "cut\\n";
`;

/** Why there can be no cuts for this kind here; undefined where there can. */
export async function obstacle({ mkfs }: Kind): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'this is not Linux';
  if (process.getuid?.() !== 0) return 'only root can mount';
  for (const program of [mkfs[0] ?? '', ...EXT4.slice(0, 1), 'perl', 'mount']) {
    if (!(await isInstalled(program))) return `${program} is not installed`;
  }
  const control = await access('/dev/loop-control').then(
    () => true,
    () => false,
  );
  return control ? undefined : 'there are no loop devices';
}

async function isInstalled(program: string): Promise<boolean> {
  try {
    await run('sh', ['-c', 'command -v -- "$0"', program], { env: environment() });
    return true;
  } catch {
    return false;
  }
}

/** A file system in a file, mounted. */
export class Image {
  readonly #directory: string;
  readonly #layers: readonly Layer[];
  #switch: ChildProcess | undefined;

  private constructor(directory: string, layers: readonly Layer[]) {
    this.#directory = directory;
    this.#layers = layers;
  }

  /** Makes one and mounts it. @throws Error where the machine does not allow that; nothing is left then */
  static async make(kind: Kind): Promise<Image> {
    const directory = await mkdtemp(join(tmpdir(), 'popfetch-power-'));
    const top = (below: string): Layer => ({ ...layer(below, 'disk'), kind });
    const ground = layer(directory, 'ground');
    const below = { name: 'ground', mkfs: EXT4, mebibytes: kind.mebibytes + 64, cut: 'itself' } as const;
    const layers =
      kind.cut === 'itself' ? [top(directory)] : [{ ...ground, kind: below }, top(ground.mounted)];
    const image = new Image(directory, layers);
    clearAtExit(image);
    try {
      for (const each of layers) await prepare(each);
      return image;
    } catch (error) {
      await image.remove();
      throw error;
    }
  }

  /** Where it is mounted. */
  get path(): string {
    return this.#layers.at(-1)!.mounted;
  }

  /** Writes everything that is in memory, and gets ready to cut: from then on it is a matter of microseconds. */
  async arm(): Promise<void> {
    await run('sync', ['-f', this.path]);
    this.#switch = spawn('perl', ['-e', SHUTDOWN, this.#layers[0]!.mounted], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(this.#switch.stdout!, 'data');
  }

  /** Cuts the power: what is in memory only is lost, and from here on everything fails. */
  async cut(): Promise<void> {
    const perl = this.#switch;
    if (perl === undefined) throw new Error('arm() comes first');
    this.#switch = undefined;
    const ended = once(perl, 'close');
    perl.stdin!.end('\n');
    const [code] = (await ended) as [number];
    if (code !== 0) throw new Error(`the power could not be cut (${code})`);
  }

  /** Mounts it again, as a machine does that has its power back. No process may use it any more. */
  async restart(): Promise<void> {
    for (const { mounted } of this.#layers.toReversed()) await unmount(mounted);
    for (const { file, mounted } of this.#layers) await mount(file, mounted);
  }

  /** Unmounts and removes it. Never rejects where it is gone already. */
  async remove(): Promise<void> {
    this.#switch?.kill();
    for (const { mounted } of this.#layers.toReversed()) await unmount(mounted).catch(() => undefined);
    this.removeAtOnce();
    images.delete(this);
  }

  /** For the end of the process: what is still mounted comes off, whoever uses it. */
  removeAtOnce(): void {
    for (const { mounted } of this.#layers.toReversed()) {
      try {
        execFileSync('umount', ['-l', mounted], { stdio: 'ignore' });
      } catch {
        // It was not mounted.
      }
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** One image file and where it is mounted; the last one is what the test sees. */
interface Layer {
  readonly file: string;
  readonly mounted: string;
  readonly kind: Kind;
}

function layer(below: string, name: string): Omit<Layer, 'kind'> {
  return { file: join(below, `${name}.img`), mounted: join(below, name) };
}

async function prepare({ file, mounted, kind }: Layer): Promise<void> {
  await writeFile(file, '');
  await truncate(file, kind.mebibytes * 1024 * 1024);
  const [program, ...args] = kind.mkfs;
  await run(program ?? '', [...args, file], { env: environment() });
  await mkdir(mounted);
  await mount(file, mounted);
}

async function mount(file: string, mounted: string): Promise<void> {
  await run('mount', ['-o', 'loop', file, mounted], { env: environment() });
}

/** The kernel may need a moment until nobody uses it any more. */
async function unmount(mounted: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await run('umount', [mounted], { env: environment() });
      return;
    } catch (error) {
      if (attempt === 20 || !String(error).includes('busy')) throw error;
      await sleep(50);
    }
  }
}

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' };
}

const images = new Set<Image>();

function clearAtExit(image: Image): void {
  if (images.size === 0) {
    process.once('exit', () => {
      for (const each of images) each.removeAtOnce();
    });
  }
  images.add(image);
}
