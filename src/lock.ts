/**
 * Kernel locks on open files. They are open-file-description locks over the whole file: gone when the file is closed
 * or its process dies, in conflict with fcntl and lockf locks of other programs and with every other descriptor of
 * this one.
 */
import { createRequire } from 'node:module';
import { PopfetchError } from './errors.js';

interface NativeLocks {
  tryLock(fd: number): boolean;
  unlock(fd: number): void;
}

let native: NativeLocks | undefined;

/**
 * Takes the exclusive lock on an open, writable file, without waiting.
 * @returns false when another descriptor or process holds it.
 * @throws PopfetchError STATE where this platform has no such locks; Node's own error (ENOLCK, EBADF, …) otherwise.
 */
export function tryLock(fd: number): boolean {
  return load().tryLock(fd);
}

/** Gives the lock back before the file is closed. Harmless when it is not held. */
export function unlock(fd: number): void {
  load().unlock(fd);
}

/** Loaded at the first lock: a run that locks nothing does not pay for a native module. */
function load(): NativeLocks {
  if (native !== undefined) return native;
  try {
    native = createRequire(import.meta.url)('fs-native-extensions') as NativeLocks;
  } catch (cause) {
    throw new PopfetchError(
      'STATE',
      'the package fs-native-extensions, which locks files, cannot be loaded',
      {
        remedy: 'install popfetch again on this machine; it needs Linux or macOS on x64 or arm64',
        cause,
      },
    );
  }
  return native;
}
