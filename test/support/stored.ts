/** Reads back what was delivered: Maildirs and mboxes as any mail reader would see them. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A message in a Maildir. */
export interface MaildirMessage {
  readonly folder: 'new' | 'cur';
  readonly name: string;
  readonly path: string;
  readonly data: Buffer;
}

/** The messages in new/ and cur/, in the order of their names; none where there is no Maildir. */
export async function maildirMessages(directory: string): Promise<MaildirMessage[]> {
  const messages: MaildirMessage[] = [];
  for (const folder of ['new', 'cur'] as const) {
    for (const name of await namesIn(join(directory, folder))) {
      const path = join(directory, folder, name);
      messages.push({ folder, name, path, data: await readFile(path) });
    }
  }
  return messages.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What lies in tmp/: nothing, once all is well. */
export function maildirLeftovers(directory: string): Promise<string[]> {
  return namesIn(join(directory, 'tmp'));
}

/** A message in an mbox. */
export interface MboxMessage {
  /** Its `From ` line, without the line end. */
  readonly envelope: string;
  /** Without the empty line after it, `From ` quoting (mboxrd) undone. */
  readonly data: Buffer;
}

/**
 * The messages of an mbox in mboxrd form; none where there is no file.
 * Throws when it does not start with a `From ` line, or a message is not followed by an empty line.
 */
export async function mboxMessages(file: string): Promise<MboxMessage[]> {
  const text = await textOf(file);
  if (text === '') return [];
  if (!text.startsWith('From ')) throw new Error(`${file} does not start with a From line`);
  return text
    .slice('From '.length)
    .split(/(?<=\n)From /)
    .map((part) => messageOf(part, file));
}

function messageOf(part: string, file: string): MboxMessage {
  const end = part.indexOf('\n') + 1;
  const content = part.slice(end);
  const separator = /(?:^|\n)(\r?\n)$/.exec(content);
  if (separator === null) throw new Error(`${file}: no empty line after a message`);
  const message = content.slice(0, content.length - separator[1]!.length);
  return {
    envelope: `From ${part.slice(0, end).trimEnd()}`,
    data: Buffer.from(message.replace(/(?<=^|\n)>(>*From )/g, '$1'), 'latin1'),
  };
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'latin1');
  } catch (error) {
    if (isMissing(error)) return '';
    throw error;
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
