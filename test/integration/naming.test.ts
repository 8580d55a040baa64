import { randomBytes } from 'node:crypto';
import {
  Column,
  DefaultNamingStrategy,
  Entity,
  EntitySchema,
  PrimaryGeneratedColumn,
} from 'typeorm';
import type { NamingStrategyInterface } from 'typeorm';
import {
  BlindIndex,
  blindIndexColumns,
  Encrypted,
  encryptedColumn,
  fieldEncryption,
  fieldEncryptionMigrations,
} from '../../src';
import { describeEachDatabase } from '../support/databases';
import { openEncrypted, useEncryptedDatabase } from '../support/encrypted-database';
import { rawRows, storedPlaintexts } from '../support/stored-rows';

class SnakeCase extends DefaultNamingStrategy implements NamingStrategyInterface {
  override tableName(targetName: string, userSpecifiedName: string | undefined): string {
    return userSpecifiedName ?? snakeCase(targetName);
  }

  override columnName(propertyName: string, customName: string, prefixes: string[]): string {
    return snakeCase([...prefixes, customName || propertyName].join('_'));
  }
}

function snakeCase(name: string): string {
  return name.replace(/([a-z\d])([A-Z])/g, '$1_$2').toLowerCase();
}

class HomeAddress {
  @Encrypted() @BlindIndex() streetName!: string;
}

@Entity()
class InsuredPerson {
  @PrimaryGeneratedColumn() personId!: number;
  @Encrypted() @BlindIndex({ unique: true, normalize: 'email' }) mailAddress!: string;
  @Encrypted({ name: 'tax_no', nullable: true })
  @BlindIndex({ columnName: 'taxLookup' })
  taxNumber!: string | null;
  @Column(() => HomeAddress) homeAddress!: HomeAddress;
}

const ADA = {
  mailAddress: 'canary.ada@x.org',
  taxNumber: 'canary 12',
  homeAddress: { streetName: 'canary Main St' },
};
const STORED = {
  mailAddress: ADA.mailAddress,
  taxNumber: ADA.taxNumber,
  'homeAddress.streetName': 'canary Main St',
};

/** All write paths and lookups in short. */
async function exercise({
  dataSource,
}: {
  readonly dataSource: Opened['dataSource'];
}): Promise<void> {
  const people = dataSource.getRepository(InsuredPerson);
  const { personId } = await people.save(people.create(ADA));
  expect(await storedPlaintexts(dataSource, InsuredPerson)).toEqual([STORED]);
  const found = await people.findOneByOrFail({ mailAddress: 'CANARY.ada@x.org' });
  expect(found).toEqual({ personId, ...ADA });
  expect(await people.findOneBy({ homeAddress: { streetName: 'canary Main St' } })).toEqual(found);
  expect(await people.findOneBy({ taxNumber: 'canary 12' })).toEqual(found);
  await people.update({ taxNumber: 'canary 12' }, { taxNumber: 'canary 13' });
  await people.upsert({ ...ADA, taxNumber: 'canary 14' }, ['mailAddress']);
  await people.save({ personId, homeAddress: { streetName: 'canary High St' } });
  expect(await storedPlaintexts(dataSource, InsuredPerson)).toEqual([
    { ...STORED, taxNumber: 'canary 14', 'homeAddress.streetName': 'canary High St' },
  ]);
  expect(await people.countBy({ taxNumber: 'canary 14' })).toBe(1);
  await fieldEncryption(dataSource).keys.rotate();
  expect(await fieldEncryption(dataSource).reencrypt()).toMatchObject({ changed: 1, failed: 0 });
  expect(await people.findOneBy({ mailAddress: ADA.mailAddress })).toMatchObject({
    taxNumber: 'canary 14',
  });
  expect((await people.delete({ mailAddress: ADA.mailAddress })).affected).toBe(1);
}

type Opened = ReturnType<typeof useEncryptedDatabase>;

describeEachDatabase('With a naming strategy', (database) => {
  const opened = useEncryptedDatabase(database, {
    entities: [InsuredPerson],
    namingStrategy: new SnakeCase(),
  });

  it('writes, finds and re-encrypts', async () => {
    await exercise(opened);
  });

  it('names ciphertext and index columns by it', async () => {
    await opened.dataSource.getRepository(InsuredPerson).save({ ...ADA });
    const [row] = await rawRows(opened.dataSource, InsuredPerson);
    expect(Object.keys(row!).sort()).toEqual([
      'home_address_street_name',
      'home_address_street_name_bidx',
      'mail_address',
      'mail_address_bidx',
      'person_id',
      'tax_lookup',
      'tax_no',
    ]);
  });
});

/** As most strategies are: a name that was given is left as it is. */
class SnakeCaseUnlessNamed extends SnakeCase {
  override columnName(propertyName: string, customName: string, prefixes: string[]): string {
    return customName || super.columnName(propertyName, '', prefixes);
  }
}

@Entity()
class Account {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted({ name: 'ibanCipher' }) @BlindIndex({ columnName: 'ibanHash' }) iban!: string;
  @Encrypted() @BlindIndex({ columnName: 'pin hash no. 2', normalize: 'digits' }) pin!: string;
  @Encrypted() @BlindIndex({ name: 'any case', normalize: 'email', bits: 64 }) mail!: string;
}

const AccountSchema = new EntitySchema<Account>({
  name: 'SchemaAccount',
  columns: {
    id: { type: Number, primary: true, generated: true },
    iban: encryptedColumn({ name: 'ibanCipher' }),
    ...blindIndexColumns('iban', { columnName: 'ibanHash' }),
    pin: encryptedColumn(),
    ...blindIndexColumns('pin', { columnName: 'pin hash no. 2', normalize: 'digits' }),
    mail: encryptedColumn(),
    ...blindIndexColumns('mail', { name: 'any case', normalize: 'email', bits: 64 }),
  } as never,
});

describeEachDatabase('Names that are given', (database) => {
  const opened = useEncryptedDatabase(database, {
    entities: [Account, AccountSchema],
    namingStrategy: new SnakeCaseUnlessNamed(),
  });

  it.each([
    ['a class', Account],
    ['an EntitySchema', AccountSchema],
  ])('are the columns’ as they stand, in %s', async (_what, target) => {
    const accounts = opened.dataSource.getRepository<Account>(target);
    const values = { iban: 'canary 12', pin: 'canary 34', mail: 'canary@x.org' };
    const { id } = await accounts.save({ ...values });
    const [row] = await rawRows(opened.dataSource, target);
    expect(Object.keys(row!).sort()).toEqual([
      'ibanCipher',
      'ibanHash',
      'id',
      'mail',
      'mail_bidx_any_case',
      'pin',
      'pin hash no. 2',
    ]);
    for (const where of [{ iban: 'canary 12' }, { pin: '3-4' }, { mail: 'CANARY@x.org' }]) {
      expect(await accounts.findBy(where)).toEqual([{ id, ...values }]);
      expect(await accounts.createQueryBuilder('a').where(where).getCount()).toBe(1);
    }
    await accounts.update({ pin: '34' }, { iban: 'canary 13', pin: 'canary 56' });
    await accounts.save({ id, mail: 'canary.2@x.org' });
    await fieldEncryption(opened.dataSource).keys.rotate();
    expect(await fieldEncryption(opened.dataSource).reencrypt()).toMatchObject({ failed: 0 });
    expect(await accounts.countBy({ iban: 'canary 13', pin: '56', mail: 'Canary.2@x.org' })).toBe(
      1,
    );
    expect((await accounts.delete({ pin: '56' })).affected).toBe(1);
  });
});

/** Leaves no name as it is. */
class Marked extends DefaultNamingStrategy implements NamingStrategyInterface {
  override tableName(targetName: string, userSpecifiedName: string | undefined): string {
    return `t_${userSpecifiedName ?? snakeCase(targetName)}`;
  }

  override columnName(propertyName: string, customName: string, prefixes: string[]): string {
    return `c_${snakeCase([...prefixes, customName || propertyName].join('_'))}`;
  }
}

describeEachDatabase('With a naming strategy that changes names that are given', (database) => {
  it.each([
    ['synchronize', { synchronize: true }],
    ['migrations', { synchronize: false, migrations: [...fieldEncryptionMigrations] }],
  ])('writes, finds and re-encrypts in tables of %s', async (_what, options) => {
    const opened = await openEncrypted(database, {
      entities: [InsuredPerson],
      namingStrategy: new Marked(),
      entityPrefix: 'app_',
      ...options,
    });
    const { dataSource } = opened;
    try {
      await dataSource.runMigrations();
      // The tables of the application itself, where only ours are migrated.
      if (!options.synchronize) await dataSource.synchronize();
      await fieldEncryption(dataSource).ready();
      await exercise(opened);
      const keys: unknown[] = await dataSource.query('SELECT state FROM app_t_data_keys');
      expect(keys).toContainEqual({ state: 'active' });
      const differences = await dataSource.driver.createSchemaBuilder().log();
      expect(differences.upQueries).toEqual([]);
    } finally {
      await opened.dispose();
    }
  });
});

describeEachDatabase('With an entity prefix', (database) => {
  const opened = useEncryptedDatabase(database, {
    entities: [InsuredPerson],
    entityPrefix: 'app_',
  });

  it('writes, finds and re-encrypts', async () => {
    await exercise(opened);
    expect(opened.dataSource.getMetadata(InsuredPerson).tableName).toBe('app_insured_person');
    expect((await fieldEncryption(opened.dataSource).keys.list()).length).toBeGreaterThan(0);
  });
});

@Entity({ schema: 'clinic' })
class Ward {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() @BlindIndex({ unique: true }) code!: string;
}

describeEachDatabase('With schemas', (database) => {
  if (database.dialect === 'sqlite') {
    it('has nothing to do: the database has none', () => {
      expect(database.type).not.toBe('postgres');
    });
    return;
  }

  if (database.dialect === 'mysql') {
    // TypeORM leaves out `schema` there: it is `database` that an entity names.
    it('writes, finds and re-encrypts in another database of the server', async () => {
      const name = `clinic_${randomBytes(6).toString('hex')}`;
      @Entity({ database: name })
      class Room {
        @PrimaryGeneratedColumn() id!: number;
        @Encrypted({ check: true }) @BlindIndex({ unique: true }) code!: string;
      }
      const application = { application: 'clinic' };
      const opened = await openEncrypted(database, { entities: [InsuredPerson] }, application);
      const { dataSource } = opened;
      try {
        await dataSource.query(`CREATE DATABASE ${name}`);
        await dataSource.destroy();
        dataSource.setOptions({ entities: [InsuredPerson, Room] });
        await dataSource.initialize();
        await exercise(opened);
        const rooms = dataSource.getRepository(Room);
        await rooms.save({ code: 'canary R' });
        await rooms.upsert({ code: 'canary R' }, ['code']);
        await expect(rooms.insert({ code: 'canary R' })).rejects.toThrow(/Duplicate entry/);
        expect(await storedPlaintexts(dataSource, Room)).toEqual([{ code: 'canary R' }]);
        const { keys } = fieldEncryption(dataSource);
        const [old] = (await keys.list()).filter(({ state }) => state === 'active');
        await keys.rotate();
        expect(await fieldEncryption(dataSource).reencrypt()).toMatchObject({ changed: 1 });
        await keys.destroy(String(old?.id), { graceMs: 0 });
        expect(await rooms.countBy({ code: 'canary R' })).toBe(1);
        await expect(dataSource.query(`UPDATE ${name}.room SET code = 'clear'`)).rejects.toThrow(
          /CONSTRAINT/,
        );
        const found = await fieldEncryption(dataSource).doctor();
        expect(found.filter(({ level }) => level !== 'info')).toEqual([]);
        expect((await dataSource.driver.createSchemaBuilder().log()).upQueries).toEqual([]);
      } finally {
        await dataSource.query(`DROP DATABASE IF EXISTS ${name}`);
        await opened.dispose();
      }
    });
    return;
  }

  it('writes, finds and re-encrypts in the schema of the DataSource and of an entity', async () => {
    const opened = await openEncrypted(database, {
      entities: [InsuredPerson, Ward],
      synchronize: false,
    });
    const { dataSource } = opened;
    try {
      await dataSource.query('CREATE SCHEMA private');
      await dataSource.query('CREATE SCHEMA clinic');
      await dataSource.destroy();
      dataSource.setOptions({ schema: 'private', synchronize: true });
      await dataSource.initialize();
      await exercise(opened);
      const wards = dataSource.getRepository(Ward);
      await wards.save({ code: 'canary W' });
      await wards.upsert({ code: 'canary W' }, ['code']);
      expect(await storedPlaintexts(dataSource, Ward)).toEqual([{ code: 'canary W' }]);
      expect(await wards.countBy({ code: 'canary W' })).toBe(1);
      const tables = await dataSource.query(
        `SELECT table_schema, table_name FROM information_schema.tables
          WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2`,
      );
      expect(tables).toEqual(
        expect.arrayContaining([
          { table_schema: 'clinic', table_name: 'ward' },
          { table_schema: 'private', table_name: 'data_keys' },
          { table_schema: 'private', table_name: 'insured_person' },
        ]),
      );
      expect(tables).not.toContainEqual(expect.objectContaining({ table_schema: 'public' }));
    } finally {
      await opened.dispose();
    }
  });
});
