/**
 * Delivery to a Maildir, exactly once. The message is written to tmp/ and synced, the intent is recorded, a link in
 * new/ makes it visible, and the name in tmp/ goes only when the memory holds the message as done. So at any moment a
 * crash leaves either a file in tmp/ that nobody was told of, or an intent that says how to go on without the server.
 */
import { basename } from 'node:path';
import type { DestinationContext } from './context.js';
import type { Delivery, DeliveryLog, Destination, Intent, Message } from './destination.js';
import { failure, refusal } from './failure.js';
import { Intake, type Facts } from './lines.js';
import { MaildirFolders } from './maildirfolders.js';
import { fill, NewFile } from './newfile.js';
import { storedFiles } from './storedmail.js';

/** A Maildir; made when missing, folders 0700, files 0600. */
export class Maildir implements Destination {
  readonly name: string;
  readonly window = 64;
  readonly #path: string;
  readonly #context: DestinationContext;
  readonly #folders: MaildirFolders;
  /** The keys that were in the folders when a message was first found missing. */
  #moved: Promise<ReadonlySet<string>> | undefined;

  /** @param kind begins its name; `rejected` is the Maildir for what others refuse */
  constructor(path: string, context: DestinationContext, kind: 'maildir' | 'rejected' = 'maildir') {
    this.name = `${kind}:${path}`;
    this.#path = path;
    this.#context = context;
    this.#folders = new MaildirFolders(path, context);
  }

  async traces(): Promise<number> {
    try {
      return (await storedFiles(this.#context.disk, this.#path, this.#context.tag)).size;
    } catch (error) {
      throw refusal(error, this.#path);
    }
  }

  async recover(unfinished: readonly Intent[], log: DeliveryLog): Promise<string[]> {
    try {
      await this.#folders.prepare();
      const delivered = await this.#finish(unfinished);
      // The names in tmp/ are what finds a message that its reader has renamed, so the memory comes first.
      await Promise.all(delivered.map((uid) => log.stored(uid, this.name)));
      await this.#folders.sweep();
      return delivered;
    } catch (error) {
      throw refusal(error, this.#path);
    }
  }

  async #finish(unfinished: readonly Intent[]): Promise<string[]> {
    if (unfinished.length === 0) return [];
    const keys = await this.#folders.keys();
    const delivered: string[] = [];
    for (const intent of unfinished) {
      if (await this.#finishOne(intent, keys)) delivered.push(intent.uid);
    }
    await this.#folders.syncFound();
    return delivered;
  }

  /** @returns whether the message is in new/ or cur/. */
  async #finishOne(intent: Intent, keys: ReadonlySet<string>): Promise<boolean> {
    const { name, size, eol } = intent.details;
    const file = basename(String(name));
    const links = await this.#folders.links(file);
    if (links > 1 || keys.has(intent.key)) return true;
    const expected = { size: Number(size), sha256: intent.sha256, eol: eol === 'crlf' ? eol : 'lf' } as const;
    if (links === 0 || !(await this.#folders.holds(file, expected))) return false;
    await this.#folders.show(file, intent.key);
    return true;
  }

  async deliver(message: Message, log: DeliveryLog): Promise<Delivery> {
    const intake = new Intake(this.#context.eol);
    const file = await this.#write(message, intake);
    const facts = intake.facts();
    const name = basename(file.path);
    const visible = await this.#publish(name, this.#intent(message, facts, name, file.length), log);
    return {
      octets: facts.octets,
      release: (remembered = true) => (remembered ? this.#folders.drop(name) : Promise.resolve()),
      stands: () => this.#stands(visible, message.key, file.length),
    };
  }

  /** A copy under its first name has the size that was written; one that a reader has moved has a name with its key. */
  async #stands(visible: string, key: string, size: number): Promise<boolean> {
    const found = await this.#folders.sizeOf(visible);
    if (found !== undefined) return found === size;
    this.#moved ??= this.#folders.keys();
    return (await this.#moved).has(key);
  }

  /** Writes the whole message to tmp/, durably; leaves nothing there when that fails. */
  async #write(message: Message, intake: Intake): Promise<NewFile> {
    const { disk } = this.#context;
    const file = new NewFile(disk, this.#folders.tmp(), () => this.#folders.create(message.key));
    try {
      await fill(file, message.body, intake);
      await file.flush();
      await file.sync();
      await Promise.all([file.close(), this.#folders.syncTmp()]);
      return file;
    } catch (error) {
      await file.discard();
      throw error;
    }
  }

  /** @returns its name in new/ */
  async #publish(name: string, intent: Intent, log: DeliveryLog): Promise<string> {
    let visible: string | undefined;
    try {
      await log.intend(intent);
      visible = await this.#folders.show(name, intent.key);
      await this.#folders.syncShown();
      return visible;
    } catch (error) {
      await this.#folders.withdraw(name, visible);
      throw failure(error, this.#path);
    }
  }

  #intent({ uid, key, size }: Message, facts: Facts, name: string, stored: number): Intent {
    const details = { name, size: stored, eol: this.#context.eol };
    return { uid, key, size, destination: this.name, ...facts, details };
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
