import { anchor } from './anchor';
import type { Check, DatabaseCheck } from './check';
import { cleartext } from './cleartext';
import { checks, columns } from './columns';
import { configuration } from './configuration';
import { keys, policies } from './keys';
import { kmsHealth, passphrase } from './kms';
import { applicationLog, serverLog } from './logging';
import { lookups } from './lookups';
import { ownTables } from './own-tables';
import { packages } from './packages';
import { rowSecurity } from './row-security';
import { runtime } from './runtime';
import { wrapping } from './wrapping';

/**
 * The checks, by the name that each has in `CHECK_FAILED`. A new one is added to the list of what it
 * needs, and its codes to `finding.ts`.
 */
export const CHECKS = Object.freeze({
  /** Made in any process. */
  process: {
    configuration,
    'the log of the application': applicationLog,
    'Node.js': runtime,
    packages,
    'the KMS': kmsHealth,
    'the passphrase': passphrase,
  } satisfies Record<string, Check>,

  /** Need the entities of an initialized DataSource. */
  entities: { 'the query builders': wrapping } satisfies Record<string, Check>,

  /** Share one connection: more may not be to be had. */
  database: {
    'the log of the server': serverLog,
    'the tables of the library': ownTables,
    'row-level security': rowSecurity,
    'the keys': keys,
    'the anchor': anchor,
    'the columns': columns,
    'the stored values': cleartext,
    'the CHECK constraints': checks,
    'the indexes': lookups,
  } satisfies Record<string, DatabaseCheck>,

  /** Take connections of their own, from a database that answers. */
  work: { 'the key policies': policies } satisfies Record<string, Check>,
});
