import { randomUUID } from 'node:crypto';
import {
  Column,
  Entity,
  In,
  JoinColumn,
  ManyToOne,
  OneToMany,
  PrimaryColumn,
  Raw,
  VersionColumn,
} from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import {
  BlindIndex,
  DecryptionError,
  Encrypted,
  fieldEncryption,
  UnsupportedQueryError,
  UnsupportedValueError,
} from '../../src';
import { describeEachDatabase } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { quoted, sqlOf } from '../support/sql-of';

@Entity()
class Tenant {
  @PrimaryColumn() id!: number;
  @OneToMany(() => Patient, (patient) => patient.tenant) patients?: Patient[];
}

@Entity()
class Patient {
  // The encrypted columns come first, so that nothing depends on their order.
  @Encrypted({ bindTo: ['id'] })
  @BlindIndex({ normalize: 'email', unique: true })
  email!: string;
  @Encrypted({ nullable: true, bindTo: ['tenantId', 'id'] }) ssn?: string | null;
  @Encrypted({ nullable: true, type: 'json', storage: 'binary', bindTo: ['id'] }) history?:
    string[] | null;
  @Encrypted({ nullable: true, check: false }) note?: string | null;
  @PrimaryColumn('uuid') id: string = randomUUID();
  @Column() tenantId!: number;
  @Column({ nullable: true }) ward?: string;
  @VersionColumn() version!: number;
  @ManyToOne(() => Tenant, (tenant) => tenant.patients) @JoinColumn() tenant?: Tenant;
}

function patient(values: Partial<Patient>): Patient {
  const secret = { email: 'ada-canary@example.org', ssn: 'canary 1', history: ['canary'] };
  return Object.assign(new Patient(), { tenantId: 7, ...secret, ...values });
}

describeEachDatabase('Values that are bound to their row', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Tenant, Patient] });
  let dataSource: DataSource;
  let patients: Repository<Patient>;

  beforeEach(async () => {
    ({ dataSource } = opened);
    patients = dataSource.getRepository(Patient);
    await dataSource.getRepository(Tenant).insert([{ id: 7 }, { id: 8 }]);
  });

  /** Two rows of one tenant. */
  async function two(): Promise<[Patient, Patient]> {
    const ada = patient({});
    const bob = patient({
      email: 'bob-canary@example.org',
      ssn: 'canary 2',
      history: ['canary 2'],
    });
    // TypeORM exchanges the ids of entities that are inserted together, where they have a version column.
    await patients.insert(ada);
    await patients.insert(bob);
    return [ada, bob];
  }

  async function cell(column: string, id: string): Promise<unknown> {
    const rows: { cell: unknown }[] = await dataSource.query(
      sqlOf(database, `SELECT "${column}" AS cell FROM patient WHERE id = $1`),
      [id],
    );
    return rows[0]?.cell;
  }

  async function put(column: string, id: string, stored: unknown): Promise<void> {
    await dataSource.query(sqlOf(database, `UPDATE patient SET "${column}" = $1 WHERE id = $2`), [
      stored,
      id,
    ]);
  }

  async function swap(column: string, one: string, other: string): Promise<void> {
    const [first, second] = [await cell(column, one), await cell(column, other)];
    await put(column, one, second);
    await put(column, other, first);
  }

  describe('in writes', () => {
    async function expectStored(id: string, values: Partial<Patient>): Promise<void> {
      expect(await patients.findOneByOrFail({ id })).toMatchObject(values);
    }

    it('are stored in a format of their own', async () => {
      const [ada] = await two();
      expect(await cell('email', ada.id)).toMatch(/^A[g-v]/);
      expect((await cell('history', ada.id)) as Buffer).toHaveProperty('0', 2);
    });

    it('are read as they were saved, inserted and saved again', async () => {
      const saved = await patients.save(patient({ note: 'canary note' }));
      await expectStored(saved.id, { email: saved.email, ssn: 'canary 1', history: ['canary'] });
      await patients.save({ id: saved.id, ssn: 'canary 3' });
      await expectStored(saved.id, { ssn: 'canary 3', note: 'canary note', version: 2 });
      await patients.save(await patients.findOneByOrFail({ id: saved.id }));
      await expectStored(saved.id, { version: 2 });
    });

    it('are saved with a relation in place of its foreign key', async () => {
      const values = { email: 'canary@example.org', ssn: 'canary 1' };
      const saved = await patients.save(patients.create({ ...values, tenant: { id: 8 } }));
      await expectStored(saved.id, { ssn: 'canary 1', tenantId: 8 });
    });

    it('are saved by a cascade of a query runner in a transaction', async () => {
      await dataSource.transaction(async (manager) => {
        const ada = await manager.save(patient({}));
        await manager.update(Patient, { id: ada.id, tenantId: 7 }, { ssn: 'canary 4' });
        await manager.insert(Patient, patient({ email: 'c@canary.org' }));
      });
      const found = await patients.find({ select: { ssn: true } });
      expect(found.map(({ ssn }) => ssn).sort()).toEqual(['canary 1', 'canary 4']);
    });

    it.each<[string, (id: string) => Promise<unknown>]>([
      ['an object', (id) => patients.update({ id, tenantId: 7 }, { ssn: 'canary 5' })],
      [
        'a list of one',
        (id) => patients.update({ id: In([id]), tenantId: 7 }, { ssn: 'canary 5' }),
      ],
      [
        'a builder with an object',
        (id) =>
          patients
            .createQueryBuilder()
            .update()
            .set({ ssn: 'canary 5' })
            .where({ id })
            .andWhere({ tenantId: 7 })
            .execute(),
      ],
      [
        'a builder with text',
        (id) =>
          patients
            .createQueryBuilder()
            .update()
            .set({ ssn: 'canary 5' })
            .where(`id = :id AND ${quoted(database, 'tenantId')} = :tenant`, { id, tenant: 7 })
            .execute(),
      ],
    ])('are updated by criteria that fix the row: %s', async (_, update) => {
      const [ada, bob] = await two();
      await update(ada.id);
      await expectStored(ada.id, { ssn: 'canary 5' });
      await expectStored(bob.id, { ssn: 'canary 2' });
    });

    it('are updated by the primary key alone where that is all they are bound to', async () => {
      const [ada] = await two();
      await patients.update(ada.id, { email: 'canary@example.net' });
      await patients
        .createQueryBuilder()
        .update()
        .set({ history: ['canary 9'] })
        .whereInIds(ada.id)
        .execute();
      await expectStored(ada.id, { email: 'canary@example.net', history: ['canary 9'] });
    });

    it.each<[string, (ids: [string, string]) => Promise<unknown>]>([
      ['no bound column', () => patients.update({ ward: 'x' }, { ssn: 'canary 5' })],
      ['a part of them', ([id]) => patients.update({ id }, { ssn: 'canary 5' })],
      ['several rows', (ids) => patients.update({ id: In(ids), tenantId: 7 }, { ssn: 'canary 5' })],
      ['a list of ids', (ids) => patients.update(ids, { email: 'canary' })],
      [
        'alternatives',
        ([id]) =>
          patients
            .createQueryBuilder()
            .update()
            .set({ email: 'canary' })
            .where({ id })
            .orWhere({ tenantId: 7 })
            .execute(),
      ],
      [
        'alternatives in text',
        ([id]) =>
          patients
            .createQueryBuilder()
            .update()
            .set({ email: 'canary' })
            .where('id = :id OR id <> :id', { id })
            .execute(),
      ],
      [
        'alternatives beside an equality in text',
        ([id]) =>
          patients
            .createQueryBuilder()
            .update()
            .set({ email: 'canary' })
            .where('id = :id AND 1 = 1 OR 2 = 2', { id })
            .execute(),
      ],
      [
        'the opposite',
        ([id]) =>
          patients
            .createQueryBuilder()
            .update()
            .set({ email: 'canary' })
            .where('NOT id = :id', { id })
            .execute(),
      ],
      [
        'SQL of the application beside an equality',
        ([id]) =>
          patients
            .createQueryBuilder()
            .update()
            .set({ email: 'canary' })
            .where('id = :id', { id })
            .andWhere('ward = :ward OR ward IS NULL', { ward: 'x' })
            .execute(),
      ],
      [
        'brackets that SQL of the application closes',
        ([id]) =>
          patients
            .createQueryBuilder()
            .update()
            .set({ email: 'canary' })
            .where('(id = :id', { id })
            .andWhere('1 = 1) OR (1 = 1')
            .execute(),
      ],
      [
        'Raw() beside an equality',
        ([id]) =>
          patients.update(
            { id: id, ward: Raw((column) => `${column} IS NULL OR 1 = 1`) },
            { email: 'canary' },
          ),
      ],
      ['the id of a relation', () => patients.update({ tenant: { id: 7 } }, { email: 'canary' })],
    ])('are not updated by criteria with %s', async (_, update) => {
      const [ada, bob] = await two();
      await expect(update([ada.id, bob.id])).rejects.toThrow(UnsupportedQueryError);
      await expect(update([ada.id, bob.id])).rejects.toThrow(
        /the criteria of the update do not fix/,
      );
      await expectStored(ada.id, { ssn: 'canary 1', email: ada.email });
    });

    it('may be set to NULL by any criteria', async () => {
      const [ada, bob] = await two();
      await patients.update({ tenantId: 7 }, { ssn: null });
      await expectStored(ada.id, { ssn: null });
      await expectStored(bob.id, { ssn: null });
    });

    it('are upserted by the columns that they are bound to', async () => {
      const [ada] = await two();
      await patients
        .createQueryBuilder()
        .insert()
        .values({ id: ada.id, tenantId: 7, email: 'canary@example.net' })
        .orUpdate(['email'], ['id'])
        .execute();
      await expectStored(ada.id, { email: 'canary@example.net', ssn: 'canary 1' });
    });

    it('are not upserted by other columns', async () => {
      await two();
      const values = patient({ email: 'ada-canary@example.org' });
      await expect(patients.upsert(values, ['email'])).rejects.toThrow(UnsupportedQueryError);
      const insert = patients.createQueryBuilder().insert().values(values);
      expect(() => insert.orUpdate(['ssn'], ['email'])).toThrow(
        /Name id \(column "id"\) among the conflict paths/,
      );
      expect(() => insert.orUpdate(['tenantId'], ['id'])).toThrow(/the row in conflict may have/);
    });

    it('are not written without their bound columns', async () => {
      const rest = { id: randomUUID(), email: 'canary@example.org', ssn: 'canary 1' };
      await expect(patients.insert(rest)).rejects.toThrow(UnsupportedValueError);
      await expect(patients.insert({ ...rest, tenantId: () => '7' })).rejects.toThrow(
        /Patient.tenantId: .* its value is not one/,
      );
      await expect(
        patients
          .createQueryBuilder()
          .insert()
          .into(Patient, ['id', 'ssn'])
          .values(patient({}))
          .execute(),
      ).rejects.toThrow(/bound to tenantId of its row, which the INSERT leaves out/);
      expect(await patients.count()).toBe(0);
    });

    it('keep the columns that they are bound to', async () => {
      const [ada] = await two();
      const loaded = await patients.findOneByOrFail({ id: ada.id });
      await expect(patients.save(Object.assign(loaded, { tenantId: 8 }))).rejects.toThrow(
        /bound to tenantId of its row, which cannot change. Read the row, insert a copy/,
      );
      await expect(patients.update(ada.id, { tenantId: 8 })).rejects.toThrow(UnsupportedQueryError);
      await expect(patients.update(ada.id, { tenant: { id: 8 } })).rejects.toThrow(
        UnsupportedQueryError,
      );
      await expect(patients.update({ id: ada.id }, { id: randomUUID() })).rejects.toThrow(
        UnsupportedQueryError,
      );
      await expect(
        dataSource.createQueryBuilder().relation(Tenant, 'patients').of(8).add(ada.id),
      ).rejects.toThrow(UnsupportedQueryError);
      await patients.update({ id: ada.id, tenantId: 7 }, { tenantId: 7, ward: 'x' });
      await expectStored(ada.id, { ward: 'x', tenantId: 7, ssn: 'canary 1' });
    });
  });

  describe('in reads', () => {
    const reads: [string, (id: string) => Promise<unknown>][] = [
      ['find', () => patients.find()],
      ['findOneBy', (id) => patients.findOneBy({ id })],
      ['a partial select', () => patients.find({ select: { ssn: true } })],
      ['a lookup', () => patients.findBy({ email: 'ada-canary@example.org' })],
      [
        'a relation',
        () => dataSource.getRepository(Tenant).find({ relations: { patients: true } }),
      ],
      [
        'a relation by a query of its own',
        () =>
          dataSource
            .getRepository(Tenant)
            .find({ relations: { patients: true }, relationLoadStrategy: 'query' }),
      ],
      [
        'a page with a join',
        () =>
          patients
            .createQueryBuilder('p')
            .leftJoinAndSelect('p.tenant', 'tenant')
            .orderBy('p.id')
            .take(5)
            .getMany(),
      ],
      [
        'a mapped relation',
        () =>
          dataSource
            .getRepository(Tenant)
            .createQueryBuilder('t')
            .leftJoinAndMapMany('t.patients', Patient, 'p', 'p.tenantId = t.id')
            .getMany(),
      ],
      [
        'a builder with some columns',
        () => patients.createQueryBuilder('p').select(['p.ssn']).getMany(),
      ],
      ['getRawAndEntities', () => patients.createQueryBuilder('p').getRawAndEntities()],
      ['save', (id) => patients.save({ id, ward: 'y' })],
      ['sorted', () => fieldEncryption(dataSource).sorted(Patient, { order: { ssn: 'ASC' } })],
    ];

    it.each(reads)('give what was written: %s', async (_, read) => {
      const [ada] = await two();
      await expect(read(ada.id)).resolves.toBeDefined();
    });

    it.each(reads)('refuse cells that were swapped between rows: %s', async (_, read) => {
      const [ada, bob] = await two();
      await swap('ssn', ada.id, bob.id);
      await expect(read(ada.id)).rejects.toThrow(DecryptionError);
      await expect(read(ada.id)).rejects.toThrow(
        /Patient.ssn: the ciphertext does not authenticate .* belongs to another row/,
      );
    });

    it('refuse cells of another tenant, and of a row whose tenant was changed', async () => {
      const [ada] = await two();
      await put('tenantId', ada.id, 8);
      await expect(patients.findOneBy({ id: ada.id })).rejects.toThrow(DecryptionError);
    });

    it('leave added columns out of the entity', async () => {
      const [ada] = await two();
      const [found] = await patients.find({ select: { ssn: true }, where: { id: ada.id } });
      expect(found).toMatchObject({ ssn: 'canary 1', tenantId: undefined });
      expect(found?.id).not.toBe(ada.id);
    });

    it('leave sub-queries and raw rows as they are', async () => {
      const [ada] = await two();
      const raw: object[] = await patients.createQueryBuilder('p').select(['p.ssn']).getRawMany();
      expect(Object.keys(raw[0] ?? {}).filter((key) => !/p_(ssn|id)/.test(key))).toEqual([]);
      const { entities, raw: rows } = await patients
        .createQueryBuilder('p')
        .where({ id: ada.id })
        .getRawAndEntities();
      expect(entities[0]?.ssn).toBe('canary 1');
      expect((rows[0] as { p_ssn: unknown }).p_ssn).toMatch(/^A[g-v][\w-]+$/);
    });

    it('refuse a value that is not bound, of the same column and key', async () => {
      const [ada] = await two();
      const unbound = await cell(
        'note',
        (await patients.save(patient({ email: 'x@canary.org', note: 'canary' }))).id,
      );
      await put('ssn', ada.id, unbound);
      await expect(patients.findOneBy({ id: ada.id })).rejects.toThrow(
        /the ciphertext is not bound to its row .*legacyUnbound/,
      );
      await put('ssn', ada.id, null);
      await put('note', ada.id, await cell('email', ada.id));
      await expect(patients.findOneBy({ id: ada.id })).rejects.toThrow(/bound to a row/);
    });

    it('open by themselves with their row', async () => {
      const [ada, bob] = await two();
      const encryption = fieldEncryption(dataSource);
      const stored = await cell('ssn', ada.id);
      await expect(
        encryption.decryptValue(Patient, 'ssn', stored, { row: { id: ada.id, tenantId: 7 } }),
      ).resolves.toBe('canary 1');
      await expect(encryption.decryptValue(Patient, 'ssn', stored, { row: bob })).rejects.toThrow(
        DecryptionError,
      );
      await expect(encryption.decryptValue(Patient, 'ssn', stored)).rejects.toThrow(
        /Give the row: \{ row: \{ tenantId, id \} \}/,
      );
      await put(
        'ssn',
        bob.id,
        await encryption.encryptValue(Patient, 'ssn', 'canary 8', { row: bob }),
      );
      expect((await patients.findOneByOrFail({ id: bob.id })).ssn).toBe('canary 8');
      const { values, failures } = await encryption.decryptValues(
        Patient,
        'ssn',
        [stored, stored],
        {
          rows: [ada, bob],
        },
      );
      expect(values).toEqual(['canary 1', undefined]);
      expect(failures).toMatchObject([{ index: 1, error: { code: 'ERR_DECRYPTION' } }]);
    });
  });
});
