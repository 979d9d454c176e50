/** Every guard that can be taken away to see that a test misses it. */
import type { Mutation } from '../../support/mutation.js';
import { LOCAL } from './local.js';
import { OUTPUT } from './output.js';
import { PROTOCOL } from './protocol.js';
import { WIRE } from './wire.js';

export const mutations: readonly Mutation[] = [...WIRE, ...PROTOCOL, ...LOCAL, ...OUTPUT];
