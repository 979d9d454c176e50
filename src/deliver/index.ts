/** Opens the destinations of an account. Loads only the code of those that are there. */
import { dirname, join } from 'node:path';
import type { DestinationConfig } from '../config/account.js';
import { PopfetchError } from '../errors.js';
import { All, type FinishElsewhere } from './all.js';
import type { DestinationContext } from './context.js';
import type { Destination } from './destination.js';
import { refusal } from './failure.js';
import type { Rejected } from './rejected.js';
import { Reserve } from './reserve.js';
import { Spool } from './spool.js';

export type { DestinationContext } from './context.js';

/**
 * Makes one destination of all that are configured. Does no I/O but loading code: recover() of what it returns makes
 * and checks the places.
 * @param configs at least one
 */
export async function openDestination(
  configs: readonly DestinationConfig[],
  context: DestinationContext,
): Promise<Destination> {
  const spool = new Spool(context.disk, context.spool, context.tag);
  const parts = await Promise.all(configs.map((config) => openParts(config, context, spool)));
  const reserve = new Reserve(context.disk, [context.spool, ...configs.flatMap(directoryOf)]);
  const rejected = await openRejected(configs, context);
  return new All(parts.flat(), spool, finishElsewhere(context, spool), reserve, rejected);
}

/** Where its files are made, if it has any besides the spool. */
function directoryOf(config: DestinationConfig): string[] {
  if (config === 'stdout') return [];
  if ('maildir' in config) return [config.maildir];
  return 'mbox' in config ? [dirname(config.mbox)] : [];
}

/** Only a command and an LMTP server can refuse a message for good. */
async function openRejected(
  configs: readonly DestinationConfig[],
  context: DestinationContext,
): Promise<Rejected | undefined> {
  const mayRefuse = configs.some(
    (config) => config !== 'stdout' && ('command' in config || 'lmtp' in config),
  );
  if (context.rejected === undefined || !mayRefuse) return undefined;
  const { Rejected } = await import('./rejected.js');
  return new Rejected(context.rejected, context);
}

/** What one entry of the config stands for. Each recipient is a destination: what one of them has, it never gets again. */
async function openParts(
  config: DestinationConfig,
  context: DestinationContext,
  spool: Spool,
): Promise<readonly Destination[]> {
  if (config === 'stdout' || !('lmtp' in config)) return [await openPart(config, context, spool)];
  const { Lmtp } = await import('./lmtp.js');
  return [...new Set(config.recipient)].map((one) => new Lmtp(config.lmtp, one, context, spool));
}

/** A destination that is one by itself. */
type Single = Exclude<DestinationConfig, { readonly lmtp: string }>;

async function openPart(config: Single, context: DestinationContext, spool: Spool): Promise<Destination> {
  if (config === 'stdout') {
    const { Stdout } = await import('./stdout.js');
    return new Stdout(context, spool);
  }
  if ('maildir' in config) {
    const { Maildir } = await import('./maildir.js');
    return new Maildir(config.maildir, context);
  }
  if ('mbox' in config) {
    const { Mbox } = await import('./mbox.js');
    return new Mbox(config.mbox, context, spool);
  }
  const { Command } = await import('./command.js');
  return new Command(config.command, context, spool);
}

/**
 * Somebody changed the config, or fetches to stdout for once, after a crash: what was on its way to a Maildir or an
 * mbox is finished there, if that still exists, lest the message arrive a second time elsewhere.
 */
function finishElsewhere(context: DestinationContext, spool: Spool): FinishElsewhere {
  return async (name, unfinished, log) => {
    const [, kind, path = ''] = /^(maildir|mbox|rejected):(.*)$/s.exec(name) ?? [];
    if (kind === undefined) return [];
    try {
      const mark = kind === 'mbox' ? path : join(path, 'tmp');
      if ((await context.disk.lstat(mark)) === undefined) return [];
      const part = await reopen(kind, path, context, spool);
      const delivered = await part.recover(unfinished, log);
      await part.close();
      return delivered;
    } catch (error) {
      const known = refusal(error, name);
      if (!(known instanceof PopfetchError) || known.code === 'STATE') throw error;
      context.note?.(`a delivery to ${name}, which the config no longer names, could not be finished`);
      return [];
    }
  };
}

async function reopen(
  kind: string,
  path: string,
  context: DestinationContext,
  spool: Spool,
): Promise<Destination> {
  if (kind === 'mbox') return openPart({ mbox: path }, context, spool);
  const { Maildir } = await import('./maildir.js');
  return new Maildir(path, context, kind === 'rejected' ? kind : 'maildir');
}
