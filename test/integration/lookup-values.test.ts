import { Between, Entity, In, MoreThan, Not, PrimaryColumn } from 'typeorm';
import type { FindOptionsWhere, Repository } from 'typeorm';
import { inspect } from 'node:util';
import { BlindIndex, Encrypted, fieldEncryption } from '../../src';
import { describeEachDatabase } from '../support/databases';
import { expectRefused, ids, openWorld } from '../support/lookup-world';
import type { World } from '../support/lookup-world';
import { rejection } from '../support/protected-database';

const postcode = {
  id: 'postcode',
  version: 1,
  normalize: (value: string) => value.replaceAll(' ', '').toUpperCase(),
};

@Entity()
class Holder {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() exact!: string;
  @Encrypted() @BlindIndex({ normalize: 'case-insensitive' }) name!: string;
  @Encrypted() @BlindIndex({ normalize: 'email', unique: true }) email!: string;
  @Encrypted() @BlindIndex({ normalize: 'digits' }) phone!: string;
  @Encrypted() @BlindIndex({ normalize: postcode }) post!: string;
  @Encrypted()
  @BlindIndex({ name: 'folded', normalize: 'case-insensitive' })
  @BlindIndex()
  @BlindIndex({ name: 'short', bits: 4 })
  several!: string;
  @Encrypted()
  @BlindIndex({ name: 'first', normalize: 'case-insensitive' })
  @BlindIndex({ name: 'second' })
  named!: string;
  @Encrypted() @BlindIndex() amount!: number;
  @Encrypted({ type: 'bigint' }) @BlindIndex({ bits: 3 }) big!: bigint;
  @Encrypted() @BlindIndex({ acknowledgeLeakage: true }) flag!: boolean;
  @Encrypted() @BlindIndex() day!: Date;
  @Encrypted({ type: 'date' }) @BlindIndex({ bits: 2 }) at!: Date;
  @Encrypted({ type: 'bytes', storage: 'binary' }) @BlindIndex() bytes!: Buffer;
}

const row = (id: number): Holder => ({
  id,
  exact: `zq7~Exact-${String(id)}`,
  name: `Zq7~Straße ${String(id)}`,
  email: `Zq7~Mail${String(id)}@Example.org`,
  phone: `zq7~+49 (0) 30-${String(1000 + id)}`,
  post: `zq7~ab1 ${String(id)}cd`,
  several: `Zq7~Several-${String(id)}`,
  named: `Zq7~Named-${String(id)}`,
  amount: id === 1 ? -0 : id / 10,
  big: 2n ** 70n + BigInt(id),
  flag: id % 2 === 0,
  day: new Date(86_400_000 * id),
  at: new Date(1_700_000_000_000 + id),
  bytes: Buffer.from([0, id, 255]),
});

describeEachDatabase('lookups of values', (database) => {
  let world: World;
  let holders: Repository<Holder>;

  beforeAll(async () => {
    world = await openWorld(database, { entities: [Holder] });
    holders = world.ds.getRepository(Holder);
    await holders.insert([1, 2, 3, 4].map(row));
  });

  afterAll(async () => {
    const leaked = world.log.withPlaintext();
    await world.close();
    expect(leaked).toEqual([]);
  });

  it.each<[string, FindOptionsWhere<Holder>, number[]]>([
    ['exactly', { exact: 'zq7~Exact-2' }, [2]],
    ['exactly, and so not in another case', { exact: 'zq7~exact-2' }, []],
    ['in another case, form and width', { name: 'ＺQ7~STRASSE 3' }, [3]],
    ['by e-mail with white space around', { email: '  ZQ7~mail1@EXAMPLE.ORG\n' }, [1]],
    ['by digits only', { phone: 'zq7~49/0301002' }, [2]],
    ['by the rule of a custom normalizer', { post: 'ZQ7~AB1 4 C D' }, [4]],
    ['through the unnamed index of several', { several: 'Zq7~Several-1' }, [1]],
    ['through the unnamed index of several, exactly', { several: 'zq7~several-1' }, []],
    ['through the first of several named indexes', { named: 'ZQ7~NAMED-2' }, [2]],
    ['a number', { amount: 0.3 }, [3]],
    ['zero, whatever its sign', { amount: 0 }, [1]],
    ['numbers', { amount: In([0.2, 0.4, 7]) }, [2, 4]],
    ['a bigint', { big: 2n ** 70n + 2n }, [2]],
    ['other bigints', { big: Not(2n ** 70n + 2n) }, [1, 3, 4]],
    ['true', { flag: true }, [2, 4]],
    ['false', { flag: false }, [1, 3]],
    ['a date', { day: new Date(86_400_000 * 2) }, [2]],
    ['other dates', { day: Not(new Date(86_400_000 * 2)) }, [1, 3, 4]],
    ['a date through a truncated index', { at: new Date(1_700_000_000_003) }, [3]],
    [
      'dates through a truncated index',
      { at: In([1, 4].map((ms) => new Date(1_700_000_000_000 + ms))) },
      [1, 4],
    ],
    ['bytes', { bytes: Buffer.from([0, 3, 255]) }, [3]],
    [
      'bytes of another class',
      { bytes: In([new Uint8Array([0, 1, 255]), Buffer.of(9)]) as never },
      [1],
    ],
  ])('finds %s', async (_title, where, expected) => {
    expect(ids(await holders.findBy(where))).toEqual(expected);
    expect(ids(await holders.createQueryBuilder('h').where(where).getMany())).toEqual(expected);
    expect(await holders.countBy(where)).toBe(expected.length);
    await holders.update(where, { exact: () => 'exact' }).then(
      () => expect('updated').toBe('refused'),
      (error: unknown) => expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED_VALUE' }),
    );
  });

  it('gives the token of each index by name', async () => {
    const handle = fieldEncryption(world.ds);
    const folded = await handle.token(Holder, 'several', 'zq7~SEVERAL-3', 'folded');
    const found = await holders
      .createQueryBuilder('h')
      .where('h.several_bidx_folded = :folded', { folded })
      .getMany();
    expect(ids(found)).toEqual([3]);
    expect(await handle.token(Holder, 'several', 'Zq7~Several-3', 'short')).toHaveLength(2);
    expect(await rejection(handle.token(Holder, 'several', 'zq7~', 'none'))).toMatchObject({
      code: 'ERR_CONFIGURATION',
    });
  });

  it.each<[string, object]>([
    ['number', { amount: '0.3' }],
    ['number', { amount: NaN }],
    ['bigint', { big: 3 }],
    ['boolean', { flag: 'zq7~true' }],
    ['date', { day: 'zq7~1970' }],
    ['date', { at: new Date(NaN) }],
    ['bytes', { bytes: 'zq7~' }],
    ['string', { exact: 5 }],
    ['string', { name: 'zq7~\ud800' }],
  ])('refuses what is not a %s: %j', async (_type, where) => {
    world.log.mark();
    const error = await rejection(async () => holders.findBy(where));
    expect(error).toMatchObject({
      code: 'ERR_UNSUPPORTED_VALUE',
      entity: 'Holder',
      property: Object.keys(where)[0],
    });
    expect(inspect(error, { depth: 9 }).toLowerCase()).not.toContain('zq7~');
    expect(world.log.sinceMark()).toEqual([]);
  });

  it('refuses ranges of numbers and dates by name', async () => {
    await expectRefused(world, () => holders.findBy({ amount: MoreThan(0.1) }), {
      entity: 'Holder',
      property: 'amount',
    });
    await expectRefused(world, () => holders.findBy({ day: Between(new Date(0), new Date()) }), {
      entity: 'Holder',
      property: 'day',
    });
    const sum = await expectRefused(world, () => holders.sum('amount'), {
      entity: 'Holder',
      property: 'amount',
    });
    expect(sum.message).toContain('Compute it after reading; sum()');
  });

  it('keeps normalized values unique, by insert, save, update and upsert', async () => {
    const twin = Object.assign(row(9), { email: ' zq7~MAIL1@example.org ' });
    for (const write of [
      () => holders.insert(twin),
      () => holders.save(twin),
      () => holders.update({ id: 2 }, { email: twin.email }),
      // MySQL writes over the row that is in the way by any unique index.
      ...(database.dialect === 'mysql' ? [] : [() => holders.upsert(twin, ['id'])]),
    ]) {
      const error = await rejection(async () => write());
      expect(error.name).toBe('QueryFailedError');
      const shown = `${error.message} ${inspect(error, { depth: 9 })} ${JSON.stringify(error)}`;
      expect(shown).toMatch(/unique|duplicate entry/i);
      expect(shown.toLowerCase()).not.toContain('zq7~');
    }
    expect(await holders.count()).toBe(4);
  });
});
