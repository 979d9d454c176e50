/** What a value of a config has to be like beyond its type. Pure. */
import { HOST } from './expected.js';
import type { Expanded } from './paths.js';

/** Whether one key is set and no other. */
export function holdsOne(value: object): boolean {
  return Object.values(value).filter((each) => each !== undefined).length === 1;
}

/** One destination, with what belongs to it: `recipient` goes with `lmtp` and with nothing else. */
export function namesOne({
  recipient,
  ...places
}: {
  readonly lmtp?: unknown;
  readonly recipient?: unknown;
}): boolean {
  return holdsOne(places) && (places.lmtp === undefined) === (recipient === undefined);
}

/** A fingerprint without its prefix and colons, lower case. */
export function plainHex(pin: string): string {
  return pin.slice('sha256:'.length).replaceAll(':', '').toLowerCase();
}

/** HOST:PORT as it is, or a path of a socket, made absolute; undefined for what is neither. */
export function lmtpPlace(text: string, expand: (text: string) => Expanded): string | undefined {
  const [, bracketed, name, port] = /^(?:\[([^\]]+)\]|([^:/]+)):(\d{1,5})$/.exec(text) ?? [];
  if (port === undefined && /^[/~$.]/.test(text)) {
    const expanded = expand(text);
    return 'path' in expanded ? expanded.path : undefined;
  }
  return HOST.test(bracketed ?? name ?? '') && Number(port) >= 1 && Number(port) <= 65_535 ? text : undefined;
}
