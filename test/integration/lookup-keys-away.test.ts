import { Equal, In, Not } from 'typeorm';
import type { DataSource } from 'typeorm';
import { inspect } from 'node:util';
import { fieldEncryption } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { FakeKms } from '../support/key-fixtures';
import {
  CANARY,
  ids,
  LOOKUP_ENTITIES,
  Patient,
  StatementLog,
  Visit,
} from '../support/lookup-world';
import { eventually } from '../support/eventually';
import { Cleanup, protect, rejection } from '../support/protected-database';

describeDiagonal('lookups while keys are away', (kind) => {
  const cleanup = new Cleanup();
  const log = new StatementLog();
  let database: TestDatabase;
  let kms: FakeKms;

  beforeEach(async () => {
    kms = new FakeKms();
    database = await cleanup.create(kind, {
      entities: LOOKUP_ENTITIES as never,
      synchronize: true,
      logger: log,
      logging: true,
    });
    const first = await open();
    await first.getRepository(Patient).insert(
      [1, 2, 3].map((id) => ({
        id,
        name: `n${String(id)}`,
        email: `zq7~p${String(id)}@x.org`,
        ssn: `zq7~ssn-${String(id % 2)}`,
        pet: `zq7~pet-${String(id % 2)}`,
        contact: {},
      })),
    );
    await first.getRepository(Visit).insert({ id: 1, reason: 'zq7~reason', patient: { id: 1 } });
    await first.destroy();
  });

  afterEach(async () => {
    await cleanup.run();
    expect(log.withPlaintext()).toEqual([]);
  });

  async function open(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    return cleanup.add(protect(database, { kms, ...options })).initialize();
  }

  it('computes tokens as soon as the KMS is back, without a new initialize()', async () => {
    kms.outage = new Error('away');
    const ds = await open();
    kms.outage = undefined;
    const patients = ds.getRepository(Patient);
    const lookup = (): Promise<Patient | null> => patients.findOneBy({ email: 'ZQ7~p2@x.org' });
    // The failure of initialize() is remembered for a moment.
    expect((await eventually(lookup))?.id).toBe(2);
  });

  it.each<[string, (ds: DataSource) => Promise<unknown>, unknown]>([
    [
      'a find',
      async (ds) => ids(await ds.getRepository(Patient).findBy({ ssn: 'zq7~ssn-1' })),
      [1, 3],
    ],
    [
      'In and Not',
      async (ds) =>
        ids(await ds.getRepository(Patient).findBy({ ssn: Not(In(['zq7~ssn-1', 'zq7~x'])) })),
      [2],
    ],
    [
      'a truncated index',
      async (ds) => ids(await ds.getRepository(Patient).findBy({ pet: Equal('zq7~pet-1') })),
      [1, 3],
    ],
    [
      'a page with joins',
      async (ds) =>
        ids(
          await ds.getRepository(Patient).find({
            where: { ssn: 'zq7~ssn-1', pet: 'zq7~pet-1' },
            relations: { visits: true },
            order: { id: 'ASC' },
            skip: 1,
            take: 1,
          }),
        ),
      [3],
    ],
    ['a count', (ds) => ds.getRepository(Patient).countBy({ ssn: 'zq7~ssn-1' }), 2],
    ['existence', (ds) => ds.getRepository(Patient).existsBy({ pet: 'zq7~pet-0' }), true],
    [
      'a relation',
      async (ds) => ids(await ds.getRepository(Visit).findBy({ patient: { ssn: 'zq7~ssn-1' } })),
      [1],
    ],
    [
      'an object condition',
      (ds) =>
        ds.getRepository(Patient).createQueryBuilder('p').where({ ssn: 'zq7~ssn-0' }).getCount(),
      1,
    ],
    [
      'criteria of an update',
      async (ds) => {
        await ds
          .getRepository(Patient)
          .update({ ssn: 'zq7~ssn-0', pet: 'zq7~pet-0' }, { name: 'changed' });
        return ids(await ds.getRepository(Patient).findBy({ name: 'changed' }));
      },
      [2],
    ],
    [
      'criteria of a delete in a transaction',
      async (ds) => {
        await ds.transaction((manager) => manager.delete(Visit, { reason: 'zq7~reason' }));
        return ds.getRepository(Visit).count();
      },
      0,
    ],
    [
      'a soft delete',
      async (ds) => {
        await ds.getRepository(Patient).softDelete({ pet: 'zq7~pet-1' });
        return ids(await ds.getRepository(Patient).find());
      },
      [2],
    ],
  ])(
    'fails closed and retryable without the index key, then answers: %s',
    async (_title, query, expected) => {
      kms.outage = new Error('away');
      const ds = await open();
      const before = await rejection(query(ds));
      expect(before).toMatchObject({ code: 'ERR_KMS_UNAVAILABLE', retryable: true });
      const shown = `${before.message} ${inspect(before, { depth: 9 })} ${JSON.stringify(before)}`;
      expect(shown.toLowerCase()).not.toContain(CANARY);
      kms.outage = undefined;
      await fieldEncryption(ds).ready();
      expect(await query(ds)).toEqual(expected);
    },
  );

  it('uses keys no longer than their maximum age, and looks up again once the KMS is back', async () => {
    const ds = await open({ keyCache: { ttlMs: 20, maxAgeMs: 40 } });
    const patients = ds.getRepository(Patient);
    const lookups = [
      () => patients.countBy({ ssn: 'zq7~ssn-1' }),
      () => patients.countBy({ pet: 'zq7~pet-1' }),
      () => patients.createQueryBuilder('p').where({ ssn: 'zq7~ssn-1' }).getCount(),
    ];
    kms.outage = new Error('away');
    await expired(ds);
    for (const lookup of lookups) {
      expect(await rejection(lookup())).toMatchObject({
        code: 'ERR_KMS_UNAVAILABLE',
        retryable: true,
      });
    }
    // What needs no key goes on.
    expect(await patients.countBy({ name: 'n1' })).toBe(1);
    kms.outage = undefined;
    await fieldEncryption(ds)
      .ready()
      .catch(() => undefined);
    for (const lookup of lookups) expect(await eventually(lookup)).toBe(2);
  });

  it('leaves writes alone that touch no encrypted property', async () => {
    kms.outage = new Error('away');
    const ds = await open();
    const patients = ds.getRepository(Patient);
    await patients.update({ id: 1 }, { name: 'new' });
    await patients.increment({ id: 1 }, 'points', 5);
    await patients.delete({ id: 2 });
    const select = { id: true, name: true, points: true } as const;
    expect(await patients.find({ select, order: { id: 'ASC' } })).toMatchObject([
      { id: 1, name: 'new', points: 5 },
      { id: 3, name: 'n3' },
    ]);
    const error = await rejection(() => patients.update({ id: 1 }, { note: 'zq7~note' }));
    expect(error).toMatchObject({
      code: 'ERR_KMS_UNAVAILABLE',
      retryable: true,
      entity: 'Patient',
      property: 'note',
    });
  });

  it('refuses to hand out a statement whose token is not known yet', async () => {
    kms.outage = new Error('away');
    const ds = await open();
    const where = { ssn: 'zq7~ssn-1' };
    for (const built of [
      ds.getRepository(Patient).createQueryBuilder('p').where(where),
      ds.createQueryBuilder().update(Patient).set({ points: 1 }).where(where),
      ds.createQueryBuilder().delete().from(Patient).where(where),
      ds.createQueryBuilder().softDelete().from(Patient).where(where),
    ]) {
      const error = await rejection(() => built.getQueryAndParameters());
      expect(error).toMatchObject({
        code: 'ERR_UNSUPPORTED_QUERY',
        entity: 'Patient',
        property: 'ssn',
      });
      expect(inspect([error, built.getParameters()], { depth: 9 }).toLowerCase()).not.toContain(
        CANARY,
      );
    }
  });

  async function expired(ds: DataSource): Promise<void> {
    for (;;) {
      try {
        await ds.getRepository(Patient).countBy({ ssn: 'zq7~ssn-1' });
      } catch {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
});
