import type { EntityMetadata } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';

import type { CipherSuite } from '../../crypto/aead';
import { BRANCH_NAME } from '../../keys/record/scope';
import { FULL_TOKEN_BITS } from '../../crypto/token-mac';
import type { BlindIndexPolicy, IndexDefinition } from '../../field/blind-index';
import { hasCoercion } from '../../field/coercion';
import { DEFAULT_MAX_VALUE_BYTES } from '../../field/field-policy';
import type { FieldPolicy } from '../../field/field-policy';
import { resolveNormalizer } from '../../field/normalizer';
import { maxPlainBytes, storedLength } from '../../format/field-ciphertext';
import type { BlindIndexColumnGuard, EncryptedColumnGuard } from '../declare/column-guard';
import type {
  BlindIndexDefinition,
  BlindIndexOptions,
  EncryptedOptions,
} from '../declare/column-options';
import type { CheckedOptions } from '../declare/field-encryption-options';
import {
  BlindIndexOptionRules,
  EncryptedOptionRules,
  PreviousIndexRules,
} from '../declare/column-rules';
import { optionProblems } from '../declare/option-rules';

import {
  checkColumnDeclared,
  checkIndexDeclared,
  checkPlace,
  REFUSED_OPTIONS,
} from './column-checks';
import type { Refusal } from './column-checks';
import { typeOfDesign } from './design-type';
import { policyRefused } from './encrypted-column';
import type { RowScope } from './row-scope';

type PolicyContext = Pick<CheckedOptions, 'suite' | 'legacyUnbound' | 'legacyScope'> & {
  readonly scope?: RowScope | undefined;
};

/** Returns the policy that the options of an encrypted column make, or throws what is wrong with them. */
export function fieldPolicyOf(
  column: ColumnMetadata,
  guard: EncryptedColumnGuard,
  { suite, legacyUnbound = [], legacyScope = [], scope }: PolicyContext,
): FieldPolicy {
  const { options } = guard;
  const entity = rootEntityName(column.entityMetadata);
  const property = column.propertyPath;
  const refuse = refusalFor(entity, property);

  checkOptions(guard, refuse);
  checkPlace(column, refuse);
  checkColumnDeclared(column, guard, refuse);
  checkWidth(options, suite, refuse);
  const type = options.type ?? typeOfDesign(guard.designType, refuse);
  if (options.coerce === true && !hasCoercion(type)) {
    refuse(`option "coerce" has nothing to turn into ${type}. Leave it out.`);
  }
  return Object.freeze({
    entity,
    property,
    fieldId: options.id ?? `${entity}.${property}`,
    type,
    coerce: options.coerce ?? false,
    storage: options.storage ?? 'text',
    keyName: options.key ?? (scope === undefined ? 'default' : BRANCH_NAME),
    boundTo: [...(options.bindTo ?? []), ...(scope === undefined ? [] : [scope.name])],
    readsUnbound: [...legacyUnbound, ...legacyScope].includes(`${entity}.${property}`),
    isScoped: scope !== undefined,
    readsUnscoped: scope !== undefined && legacyScope.includes(`${entity}.${property}`),
    maxValueBytes: DEFAULT_MAX_VALUE_BYTES,
    isSealed: options.read === 'sealed',
    columnLength: options.length,
  });
}

/** Returns the policy that the options of a blind index make, or throws what is wrong with them. */
export function blindIndexPolicyOf(
  column: ColumnMetadata,
  guard: BlindIndexColumnGuard,
  source: FieldPolicy,
): BlindIndexPolicy {
  const { options } = guard;
  const refuse = refusalFor(source.entity, source.property);
  const { previous = [] } = options;
  const problems =
    optionProblems(BlindIndexOptionRules, options) ??
    previous
      .map((earlier) => optionProblems(PreviousIndexRules, earlier))
      .find((problem) => problem !== undefined);
  if (problems !== undefined) refuse(`@BlindIndex has ${problems}.`);
  checkIndexDeclared(column, guard, refuse);
  checkLeakage(options, source, refuse);
  if (options.unique !== undefined && options.uniqueWith !== undefined) {
    refuse(
      '@BlindIndex has both "unique", which is over all rows, and "uniqueWith". Leave one of them out.',
    );
  }
  return Object.freeze({
    name: options.name ?? '',
    ...definitionOf(options, refuse),
    unique: options.unique ?? options.uniqueWith !== undefined,
    previous: Object.freeze(previous.map((earlier) => definitionOf(earlier, refuse))),
  });
}

function definitionOf(options: BlindIndexDefinition, refuse: Refusal): IndexDefinition {
  return Object.freeze({
    normalizer: normalizerOf(options, refuse),
    bits: options.bits === FULL_TOKEN_BITS ? undefined : options.bits,
  });
}

/** Returns the name of the entity that stands for the table: with single-table inheritance, the parent. */
export function rootEntityName(metadata: EntityMetadata): string {
  let root = metadata;
  while (root.tableType === 'entity-child') root = root.parentEntityMetadata;
  return root.name;
}

function refusalFor(entity: string, property: string): Refusal {
  return (problem) => {
    throw policyRefused({ entity, property }, problem);
  };
}

function checkOptions({ options, conflicts }: EncryptedColumnGuard, refuse: Refusal): void {
  if (conflicts) {
    refuse(
      'has another column decorator beside @Encrypted. Remove the other one, @Encrypted replaces it.',
    );
  }
  for (const [name, why] of Object.entries(REFUSED_OPTIONS)) {
    if (name in options) refuse(`option "${name}" is refused: ${why}.`);
  }
  const problems = optionProblems(EncryptedOptionRules, options);
  if (problems !== undefined) refuse(`@Encrypted has ${problems}.`);
  if (options.length !== undefined && options.storage === 'binary') {
    refuse('option "length" needs storage "text". Remove one of the two.');
  }
}

function checkWidth({ length }: EncryptedOptions, suite: CipherSuite, refuse: Refusal): void {
  const needed = storedLength(1, suite, 'text');
  if (length !== undefined && length < needed) {
    refuse(
      `the column is too narrow: a ciphertext needs ${String(needed)} characters for one byte of plaintext, ` +
        `the column has ${String(length)}. Leave out "length", or make it at least ${String(needed)}` +
        ` (${String(storedLength(100, suite, 'text'))} hold 100 bytes; this one holds ${String(Math.max(0, maxPlainBytes(length, suite, 'text')))}).`,
    );
  }
}

function checkLeakage(options: BlindIndexOptions, source: FieldPolicy, refuse: Refusal): void {
  if (source.type === 'boolean' && options.acknowledgeLeakage !== true) {
    refuse(
      'a blind index on a boolean shows who has which of two values. Leave it out, ' +
        'or set acknowledgeLeakage: true if that may be known.',
    );
  }
}

function normalizerOf(
  { normalize = 'exact' }: BlindIndexDefinition,
  refuse: Refusal,
): IndexDefinition['normalizer'] {
  try {
    return resolveNormalizer(normalize);
  } catch (error) {
    return refuse(`@BlindIndex has ${(error as Error).message}.`);
  }
}
