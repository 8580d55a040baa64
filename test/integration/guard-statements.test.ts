import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import {
  Column,
  CreateDateColumn,
  Entity,
  ManyToOne,
  OneToMany,
  PrimaryColumn,
  UpdateDateColumn,
} from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  IndexIntegrityError,
  KeyNotFoundError,
  RateLimitedError,
  runAs,
} from '../../src';
import type { GuardMessage, GuardOptions, ValuesMessage } from '../../src';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Encrypted({ check: false }) @BlindIndex() ssn!: string;
  @Encrypted() name!: string;
  @Column({ default: 0 }) visitors!: number;
  @CreateDateColumn() createdAt!: Date;
  @UpdateDateColumn() updatedAt!: Date;
  @OneToMany(() => Visit, (visit) => visit.patient) visits!: Visit[];
}

@Entity()
class Visit {
  @PrimaryColumn() id!: number;
  @ManyToOne(() => Patient, (patient) => patient.visits) patient!: Patient;
}

const GUARD = 'typeorm-field-encryption:guard';
const VALUES = 'typeorm-field-encryption:values';
const HOUR = { windowMs: 3_600_000 };
const ROWS = 10;
/** More statements than may wait. */
const CROWD = 12;

describeEachDatabase('The guard of statements', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let told: GuardMessage[];
  let used: ValuesMessage[];
  const onGuard = (message: unknown): void => void told.push(message as GuardMessage);
  const onValues = (message: unknown): void => void used.push(message as ValuesMessage);

  const connect = async (guard: GuardOptions): Promise<void> => {
    dataSource = await cleanup.add(protect(database, { guard })).initialize();
    [told, used] = [[], []];
  };

  beforeEach(async () => {
    [told, used] = [[], []];
    subscribe(GUARD, onGuard);
    subscribe(VALUES, onValues);
    database = await cleanup.create(kind, { entities: [Patient, Visit], synchronize: true });
    await connect({});
    await patients().insert(Array.from({ length: ROWS }, (_, i) => patient(i + 1)));
    await dataSource
      .getRepository(Visit)
      .insert(Array.from({ length: 30 }, (_, i) => ({ id: i, patient: { id: 1 } })));
  });
  afterEach(async () => {
    unsubscribe(GUARD, onGuard);
    unsubscribe(VALUES, onValues);
    await cleanup.run();
  });

  const patients = (): Repository<Patient> => dataSource.getRepository(Patient);
  const patient = (id: number): Patient =>
    patients().create({ id, ssn: `canary-${String(id)}`, name: 'canary' });
  const as = <T>(id: string, work: () => Promise<T>): Promise<T> => runAs({ id }, work);
  const read = (most: number): Promise<Patient[]> => patients().find({ take: most });
  const counts = (): unknown[] =>
    used.map(({ operation, property, values }) => [operation, property, values]);

  it('counts nothing of a result that is refused, whatever its columns', async () => {
    await connect({ reads: { values: 12, action: 'refuse', ...HOUR } });
    await as('ada', async () => {
      expect(await rejection(() => read(8))).toBeInstanceOf(RateLimitedError);
      expect(await rejection(() => read(7))).toBeInstanceOf(RateLimitedError);
      expect(counts()).toEqual([]);
      expect(await read(6)).toHaveLength(6);
    });
    expect(counts()).toEqual([
      ['decrypt', 'ssn', 6],
      ['decrypt', 'name', 6],
    ]);
  });

  it('counts a value once, however many rows a join makes of it', async () => {
    await connect({ reads: { values: 20, action: 'refuse', ...HOUR } });
    const found = await as('ada', () =>
      patients().find({ where: { id: 1 }, relations: { visits: true } }),
    );
    expect(found[0]?.visits).toHaveLength(30);
    expect(counts()).toEqual([
      ['decrypt', 'ssn', 1],
      ['decrypt', 'name', 1],
    ]);
    used = [];
    await as('ada', () =>
      patients().find({ where: [{ id: 1 }, { id: 2 }], relations: { visits: true } }),
    );
    expect(counts()).toEqual([
      ['decrypt', 'ssn', 2],
      ['decrypt', 'name', 2],
    ]);
  });

  it('counts look-ups for whoever runs a builder', async () => {
    await connect({ lookups: { values: 3, action: 'refuse', ...HOUR } });
    const builder = await as('ada', () =>
      Promise.resolve({ made: patients().createQueryBuilder('p').where({ ssn: 'canary-1' }) }),
    );
    await as('eve', async () => {
      expect(await builder.made.getMany()).toHaveLength(1);
      expect(await builder.made.getCount()).toBe(1);
      expect(await builder.made.clone().getRawMany()).toHaveLength(1);
      expect(await rejection(() => builder.made.getExists())).toBeInstanceOf(RateLimitedError);
    });
    await as('bob', async () => {
      await patients().findAndCountBy({ ssn: 'canary-1' });
      await patients().existsBy({ ssn: 'canary-1' });
      await patients().update({ ssn: 'canary-1' }, { visitors: 1 });
      expect(await rejection(() => patients().delete({ ssn: 'canary-1' }))).toBeInstanceOf(
        RateLimitedError,
      );
    });
  });

  it('takes tampering that a look-up comes upon for a failure', async () => {
    await connect({ failures: { values: 2 } });
    const [row] = await dataSource.query<{ ssn: string }[]>('SELECT ssn FROM patient WHERE id = 1');
    await dataSource.query(`UPDATE patient SET ssn = '${row?.ssn ?? ''}' WHERE id = 2`);
    const moved = await rejection(() => patients().findOneBy({ ssn: 'canary-2' }));
    expect(moved).toBeInstanceOf(IndexIntegrityError);
    expect(told).toEqual([]);
    const bytes = Buffer.from(row?.ssn ?? '', 'base64url');
    bytes[5] = (bytes[5] ?? 0) ^ 1;
    const ofNoKey = bytes.toString('base64url');
    await dataSource.query(`UPDATE patient SET ssn = '${ofNoKey}' WHERE id = 3`);
    const unknown = await rejection(() => patients().findOneBy({ id: 3 }));
    expect(unknown).toBeInstanceOf(KeyNotFoundError);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatchObject({ level: 'error', subject: 'failures', values: 2 });
  });

  if (kind.returning.includes('insert')) {
    it('refuses RETURNING of encrypted columns to an actor at the limit, before it is sent', async () => {
      await connect({ reads: { values: 4, action: 'refuse', ...HOUR } });
      const update = (id: number): Promise<unknown> =>
        patients()
          .createQueryBuilder()
          .update()
          .set({ visitors: 1 })
          .whereEntity(patients().create({ id }))
          .returning('*')
          .execute();
      const upsert = (id: number): Promise<unknown> =>
        patients()
          .createQueryBuilder()
          .insert()
          .values(patients().merge(patient(id), { visitors: 1 }))
          .orUpdate(['visitors'], ['id'])
          .returning(['id', 'ssn', 'name'])
          .execute();
      const writes = kind.returning.includes('update') ? [update, upsert] : [upsert];
      await as('eve', async () => {
        for (const id of [1, 2]) await writes[0]?.(id);
        for (const write of writes) {
          expect(await rejection(() => write(3))).toMatchObject({
            code: 'ERR_RATE_LIMITED',
            property: 'ssn',
          });
        }
        await patients().update({ id: 4 }, { visitors: 1 });
      });
      const many = patients()
        .createQueryBuilder()
        .insert()
        .values([patient(5), patient(6), patient(7)])
        .orUpdate(['visitors'], ['id'])
        .returning('*');
      expect(await rejection(() => as('ada', () => many.execute()))).toBeInstanceOf(
        RateLimitedError,
      );
      expect(await patients().countBy({ visitors: 1 })).toBe(3);
    });

    it('does not fail a write whose values it cannot limit any more', async () => {
      let asked = 0;
      const values = (): number => {
        asked += 1;
        if (asked > 1) throw new Error('no role');
        return 10;
      };
      await connect({ reads: { values, ...HOUR } });
      const { generatedMaps } = await patients()
        .createQueryBuilder()
        .insert()
        .values(patient(11))
        .returning(['id', 'ssn'])
        .execute();
      expect(generatedMaps).toHaveLength(1);
    });
  }

  it('refuses where the limit of an actor cannot be found out', async () => {
    await connect({ reads: { values: () => Promise.reject(new Error('later')) as never } });
    expect(await rejection(() => read(1))).toBeInstanceOf(ConfigurationError);
  });

  describe('that slows down', () => {
    /** As many statements of an actor above the limit as may wait, and more. */
    async function crowd(): Promise<{
      refused: () => Promise<number>;
      end: () => Promise<unknown>;
    }> {
      await connect({ reads: { values: 1, action: 'slow', ...HOUR } });
      await as('eve', () => read(1));
      const reads = Array.from({ length: CROWD }, () =>
        as('eve', () => read(1)).then(
          () => 0,
          () => 1,
        ),
      );
      return {
        refused: () => Promise.race(reads.slice(-1)),
        // Lets those that wait go on.
        end: () => dataSource.destroy(),
      };
    }

    it('fails no write, and waits in none', async () => {
      const { refused, end } = await crowd();
      expect(await refused()).toBe(1);
      await as('eve', async () => {
        await patients().insert(patient(11));
        await patients().save(patient(12));
        await patients().upsert(patient(13), ['id']);
        const entity = patients().create({ id: 11 });
        await patients()
          .createQueryBuilder()
          .update()
          .set({ visitors: 2 })
          .whereEntity(entity)
          .execute();
        await dataSource.transaction(async (manager) => {
          expect(await manager.findOneBy(Patient, { id: 11 })).toMatchObject({ visitors: 2 });
        });
        expect(entity.updatedAt).toBeInstanceOf(Date);
      });
      expect(await patients().count()).toBe(ROWS + 3);
      await end();
    });

    it('slows down nothing of the library itself', async () => {
      const { refused, end } = await crowd();
      expect(await refused()).toBe(1);
      await as('eve', async () => {
        const encryption = fieldEncryption(dataSource);
        expect(await encryption.status()).toHaveLength(2);
        expect(await encryption.keys.rotate()).toMatchObject({ version: 2 });
        expect(await encryption.audit.verify()).toMatchObject({ ok: true });
      });
      await end();
    });

    it('does not let what is refused wait longer, and names the property', async () => {
      const { refused, end } = await crowd();
      expect(await refused()).toBe(1);
      const waits: number[] = [];
      for (let i = 0; i < 5; i += 1) {
        const error = await rejection(() => as('eve', () => read(1)));
        expect(error).toMatchObject({ entity: 'Patient', property: 'ssn' });
        waits.push((error as RateLimitedError).retryAfterMs);
      }
      expect(waits).toEqual([...waits].sort((a, b) => b - a));
      await end();
    });
  });
});
