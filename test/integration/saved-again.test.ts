import { performance } from 'node:perf_hooks';
import {
  AfterLoad,
  ChildEntity,
  Column,
  Entity,
  PrimaryColumn,
  PrimaryGeneratedColumn,
  TableInheritance,
} from 'typeorm';
import type { ObjectLiteral, Repository } from 'typeorm';
import { BlindIndex, DecryptionError, Encrypted, fieldEncryption, KeyStateError } from '../../src';
import { describeEachDatabase } from '../support/databases';
import { expectNoCanary, useEncryptedDatabase } from '../support/encrypted-database';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { rawRows, storedPlaintexts } from '../support/stored-rows';

@Entity()
class Patient {
  @PrimaryGeneratedColumn('uuid') id!: string;
  @Column() ward!: string;
  @Encrypted() @BlindIndex() email!: string;
  @Encrypted({ nullable: true }) note!: string | null;
  @Encrypted({ type: 'number' }) visits!: number;
  @Encrypted({ type: 'bigint' }) balance!: bigint;
}

/** Values that can be changed in place. */
@Entity()
class Holder {
  @PrimaryColumn() id!: number;
  @Encrypted({ type: 'json' }) tags!: string[];
  @Encrypted({ type: 'date' }) bornOn!: Date;
  @Encrypted({ type: 'bytes' }) photo!: Buffer;
  @Encrypted({ storage: 'binary' }) code!: string;
}

@Entity()
class Masked {
  @PrimaryColumn() club!: number;
  @PrimaryColumn() member!: string;
  @Encrypted() card!: string;

  @AfterLoad()
  mask(): void {
    this.card = this.card.replace(/^canary/, '******');
  }
}

@Entity()
@TableInheritance({ column: { name: 'kind', type: 'varchar' } })
class Staff {
  @PrimaryColumn() id!: number;
  @Encrypted() badge!: string;
}

@ChildEntity()
class Nurse extends Staff {
  @Encrypted({ nullable: true }) station!: string | null;
}

const HOUR_MS = 3_600_000;

const SECRETS = Object.freeze({
  email: 'canary.ada@x.org',
  note: 'canary',
  visits: -0,
  balance: 2n ** 70n,
});
const ADA = Object.freeze({ ward: 'A', ...SECRETS });

describeEachDatabase('Saving an entity that was loaded', (database) => {
  const entities = [Patient, Holder, Masked, Staff, Nurse];
  const opened = useEncryptedDatabase(database, { entities });
  const patients = (): Repository<Patient> => opened.dataSource.getRepository(Patient);

  async function loadedPatient(): Promise<Patient> {
    const { id } = await patients().save(patients().create(ADA));
    const loaded = await patients().findOneByOrFail({ id });
    opened.statements.clear();
    return loaded;
  }

  async function stored(): Promise<ObjectLiteral[]> {
    return storedPlaintexts(opened.dataSource, Patient);
  }

  it('writes nothing of what is as it was', async () => {
    await patients().save(await loadedPatient());
    expect(opened.statements.writes()).toEqual([]);
    expect(opened.statements.of('SELECT')).toHaveLength(1);
  });

  it('does so for many, in chunks that are saved at once', async () => {
    await patients().save(patients().create(Array.from({ length: 25 }, () => ({ ...ADA }))));
    const loaded = await patients().find();
    opened.statements.clear();
    await patients().save(loaded, { chunk: 4 });
    expect(opened.statements.writes()).toEqual([]);
  });

  it('writes what was changed, and that alone', async () => {
    const ada = await loadedPatient();
    ada.note = 'canary, again';
    await patients().save(ada);
    expect(opened.statements.of('UPDATE')).toEqual([
      expect.stringMatching(/^[^,]*SET "note" = (?:CASE .* END|\S+) WHERE/),
    ]);
    expect(await stored()).toEqual([{ ...SECRETS, note: 'canary, again' }]);
  });

  it('writes a value that goes back to what it was when loaded', async () => {
    const ada = await loadedPatient();
    ada.email = 'canary@changed';
    await patients().save(ada);
    ada.email = ADA.email;
    await patients().save(ada);
    expect(opened.statements.of('UPDATE')).toHaveLength(2);
    expect(await stored()).toEqual([SECRETS]);
  });

  it('writes its value over one that another has written meanwhile', async () => {
    const ada = await loadedPatient();
    await patients().update({ id: ada.id }, { note: 'canary of another' });
    await patients().save(ada);
    expect(await stored()).toEqual([SECRETS]);
  });

  it('finds out a value that is damaged since', async () => {
    const ada = await loadedPatient();
    const [row] = await rawRows(opened.dataSource, Patient);
    const note = String(row?.['note']);
    const damaged = `${note.slice(0, 60)}${note[60] === 'A' ? 'B' : 'A'}${note.slice(61)}`;
    await opened.dataSource.query(`UPDATE patient SET note = '${damaged}'`);
    expect(await rejection(patients().save(ada))).toBeInstanceOf(DecryptionError);
    expect(opened.statements.of('UPDATE "patient"')).toEqual([]);
  });

  it('finds out a value that is moved from another column', async () => {
    const ada = await loadedPatient();
    await opened.dataSource.query('UPDATE patient SET note = email');
    expect(await rejection(patients().save(ada))).toBeInstanceOf(DecryptionError);
  });

  it('sees changes inside values that can be changed in place', async () => {
    const holders = opened.dataSource.getRepository(Holder);
    const values = {
      tags: ['canary'],
      bornOn: new Date(5),
      photo: Buffer.from('canary'),
      code: '7',
    };
    await holders.save({ id: 1, ...values });
    const holder = await holders.findOneByOrFail({ id: 1 });
    holder.tags.push('canary 2');
    holder.bornOn.setTime(6);
    holder.photo.fill(0);
    opened.statements.clear();
    await holders.save(holder);
    expect(opened.statements.of('UPDATE')).toHaveLength(1);
    expect(await storedPlaintexts(opened.dataSource, Holder)).toEqual([
      { tags: ['canary', 'canary 2'], bornOn: new Date(6), photo: Buffer.alloc(6), code: '7' },
    ]);
  });

  it('goes by the value in the database where a listener changes what is loaded', async () => {
    const masked = opened.dataSource.getRepository(Masked);
    const key = { club: 1, member: 'm 1' };
    await masked.save({ ...key, card: 'canary 4711' });
    for (let turn = 0; turn < 3; turn++) {
      const loaded = await masked.findOneByOrFail(key);
      expect(loaded.card).toBe('****** 4711');
      opened.statements.clear();
      await masked.save(loaded);
      expect(opened.statements.writes()).toEqual([]);
    }
    expect(await storedPlaintexts(opened.dataSource, Masked)).toEqual([{ card: 'canary 4711' }]);
  });

  it('knows the classes of one table apart', async () => {
    const staff = opened.dataSource.getRepository(Staff);
    const nurses = opened.dataSource.getRepository(Nurse);
    await nurses.save({ id: 1, badge: 'canary 1', station: 'canary N' });
    await staff.save({ id: 2, badge: 'canary 2' });
    const loaded = await staff.find({ order: { id: 'ASC' } });
    (loaded[0] as Nurse).station = null;
    opened.statements.clear();
    await staff.save(loaded);
    expect(opened.statements.of('UPDATE')).toHaveLength(1);
    expect(await nurses.find()).toEqual([{ id: 1, badge: 'canary 1', station: null }]);
    expect(await staff.findOneBy({ id: 2 })).toEqual({ id: 2, badge: 'canary 2' });
  });

  it('writes nothing of a copy, which is another object', async () => {
    const ada = await loadedPatient();
    await patients().save(patients().create(ada));
    expect(opened.statements.writes()).toEqual([]);
  });

  it('loads no more than it did: raw rows, results, and what they show', async () => {
    const { id } = await loadedPatient();
    const { raw, entities: found } = await patients()
      .createQueryBuilder('p')
      .where({ id })
      .getRawAndEntities<Record<string, unknown>>();
    expect(found).toEqual([{ id, ...ADA }]);
    expect(Reflect.ownKeys(found[0] ?? {})).toEqual(['id', ...Object.keys(ADA)]);
    expect(raw[0]?.['p_note']).toMatch(/^A[\w-]{60,}$/);
    expectNoCanary(raw);
  });

  it('gives raw rows as they are stored beside entities of the same builder', async () => {
    const { id } = await loadedPatient();
    const builder = patients().createQueryBuilder('p').where({ id });
    const hydrating = builder.getMany();
    const copy = builder.clone();
    const [raws, found] = await Promise.all([builder.getRawMany<{ p_note: unknown }>(), hydrating]);
    expect(found).toEqual([{ id, ...ADA }]);
    for (const raw of [...raws, ...(await copy.getRawMany<{ p_note: unknown }>())]) {
      expect(raw.p_note).toMatch(/^A[\w-]{60,}$/);
    }
    expect(await copy.getMany()).toEqual([{ id, ...ADA }]);
  });

  it('writes the entity that was changed, of two that are saved at once', async () => {
    const ada = await loadedPatient();
    const same = await patients().findOneByOrFail({ id: ada.id });
    same.note = 'canary, the other';
    await Promise.all([patients().save(ada), patients().save(same)]);
    expect(await stored()).toMatchObject([{ note: 'canary, the other' }]);
  });

  it('asks for the key as ever', async () => {
    const cleanup = new Cleanup();
    try {
      const other = await cleanup.create(database, { entities: [Patient], synchronize: true });
      const dataSource = cleanup.add(protect(other));
      await dataSource.initialize();
      const repository = dataSource.getRepository(Patient);
      const { id } = await repository.save(repository.create(ADA));
      const ada = await repository.findOneByOrFail({ id });
      await dataSource.query(`UPDATE data_keys SET state = 'destroyed' WHERE purpose = 'data'`);
      const later = performance.now() + HOUR_MS;
      const clock = jest.spyOn(performance, 'now').mockReturnValue(later);
      const failure = await rejection(repository.save(ada));
      clock.mockRestore();
      expect(failure).toBeInstanceOf(KeyStateError);
    } finally {
      await cleanup.run();
    }
  });

  it('counts as a read: verified by the rows that it left', async () => {
    await patients().save(await loadedPatient());
    const report = await fieldEncryption(opened.dataSource).verify({ entities: ['Patient'] });
    expect(report.failures).toEqual([]);
  });
});
