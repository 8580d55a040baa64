import { randomUUID } from 'node:crypto';
import { Column, Entity, In, Not, PrimaryColumn, QueryFailedError } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  fieldEncryption,
  KeyScope,
  UnsupportedQueryError,
  withKeyScope,
} from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';

function entities() {
  @Entity('customer')
  class Before {
    @PrimaryColumn('uuid') id: string = randomUUID();
    @Column() tenantId!: number;
    @Column({ default: 'first' }) place!: string;
    @Encrypted({ id: 'email' }) @BlindIndex({ uniqueWith: ['tenantId', 'place'] }) email!: string;
    @Encrypted({ id: 'number' }) @BlindIndex({ bits: 8 }) number!: string;
  }

  @Entity('customer')
  class Customer {
    @PrimaryColumn('uuid') id: string = randomUUID();
    @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
    @Column({ default: 'first' }) place!: string;
    @Encrypted({ id: 'email' }) @BlindIndex({ uniqueWith: ['tenantId', 'place'] }) email!: string;
    @Encrypted({ id: 'number' }) @BlindIndex({ bits: 8 }) number!: string;
  }
  return { Before, Customer };
}

const { Before, Customer } = entities();
type Row = InstanceType<typeof Customer>;

describeDiagonal('Look-ups while values move to keys of scopes', (database) => {
  const cleanup = new Cleanup();
  let created: TestDatabase;
  let online: DataSource;
  let customers: Repository<Row>;
  afterEach(() => cleanup.run());

  const EMAILS = ['ada', 'bob', 'cyd'].map((name) => `${name}-canary@example.org`);
  const [ada, bob] = EMAILS as [string, string];

  /** One row of each of two tenants for each address. */
  const ROWS = [1, 2].flatMap((tenantId) =>
    EMAILS.map((email, i) => ({
      ...{ id: randomUUID(), tenantId, email, place: 'first', number: `canary ${String(i)}` },
    })),
  );

  async function open(options: Partial<FieldEncryptionOptions>): Promise<DataSource> {
    const overrides = { entities: [Customer] };
    return cleanup.add(await protect(created, options, overrides).initialize());
  }

  beforeEach(async () => {
    created = await cleanup.create(database, { entities: [Before], synchronize: true });
    const before = cleanup.add(await protect(created).initialize());
    await before.manager.insert(
      Before,
      ROWS.map((row) => ({ ...row })),
    );
    online = await open({ legacyScope: ['Customer.email', 'Customer.number'] });
    customers = online.getRepository<Row>(Customer);
  });

  async function expectFound(of: DataSource): Promise<void> {
    const rows = of.getRepository<Row>(Customer);
    for (const { id, tenantId, email, number } of ROWS) {
      expect(await rows.findBy({ tenantId, email })).toMatchObject([{ id }]);
      expect(await rows.countBy({ tenantId, email: In([email]) })).toBe(1);
      expect(await rows.findBy({ tenantId, number })).toMatchObject([{ id }]);
    }
    expect(await rows.findBy({ tenantId: 1, email: Not(ada) })).toHaveLength(2);
  }

  it('find rows that have not moved, in a process that has made no key yet', async () => {
    await expectFound(online);
  });

  it('find all rows between runs, and after the last one by keys of scopes alone', async () => {
    await customers.update({ id: ROWS[0]!.id }, { number: 'canary 0' });
    await expectFound(online);
    const encryption = fieldEncryption(online);
    await encryption.reencrypt({ where: { Customer: '"tenantId" = 1' } });
    await expectFound(online);
    expect(await encryption.reencrypt()).toMatchObject({ failed: 0 });
    await expectFound(online);
    const strict = await open({});
    await expectFound(strict);
    expect(await fieldEncryption(strict).verify()).toMatchObject({ failed: 0, failures: [] });
  });

  it('are refused where only the context says whose rows are meant', async () => {
    await withKeyScope({ tenant: 1 }, async () => {
      for (const looking of [
        () => customers.findBy({ email: ada }),
        () => customers.countBy({ email: ada }),
        () => customers.findBy({ number: 'canary 0' }),
      ]) {
        const error: unknown = await looking().catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(UnsupportedQueryError);
        expect((error as Error).message).toContain('Add tenantId to the condition');
        expect((error as Error).message).not.toContain('canary');
      }
    });
    await fieldEncryption(online).reencrypt();
    const strict = await open({});
    expect(
      await withKeyScope({ tenant: 1 }, () => strict.manager.findBy(Customer, { email: ada })),
    ).toMatchObject([{ tenantId: 1 }]);
  });

  it('keep values unique within a scope', async () => {
    const row = { tenantId: 1, place: 'first', number: 'canary' };
    await expect(customers.save({ ...row, id: randomUUID(), email: ada })).rejects.toThrow(
      QueryFailedError,
    );
    const fresh = { ...row, tenantId: 3, id: randomUUID(), email: ada };
    // The first statement has rows of several scopes.
    await expect(
      customers.insert([fresh, { ...row, id: randomUUID(), tenantId: 2, email: bob }]),
    ).rejects.toThrow(QueryFailedError);
    await customers.insert(fresh);
    await expect(customers.update({ id: ROWS[0]!.id }, { email: bob })).rejects.toThrow(
      QueryFailedError,
    );
    await customers.save({ ...row, id: randomUUID(), email: ada, place: 'second' });
    await expect(
      customers.update({ tenantId: 1, place: 'second' }, { place: 'first' }),
    ).rejects.toThrow(QueryFailedError);
    // Of another tenant the value is no duplicate.
    await customers.update({ id: fresh.id }, { email: bob });
    expect(await customers.count()).toBe(ROWS.length + 2);
  });

  it('need the common index key until all tokens have moved', async () => {
    await customers.insert({ ...ROWS[0]!, id: randomUUID(), tenantId: 4 });
    const { keys } = fieldEncryption(online);
    const [root] = await keys.indexRoots();
    const needing = async (): Promise<number[]> =>
      (await keys.uses(String(root?.id)))
        .filter(({ column }) => column === 'email_bidx')
        .map(({ rowsUnderKey }) => rowsUnderKey);
    expect(await needing()).toEqual([ROWS.length]);
    await fieldEncryption(online).reencrypt();
    expect(await needing()).toEqual([0]);
    await keys.shred({ scope: { tenant: 2 }, reason: 'request 1', graceMs: 0 });
    expect(await needing()).toEqual([0]);
  });

  it('upsert into rows that have not moved', async () => {
    const [first] = ROWS;
    await customers.upsert({ ...first!, id: randomUUID(), number: 'canary new' }, [
      'email',
      'tenantId',
      'place',
    ]);
    expect(await customers.findOneBy({ tenantId: 1, email: ada })).toMatchObject({
      number: 'canary new',
    });
    expect(await customers.count()).toBe(ROWS.length);
  });
});
