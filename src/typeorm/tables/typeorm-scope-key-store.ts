import type { DataSource, QueryRunner, SelectQueryBuilder } from 'typeorm';

import type { Scope } from '../../keys/record/scope';
import type { ScopeKeyRecord } from '../../keys/record/scope-key-record';
import type {
  InsertedScopeKeys,
  RotatableScopes,
  ScopeCount,
  ScopeKeyChange,
  ScopeKeyStore,
} from '../../keys/scopes/scope-key-store';
import { pagesOf } from '../../keys/store/pages-of';
import { inOwnTransaction } from '../connection/own-transaction';
import { requireCommittedReads } from '../connection/committed-reads';
import { withOwnTables } from '../connection/table-access';
import { isUniqueViolation } from '../connection/transient-conflict';
import { dialectOf } from '../dialect/dialect-of';

import { countedScopes } from './counted-scopes';
import { hasMarkSql, rotatableScopes } from './rotatable-scopes';
import { insertRows, insertUntaken, recordOf, updateRows } from './scope-key-row';
import { ScopeKeySchema } from './scope-key-table';
import type { ScopeKeyRow } from './scope-key-table';
import { keysInTheirPlace } from './taken-slots';

/** Values in one statement; under the parameter limit of any database. */
const PER_QUERY = 5_000;
/** Rows in one INSERT or UPDATE, of eleven parameters each. */
const PER_WRITE = 500;

/** The marks of its scope, beside each key. */
const MARKS_OF_KEY = `m.kind = k.kind AND m.scope = k.scope AND m.purpose NOT IN ('data', 'index')`;

type Find = SelectQueryBuilder<ScopeKeyRow>;

/** A key with these marks. */
type MarkedRow = ScopeKeyRow & { readonly marks?: readonly ScopeKeyRow[] };

/** The table of scope keys of a DataSource. */
export class TypeormScopeKeyStore implements ScopeKeyStore<QueryRunner> {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  async findCurrent(scopes: readonly Scope[], connection?: QueryRunner): Promise<ScopeKeyRecord[]> {
    const byKind = new Map<string, string[]>();
    for (const { kind, id } of scopes) byKind.set(kind, [...(byKind.get(kind) ?? []), id]);
    const queries = [...byKind].flatMap(([kind, ids]) =>
      pagesOf(ids, PER_QUERY).map(
        (page) => (query: Find) =>
          query
            .where(`(k.state <> 'deactivated' OR k.purpose <> 'data')`)
            .andWhere('k.kind = :kind AND k.scope IN (:...page)', { kind, page }),
      ),
    );
    return this.#find(queries, connection);
  }

  async findByIds(ids: readonly string[], connection?: QueryRunner): Promise<ScopeKeyRecord[]> {
    const queries = pagesOf(ids, PER_QUERY).map(
      (page) => (query: Find) =>
        query
          .leftJoinAndMapMany('k.marks', ScopeKeySchema.options.name, 'm', MARKS_OF_KEY)
          .where('k.id IN (:...page)', { page }),
    );
    const rows = await this.#rows(queries, connection);
    const marks = rows.flatMap(({ marks: ofScope = [] }: MarkedRow) => ofScope);
    const unique = new Map([...rows, ...marks].map((row) => [row.id, row]));
    return [...unique.values()].map(recordOf);
  }

  findRotatable(
    which: RotatableScopes,
    { after, limit }: { readonly after: string; readonly limit: number },
  ): Promise<Scope[]> {
    return withOwnTables(this.#dataSource, undefined, async (runner) => {
      const page = rotatableScopes(runner, which)
        .select('k.scope', 'id')
        .andWhere('k.scope > :after', { after })
        .orderBy('k.scope')
        .limit(limit);
      const rows = await page.getRawMany<Pick<Scope, 'id'>>();
      return rows.map(({ id }) => ({ kind: which.kind, id }));
    });
  }

  countRotatable(
    which: RotatableScopes,
  ): Promise<{ readonly rotatable: number; readonly toBeErased: number }> {
    return withOwnTables(this.#dataSource, undefined, async (runner) => {
      const all = await rotatableScopes(runner, which).getCount();
      const marked = rotatableScopes(runner, which).andWhere(
        `EXISTS (${hasMarkSql(runner.connection, 'erasure')})`,
      );
      const toBeErased = await marked.getCount();
      return { rotatable: all - toBeErased, toBeErased };
    });
  }

  async mayRollBack(connection?: QueryRunner): Promise<boolean> {
    return withOwnTables(this.#dataSource, connection, (runner) => this.#isActive(runner));
  }

  async findSealedBy(
    branchIds: readonly string[],
    { after, limit }: { readonly after: string; readonly limit: number },
  ): Promise<ScopeKeyRecord[]> {
    if (branchIds.length === 0) return [];
    const page = (query: Find): Find =>
      query
        .where('k.branchId IN (:...branchIds)', { branchIds })
        .andWhere(`k.id > :after AND k.sealed <> ''`, { after })
        .orderBy('k.id')
        .take(limit);
    return this.#find([page], undefined);
  }

  async findMarks({
    kind,
    limit,
  }: {
    readonly kind: string | undefined;
    readonly limit: number;
  }): Promise<ScopeKeyRecord[]> {
    const inForce = (query: Find): Find =>
      query
        .where(`k.purpose NOT IN ('data', 'index') AND k.state = 'active'`)
        .andWhere(kind === undefined ? 'TRUE' : 'k.kind = :kind', { kind })
        .orderBy('k.kind')
        .addOrderBy('k.scope')
        .addOrderBy('k.purpose')
        .take(limit);
    return this.#find([inForce], undefined);
  }

  async findUnderBranch(branchId: string): Promise<ScopeKeyRecord | undefined> {
    const any = (query: Find): Find => query.where('k.branchId = :branchId', { branchId }).take(1);
    return (await this.#find([any], undefined))[0];
  }

  async countSealedBy(branchIds: readonly string[], connection?: QueryRunner): Promise<number> {
    if (branchIds.length === 0) return 0;
    return withOwnTables(this.#dataSource, connection, (runner) =>
      runner.manager
        .createQueryBuilder(ScopeKeySchema, 'k', runner)
        .where(`k.branchId IN (:...branchIds) AND k.sealed <> ''`, { branchIds })
        .cache(false)
        .getCount(),
    );
  }

  async findAll({ kind, id }: Scope, connection?: QueryRunner): Promise<ScopeKeyRecord[]> {
    const ofScope = (query: Find): Find =>
      query
        .where('k.kind = :kind AND k.scope = :id', { kind, id })
        .orderBy('k.purpose')
        .addOrderBy('k.version', 'DESC');
    return this.#find([ofScope], connection);
  }

  async insertMissing(
    records: readonly ScopeKeyRecord[],
    connection: QueryRunner | undefined,
    confirm: (transaction: QueryRunner) => Promise<void>,
  ): Promise<InsertedScopeKeys> {
    const insert = async (runner: QueryRunner): Promise<ScopeKeyRecord[]> => {
      const taken: ScopeKeyRecord[] = [];
      for (const page of pagesOf(records, PER_WRITE)) {
        const count = await insertUntaken(runner, page);
        if (count < page.length) taken.push(...(await keysInTheirPlace(runner, page)));
      }
      return taken;
    };
    if (connection !== undefined && (await this.#isActive(connection))) {
      const taken = await withOwnTables(this.#dataSource, connection, insert);
      return { isDurable: false, taken };
    }
    const isDurable = await inOwnTransaction(this.#dataSource, connection, async (runner) => {
      await insert(runner);
      await confirm(runner);
      return true;
    });
    return { isDurable, taken: [] };
  }

  async apply(
    changes: readonly ScopeKeyChange[],
    inserted: readonly ScopeKeyRecord[],
    then: (connection: QueryRunner) => Promise<readonly ScopeKeyChange[]>,
  ): Promise<boolean> {
    try {
      return await inOwnTransaction(this.#dataSource, undefined, async (runner) => {
        if (!(await updateAll(runner, changes))) return false;
        for (const page of pagesOf(inserted, PER_WRITE)) await insertRows(runner, page);
        return updateAll(runner, await then(runner));
      });
    } catch (error) {
      if (isUniqueViolation(error)) return false;
      throw error;
    }
  }

  countScopes(connection?: QueryRunner): Promise<readonly ScopeCount[]> {
    return withOwnTables(this.#dataSource, connection, countedScopes);
  }

  #isActive(runner: QueryRunner): Promise<boolean> {
    return dialectOf(this.#dataSource).transactions.isActive(runner);
  }

  async #find(
    queries: readonly ((query: Find) => Find)[],
    connection: QueryRunner | undefined,
  ): Promise<ScopeKeyRecord[]> {
    return (await this.#rows(queries, connection)).map(recordOf);
  }

  #rows(
    queries: readonly ((query: Find) => Find)[],
    connection: QueryRunner | undefined,
  ): Promise<MarkedRow[]> {
    return withOwnTables(this.#dataSource, connection, async (runner) => {
      await requireCommittedReads(runner);
      const rows: MarkedRow[] = [];
      for (const narrow of queries) {
        const query = runner.manager.createQueryBuilder(ScopeKeySchema, 'k', runner);
        rows.push(...(await narrow(query).callListeners(false).cache(false).getMany()));
      }
      return rows;
    });
  }
}

async function updateAll(
  runner: QueryRunner,
  changes: readonly ScopeKeyChange[],
): Promise<boolean> {
  for (const page of pagesOf(changes, PER_WRITE))
    if (!(await updateRows(runner, page))) return false;
  return true;
}
