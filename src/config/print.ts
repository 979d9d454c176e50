/** A loaded config as a file that would load to the same, without its passwords. */
import type { Account, Config, DestinationConfig, PasswordSource } from './account.js';
import { MASK } from './issues.js';
import { formatDuration, formatSize } from './units.js';

/**
 * Everything a config comes to, in the form of a config file: all defaults filled in, paths absolute, times and sizes
 * as people write them. A password that stands in the file is `********`; where else it comes from is shown.
 */
export function mask(config: Config): object {
  return {
    parallel: config.parallel,
    accounts: Object.fromEntries(config.accounts.map((account) => [account.name, maskAccount(account)])),
  };
}

/** {@link mask} as YAML. */
export async function maskedYaml(config: Config): Promise<string> {
  const { toYaml } = await import('./yaml.js');
  return toYaml(mask(config));
}

function maskAccount(account: Account): object {
  const { host, port, tls, user, auth, insecure, limit, order, eol, identity, timeout, disabled } = account;
  return {
    host,
    port,
    tls: { ...tls, ...(tls.pin === undefined ? {} : { pin: tls.pin.map((hex) => `sha256:${hex}`) }) },
    user,
    ...(account.password === undefined ? {} : { password: maskPassword(account.password) }),
    ...(account.oauth2 === undefined ? {} : { oauth2: account.oauth2 }),
    auth,
    insecure,
    deliver: only(account.deliver.map(maskDestination)),
    ...(account.rejected === undefined ? {} : { rejected: account.rejected }),
    delete: typeof account.delete === 'number' ? formatDuration(account.delete) : account.delete,
    limit,
    maxSize: formatSize(account.maxSize),
    order,
    eol,
    identity,
    timeout: Object.fromEntries(
      Object.entries(timeout).map(([name, value]) => [name, formatDuration(value)]),
    ),
    disabled,
  } satisfies Record<Exclude<keyof Account, 'name' | 'rejected' | 'password' | 'oauth2'>, unknown>;
}

function maskPassword(source: PasswordSource): PasswordSource | string {
  return 'value' in source ? MASK : source;
}

function maskDestination(destination: DestinationConfig): unknown {
  if (destination === 'stdout' || !('lmtp' in destination)) return destination;
  return { ...destination, recipient: only(destination.recipient) };
}

function only<T>(list: readonly T[]): T | readonly T[] {
  const [first, second] = list;
  return first !== undefined && second === undefined ? first : list;
}
