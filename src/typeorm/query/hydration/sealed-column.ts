import type { QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import { ErasedError } from '../../../errors';
import { sealedParts } from '../../../field/sealed';
import type { Sealed, SealedOrigin, SealedParts, SealedPlace } from '../../../field/sealed';
import { channels } from '../../../telemetry/channels';
import type { Installation } from '../../installation/installation';
import { noteUse } from '../../installation/value-use';
import {
  decryptStored,
  fetchPrevious,
  keyPrefixOf,
  scopeOfValue,
} from '../../metadata/encrypted-column';
import type { EncryptedColumn } from '../../metadata/encrypted-column';
import { tellOfFailure } from '../../metadata/failure-message';
import { StoredInRow } from '../../metadata/stored-in-row';

/** The positions of columns in the cells that the sealed values of a row keep. */
export type CellPositions = ReadonlyMap<ColumnMetadata, number>;

/** A column of a result, whose values stay encrypted until they are revealed. */
export class SealedColumn implements SealedOrigin {
  readonly #installation: Installation;
  readonly #encrypted: EncryptedColumn;
  readonly #positions: CellPositions;

  constructor(installation: Installation, encrypted: EncryptedColumn, positions: CellPositions) {
    this.#installation = installation;
    this.#encrypted = encrypted;
    this.#positions = positions;
  }

  cellOf(column: ColumnMetadata, cells: readonly unknown[]): unknown {
    return cells[this.#positions.get(column) ?? -1];
  }

  placeOf({ cells }: SealedParts): SealedPlace {
    const { driver } = this.#installation.dataSource;
    return sealedPlace(this.#encrypted, (primary): unknown =>
      driver.prepareHydratedValue(this.cellOf(primary, cells), primary),
    );
  }

  async reveal(parts: SealedParts): Promise<unknown> {
    const [value] = await this.open([parts], undefined);
    if (channels.reveal.hasSubscribers) channels.reveal.publish(this.placeOf(parts));
    return value;
  }

  /** Decrypts values, which counts as their use. One of an erased scope is `null` if the options say so. */
  async open(
    all: readonly SealedParts[],
    queryRunner: QueryRunner | undefined,
  ): Promise<unknown[]> {
    const installation = this.#installation;
    const encrypted = this.#encrypted;
    noteUse(installation, encrypted, 'decrypt', () => all.length);
    try {
      const stored = all.map((each) => each.stored);
      await installation.loadKeys(
        stored.flatMap((value) => keyPrefixOf(encrypted, value) ?? []),
        queryRunner,
      );
      if (encrypted.scope !== undefined) await installation.recordAcrossScopes(queryRunner);
      const ready = await fetchPrevious(encrypted, stored);
      return all.map(({ cells }, i) => this.#decrypt(ready[i], cells));
    } catch (error) {
      throw tellOfFailure(installation.dataSource, 'decrypt', error, encrypted.policy);
    }
  }

  #decrypt(stored: unknown, cells: readonly unknown[]): unknown {
    const { keys, options } = this.#installation;
    const { binding, scope } = this.#encrypted;
    try {
      if (binding === undefined) return decryptStored(this.#encrypted, stored);
      const cellOf = (column?: ColumnMetadata): unknown => column && this.cellOf(column, cells);
      const ofKey = scope && scopeOfValue(keys, this.#encrypted, stored);
      const scopeId = scope && (scope.ofRead({ value: cellOf }, ofKey) ?? '');
      const context = binding.contextOf((i) => cellOf(binding.columns[i]), scopeId);
      return decryptStored(this.#encrypted, new StoredInRow(stored, context));
    } catch (error) {
      if (error instanceof ErasedError && options.onErased === 'null') return null;
      throw error;
    }
  }
}

/** Decrypts sealed values of one column in one result. */
export function openSealed(
  sealed: readonly Sealed[],
  queryRunner: QueryRunner | undefined,
): Promise<unknown[]> {
  const parts = sealed.map(sealedParts).filter((each) => each !== undefined);
  const origin = parts[0]?.origin;
  return origin instanceof SealedColumn ? origin.open(parts, queryRunner) : Promise.resolve([]);
}

/** Returns the place of the value of a property in a row. */
export function sealedPlace(
  { column, policy }: EncryptedColumn,
  primaryKey: (column: ColumnMetadata) => unknown,
): SealedPlace {
  const { connection, primaryColumns } = column.entityMetadata;
  return {
    source: connection,
    ...{ entity: policy.entity, property: policy.property },
    primaryKey: primaryColumns.map((primary) => textOf(primaryKey(primary))),
  };
}

function textOf(key: unknown): string {
  if (key instanceof Date) return key.toISOString();
  return Buffer.isBuffer(key) ? key.toString('hex') : String(key);
}
