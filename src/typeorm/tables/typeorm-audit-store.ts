import { EntitySchema } from 'typeorm';
import type { DataSource, QueryRunner, SelectQueryBuilder } from 'typeorm';

import type { AuditEntry, AuditRange, AuditStore } from '../../audit/audit-entry';
import { inOwnTransaction } from '../connection/own-transaction';
import { withOwnTables } from '../connection/table-access';
import { catalogOf, dialectOf } from '../dialect/dialect-of';

import { committedRow } from './committed-row';
import { insertUnlessPresent } from './insert-unless-present';
import { readCounts, readWholeNumber, StoredRow } from './stored-row';

/** A row of the audit log. Every column is text or a number, so that all databases store it alike. */
export interface AuditRow {
  seq: number;
  /** ISO 8601, UTC */
  time: string;
  actor: string;
  operation: string;
  outcome: string;
  keyId: string | null;
  keyName: string | null;
  keyPurpose: string | null;
  keyVersion: number | null;
  keyState: string | null;
  kms: string | null;
  kek: string | null;
  reference: string | null;
  /** JSON object of whole numbers */
  counts: string;
  sealedBy: string;
  /** base64url */
  previousHash: string;
  /** base64url */
  hash: string;
}

/** Name of the migration in `fieldEncryptionMigrations` that creates the table. */
export const AUDIT_TABLE_MIGRATION = 'CreateAuditLog1764000002000';

/** The table of the audit log as TypeORM knows it. Must equal what the migrations create, as for the key table. */
export const AuditSchema = new EntitySchema<AuditRow>({
  name: 'FieldEncryptionAudit',
  tableName: 'field_encryption_audit',
  columns: {
    seq: {
      type: 'integer',
      name: 'seq',
      primary: true,
      primaryKeyConstraintName: 'field_encryption_audit_pkey',
    },
    time: { type: 'varchar', length: 32, name: 'time' },
    actor: { type: 'varchar', length: 256, name: 'actor' },
    operation: { type: 'varchar', length: 32, name: 'operation' },
    outcome: { type: 'varchar', length: 16, name: 'outcome' },
    keyId: { type: 'varchar', length: 16, name: 'key_id', nullable: true },
    keyName: { type: 'varchar', length: 64, name: 'key_name', nullable: true },
    keyPurpose: { type: 'varchar', length: 16, name: 'key_purpose', nullable: true },
    keyVersion: { type: 'integer', name: 'key_version', nullable: true },
    keyState: { type: 'varchar', length: 16, name: 'key_state', nullable: true },
    kms: { type: 'varchar', length: 64, name: 'kms', nullable: true },
    kek: { type: 'varchar', length: 512, name: 'kek', nullable: true },
    reference: { type: 'varchar', length: 64, name: 'reference', nullable: true },
    counts: { type: 'text', name: 'counts' },
    sealedBy: { type: 'varchar', length: 16, name: 'sealed_by' },
    previousHash: { type: 'varchar', length: 64, name: 'previous_hash' },
    hash: { type: 'varchar', length: 64, name: 'hash' },
  },
});

/** The audit log of a DataSource, on its primary. Needs no right to update or delete on PostgreSQL. */
export class TypeormAuditStore implements AuditStore<QueryRunner> {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  async exists(connection?: QueryRunner): Promise<boolean> {
    return withOwnTables(this.#dataSource, connection, (runner) =>
      catalogOf(runner).tableExists(runner, this.#tablePath),
    );
  }

  async list(
    range: AuditRange & { readonly limit: number },
    connection?: QueryRunner,
  ): Promise<AuditEntry[]> {
    const { after, limit } = range;
    if (after === undefined) {
      const newest = await this.#find(connection, (query) =>
        filtered(query, range).orderBy('a.seq', 'DESC').limit(limit),
      );
      return newest.reverse();
    }
    return this.#find(connection, (query) =>
      filtered(query, range)
        .andWhere('a.seq > :after', { after })
        .orderBy('a.seq', 'ASC')
        .limit(limit),
    );
  }

  async lastOfKey(
    purpose: string,
    name: string,
    connection?: QueryRunner,
  ): Promise<AuditEntry | undefined> {
    const [entry] = await this.#find(connection, (query) =>
      query
        .where('a.keyPurpose = :purpose AND a.keyName = :name', { purpose, name })
        .orderBy('a.seq', 'DESC')
        .limit(1),
    );
    return entry;
  }

  async ofKey(keyId: string, limit: number, connection?: QueryRunner): Promise<AuditEntry[]> {
    return this.#find(connection, (query) =>
      query.where('a.keyId = :keyId', { keyId }).orderBy('a.seq', 'DESC').limit(limit),
    );
  }

  async highestVersion(
    { purpose, name, limit }: { purpose: string; name: string; limit: number },
    connection?: QueryRunner,
  ): Promise<number> {
    return withOwnTables(this.#dataSource, connection, async (runner) => {
      const found = await runner.manager
        .createQueryBuilder(AuditSchema, 'a', runner)
        .select('MAX(a.keyVersion)', 'version')
        .where('a.keyPurpose = :purpose AND a.keyName = :name', { purpose, name })
        .andWhere('a.keyVersion <= :limit', { limit })
        .cache(false)
        .getRawOne<{ version: number | null }>();
      // SQLite also keeps fractions in the column.
      return Math.ceil(found?.version ?? 0);
    });
  }

  async referringTo(
    reference: string,
    limit: number,
    connection?: QueryRunner,
  ): Promise<AuditEntry[]> {
    return this.#find(connection, (query) =>
      query.where('a.reference = :reference', { reference }).orderBy('a.seq', 'DESC').limit(limit),
    );
  }

  async last(connection?: QueryRunner, taken = 0): Promise<AuditEntry | undefined> {
    const [entry] = await this.#find(connection, (query) =>
      query.orderBy('a.seq', 'DESC').limit(1),
    );
    if (connection === undefined || (entry?.seq ?? 0) >= taken) return entry;
    const row = await committedRow(connection, AuditSchema, { seq: taken });
    return row === undefined ? entry : entryOf(row);
  }

  append(entry: AuditEntry, connection: QueryRunner): Promise<boolean> {
    const row = { ...entry, counts: JSON.stringify(entry.counts) };
    return insertUnlessPresent(connection, AuditSchema, row);
  }

  async transaction(work: (connection: QueryRunner) => Promise<void>): Promise<void> {
    await inOwnTransaction(this.#dataSource, undefined, async (runner) => {
      await work(runner);
      return true;
    });
  }

  get #tablePath(): string {
    return this.#dataSource.getMetadata(AuditSchema).tablePath;
  }

  async #find(
    connection: QueryRunner | undefined,
    narrow: (query: SelectQueryBuilder<AuditRow>) => SelectQueryBuilder<AuditRow>,
  ): Promise<AuditEntry[]> {
    return withOwnTables(this.#dataSource, connection, async (runner) => {
      const query = runner.manager.createQueryBuilder(AuditSchema, 'a', runner);
      const rows = await narrow(query).callListeners(false).cache(false).getMany();
      return rows.map(entryOf);
    });
  }
}

function filtered(
  query: SelectQueryBuilder<AuditRow>,
  { since, operation, outcome, actor }: AuditRange,
): SelectQueryBuilder<AuditRow> {
  // Times are texts of one form, in the order of what they name.
  if (since !== undefined) query.andWhere('a.time >= :since', { since: since.toISOString() });
  if (operation !== undefined) query.andWhere('a.operation = :operation', { operation });
  if (outcome !== undefined) query.andWhere('a.outcome = :outcome', { outcome });
  if (actor !== undefined) {
    const { sql } = dialectOf(query.connection);
    const length = sql.length(sql.cast(':actor', 'text'), 'text');
    query.andWhere(`SUBSTR(a.actor, 1, ${length}) = :actor`, { actor });
  }
  return query;
}

/** Returns the entry in a row. Unreadable cells stand as something that no entry holds, so the seal does not hold either. */
function entryOf(row: AuditRow): AuditEntry {
  const stored = new StoredRow(AuditSchema, row);
  return {
    // SQLite, too, keeps only whole numbers in this primary key. One out of sequence is reported as it is.
    seq: row.seq,
    time: stored.text('time'),
    actor: stored.text('actor'),
    operation: stored.text('operation'),
    outcome: stored.text('outcome'),
    keyId: stored.textOrNull('keyId'),
    keyName: stored.textOrNull('keyName'),
    keyPurpose: stored.textOrNull('keyPurpose'),
    keyVersion: stored.nullable('keyVersion', readWholeNumber, 0),
    keyState: stored.textOrNull('keyState'),
    kms: stored.textOrNull('kms'),
    kek: stored.textOrNull('kek'),
    reference: stored.textOrNull('reference'),
    counts: stored.cell('counts', readCounts, { unreadable: 0 }),
    sealedBy: stored.text('sealedBy'),
    previousHash: stored.text('previousHash'),
    hash: stored.text('hash'),
  };
}
