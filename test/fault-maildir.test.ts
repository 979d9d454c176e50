/** A disk that fails while mail goes to a Maildir. */
import { faultsOf } from './support/fault-suite.js';

faultsOf('Maildir', { sites: 40, cases: 500 });
faultsOf('Maildir without hard links', { sites: 25, cases: 400 });
