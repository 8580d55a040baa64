import type { DataSource, EntityMetadata, EntityTarget, ObjectLiteral, QueryRunner } from 'typeorm';
import { EntityPersistExecutor } from 'typeorm/persistence/EntityPersistExecutor.js';
import { FieldEncryptionError } from '../errors';
import { installationOf, isInstalled } from './installation';

const HOOKED = Symbol.for('typeorm-field-encryption:keys-before-saving');

/** TypeORM types its executor as a class, of which only these parts are looked at. */
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

/** What entities of a class may be saved with: those that its relations cascade to belong to them. */
const savedWith = new WeakMap<EntityMetadata, readonly EntityMetadata[]>();

/**
 * `save()` opens a transaction of its own and then writes. The keys are made ready before it, while no
 * connection is held: only where the caller has a transaction open must the KMS be asked within it.
 */
export function prepareKeysBeforeSaving(): void {
  const prototype = EntityPersistExecutor.prototype as unknown as Executor;
  if (Object.hasOwn(prototype, HOOKED)) return;
  Object.defineProperty(prototype, HOOKED, { value: true });
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
  let preparing: Promise<void> | undefined;
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

async function both(first: Promise<void> | undefined, second: Promise<void>): Promise<void> {
  await first;
  await second;
}

/** What cannot be had is said by the value that needs it; there may be none. */
function leaveToValues(failure: unknown): void {
  if (!(failure instanceof FieldEncryptionError)) throw failure;
}

function targetsOf({ target, entity }: Executor): EntityTarget<ObjectLiteral>[] {
  if (target !== undefined) return [target];
  const entities: readonly unknown[] = Array.isArray(entity) ? entity : [entity];
  const classes = entities.flatMap((each) =>
    typeof each === 'object' && each !== null ? [each.constructor] : [],
  );
  return [...new Set(classes)];
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
