import type { DataSource, EntityManager, EntityTarget, ObjectLiteral } from 'typeorm';
import { AuditTrail } from './audit-trail';
import { DataKeys } from './data-keys';
import { ConfigurationError } from './errors';
import { examine } from './doctor/doctor';
import type { Finding } from './doctor/finding';
import { healthProbe } from './health/health-probe';
import type { HealthOptions, HealthReport } from './health/health-report';
import type { BlindIndex } from './field/blind-index';
import { run } from './reencryption/runs/run';
import type { RunOptions } from './reencryption/report/run-options';
import type { RunReport } from './reencryption/report/run-report';
import { columnStatuses } from './reencryption/coverage/status';
import type { EncryptionStatus } from './reencryption/coverage/status';
import { decryptStored, fetchPrevious, keyPrefixOf } from './typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from './typeorm/metadata/encrypted-column';
import { installationOf } from './typeorm/installation/installation';
import type { Installation } from './typeorm/installation/installation';
import { withConnection } from './typeorm/connection/lent-connection';
import { valueResults } from './value-results';
import type { ValueResults } from './value-results';

/** Options of the methods that encrypt and decrypt values or make tokens. */
export interface ValueOptions {
  /**
   * The manager of the transaction that the call stands in. Keys that are not in memory are read on
   * its connection; without, a pool that its transactions have used up is waited for in vain.
   */
  manager?: EntityManager;
}

/** The handle to the encryption of a DataSource; see {@link fieldEncryption}. */
export class FieldEncryption {
  readonly #installation: Installation;
  readonly keys: DataKeys;
  readonly audit: AuditTrail;

  /** @internal */
  constructor(installation: Installation) {
    this.#installation = installation;
    this.keys = new DataKeys(installation);
    this.audit = new AuditTrail(installation);
  }

  /**
   * Makes the keys ready, creating the first ones, and throws what stands in the way: for an
   * application that wants to fail at start.
   */
  async ready(): Promise<void> {
    await this.#installation.requireAll();
  }

  /**
   * Looks for what is wrong or weak in configuration, KMS, keys, tables, logs and packages, the worst
   * first. Reads only, needs SELECT rights, and does not throw: what cannot be looked at is a finding.
   */
  doctor(): Promise<Finding[]> {
    return examine(this.#installation);
  }

  /**
   * Whether encrypted columns can be read and written now, and what threatens that: for a readiness
   * probe. An outage is reported and not thrown, nothing is waited for longer than `timeoutMs`, and
   * however often it is called, a KMS is asked at most every `rememberMs`. Keys that are due are loaded
   * as a use would load them.
   *
   * @throws {@link ConfigurationError} for options that are no whole numbers from 0 on
   */
  health(options?: HealthOptions): Promise<HealthReport> {
    return healthProbe(this.#installation).report(options);
  }

  /** Counts the rows of every encrypted column: NULL, cleartext, and under each data-key version. */
  async status(): Promise<EncryptionStatus> {
    const { keys, dataSource, backend } = this.#installation;
    const infos = await keys.list();
    const columns = await withConnection(dataSource, undefined, (runner) =>
      columnStatuses(this.#installation, runner, infos),
    );
    // Not enumerable: who compares or copies the list means the columns.
    return Object.defineProperty(columns, 'backend', {
      value: backend.backend,
    }) as EncryptionStatus;
  }

  /**
   * Encrypts the rows of columns that `legacyPlaintext` or `previousFormats` names, online. See
   * {@link RunOptions}; all runs can be interrupted, shared by several processes and taken up again.
   */
  encrypt(options?: RunOptions): Promise<RunReport> {
    return run(this.#installation, 'encrypt', options);
  }

  /** Moves every row to the active data key, its suite and the newest format, online. */
  reencrypt(options?: RunOptions): Promise<RunReport> {
    return run(this.#installation, 'reencrypt', options);
  }

  /** Gives every row the tokens that its blind indexes have now: of new, changed or rotated ones, online. */
  reindex(options?: RunOptions): Promise<RunReport> {
    return run(this.#installation, 'reindex', options);
  }

  /**
   * Turns rows back into cleartext, in columns that `legacyPlaintext` names, and empties their
   * blind indexes. What the application writes meanwhile is encrypted: stop it, or run again.
   */
  decrypt(options?: RunOptions): Promise<RunReport> {
    return run(this.#installation, 'decrypt', options);
  }

  /** Reads every row and its tokens, and lists what does not decrypt or match. Changes nothing. */
  verify(options?: RunOptions): Promise<RunReport> {
    return run(this.#installation, 'verify', options);
  }

  /**
   * The blind-index token to store with a value in hand-written SQL. `indexName` picks a named index.
   * To look rows up, see {@link FieldEncryption.tokens}.
   */
  async token<T extends ObjectLiteral>(
    entity: EntityTarget<T>,
    property: string,
    value: unknown,
    indexName?: string,
    options?: ValueOptions,
  ): Promise<string> {
    return (await this.#index(entity, property, indexName, options)).token(value);
  }

  /**
   * Every token that a row with the value may have, for a condition in hand-written SQL: that of
   * {@link FieldEncryption.token}, and while the index or its key changes those from before.
   */
  async tokens<T extends ObjectLiteral>(
    entity: EntityTarget<T>,
    property: string,
    value: unknown,
    indexName?: string,
    options?: ValueOptions,
  ): Promise<string[]> {
    return (await this.#index(entity, property, indexName, options)).tokens(value);
  }

  /** Encrypts a value as the property would store it; `null` stays `null`. For hand-written SQL. */
  async encryptValue<T extends ObjectLiteral>(
    entity: EntityTarget<T>,
    property: string,
    value: unknown,
    options?: ValueOptions,
  ): Promise<string | Buffer | null> {
    const { values, failures } = await this.encryptValues(entity, property, [value], options);
    if (failures[0] !== undefined) throw failures[0].error;
    return values[0] ?? null;
  }

  /** Decrypts a stored value of a raw result; `null` stays `null`. */
  async decryptValue<T extends ObjectLiteral>(
    entity: EntityTarget<T>,
    property: string,
    stored: unknown,
    options?: ValueOptions,
  ): Promise<unknown> {
    const { values, failures } = await this.decryptValues(entity, property, [stored], options);
    if (failures[0] !== undefined) throw failures[0].error;
    return values[0];
  }

  /** {@link FieldEncryption.encryptValue} over an array; a bad element is reported by its index. */
  async encryptValues<T extends ObjectLiteral>(
    entity: EntityTarget<T>,
    property: string,
    values: readonly unknown[],
    { manager }: ValueOptions = {},
  ): Promise<ValueResults<string | Buffer | null>> {
    const { cipher, policy } = this.#column(entity, property);
    await this.#installation.prepareDataKey(policy.keyName, manager?.queryRunner);
    return valueResults(values, (value) =>
      value === null || value === undefined ? null : cipher.encrypt(value),
    );
  }

  /** {@link FieldEncryption.decryptValue} over an array, with one key look-up for all. */
  async decryptValues<T extends ObjectLiteral>(
    entity: EntityTarget<T>,
    property: string,
    stored: readonly unknown[],
    { manager }: ValueOptions = {},
  ): Promise<ValueResults<unknown>> {
    const encrypted = this.#column(entity, property);
    await this.#installation.loadKeys(
      stored.flatMap((value) => keyPrefixOf(encrypted, value) ?? []),
      manager?.queryRunner,
    );
    const ready = await fetchPrevious(encrypted, stored);
    return valueResults(ready, (value) =>
      value === null || value === undefined ? null : decryptStored(encrypted, value),
    );
  }

  /** The index, ready to make tokens. */
  async #index(
    entity: EntityTarget<ObjectLiteral>,
    property: string,
    name: string | undefined,
    { manager }: ValueOptions = {},
  ): Promise<BlindIndex> {
    const encrypted = this.#column(entity, property);
    const indexed =
      name === undefined
        ? encrypted.indexes[0]
        : encrypted.indexes.find(({ policy }) => policy.name === name);
    if (indexed === undefined) throw noIndex(encrypted, name);
    await this.#installation.prepareIndexRoot(manager?.queryRunner);
    return indexed.index;
  }

  #column(entity: EntityTarget<ObjectLiteral>, property: string): EncryptedColumn {
    const metadata = this.#installation.dataSource.getMetadata(entity);
    const encrypted = this.#installation.columns.byEntity
      .get(metadata)
      ?.byPropertyPath.get(property);
    if (encrypted !== undefined) return encrypted;
    throw new ConfigurationError(`${metadata.name}.${property} is not an encrypted property.`, {
      entity: metadata.name,
      property,
    });
  }
}

/**
 * The handle to keys, status and re-encryption of a DataSource.
 *
 * @throws {@link ConfigurationError} for one that did not go through `withFieldEncryption`.
 */
export function fieldEncryption(dataSource: DataSource): FieldEncryption {
  return new FieldEncryption(installationOf(dataSource));
}

function noIndex({ policy }: EncryptedColumn, indexName: string | undefined): ConfigurationError {
  const { entity, property } = policy;
  const which = indexName === undefined ? 'no blind index' : `no blind index named "${indexName}"`;
  return new ConfigurationError(`${entity}.${property} has ${which}. Add @BlindIndex to it.`, {
    entity,
    property,
  });
}
