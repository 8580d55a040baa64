import { ConfigurationError } from '../errors';
import type { NamedKmsHealth } from '../kms/kms-provider';
import { encryptedTables } from '../reencryption/encrypted-table';
import { withConnection } from '../typeorm/connection/lent-connection';
import { catalogOf } from '../typeorm/dialect/dialect-of';
import type { Installation } from '../typeorm/installation/installation';
import { DataKeySchema } from '../typeorm/tables/data-key-table';

/** Options of {@link FieldEncryption.health}. */
export interface HealthOptions {
  /**
   * Milliseconds after which it reports what it knows by then. Defaults to 800, less than the second that
   * Kubernetes gives a probe by default.
   */
  readonly timeoutMs?: number;
  /**
   * Milliseconds for which the answer of a KMS is cached, so that frequent probes do not ask it more
   * often. Defaults to 5,000.
   */
  readonly rememberMs?: number;
}

/**
 * `ok`: nothing is wrong. `degraded`: values are read and written, but an operator has to see to
 * something before they no longer are. `failing`: encrypted columns cannot be read or written now.
 */
export type HealthStatus = 'ok' | 'degraded' | 'failing';

/** Whether the tables that encrypted columns need exist. */
export interface TableHealth {
  readonly ok: boolean;
  /** The key table, and tables of encrypted entities. */
  readonly missing: readonly string[];
  /** Why it is not known; one line. */
  readonly detail?: string | undefined;
}

/** An active key in the memory of this process, used for new values or tokens. */
export interface KeyHealth {
  readonly name: string;
  /** Whether values are encrypted with it, or tokens of blind indexes made. */
  readonly purpose: 'data' | 'index';
  /** `null` if none is in memory. */
  readonly version: number | null;
  /** Milliseconds until it is refreshed in the background; 0 when that is due. */
  readonly freshForMs: number;
  /** Milliseconds for which it can be used without the KMS; 0 if it cannot be used. */
  readonly usableForMs: number;
  /** Why it could not be loaded the last time; one line. */
  readonly problem?: string | undefined;
}

/** The result of {@link FieldEncryption.health}: names, times and messages for operators, nothing secret. */
export interface HealthReport {
  /** Whether encrypted columns can be read and written: `status` is not `failing`. */
  readonly ok: boolean;
  readonly status: HealthStatus;
  /** The provider that wraps. */
  readonly kms: NamedKmsHealth;
  /** The further providers of `otherKms`. */
  readonly otherKms: readonly NamedKmsHealth[];
  readonly tables: TableHealth;
  /** Every key that the entities write with. */
  readonly keys: readonly KeyHealth[];
}

/**
 * Checks that the key table and the tables of encrypted entities exist.
 *
 * @throws {@link ConfigurationError} for a key table that the role may not read, and errors of the database
 */
export async function tableHealth(installation: Installation): Promise<TableHealth> {
  const { dataSource } = installation;
  const keyTable = dataSource.getMetadata(DataKeySchema).tablePath;
  const others = encryptedTables(installation).map(({ metadata }) => metadata.tablePath);
  return withConnection(dataSource, undefined, async (runner) => {
    const missing: string[] = [];
    if (!(await catalogOf(runner).tableExists(runner, keyTable))) missing.push(keyTable);
    for (const path of others) {
      // A table that the role may not read exists, and the role is often not meant to read it.
      if (!(await catalogOf(runner).tableExists(runner, path).catch(isThere))) missing.push(path);
    }
    return { ok: missing.length === 0, missing };
  });
}

function isThere(error: unknown): boolean {
  if (error instanceof ConfigurationError) return true;
  throw error;
}
