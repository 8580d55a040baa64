import { inspect } from 'node:util';
import {
  And,
  Brackets,
  Column,
  Entity,
  Equal,
  In,
  ManyToOne,
  Not,
  Or,
  PrimaryColumn,
} from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, IndexIntegrityError } from '../../src';
import type { BlindIndexOptions, FieldEncryptionOptions } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { ids } from '../support/lookup-world';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { quoted } from '../support/sql-of';

const VICTIM = 'victim@canary.example';
const ATTACKER = 'attacker@canary.example';

@Entity()
class Bank {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() code!: string;
  @Encrypted({ nullable: true }) @BlindIndex({ unique: true }) number!: string | null;
}

class Address {
  @Encrypted({ nullable: true }) @BlindIndex() city!: string | null;
}

@Entity()
class Account {
  @PrimaryColumn() id!: number;
  @Column({ default: true }) active!: boolean;
  @Encrypted() @BlindIndex({ normalize: 'email' }) email!: string;
  @Encrypted({ nullable: true, type: 'date' }) @BlindIndex() bornOn!: Date | null;
  @Encrypted({ nullable: true }) @BlindIndex({ bits: 16 }) phone!: string | null;
  @Column(() => Address) address!: Address;
  @ManyToOne(() => Bank, { nullable: true }) bank!: Bank | null;
}

describeDiagonal('A lookup by a token that was exchanged', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let ds: DataSource;
  let accounts: Repository<Account>;

  beforeAll(async () => {
    database = await cleanup.create(kind, { entities: [Account, Bank], synchronize: true });
    ds = await cleanup.add(protect(database)).initialize();
    accounts = ds.getRepository(Account);
  });

  afterAll(() => cleanup.run());

  beforeEach(async () => {
    await ds.query('DELETE FROM account');
    await ds.query('DELETE FROM bank');
    await ds.getRepository(Bank).insert([
      { id: 1, code: 'bank-1', number: 'n-1' },
      { id: 2, code: 'bank-2', number: 'n-2' },
    ]);
    await accounts.insert([
      {
        id: 1,
        email: VICTIM,
        bornOn: new Date(1),
        phone: '1',
        address: { city: 'a' },
        bank: { id: 1 },
      },
      {
        id: 2,
        email: ATTACKER,
        bornOn: new Date(2),
        phone: '2',
        address: { city: 'b' },
        bank: { id: 2 },
      },
      { id: 3, email: 'other@canary.example', active: false, address: { city: null } },
    ]);
  });

  async function exchange(column: string, table = 'account'): Promise<void> {
    const name = quoted(kind, column);
    const rows = await ds.query<{ id: number; token: string }[]>(
      `SELECT id, ${name} AS token FROM ${table} WHERE id < 3 ORDER BY id`,
    );
    await ds.query(`UPDATE ${table} SET ${name} = NULL WHERE id < 3`);
    for (const [i, { id }] of rows.entries()) {
      const token = rows[1 - i]?.token ?? '';
      await ds.query(`UPDATE ${table} SET ${name} = '${token}' WHERE id = ${String(id)}`);
    }
  }

  async function expectRefused(lookup: () => Promise<unknown>, property = 'email'): Promise<void> {
    const error = await rejection(lookup);
    expect(error).toBeInstanceOf(IndexIntegrityError);
    expect(error).toMatchObject({ code: 'ERR_INDEX_INTEGRITY', retryable: false, property });
    expect(error.message).toContain('data verify');
    expect(inspect(error, { depth: 9 })).not.toContain('canary');
  }

  const query = () => accounts.createQueryBuilder('a');

  it('is an error in every form of lookup that selects the property', async () => {
    await exchange('email_bidx');
    for (const lookup of [
      () => accounts.findOneBy({ email: VICTIM }),
      () => accounts.findOneByOrFail({ email: VICTIM.toUpperCase() }),
      () => accounts.find({ where: { email: Equal(VICTIM), active: true } }),
      () => accounts.findBy({ email: In([VICTIM, 'nobody']) }),
      () => accounts.findBy({ email: And(Equal(VICTIM), Not('nobody')) }),
      () => accounts.findBy({ email: Or(Equal(VICTIM), Equal('nobody')) }),
      () => accounts.findBy([{ email: VICTIM }, { email: 'nobody', active: true }]),
      () => accounts.findAndCountBy({ email: VICTIM }),
      () => accounts.find({ where: { email: VICTIM }, relations: { bank: true }, take: 1 }),
      () => accounts.find({ where: { email: VICTIM }, cache: false, withDeleted: true }),
      () => ds.transaction((manager) => manager.findOneBy(Account, { email: VICTIM })),
      () => query().where({ email: VICTIM }).getOne(),
      () => query().where('a.active = :yes', { yes: true }).andWhere({ email: VICTIM }).getMany(),
      () =>
        query()
          .where([{ email: VICTIM }, { email: 'nobody' }])
          .clone()
          .getManyAndCount(),
      () =>
        query()
          .where(new Brackets((w) => w.where({ email: VICTIM })))
          .getRawAndEntities(),
      () =>
        query()
          .leftJoinAndSelect('a.bank', 'bank')
          .where({ email: VICTIM })
          .andWhere({ active: true })
          .take(5)
          .getMany(),
    ]) {
      await expectRefused(lookup);
    }
  });

  it('is an error for dates, embedded properties and selected relations', async () => {
    await exchange('bornOn_bidx');
    await expectRefused(() => accounts.findBy({ bornOn: new Date(1) }), 'bornOn');
    await exchange('bornOn_bidx');
    await exchange(
      ds.getMetadata(Account).findColumnWithPropertyPath('address.city_bidx')!.databaseName,
    );
    await expectRefused(() => accounts.findBy({ address: { city: 'a' } }), 'address.city');
    await exchange('code_bidx', 'bank');
    await expectRefused(
      () => accounts.find({ where: { bank: { code: 'bank-1' } }, relations: { bank: true } }),
      'code',
    );
  });

  it('hands out what another part of the condition may have found', async () => {
    await exchange('email_bidx');
    expect(ids(await accounts.findBy([{ email: VICTIM }, { active: true }]))).toEqual([1, 2]);
    expect(ids(await query().where('a.active').orWhere({ email: VICTIM }).getMany())).toEqual([
      1, 2,
    ]);
    const either = 'a.id = 2 OR a.id = 1';
    expect(ids(await query().where(either).andWhere({ email: ATTACKER }).getMany())).toEqual([
      1, 2,
    ]);
    expect(ids(await accounts.findBy({ email: Not(In([ATTACKER])) }))).toEqual([2, 3]);
    expect(ids(await accounts.findBy({ id: 2 }))).toEqual([2]);
  });

  it('drops a row whose truncated token is not its own', async () => {
    await exchange('phone_bidx');
    expect(await accounts.findBy({ phone: '1' })).toEqual([]);
  });

  it('leaves what it cannot see to others', async () => {
    await exchange('email_bidx');
    expect(await accounts.countBy({ email: VICTIM })).toBe(1);
    expect(await accounts.existsBy({ email: VICTIM })).toBe(true);
    expect(ids(await accounts.find({ where: { email: VICTIM }, select: { id: true } }))).toEqual([
      2,
    ]);
    await exchange('code_bidx', 'bank');
    expect(ids(await accounts.findBy({ bank: { code: 'bank-1' } }))).toEqual([2]);
    const found = await accounts.find({
      where: { bank: { code: 'bank-1' } },
      relations: { bank: true },
      relationLoadStrategy: 'query',
    });
    expect(found).toMatchObject([{ id: 2, bank: { id: 2, code: 'bank-2' } }]);
  });

  it('has an upsert overwrite the row that has the token', async () => {
    await ds.query('DELETE FROM account');
    await exchange('number_bidx', 'bank');
    await ds.getRepository(Bank).upsert({ id: 3, number: 'n-1', code: 'new' }, ['number']);
    const banks = await ds.getRepository(Bank).find({ order: { id: 'ASC' } });
    expect(banks.map(({ code }) => code)).toEqual(['bank-1', 'new']);
  });

  it('is found by verify and mended by reindex', async () => {
    await exchange('email_bidx');
    const encryption = fieldEncryption(ds);
    expect(await encryption.verify()).toMatchObject({ failed: 2 });
    await encryption.reindex();
    expect(await accounts.findOneBy({ email: VICTIM })).toMatchObject({ id: 1, email: VICTIM });
  });
});

/** Entities of one table whose index is of one definition, or of two. */
function memberWith(options: BlindIndexOptions): new () => { id: number; name: string } {
  @Entity({ name: 'member' })
  class Member {
    @PrimaryColumn() id!: number;
    @Encrypted({ id: 'member.name' }) @BlindIndex(options) name!: string;
  }
  return Member;
}

describeDiagonal('While an index changes, what a lookup found', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  const Before = memberWith({});
  const Announced = memberWith({ previous: [{ normalize: 'email' }] });
  const After = memberWith({ normalize: 'email', previous: [{}] });

  it('is compared as each definition compares it', async () => {
    const database = await cleanup.create(kind, { synchronize: false });
    const open = (entity: typeof Before, options: Partial<FieldEncryptionOptions> = {}) =>
      cleanup
        .add(protect(database, options, { entities: [entity], synchronize: entity === Before }))
        .initialize();
    const before = await open(Before);
    await before.getRepository(Before).insert({ id: 1, name: 'Ada@X.org' });
    const after = (await open(After)).getRepository(After);
    await after.insert({ id: 2, name: 'Bob@X.org' });
    const announced = (await open(Announced)).getRepository(Announced);

    expect(ids(await after.findBy({ name: 'Ada@X.org' }))).toEqual([1]);
    expect(ids(await after.findBy({ name: 'bob@x.org' }))).toEqual([2]);
    expect(ids(await announced.findBy({ name: 'BOB@X.org' }))).toEqual([2]);
    await fieldEncryption(before).keys.rotateIndex();
    expect(ids(await after.findBy({ name: 'bob@x.org' }))).toEqual([2]);

    await before.query(
      'UPDATE member SET name_bidx = (SELECT name_bidx FROM member WHERE id = 2) WHERE id = 1',
    );
    for (const members of [after, announced]) {
      const error = await rejection(members.findBy({ name: 'BOB@X.org' }));
      expect(error).toBeInstanceOf(IndexIntegrityError);
    }
  });

  it('may be a cleartext row', async () => {
    const database = await cleanup.create(kind, { synchronize: true });
    const options = { legacyPlaintext: ['Member.name'] };
    const ds = await cleanup.add(protect(database, options, { entities: [After] })).initialize();
    await ds.query(`INSERT INTO member (id, name) VALUES (1, 'ada@x.org'), (2, 'other')`);
    await ds.getRepository(After).insert({ id: 3, name: 'bob@x.org' });
    expect(ids(await ds.getRepository(After).findBy({ name: 'ADA@x.org' }))).toEqual([1]);
    await ds.query(
      'UPDATE member SET name_bidx = (SELECT name_bidx FROM member WHERE id = 3) WHERE id = 2',
    );
    expect(ids(await ds.getRepository(After).findBy({ name: 'other' }))).toEqual([]);
  });
});
