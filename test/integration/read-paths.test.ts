import { Column, Entity, Index, ManyToOne, PrimaryGeneratedColumn, VersionColumn } from 'typeorm';
import type { Repository } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, UnsupportedQueryError } from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeEachDatabase } from '../support/databases';
import { expectNoCanary, useEncryptedDatabase } from '../support/encrypted-database';
import { expectCiphertext, storedPlaintexts } from '../support/stored-rows';
import { sqlOf } from '../support/sql-of';

@Entity()
class Patient {
  @PrimaryGeneratedColumn('uuid') id!: string;
  @Column() @Index() ward!: string;
  @Encrypted() @BlindIndex({ normalize: 'email', unique: true }) email!: string;
  @Encrypted({ select: false, nullable: true }) @BlindIndex() ssn!: string | null;
  @Encrypted({ type: 'bytes', storage: 'binary', nullable: true }) photo!: Buffer | null;
  @Encrypted({ nullable: true }) bornOn!: Date;
  @VersionColumn() version!: number;
}

const ADA = Object.freeze({
  ward: 'A',
  email: 'canary.ada@x.org',
  ssn: 'canary 1',
  photo: Buffer.from('canary'),
  bornOn: new Date(86_400_000),
});

describeEachDatabase('Reading an encrypted entity', (database) => {
  @Entity()
  class Device {
    @PrimaryGeneratedColumn() id!: number;
    @Column(database.type === 'postgres' ? 'bytea' : 'blob') serial!: Buffer;
    @Encrypted({ bindTo: ['serial'] }) @BlindIndex() owner!: string;
    @ManyToOne(() => Device) parent!: Device | null;
  }

  const opened = useEncryptedDatabase(database, { entities: [Patient, Device], cache: true });
  const patients = (): Repository<Patient> => opened.dataSource.getRepository(Patient);

  async function ada(): Promise<Patient> {
    return patients().save(patients().create(ADA));
  }

  it.each([
    ['find', () => patients().find()],
    ['findBy', () => patients().findBy({ ward: 'A' })],
    ['findAndCount', async () => (await patients().findAndCount())[0]],
    ['findOne', async () => [await patients().findOne({ where: { ward: 'A' } })]],
    ['findOneOrFail', async () => [await patients().findOneOrFail({ where: { ward: 'A' } })]],
    ['a query builder', () => patients().createQueryBuilder('p').getMany()],
    [
      'a query builder without listeners',
      () => patients().createQueryBuilder('p').callListeners(false).getMany(),
    ],
    [
      'a query builder of the DataSource',
      () => opened.dataSource.createQueryBuilder(Patient, 'p').getMany(),
    ],
    [
      'a query builder of a query runner',
      async () => {
        const runner = opened.dataSource.createQueryRunner();
        const rows = await runner.manager.createQueryBuilder(Patient, 'p', runner).getMany();
        await runner.release();
        return rows;
      },
    ],
    [
      'getRawAndEntities',
      async () => (await patients().createQueryBuilder('p').getRawAndEntities()).entities,
    ],
    [
      'getOneOrFail with a limit and an offset',
      async () => [await patients().createQueryBuilder('p').limit(1).offset(0).getOneOrFail()],
    ],
    [
      'take and skip',
      () => patients().createQueryBuilder('p').orderBy('p.id').take(1).skip(0).getMany(),
    ],
  ])('through %s gives plaintext', async (_title, read) => {
    const { ssn, ...selected } = ADA;
    await ada();
    const rows = await read();
    expect(rows).toEqual([expect.objectContaining(selected)]);
    expect(rows[0]).toBeInstanceOf(Patient);
    expect(rows[0]!.ssn).toBeUndefined();
    expect(Object.values(rows[0]!)).not.toContain(ssn);
    expect(Object.keys(rows[0]!).filter((key) => key.includes('bidx'))).toEqual([]);
  });

  it('fetches the keys of a page of joined rows, which are not in memory', async () => {
    await ada();
    await fieldEncryption(opened.dataSource).keys.rotate();
    await installationOf(opened.dataSource).keys.close();
    const page = patients().createQueryBuilder('p').orderBy('p.id').take(1);
    const rows = await page.leftJoinAndMapOne('p.twin', Patient, 't', 't.ward = p.ward').getMany();
    expect(rows).toMatchObject([{ email: ADA.email, twin: { email: ADA.email } }]);
  });

  it('selects in part, as an object and as an array', async () => {
    const { id } = await ada();
    const object: Patient = await patients().findOneOrFail({
      where: { id },
      select: { id: true, email: true },
    });
    expect(object).toEqual({ id, email: ADA.email });
    const built = await patients()
      .createQueryBuilder('p')
      .select(['p.id', 'p.bornOn'])
      .getOneOrFail();
    expect(built).toEqual({ id, bornOn: ADA.bornOn });
  });

  it('leaves a select: false property out until it is selected, and keeps it in the row', async () => {
    const { id } = await ada();
    const read = await patients().findOneByOrFail({ id });
    expect(read.ssn).toBeUndefined();
    const added = await patients()
      .createQueryBuilder('p')
      .addSelect('p.ssn')
      .where({ ssn: ADA.ssn })
      .getOneOrFail();
    expect(added.ssn).toBe(ADA.ssn);
    const named = await patients().findOneOrFail({
      where: { id },
      select: { id: true, ssn: true },
    });
    expect(named.ssn).toBe(ADA.ssn);
    await patients().save(Object.assign(read, { ward: 'B' }));
    expect(await storedPlaintexts(opened.dataSource, Patient)).toMatchObject([{ ssn: ADA.ssn }]);
    await patients().save({ id, ssn: 'canary 2' });
    expect(await patients().countBy({ ssn: 'canary 2' })).toBe(1);
    expect(await storedPlaintexts(opened.dataSource, Patient)).toMatchObject([{ ssn: 'canary 2' }]);
  });

  it('hides the index column even when it is asked for', async () => {
    const { id } = await ada();
    const read = await patients().createQueryBuilder('p').addSelect('p.email_bidx').getOneOrFail();
    expect(read).toMatchObject({ id, email: ADA.email });
    expect('email_bidx' in read).toBe(false);
  });

  it('gives ciphertext as raw results, which the handle decrypts', async () => {
    await ada();
    const raw = await patients()
      .createQueryBuilder('p')
      .select('p.email', 'email')
      .getRawOne<{ email: string }>();
    expectCiphertext(raw!.email);
    expect(
      await fieldEncryption(opened.dataSource).decryptValue(Patient, 'email', raw!.email),
    ).toBe(ADA.email);
    const [row] = await opened.dataSource.manager.query('SELECT * FROM patient');
    expectCiphertext(row.email);
    expectNoCanary(row);
    const { raw: rows } = await patients().createQueryBuilder('p').getRawAndEntities();
    expectNoCanary(rows);
  });

  it('counts, checks existence and aggregates plain columns', async () => {
    await ada();
    expect(await patients().count()).toBe(1);
    expect(await patients().existsBy({ email: ADA.email.toUpperCase() })).toBe(true);
    expect(await patients().exists({ where: { email: 'canary.no@x.org' } })).toBe(false);
    expect(await patients().maximum('version', { email: ADA.email })).toBe(1);
    expect(await patients().createQueryBuilder('p').where({ ssn: ADA.ssn }).getCount()).toBe(1);
    expect(await patients().createQueryBuilder('p').where({ ssn: ADA.ssn }).getExists()).toBe(true);
  });

  it('in a sub-query keeps plaintext out of it', async () => {
    await ada();
    const found = await patients()
      .createQueryBuilder('p')
      .where((query) => {
        const inner = query
          .subQuery()
          .select('i.id')
          .from(Patient, 'i')
          .where({ email: ADA.email });
        return `p.id IN ${inner.getQuery()}`;
      })
      .getMany()
      .catch((error: unknown) => error);
    // TypeORM itself may or may not qualify the condition of the sub-query; plaintext stays out of it.
    if (found instanceof Error) expectNoCanary(found);
    else expect(found).toMatchObject([{ email: ADA.email }]);
  });

  it('refuses streams that select encrypted columns', async () => {
    await ada();
    await expect(patients().createQueryBuilder('p').stream()).rejects.toBeInstanceOf(
      UnsupportedQueryError,
    );
    await expect(
      patients().createQueryBuilder('p').select('p.email').stream(),
    ).rejects.toBeInstanceOf(UnsupportedQueryError);
  });

  describe('with the query cache', () => {
    const cached = () =>
      opened.dataSource.query(sqlOf(database, 'SELECT * FROM "query-result-cache"'));

    it('caches ciphertext and reads plaintext from it', async () => {
      await ada();
      const options = {
        where: { email: ADA.email },
        cache: { id: 'by-email', milliseconds: 60_000 },
      };
      const first = await patients().find(options);
      opened.statements.clear();
      const second = await patients().find(options);
      expect(second).toEqual(first);
      expect(second).toMatchObject([{ email: ADA.email, bornOn: ADA.bornOn }]);
      expect(opened.statements.of('SELECT').filter((sql) => /FROM "patient"/.test(sql))).toEqual(
        [],
      );
      expectNoCanary(await cached());
      await opened.dataSource.queryResultCache?.remove(['by-email']);
    });

    it('reads text columns from the cache after a rotation', async () => {
      await ada();
      const read = () =>
        patients()
          .createQueryBuilder('p')
          .select(['p.id', 'p.email'])
          .cache('rotated', 60_000)
          .getMany();
      await read();
      await fieldEncryption(opened.dataSource).keys.rotate();
      expect(await read()).toMatchObject([{ email: ADA.email }]);
      await opened.dataSource.queryResultCache?.remove(['rotated']);
    });

    it('reads binary columns from the cache', async () => {
      await ada();
      const read = () => patients().createQueryBuilder('p').cache('binary', 60_000).getMany();
      await read();
      expect(await read()).toMatchObject([{ photo: ADA.photo }]);
      await opened.dataSource.queryResultCache?.remove(['binary']);
    });

    it('reads values that are bound to binary columns from the cache', async () => {
      const devices = opened.dataSource.getRepository(Device);
      const hub = await devices.save({ serial: Buffer.from([0, 255, 1]), owner: 'canary' });
      await devices.save({ serial: Buffer.from([7, 200]), owner: 'canary 2', parent: hub });
      const read = (select?: { owner: true }) =>
        devices.find({
          ...(select ? { select } : { relations: { parent: true } }),
          where: { owner: 'canary 2' },
          cache: { id: select ? 'bound-owner' : 'bound', milliseconds: 60_000 },
        });
      const first = await read();
      const alone = await read({ owner: true });
      opened.statements.clear();
      expect(await read()).toStrictEqual(first);
      expect(await read({ owner: true })).toStrictEqual(alone);
      expect(first).toMatchObject([{ owner: 'canary 2', parent: { owner: 'canary' } }]);
      expect(alone).toEqual([{ owner: 'canary 2' }]);
      expect(opened.statements.of('SELECT').filter((sql) => /FROM "device"/.test(sql))).toEqual([]);
      await opened.dataSource.queryResultCache?.clear();
    });
  });

  if (database.returning.length > 0) {
    const updating = database.returning.includes('update') ? it : it.skip;
    describe('with RETURNING', () => {
      it('insert gives plaintext to the entity and ciphertext as raw', async () => {
        const values = patients().create({ ...ADA });
        const result = await patients()
          .createQueryBuilder()
          .insert()
          .values(values)
          .returning('*')
          .execute();
        expect(values).toMatchObject(ADA);
        expect(Object.keys(values).filter((key) => key.includes('bidx'))).toEqual([]);
        expect(result.generatedMaps[0]).toMatchObject({ email: ADA.email, bornOn: ADA.bornOn });
        expectNoCanary(result.raw);
        expect(Object.keys(result.generatedMaps[0]!).filter((key) => key.includes('bidx'))).toEqual(
          [],
        );
        expect(await storedPlaintexts(opened.dataSource, Patient)).toMatchObject([
          { email: ADA.email },
        ]);
      });

      it('insert of chosen columns', async () => {
        const values = { ...ADA };
        await patients()
          .createQueryBuilder()
          .insert()
          .values(values)
          .returning(['email', 'photo'])
          .execute();
        expect(values).toMatchObject({ email: ADA.email, photo: ADA.photo });
      });

      updating('update gives plaintext to the entity', async () => {
        const entity = await ada();
        const result = await patients()
          .createQueryBuilder()
          .update()
          .set({ email: 'canary.new@x.org' })
          .whereEntity(entity)
          .returning('*')
          .execute();
        expect(entity.email).toBe('canary.new@x.org');
        expect(result.generatedMaps[0]).toMatchObject({
          email: 'canary.new@x.org',
          photo: ADA.photo,
        });
        expectNoCanary(result.raw);
        expect(await patients().countBy({ email: 'canary.new@x.org' })).toBe(1);
      });

      updating(
        'update of a row whose key is not in memory keeps ciphertext out of the entity',
        async () => {
          const { id } = await ada();
          await fieldEncryption(opened.dataSource).keys.rotate();
          await opened.dataSource.destroy();
          await opened.dataSource.initialize();
          const entity = patients().create({ id });
          await patients()
            .createQueryBuilder()
            .update()
            .set({ ward: 'C' })
            .whereEntity(entity)
            .returning('*')
            .execute();
          expect(entity.ward).toBe('C');
          expect([undefined, ADA.email]).toContain(entity.email);
          expect(await patients().findOneByOrFail({ id })).toMatchObject({
            ward: 'C',
            email: ADA.email,
          });
        },
      );

      it('delete gives ciphertext as raw', async () => {
        await ada();
        const result = await patients().createQueryBuilder().delete().returning('*').execute();
        expect(result.raw).toHaveLength(1);
        expectNoCanary(result.raw);
        expectCiphertext(result.raw[0].email);
      });
    });
  }
});
