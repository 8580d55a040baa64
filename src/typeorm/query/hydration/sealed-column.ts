import type { QueryRunner } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { ApplyValueTransformers } from 'typeorm/util/ApplyValueTransformers.js';

import { ErasedError } from '../../../errors';
import { sealedParts } from '../../../field/sealed';
import type {
  RevealOptions,
  Sealed,
  SealedOrigin,
  SealedParts,
  SealedPlace,
} from '../../../field/sealed';
import { channels } from '../../../telemetry/channels';
import type { Installation } from '../../installation/installation';
import { noteUseInTurn } from '../../installation/value-use';
import {
  decryptStored,
  fetchPrevious,
  keyPrefixOf,
  scopeOfValue,
} from '../../metadata/encrypted-column';
import type { EncryptedColumn } from '../../metadata/encrypted-column';
import { tellOfFailure } from '../../metadata/failure-message';
import { StoredInRow } from '../../metadata/stored-in-row';

import { keyText } from './key-text';

/** The positions of columns in the cells that the sealed values of a row keep. */
export type CellPositions = ReadonlyMap<ColumnMetadata, number>;

/** The result that sealed values come from. */
export interface SealedResult {
  readonly installation: Installation;
  /** The connection of it, if the application holds it. */
  readonly readBy: QueryRunner | undefined;
}

/** A column of a result, whose values stay encrypted until they are revealed. */
export class SealedColumn implements SealedOrigin {
  readonly #installation: Installation;
  readonly #encrypted: EncryptedColumn;
  readonly #positions: CellPositions;
  readonly #readBy: QueryRunner | undefined;

  constructor(
    { installation, readBy }: SealedResult,
    encrypted: EncryptedColumn,
    positions: CellPositions,
  ) {
    this.#installation = installation;
    this.#readBy = readBy;
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

  async reveal(parts: SealedParts, { manager }: RevealOptions): Promise<unknown> {
    // Within the transaction that has read it, the pool may have no other connection.
    const readBy = this.#readBy?.isTransactionActive === true ? this.#readBy : undefined;
    const given = manager?.queryRunner as QueryRunner | undefined;
    const [value] = await this.open([parts], given ?? readBy);
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
    await noteUseInTurn(queryRunner, installation, encrypted, 'decrypt', () => all.length);
    const ready = await this.#prepared(
      all.map(({ stored }) => stored),
      queryRunner,
    );
    return all.map(({ cells }, i) => this.#decrypt(ready[i], cells));
  }

  /** Makes the keys of stored values usable, and fetches those of remote formats. */
  async #prepared(
    stored: readonly unknown[],
    queryRunner: QueryRunner | undefined,
  ): Promise<readonly unknown[]> {
    const installation = this.#installation;
    const encrypted = this.#encrypted;
    try {
      const prefixes = stored.flatMap((value) => keyPrefixOf(encrypted, value) ?? []);
      await installation.loadKeys(prefixes, queryRunner);
      if (encrypted.scope !== undefined) await installation.recordAcrossScopes(queryRunner);
      return await fetchPrevious(encrypted, stored);
    } catch (error) {
      throw tellOfFailure(installation.dataSource, 'decrypt', error, encrypted.policy);
    }
  }

  #decrypt(stored: unknown, cells: readonly unknown[]): unknown {
    const { dataSource, keys, options } = this.#installation;
    const { binding, policy, scope } = this.#encrypted;
    try {
      if (binding === undefined) return decryptStored(this.#encrypted, stored);
      const cellOf = (column?: ColumnMetadata): unknown => column && this.cellOf(column, cells);
      const ofKey = scope && scopeOfValue(keys, this.#encrypted, stored);
      const scopeId = scope && (scope.ofRead({ value: cellOf }, ofKey) ?? '');
      const context = binding.contextOf((i) => cellOf(binding.columns[i]), scopeId);
      return decryptStored(this.#encrypted, new StoredInRow(stored, context));
    } catch (error) {
      if (error instanceof ErasedError && options.onErased === 'null') return null;
      throw tellOfFailure(dataSource, 'decrypt', error, policy, stored);
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

function storedKey({ transformer }: ColumnMetadata, key: unknown): unknown {
  return transformer === undefined ? key : ApplyValueTransformers.transformTo(transformer, key);
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
    // As the database has it: what a transformer makes of it may be an object of any class.
    primaryKey: primaryColumns.map((primary) => keyText(storedKey(primary, primaryKey(primary)))),
  };
}
