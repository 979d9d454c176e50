/** Durations and sizes as people write them, to milliseconds and octets and back. Pure; no imports. */

/** `500ms`, `90s`, `5m`, `1h`, `30d`: a whole number and one unit. */
export const DURATION = /^(\d{1,12})(ms|s|m|h|d)$/;

/** `20MiB`, `256KiB`, `1GiB` (1024), `20MB`, `5KB`, `1GB` (1000), `100B`, or a whole number of octets; any letter case. */
export const SIZE = /^(\d{1,15})([kKmMgG][iI]?[bB]|[bB])?$/;

const MILLISECONDS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

const OCTETS = {
  gib: 1024 ** 3,
  mib: 1024 ** 2,
  kib: 1024,
  gb: 1000 ** 3,
  mb: 1000 ** 2,
  kb: 1000,
  b: 1,
} as const;

/** Milliseconds of a duration such as `90s`; undefined when it is not one, or too large to count exactly. */
export function parseDuration(text: string): number | undefined {
  const [, count, unit] = DURATION.exec(text) ?? [];
  if (count === undefined || unit === undefined) return undefined;
  return exact(Number(count) * MILLISECONDS[unit as keyof typeof MILLISECONDS]);
}

/** Octets of a size such as `20MiB`; undefined when it is not one, or too large to count exactly. */
export function parseSize(text: string): number | undefined {
  const [, count, unit = 'b'] = SIZE.exec(text) ?? [];
  if (count === undefined) return undefined;
  return exact(Number(count) * OCTETS[unit.toLowerCase() as keyof typeof OCTETS]);
}

/**
 * Writes milliseconds so that {@link parseDuration} reads the same number back: in the largest unit of which there
 * are at least two (`60s`, not `1m`), because a limit reads best in the unit it is felt in.
 */
export function formatDuration(milliseconds: number): string {
  for (const unit of ['d', 'h', 'm'] as const) {
    const size = MILLISECONDS[unit];
    if (milliseconds % size === 0 && milliseconds >= 2 * size) return `${milliseconds / size}${unit}`;
  }
  return milliseconds % 1000 === 0 ? `${milliseconds / 1000}s` : `${milliseconds}ms`;
}

/** Writes octets so that {@link parseSize} reads the same number back: `256MiB`, `20MB`, `1000001B`. */
export function formatSize(octets: number): string {
  for (const unit of ['GiB', 'MiB', 'KiB', 'GB', 'MB', 'KB'] as const) {
    const size = OCTETS[unit.toLowerCase() as keyof typeof OCTETS];
    if (octets > 0 && octets % size === 0) return `${octets / size}${unit}`;
  }
  return `${octets}B`;
}

function exact(value: number): number | undefined {
  return Number.isSafeInteger(value) ? value : undefined;
}
