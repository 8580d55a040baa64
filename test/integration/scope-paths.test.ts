import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Brackets,
  Column,
  DeleteDateColumn,
  Entity,
  In,
  IsNull,
  JoinColumn,
  ManyToOne,
  Not,
  OneToMany,
  PrimaryColumn,
} from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import {
  ALL_SCOPES,
  BlindIndex,
  Encrypted,
  fieldEncryption,
  FieldEncryptionError,
  KeyScope,
  MissingScopeError,
  ScopeMismatchError,
  UnsupportedQueryError,
  withKeyScope,
} from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { describeEachDatabase } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { sqlOf } from '../support/sql-of';

@Entity()
class Tenant {
  @PrimaryColumn() id!: number;
}

@Entity()
class Patient {
  @PrimaryColumn('uuid') id: string = randomUUID();

  @KeyScope({ kind: 'tenant' })
  @ManyToOne(() => Tenant, { nullable: false })
  @JoinColumn({ name: 'tenant_id' })
  tenant!: Tenant;

  @Column({ name: 'tenant_id' }) tenantId!: number;

  @Encrypted()
  @BlindIndex({ normalize: 'email', uniqueWith: ['tenantId'] })
  email!: string;

  @Encrypted({ nullable: true }) ssn?: string | null;

  @Encrypted({ nullable: true }) @BlindIndex({ bits: 4 }) city?: string | null;

  @Encrypted({ nullable: true })
  @BlindIndex({ scope: false })
  login?: string | null;

  @Encrypted({ nullable: true, storage: 'binary' }) scan?: string | null;

  @Column({ nullable: true, type: 'varchar' }) ward?: string | null;

  @OneToMany(() => Visit, (visit) => visit.patient, { cascade: true }) visits?: Visit[];

  @DeleteDateColumn() deletedAt?: Date | null;
}

@Entity()
class Visit {
  @PrimaryColumn('uuid') id: string = randomUUID();

  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;

  @Encrypted() note!: string;

  @Encrypted({ nullable: true }) @BlindIndex() code?: string | null;

  @ManyToOne(() => Patient, (patient) => patient.visits) patient?: Patient;
}

function patient(values: Partial<Patient>): Patient {
  const { tenantId = 7 } = values;
  const id = randomUUID();
  const secret = { email: `${id}-canary@example.org`, ssn: `canary ${String(tenantId)}` };
  return Object.assign(new Patient(), { id, tenantId, ...secret, ...values });
}

function visit(values: Partial<Visit>): Visit {
  return Object.assign(new Visit(), { tenantId: 7, note: 'canary note', ...values });
}

/** The same work within no context, where the column says the scope, and within that of the row. */
const CONTEXTS = {
  'by a column': <T>(_: number, work: () => Promise<T>): Promise<T> => work(),
  'by a column and the context': <T>(tenant: number, work: () => Promise<T>): Promise<T> =>
    withKeyScope({ tenant }, work),
};

describeEachDatabase('Rows of scopes', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Tenant, Patient, Visit] });
  let dataSource: DataSource;
  let patients: Repository<Patient>;

  beforeEach(async () => {
    ({ dataSource } = opened);
    patients = dataSource.getRepository(Patient);
    await dataSource.getRepository(Tenant).insert([{ id: 7 }, { id: 8 }, { id: 9 }]);
  });

  /** The key that a stored value is under. */
  async function keyOf(id: string, property: keyof Patient = 'ssn'): Promise<string> {
    const row = await patients
      .createQueryBuilder('p')
      .select(`p.${property}`, 'cell')
      .where('p.id = :id', { id })
      .withDeleted()
      .getRawOne<{ cell: string | Buffer }>();
    const cell = row?.cell ?? '';
    return (typeof cell === 'string' ? cell : cell.toString('base64url')).slice(0, 12);
  }

  describe.each(Object.entries(CONTEXTS))('%s', (_, within) => {
    it('are saved, changed, and read back', async () => {
      const ada = patient({ scan: 'canary scan' });
      await within(7, () => patients.save(ada));
      await within(8, () => patients.save(patient({ tenantId: 8 })));
      await within(7, async () => {
        const loaded = await patients.findOneByOrFail({ id: ada.id });
        expect(loaded).toMatchObject({ ssn: 'canary 7', scan: 'canary scan' });
        loaded.ssn = 'canary changed';
        await patients.save(loaded);
        await patients.save({ id: ada.id, scan: 'canary scan 2' });
        expect(await patients.findOneByOrFail({ id: ada.id })).toMatchObject({
          ...{ ssn: 'canary changed', scan: 'canary scan 2', tenantId: 7 },
        });
        await patients.save({ id: ada.id, ssn: null });
        expect(await patients.findOneByOrFail({ id: ada.id })).toMatchObject({ ssn: null });
      });
    });

    it('are saved with the relation in place of the foreign key, and cascade', async () => {
      const ada = patient({ visits: [visit({ code: 'canary-c' }), visit({ note: 'canary 2' })] });
      Reflect.deleteProperty(ada, 'tenantId');
      ada.tenant = { id: 7 };
      await within(7, async () => {
        await patients.save(ada);
        const loaded = await patients.findOneOrFail({
          where: { id: ada.id },
          relations: { visits: true, tenant: true },
        });
        expect(loaded.ssn).toBe('canary 7');
        expect(loaded.visits?.map(({ note }) => note).sort()).toEqual(['canary 2', 'canary note']);
        const joined = await patients
          .createQueryBuilder('p')
          .innerJoinAndSelect('p.visits', 'v')
          .where({ tenantId: 7 })
          .getMany();
        expect(joined).toMatchObject([{ visits: [{ tenantId: 7 }, { tenantId: 7 }] }]);
      });
    });

    it('are updated by criteria and query builders that fix the scope', async () => {
      const ada = patient({});
      await within(7, async () => {
        await patients.insert(ada);
        const before = await keyOf(ada.id);
        await patients.update({ id: ada.id, tenantId: 7 }, { ssn: 'canary 71' });
        await patients
          .createQueryBuilder()
          .update()
          .set({ city: 'Canary' })
          .where('tenantId = :t', { t: 7 })
          .execute();
        await patients.update({ email: ada.email, tenantId: 7 }, { scan: 'canary s' });
        expect(await patients.findOneByOrFail({ id: ada.id })).toMatchObject({
          ...{ ssn: 'canary 71', city: 'Canary', scan: 'canary s' },
        });
        expect([await keyOf(ada.id), await keyOf(ada.id, 'scan')]).toEqual([before, before]);
      });
    });

    it('are looked up, counted, and read raw', async () => {
      const ada = patient({ city: 'Canary', login: 'canary-login' });
      await within(7, () => patients.insert(ada));
      const { email } = ada;
      const bob = patient({ tenantId: 8, city: 'Canary', email });
      await within(8, () => patients.insert(bob));
      await within(7, async () => {
        expect(await patients.findBy({ tenantId: 7, email })).toMatchObject([{ id: ada.id }]);
        expect(await patients.countBy({ tenantId: 7, email })).toBe(1);
        expect(await patients.existsBy({ tenantId: 7, email })).toBe(true);
        expect(await patients.findBy({ tenantId: 7, city: 'Canary' })).toMatchObject([
          { id: ada.id },
        ]);
        expect(await patients.countBy({ tenantId: 7, email: Not(email) })).toBe(0);
        expect(await patients.countBy({ tenantId: 7, email: In([email, 'x']) })).toBe(1);
        expect(await patients.countBy({ tenantId: 7, email: IsNull() })).toBe(0);
        expect(await patients.findOneBy({ login: 'canary-login' })).toMatchObject({ id: ada.id });
        const raw = await patients.createQueryBuilder('p').where({ tenantId: 7 }).getRawMany();
        expect(JSON.stringify(raw)).not.toContain('canary');
      });
    });

    it('are deleted softly and recovered', async () => {
      const ada = patient({});
      await within(7, async () => {
        await patients.insert(ada);
        await patients.softDelete({ tenantId: 7, email: ada.email });
        expect(await patients.countBy({ tenantId: 7 })).toBe(0);
        await patients.restore({ tenantId: 7, email: ada.email });
        const loaded = await patients.findOneByOrFail({ id: ada.id });
        await patients.softRemove(loaded);
        await patients.recover(loaded);
        expect(await patients.findOneByOrFail({ id: ada.id })).toMatchObject({ ssn: 'canary 7' });
        await patients.delete({ tenantId: 7, email: ada.email });
        expect(await patients.count({ where: { tenantId: 7 }, withDeleted: true })).toBe(0);
      });
    });

    it('are upserted by their id', async () => {
      const ada = patient({ ward: 'a' });
      await within(7, async () => {
        await patients.insert(ada);
        const values = patient({ id: ada.id, email: ada.email, ssn: 'canary upserted' });
        // Another tenant's row may have the id.
        await expect(patients.upsert(values, ['id'])).rejects.toBeInstanceOf(UnsupportedQueryError);
        await patients.upsert(patient({ email: ada.email, ssn: 'canary upserted' }), [
          'tenantId',
          'email',
        ]);
        expect(await patients.findBy({ tenantId: 7 })).toMatchObject([
          { email: ada.email, ssn: 'canary upserted' },
        ]);
        const email = 'new-canary@example.org';
        await patients.upsert(patient({ email }), ['tenantId', 'email']);
        expect(await patients.countBy({ tenantId: 7, email })).toBe(1);
      });
    });

    it('are written over by an INSERT in their scope alone', async () => {
      const ada = patient({ city: 'canary c' });
      await within(7, async () => {
        await patients.insert(ada);
        const insert = patients
          .createQueryBuilder()
          .insert()
          .values(patient({ email: ada.email, ssn: 'canary new', city: 'canary d' }));
        expect(() => insert.orUpdate(['ssn'], ['id'])).toThrow(
          /Name tenantId \(column "tenant_id"\) among/,
        );
        expect(() => insert.orUpdate(['tenant_id', 'email'], ['id'])).toThrow(
          /the row in conflict may have another/,
        );
        await insert.orUpdate(['ssn', 'city'], ['tenant_id', 'email']).execute();
        expect(await patients.findBy({ tenantId: 7, city: 'canary d' })).toMatchObject([
          { id: ada.id, ssn: 'canary new' },
        ]);
        await insert.orIgnore().execute();
        expect(await patients.countBy({ tenantId: 7 })).toBe(1);
      });
      // The same e-mail of another tenant is in no conflict.
      await within(8, async () => {
        await patients.upsert(patient({ tenantId: 8, email: ada.email }), ['tenantId', 'email']);
        expect(await patients.countBy({ tenantId: 8, email: ada.email })).toBe(1);
      });
      expect(await keyOf(ada.id)).toBe(await keyOf(ada.id, 'email'));
    });

    it('have values and tokens for SQL', async () => {
      const encryption = fieldEncryption(dataSource);
      const ada = patient({});
      await within(7, async () => {
        await patients.insert(ada);
        const row = { tenantId: 7 };
        const stored = await encryption.encryptValue(Patient, 'ssn', 'canary raw', { row });
        expect(await encryption.decryptValue(Patient, 'ssn', stored, { row })).toBe('canary raw');
        const token = await encryption.token(Patient, 'email', ada.email, undefined, { row });
        expect(await encryption.tokens(Patient, 'email', ada.email, undefined, { row })).toEqual([
          token,
        ]);
        const names = patients.metadata.columns.map(({ databaseName }) => databaseName);
        const hidden = names.find((name) => name.startsWith('email_'));
        const found: unknown[] = await dataSource.query(
          sqlOf(
            dataSource.options,
            `SELECT id FROM patient WHERE "${String(hidden)}" = '${token}'`,
          ),
        );
        expect(found).toEqual([{ id: ada.id }]);
      });
    });
  });

  it('are inserted together, whatever their scopes', async () => {
    const rows = [7, 8, 9, 7].map((tenantId) => patient({ tenantId, city: 'Canary' }));
    await patients.insert(rows);
    const found = await patients.find({ order: { tenantId: 'ASC' } });
    expect(found.map(({ ssn }) => ssn)).toEqual(['canary 7', 'canary 7', 'canary 8', 'canary 9']);
    expect(await patients.findBy({ tenantId: 8, city: 'Canary' })).toHaveLength(1);
    await patients.save(found.map((row) => Object.assign(row, { ssn: 'canary all' })));
    expect((await patients.find()).map(({ ssn }) => ssn)).toEqual(Array(4).fill('canary all'));
    expect(new Set(await Promise.all(rows.map(({ id }) => keyOf(id)))).size).toBe(3);
  });

  it('are not updated by criteria that hit several scopes', async () => {
    const ada = patient({});
    const bob = patient({ tenantId: 8 });
    await patients.insert([ada, bob]);
    const before = [await keyOf(ada.id), await keyOf(bob.id)];
    const attempts = [
      () => patients.update({ tenantId: In([7, 8]) }, { ssn: 'canary x' }),
      () => patients.update({ ward: IsNull() }, { ssn: 'canary x' }),
      () =>
        patients
          .createQueryBuilder()
          .update()
          .set({ ssn: 'canary x' })
          .where('tenantId = :a OR tenantId = :b', { a: 7, b: 8 })
          .execute(),
      () =>
        patients
          .createQueryBuilder()
          .update()
          .set({ ssn: 'canary x' })
          .where({ tenantId: 7 })
          .orWhere({ tenantId: 8 })
          .execute(),
    ];
    for (const attempt of attempts) {
      await expect(attempt()).rejects.toMatchObject({
        message: expect.stringMatching(/Patient\.ssn.*tenant/) as string,
      });
    }
    await withKeyScope({ tenant: 7 }, () =>
      expect(patients.update({ ward: IsNull() }, { ssn: 'canary x' })).rejects.toMatchObject({
        message: expect.stringMatching(/Patient\.ssn.*tenant/) as string,
      }),
    );
    expect([await keyOf(ada.id), await keyOf(bob.id)]).toEqual(before);
    expect((await patients.find()).map(({ ssn }) => ssn).sort()).toEqual(['canary 7', 'canary 8']);
    // Neither column is encrypted.
    await patients.update({ ward: IsNull() }, { ward: 'b' });
    expect(await patients.countBy({ ward: 'b' })).toBe(2);
  });

  it('are updated by criteria that leave their scope open, if all that they hit have one', async () => {
    const [ada, eve] = [patient({ ward: 'a' }), patient({ ward: 'a' })];
    const bob = patient({ tenantId: 8, ward: 'b' });
    for (const each of [ada, eve, bob]) await patients.insert(each);
    const values = { ssn: 'canary x', city: 'canary c' };
    expect(await patients.update({ id: ada.id }, values)).toMatchObject({ affected: 1 });
    expect(await patients.update({ ward: 'a' }, values)).toMatchObject({ affected: 2 });
    expect(await patients.update({ ward: 'b' }, values)).toMatchObject({ affected: 1 });
    expect(await patients.update({ ward: 'none' }, values)).toMatchObject({ affected: 0 });
    await withKeyScope({ tenant: 7 }, async () => {
      const byToken = await patients.update({ email: ada.email }, { ssn: 'canary y' });
      expect(byToken).toMatchObject({ affected: 1 });
      const before: unknown = await dataSource.query('SELECT * FROM patient ORDER BY id');
      for (const criteria of [{ ward: 'b' }, { id: bob.id }, { id: bob.id, tenantId: 8 }]) {
        await expect(patients.update(criteria, values)).rejects.toBeInstanceOf(ScopeMismatchError);
      }
      expect(await dataSource.query('SELECT * FROM patient ORDER BY id')).toEqual(before);
    });
    await dataSource.transaction(async (manager) => {
      await manager.update(Patient, { id: eve.id }, { ssn: 'canary z', ward: 'c' });
    });
    const raw = patients.createQueryBuilder().update().set({ ssn: 'canary r' });
    await raw.where('ward = :w OR ward IS NULL', { w: 'b' }).execute();
    await raw.execute();
    const found = await patients.find({ order: { tenantId: 'ASC', ward: 'ASC' } });
    expect(found).toMatchObject([
      { tenantId: 7, ssn: 'canary y', ward: 'a' },
      { tenantId: 7, ssn: 'canary z', ward: 'c' },
      { tenantId: 8, ssn: 'canary r', city: 'canary c' },
    ]);
    expect(await patients.findBy({ tenantId: 8, city: 'canary c' })).toHaveLength(1);
    expect(await fieldEncryption(dataSource).verify()).toMatchObject({ failed: 0 });
  });

  it('keep their scope', async () => {
    const ada = patient({});
    await patients.insert(ada);
    const moved = /Read the row, insert a copy/;
    const loaded = await patients.findOneByOrFail({ id: ada.id });
    loaded.tenantId = 8;
    await expect(patients.save(loaded)).rejects.toThrow(moved);
    await expect(patients.update({ id: ada.id }, { tenantId: 8 })).rejects.toThrow(moved);
    await expect(patients.update({ tenantId: 7 }, { tenantId: 8 })).rejects.toThrow(moved);
    const related = await patients.findOneByOrFail({ id: ada.id });
    await expect(patients.save(Object.assign(related, { tenant: { id: 8 } }))).rejects.toThrow(
      moved,
    );
    expect(await patients.findOneByOrFail({ id: ada.id })).toMatchObject({
      ...{ tenantId: 7, ssn: 'canary 7' },
    });
  });

  it('need a scope before anything is written', async () => {
    const unknown = patient({});
    Reflect.deleteProperty(unknown, 'tenantId');
    opened.statements.clear();
    await expect(patients.insert(unknown)).rejects.toBeInstanceOf(MissingScopeError);
    await expect(patients.save(unknown)).rejects.toBeInstanceOf(MissingScopeError);
    await expect(
      patients.insert([patient({}), Object.assign(patient({}), { tenantId: null })]),
    ).rejects.toBeInstanceOf(MissingScopeError);
    expect(opened.statements.writes().filter((sql) => sql.includes('"patient"'))).toEqual([]);
  });

  it('are unique within their scope', async () => {
    const ada = patient({});
    const { email } = ada;
    await patients.insert([ada, patient({ tenantId: 8, email })]);
    await expect(patients.insert(patient({ email }))).rejects.toThrow(/unique|duplicate entry/i);
    await expect(patients.insert(patient({ email: email.toUpperCase() }))).rejects.toThrow(
      /unique|duplicate entry/i,
    );
  });

  it('are read with the column of their scope, though it is not asked for', async () => {
    const ada = patient({});
    await patients.insert(ada);
    const [found] = await patients.find({ select: { id: true, ssn: true } });
    expect(found).toMatchObject({ ssn: 'canary 7' });
    expect(found?.tenantId).toBeUndefined();
    const partial = await patients.createQueryBuilder('p').select(['p.id', 'p.ssn']).getMany();
    expect(partial).toMatchObject([{ ssn: 'canary 7' }]);
  });

  it('are not taken for those of a joined entity', async () => {
    const ada = patient({ visits: [visit({ tenantId: 7 })] });
    await patients.save(ada);
    const query = patients
      .createQueryBuilder('p')
      .innerJoin('p.visits', 'v')
      .where('v.tenantId = :t', { t: 8 });
    expect(() => query.andWhere({ email: ada.email }).getQuery()).toThrow(MissingScopeError);
  });

  it('are found by truncated tokens in the scope of the context only', async () => {
    const cities = Array.from({ length: 40 }, (_, i) => `canary ${String(i)}`);
    const rows = cities.flatMap((city) => [7, 8].map((tenantId) => patient({ tenantId, city })));
    await patients.insert(rows);
    await withKeyScope({ tenant: 7 }, async () => {
      for (const city of cities) {
        expect(await patients.findBy({ city })).toMatchObject([{ tenantId: 7, city }]);
      }
    });
  });

  it('are refused with a value or a token of another scope', async () => {
    const ada = patient({ login: 'canary-a' });
    const bob = patient({ tenantId: 8, login: 'canary-b' });
    for (const each of [ada, bob]) await patients.insert(each);
    const set = (column: string, from: string, to: string) =>
      dataSource.query(
        sqlOf(
          dataSource.options,
          `UPDATE patient SET "${column}" = (SELECT "${column}" FROM patient WHERE id = '${from}') WHERE id = '${to}'`,
        ),
      );
    const hidden = patients.metadata.columns
      .map(({ databaseName }) => databaseName)
      .find((name) => name.startsWith('email_'));
    const { email } = ada;
    expect(await patients.findBy({ email, tenantId: 7 })).toHaveLength(1);
    await set(String(hidden), ada.id, bob.id);
    await withKeyScope({ tenant: 7 }, () =>
      expect(patients.findBy({ email })).rejects.toBeInstanceOf(ScopeMismatchError),
    );
    await set('ssn', ada.id, bob.id);
    await expect(patients.findOneBy({ id: bob.id })).rejects.toBeInstanceOf(ScopeMismatchError);
    await expect(
      patients.findOne({ where: { id: bob.id }, select: { ssn: true } }),
    ).rejects.toBeInstanceOf(ScopeMismatchError);
    // Moved along with its row.
    const eve = patient({ tenantId: 9 });
    await patients.insert(eve);
    await dataSource.query(`UPDATE patient SET tenant_id = 7 WHERE id = '${eve.id}'`);
    await expect(patients.findOneBy({ id: eve.id })).rejects.toBeInstanceOf(ScopeMismatchError);
    const helper = fieldEncryption(dataSource);
    const stored = await helper.encryptValue(Patient, 'ssn', 'canary', { row: { tenantId: 8 } });
    await expect(
      helper.decryptValue(Patient, 'ssn', stored, { row: { tenantId: 7 } }),
    ).rejects.toBeInstanceOf(ScopeMismatchError);
  });

  it('are all read and written in the context of every scope', async () => {
    await withKeyScope(ALL_SCOPES, async () => {
      await patients.insert([patient({}), patient({ tenantId: 8 })]);
      expect(await patients.find()).toHaveLength(2);
    });
  });

  it('are read across scopes with an entry in the audit log', async () => {
    const { audit } = fieldEncryption(dataSource);
    const entries = async (): Promise<number> =>
      (await audit.list({ operation: 'allScopes' })).length;
    await patients.insert([patient({}), patient({ tenantId: 8 })]);
    await withKeyScope({ tenant: 7 }, () => patients.findBy({ tenantId: 7 }));
    await withKeyScope(ALL_SCOPES, () => dataSource.getRepository(Tenant).find());
    expect(await entries()).toBe(0);
    await withKeyScope(ALL_SCOPES, async () => {
      await patients.find();
      expect(await entries()).toBe(1);
      await patients.find();
      await patients.insert(patient({ tenantId: 9 }));
    });
    expect(await entries()).toBe(1);
    await withKeyScope(ALL_SCOPES, () => patients.save(patient({ tenantId: 9 })));
    expect(await entries()).toBe(2);
    // Its connection may be the only one.
    await withKeyScope(ALL_SCOPES, () =>
      dataSource.transaction((manager) => manager.find(Patient)),
    );
    while ((await entries()) < 3) await sleep(20);
    expect(await audit.verify()).toMatchObject({ broken: null });
  });

  it('are not read across scopes where that cannot be recorded', async () => {
    await patients.insert(patient({}));
    const table = 'field_encryption_audit';
    await dataSource.query(`ALTER TABLE ${table} RENAME TO audit_away`);
    const read = withKeyScope(ALL_SCOPES, async () => {
      await expect(patients.find()).rejects.toBeInstanceOf(FieldEncryptionError);
      await expect(patients.find()).rejects.toBeInstanceOf(FieldEncryptionError);
    });
    await read.finally(() => dataSource.query(`ALTER TABLE audit_away RENAME TO ${table}`));
  });

  it('are not looked up by the scope of an alternative', async () => {
    const ada = patient({});
    const bob = patient({ tenantId: 8, email: ada.email });
    for (const each of [ada, bob]) await patients.insert(each);
    const { email } = ada;
    const alternatives = [
      () => patients.createQueryBuilder('p').where({ tenantId: 7 }).orWhere({ email }),
      () => patients.createQueryBuilder('p').where('p.tenantId = :t', { t: 7 }).orWhere({ email }),
      () =>
        patients
          .createQueryBuilder('p')
          .where(new Brackets((qb) => qb.where({ tenantId: 7 }).orWhere({ email }))),
      () => patients.createQueryBuilder().delete().where({ tenantId: 7 }).orWhere({ email }),
      () => patients.createQueryBuilder().softDelete().where({ tenantId: 7 }).orWhere({ email }),
      () =>
        patients
          .createQueryBuilder()
          .update()
          .set({ ward: 'b' })
          .where({ tenantId: 7 })
          .orWhere({ email }),
    ];
    for (const build of alternatives) expect(build).toThrow(MissingScopeError);
    await expect(patients.find({ where: [{ tenantId: 7 }, { email }] })).rejects.toBeInstanceOf(
      MissingScopeError,
    );
    const both = patients
      .createQueryBuilder('p')
      .where({ tenantId: 8, email })
      .orWhere({ tenantId: 7, email });
    expect(await both.getCount()).toBe(2);
    await withKeyScope({ tenant: 8 }, async () => {
      const found = patients.createQueryBuilder('p').where({ tenantId: 8 }).orWhere({ email });
      expect(await found.getMany()).toMatchObject([{ id: bob.id }]);
    });
  });
});

@Entity()
class Message {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @Encrypted() @BlindIndex() text!: string;
  @Encrypted({ nullable: true }) @BlindIndex({ bits: 4 }) topic?: string | null;
  @Encrypted({ nullable: true, scope: false }) common?: string | null;
  @Column({ nullable: true, type: 'varchar' }) channel?: string | null;
}

describeEachDatabase('Rows of scopes that the context alone tells', (database) => {
  let current: string | undefined;
  const options: Partial<FieldEncryptionOptions> = { keyScope: () => current };
  const opened = useEncryptedDatabase(database, { entities: [Message] }, options);
  let messages: Repository<Message>;

  beforeEach(() => {
    messages = opened.dataSource.getRepository(Message);
    current = undefined;
  });

  const message = (text: string, values: Partial<Message> = {}): Message =>
    Object.assign(new Message(), { text, ...values });

  it('are written, looked up and read in it', async () => {
    current = 'a';
    const hello = message('canary hello', { common: 'canary c', topic: 'canary t' });
    await messages.save(hello);
    await withKeyScope('b', () => messages.insert(message('canary hello', { topic: 'canary t' })));
    expect(await messages.findBy({ text: 'canary hello' })).toMatchObject([{ id: hello.id }]);
    expect(await messages.findBy({ topic: 'canary t' })).toMatchObject([{ id: hello.id }]);
    expect(await messages.countBy({ text: 'canary hello' })).toBe(1);
    await messages.save({ id: hello.id, text: 'canary two' });
    await messages.update({ id: hello.id }, { topic: 'canary t2' });
    await messages
      .createQueryBuilder()
      .update()
      .set({ common: 'canary d' })
      .where({ id: hello.id })
      .execute();
    expect(await messages.findOneByOrFail({ id: hello.id })).toMatchObject({
      ...{ text: 'canary two', topic: 'canary t2', common: 'canary d' },
    });
    await expect(messages.find()).rejects.toBeInstanceOf(ScopeMismatchError);
  });

  it('are neither read nor written without it', async () => {
    current = 'a';
    const hello = message('canary hello');
    await messages.insert(hello);
    current = undefined;
    await expect(messages.insert(message('canary'))).rejects.toBeInstanceOf(MissingScopeError);
    await expect(messages.save(message('canary'))).rejects.toBeInstanceOf(MissingScopeError);
    await expect(messages.update({ id: hello.id }, { text: 'canary' })).rejects.toBeInstanceOf(
      MissingScopeError,
    );
    await expect(messages.findOneBy({ id: hello.id })).rejects.toBeInstanceOf(MissingScopeError);
    await expect(messages.findBy({ text: 'canary hello' })).rejects.toBeInstanceOf(
      MissingScopeError,
    );
    expect(await messages.count()).toBe(1);
    await withKeyScope(ALL_SCOPES, async () => {
      expect(await messages.find()).toMatchObject([{ text: 'canary hello' }]);
      await expect(messages.insert(message('canary'))).rejects.toBeInstanceOf(MissingScopeError);
    });
  });

  it('are not written over from the context of another', async () => {
    current = 'a';
    const hello = message('canary hello', { topic: 'canary t' });
    await messages.insert(hello);
    current = 'b';
    await expect(messages.update({ id: hello.id }, { text: 'canary b' })).rejects.toBeInstanceOf(
      ScopeMismatchError,
    );
    current = 'a';
    expect(await messages.find()).toMatchObject([{ text: 'canary hello', topic: 'canary t' }]);
  });

  it('have values and tokens for SQL', async () => {
    current = 'a';
    const encryption = fieldEncryption(opened.dataSource);
    const stored = await encryption.encryptValue(Message, 'text', 'canary raw');
    expect(await encryption.decryptValue(Message, 'text', stored)).toBe('canary raw');
    const token = await encryption.token(Message, 'text', 'canary raw');
    current = 'b';
    expect(await encryption.token(Message, 'text', 'canary raw')).not.toBe(token);
    await expect(encryption.decryptValue(Message, 'text', stored)).rejects.toBeInstanceOf(
      ScopeMismatchError,
    );
    current = undefined;
    await expect(encryption.token(Message, 'text', 'x')).rejects.toBeInstanceOf(MissingScopeError);
    await expect(encryption.decryptValue(Message, 'text', stored)).rejects.toBeInstanceOf(
      MissingScopeError,
    );
  });
});
