import { inspect } from 'node:util';
import { EntitySchema } from 'typeorm';
import type { DataSource, EntitySchemaColumnOptions } from 'typeorm';
import { blindIndexColumns, encryptedColumn, fieldEncryption } from '../../src';
import type { FieldEncryptionOptions, RowFailure } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';
import { rawRows } from '../support/stored-rows';

interface Member {
  id: number;
  tenant: string | null;
  email: string;
  phone: string | null;
  born: Date | null;
  code: string | null;
}

const member = (columns: Record<string, EntitySchemaColumnOptions> = {}) =>
  new EntitySchema<Member>({
    name: 'Member',
    columns: {
      id: { type: 'integer', primary: true },
      tenant: { type: 'varchar', length: 20, nullable: true },
      email: encryptedColumn({ check: false }),
      ...blindIndexColumns('email', { normalize: 'email', unique: true }),
      phone: encryptedColumn({ nullable: true, check: false }),
      ...blindIndexColumns('phone', { uniqueWith: ['tenant'] }),
      born: encryptedColumn({ type: 'date', nullable: true, check: false }),
      code: encryptedColumn({ nullable: true, check: false, length: 100 }),
      ...columns,
    },
  });
const LEGACY = {
  legacyPlaintext: ['Member.email', 'Member.phone', 'Member.born', 'Member.code'],
};

describeDiagonal('What a dry run foresees', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind);
    dataSource = await open(LEGACY);
    await dataSource.synchronize();
  });
  afterEach(() => cleanup.run());

  function open(options: Partial<FieldEncryptionOptions>, entity = member()): Promise<DataSource> {
    return cleanup.add(protect(database, options, { entities: [entity] })).initialize();
  }

  const handle = () => fieldEncryption(dataSource);

  async function insert(...rows: (readonly (string | null)[])[]): Promise<void> {
    for (const [i, row] of rows.entries()) {
      const values = [String(i + 1), ...row.map((cell) => (cell === null ? 'NULL' : `'${cell}'`))];
      await dataSource.query(
        `INSERT INTO member (id, tenant, email, phone, born, code) VALUES (${values.join(', ')})`,
      );
    }
  }

  const named = (failures: readonly RowFailure[]) =>
    failures
      .map(({ property, primaryKey, code, conflictsWith }) => [
        property,
        ...primaryKey,
        code,
        ...(conflictsWith ?? []),
      ])
      .sort();

  it('is what the run then does, row for row, and changes nothing', async () => {
    const long = 'canary '.repeat(10);
    await insert(
      ['a', 'canary.1@example.org', '1', '2001-02-03', 'canary'],
      ['a', 'CANARY.1@example.org', '9', null, null],
      ['a', 'canary.3@example.org', '2', null, null],
      ['b', 'canary.4@example.org', '2', null, null],
      [null, 'canary.5@example.org', '2', null, null],
      [null, 'canary.6@example.org', '2', null, null],
      ['b', 'canary.7@example.org', '7', 'no day canary', null],
      ['b', 'canary.8@example.org', '8', null, long],
      ['a', 'canary.9@example.org', '2', null, null],
    );
    const before = await rawRows(dataSource, member());
    const planned = await handle().encrypt({ dryRun: true });
    expect(await rawRows(dataSource, member())).toEqual(before);
    expect(inspect(planned, { depth: 9 })).not.toContain('canary');
    expect(named(planned.failures)).toEqual([
      ['born', 7, 'ERR_UNSUPPORTED_VALUE'],
      ['code', 8, 'ERR_UNSUPPORTED_VALUE'],
      ['email', 2, 'DUPLICATE_TOKEN', 1],
      ['phone', 9, 'DUPLICATE_TOKEN', 3],
    ]);
    expect(planned).toMatchObject({ scanned: 9, changed: 5, failed: 4 });

    const done = await handle().encrypt();
    expect(named(done.failures)).toEqual(named(planned.failures));
    expect(done).toMatchObject({ scanned: 9, changed: 5, failed: 4, remaining: 4 });
  });

  it('counts rows that are encrypted already among those which have a value', async () => {
    await insert(
      ['a', 'canary.1@example.org', null, null, null],
      ['a', 'CANARY.2@example.org', null, null, null],
    );
    await dataSource.getRepository<Member>('Member').insert({
      ...{ id: 3, tenant: 'a', email: 'canary.3@example.org', phone: null, born: null },
    });
    await dataSource.query("UPDATE member SET email = 'Canary.3@example.org' WHERE id = 2");
    const planned = await handle().encrypt({ dryRun: true, columns: ['Member.email'] });
    expect(named(planned.failures)).toEqual([['email', 2, 'DUPLICATE_TOKEN', 3]]);
    expect(planned).toMatchObject({ scanned: 3, doneBefore: 1, changed: 1, failed: 1 });
    const done = await handle().encrypt({ columns: ['Member.email'] });
    expect(done.failures).toEqual(planned.failures);
  });

  it('is the same for other runs: tokens of a changed index, values that cannot be cleartext', async () => {
    await dataSource.getRepository<Member>('Member').insert([
      { id: 1, tenant: 'a', email: 'canary.1@example.org', phone: '+1', born: null },
      { id: 2, tenant: 'a', email: 'canary.2@example.org', phone: '1', born: null },
    ]);
    const stricter = await open(
      {},
      member({
        ...blindIndexColumns('phone', { normalize: 'digits', uniqueWith: ['tenant'] }),
      }),
    );
    const planned = await fieldEncryption(stricter).reindex({ dryRun: true });
    expect(named(planned.failures)).toEqual([['phone', 2, 'DUPLICATE_TOKEN', 1]]);
    expect((await fieldEncryption(stricter).reindex()).failures).toEqual(planned.failures);

    await dataSource.query('UPDATE member SET born = email WHERE id = 1');
    for (const dryRun of [true, false]) {
      const { failures } = await handle().decrypt({ dryRun, columns: ['Member.born'] });
      expect(named(failures)).toEqual([['born', 1, 'ERR_DECRYPTION']]);
    }
  });
});
