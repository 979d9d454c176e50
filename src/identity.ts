/** Names for mailboxes and messages that never change and are safe anywhere: lower-case base32 of SHA-256. Pure. */
import { createHash } from 'node:crypto';

/** What makes a mailbox itself: a new password or another account name in the config does not change it. */
export interface MailboxAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
}

/** One string for one mailbox; host names do not tell case. */
function addressOf({ host, port, user }: MailboxAddress): string {
  return `${host.toLowerCase()}\0${port}\0${user}`;
}

/** 8 characters that name a mailbox in file names. */
export function mailboxTag(address: MailboxAddress): string {
  return base32(createHash('sha256').update(addressOf(address)).digest(), 8);
}

/** 26 characters that name a message in file names, whatever octets its uid (latin1) is made of. */
export function messageKey(address: MailboxAddress, uid: string): string {
  return base32(
    createHash('sha256')
      .update(`${addressOf(address)}\0`)
      .update(uid, 'latin1')
      .digest(),
    26,
  );
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** The first `length` characters of the base32 form (RFC 4648 section 6, lower case) of `bytes`. */
function base32(bytes: Buffer, length: number): string {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff;
    bits += 8;
    while (bits >= 5 && text.length < length) {
      bits -= 5;
      text += ALPHABET.charAt((value >> bits) & 31);
    }
  }
  return text;
}
