/** A disk that fails while mail goes to standard output. */
import { faultsOf } from './support/fault-suite.js';

faultsOf('stdout', { sites: 10, cases: 100 });
