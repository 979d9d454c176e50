/** `popfetch check`: whether everything is set up right, step by step, with what to do where it is not. Changes nothing. */
import { lookup } from 'node:dns/promises';
import { refuseRereading } from '../account/content.js';
import { refuseLost } from '../account/lost.js';
import type { Account } from '../config/account.js';
import { table } from '../report/columns.js';
import { errno, nodeDisk } from '../disk.js';
import { asError, exitCode, PopfetchError, type Phase } from '../errors.js';
import { readable } from '../escape.js';
import { plural } from '../report/quantities.js';
import { atOnce, openMailbox, type SessionOptions } from '../run.js';
import { mayPipeline } from '../seen/memory.js';
import { readMemory } from '../seen/seen.js';
import { errorFields, toJson } from '../report/sentences.js';
import { isLoopback } from '../wire/connection.js';
import { loadAccounts, stateDirectory, withSession, type Context } from './context.js';
import { print } from './output.js';
import {
  capaFinding,
  failure,
  loginFinding,
  stateFinding,
  tlsFindings,
  uidlFindings,
  type Finding,
} from './findings.js';
import { placesOf } from './maildirs.js';
import { examinePlace } from './places.js';
import type { Request } from './request.js';

/** What was found about one account. */
interface Report {
  readonly account: string;
  readonly findings: readonly Finding[];
}

/** @returns 0 where nothing fails, else the exit status that fetch would have. @throws USAGE, CONFIG, PERMISSION */
export async function check({ flags }: Request, context: Context): Promise<number> {
  const { config, accounts } = await loadAccounts(flags, context);
  const place = { state: stateDirectory(context), now: context.now(), env: context.env };
  const reports = await withSession(flags, accounts, context, (session) =>
    atOnce(accounts, config.parallel, async (account) => ({
      account: account.name,
      findings: await examine(account, session, place),
    })),
  );
  const sentence = `${config.file}, ${plural(config.accounts.length, 'account')}`;
  const first: Finding = { level: 'ok', subject: 'config', sentence };
  const text = flags.json
    ? `${toJson({ config: config.file, accounts: reports.map(fields) }, 2)}\n`
    : describe(first, reports, flags.quiet);
  await print(context.stdout, text);
  return exitCode(reports.flatMap(({ findings }) => findings.flatMap(({ error }) => error ?? [])));
}

async function examine(
  account: Account,
  session: SessionOptions,
  { state, now, env }: { readonly state: string; readonly now: number; readonly env: Context['env'] },
): Promise<Finding[]> {
  const { deliver, rejected } = account;
  const configs = [...deliver, ...(rejected === undefined ? [] : [{ maildir: rejected }])];
  const places = await Promise.all(configs.map((config) => examinePlace(config, env)));
  return [
    ...(await examineServer(account, session, { state, now })),
    ...places,
    await examineState(account, state),
  ];
}

async function examineServer(
  account: Account,
  session: SessionOptions,
  { state, now }: { readonly state: string; readonly now: number },
): Promise<Finding[]> {
  const addresses = await resolve(account.host);
  if (!Array.isArray(addresses)) return [addresses];
  const sentence = `${account.host} is ${addresses.join(', ')}`;
  const dns: Finding = { level: 'ok', subject: 'dns', sentence };
  // A memory that cannot be read is a finding of its own.
  const memory = await readMemory(state, account, nodeDisk).catch(() => undefined);
  const paced = { ...session, pipelining: mayPipeline(memory, now) };
  return [dns, ...(await examineSession(account, paced, addresses.every(isLoopback), now))];
}

async function resolve(host: string): Promise<string[] | Finding> {
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch (cause) {
    const sentence = `the name ${readable(host)} cannot be looked up (${errno(cause) ?? 'unknown reason'})`;
    return failure('dns', new PopfetchError('CONNECT', sentence, { phase: 'connect', cause }));
  }
}

async function examineSession(
  account: Account,
  session: SessionOptions,
  loopback: boolean,
  now: number,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  try {
    const client = await openMailbox(account, session);
    try {
      findings.push(...tlsFindings(client.channel, loopback, now), capaFinding(client.capabilities));
      findings.push(loginFinding(account, client.method, client.offered));
      const listing = await client.list();
      if (!listing.uidl) refuseRereading(account, false);
      findings.push(...uidlFindings(listing));
      await client.quit();
    } finally {
      client.close();
    }
  } catch (error) {
    if (!(error instanceof PopfetchError)) throw error;
    findings.push(failure(subjectOf(error), error));
    if (error.code === 'TLS') findings.push(...(await presentedCertificate(account, session)));
  }
  return findings;
}

/** Under which name a failure of each phase is shown. */
const SUBJECTS: Readonly<Record<Phase, Finding['subject']>> = {
  config: 'config',
  state: 'state',
  destination: 'destination',
  connect: 'connect',
  tls: 'tls',
  greeting: 'connect',
  login: 'login',
  list: 'uidl',
  retrieve: 'uidl',
  deliver: 'destination',
  remove: 'uidl',
  quit: 'uidl',
};

function subjectOf({ code, phase }: PopfetchError): Finding['subject'] {
  return code === 'TLS' ? 'tls' : SUBJECTS[phase ?? 'connect'];
}

/** No certificate has this fingerprint, so nothing is ever sent to the server that is asked for its own. */
const IMPOSSIBLE_PIN = '0'.repeat(64);

/** The fingerprint to pin where a certificate was not accepted for want of an authority that vouches for it. */
async function presentedCertificate(account: Account, session: SessionOptions): Promise<Finding[]> {
  if (account.tls.pin !== undefined) return [];
  try {
    const client = await openMailbox({ ...account, tls: { ...account.tls, pin: [IMPOSSIBLE_PIN] } }, session);
    client.close();
    return [];
  } catch (error) {
    const fingerprint =
      error instanceof PopfetchError ? /sha256:[0-9a-f]{64}/.exec(error.message)?.[0] : undefined;
    if (fingerprint === undefined) return [];
    const remedy = 'if you know from elsewhere that it is right, set tls.pin to it';
    return [{ level: 'warn', subject: 'tls', sentence: `the certificate is ${fingerprint}`, remedy }];
  }
}

async function examineState(account: Account, state: string): Promise<Finding> {
  try {
    const memory = await readMemory(state, account, nodeDisk);
    // A Maildir that cannot be looked into is a finding of its own.
    await refuseLost(account, memory ?? { fresh: true }, placesOf(account)).catch(unlessLooking);
    return stateFinding(memory);
  } catch (error) {
    if (error instanceof PopfetchError) return failure('state', error);
    throw error;
  }
}

function unlessLooking(error: unknown): void {
  if (!(error instanceof PopfetchError) || error.code === 'STATE') throw asError(error);
}

function describe(first: Finding, reports: readonly Report[], quiet: boolean): string {
  const parts = reports.map(({ account, findings }) => ({
    title: readable(account),
    lines: lines(findings, quiet),
  }));
  const shown = parts.filter(({ lines }) => lines.length > 0);
  const text = shown.map(({ title, lines }) => `${title}\n${lines.map((line) => `  ${line}\n`).join('')}`);
  return (
    (quiet
      ? ''
      : lines([first], quiet)
          .map((line) => `${line}\n`)
          .join('')) + text.join('')
  );
}

function lines(findings: readonly Finding[], quiet: boolean): string[] {
  const wanted = findings.filter(({ level }) => !quiet || level === 'fail');
  return table(
    wanted.map(({ level, subject, sentence, remedy }) => [
      level === 'fail' ? 'FAIL' : level.padEnd(4),
      subject.padEnd(11),
      remedy === undefined ? sentence : `${sentence}; ${remedy}`,
    ]),
  );
}

function fields({ account, findings }: Report): object {
  const found = findings.map(({ error, ...finding }) =>
    error === undefined ? finding : { ...finding, error: errorFields(error) },
  );
  return { account, findings: found };
}
