/** From what stands in a file to complete accounts: defaults, and every rule that concerns more than one field. */
import { dirname } from 'node:path';
import { DEFAULTS, PORTS, type Account, type Config } from './account.js';
import { contradictions, sharedMailboxes } from './contradictions.js';
import { expand } from './paths.js';
import type { Finding, Path } from './problems.js';
import { checks, type Fields } from './schema.js';

/** What a file is resolved against. */
export interface Surroundings {
  /** Absolute path of the file. */
  readonly file: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
}

/** The config, or everything that is wrong with it; never both. */
export type Resolved = { readonly config: Config } | { readonly findings: readonly Finding[] };

/** The fields without a default, and what belongs there. */
const REQUIRED = {
  host: 'a host name or an address',
  user: 'the user name',
  deliver: 'where mail goes, such as {maildir: ~/Mail}',
} as const satisfies Partial<Record<keyof Account, string>>;

type Mapping = Readonly<Record<string, unknown>>;

/** Checks `raw`, the plain data of a config file, and fills in all defaults. Finds every problem, not only the first. */
export function resolve(raw: unknown, { file, env, home }: Surroundings): Resolved {
  const check = checks((text) => expand(text, { env, home, directory: dirname(file) }));
  const outline = check.outline(raw);
  const top = isMapping(raw) ? raw : {};
  const defaults = check.fields(top['defaults'] ?? {}, ['defaults']);
  const findings: Finding[] = [...outline.findings, ...defaults.findings];
  const accounts: Account[] = [];
  for (const [name, value] of Object.entries(isMapping(top['accounts']) ? top['accounts'] : {})) {
    const own = check.fields(value, ['accounts', name]);
    findings.push(...own.findings, ...missing(top['defaults'], value, ['accounts', name]));
    const account = own.value && defaults.value && complete(name, merge(defaults.value, own.value));
    if (account !== undefined) accounts.push(account);
  }
  findings.push(...accounts.flatMap(contradictions), ...sharedMailboxes(accounts));
  if (findings.length > 0) return { findings };
  return { config: { file, parallel: outline.value?.parallel ?? DEFAULTS.parallel, accounts } };
}

/** Required fields that stand neither in the account nor in the defaults, whatever else is wrong with either. */
function missing(defaults: unknown, own: unknown, at: Path): Finding[] {
  if (!isMapping(own)) return [];
  const given: Mapping = { ...(isMapping(defaults) ? defaults : {}), ...own };
  return Object.entries(REQUIRED)
    .filter(([field]) => !Object.hasOwn(given, field))
    .map(([field, expected]) => ({ path: [...at, field], what: 'missing', expected }));
}

/**
 * The account's fields over the defaults; `tls` and `timeout` field by field where both are mappings. A password takes
 * the place of a token, and the other way round.
 */
function merge(defaults: Fields, own: Fields): Fields {
  const merged = { ...defaults, ...own };
  if (own.password === undefined && own.oauth2 !== undefined) delete merged.password;
  if (own.oauth2 === undefined && own.password !== undefined) delete merged.oauth2;
  if (typeof defaults.tls === 'object' && typeof own.tls === 'object') {
    merged.tls = { ...defaults.tls, ...own.tls };
  }
  if (defaults.timeout !== undefined && own.timeout !== undefined) {
    merged.timeout = { ...defaults.timeout, ...own.timeout };
  }
  return merged;
}

/** The whole account; undefined where a required field is missing, which {@link missing} reports. */
function complete(name: string, fields: Fields): Account | undefined {
  const { host, user, deliver } = fields;
  if (host === undefined || user === undefined || deliver === undefined) return undefined;
  const tls = { ...DEFAULTS.tls, ...(typeof fields.tls === 'string' ? { mode: fields.tls } : fields.tls) };
  const {
    auth,
    insecure,
    delete: deletion,
    limit,
    maxSize,
    order,
    eol,
    identity,
    disabled,
  } = { ...DEFAULTS, ...fields };
  const { rejected } = fields;
  const rest = { auth, insecure, delete: deletion, limit, maxSize, order, eol, identity, disabled };
  const timeout = { ...DEFAULTS.timeout, ...fields.timeout };
  return {
    name,
    host,
    port: fields.port ?? PORTS[tls.mode],
    tls,
    user,
    password: fields.password,
    oauth2: fields.oauth2,
    deliver,
    rejected,
    ...rest,
    timeout,
  };
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
