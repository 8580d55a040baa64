import type { EntityMetadata, ObjectLiteral, QueryRunner } from 'typeorm';
import { SubjectDatabaseEntityLoader } from 'typeorm/persistence/SubjectDatabaseEntityLoader.js';
import type { KnownValue } from './stand-in';

/** Not the same for another copy of this library, which has DataSources of its own. */
const HOOKED = Symbol('loaded-values');

/** An entity that is saved or removed. */
interface Subject {
  readonly metadata: EntityMetadata;
  readonly entity?: ObjectLiteral;
  readonly identifier?: ObjectLiteral;
}

/** TypeORM types its loader as a class, of which only these parts are looked at. */
interface Loader {
  readonly queryRunner: QueryRunner;
  readonly subjects: readonly Subject[];
  load: (this: Loader, operation: string) => Promise<void>;
}

/** The saves that are reading their rows on a connection, of which TypeORM runs several at once. */
class Saves {
  running = 0;
  readonly #known = new Map<EntityMetadata, Map<string, readonly KnownValue[]>>();

  /** Adds what is remembered of entities, by the primary keys of their rows. */
  add(subjects: readonly Subject[]): void {
    for (const { metadata, entity, identifier } of subjects.filter(isIdentified)) {
      saved.add(metadata);
      const values = remembered.get(entity);
      if (values === undefined) continue;
      const key = metadata.primaryColumns.map((c): unknown => c.getEntityValue(identifier));
      const rows = this.#known.get(metadata) ?? new Map<string, readonly KnownValue[]>();
      this.#known.set(metadata, rows.set(rowName(key), values));
    }
  }

  rows(metadata: EntityMetadata): ReadonlyMap<string, readonly KnownValue[]> | undefined {
    return this.#known.get(metadata);
  }
}

/** Lives as long as the entity that was loaded. */
const remembered = new WeakMap<object, readonly KnownValue[]>();
/** Entities of these are saved by the application: only then does remembering pay. */
const saved = new WeakSet<EntityMetadata>();
const saving = new WeakMap<QueryRunner, Saves>();

/**
 * `save()` reads each row again that it may have to update, to find out what has changed. What it
 * reads is, nearly always, what the entity was loaded from: where the ciphertext is the same, so is
 * the value, and is not decrypted a second time.
 */
export function reuseLoadedValues(): void {
  const prototype = SubjectDatabaseEntityLoader.prototype as unknown as Loader;
  if (Object.hasOwn(prototype, HOOKED)) return;
  Object.defineProperty(prototype, HOOKED, { value: true });
  const { load } = prototype;
  prototype.load = async function (operation) {
    // New entities have no rows to be read.
    if (!this.subjects.some(isIdentified)) return load.call(this, operation);
    const saves = saving.get(this.queryRunner) ?? new Saves();
    saving.set(this.queryRunner, saves);
    saves.add(this.subjects);
    saves.running += 1;
    try {
      await load.call(this, operation);
    } finally {
      saves.running -= 1;
      if (saves.running === 0) saving.delete(this.queryRunner);
    }
  };
}

function isIdentified(subject: Subject): subject is Required<Subject> {
  return subject.entity !== undefined && subject.identifier !== undefined;
}

/** Whether entities that are loaded on this connection are worth remembering: saved, and not loaded to be compared. */
export function isWorthRemembering(metadata: EntityMetadata, queryRunner: QueryRunner): boolean {
  return saved.has(metadata) && !saving.has(queryRunner);
}

/** Keeps the values of an entity that was loaded for when it is saved. */
export function remember(entity: object, values: readonly KnownValue[]): void {
  remembered.set(entity, values);
}

/** What is remembered of the rows that are read for a save on this connection, by their primary keys. */
export function recall(
  queryRunner: QueryRunner,
  metadata: EntityMetadata,
): ((primaryKey: readonly unknown[]) => readonly KnownValue[] | undefined) | undefined {
  const rows = saving.get(queryRunner)?.rows(metadata);
  if (rows === undefined) return undefined;
  return (primaryKey) => rows.get(rowName(primaryKey));
}

/** Another form in the row than in the entity finds nothing, and costs no more than that. */
function rowName(primaryKey: readonly unknown[]): string {
  return primaryKey.length === 1 ? String(primaryKey[0]) : JSON.stringify(primaryKey.map(String));
}
