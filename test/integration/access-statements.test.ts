import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { inspect } from 'node:util';
import { Column, Entity, EventSubscriber, PrimaryColumn } from 'typeorm';
import type { DataSource, EntitySubscriberInterface, InsertEvent, UpdateEvent } from 'typeorm';
import {
  AccessDeniedError,
  BlindIndex,
  Encrypted,
  fieldEncryption,
  KeyScope,
  runAs,
  Sealed,
} from '../../src';
import type { ValuesMessage } from '../../src';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Column() ward!: string;
  @Encrypted({ type: 'string', nullable: true }) @BlindIndex() ssn!: string | null;
  @Encrypted({ read: 'sealed', type: 'string', nullable: true })
  name!: Sealed<string> | string | null;
}

@Entity()
class Letter {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() text!: string;
}

/** Adds an encrypted value to every row that is written in ward Z. */
@EventSubscriber()
class Adding implements EntitySubscriberInterface<Patient> {
  listenTo(): typeof Patient {
    return Patient;
  }

  beforeInsert({ entity }: InsertEvent<Patient>): void {
    if (entity.ward === 'Z') entity.ssn = 'canary-added';
  }

  beforeUpdate({ entity }: UpdateEvent<Patient>): void {
    if (entity?.['ward'] === 'Z') entity['ssn'] = 'canary-added';
  }
}

const clerk = <T>(work: () => Promise<T>): Promise<T> => runAs({ id: 'clerk' }, work);
const nurse = <T>(work: () => Promise<T>): Promise<T> => runAs({ id: 'nurse', roles: ['1'] }, work);

describeEachDatabase('Level 0', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let told: ValuesMessage[];
  const listen = (message: unknown): void => void told.push(message as ValuesMessage);

  beforeEach(async () => {
    database = await cleanup.create(kind, {
      ...{ entities: [Patient, Letter], subscribers: [Adding], synchronize: true },
    });
    const levelOf = (actor?: { readonly roles?: readonly string[] }) =>
      actor?.roles?.[0] === '1' ? 1 : 0;
    dataSource = await cleanup.add(protect(database, { access: { levelOf } })).initialize();
    await nurse(() =>
      patients().insert([
        { id: 1, ward: 'A', ssn: 'canary-1', name: 'canary Zoe' },
        { id: 2, ward: 'A', ssn: 'canary-2', name: 'canary Ada' },
        { id: 3, ward: 'A', ssn: null, name: null },
      ]),
    );
    told = [];
    subscribe('typeorm-field-encryption:values', listen);
  });
  afterEach(async () => {
    unsubscribe('typeorm-field-encryption:values', listen);
    await cleanup.run();
  });

  const patients = () => dataSource.getRepository(Patient);
  const rows = (): Promise<unknown> => dataSource.query('SELECT * FROM patient ORDER BY id');
  const used = (): unknown[] =>
    told.map(({ operation, property, values }) => [operation, property, values]);

  async function expectDenied(work: () => Promise<unknown>): Promise<void> {
    const before = await rows();
    const error = await rejection(() => clerk(work));
    expect(error).toBeInstanceOf(AccessDeniedError);
    expect(error.message + inspect(error)).not.toContain('canary');
    expect(await rows()).toEqual(before);
    expect(used()).toEqual([]);
  }

  it('does not write what a listener adds', async () => {
    await expectDenied(() => patients().insert({ id: 4, ward: 'Z' }));
    await expectDenied(() => patients().update({ id: 1 }, { ward: 'Z' }));
    await clerk(() => patients().update({ id: 1 }, { ward: 'B' }));
    await nurse(() => patients().update({ id: 1 }, { ward: 'Z' }));
    expect(used()).toEqual([['encrypt', 'ssn', 1]]);
  });

  it('does not sort by an encrypted property, sealed or not; level 1 does, and is counted', async () => {
    const sort = (property: 'name' | 'ssn') =>
      fieldEncryption(dataSource).sorted(Patient, {
        ...{ select: { id: true }, order: { [property]: 'ASC' } },
      });
    await expectDenied(() => sort('name'));
    await expectDenied(() => sort('ssn'));
    const sorted = await nurse(() => sort('name'));
    const byNull = kind.type === 'postgres' ? [2, 1, 3] : [3, 2, 1];
    expect(sorted.map(({ id }) => id)).toEqual(byNull);
    expect(used()).toEqual([['decrypt', 'name', 2]]);
  });

  it('makes no key of a scope', async () => {
    const letters = dataSource.getRepository(Letter);
    const scopeKeys = (): Promise<unknown> =>
      dataSource.query('SELECT id FROM field_encryption_scope_keys');
    const row = { id: 1, tenantId: 'north', text: 'canary' };
    await expectDenied(() => letters.save(row));
    await expectDenied(() => letters.insert(row));
    await expectDenied(() =>
      fieldEncryption(dataSource).encryptValue(Letter, 'text', 'canary', { row }),
    );
    expect(await scopeKeys()).toEqual([]);
    await nurse(() => letters.save(row));
    expect(await scopeKeys()).toHaveLength(1);
  });

  it('saves a sealed value that it leaves alone', async () => {
    const [found] = await clerk(() =>
      patients().find({ select: { id: true, ward: true, name: true }, where: { id: 1 } }),
    );
    expect(found?.name).toBeInstanceOf(Sealed);
    expect(used()).toEqual([]);
    // TypeORM reads the whole row to compare it.
    await expectDenied(() => patients().save({ id: 1, ward: 'C' }));
  });

  const updates: readonly (readonly [string, () => Promise<unknown>])[] = [
    [
      'an update',
      () =>
        update()
          .returning('*')
          .whereEntity({ id: 1 } as Patient)
          .execute(),
    ],
    ['an update of a name in quotes', () => update().returning(sqlOf(kind, 'id, "ssn"')).execute()],
    ['an update of a list', () => update().returning(['id', 'ssn']).execute()],
  ];
  const upserts: typeof updates = [
    [
      'an upsert of the query builder',
      () => insert().orUpdate(['ward'], ['id']).returning('*').execute(),
    ],
    [
      'an upsert',
      () =>
        patients().upsert(
          { id: 1, ward: 'B' },
          {
            ...({ conflictPaths: ['id'], returning: '*' } as never as { conflictPaths: ['id'] }),
          },
        ),
    ],
  ];
  const statements = [
    ...(kind.returning.includes('update') ? updates : []),
    ...(kind.returning.includes('insert') ? upserts : []),
  ];
  const update = () => patients().createQueryBuilder().update().set({ ward: 'B' }).where({ id: 1 });
  const insert = () => patients().createQueryBuilder().insert().values({ id: 1, ward: 'B' });

  if (statements.length > 0)
    it.each(statements)('gets nothing back from %s', async (_, statement) => {
      await expectDenied(statement);
    });

  if (kind.returning.includes('update'))
    it('gets columns in clear back, and level 1 all, which is counted', async () => {
      const clear = await clerk(() =>
        update().returning(sqlOf(kind, '"patient"."id", ward')).execute(),
      );
      expect(clear.raw).toEqual([{ id: 1, ward: 'B' }]);
      await clerk(() => update().returning(['ward']).execute());
      expect(used()).toEqual([]);
      const entity = { id: 1 } as Patient;
      await nurse(() => update().whereEntity(entity).returning('*').execute());
      expect(entity.ssn).toBe('canary-1');
      expect(used()).toEqual([['decrypt', 'ssn', 1]]);
    });
});
