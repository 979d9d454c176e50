/** An mbox for tests, and what mail looks like in it. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import type { DestinationContext } from '../../src/deliver/context.js';
import type { Destination } from '../../src/deliver/destination.js';
import { openDestination } from '../../src/deliver/index.js';
import { Mbox } from '../../src/deliver/mbox.js';
import { Spool } from '../../src/deliver/spool.js';
import { failingDisk, message, Place, recover, TAG } from './delivery.js';
import { MemoryLog } from './log.js';
import { Crash } from './watched-disk.js';

/** The `From ` line of mail without a Return-Path, at the time that a place's clock shows first. */
export const LINE = 'From MAILER-DAEMON Tue Nov  3 08:02:09 2026\n';

/** A message that another program delivered, as it stands in an mbox. */
export const OTHERS = 'From other@example.com Tue Nov  3 08:02:09 2026\nSubject: not ours\n\nbody\n\n';

/** A message as the server sends it. */
export const MAIL = Buffer.from('Subject: x\r\n\r\nFrom here\r\nbody\r\n');

/** {@link MAIL} as it stands in an mbox. */
export const ENTRY = `${LINE}Subject: x\n\n>From here\nbody\n\n`;

/** A directory in which an mbox is to be. */
export class MboxPlace {
  log = new MemoryLog();

  private constructor(readonly place: Place) {}

  static async create(): Promise<MboxPlace> {
    return new MboxPlace(await Place.create());
  }

  /** The directory of the mbox, and nothing else. */
  get directory(): string {
    return this.place.path('mail');
  }

  get mbox(): string {
    return this.place.path('mail', 'box');
  }

  open(changes: Partial<DestinationContext> = {}): Promise<Destination> {
    return openDestination([{ mbox: this.mbox }], this.place.context(changes));
  }

  /** One that waits for locks no longer than `wait` milliseconds. */
  impatient(wait: number, changes: Partial<DestinationContext> = {}): Mbox {
    const context = this.place.context(changes);
    return new Mbox(this.mbox, context, new Spool(context.disk, context.spool, context.tag), wait);
  }

  /** Puts text where the mbox is to be. */
  async given(text: string): Promise<void> {
    await mkdir(this.directory, { recursive: true });
    await writeFile(this.mbox, text);
  }

  text(): Promise<string> {
    return readFile(this.mbox, 'latin1');
  }

  /** Delivers until the first octet would be appended, and dies there: intents and spool are on disk. */
  async interrupted(messages: readonly Buffer[]): Promise<void> {
    await recover(await this.open(), this.log);
    const disk = failingDisk(() => undefined);
    disk.before = (call, path) => {
      if (call !== 'write' || path !== this.mbox) return;
      disk.before = () => {
        throw new Crash();
      };
      throw new Crash();
    };
    const dying = new Mbox(this.mbox, this.place.context({ disk }), new Spool(disk, this.place.spool, TAG));
    await Promise.allSettled(messages.map((data, n) => dying.deliver(message(n + 1, data), this.log)));
    if (this.log.unfinished().length === 0) throw new Error('nothing was interrupted');
    await disk.die();
  }

  remove(): Promise<void> {
    return this.place.remove();
  }
}
