import type { DataSource } from 'typeorm';

import type { ProvenEntry } from '../../access/access-chain';
import type { AccessOperation } from '../../access/access-entry';
import { inOwnTransaction } from '../connection/own-transaction';
import { withOwnTables } from '../connection/table-access';
import { catalogOf } from '../dialect/dialect-of';

import { AccessSchema } from './access-table';
import type { AccessRow } from './access-table';
import { readOneOf, readText, readWholeNumber, StoredRow } from './stored-row';
import type { ReadCell } from './stored-row';

/** Entries in one read. */
const PAGE = 500;

/** The access log of a DataSource, on its primary. Writing needs no right but to insert on PostgreSQL. */
export class TypeormAccessStore {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  /** Adds entries in a transaction of their own, all or none. */
  async append(entries: readonly ProvenEntry[], parameterLimit: number): Promise<void> {
    const rows = entries.map(([{ primaryKey, ...entry }, proof]) => ({
      ...entry,
      ...proof,
      primaryKey: primaryKey && JSON.stringify(primaryKey),
    }));
    const columns = Object.keys(AccessSchema.options.columns).length;
    const perStatement = Math.floor(parameterLimit / columns);
    await inOwnTransaction(this.#dataSource, undefined, async (runner) => {
      for (let from = 0; from < rows.length; from += perStatement) {
        const insert = runner.manager.createQueryBuilder(runner).insert().into(AccessSchema);
        const values = rows.slice(from, from + perStatement);
        await insert.values(values).callListeners(false).updateEntity(false).execute();
      }
      return true;
    });
  }

  /** Returns all entries from a time on, in the order of their writers and numbers. */
  async *from(since: Date): AsyncGenerator<ProvenEntry> {
    let after: Pick<AccessRow, 'writer' | 'seq'> | undefined = { writer: '', seq: 0 };
    while (after !== undefined) {
      const page: AccessRow[] = await this.#page(since, after);
      yield* page.map(entryOf);
      after = page.length === PAGE ? page.at(-1) : undefined;
    }
  }

  #page(since: Date, after: Pick<AccessRow, 'writer' | 'seq'>): Promise<AccessRow[]> {
    return withOwnTables(this.#dataSource, undefined, async (runner) => {
      const { tablePath } = this.#dataSource.getMetadata(AccessSchema);
      if (!(await catalogOf(runner).tableExists(runner, tablePath))) return [];
      return runner.manager
        .createQueryBuilder(AccessSchema, 'a', runner)
        .where('a.time >= :since', { since: since.toISOString() })
        .andWhere('(a.writer > :writer OR (a.writer = :writer AND a.seq > :seq))', { ...after })
        .orderBy({ 'a.writer': 'ASC', 'a.seq': 'ASC' })
        .limit(PAGE)
        .callListeners(false)
        .cache(false)
        .getMany();
    });
  }
}

const OPERATIONS: readonly AccessOperation[] = ['decrypt', 'lookup', 'reveal'];

/** Returns the entry in a row; one with a cell that cannot be read as none that its MAC holds for. */
function entryOf(row: AccessRow): ProvenEntry {
  const stored = new StoredRow(AccessSchema, row);
  const entry = {
    writer: stored.text('writer'),
    seq: stored.cell('seq', readWholeNumber, 0),
    time: stored.text('time'),
    actor: stored.textOrNull('actor'),
    operation: stored.cell('operation', readOneOf(OPERATIONS), 'decrypt'),
    entity: stored.text('entity'),
    property: stored.text('property'),
    values: stored.cell('values', readWholeNumber, -1),
    primaryKey: stored.nullable('primaryKey', readTexts, []),
    reason: stored.textOrNull('reason'),
  };
  const proof = {
    sealedBy: stored.text('sealedBy'),
    previousMac: stored.text('previousMac'),
    mac: stored.text('mac'),
  };
  return [stored.unreadable.length === 0 ? entry : { ...entry, values: -1 }, proof];
}

/** Reads a JSON array of texts. */
const readTexts: ReadCell<string[]> = (value) => {
  const texts: unknown = JSON.parse(readText(value));
  if (Array.isArray(texts)) return texts.map(readText);
  throw new TypeError('it is no JSON array');
};
