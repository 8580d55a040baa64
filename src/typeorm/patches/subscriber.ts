import { validate } from 'class-validator';
import type { ValidationError } from 'class-validator';
import type { EntityMetadata, EntitySubscriberInterface, InsertEvent, UpdateEvent } from 'typeorm';

import { PlaintextValidationError } from '../../errors';
import { maskWritten } from '../../field/field-errors';
import { isMask, Sealed } from '../../field/sealed';
import type { Installation } from '../installation/installation';
import type { EncryptedEntity } from '../metadata/encrypted-column';
import { rootEntityName } from '../metadata/field-policies';

/**
 * A subscriber that runs an entity's class-validator rules on the plaintext before it is encrypted
 * (`validate: true`), as constraints of the database no longer see it. `withFieldEncryption` registers it.
 *
 * It sees whole entities, so rules that depend on other properties work; updates of plain objects are
 * checked for the properties that they set.
 */
export class FieldEncryptionSubscriber implements EntitySubscriberInterface {
  readonly #installation: Installation;

  constructor(installation: Installation) {
    this.#installation = installation;
  }

  async beforeInsert({ metadata, entity }: InsertEvent<object>): Promise<void> {
    await this.#validate(metadata, entity, { skipUndefinedProperties: false });
  }

  async beforeUpdate({ metadata, entity }: UpdateEvent<object>): Promise<void> {
    if (entity !== undefined) {
      await this.#validate(metadata, entity, { skipUndefinedProperties: true });
    }
  }

  async #validate(
    metadata: EntityMetadata,
    entity: object,
    options: { skipUndefinedProperties: boolean },
  ): Promise<void> {
    const encrypted = this.#installation.encryptedEntity(metadata);
    if (encrypted === undefined) return;
    const all = await validate(instanceOf(metadata, entity), {
      ...options,
      // Rules may name groups or be absent altogether: neither is a violation.
      forbidUnknownValues: false,
      validationError: { target: false, value: false },
    });
    const errors = withoutSealed(all, entity);
    if (errors.length === 0) return;
    requireNoMask(encrypted, entity);
    throw violation(metadata, errors);
  }
}

/** The mask of a form that is sent back breaks most rules, which says nothing of what is wrong. */
function requireNoMask({ columns }: EncryptedEntity, entity: object): void {
  for (const { column, isSealed, policy } of columns) {
    if (isSealed && isMask(column.getEntityValue(entity))) throw maskWritten(policy);
  }
}

/** Leaves out the errors of sealed values, which obeyed the rules when they were written. */
function withoutSealed(errors: readonly ValidationError[], within: unknown): ValidationError[] {
  return errors.flatMap((error) => {
    const { property, children = [] } = error;
    const value = (Object(within) as Record<string, unknown>)[property];
    if (value instanceof Sealed) return [];
    if (children.length === 0) return [error];
    const left = withoutSealed(children, value);
    const hasOwn = Object.keys(error.constraints ?? {}).length > 0;
    return left.length > 0 || hasOwn ? [Object.assign(error, { children: left })] : [];
  });
}

/** Gives plain objects the entity's class, which has the rules. */
function instanceOf(metadata: EntityMetadata, entity: object): object {
  const { target } = metadata;
  if (typeof target !== 'function' || entity instanceof target) return entity;
  return Object.assign(Object.create(target.prototype as object) as object, entity);
}

function violation(
  metadata: EntityMetadata,
  errors: readonly ValidationError[],
): PlaintextValidationError {
  const violations = violationsOf(errors);
  const entity = rootEntityName(metadata);
  const list = violations
    .map(({ property, constraints }) => `${property} (${constraints.join(', ')})`)
    .join('; ');
  return new PlaintextValidationError(
    `${entity}: the plaintext breaks its rules: ${list}. Nothing was written.`,
    { entity, ...(violations[0] && { property: violations[0].property }), violations },
  );
}

/** Returns only the names of rules: their messages may quote the value. */
function violationsOf(
  errors: readonly ValidationError[],
  prefix = '',
): { property: string; constraints: string[] }[] {
  return errors.flatMap(({ property, constraints = {}, children = [] }) => {
    const path = `${prefix}${property}`;
    const own = Object.keys(constraints);
    return [
      ...(own.length > 0 ? [{ property: path, constraints: own }] : []),
      ...violationsOf(children, `${path}.`),
    ];
  });
}
