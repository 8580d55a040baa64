import { Column, Entity, PrimaryColumn, TableCheck } from 'typeorm';
import type { DataSource, EntityTarget, ObjectLiteral } from 'typeorm';
import { Encrypted, fieldEncryption, KeyScope } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { planContract } from '../../src/schema/contract';
import { dialectOf } from '../../src/typeorm/dialect/dialect-of';
import { installationOf } from '../../src/typeorm/installation/installations';
import { checkNames } from '../../src/typeorm/metadata/check-names';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';

/** The entity as it was, and as its values are bound to their rows or have keys of scopes. */
@Entity('letter')
class Letter {
  @PrimaryColumn() id!: number;
  @Column() tenantId!: string;
  @Encrypted({ id: 'Letter.text' }) text!: string;
  @Encrypted({ id: 'Letter.seal', nullable: true, storage: 'binary' }) seal!: string | null;
}

@Entity('letter')
class BoundLetter {
  @PrimaryColumn() id!: number;
  @Column() tenantId!: string;
  @Encrypted({ id: 'Letter.text', bindTo: ['id'] }) text!: string;
  @Encrypted({ id: 'Letter.seal', bindTo: ['id'], nullable: true, storage: 'binary' })
  seal!: string | null;
}

@Entity('letter')
class TenantLetter {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted({ id: 'Letter.text' }) text!: string;
  @Encrypted({ id: 'Letter.seal', nullable: true, storage: 'binary' }) seal!: string | null;
}

/** The migration that made the table. */
class Start1700000000000 {
  up = (): Promise<void> => Promise.resolve();
  down = (): Promise<void> => Promise.resolve();
}

const cases: [string, EntityTarget<ObjectLiteral>, Partial<FieldEncryptionOptions>, RegExp][] = [
  [
    'bindTo',
    BoundLetter,
    { legacyUnbound: ['BoundLetter.text', 'BoundLetter.seal'] },
    /before the property had bindTo/,
  ],
  [
    'keys of scopes',
    TenantLetter,
    { legacyScope: ['TenantLetter.text', 'TenantLetter.seal'] },
    /before the property had keys of each tenant/,
  ],
];

describeDiagonal('A CHECK constraint from before', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  afterEach(() => cleanup.run());

  async function open(
    entity: unknown,
    options: Partial<FieldEncryptionOptions> = {},
    more = {},
  ): Promise<DataSource> {
    const overrides = { entities: [entity], ...more } as never;
    return cleanup.add(await protect(database, options, overrides).initialize());
  }

  beforeEach(async () => {
    database = await cleanup.create(kind);
    const before = await open(Letter, {}, { synchronize: true });
    await before.manager.insert(Letter, { id: 1, tenantId: 'north', text: 'one', seal: 'one' });
  });

  const codes = async (dataSource: DataSource): Promise<string[]> =>
    (await fieldEncryption(dataSource).doctor())
      .map(({ code }) => code)
      .filter((code) => code.startsWith('CHECK_'));

  async function works(dataSource: DataSource, entity: EntityTarget<ObjectLiteral>) {
    const encryption = fieldEncryption(dataSource);
    expect(await encryption.reencrypt()).toMatchObject({ changed: 1, failed: 0, remaining: 0 });
    await dataSource.manager.insert(entity, { id: 2, tenantId: 'south', text: 'two', seal: 'two' });
    expect(await encryption.verify()).toMatchObject({ scanned: 2, failed: 0 });
  }

  it.each(cases)('%s is named by a run with its cause, and never reverted', async (...of) => {
    const [, entity, options, cause] = of;
    const dataSource = await open(entity, options);
    const runner = dataSource.createQueryRunner();
    const names = await checkNames(runner, dataSource.getMetadata(entity));
    await runner.release();
    const start = new Start1700000000000();
    const sql = [...names!].join(' ');
    start.up.toString = () => `CREATE TABLE letter CONSTRAINT ${sql}`;
    dataSource.migrations.push(start);
    const error = (await fieldEncryption(dataSource)
      .reencrypt()
      .catch((thrown: unknown) => thrown)) as Error;
    expect(error).toMatchObject({ code: 'ERR_RUN_PLAN', property: 'text' });
    expect(error.message).toMatch(cause);
    expect(error.message).toContain('`migration:generate`');
    expect(error.message).not.toMatch(/revert|Start1/i);
    expect(await codes(dataSource)).toEqual(['CHECK_OUTDATED', 'CHECK_OUTDATED']);

    await dataSource.synchronize();
    expect(await codes(dataSource)).toEqual(['CHECK_MISSING', 'CHECK_MISSING']);
    await works(dataSource, entity);
  });

  it.each(cases)('%s is replaced by schema contract', async (_, entity, options) => {
    const dataSource = await open(entity, options);
    const { drafts } = await planContract(installationOf(dataSource));
    for (const { sql } of drafts.flatMap(({ up }) => up)) await dataSource.query(sql);
    expect(await codes(dataSource)).toEqual([]);
    expect((await planContract(installationOf(dataSource))).drafts).toEqual([]);
    await works(dataSource, entity);
    await expect(dataSource.query(`UPDATE letter SET text = 'in clear'`)).rejects.toThrow(/CHK_/);
    // Its `down` would leave values behind that the constraint refuses.
    const undo = async (): Promise<void> => {
      for (const { sql } of drafts.flatMap(({ down }) => down)) await dataSource.query(sql);
    };
    await expect(undo()).rejects.toThrow(/CHK_/);
  });

  it.each(cases)('%s is found beside the one that is wanted', async (_, entity, options) => {
    const dataSource = await open(entity, options);
    const runner = dataSource.createQueryRunner();
    const wanted = [...installationOf(dataSource).columns.byEntity.values()].flatMap(
      ({ columns }) => columns.map(({ check }) => TableCheck.create(check!.constraint)),
    );
    const { checks } = dialectOf(dataSource);
    if (checks === undefined) {
      await runner.createCheckConstraints((await runner.getTable('letter'))!, wanted);
    } else {
      for (const check of wanted) await runner.query(`ALTER TABLE letter ${checks.add(check)}`);
    }
    await runner.release();
    expect(await codes(dataSource)).toEqual(['CHECK_OUTDATED', 'CHECK_OUTDATED']);
    const { drafts } = await planContract(installationOf(dataSource));
    for (const { sql } of drafts.flatMap(({ up }) => up)) await dataSource.query(sql);
    expect(await codes(dataSource)).toEqual([]);
    await works(dataSource, entity);
  });
});
