/** Whether a destination could take mail, found out without making or changing anything. */
import { access, constants, stat } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import { dirname, join } from 'node:path';
import type { DestinationConfig } from '../config/account.js';
import { errno, nodeDisk } from '../disk.js';
import { PopfetchError } from '../errors.js';
import { readable } from '../escape.js';
import { placeFault } from '../owner.js';
import { programFault, type Environment } from '../program.js';
import { failure, type Finding } from './findings.js';

type LmtpConfig = Extract<DestinationConfig, { readonly lmtp: string }>;

/** Looks at one destination. @param env where a command is looked for */
export async function examinePlace(config: DestinationConfig, env: Environment): Promise<Finding> {
  if (config === 'stdout') return fine('stdout');
  try {
    if ('maildir' in config) return await maildir(config.maildir);
    if ('mbox' in config) return await mbox(config.mbox);
    return 'command' in config ? await command(config.command, env) : await lmtp(config);
  } catch (error) {
    if (error instanceof PopfetchError) return failure('destination', error);
    throw error;
  }
}

async function maildir(path: string): Promise<Finding> {
  await demandSafe(path);
  if ((await look(path)) === undefined) return toBeMade('maildir', path);
  for (const part of [path, ...['tmp', 'new', 'cur'].map((name) => join(path, name))]) {
    const stats = await look(part);
    if (stats === undefined) continue;
    if (!stats.isDirectory()) throw refusal(part, 'it is not a directory', 'CREATE');
    await demandWritable(part);
  }
  return fine(`maildir:${path}`);
}

async function mbox(path: string): Promise<Finding> {
  await demandSafe(dirname(path));
  const stats = await look(path);
  if (stats === undefined) return toBeMade('mbox', path);
  if (!stats.isFile()) throw refusal(path, 'it is not a regular file', 'CREATE');
  await demandWritable(path);
  // The lock file that other mail programs look for stands beside it.
  await demandWritable(dirname(path));
  return fine(`mbox:${path}`);
}

async function command([program = '']: readonly string[], env: Environment): Promise<Finding> {
  const fault = await programFault(program, env);
  if (fault === undefined) return fine(`command:${program}`, 'can be run');
  throw new PopfetchError('CREATE', `the command ${readable(program)} ${fault}`, {
    phase: 'destination',
    remedy: 'put it on PATH, or write its path in full',
  });
}

/** Nothing is said to the server: it would have to be told of a message. */
async function lmtp({ lmtp: place, recipient }: LmtpConfig): Promise<Finding> {
  const missing = place.startsWith('/') && (await look(place)) === undefined;
  if (!missing) return fine(`lmtp:${place}`, `is to deliver for ${readable(recipient.join(', '))}`);
  throw new PopfetchError('DELIVERY', `${readable(place)}: there is no such socket`, {
    phase: 'destination',
    remedy: 'start the LMTP server, or check the path',
  });
}

async function toBeMade(kind: string, path: string): Promise<Finding> {
  for (let above = dirname(path); ; above = dirname(above)) {
    const stats = await look(above);
    if (stats === undefined && dirname(above) !== above) continue;
    if (stats?.isDirectory() !== true) throw refusal(path, `${above} is not a directory`, 'CREATE');
    await demandWritable(above);
    return fine(`${kind}:${path}`, 'will be made');
  }
}

function fine(name: string, what = 'can be written'): Finding {
  return { level: 'ok', subject: 'destination', sentence: `${readable(name)} ${what}` };
}

async function look(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (errno(error) === 'ENOENT' || errno(error) === 'ENOTDIR') return undefined;
    throw refusal(path, errno(error) ?? 'unknown reason', 'PERMISSION', error);
  }
}

/** Where others could change what is there, fetch would refuse it, too. */
async function demandSafe(directory: string): Promise<void> {
  // What cannot be looked at is told of by the looks that follow.
  const fault = await placeFault(nodeDisk, directory).catch(() => undefined);
  if (fault === undefined) return;
  throw new PopfetchError('CREATE', `${readable(fault.what)}, so no mail is written there`, {
    phase: 'destination',
    remedy: fault.remedy,
  });
}

async function demandWritable(path: string): Promise<void> {
  try {
    await access(path, constants.R_OK | constants.W_OK);
  } catch (error) {
    throw refusal(path, errno(error) ?? 'unknown reason', 'PERMISSION', error);
  }
}

function refusal(path: string, why: string, code: 'CREATE' | 'PERMISSION', cause?: unknown): PopfetchError {
  return new PopfetchError(code, `no mail can be written to ${readable(path)}: ${why}`, {
    phase: 'destination',
    remedy: 'check the path and its permissions',
    cause,
  });
}
