import type { DataSource, EntityMetadata, EntityTarget, ObjectLiteral, QueryRunner } from 'typeorm';
import { EntityPersistExecutor } from 'typeorm/persistence/EntityPersistExecutor.js';
import { Subject as TypeormSubject } from 'typeorm/persistence/Subject.js';
import { SubjectExecutor } from 'typeorm/persistence/SubjectExecutor.js';
import { SubjectChangedColumnsComputer } from 'typeorm/persistence/SubjectChangedColumnsComputer.js';

import { installationOf, isInstalled } from '../installation/installations';
import type { Installation } from '../installation/installation';
import type { EncryptedEntity } from '../metadata/encrypted-column';
import { mayBeOmitted } from '../query/write/omitted-values';
import { leaveToValues } from '../query/write/prepared-write';
import { leaveUntouched } from '../query/write/sealed-writes';
import { noteSavedRow } from '../query/write/updated-row';
import { savedAlong, scopesOfEntities } from '../query/write/written-scopes';
import { requireUseOfWritten } from '../query/write/written-values';

/** The part of TypeORM's executor that is used. */
interface Executor {
  readonly dataSource?: DataSource;
  /** The same in TypeORM 0.3. */
  readonly connection?: DataSource;
  readonly queryRunner: QueryRunner | undefined;
  readonly target: EntityTarget<ObjectLiteral> | undefined;
  readonly entity: unknown;
  readonly mode: 'save' | 'remove' | 'soft-remove' | 'recover';
  execute: (this: Executor) => Promise<void>;
}

/** The entities that may be saved along with one, by cascading relations. */
const savedWith = new WeakMap<EntityMetadata, readonly EntityMetadata[]>();

/**
 * Prepares the keys before `save()` opens its transaction, while no connection is held. Only within a
 * transaction of the caller must the KMS be asked while one is.
 */
export function prepareKeysBeforeSaving(): void {
  const prototype = EntityPersistExecutor.prototype as unknown as Executor;
  const { execute } = prototype;
  prototype.execute = function () {
    const preparing = preparationOf(this);
    return preparing === undefined ? execute.call(this) : preparing.then(() => execute.call(this));
  };
}

function preparationOf(executor: Executor): Promise<void> | undefined {
  const dataSource = executor.dataSource ?? executor.connection;
  if (executor.queryRunner !== undefined || dataSource === undefined || !isInstalled(dataSource)) {
    return undefined;
  }
  // Removed rows need no keys.
  if (executor.mode === 'remove') return undefined;
  const installation = installationOf(dataSource);
  if (executor.mode === 'save' && installation.access.isOn) {
    try {
      requireUseOfSaved(executor, installation);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return Promise.reject(error);
    }
  }
  let preparing = installation.hasScopes ? scopesPrepared(executor, installation) : undefined;
  for (const target of targetsOf(executor)) {
    if (!dataSource.hasMetadata(target)) continue;
    for (const metadata of allSavedWith(dataSource.getMetadata(target))) {
      const entity = installation.encryptedEntity(metadata);
      const next = entity && installation.prepareWrite(entity, undefined);
      if (next !== undefined) preparing = both(preparing, next.catch(leaveToValues));
    }
  }
  return preparing;
}

/** Prepares the keys of the scopes of all entities that are saved, with one query for all of them. */
async function scopesPrepared(executor: Executor, installation: Installation): Promise<void> {
  for (const [entity, saved] of encryptedEntities(executor, installation)) {
    if (entity.scopes.length === 0) continue;
    await installation.prepareWrite(entity, undefined)?.catch(leaveToValues);
    await installation.recordAcrossScopes(undefined);
    const { scopes, index } = scopesOfEntities(entity, saved);
    await installation.prepareScopes(scopes, { index }, undefined);
  }
}

/** Refuses values to an actor that may not encrypt any, before keys are prepared for them. */
function requireUseOfSaved(executor: Executor, installation: Installation): void {
  for (const [entity, saved] of encryptedEntities(executor, installation)) {
    requireUseOfWritten(installation, entity, saved);
  }
}

/** Returns the objects that are saved, and those along with them, of entities with encrypted columns. */
function encryptedEntities(
  executor: Executor,
  { dataSource, encryptedEntity }: Installation,
): [EncryptedEntity, readonly ObjectLiteral[]][] {
  const entities = entitiesOf(executor);
  const targets = targetsOf(executor).filter((target) => dataSource.hasMetadata(target));
  return targets.flatMap((target) => {
    const own = entities.filter(
      (each) => executor.target !== undefined || each.constructor === target,
    );
    const along = [...savedAlong(dataSource.getMetadata(target), own)];
    return along.flatMap(([metadata, saved]): [EncryptedEntity, readonly ObjectLiteral[]][] => {
      const entity = encryptedEntity(metadata);
      return entity === undefined ? [] : [[entity, saved]];
    });
  });
}

async function both(first: Promise<void> | undefined, second: Promise<void>): Promise<void> {
  await first;
  await second;
}

function targetsOf(executor: Executor): EntityTarget<ObjectLiteral>[] {
  if (executor.target !== undefined) return [executor.target];
  return [...new Set(entitiesOf(executor).map((each) => each.constructor as EntityTarget<object>))];
}

function entitiesOf({ entity }: Executor): ObjectLiteral[] {
  const entities: readonly unknown[] = Array.isArray(entity) ? entity : [entity];
  return entities.filter((each): each is object => typeof each === 'object' && each !== null);
}

function allSavedWith(metadata: EntityMetadata): readonly EntityMetadata[] {
  const known = savedWith.get(metadata);
  if (known !== undefined) return known;
  const found = new Set([metadata]);
  for (const each of found) {
    for (const child of each.childEntityMetadatas) found.add(child);
    for (const relation of each.relations) {
      const { isCascadeInsert, isCascadeUpdate, inverseEntityMetadata } = relation;
      if (isCascadeInsert || isCascadeUpdate) found.add(inverseEntityMetadata);
    }
  }
  const all = [...found];
  savedWith.set(metadata, all);
  return all;
}

/** An entity that is saved, and the row that it is compared with. */
interface Subject {
  readonly metadata: EntityMetadata;
  readonly entity?: ObjectLiteral;
  readonly databaseEntity?: ObjectLiteral;
}

/** The part of TypeORM's SubjectChangedColumnsComputer that is used. */
interface Computer {
  compute: (this: Computer, subjects: readonly Subject[]) => void;
}

/**
 * Makes `save()` refuse the values that other writes refuse, before TypeORM compares them as text: the
 * text of a Map is that of an empty object, so nothing would seem to have changed, and the errors of
 * `JSON.stringify` quote keys of the value, or what its `toJSON` threw.
 */
export function checkComparedValues(): void {
  const prototype = SubjectChangedColumnsComputer.prototype as unknown as Computer;
  const { compute } = prototype;
  prototype.compute = function (subjects) {
    for (const subject of subjects) checkSubject(subject);
    compute.call(this, subjects);
  };
}

function checkSubject({ metadata, entity, databaseEntity }: Subject): void {
  if (entity === undefined || databaseEntity === undefined) return;
  if (!isInstalled(metadata.connection)) return;
  const { columns = [] } = installationOf(metadata.connection).encryptedEntity(metadata) ?? {};
  for (const encrypted of columns) {
    const { column, cipher, comparedAsText } = encrypted;
    const value: unknown = column.getEntityValue(entity);
    if (value === undefined || value === null) continue;
    if (!leaveUntouched(encrypted, value, databaseEntity) && comparedAsText) cipher.check(value);
  }
}

/** The part of TypeORM's Subject that is used. */
interface WrittenSubject {
  readonly databaseEntity?: ObjectLiteral;
  createValueSetAndPopChangeMap: (this: WrittenSubject) => ObjectLiteral;
}

/** Notes the rows that `save()` updates: the statement tells them apart by their primary key alone. */
export function noteSavedRows(): void {
  const prototype = TypeormSubject.prototype as unknown as WrittenSubject;
  const { createValueSetAndPopChangeMap: create } = prototype;
  prototype.createValueSetAndPopChangeMap = function () {
    const values = create.call(this);
    noteSavedRow(values, this.databaseEntity);
    return values;
  };
}

/** The part of TypeORM's SubjectExecutor that is used. */
interface SubjectsExecutor {
  readonly insertSubjects: readonly Subject[];
  updateSpecialColumnsInInsertedAndUpdatedEntities: (
    this: SubjectsExecutor,
    subjects: readonly Subject[],
  ) => void;
}

/**
 * Leaves properties undefined after `save()` that may have been omitted when their row was read, where TypeORM sets
 * those of nullable columns to null: the next `save()` would write that over the value.
 */
export function leaveOmittedOut(): void {
  const prototype = SubjectExecutor.prototype as unknown as SubjectsExecutor;
  const { updateSpecialColumnsInInsertedAndUpdatedEntities: update } = prototype;
  prototype.updateSpecialColumnsInInsertedAndUpdatedEntities = function (subjects) {
    // A row that was inserted does hold NULL.
    const omitted = subjects === this.insertSubjects ? [] : subjects.map(leftOut);
    update.call(this, subjects);
    for (const restore of omitted) restore();
  };
}

/** Returns a function that makes the properties of an entity undefined again that are so now. */
function leftOut({ metadata, entity }: Subject): () => void {
  if (entity === undefined || !isInstalled(metadata.connection)) return () => undefined;
  const { encryptedEntity, options } = installationOf(metadata.connection);
  const columns = (encryptedEntity(metadata)?.columns ?? [])
    .filter((encrypted) => mayBeOmitted(encrypted, options))
    .map(({ column }) => column)
    .filter((column) => column.getEntityValue(entity) === undefined);
  return () => {
    for (const column of columns) {
      if (column.getEntityValue(entity) === null) column.setEntityValue(entity, undefined);
    }
  };
}
