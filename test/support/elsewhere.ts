/** A connection within this machine that passes for one over a network. */
import { connect, type Endpoint } from '../../src/wire/connect.js';
import type { Connection } from '../../src/wire/connection.js';

/** Connects, and says of the connection that its octets leave this machine. */
export async function connectElsewhere(endpoint: Endpoint): Promise<Connection> {
  return new Proxy(await connect(endpoint), {
    get: (connection, name) => {
      if (name === 'loopback') return false;
      const value: unknown = Reflect.get(connection, name, connection);
      return typeof value === 'function' ? (value.bind(connection) as unknown) : value;
    },
  });
}
