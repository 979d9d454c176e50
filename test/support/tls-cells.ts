/** Every way in which a server, or somebody on the way to it, may try to talk a client out of TLS; and what has to come of it. */
import type { Certificate, Certificates } from './certificates.js';
import type { Override, Session } from './session.js';

const CAPA = ['offers STLS', 'hides STLS', '-ERR', 'garbled list', 'garbled status', 'dropped'] as const;
const STLS = ['+OK and TLS', '+OK and more octets', '-ERR', 'nonsense', '+OK, then +OK in clear'] as const;
const AUTH = ['nothing', 'PLAIN', 'USER'] as const;
const CERTIFICATES = [
  'good',
  'expired',
  'self-signed',
  'of an unknown authority',
  'for another host',
  'for another address',
] as const;
const PINS = ['not pinned', 'pinned', 'another pinned'] as const;

/** One combination. What it does not say is as it should be. */
export interface Cell {
  readonly mode: 'implicit' | 'starttls' | 'none';
  readonly capa: (typeof CAPA)[number];
  readonly stls: (typeof STLS)[number];
  readonly auth: (typeof AUTH)[number];
  readonly certificate: (typeof CERTIFICATES)[number];
  readonly pin: (typeof PINS)[number];
  /** Whether the server is on another machine, and whether the password may go there in clear. */
  readonly elsewhere: boolean;
  readonly insecure: boolean;
}

const GOOD = {
  capa: 'offers STLS',
  stls: '+OK and TLS',
  certificate: 'good',
  pin: 'not pinned',
  elsewhere: false,
  insecure: false,
} as const;

/** All cells: with STLS, every lie before TLS and every certificate behind it; in TLS from the start; and in clear. */
export function cells(): Cell[] {
  const all: Cell[] = [];
  for (const auth of AUTH) {
    for (const capa of CAPA) {
      for (const stls of STLS) all.push({ ...GOOD, mode: 'starttls', capa, stls, auth });
      for (const { certificate, pin } of trusts(capa === 'garbled status'))
        all.push({ ...GOOD, mode: 'starttls', capa, auth, certificate, pin });
      all.push({ ...GOOD, mode: 'implicit', capa, auth });
      for (const elsewhere of [false, true])
        for (const insecure of [false, true])
          all.push({ ...GOOD, mode: 'none', capa, auth, elsewhere, insecure });
    }
    for (const trust of trusts(false)) all.push({ ...GOOD, mode: 'implicit', auth, ...trust });
  }
  return all;
}

/** Certificates and pins but the good one without a pin, which the other cells have. */
function trusts(none: boolean): Pick<Cell, 'certificate' | 'pin'>[] {
  if (none) return [];
  const all = CERTIFICATES.flatMap((certificate) => PINS.map((pin) => ({ certificate, pin })));
  return all.filter(({ certificate, pin }) => certificate !== 'good' || pin !== 'not pinned');
}

/** What a cell has to come to: logged in, or the code of the error. A server that hangs up on CAPA is asked without it. */
export function outcome({ mode, capa, stls, certificate, pin, elsewhere, insecure }: Cell): string {
  const trusted = pin === 'pinned' || (pin === 'not pinned' && certificate === 'good');
  if (mode === 'implicit' && !trusted) return 'TLS';
  if (capa === 'garbled status') return 'PROTOCOL';
  if (mode === 'none') return elsewhere && !insecure ? 'AUTH' : 'logged in';
  if (mode === 'starttls' && stls === 'nonsense') return 'PROTOCOL';
  if (mode === 'starttls' && stls !== '+OK and TLS') return 'TLS';
  return trusted ? 'logged in' : 'TLS';
}

/** What a cell is called. */
export function title({ mode, capa, stls, auth, certificate, pin, elsewhere, insecure }: Cell): string {
  const begin = `${mode}, CAPA ${capa}${mode === 'starttls' ? `, STLS ${stls}` : ''}, AUTH ${auth}`;
  if (mode === 'none')
    return `${begin}, ${elsewhere ? 'another machine' : 'this machine'}${insecure ? ', insecure' : ''}`;
  return `${begin}, certificate ${certificate}, ${pin}`;
}

/** The certificate that the server of a cell shows. */
export function shown(
  { certificate }: Cell,
  set: Certificates & { readonly otherAddress: Certificate },
): Certificate {
  switch (certificate) {
    case 'expired':
      return set.expired;
    case 'self-signed':
      return set.selfSigned;
    case 'for another host':
      return set.otherHost;
    case 'for another address':
      return set.otherAddress;
    case 'good':
    case 'of an unknown authority':
      return set.server;
  }
}

/** What the server of a cell answers to CAPA. With STLS it lies in clear only: behind TLS nobody stands between. */
export function answerCapa({ mode, capa, auth }: Cell, { secure }: Pick<Session, 'secure'>): Override {
  const offers = auth === 'nothing' ? [] : [auth === 'PLAIN' ? 'SASL PLAIN' : 'USER'];
  const list = (...tags: readonly string[]): Buffer => Buffer.from(['+OK', ...tags, '.', ''].join('\r\n'));
  if (mode === 'starttls' && secure) return list(...offers);
  switch (capa) {
    case 'offers STLS':
      return list('STLS', ...offers);
    case 'hides STLS':
      return list(...offers);
    case 'garbled list':
      return list('STL\0S', '=?\xff\x9b31m', ' ', ...offers);
    case '-ERR':
      return '-ERR what?';
    case 'garbled status':
      return Buffer.from('+KO\r\n');
    case 'dropped':
      return 'drop';
  }
}

/** What the server of a cell answers to STLS; undefined for what is right. */
export async function answerStls({ stls }: Cell, session: Session): Promise<Override | undefined> {
  switch (stls) {
    case '+OK and TLS':
      return undefined;
    case '+OK and more octets':
      return Buffer.from('+OK begin TLS\r\n+OK forged\r\n');
    case '-ERR':
      return '-ERR not today';
    case 'nonsense':
      return 'STLS';
    case '+OK, then +OK in clear':
      await session.say('+OK begin TLS');
      // The client has begun its handshake by now.
      await session.readLine();
      return '+OK logged in, and long enough for a record';
  }
}
