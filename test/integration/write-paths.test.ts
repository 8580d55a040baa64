import {
  Column,
  DeleteDateColumn,
  Entity,
  IsNull,
  Not,
  PrimaryGeneratedColumn,
  QueryFailedError,
  VersionColumn,
} from 'typeorm';
import type { DeepPartial, Repository } from 'typeorm';
import { BlindIndex, Encrypted, UnsupportedQueryError, UnsupportedValueError } from '../../src';
import { describeEachDatabase, typeormMajor } from '../support/databases';
import { expectNoCanary, useEncryptedDatabase } from '../support/encrypted-database';
import { rejection } from '../support/protected-database';
import { expectCiphertext, rawRows, storedPlaintexts } from '../support/stored-rows';
import { qualified } from '../support/sql-of';

interface Note {
  note?: string;
}

@Entity()
class Patient {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ default: 'none' }) ward!: string;
  @Column({ type: 'varchar', unique: true, nullable: true }) chart!: string | null;
  @Encrypted() @BlindIndex({ normalize: 'email', unique: true }) email!: string;
  @Encrypted({ nullable: true })
  @BlindIndex()
  @BlindIndex({ name: 'digits', normalize: 'digits' })
  ssn!: string | null;
  @Encrypted({ type: 'json', storage: 'binary', nullable: true }) history!:
    Note[] | Note | string | null;
  @Column({ default: 0 }) visits!: number;
  @VersionColumn() version!: number;
  @DeleteDateColumn() deletedAt!: Date | null;
}

type Values = Pick<Patient, 'email' | 'ssn' | 'history'>;

const ADA = Object.freeze<Values>({
  email: 'canary.ada@example.org',
  ssn: 'canary 078-05',
  history: [{ note: 'canary' }],
});
const BOB = Object.freeze<Values>({ email: 'canary.bob@example.org', ssn: null, history: null });
const EVE = Object.freeze<Values>({
  email: 'canary.eve@example.org',
  ssn: 'canary 219-09',
  history: {},
});

describeEachDatabase('A write to an encrypted entity', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Patient] });
  const patients = (): Repository<Patient> => opened.dataSource.getRepository(Patient);
  const plaintexts = () => storedPlaintexts(opened.dataSource, Patient);

  async function saved(...values: DeepPartial<Patient>[]): Promise<Patient[]> {
    return patients().save(patients().create(values));
  }

  describe('save', () => {
    it('stores ciphertext and leaves plaintext in an entity', async () => {
      const entity = patients().create(ADA);
      expect(await patients().save(entity)).toBe(entity);
      expect(entity).toMatchObject(ADA);
      expect(Object.keys(entity).filter((key) => key.includes('bidx'))).toEqual([]);
      expect(await plaintexts()).toEqual([ADA]);
    });

    it('stores ciphertext and leaves plaintext in a plain object', async () => {
      const values = { ...ADA };
      expect(await patients().save(values)).toBe(values);
      expect(values).toMatchObject(ADA);
      expect(Object.keys(values).filter((key) => key.includes('bidx'))).toEqual([]);
      expect(await plaintexts()).toEqual([ADA]);
    });

    it('takes an array', async () => {
      const entities = patients().create([ADA, BOB, EVE]);
      await patients().save(entities);
      expect(entities).toMatchObject([ADA, BOB, EVE]);
      expect(await plaintexts()).toEqual([ADA, BOB, EVE]);
    });

    it('works in chunks', async () => {
      const values = Array.from({ length: 25 }, (_, i) => ({ ...ADA, email: `canary${i}@x.org` }));
      const entities = patients().create(values);
      await patients().save(entities, { chunk: 4 });
      expect(entities).toMatchObject(values);
      expect(await plaintexts()).toEqual(values);
    });

    it('updates an entity that was read before', async () => {
      await saved(ADA);
      const entity = await patients().findOneByOrFail({ email: ADA.email });
      Object.assign(entity, EVE);
      await patients().save(entity);
      expect(entity).toMatchObject({ ...EVE, version: 2 });
      expect(await plaintexts()).toEqual([EVE]);
    });

    it('updates from a partial object and keeps the other columns', async () => {
      const [ada] = await saved(ADA);
      const [before] = await rawRows(opened.dataSource, Patient);
      const values = { id: ada!.id, ssn: 'canary 1' };
      await patients().save(values);
      expect(values).toMatchObject({ ssn: 'canary 1' });
      expect(await plaintexts()).toEqual([{ ...ADA, ssn: 'canary 1' }]);
      const [after] = await rawRows(opened.dataSource, Patient);
      expect(after!['email']).toBe(before!['email']);
    });

    it('writes NULL for null, in the index columns too', async () => {
      const [ada] = await saved(ADA);
      await patients().save(Object.assign(ada!, { ssn: null, history: null }));
      expect(await plaintexts()).toEqual([{ ...ADA, ssn: null, history: null }]);
      const [row] = await rawRows(opened.dataSource, Patient);
      expect(row).toMatchObject({
        ssn: null,
        ssn_bidx: null,
        ssn_bidx_digits: null,
        history: null,
      });
    });

    it('leaves an omitted property alone', async () => {
      await patients().save({ email: ADA.email });
      expect(await plaintexts()).toEqual([{ email: ADA.email, ssn: null, history: null }]);
    });

    it.each([
      ['{ listeners: false }', { listeners: false }],
      ['{ transaction: false }', { transaction: false }],
      ['both and { chunk: 1 }', { listeners: false, transaction: false, chunk: 1 }],
    ])('encrypts with %s', async (_title, options) => {
      const entity = await patients().save(patients().create(ADA), options);
      expect(entity).toMatchObject(ADA);
      expect(await plaintexts()).toEqual([ADA]);
      entity.email = EVE.email;
      await patients().save(entity, options);
      expect(entity).toMatchObject({ ...ADA, email: EVE.email });
      expect(await plaintexts()).toEqual([{ ...ADA, email: EVE.email }]);
    });

    it('encrypts with { reload: false }', async () => {
      await patients().save(patients().create(ADA), { reload: false });
      const entity = await patients().findOneByOrFail({ email: ADA.email });
      await patients().save(Object.assign(entity, EVE), { reload: false });
      expect(entity).toMatchObject(EVE);
      expect(await plaintexts()).toEqual([EVE]);
    });

    it('encrypts a value that looks like a ciphertext like any other', async () => {
      await saved(ADA);
      const [row] = await rawRows(opened.dataSource, Patient);
      const looksEncrypted = row!['email'] as string;
      const eve = await patients().save({ ...EVE, ssn: looksEncrypted });
      expect(eve.ssn).toBe(looksEncrypted);
      const rows = await rawRows(opened.dataSource, Patient);
      expectCiphertext(rows[1]!['ssn']);
      expect(rows[1]!['ssn']).not.toBe(looksEncrypted);
      expect((await patients().findOneByOrFail({ id: eve.id })).ssn).toBe(looksEncrypted);
    });

    it('preload, merge and create keep plaintext and write one column', async () => {
      const [ada] = await saved(ADA);
      const preloaded = await patients().preload({ id: ada!.id, ssn: 'canary 2' });
      expect(preloaded).toMatchObject({ ...ADA, ssn: 'canary 2' });
      const merged = patients().merge(preloaded!, { ward: 'B' });
      await patients().save(merged);
      expect(merged).toMatchObject({ ...ADA, ssn: 'canary 2', ward: 'B' });
      expect(await plaintexts()).toEqual([{ ...ADA, ssn: 'canary 2' }]);
      expect(await patients().preload({ id: ada!.id + 1000, ssn: 'canary' })).toBeUndefined();
    });
  });

  describe('insert', () => {
    it('stores ciphertext and leaves the given objects plaintext', async () => {
      const values = [{ ...ADA }, { ...EVE }];
      const result = await patients().insert(values);
      expect(values).toMatchObject([ADA, EVE]);
      expect(result.identifiers).toHaveLength(2);
      expectNoCanary(result.raw);
      expect(await plaintexts()).toEqual([ADA, EVE]);
    });

    it('fills several rows of which some leave properties out', async () => {
      await patients().insert([{ ...ADA }, { email: BOB.email }, { ...EVE }]);
      expect(await plaintexts()).toEqual([ADA, BOB, EVE]);
    });

    it('through a query builder, with listeners and entity updates off', async () => {
      const values = { ...ADA };
      await opened.dataSource
        .createQueryBuilder()
        .insert()
        .into(Patient)
        .values(values)
        .callListeners(false)
        .updateEntity(false)
        .execute();
      expect(values).toEqual(ADA);
      expect(await plaintexts()).toEqual([ADA]);
    });

    it('through a query builder with a list of columns', async () => {
      await opened.dataSource
        .createQueryBuilder()
        .insert()
        .into(Patient, ['email', 'ssn', 'version'])
        .values({ ...ADA })
        .execute();
      expect(await plaintexts()).toEqual([{ ...ADA, history: null }]);
    });

    it('through a query builder of the repository, the manager and a query runner', async () => {
      await patients()
        .createQueryBuilder()
        .insert()
        .values({ ...ADA })
        .execute();
      await opened.dataSource.manager
        .createQueryBuilder()
        .insert()
        .into(Patient)
        .values({ ...BOB })
        .execute();
      const runner = opened.dataSource.createQueryRunner();
      await runner.manager
        .createQueryBuilder()
        .insert()
        .into(Patient)
        .values({ ...EVE })
        .execute();
      await runner.release();
      expect(await plaintexts()).toEqual([ADA, BOB, EVE]);
    });

    it('or ignore keeps the row that is there', async () => {
      await saved(ADA);
      await patients()
        .createQueryBuilder()
        .insert()
        .values({ ...EVE, email: ADA.email.toUpperCase() })
        .orIgnore()
        .execute();
      expect(await plaintexts()).toEqual([ADA]);
    });
  });

  describe('update', () => {
    it('by id, from a frozen object', async () => {
      const [ada] = await saved(ADA);
      await patients().update(ada!.id, Object.freeze({ ssn: 'canary 3', history: [{}] }));
      expect(await plaintexts()).toEqual([{ ...ADA, ssn: 'canary 3', history: [{}] }]);
    });

    it('by criteria on an encrypted property', async () => {
      await saved(ADA, BOB, EVE);
      const values = { ssn: 'canary 4' };
      const { affected } = await patients().update({ email: ADA.email.toUpperCase() }, values);
      expect(affected).toBe(1);
      expect(values).toEqual({ ssn: 'canary 4' });
      expect(await plaintexts()).toEqual([{ ...ADA, ssn: 'canary 4' }, BOB, EVE]);
    });

    it('by several ids and by criteria with operators', async () => {
      const [ada, bob] = await saved(ADA, BOB, EVE);
      await patients().update([ada!.id, bob!.id], { ssn: 'canary 5' });
      await patients().update({ email: Not(EVE.email) }, { history: 'canary' });
      expect(await plaintexts()).toEqual([
        { ...ADA, ssn: 'canary 5', history: 'canary' },
        { ...BOB, ssn: 'canary 5', history: 'canary' },
        EVE,
      ]);
      await patients().update({ ssn: IsNull() }, { ssn: 'x' });
      await patients().update({ ssn: 'canary 5' }, { ssn: null });
      expect(await plaintexts()).toMatchObject([{ ssn: null }, { ssn: null }, { ssn: EVE.ssn }]);
    });

    it('of the property it looks up', async () => {
      await saved(ADA);
      await patients().update({ email: ADA.email }, { email: EVE.email });
      expect(await plaintexts()).toEqual([{ ...ADA, email: EVE.email }]);
    });

    it('through a query builder, with listeners off', async () => {
      const [ada] = await saved(ADA, BOB);
      await patients()
        .createQueryBuilder()
        .update()
        .set({ email: EVE.email, ssn: 'canary 6' })
        .where('id = :id', { id: ada!.id })
        .callListeners(false)
        .execute();
      expect(await plaintexts()).toEqual([{ ...ADA, email: EVE.email, ssn: 'canary 6' }, BOB]);
    });

    it('through the manager and through whereEntity', async () => {
      const [ada] = await saved(ADA);
      await opened.dataSource.manager.update(Patient, { id: ada!.id }, { ssn: 'canary 7' });
      await patients()
        .createQueryBuilder()
        .update()
        .set({ history: 'canary' })
        .whereEntity(ada!)
        .execute();
      expect(await plaintexts()).toEqual([{ ...ADA, ssn: 'canary 7', history: 'canary' }]);
      expect(ada).toMatchObject({ email: ADA.email, ssn: ADA.ssn });
    });

    it('increment and decrement of a plain column leave ciphertexts alone', async () => {
      const [ada] = await saved(ADA);
      const [before] = await rawRows(opened.dataSource, Patient);
      await patients().increment({ id: ada!.id }, 'visits', 3);
      await patients().decrement({ email: ADA.email }, 'visits', 1);
      const [after] = await rawRows(opened.dataSource, Patient);
      expect(after).toMatchObject({ visits: 2, email: before!['email'], ssn: before!['ssn'] });
    });

    it('refuses to increment an encrypted property', async () => {
      const [ada] = await saved(ADA);
      await expect(patients().increment({ id: ada!.id }, 'ssn', 1)).rejects.toBeInstanceOf(
        UnsupportedValueError,
      );
      expect(await plaintexts()).toEqual([ADA]);
    });

    it('of all rows', async () => {
      await saved(ADA, BOB);
      await patients().updateAll({ ssn: 'canary 8' });
      expect(await plaintexts()).toMatchObject([{ ssn: 'canary 8' }, { ssn: 'canary 8' }]);
    });
  });

  describe('upsert', () => {
    it('inserts, then updates, on a conflict target that is encrypted', async () => {
      const values = { ...ADA };
      await patients().upsert(values, ['email']);
      expect(values).toMatchObject(ADA);
      expect(await plaintexts()).toEqual([ADA]);
      const again = { ...ADA, email: 'Canary.Ada@EXAMPLE.org', ssn: 'canary 9' };
      await patients().upsert(again, ['email']);
      expect(again).toMatchObject({ email: 'Canary.Ada@EXAMPLE.org', ssn: 'canary 9' });
      expect(await plaintexts()).toEqual([
        { ...ADA, email: 'Canary.Ada@EXAMPLE.org', ssn: 'canary 9' },
      ]);
    });

    it('takes an array and { conflictPaths }', async () => {
      await saved(ADA);
      const values = [{ ...ADA, ssn: null }, { ...BOB }, { ...EVE }];
      await patients().upsert(values, { conflictPaths: ['email'] });
      expect(values).toMatchObject([{ ...ADA, ssn: null }, BOB, EVE]);
      expect(await plaintexts()).toEqual(expect.arrayContaining([{ ...ADA, ssn: null }, BOB, EVE]));
    });

    it('takes { conflictPaths } as a record', async () => {
      await saved(ADA);
      await patients().upsert({ ...ADA, ssn: null }, { conflictPaths: { email: true } });
      expect(await plaintexts()).toEqual([{ ...ADA, ssn: null }]);
    });

    it('on a plain conflict target overwrites ciphertext and tokens', async () => {
      await saved({ ...ADA, chart: 'A1' });
      await patients().upsert({ ...EVE, chart: 'A1' }, ['chart']);
      expect(await plaintexts()).toEqual([EVE]);
      expect(await patients().countBy({ email: EVE.email, ssn: EVE.ssn as string })).toBe(1);
    });

    it('refuses a conflict target without a unique blind index', async () => {
      await expect(patients().upsert({ ...ADA }, ['ssn'])).rejects.toMatchObject({
        code: 'ERR_UNSUPPORTED_QUERY',
        property: 'ssn',
      });
      expect(await plaintexts()).toEqual([]);
    });

    it('through orUpdate of a query builder', async () => {
      await saved(ADA);
      await patients()
        .createQueryBuilder()
        .insert()
        .values({ ...ADA, ssn: 'canary 10', history: 'not overwritten' })
        .orUpdate(['ssn'], ['email'])
        .execute();
      expect(await plaintexts()).toEqual([{ ...ADA, ssn: 'canary 10' }]);
      expect(await patients().countBy({ ssn: 'canary 10' })).toBe(1);
    });

    if (typeormMajor === 0) {
      it('through orUpdate of a query builder, told all in one object', async () => {
        await saved({ ...ADA, chart: 'A1' });
        const insert = patients()
          .createQueryBuilder()
          .insert()
          .values({ ...EVE, chart: 'A1' });
        const orUpdate = insert.orUpdate.bind(insert) as (all: object) => typeof insert;
        await orUpdate({ conflict_target: ['chart'], overwrite: ['email', 'ssn'] }).execute();
        expect(await patients().countBy({ email: EVE.email, ssn: EVE.ssn as string })).toBe(1);
        expect(await patients().countBy({ email: ADA.email })).toBe(0);

        insert.values({ ...EVE, ssn: 'canary 12' });
        await orUpdate({ conflict_target: ['email'], overwrite: ['ssn'] }).execute();
        expect(await patients().countBy({ email: EVE.email, ssn: 'canary 12' })).toBe(1);

        for (const columns of [['email'], ['ssn_bidx']]) {
          const error = await rejection(() => orUpdate({ conflict_target: ['chart'], columns }));
          expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED_QUERY', entity: 'Patient' });
        }
      });
    }

    it('refuses hand-written SQL on encrypted properties in the options of orUpdate', async () => {
      await saved({ ...ADA, chart: 'A1' });
      const insert = () =>
        patients()
          .createQueryBuilder()
          .insert()
          .values({ ...ADA, chart: 'A1', ward: 'x' });
      const refused = { code: 'ERR_UNSUPPORTED_QUERY', entity: 'Patient', property: 'email' };
      for (const options of [
        { overwriteCondition: { where: 'patient.email = :e', parameters: { e: ADA.email } } },
        { indexPredicate: `email = '${ADA.email}'` },
      ]) {
        const error = await rejection(() =>
          insert().orUpdate(['ward'], ['chart'], options).execute(),
        );
        expect(error).toMatchObject(refused);
        expectNoCanary(error);
      }
      expect(await plaintexts()).toEqual([ADA]);
    });

    // TypeORM has such a condition there alone.
    if (database.type === 'postgres') {
      it('overwrites where an encrypted property has a value', async () => {
        await saved({ ...ADA, chart: 'A1', ward: 'old' });
        const write = (ward: string, where: object) =>
          patients()
            .createQueryBuilder()
            .insert()
            .values({ ...EVE, chart: 'A1', ward })
            .orUpdate(['ward'], ['chart'], { overwriteCondition: { where } })
            .execute();
        await write('new', { email: ADA.email.toUpperCase() });
        expect(await patients().countBy({ ward: 'new' })).toBe(1);
        await write('newer', { email: BOB.email });
        expect(await patients().countBy({ ward: 'new' })).toBe(1);
      });

      it('with skipUpdateIfNoValuesChanged writes what changed', async () => {
        await saved(ADA);
        const options = { conflictPaths: ['email'], skipUpdateIfNoValuesChanged: true };
        await patients().upsert({ ...ADA, ssn: 'canary 11' }, options);
        expect(await plaintexts()).toEqual([{ ...ADA, ssn: 'canary 11' }]);
      });
    }
  });

  describe('remove', () => {
    it('leaves plaintext in the entity', async () => {
      const [ada, bob] = await saved(ADA, BOB, EVE);
      await patients().remove([ada!, bob!]);
      expect([ada, bob]).toMatchObject([ADA, BOB]);
      expect(await plaintexts()).toEqual([EVE]);
      await patients().save(ada!);
      expect(await plaintexts()).toEqual([EVE, ADA]);
    });

    it('soft remove and recover keep the ciphertext in the row', async () => {
      const [ada] = await saved(ADA);
      const [before] = await rawRows(opened.dataSource, Patient);
      await patients().softRemove(ada!);
      expect(ada).toMatchObject(ADA);
      expect(ada!.deletedAt).not.toBeNull();
      expect(await patients().findBy({ email: ADA.email })).toEqual([]);
      expect(
        await patients().find({ where: { email: ADA.email }, withDeleted: true }),
      ).toMatchObject([ADA]);
      await patients().recover(ada!);
      expect(ada).toMatchObject(ADA);
      expect(await patients().findBy({ email: ADA.email })).toMatchObject([ADA]);
      const [after] = await rawRows(opened.dataSource, Patient);
      expect(after).toMatchObject({ email: before!['email'], ssn: before!['ssn'] });
      expect(await plaintexts()).toEqual([ADA]);
    });

    it('soft delete and restore by criteria on an encrypted property', async () => {
      await saved(ADA, BOB);
      expect((await patients().softDelete({ email: ADA.email })).affected).toBe(1);
      expect(await patients().find()).toMatchObject([BOB]);
      expect((await patients().restore({ email: ADA.email })).affected).toBe(1);
      expect(await patients().find({ order: { id: 'ASC' } })).toMatchObject([ADA, BOB]);
      expect(await plaintexts()).toEqual([ADA, BOB]);
    });

    it('delete by id and by criteria on encrypted properties', async () => {
      const [ada] = await saved(ADA, BOB, EVE);
      await patients().delete(ada!.id);
      expect((await patients().delete({ ssn: EVE.ssn as string })).affected).toBe(1);
      expect(await plaintexts()).toEqual([BOB]);
      expect((await patients().delete({ email: 'canary.nobody@example.org' })).affected).toBe(0);
    });

    it('delete, soft delete and restore through a query builder with an object condition', async () => {
      await saved(ADA, BOB, EVE);
      await patients().createQueryBuilder().delete().where({ email: ADA.email }).execute();
      await patients().createQueryBuilder().softDelete().where({ email: BOB.email }).execute();
      expect(await patients().find()).toMatchObject([EVE]);
      await patients().createQueryBuilder().restore().where({ email: BOB.email }).execute();
      expect(await patients().find({ order: { id: 'ASC' } })).toMatchObject([BOB, EVE]);
    });
  });

  describe('that fails', () => {
    it('leaves plaintext in the entity of save, which can be retried', async () => {
      await saved(ADA);
      const entity = patients().create({ ...EVE, email: ADA.email });
      const error = await failure(patients().save(entity));
      expect(error).toBeInstanceOf(QueryFailedError);
      expectNoCanary(error);
      expect(entity).toMatchObject({ ...EVE, email: ADA.email });
      entity.email = EVE.email;
      await patients().save(entity);
      expect(await plaintexts()).toEqual([ADA, EVE]);
    });

    it('leaves plaintext in an entity whose update breaks a unique blind index', async () => {
      const [, eve] = await saved(ADA, EVE);
      eve!.email = ADA.email;
      eve!.ssn = 'canary 12';
      expect(await failure(patients().save(eve!))).toBeInstanceOf(QueryFailedError);
      expect(eve).toMatchObject({ email: ADA.email, ssn: 'canary 12' });
      expect(await plaintexts()).toEqual([ADA, EVE]);
      eve!.email = 'canary.free@example.org';
      await patients().save(eve!);
      expect(await plaintexts()).toEqual([
        ADA,
        { ...EVE, email: 'canary.free@example.org', ssn: 'canary 12' },
      ]);
    });

    it.each([
      { listeners: false },
      { transaction: false },
      { listeners: false, transaction: false },
    ])('leaves plaintext behind with %j', async (options) => {
      await saved(ADA);
      const values = { ...EVE, email: ADA.email };
      expectNoCanary(await failure(patients().save(values, options)));
      expect(values).toMatchObject({ ...EVE, email: ADA.email });
      values.email = EVE.email;
      await patients().save(values, options);
      expect(await plaintexts()).toEqual([ADA, EVE]);
    });

    it('leaves plaintext in the objects of insert, update and upsert', async () => {
      const [, eve] = await saved(ADA, { ...EVE, chart: 'E1' });
      const inserted = { ...BOB, email: ADA.email };
      expectNoCanary(await failure(patients().insert(inserted)));
      expect(inserted).toMatchObject({ ...BOB, email: ADA.email });
      const updated = { email: ADA.email };
      expectNoCanary(await failure(patients().update(eve!.id, updated)));
      expect(updated).toEqual({ email: ADA.email });
      const upserted = { ...EVE, chart: 'E1', email: ADA.email };
      expectNoCanary(await failure(patients().upsert(upserted, ['chart'])));
      expect(upserted).toMatchObject({ ...EVE, email: ADA.email });
      expect(await plaintexts()).toEqual([ADA, EVE]);
    });

    it('writes none of an array when one of it collides', async () => {
      const entities = patients().create([ADA, EVE, { ...BOB, email: ADA.email }]);
      expect(await failure(patients().save(entities))).toBeInstanceOf(QueryFailedError);
      expect(entities).toMatchObject([ADA, EVE, { ...BOB, email: ADA.email }]);
      expect(await plaintexts()).toEqual([]);
    });

    it('writes nothing for a value that cannot be encrypted, which is refused by name', async () => {
      const entity = patients().create({ ...ADA, ssn: 12 as never });
      const error = await failure(patients().save(entity));
      expect(error).toBeInstanceOf(UnsupportedValueError);
      expect(error).toMatchObject({ entity: 'Patient', property: 'ssn' });
      expectNoCanary(error);
      expect(await plaintexts()).toEqual([]);
      entity.ssn = ADA.ssn;
      await patients().save(entity);
      expect(await plaintexts()).toEqual([ADA]);
    });
  });

  describe('with an SQL expression', () => {
    const expression = () => "'canary'";

    it('is refused by save', async () => {
      const entity = patients().create({ ...ADA, ssn: expression as never });
      await expect(patients().save(entity)).rejects.toBeInstanceOf(UnsupportedValueError);
      expect(await plaintexts()).toEqual([]);
    });

    it('is refused by insert, update and upsert', async () => {
      const [ada] = await saved(ADA);
      const refused = { code: 'ERR_UNSUPPORTED_VALUE', property: 'ssn' };
      const values = { ...EVE, ssn: expression } as never;
      await expect(patients().insert(values)).rejects.toMatchObject(refused);
      await expect(patients().update(ada!.id, { ssn: expression })).rejects.toMatchObject(refused);
      await expect(patients().upsert(values, ['email'])).rejects.toMatchObject(refused);
      await expect(
        patients().createQueryBuilder().insert().values(values).callListeners(false).execute(),
      ).rejects.toMatchObject(refused);
      await expect(
        patients().createQueryBuilder().update().set({ history: expression }).execute(),
      ).rejects.toMatchObject({ ...refused, property: 'history' });
      expect(await plaintexts()).toEqual([ADA]);
    });

    it.each(["'x'), (9, 'y'", "'x' -- y", "'x' /* y */"])(
      'is refused as a value that does not end with its text: %s',
      async (sql) => {
        const refused = { code: 'ERR_UNSUPPORTED_QUERY', entity: 'Patient' };
        const ward = (): string => sql;
        const [ada] = await saved(ADA);
        await expect(patients().update(ada!.id, { ward })).rejects.toMatchObject(refused);
        await expect(patients().insert({ ...EVE, ward })).rejects.toMatchObject(refused);
      },
    );

    it('still works on plain columns', async () => {
      const [ada] = await saved(ADA);
      // The driver of MySQL puts parameters into quotes, too.
      const mark = database.dialect === 'mysql' ? '-' : '?';
      const ward = (): string => `REPLACE('W${mark}', '${mark}', '1')`;
      await patients().update(ada!.id, { ward, ssn: 'canary 13' });
      expect(await patients().findOneByOrFail({ id: ada!.id })).toMatchObject({
        ward: 'W1',
        ssn: 'canary 13',
      });
      expect(await plaintexts()).toEqual([{ ...ADA, ssn: 'canary 13' }]);
    });
  });

  it('that names the table in a way TypeORM does not map to the entity is refused', async () => {
    const [ada] = await saved(ADA);
    const { dataSource } = opened;
    const table = qualified(dataSource, 'patient');
    const values = { email: EVE.email };
    const refused = { code: 'ERR_UNSUPPORTED_QUERY', entity: 'Patient' };
    const writes = [
      dataSource.createQueryBuilder().insert().into(table).values(values),
      dataSource.createQueryBuilder().update(table).set(values),
      dataSource.createQueryBuilder().delete().from(table).where({ id: ada!.id }),
    ];
    // Only it takes the name in any letters.
    if (database.dialect === 'sqlite') {
      writes.push(dataSource.createQueryBuilder().insert().into('PATIENT').values(values));
    }
    for (const write of writes) await expect(write.execute()).rejects.toMatchObject(refused);
    expect(await plaintexts()).toEqual([ADA]);
  });

  it('that names the mapped table encrypts', async () => {
    const { dataSource } = opened;
    const values = { ...ADA, version: 1 };
    await dataSource.createQueryBuilder().insert().into('patient').values(values).execute();
    await dataSource.createQueryBuilder().update('patient').set({ ssn: 'canary 14' }).execute();
    expect(await plaintexts()).toEqual([{ ...ADA, ssn: 'canary 14' }]);
  });

  it('of undefined leaves the column alone', async () => {
    const [ada] = await saved(ADA);
    await patients().update(ada!.id, { email: undefined as never, ssn: 'canary 15' });
    expect(await plaintexts()).toEqual([{ ...ADA, ssn: 'canary 15' }]);
  });

  if (typeormMajor === 1) {
    it('by INSERT … SELECT is refused', async () => {
      await saved(ADA);
      const insert = patients()
        .createQueryBuilder()
        .insert()
        .into(Patient, ['email', 'ward']) as unknown as {
        valuesFromSelect(select: unknown): { execute(): Promise<unknown> };
      };
      const select = patients().createQueryBuilder('p').select(['p.email', 'p.ward']);
      await expect(insert.valuesFromSelect(select).execute()).rejects.toBeInstanceOf(
        UnsupportedQueryError,
      );
      expect(await plaintexts()).toEqual([ADA]);
    });
  }
});

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('It did not fail.');
    },
    (error: unknown) => error,
  );
}
