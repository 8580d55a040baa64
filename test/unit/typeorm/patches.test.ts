import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DataSource } from 'typeorm';

import type * as Library from '../../../src';
import type * as Install from '../../../src/typeorm/patches/install';
import { typeormMajor } from '../../support/databases';

/** The values and getters of some objects' own members, by names such as `EntityManager.findOneOrFail`. */
type Members = ReadonlyMap<string, unknown>;

const prototypes = prototypesOf(dirname(require.resolve('typeorm')));
const untouched = membersOf(prototypes);
// An import would come before the look at what there was.
const library = jest.requireActual<typeof Library>('../../../src');
const afterImport = membersOf(prototypes);
const { patchTypeorm } = jest.requireActual<typeof Install>('../../../src/typeorm/patches/install');

/** What a wrapped DataSource changes of TypeORM's classes. */
const PATCHED: Record<string, readonly string[]> = {
  BetterSqlite3QueryRunner: ['query'],
  Broadcaster: ['broadcast', 'broadcastBeforeQueryEvent'],
  DeleteQueryBuilder: ['execute', 'getQuery', 'orWhere'],
  EntityManager: ['findOneByOrFail', 'findOneOrFail'],
  EntityPersistExecutor: ['execute'],
  InsertQueryBuilder: [
    'createColumnValueExpression',
    'execute',
    'getInsertedColumns',
    'getQuery',
    'getQueryAndParameters',
    'orUpdate',
  ],
  QueryBuilder: [
    ...['createReturningExpression', 'getPredicates'],
    ...['getQueryAndParameters', 'getWherePredicateCondition', 'obtainQueryRunner'],
  ],
  RawSqlResultsToEntityTransformer: ['transformColumns'],
  SelectQueryBuilder: [
    'applyFindOptions',
    'buildEscapedEntityColumnSelects',
    'buildWhere',
    'clone',
    // TypeORM 0.3 counts rows, whatever is selected.
    ...(typeormMajor === 1 ? ['executeCountQuery'] : []),
    'executeEntitiesAndRawResults',
    'executeExistsQuery',
    'getOneOrFail',
    'getQuery',
    'getRawMany',
    'loadRawResults',
    'obtainQueryRunner',
    'orWhere',
    'stream',
  ],
  SoftDeleteQueryBuilder: ['execute', 'getQuery', 'orWhere'],
  Subject: ['createValueSetAndPopChangeMap'],
  SubjectChangedColumnsComputer: ['compute'],
  SubjectExecutor: ['updateSpecialColumnsInInsertedAndUpdatedEntities'],
  UpdateQueryBuilder: ['execute', 'getQuery', 'getQueryAndParameters', 'getValueSet', 'orWhere'],
};

/** What a marked column changes of them, so that no DataSource uses it unprotected. */
const GUARDED: Record<string, readonly string[]> = {
  DeleteQueryBuilder: ['getQuery'],
  InsertQueryBuilder: ['getQuery'],
  QueryBuilder: ['getWhereCondition'],
  SelectQueryBuilder: ['buildWhere', 'getQuery'],
  SoftDeleteQueryBuilder: ['getQuery'],
  UpdateQueryBuilder: ['getQuery'],
};

/** What is changed of a wrapped DataSource itself, and of its driver. */
const overridden = (...ofOneDriver: string[]): Record<string, readonly string[]> => ({
  dataSource: [
    'Symbol(typeorm-field-encryption:wrapped)',
    'buildMetadatas',
    'destroy',
    'dropDatabase',
    'findMetadata',
    'initialize',
    'runMigrations',
    'synchronize',
  ],
  driver: [
    'createGeneratedMap',
    'createSchemaBuilder',
    'escapeQueryWithParameters',
    'normalizeType',
    'prepareHydratedValue',
    'preparePersistentValue',
    ...ofOneDriver,
  ].sort(),
});

describe('the patches of TypeORM', () => {
  it('do not come with the import', () => {
    expect(changes(untouched, afterImport)).toEqual([]);
  });

  it('are these, once, where a column is marked', () => {
    library.encryptedColumn();
    const marked = membersOf(prototypes);
    expect(changes(afterImport, marked)).toEqual(listed(GUARDED));
    library.encryptedColumn();
    expect(changes(marked, membersOf(prototypes))).toEqual([]);
  });

  it('are these, once, where a DataSource is wrapped', () => {
    const before = membersOf(prototypes);
    patchTypeorm();
    const patched = membersOf(prototypes);
    expect(changes(before, patched)).toEqual(listed(PATCHED));
    patchTypeorm();
    expect(changes(patched, membersOf(prototypes))).toEqual([]);
  });

  it.each([
    ['better-sqlite3', ['createQueryRunner']],
    ['postgres', ['obtainMasterConnection', 'obtainSlaveConnection']],
    ['mariadb', ['obtainMasterConnection', 'obtainSlaveConnection']],
  ] as const)('are these in a DataSource and its driver for %s', (type, ofOneDriver) => {
    const dataSource = new DataSource({ type, database: ':memory:' });
    const objects = new Map<string, object>([
      ['dataSource', dataSource],
      ['driver', dataSource.driver],
    ]);
    const before = membersOf(objects);
    library.withFieldEncryption(dataSource, { kms: library.localKms({ keyFile: 'none' }) });
    expect(changes(before, membersOf(objects))).toEqual(listed(overridden(...ofOneDriver)));
  });
});

/** The prototypes of all classes in TypeORM's package, exported by it or not, by their names. */
function prototypesOf(folder: string): Map<string, object> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.js') && !/^(browser|cli|commands|node_modules|typeorm-)/.test(file),
  );
  const found = new Map<string, object>();
  for (const file of files) {
    const exported = jest.requireActual<Record<string, unknown>>(join(folder, file));
    for (const [name, { prototype }] of Object.entries(exported).filter(isClass)) {
      const isTaken = found.has(name) && found.get(name) !== prototype;
      found.set(isTaken ? `${name} of ${file}` : name, prototype);
    }
  }
  return found;
}

function isClass(
  exported: readonly [name: string, value: unknown],
): exported is [name: string, { readonly prototype: object }] {
  const [, value] = exported;
  return typeof value === 'function' && typeof value.prototype === 'object';
}

function membersOf(objects: ReadonlyMap<string, object>): Members {
  const members = new Map<string, unknown>();
  for (const [name, object] of objects) {
    for (const key of Reflect.ownKeys(object)) {
      const { value, get } = Reflect.getOwnPropertyDescriptor(object, key) ?? {};
      members.set(`${name}.${String(key)}`, get ?? value);
    }
  }
  return members;
}

function changes(before: Members, after: Members): string[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => before.get(name) !== after.get(name)).sort();
}

function listed(table: Record<string, readonly string[]>): string[] {
  return Object.entries(table).flatMap(([name, members]) => members.map((m) => `${name}.${m}`));
}
