import 'reflect-metadata';
import { Column, getMetadataArgsStorage } from 'typeorm';
import type { ColumnOptions } from 'typeorm';

import {
  BlindIndexColumnGuard,
  blindIndexColumnOptions,
  EncryptedColumnGuard,
  encryptedColumnOptions,
  NOT_EMITTED,
} from './declare/column-guard';
import { indexPropertyName } from './declare/column-options';
import type { BlindIndexOptions, EncryptedOptions } from './declare/column-options';
import { refuseUnprotectedUse } from './patches/unprotected-use';

/**
 * Stores the property encrypted. Replaces TypeORM's `@Column`.
 *
 * Values are encrypted on their way to the database and decrypted on their way back; entities in memory
 * hold plaintext. Wrong options are an {@link InvalidFieldPolicyError} at `initialize()`.
 *
 * @example
 * ```ts
 * @Encrypted({ nullable: true }) ssn!: string | null;
 * @Encrypted({ type: 'json' }) history!: Visit[];
 * ```
 */
export function Encrypted(options: EncryptedOptions = {}): PropertyDecorator {
  refuseUnprotectedUse();
  return (prototype, propertyKey) => {
    const property = String(propertyKey);
    const emitted: unknown = Reflect.getMetadata('design:type', prototype, propertyKey);
    const designType = emitted ?? NOT_EMITTED;
    const existing = columnArgsOf(prototype.constructor, property);
    if (existing !== undefined) {
      // TypeORM keeps the first of two columns of a property: make that one refuse rather than store cleartext.
      existing.options.transformer = new EncryptedColumnGuard(options, designType, true);
      return;
    }
    Column(encryptedColumnOptions(new EncryptedColumnGuard(options, designType)))(
      prototype,
      propertyKey,
    );
  };
}

/**
 * Adds a blind index: a hidden column that holds a keyed hash of the property, so that `find` can look rows
 * up by value. Goes with {@link Encrypted}, in any order; a property may have several.
 *
 * **Warning**: anyone who reads the database sees which rows hold equal values.
 */
export function BlindIndex(options: BlindIndexOptions = {}): PropertyDecorator {
  refuseUnprotectedUse();
  return (prototype, propertyKey) => {
    const property = String(propertyKey);
    const target = prototype.constructor;
    const { columns } = getMetadataArgsStorage();
    // Decorators run from the last to the first: the one written first goes to the front.
    const next = columns.findIndex((args) => args.target === target && isIndexOn(args, property));
    columns.splice(next === -1 ? columns.length : next, 0, {
      target,
      propertyName: indexPropertyName(property, options),
      mode: 'virtual',
      options: blindIndexColumnOptions(new BlindIndexColumnGuard(property, options)),
    });
  };
}

function isIndexOn({ options }: { options: ColumnOptions }, property: string): boolean {
  const { transformer } = options;
  return transformer instanceof BlindIndexColumnGuard && transformer.sourceProperty === property;
}

function columnArgsOf(target: unknown, property: string): { options: ColumnOptions } | undefined {
  return getMetadataArgsStorage().columns.find(
    (args) => args.target === target && args.propertyName === property,
  );
}
