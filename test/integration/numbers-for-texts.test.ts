import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { Repository } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  fieldEncryption,
  KeyScope,
  UnsupportedValueError,
  withKeyScope,
} from '../../src';
import { describeEachDatabase } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';

@Entity()
class Bound {
  @PrimaryColumn() id!: number;
  @Column('varchar') code!: unknown;
  @Encrypted({ bindTo: ['code'] }) secret!: string;
}

@Entity()
class Scoped {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column('text') tenant!: unknown;
  @Encrypted() @BlindIndex() secret!: string;
}

const OTHERS: readonly [string, unknown][] = [
  ['number', 5],
  ['number', 5.5],
  ['number', 1e21],
  ['bigint', 5n],
  ['boolean', true],
];

describeEachDatabase('A number for a column of text', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Bound, Scoped] });
  let bound: Repository<Bound>;
  let scoped: Repository<Scoped>;

  beforeEach(() => {
    bound = opened.dataSource.getRepository(Bound);
    scoped = opened.dataSource.getRepository(Scoped);
  });

  async function expectRefused(work: () => unknown, path: string, type: string): Promise<void> {
    const error: unknown = await (async () => work())().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UnsupportedValueError);
    expect((error as Error).message).toMatch(
      new RegExp(`^${path}: .* is a ${type}, .* pass a string`),
    );
    expect((error as Error).message).not.toContain('canary');
  }

  it.each(OTHERS)('is refused where values are bound to it: a %s %p', async (type, code) => {
    const secret = 'canary';
    await bound.insert({ id: 1, code: '5', secret });
    for (const work of [
      () => bound.save({ id: 2, code, secret }),
      () => bound.insert({ id: 2, code: code as never, secret }),
      () => bound.update({ code: code as never }, { secret: 'canary 2' }),
      () =>
        bound
          .createQueryBuilder()
          .update()
          .set({ secret })
          .where('code = :code', { code })
          .execute(),
      () =>
        fieldEncryption(opened.dataSource).encryptValue(Bound, 'secret', secret, { row: { code } }),
    ]) {
      await expectRefused(work, 'Bound.code', type);
    }
    await bound.update({ code: '5' as never }, { secret: 'canary 3' });
    expect(await bound.find()).toEqual([{ id: 1, code: '5', secret: 'canary 3' }]);
  });

  it.each(OTHERS)('is refused where it is the scope of keys: a %s %p', async (type, tenant) => {
    const secret = 'canary';
    await scoped.insert({ id: 1, tenant: '5', secret });
    for (const work of [
      () => scoped.save({ id: 2, tenant, secret }),
      () => scoped.insert({ id: 2, tenant: tenant as never, secret }),
      () => scoped.update({ tenant: tenant as never }, { secret: 'canary 2' }),
      () => scoped.findBy({ tenant: tenant as never, secret }),
      () => scoped.countBy({ tenant: tenant as never, secret }),
      () => scoped.delete({ tenant: tenant as never, secret }),
      () =>
        scoped
          .createQueryBuilder('s')
          .where('s.tenant = :tenant', { tenant })
          .andWhere({ secret })
          .getOne(),
      () =>
        fieldEncryption(opened.dataSource).encryptValue(Scoped, 'secret', secret, {
          row: { tenant },
        }),
    ]) {
      await expectRefused(work, 'Scoped.tenant', type);
    }
    expect(await scoped.findBy({ tenant: '5' as never, secret })).toHaveLength(1);
    expect(await withKeyScope({ tenant: 5 }, () => scoped.countBy({ secret }))).toBe(1);
  });
});
