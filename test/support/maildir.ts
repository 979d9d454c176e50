/** A Maildir for tests. */
import type { DestinationContext } from '../../src/deliver/context.js';
import type { Destination } from '../../src/deliver/destination.js';
import { openDestination } from '../../src/deliver/index.js';
import { Place } from './delivery.js';
import { MemoryLog } from './log.js';

/** A message as the server sends it. */
export const MAIL = Buffer.from('Subject: x\r\n\r\nbody\r\n');

/** A directory in which a Maildir is to be, and the memory of what is delivered there. */
export class MaildirPlace {
  readonly log = new MemoryLog();

  private constructor(readonly place: Place) {}

  static async create(): Promise<MaildirPlace> {
    return new MaildirPlace(await Place.create());
  }

  /** The path of the Maildir; nothing is there yet. */
  get maildir(): string {
    return this.place.path('Mail', 'work');
  }

  open(changes: Partial<DestinationContext> = {}): Promise<Destination> {
    return openDestination([{ maildir: this.maildir }], this.place.context(changes));
  }

  remove(): Promise<void> {
    return this.place.remove();
  }
}
