import { IsString, Length } from 'class-validator';
import { Column, Entity, Like, PrimaryColumn } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { inspect } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  AccessDeniedError,
  BlindIndex,
  Encrypted,
  fieldEncryption,
  IndexIntegrityError,
  InvalidFieldPolicyError,
  KeyScope,
  runAs,
  ScopeMismatchError,
  Sealed,
  UnsupportedQueryError,
  UnsupportedValueError,
  withKeyScope,
} from '../../src';
import type { FieldEncryptionOptions, RevealMessage } from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

const MASK = '[sealed]';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Column('text') ward!: string;

  @Encrypted({ read: 'sealed', type: 'string' })
  @BlindIndex()
  @IsString()
  @Length(3, 40)
  ssn!: Sealed<string> | string;

  @Encrypted({ read: 'sealed', type: 'json', nullable: true, storage: 'binary', bindTo: ['id'] })
  findings!: Sealed<{ canary: string }> | { canary: string } | null;

  @Encrypted() name!: string;
}

@Entity()
class Letter {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted({ read: 'sealed', type: 'string' }) text!: Sealed<string> | string;
}

const reveal = <T>(value: Sealed<T> | T): Promise<T> => {
  if (!(value instanceof Sealed)) throw new Error(`not sealed: ${inspect(value)}`);
  return value.reveal();
};

describeEachDatabase('A sealed property', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let patients: Repository<Patient>;

  async function connect(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    return cleanup.add(protect(database, options)).initialize();
  }

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Patient, Letter], synchronize: true });
    dataSource = await connect({ validate: true });
    patients = dataSource.getRepository(Patient);
    await patients.save([patient(1), patient(2)]);
  });
  afterEach(() => cleanup.run());

  function patient(id: number): Patient {
    return patients.create({
      ...{ id, ward: 'A', ssn: `canary-ssn-${String(id)}`, name: 'Ada' },
      findings: { canary: `canary-${String(id)}` },
    });
  }

  const rows = (): Promise<unknown> => dataSource.query('SELECT * FROM patient ORDER BY id');

  async function writes(work: () => Promise<unknown>): Promise<boolean> {
    const before = await rows();
    await work();
    return JSON.stringify(await rows()) !== JSON.stringify(before);
  }

  it('keeps its value where it is left out of what is saved, for which TypeORM returns null', async () => {
    const saved = await patients.save({ id: 1, ward: 'B' });
    expect(saved).toHaveProperty('findings', null);
    const { ward, findings } = await patients.findOneByOrFail({ id: 1 });
    expect([ward, await reveal(findings)]).toEqual(['B', { canary: 'canary-1' }]);
  });

  it('is read as a mask, and only revealed as its value', async () => {
    const found = await patients.findOneByOrFail({ id: 1 });
    expect(found.name).toBe('Ada');
    expect(await reveal(found.ssn)).toBe('canary-ssn-1');
    expect(await reveal(found.findings)).toEqual({ canary: 'canary-1' });
    const shown = [
      ...[JSON.stringify(found), inspect(found, { depth: 9, showHidden: true })],
      ...[String(found.ssn), [found.ssn].join(), `${String(found.ssn)}!`],
      ...[JSON.stringify(Object.entries(found)), JSON.stringify(structuredCopy(found))],
    ];
    for (const text of shown) {
      expect(text).not.toContain('canary');
      expect(text).not.toMatch(/A[Q-Za-f][\w-]{60}/);
    }
    expect(JSON.parse(shown[0] ?? '')).toMatchObject({ ssn: MASK, findings: MASK, name: 'Ada' });
  });

  it('is null where it is null', async () => {
    await patients.update({ id: 1 }, { findings: null });
    expect((await patients.findOneByOrFail({ id: 1 })).findings).toBeNull();
  });

  it('is read in joins, lists and partial selects, and revealed after them', async () => {
    const [page] = await patients.findAndCount({ order: { id: 'DESC' }, take: 1 });
    expect(await reveal(page[0]?.ssn)).toBe('canary-ssn-2');
    const [partial] = await patients.find({ select: { ssn: true }, where: { id: 2 } });
    expect(partial && (await reveal(partial.ssn))).toBe('canary-ssn-2');
    expect(partial).toMatchObject({ id: undefined, name: undefined });
    const built = await patients
      .createQueryBuilder('p')
      .select(['p.findings'])
      .where('p.id = 1')
      .getOneOrFail();
    expect(await reveal(built.findings)).toEqual({ canary: 'canary-1' });
  });

  it('asks for no key until it is revealed', async () => {
    const fresh = await connect();
    const { keys } = installationOf(fresh);
    const load = jest.spyOn(keys, 'load');
    const [row] = await fresh.getRepository(Letter).find();
    expect(row).toBeUndefined();
    const [found] = await fresh
      .getRepository(Patient)
      .find({ select: { id: true, ssn: true }, where: { id: 1 } });
    expect(load).not.toHaveBeenCalled();
    expect(found && (await reveal(found.ssn))).toBe('canary-ssn-1');
  });

  it('is looked up, and compared with what was looked up', async () => {
    const found = await patients.findOneByOrFail({ ssn: 'canary-ssn-2' });
    expect(found.id).toBe(2);
    expect(await reveal(found.ssn)).toBe('canary-ssn-2');
    await dataSource.query(
      'UPDATE patient SET ssn_bidx = (SELECT ssn_bidx FROM patient WHERE id = 1) WHERE id = 2',
    );
    const swapped = patients.find({ where: { ssn: 'canary-ssn-1' }, order: { id: 'DESC' } });
    expect(await rejection(swapped)).toBeInstanceOf(IndexIntegrityError);
    const refused = rejection(() => patients.findBy({ ssn: Like('canary%') }));
    expect(await refused).toBeInstanceOf(UnsupportedQueryError);
  });

  it('is left alone by a save() that does not touch it', async () => {
    const found = await patients.findOneByOrFail({ id: 1 });
    expect(await writes(() => patients.save(found))).toBe(false);
    found.ward = 'B';
    await patients.save(found);
    expect(await patients.findOneByOrFail({ id: 1 })).toMatchObject({ ward: 'B' });
    expect(await reveal(found.ssn)).toBe('canary-ssn-1');
  });

  it('is left alone though its ciphertext has changed since it was read', async () => {
    const found = await patients.findOneByOrFail({ id: 1 });
    await fieldEncryption(dataSource).keys.rotate();
    await fieldEncryption(dataSource).reencrypt();
    expect(await writes(() => patients.save(found))).toBe(false);
    expect(await reveal(found.ssn)).toBe('canary-ssn-1');
  });

  it('takes a plain value, which is checked and encrypted', async () => {
    const found = await patients.findOneByOrFail({ id: 1 });
    found.ssn = 'canary-new';
    found.findings = { canary: 'canary-new' };
    await patients.save(found);
    const again = await patients.findOneByOrFail({ ssn: 'canary-new' });
    expect(await reveal(again.ssn)).toBe('canary-new');
    expect(await reveal(again.findings)).toEqual({ canary: 'canary-new' });
    again.ssn = 'x';
    expect((await rejection(patients.save(again))).name).toBe('PlaintextValidationError');
  });

  it.each([
    ['the mask', () => Promise.resolve(MASK)],
    [
      "another row's value",
      async () => (await patients.findOneByOrFail({ id: 2 })).ssn as unknown as string,
    ],
  ])('refuses %s', async (_, other) => {
    const value = await other();
    const found = await patients.findOneByOrFail({ id: 1 });
    const before = await rows();
    const attempts: (() => Promise<unknown>)[] = [
      () => patients.save(Object.assign(found, { ssn: value })),
      () => patients.save({ id: 1, findings: value as never }),
      () => patients.update({ id: 1 }, { ssn: value }),
      () => patients.insert(Object.assign(patient(3), { ssn: value })),
      () => patients.upsert(Object.assign(patient(1), { ssn: value }), ['id']),
    ];
    for (const attempt of attempts) {
      const error = await rejection(attempt());
      expect(error).toBeInstanceOf(UnsupportedValueError);
      expect(error.message).toMatch(/Patient\.(ssn|findings)/);
    }
    expect(await rows()).toEqual(before);
  });

  it('checks the actor and the scope when it is revealed, and tells which row it was', async () => {
    const letters = dataSource.getRepository(Letter);
    await letters.insert({ id: 7, tenantId: 'north', text: 'canary letter' });
    const revealed: unknown[] = [];
    const listen = (message: unknown): void => void revealed.push(message);
    subscribe('typeorm-field-encryption:reveal', listen);
    try {
      const found = await letters.findOneByOrFail({ id: 7 });
      const there = withKeyScope({ tenant: 'south' }, () => reveal(found.text));
      expect(await rejection(there)).toBeInstanceOf(ScopeMismatchError);
      expect(revealed).toEqual([]);
      expect(await withKeyScope({ tenant: 'north' }, () => reveal(found.text))).toBe(
        'canary letter',
      );
      expect(revealed).toMatchObject([{ entity: 'Letter', property: 'text', primaryKey: ['7'] }]);
      expect((revealed[0] as RevealMessage).source).toBe(dataSource);
      // The options of a DataSource have the password of its database.
      expect(Object.keys(revealed[0] as object)).not.toContain('source');
      await expect(withKeyScope({ tenant: 'south' }, () => letters.find())).rejects.toThrow(
        ScopeMismatchError,
      );
    } finally {
      unsubscribe('typeorm-field-encryption:reveal', listen);
    }

    const guarded = await connect({
      access: { levelOf: (actor) => (actor === undefined ? 0 : 1) },
    });
    const sealed = await guarded.getRepository(Letter).findOneByOrFail({ id: 7 });
    expect(await rejection(reveal(sealed.text))).toBeInstanceOf(AccessDeniedError);
    expect(await runAs({ id: 'ada' }, () => reveal(sealed.text))).toBe('canary letter');
  });

  it('tells of a value that cannot be revealed as of one that cannot be read', async () => {
    const told: unknown[] = [];
    const listen = (message: unknown): void => void told.push({ ...(message as object) });
    subscribe('typeorm-field-encryption:failure', listen);
    try {
      const other = await fieldEncryption(dataSource).encryptValue(Patient, 'name', 'canary');
      await dataSource.query(`UPDATE patient SET ssn = '${String(other)}' WHERE id = 1`);
      const [found] = await patients.find({ select: { id: true, ssn: true }, where: { id: 1 } });
      expect((await rejection(reveal(found?.ssn))).name).toBe('DecryptionError');
      expect(told).toEqual([
        {
          ...{ operation: 'decrypt', entity: 'Patient', property: 'ssn', code: 'ERR_DECRYPTION' },
          fingerprint: expect.any(String),
        },
      ]);
    } finally {
      unsubscribe('typeorm-field-encryption:failure', listen);
    }
  });

  it('keeps no more of its row than it needs', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const heap = async (): Promise<number> => {
      // The result of the last statement is held until others have run.
      await patients.count();
      await nextTurn();
      collect();
      return process.memoryUsage().heapUsed;
    };
    const ward = 'w'.repeat(60_000);
    for (let id = 100; id < 300; id += 1)
      await patients.insert(Object.assign(patient(id), { ward }));
    const before = await heap();
    const kept = (await patients.find()).map(({ findings }) => findings);
    expect((await heap()) - before).toBeLessThan(5_000_000);
    expect(await reveal(kept.at(-1))).toEqual({ canary: 'canary-299' });
  });

  it('needs the type of its values', async () => {
    @Entity()
    class Untyped {
      @PrimaryColumn() id!: number;
      @Encrypted({ read: 'sealed' }) value!: Sealed<number>;
    }
    const untyped = protect(database, {}, { entities: [Untyped], synchronize: false });
    expect(await rejection(untyped.initialize())).toBeInstanceOf(InvalidFieldPolicyError);
  });
});

/** What a mapper that copies own properties makes of an entity. */
function structuredCopy(entity: object): object {
  return Object.fromEntries(
    Object.entries(entity).map(([name, value]: [string, unknown]) => [
      name,
      value !== null && typeof value === 'object' ? { ...value } : value,
    ]),
  );
}
