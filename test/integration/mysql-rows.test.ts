import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { Repository } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption } from '../../src';
import { DATABASES, describeDatabases } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { rejection } from '../support/protected-database';

@Entity()
class Account {
  @PrimaryColumn() id!: number;
  @Column() tenant!: string;
  @Column({ type: 'enum', enum: ['open', 'shut'] }) state: string = 'open';
  @Column({ unique: true }) number!: string;
  @Encrypted({ bindTo: ['tenant'] }) iban!: string;
  @Encrypted({ bindTo: ['state'], nullable: true }) reason?: string | null;
  @Encrypted({ length: 120, nullable: true }) @BlindIndex({ unique: true }) email?: string | null;
}

/** Texts of each length that a column has: MySQL cuts spaces off that are beyond it. */
@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @Column() usual: string = '';
  @Column({ type: 'varchar', length: 40 }) short: string = '';
  @Column({ type: 'tinytext' }) tiny: string = '';
  @Column({ type: 'text' }) middle: string = '';
  @Encrypted({ bindTo: ['usual', 'short', 'tiny', 'middle'] }) body: string = 'canary';
}

const kinds = DATABASES.filter(({ dialect }) => dialect === 'mysql');

describeDatabases(kinds, 'A row that a statement of MySQL takes for another', (kind) => {
  const opened = useEncryptedDatabase(kind, { entities: [Account] });
  let accounts: Repository<Account>;

  beforeEach(async () => {
    accounts = opened.dataSource.getRepository(Account);
    await accounts.insert([
      { id: 1, state: 'open', tenant: 'abc', number: 'N1', iban: 'canary 1', email: 'canary a' },
      { id: 2, state: 'open', tenant: 'ABC', number: 'N2', iban: 'canary 2', email: 'canary b' },
      { id: 3, state: 'open', tenant: 'abc ', number: 'N3', iban: 'canary 3', email: 'canary B' },
    ]);
  });
  afterEach(async () => {
    // Nothing has become unreadable.
    expect(await fieldEncryption(opened.dataSource).verify()).toMatchObject({ failed: 0 });
  });

  const ibans = async (): Promise<string[]> =>
    (await accounts.find({ order: { id: 'ASC' } })).map(({ iban }) => iban);

  it.each([
    ['criteria', (tenant: string) => accounts.update({ tenant }, { iban: 'canary 9' })],
    [
      'a builder with text',
      (tenant: string) =>
        accounts
          .createQueryBuilder()
          .update()
          .set({ iban: 'canary 9' })
          .where('tenant = :tenant', { tenant })
          .execute(),
    ],
    [
      'a builder that is run twice',
      async (tenant: string) => {
        const update = accounts
          .createQueryBuilder()
          .update()
          .set({ iban: 'canary 9' })
          .where({ tenant });
        await update.execute();
        await update.execute();
      },
    ],
  ])('is not updated in letters or spaces that differ: by %s', async (_, update) => {
    await update('ABC');
    expect(await ibans()).toEqual(['canary 1', 'canary 9', 'canary 3']);
    await update('abc ');
    expect(await ibans()).toEqual(['canary 1', 'canary 9', 'canary 9']);
    await update('Abc');
    expect(await ibans()).toEqual(['canary 1', 'canary 9', 'canary 9']);
  });

  it('keeps tokens apart that differ in letter case only, in lookups and in a unique index', async () => {
    const [column] = await opened.dataSource.query<{ collation: string }[]>(
      "SELECT collation_name AS collation FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'account' AND column_name = 'email_bidx'",
    );
    expect(column?.collation).toBe('ascii_bin');
    await opened.dataSource.query("UPDATE account SET email_bidx = 'aaaaaaaa' WHERE id = 1");
    await opened.dataSource.query("UPDATE account SET email_bidx = 'AAAAAAAA' WHERE id = 2");
    const found = await opened.dataSource.query(
      "SELECT id FROM account WHERE email_bidx = 'AAAAAAAA'",
    );
    expect(found).toEqual([{ id: 2 }]);
    await accounts.update(1, { email: 'canary a' });
    await accounts.update(2, { email: 'canary b' });
  });

  it('is not written over by another unique index, where values are bound', async () => {
    const row = { id: 9, state: 'open', tenant: 'xyz', number: 'N1', iban: 'canary 9' };
    const refused = await rejection(accounts.upsert(row, ['id', 'tenant', 'state']));
    expect(refused).toMatchObject({ code: 'ERR_UNSUPPORTED_QUERY', entity: 'Account' });
    expect(refused.message).toMatch(/unique index was in the way.*Nothing was written/);
    expect(await ibans()).toEqual(['canary 1', 'canary 2', 'canary 3']);
    await accounts.upsert({ ...row, id: 1, tenant: 'abc' }, ['id', 'tenant', 'state']);
    expect(await ibans()).toEqual(['canary 9', 'canary 2', 'canary 3']);
  });

  it.each([
    ['without a comment', ''],
    ['with a comment', 'import */ of /* INSERT IGNORE INTO'],
  ])(
    'is ignored by an INSERT that ignores duplicates, and no other error is: %s',
    async (_, comment) => {
      const insert = (values: Partial<Account>): Promise<unknown> =>
        accounts.createQueryBuilder().comment(comment).insert().values(values).orIgnore().execute();
      const row = { id: 1, state: 'open', tenant: 'other', number: 'N9', iban: 'canary 9' };
      await insert(row);
      expect(row).toEqual({
        id: 1,
        state: 'open',
        tenant: 'other',
        number: 'N9',
        iban: 'canary 9',
      });
      await insert({ ...row, id: 8, number: 'N1' });
      expect(await accounts.count()).toBe(3);
      await insert({ ...row, id: 8 });
      expect(await accounts.findOneByOrFail({ id: 8 })).toMatchObject({ iban: 'canary 9' });
      const long = { ...row, id: 7, number: 'N7', tenant: 'x'.repeat(300) };
      expect((await rejection(insert(long))).message).toMatch(/holds exactly|Data too long/);
      const wide = { ...row, id: 7, number: 'N'.repeat(300) };
      expect((await rejection(insert(wide))).message).toMatch(/Data too long/);
      expect(await accounts.count()).toBe(4);
    },
  );

  it('is not ignored by an INSERT whose comment ends early', async () => {
    const row = { id: 9, tenant: 'abc', number: 'N9', iban: 'canary 9' };
    const insert = accounts.createQueryBuilder().comment('**//').insert().values(row).orIgnore();
    const refused = await rejection(insert.execute());
    expect(refused).toMatchObject({ code: 'ERR_UNSUPPORTED_QUERY', entity: 'Account' });
  });

  it('has the label of an enum as it is declared', async () => {
    const row = { id: 5, tenant: 'a', number: 'N5', iban: 'canary 5', reason: 'canary' };
    const refused = await rejection(accounts.insert({ ...row, state: 'OPEN' }));
    expect(refused).toMatchObject({ code: 'ERR_UNSUPPORTED_VALUE', property: 'state' });
    await accounts.insert({ ...row, state: 'open' });
    expect(await accounts.findOneByOrFail({ id: 5 })).toMatchObject({ reason: 'canary' });
  });
});

describeDatabases(kinds, 'A text that values are bound to, on MySQL', (kind) => {
  const opened = useEncryptedDatabase(kind, { entities: [Note] });

  it.each([
    ['usual', 255],
    ['short', 40],
    // In bytes, of which the first character takes two.
    ['tiny', 254],
    ['middle', 65_534],
  ])('has no more spaces at its end than its column holds: %s', async (column, most) => {
    const notes = opened.dataSource.getRepository(Note);
    const full = 'é'.padEnd(most);
    await notes.insert(notes.create({ id: 1, [column]: full }));
    const longer = await rejection(notes.insert(notes.create({ id: 2, [column]: `${full} ` })));
    expect(longer).toMatchObject({ code: 'ERR_UNSUPPORTED_VALUE', property: column });
    expect(longer.message).toContain('holds exactly');
    expect(await notes.find()).toMatchObject([{ id: 1, [column]: full, body: 'canary' }]);
  });
});
