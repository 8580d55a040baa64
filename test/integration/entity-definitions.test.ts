import {
  BaseEntity,
  Column,
  DataSource,
  Entity,
  EntitySchema,
  PrimaryGeneratedColumn,
} from 'typeorm';
import {
  BlindIndex,
  blindIndexColumns,
  ConfigurationError,
  Encrypted,
  encryptedColumn,
  withFieldEncryption,
} from '../../src';
import { DATABASES, describeEachDatabase } from '../support/databases';
import { openEncrypted, temporaryKms, useEncryptedDatabase } from '../support/encrypted-database';
import type { EncryptedDatabase } from '../support/encrypted-database';
import { expectCiphertext, rawRows, storedPlaintexts } from '../support/stored-rows';

interface Address {
  street: string | null;
  geo: { latitude: number | null };
}

interface Patient {
  id: number;
  email: string;
  ssn: string | null;
  history: { note: string }[] | null;
  home: Address;
  work: Address;
}

const GeoSchema = new EntitySchema<Address['geo']>({
  name: 'Geo',
  columns: { latitude: encryptedColumn({ type: 'number', nullable: true }) },
});

const AddressSchema = new EntitySchema<Address>({
  name: 'Address',
  columns: {
    street: encryptedColumn({ nullable: true }),
    ...blindIndexColumns('street'),
  },
  embeddeds: { geo: { schema: GeoSchema } },
});

const PatientSchema = new EntitySchema<Patient>({
  name: 'Patient',
  columns: {
    id: { type: Number, primary: true, generated: true },
    email: encryptedColumn(),
    ...blindIndexColumns('email', { normalize: 'email', unique: true }),
    ssn: encryptedColumn({ nullable: true, storage: 'binary' }),
    ...blindIndexColumns('ssn', {}, { name: 'digits', normalize: 'digits' }),
    history: encryptedColumn({ type: 'json', nullable: true }),
  } as never,
  embeddeds: { home: { schema: AddressSchema }, work: { schema: AddressSchema, prefix: 'job' } },
});

describeEachDatabase('An EntitySchema', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [PatientSchema] });
  const ADA = {
    email: 'canary.ada@x.org',
    ssn: 'canary 078-05',
    history: [{ note: 'canary' }],
    home: { street: 'canary Main St', geo: { latitude: 1 } },
    work: { street: null, geo: { latitude: null } },
  };
  const STORED = {
    email: ADA.email,
    ssn: ADA.ssn,
    history: ADA.history,
    'home.street': 'canary Main St',
    'home.geo.latitude': 1,
    'work.street': null,
    'work.geo.latitude': null,
  };

  it('encrypts columns and embeddeds, and finds by their indexes', async () => {
    const patients = opened.dataSource.getRepository(PatientSchema);
    const saved = await patients.save(structuredClone(ADA));
    expect(saved).toMatchObject(ADA);
    expect(await storedPlaintexts(opened.dataSource, PatientSchema)).toEqual([STORED]);
    const found = await patients.findOneByOrFail({ email: 'CANARY.Ada@x.org' });
    expect(found).toEqual({ id: saved.id, ...ADA });
    expect(await patients.countBy({ home: { street: 'canary Main St' } })).toBe(1);
    expect(await patients.countBy({ work: { street: 'canary Main St' } })).toBe(0);
    expect(await patients.countBy({ ssn: 'canary 078-05' })).toBe(1);
    await expect(patients.insert({ ...structuredClone(ADA), ssn: null })).rejects.toThrow();
  });

  it('writes what changed only, by save, update and upsert', async () => {
    const patients = opened.dataSource.getRepository(PatientSchema);
    await patients.save(structuredClone(ADA));
    const found = await patients.findOneByOrFail({ email: ADA.email });
    opened.statements.clear();
    await patients.save(found);
    expect(opened.statements.writes()).toEqual([]);
    await patients.save(Object.assign(found, { ssn: 'canary 2' }));
    expect(opened.statements.of('UPDATE')).toHaveLength(1);
    expect(opened.statements.of('UPDATE')[0]).toMatch(
      /SET "ssn" = .*"ssn_bidx" = .*"ssn_bidx_digits" = /,
    );
    expect(opened.statements.of('UPDATE')[0]).not.toContain('"email"');
    await patients.update({ email: ADA.email }, { work: { street: 'canary 3' } });
    await patients.upsert({ ...structuredClone(ADA), history: null }, ['email']);
    expect(await storedPlaintexts(opened.dataSource, PatientSchema)).toMatchObject([
      { email: ADA.email, history: null },
    ]);
  });
});

class Clerk {
  id!: number;
  badge!: string;
  pin!: string;

  greeting(): string {
    return `Hello ${this.badge}`;
  }
}

const ClerkSchema = new EntitySchema<Clerk>({
  name: 'Clerk',
  target: Clerk,
  columns: {
    id: { type: Number, primary: true, generated: true },
    badge: encryptedColumn(),
    ...blindIndexColumns('badge', { columnName: 'badgeToken', unique: true }),
    pin: encryptedColumn({ select: false, key: 'pins' }),
  } as never,
});

describeEachDatabase('An EntitySchema of a class', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [ClerkSchema] });

  it('encrypts and makes instances', async () => {
    const clerks = opened.dataSource.getRepository(Clerk);
    const clerk = await clerks.save(clerks.create({ badge: 'canary 7', pin: 'canary 0000' }));
    expect(clerk.greeting()).toBe('Hello canary 7');
    expect(await storedPlaintexts(opened.dataSource, Clerk)).toEqual([
      { badge: 'canary 7', pin: 'canary 0000' },
    ]);
    const found = await clerks.findOneByOrFail({ badge: 'canary 7' });
    expect(found).toBeInstanceOf(Clerk);
    expect(found.pin).toBeUndefined();
    expect('badgeToken' in found).toBe(false);
    const [row] = await rawRows(opened.dataSource, Clerk);
    expect((row!['badge'] as string).slice(0, 12)).not.toBe((row!['pin'] as string).slice(0, 12));
  });
});

@Entity()
class Member extends BaseEntity {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() @BlindIndex({ normalize: 'email', unique: true }) email!: string;
  @Column({ default: true }) active!: boolean;

  static byEmail(email: string): Promise<Member | null> {
    return this.createQueryBuilder('m').where({ email }).getOne();
  }
}

describeEachDatabase('Active record', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Member] });

  it('saves, finds, reloads, updates, upserts and removes', async () => {
    Member.useDataSource(opened.dataSource);
    const member = Member.create({ email: 'canary.m@x.org' });
    await member.save();
    expect(member.email).toBe('canary.m@x.org');
    expect(await storedPlaintexts(opened.dataSource, Member)).toEqual([
      { email: 'canary.m@x.org' },
    ]);
    expect(await Member.findOneBy({ email: 'CANARY.m@x.org' })).toEqual(member);
    expect(await Member.byEmail('canary.m@X.org')).toEqual(member);
    await Member.update({ email: 'canary.m@x.org' }, { email: 'canary.n@x.org' });
    await member.reload();
    expect(member.email).toBe('canary.n@x.org');
    await Member.upsert({ email: 'canary.n@x.org', active: false }, ['email']);
    await Member.insert({ email: 'canary.o@x.org' });
    expect(await Member.countBy({ email: 'canary.o@x.org' })).toBe(1);
    await Member.delete({ email: 'canary.o@x.org' });
    await member.remove();
    expect(member.email).toBe('canary.n@x.org');
    expect(await Member.count()).toBe(0);
  });

  it('refuses by name when its DataSource is not wrapped', async () => {
    const plain = await database.create({ entities: [Member], synchronize: true });
    const dataSource = await new DataSource(plain.dataSourceOptions).initialize();
    try {
      Member.useDataSource(dataSource);
      await expect(Member.create({ email: 'canary' }).save()).rejects.toBeInstanceOf(
        ConfigurationError,
      );
      await expect(Member.find()).rejects.toBeInstanceOf(ConfigurationError);
      expect(await dataSource.query('SELECT * FROM member')).toEqual([]);
    } finally {
      await dataSource.destroy();
      await plain.dispose();
    }
  });
});

describeEachDatabase('An extended repository', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Member] });

  it('works by itself, in a transaction and through a query builder', async () => {
    const members = opened.dataSource.getRepository(Member).extend({
      findByEmail(email: string) {
        return this.findOneBy({ email });
      },
      async rename(from: string, to: string) {
        await this.createQueryBuilder()
          .update()
          .set({ email: to })
          .where({ email: from })
          .execute();
      },
    });
    await members.save({ email: 'canary.m@x.org' });
    await members.rename('canary.m@x.org', 'canary.n@x.org');
    expect(await members.findByEmail('CANARY.n@x.org')).toMatchObject({ email: 'canary.n@x.org' });
    await opened.dataSource.transaction(async (manager) => {
      const scoped = manager.withRepository(members);
      await scoped.rename('canary.n@x.org', 'canary.p@x.org');
      expect(await scoped.findByEmail('canary.p@x.org')).not.toBeNull();
    });
    expect(await storedPlaintexts(opened.dataSource, Member)).toEqual([
      { email: 'canary.p@x.org' },
    ]);
  });
});

@Entity()
class Shared {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted({ storage: 'binary' }) @BlindIndex() secret!: string;
  @Encrypted({ type: 'json' }) data!: unknown;
}

describe('One entity class', () => {
  const usable = DATABASES.filter(({ unavailable }) => unavailable === undefined);

  it('serves several encrypted DataSources of different drivers and one that is not wrapped', async () => {
    const all: EncryptedDatabase[] = [];
    try {
      for (const database of [...usable, ...usable]) {
        all.push(await openEncrypted(database, { entities: [Shared] }));
      }
      await Promise.all(
        all.map(({ dataSource }, i) =>
          dataSource.getRepository(Shared).save({ secret: `canary ${i}`, data: { i } }),
        ),
      );
      for (const [i, { dataSource }] of all.entries()) {
        expect(await storedPlaintexts(dataSource, Shared)).toEqual([
          { secret: `canary ${i}`, data: { i } },
        ]);
        expect(
          await dataSource.getRepository(Shared).findOneBy({ secret: `canary ${i}` }),
        ).toMatchObject({
          data: { i },
        });
        const [row] = await rawRows(dataSource, Shared);
        expectCiphertext(row!['secret'], 'binary');
      }
      await refusedByPlainDataSource();
    } finally {
      for (const opened of all) await opened.dispose();
    }
  });

  it('keeps a DataSource readable when another one of its class is destroyed', async () => {
    const [first, second] = [
      await openEncrypted(usable[0]!, { entities: [Shared] }),
      await openEncrypted(usable[0]!, { entities: [Shared] }),
    ];
    await first.dataSource.getRepository(Shared).save({ secret: 'canary', data: [] });
    await second.dispose();
    expect(await first.dataSource.getRepository(Shared).find()).toMatchObject([
      { secret: 'canary' },
    ]);
    await first.dataSource.destroy();
    await first.dataSource.initialize();
    expect(await first.dataSource.getRepository(Shared).find()).toMatchObject([
      { secret: 'canary' },
    ]);
    await first.dispose();
  });

  async function refusedByPlainDataSource(): Promise<void> {
    const { dataSourceOptions, dispose } = await usable[0]!.create({
      entities: [Shared],
      synchronize: true,
    });
    const dataSource = await new DataSource(dataSourceOptions).initialize();
    const refused = dataSource.getRepository(Shared).save({ secret: 'canary', data: {} });
    await expect(refused).rejects.toBeInstanceOf(ConfigurationError);
    expect(await dataSource.query('SELECT * FROM shared')).toEqual([]);
    await dataSource.destroy();
    await dispose();
  }
});

describeEachDatabase('A DataSource with another key-encryption key', (database) => {
  it('reads nothing', async () => {
    const { dataSource, dispose } = await openEncrypted(database, { entities: [Shared] });
    const other = temporaryKms();
    const { secret, kms } = { secret: 'canary', kms: other.kms };
    const second = withFieldEncryption(new DataSource({ ...dataSource.options }), { kms });
    try {
      await dataSource.getRepository(Shared).save({ secret, data: 1 });
      // Another KEK cannot unwrap the key: nothing is passed through.
      await second.initialize();
      await expect(second.getRepository(Shared).find()).rejects.toMatchObject({
        code: 'ERR_KEY_UNWRAP',
      });
    } finally {
      if (second.isInitialized) await second.destroy();
      other.dispose();
      await dispose();
    }
  });
});
