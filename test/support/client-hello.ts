/** What a client says first in TLS (RFC 8446 section 4.1.2), taken from a connection that nobody answers. */
import { createServer, type AddressInfo } from 'node:net';

/** The parts of a ClientHello that tell how far a client trusts whom. */
export interface ClientHello {
  /** Compression methods; 0 is none. */
  readonly compression: readonly number[];
  /** The versions it speaks: 0x0304 is TLS 1.3. */
  readonly versions: readonly number[];
  /** The name in SNI (RFC 6066 section 3); undefined without one. */
  readonly servername: string | undefined;
  /** Octets of a ticket of an earlier session, or of a key agreed upon in it (RFC 5077, RFC 8446 section 4.2.11). */
  readonly resumed: number;
}

const SERVER_NAME = 0;
const SESSION_TICKET = 35;
const PRE_SHARED_KEY = 41;
const SUPPORTED_VERSIONS = 43;

/** Listens on loopback; `heard` has the first words of each client, each of which is then cut off. */
export async function startListener(): Promise<{
  readonly host: string;
  readonly port: number;
  readonly heard: readonly ClientHello[];
  close(): Promise<void>;
}> {
  const heard: ClientHello[] = [];
  const server = createServer((socket) => {
    let record = Buffer.alloc(0);
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      record = Buffer.concat([record, chunk]);
      if (record.length < 5 || record.length < 5 + record.readUInt16BE(3)) return;
      heard.push(parseClientHello(record.subarray(5)));
      socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    heard,
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
      }),
  };
}

/** Takes a handshake message apart. @throws RangeError where it is none */
function parseClientHello(message: Buffer): ClientHello {
  let at = 4 + 2 + 32;
  const block = (size: 1 | 2): Buffer => {
    const length = message.readUIntBE(at, size);
    at += size + length;
    return message.subarray(at - length, at);
  };
  // The session id and the ciphers.
  block(1);
  block(2);
  const compression = [...block(1)];
  const extensions = extensionsOf(block(2));
  const names = extensions.get(SERVER_NAME);
  const versions = extensions.get(SUPPORTED_VERSIONS)?.subarray(1) ?? Buffer.alloc(0);
  return {
    compression,
    versions: Array.from({ length: versions.length / 2 }, (_, index) => versions.readUInt16BE(2 * index)),
    servername: names?.subarray(5).toString('latin1'),
    resumed: [SESSION_TICKET, PRE_SHARED_KEY].reduce(
      (sum, type) => sum + (extensions.get(type)?.length ?? 0),
      0,
    ),
  };
}

function extensionsOf(list: Buffer): Map<number, Buffer> {
  const extensions = new Map<number, Buffer>();
  for (let at = 0; at < list.length;) {
    const length = list.readUInt16BE(at + 2);
    extensions.set(list.readUInt16BE(at), list.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return extensions;
}
