import type { EntityMetadata, ObjectLiteral } from 'typeorm';
import { SubjectChangedColumnsComputer } from 'typeorm/persistence/SubjectChangedColumnsComputer.js';
import { installationOf, isInstalled } from './installation';

/** Not the same for another copy of this library, which has DataSources of its own. */
const CHECKED = Symbol('compared-values');

/** What the diff looks at: an entity that is saved, and the row as it is in the database. */
interface Subject {
  readonly metadata: EntityMetadata;
  readonly entity?: ObjectLiteral;
  readonly databaseEntity?: ObjectLiteral;
}

/** TypeORM types its subjects as a class, of which only these parts are looked at. */
interface Computer {
  compute: (this: Computer, subjects: readonly Subject[]) => void;
}

/**
 * Has `save()` of a row refuse what other writes refuse, before TypeORM compares it as text: the
 * text of a Map is that of an empty object, so that nothing would seem to have changed, and the
 * errors of `JSON.stringify` name keys of the value or say what its `toJSON` threw.
 */
export function checkComparedValues(): void {
  const prototype = SubjectChangedColumnsComputer.prototype as unknown as Computer;
  if (Object.hasOwn(prototype, CHECKED)) return;
  Object.defineProperty(prototype, CHECKED, { value: true });
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
  for (const { column, cipher, comparedAsText } of columns) {
    if (!comparedAsText) continue;
    const value: unknown = column.getEntityValue(entity);
    if (value !== undefined && value !== null) cipher.check(value);
  }
}
