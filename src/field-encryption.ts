import type { DataSource, EntityTarget, ObjectLiteral } from 'typeorm';

import { AccessTrail } from './access-trail';
import { Approvals } from './approvals';
import { AuditTrail } from './audit-trail';
import { DataKeys } from './data-keys';
import { examine } from './doctor/doctor';
import { countedRows, encryptionState } from './doctor/encryption-state';
import type { EncryptionStatus } from './doctor/encryption-state';
import type { Finding } from './doctor/finding';
import { operatorTasks } from './doctor/operator-tasks';
import { Evidence } from './evidence';
import { Incidents } from './incidents';
import { healthProbe } from './health/health-probe';
import type { HealthOptions, HealthReport } from './health/health-report';
import type { RunOptions } from './reencryption/report/run-options';
import type { RunReport } from './reencryption/report/run-report';
import { run } from './reencryption/runs/run';
import { PurposeValues } from './purpose-values';
import type { PurposeOptions } from './purpose-values';
import { decryptValues, encryptedProperty, encryptValues, ofOne } from './stored-values';
import type { ValueOptions, ValuesOptions } from './stored-values';
import { withIndex } from './index-tokens';
import { installationOf } from './typeorm/installation/installations';
import type { Installation } from './typeorm/installation/installation';
import { sortedEntities } from './typeorm/query/sorting/sorted-entities';
import type { SortedOptions } from './typeorm/query/sorting/sorted-entities';
import { onlyResult } from './value-results';
import type { ValueResults } from './value-results';

/** The handle to the encryption of a DataSource; see {@link fieldEncryption}. */
export class FieldEncryption extends Evidence {
  readonly keys: DataKeys;
  readonly audit: AuditTrail;
  readonly accessLog: AccessTrail;
  readonly approvals: Approvals;
  readonly incidents: Incidents;

  /** @internal */
  constructor(installation: Installation) {
    super(installation);
    this.keys = new DataKeys(installation);
    this.audit = new AuditTrail(installation);
    this.accessLog = new AccessTrail(installation);
    this.approvals = new Approvals(installation);
    this.incidents = new Incidents(installation, this.keys);
  }

  /** Prepares the keys, creating the first ones, or throws: for an application that should fail at start. */
  async ready(): Promise<void> {
    await this.installation.requireAll();
  }

  /**
   * Returns problems and weaknesses of configuration, KMS, keys, tables, logs and packages, the worst first.
   * Only reads, needs SELECT rights, and does not throw: a failed examination is a finding, too.
   */
  doctor(): Promise<Finding[]> {
    return examine(this.installation);
  }

  /**
   * Reports whether encrypted columns can be read and written now, and what threatens that: for a readiness
   * probe. An outage is reported, not thrown. Nothing takes longer than `timeoutMs`, and a KMS is asked at
   * most every `rememberMs`. Keys that are due are loaded as by a use.
   *
   * @throws {@link ConfigurationError} for options that are not whole numbers from 0 on
   */
  health(options?: HealthOptions): Promise<HealthReport> {
    return healthProbe(this.installation).report(options);
  }

  /**
   * Counts the rows of every encrypted column (NULL, cleartext, and under each data-key version, or in totals
   * where each scope has keys of its own) and those without a token in every blind index, and lists what is due.
   */
  async status(): Promise<EncryptionStatus> {
    const keys = await this.installation.keys.list();
    const { columns, ...counted } = await countedRows(this.installation, keys);
    const state = await encryptionState(this.installation);
    // Not enumerable: comparisons and copies of the list are about the columns.
    return Object.defineProperties(columns, {
      backend: { value: this.installation.backend.backend },
      indexes: { value: counted.indexes },
      scopes: { value: counted.scopes },
      due: { value: operatorTasks({ ...state, ...counted, columns }) },
    }) as EncryptionStatus;
  }

  /**
   * Encrypts the rows of columns that `legacyPlaintext` or `previousFormats` names, online. See
   * {@link RunOptions}. All runs can be interrupted, resumed and shared by several processes.
   */
  encrypt(options?: RunOptions): Promise<RunReport> {
    return run(this.installation, 'encrypt', options);
  }

  /** Moves every row to the active data key, its suite and the newest format, online. */
  reencrypt(options?: RunOptions): Promise<RunReport> {
    return run(this.installation, 'reencrypt', options);
  }

  /** Writes the current tokens of every row, for new, changed or rotated blind indexes, online. */
  reindex(options?: RunOptions): Promise<RunReport> {
    return run(this.installation, 'reindex', options);
  }

  /** Turns rows back into cleartext, in columns that `legacyPlaintext` names, and empties their blind indexes. */
  decrypt(options?: RunOptions): Promise<RunReport> {
    return run(this.installation, 'decrypt', options);
  }

  /** Reads every row and its tokens, and lists those that do not decrypt or match. Changes nothing. */
  verify(options?: RunOptions): Promise<RunReport> {
    return run(this.installation, 'verify', options);
  }

  /** Returns the token of an index, or the named one, to store with a value. See {@link FieldEncryption.tokens}. */
  async token<T extends ObjectLiteral>(
    entity: EntityTarget<T>,
    property: string,
    value: unknown,
    indexName?: string,
    options?: ValueOptions,
  ): Promise<string> {
    const how = { indexName, creates: true, ...options };
    return withIndex(this.installation, { entity, property }, how, (index) => index.token(value));
  }

  /**
   * Returns every token that a row with the value may have, for a condition in hand-written SQL: that of
   * {@link FieldEncryption.token}, and earlier ones while the index or its key changes.
   */
  async tokens<T extends ObjectLiteral>(
    entity: EntityTarget<T>,
    property: string,
    value: unknown,
    indexName?: string,
    options?: ValueOptions,
  ): Promise<string[]> {
    const how = { indexName, creates: false, ...options };
    return withIndex(this.installation, { entity, property }, how, (index) => index.tokens(value));
  }

  /** Encrypts a value as the property would store it; `null` stays `null`. For hand-written SQL. */
  async encryptValue<T extends ObjectLiteral>(
    entity: EntityTarget<T>,
    property: string,
    value: unknown,
    options?: ValueOptions,
  ): Promise<string | Buffer | null> {
    return onlyResult(await this.encryptValues(entity, property, [value], ofOne(options))) ?? null;
  }

  /** Decrypts a stored value of a raw result; `null` stays `null`. */
  async decryptValue<T extends ObjectLiteral>(
    entity: EntityTarget<T>,
    property: string,
    stored: unknown,
    options?: ValueOptions,
  ): Promise<unknown> {
    return onlyResult(await this.decryptValues(entity, property, [stored], ofOne(options)));
  }

  /** Encrypts the values of an array; a bad element is reported by its index. */
  async encryptValues<T extends ObjectLiteral>(
    entity: EntityTarget<T>,
    property: string,
    values: readonly unknown[],
    options: ValuesOptions = {},
  ): Promise<ValueResults<string | Buffer | null>> {
    return encryptValues(
      this.installation,
      encryptedProperty(this.installation, entity, property),
      values,
      options,
    );
  }

  /** Decrypts the values of an array, with one key look-up for all. */
  async decryptValues<T extends ObjectLiteral>(
    entity: EntityTarget<T>,
    property: string,
    stored: readonly unknown[],
    options: ValuesOptions = {},
  ): Promise<ValueResults<unknown>> {
    return decryptValues(
      this.installation,
      encryptedProperty(this.installation, entity, property),
      stored,
      options,
    );
  }

  /**
   * Returns what encrypts values of a purpose that are stored elsewhere than in an entity, such as in a queue or a
   * cache. Keep it: making it costs more than a value.
   *
   * @throws {@link ConfigurationError} for a purpose that is not a text of 1 to 256 characters
   */
  value(purpose: string, options?: PurposeOptions): PurposeValues {
    return new PurposeValues(this.installation, purpose, options);
  }

  /**
   * Finds entities in an order that the database cannot give: reads the primary keys and sort keys of all
   * rows that `where` finds, sorts them, and loads the page. For results of some thousand rows at most.
   *
   * @throws {@link UnsupportedQueryError} above `limit`, and for an order by anything but columns of the entity
   */
  sorted<T extends ObjectLiteral>(
    entity: EntityTarget<T>,
    options: SortedOptions<T>,
    { manager }: ValueOptions = {},
  ): Promise<T[]> {
    return sortedEntities(this.installation, entity, options, manager);
  }
}

/**
 * Returns the handle to keys, status and re-encryption of a DataSource.
 *
 * @throws {@link ConfigurationError} for one that is not wrapped by `withFieldEncryption`
 */
export function fieldEncryption(dataSource: DataSource): FieldEncryption {
  return new FieldEncryption(installationOf(dataSource));
}
