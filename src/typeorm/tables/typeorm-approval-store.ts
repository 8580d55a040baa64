import { EntitySchema } from 'typeorm';
import type { DataSource, QueryRunner, SelectQueryBuilder } from 'typeorm';

import type { ApprovalRow, ApprovalStore } from '../../approvals/approval-store';
import { inOwnTransaction } from '../connection/own-transaction';
import { withOwnTables } from '../connection/table-access';
import { catalogOf } from '../dialect/dialect-of';

import { insertUnlessPresent } from './insert-unless-present';
import { readText, readWholeNumber, StoredRow } from './stored-row';
import type { ReadCell } from './stored-row';

/** A row of the table of approvals. Every column is text or a number, as in the key table. */
export interface StoredApproval extends Omit<ApprovalRow, 'signatures'> {
  /** JSON array of texts. */
  signatures: string;
}

/** Name of the migration in `fieldEncryptionMigrations` that creates the table. */
export const APPROVALS_MIGRATION = 'CreateApprovals1764000007000';

/** The table of approvals as TypeORM knows it. Must equal what the migration creates, as for the key table. */
export const ApprovalSchema = new EntitySchema<StoredApproval>({
  name: 'FieldEncryptionApproval',
  tableName: 'field_encryption_approvals',
  columns: {
    id: {
      ...{ type: 'varchar', length: 32, primary: true },
      primaryKeyConstraintName: 'field_encryption_approvals_pkey',
    },
    subject: { type: 'varchar', length: 32, name: 'subject' },
    document: { type: 'text', name: 'document' },
    signatures: { type: 'text', name: 'signatures' },
    usedBy: { type: 'varchar', length: 36, name: 'used_by', nullable: true },
    version: { type: 'integer', name: 'version', nullable: true },
    createdAt: { type: 'varchar', length: 32, name: 'created_at' },
  },
  indices: [
    // One next version of the policy; requests of other operations have none.
    { name: 'field_encryption_approvals_version', columns: ['version'], unique: true },
  ],
});

/** The most requests that are read at once. */
const MOST = 1_000;

/** The approvals of a DataSource, on its primary. */
export class TypeormApprovalStore implements ApprovalStore<QueryRunner> {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  async find(id: string, connection?: QueryRunner): Promise<ApprovalRow | undefined> {
    const [row] = await this.#find(connection, (query) => query.where('a.id = :id', { id }));
    return row;
  }

  open(subject?: string): Promise<ApprovalRow[]> {
    return this.#find(undefined, (query) => {
      newestOf(query.where('a.usedBy IS NULL'));
      return subject === undefined ? query : query.andWhere('a.subject = :subject', { subject });
    });
  }

  used(): Promise<ApprovalRow[]> {
    return this.#find(undefined, (query) => newestOf(query.where('a.usedBy IS NOT NULL')));
  }

  policies(connection?: QueryRunner): Promise<ApprovalRow[]> {
    return withOwnTables(this.#dataSource, connection, async (runner) => {
      const { tablePath } = this.#dataSource.getMetadata(ApprovalSchema);
      if (!(await catalogOf(runner).tableExists(runner, tablePath))) return [];
      return this.#find(runner, (query) =>
        query.where('a.version IS NOT NULL').orderBy('a.version', 'ASC'),
      );
    });
  }

  async insert(
    row: ApprovalRow,
    record: (connection: QueryRunner) => Promise<void> = () => Promise.resolve(),
  ): Promise<boolean> {
    return inOwnTransaction(this.#dataSource, undefined, async (runner) => {
      const stored = { ...row, signatures: JSON.stringify(row.signatures) };
      if (!(await insertUnlessPresent(runner, ApprovalSchema, stored))) return false;
      await record(runner);
      return true;
    });
  }

  async sign(
    { id, signatures }: ApprovalRow,
    signed: readonly string[],
    record: (connection: QueryRunner) => Promise<void>,
  ): Promise<boolean> {
    return inOwnTransaction(this.#dataSource, undefined, async (runner) => {
      const { affected } = await runner.manager
        .createQueryBuilder()
        .update(ApprovalSchema)
        .set({ signatures: JSON.stringify(signed) })
        .where('id = :id AND signatures = :before', { id, before: JSON.stringify(signatures) })
        .callListeners(false)
        .execute();
      if (affected !== 1) return false;
      await record(runner);
      return true;
    });
  }

  async take(
    id: string,
    { usedBy, version }: { readonly usedBy: string; readonly version: number | null },
    connection: QueryRunner,
  ): Promise<'taken' | 'own' | false> {
    const { affected } = await connection.manager
      .createQueryBuilder()
      .update(ApprovalSchema)
      .set({ usedBy, version })
      .where('id = :id AND used_by IS NULL', { id })
      .callListeners(false)
      .execute();
    if (affected === 1) return 'taken';
    const row = await this.find(id, connection);
    return row?.usedBy === usedBy && 'own';
  }

  async #find(
    connection: QueryRunner | undefined,
    narrow: (query: SelectQueryBuilder<StoredApproval>) => SelectQueryBuilder<StoredApproval>,
  ): Promise<ApprovalRow[]> {
    return withOwnTables(this.#dataSource, connection, async (runner) => {
      const query = runner.manager.createQueryBuilder(ApprovalSchema, 'a', runner);
      const rows = await narrow(query).callListeners(false).cache(false).getMany();
      return rows.map(rowOf);
    });
  }
}

function newestOf(query: SelectQueryBuilder<StoredApproval>): SelectQueryBuilder<StoredApproval> {
  return query.orderBy('a.createdAt', 'DESC').addOrderBy('a.id').limit(MOST);
}

/** Unreadable cells stand as something that is no request, or nobody's signature. */
function rowOf(row: StoredApproval): ApprovalRow {
  const stored = new StoredRow(ApprovalSchema, row);
  return {
    id: stored.text('id'),
    subject: stored.text('subject'),
    document: stored.text('document'),
    signatures: stored.cell('signatures', readTexts, []),
    usedBy: stored.textOrNull('usedBy'),
    version: stored.nullable('version', readWholeNumber, 0),
    createdAt: stored.text('createdAt'),
  };
}

const readTexts: ReadCell<readonly string[]> = (value) => {
  const texts: unknown = JSON.parse(readText(value));
  if (Array.isArray(texts)) return texts.map(readText);
  throw new TypeError('it is no JSON array');
};
