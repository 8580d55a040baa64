import fc from 'fast-check';
import {
  And,
  Column,
  Entity,
  Equal,
  In,
  IsNull,
  ManyToOne,
  Not,
  OneToMany,
  Or,
  PrimaryColumn,
} from 'typeorm';
import type { FindManyOptions, FindOperator, Repository } from 'typeorm';
import { BlindIndex, Encrypted } from '../../src';
import { describeDiagonal } from '../support/databases';
import { ids, openWorld } from '../support/lookup-world';
import type { World } from '../support/lookup-world';

/** The same rows twice: encrypted under truncated indexes of several lengths, and plain. */
@Entity()
class SecretOwner {
  @PrimaryColumn() id!: number;
  @Encrypted({ nullable: true }) @BlindIndex({ bits: 4 }) tag!: string | null;
  @OneToMany(() => SecretItem, (item) => item.owner) items!: SecretItem[];
}

@Entity()
class SecretItem {
  @PrimaryColumn() id!: number;
  @Column() mark!: string;
  @Encrypted({ nullable: true }) @BlindIndex({ bits: 1 }) one!: string | null;
  @Encrypted({ nullable: true }) @BlindIndex({ bits: 4 }) four!: string | null;
  @Encrypted({ nullable: true }) @BlindIndex({ bits: 8 }) eight!: string | null;
  @Encrypted({ nullable: true }) @BlindIndex({ bits: 12 }) twelve!: string | null;
  @Encrypted({ nullable: true }) @BlindIndex() full!: string | null;
  @ManyToOne(() => SecretOwner, (owner) => owner.items, { nullable: true })
  owner!: SecretOwner | null;
}

@Entity()
class PlainOwner {
  @PrimaryColumn() id!: number;
  @Column({ type: 'varchar', nullable: true }) tag!: string | null;
  @OneToMany(() => PlainItem, (item) => item.owner) items!: PlainItem[];
}

@Entity()
class PlainItem {
  @PrimaryColumn() id!: number;
  @Column() mark!: string;
  @Column({ type: 'varchar', nullable: true }) one!: string | null;
  @Column({ type: 'varchar', nullable: true }) four!: string | null;
  @Column({ type: 'varchar', nullable: true }) eight!: string | null;
  @Column({ type: 'varchar', nullable: true }) twelve!: string | null;
  @Column({ type: 'varchar', nullable: true }) full!: string | null;
  @ManyToOne(() => PlainOwner, (owner) => owner.items, { nullable: true })
  owner!: PlainOwner | null;
}

const PROPERTIES = ['one', 'four', 'eight', 'twelve', 'full'] as const;
/** The last is in no row. */
const VALUES = ['v0', 'v1', 'v2', 'v3', 'v4', 'v5', 'v6', 'v7'];

type Where = Record<string, unknown>;

// Operators are made anew for each query, from these descriptions.
type Condition =
  | { readonly kind: 'value' | 'equal'; readonly value: string }
  | { readonly kind: 'in'; readonly values: readonly (string | null)[] }
  | { readonly kind: 'isNull' }
  | { readonly kind: 'not'; readonly of: Condition }
  | { readonly kind: 'and' | 'or'; readonly of: readonly Condition[] };

const anyValue = fc.constantFrom(...VALUES);
const condition: fc.Arbitrary<Condition> = fc.letrec<{ tree: Condition }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.record({ kind: fc.constantFrom('value' as const, 'equal' as const), value: anyValue }),
    fc.record({
      kind: fc.constant('in' as const),
      values: fc.array(fc.option(anyValue, { freq: 9 }), { maxLength: 4 }),
    }),
    fc.record({ kind: fc.constant('isNull' as const) }),
    fc.record({ kind: fc.constant('not' as const), of: tie('tree') }),
    fc.record({
      kind: fc.constantFrom('and' as const, 'or' as const),
      of: fc.array(tie('tree'), { minLength: 1, maxLength: 3 }),
    }),
  ),
})).tree;

function operatorOf(tree: Condition): FindOperator<unknown> {
  switch (tree.kind) {
    case 'value':
    case 'equal':
      return Equal(tree.value);
    case 'in':
      return In(tree.values);
    case 'isNull':
      return IsNull();
    case 'not':
      return Not(tree.of.kind === 'value' ? tree.of.value : operatorOf(tree.of));
    case 'and':
      return And(...tree.of.map(operatorOf));
    case 'or':
      return Or(...tree.of.map(operatorOf));
  }
}

const conditions = fc.dictionary(fc.constantFrom(...PROPERTIES), condition, { maxKeys: 3 });
const query = fc.record({
  where: fc.array(
    fc.record({ own: conditions, owner: fc.option(condition, { freq: 1 }), mark: fc.boolean() }),
    { minLength: 1, maxLength: 3 },
  ),
  join: fc.boolean(),
  skip: fc.nat({ max: 6 }),
  take: fc.option(fc.integer({ min: 1, max: 6 })),
});
type Query = typeof query extends fc.Arbitrary<infer T> ? T : never;

function whereOf({ where }: Query): Where[] {
  return where.map(({ own, owner, mark }) => ({
    ...Object.fromEntries(
      Object.entries(own).map(([property, tree]) => [
        property,
        tree.kind === 'value' ? tree.value : operatorOf(tree),
      ]),
    ),
    ...(owner !== null && {
      owner: { tag: owner.kind === 'value' ? owner.value : operatorOf(owner) },
    }),
    ...(mark && { mark: Not('m3') }),
  }));
}

describeDiagonal('truncated indexes against a plain entity', (database) => {
  let world: World;
  let secret: Repository<SecretItem>;
  let plain: Repository<SecretItem>;

  beforeAll(async () => {
    world = await openWorld(database, {
      entities: [SecretOwner, SecretItem, PlainOwner, PlainItem],
    });
    secret = world.ds.getRepository(SecretItem);
    plain = world.ds.getRepository<SecretItem>(PlainItem);
    const owners = [1, 2, 3, 4, 5, 6].map((id) => ({
      id,
      tag: id === 6 ? null : `v${String(id % 4)}`,
    }));
    await world.ds.getRepository(SecretOwner).insert(owners);
    await world.ds.getRepository(PlainOwner).insert(owners);
    await secret.insert(rows());
    await plain.insert(rows());
  });

  afterAll(() => world.close());

  it('answers the same ids, pages, counts and existence to random queries', async () => {
    await fc.assert(
      fc.asyncProperty(query, async (given) => {
        const page = { skip: given.skip, ...(given.take !== null && { take: given.take }) };
        const options = (): FindManyOptions<SecretItem> => ({
          where: whereOf(given),
          order: { id: 'ASC' },
          ...(given.join && { relations: { owner: { items: true } } }),
        });
        // The reference without joins: TypeORM itself counts and pages right there.
        const expected = ids(await plain.find({ where: whereOf(given) as never }));
        expect(ids(await secret.find(options()))).toEqual(expected);
        if (given.take !== null) {
          const [found, total] = await secret.findAndCount({ ...options(), ...page });
          expect([found.map(({ id }) => id), total]).toEqual([
            expected.slice(given.skip, given.skip + given.take),
            expected.length,
          ]);
        }
        expect(await secret.count(options())).toBe(expected.length);
        expect(await secret.exists(options())).toBe(expected.length > 0);
        const built = async (repository: Repository<SecretItem>): Promise<[number[], number]> => {
          const [entities, count] = await repository
            .createQueryBuilder('i')
            .leftJoin('i.owner', 'owner')
            .where(whereOf(given))
            .getManyAndCount();
          return [ids(entities), count];
        };
        expect(await built(secret)).toEqual(await built(plain));
      }),
      { numRuns: 120 },
    );
  }, 120_000);

  it('updates and deletes the same rows for random criteria', async () => {
    const undone = new Error('undone');
    await fc.assert(
      fc.asyncProperty(conditions, fc.boolean(), async (own, removes) => {
        if (Object.keys(own).length === 0) return;
        const criteria = () =>
          whereOf({
            where: [{ own, owner: null, mark: true }],
            join: false,
            skip: 0,
            take: null,
          })[0] as never;
        await world.ds
          .transaction(async (manager) => {
            const [left, right] = [
              manager.getRepository(SecretItem),
              manager.getRepository<SecretItem>(PlainItem),
            ];
            for (const repository of [left, right]) {
              if (removes) await repository.delete(criteria());
              else await repository.update(criteria(), { mark: 'changed', one: 'v1', full: null });
            }
            const read = async (repository: Repository<SecretItem>) =>
              (await repository.find({ order: { id: 'ASC' } })).map((row): object =>
                Object.assign({}, row),
              );
            expect(await read(left)).toEqual(await read(right));
            throw undone;
          })
          .catch((error: unknown) => {
            if (error !== undone) throw error;
          });
      }),
      { numRuns: 40 },
    );
  }, 120_000);
});

function rows(): Partial<SecretItem>[] {
  return Array.from({ length: 60 }, (_, index) => {
    const id = index + 1;
    const pick = (factor: number, some: number): string | null =>
      (id * factor) % some === 0 ? null : `v${String((id * factor) % 7)}`;
    return {
      id,
      mark: `m${String(id % 5)}`,
      one: pick(1, 9),
      four: pick(3, 10),
      eight: pick(5, 12),
      twelve: pick(2, 7),
      full: pick(4, 11),
      owner: id % 8 === 0 ? null : ({ id: (id % 6) + 1 } as SecretOwner),
    };
  });
}
