/** A TCP proxy on loopback that makes a far network out of a near one: time is added, bandwidth is not taken. */
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

/** Where the proxy listens. */
export interface DelayProxy {
  readonly host: string;
  readonly port: number;
  /** How many connections it has carried. */
  readonly connections: number;
  /** Cuts what is open and stops. */
  close(): Promise<void>;
}

/** Above this much waiting for a slow reader the writer has to wait too. Octets. */
const FULL = 16 * 1024 * 1024;

/**
 * Carries connections to `target`, every octet `delay` milliseconds later, each way. Order is kept, and so are a
 * half-closed connection and a reset. Opening a connection costs a round trip, as it does on a far network, although
 * the client's kernel says at once that it is open.
 */
export async function startProxy(
  target: { readonly host: string; readonly port: number },
  delay: number,
): Promise<DelayProxy> {
  const open = new Set<Socket>();
  let connections = 0;
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => {
    connections += 1;
    carry(client, target, delay, open);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    close: () => stop(server, open),
  };
}

function carry(
  client: Socket,
  target: { readonly host: string; readonly port: number },
  delay: number,
  open: Set<Socket>,
): void {
  track(client, open);
  setTimeout(() => {
    if (client.destroyed) return;
    const far = connect({ ...target, allowHalfOpen: true });
    track(far, open);
    pipeLate(client, far, delay);
    pipeLate(far, client, delay);
  }, 2 * delay);
}

/** Sends on what comes from `from`, its end and its failure, each at its time. */
function pipeLate(from: Socket, to: Socket, delay: number): void {
  const later = new DelayLine(delay);
  from.on('data', (chunk: Buffer) => {
    if (later.waiting + to.writableLength > FULL) {
      from.pause();
      later.add(0, () => from.resume());
    }
    later.add(chunk.length, () => to.write(chunk));
  });
  from.on('end', () => {
    later.add(0, () => to.end());
  });
  from.on('close', (failed) => {
    if (failed) later.add(0, () => to.resetAndDestroy());
  });
  from.resume();
}

/** Does things in order, each `delay` milliseconds after it was asked for. */
class DelayLine {
  readonly #delay: number;
  readonly #queue: { readonly due: number; readonly octets: number; readonly act: () => unknown }[] = [];
  #timer: NodeJS.Timeout | undefined;
  /** Octets on their way. */
  waiting = 0;

  constructor(delay: number) {
    this.#delay = delay;
  }

  add(octets: number, act: () => unknown): void {
    this.#queue.push({ due: performance.now() + this.#delay, octets, act });
    this.waiting += octets;
    this.#schedule();
  }

  #schedule(): void {
    const [first] = this.#queue;
    if (first === undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#run();
    }, first.due - performance.now());
  }

  #run(): void {
    const now = performance.now();
    for (let first = this.#queue[0]; first !== undefined && first.due <= now; first = this.#queue[0]) {
      this.#queue.shift();
      this.waiting -= first.octets;
      first.act();
    }
    this.#schedule();
  }
}

function track(socket: Socket, open: Set<Socket>): void {
  open.add(socket);
  socket.setNoDelay(true);
  // The other side is told by 'close'.
  socket.on('error', () => undefined);
  socket.once('close', () => open.delete(socket));
}

async function stop(server: Server, open: Set<Socket>): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  for (const socket of open) socket.destroy();
  await closed;
}
