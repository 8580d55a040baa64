import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  ALL_SCOPES,
  ConfigurationError,
  Encrypted,
  KeyScope,
  ScopeMismatchError,
  UnsupportedValueError,
  withKeyScope,
} from '../../src';
import type { ScopeIds } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';

@Entity()
class Letter {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @KeyScope({ kind: 'person' }) @Column() personId!: number;
  @Encrypted({ scope: 'tenant' }) subject!: string;
  @Encrypted({ scope: 'person' }) text!: string;
}

const letter = (id: number, tenantId: string, personId: number): Letter =>
  Object.assign(new Letter(), { id, tenantId, personId, subject: 'canary s', text: 'canary t' });

describeDiagonal('The context of scopes', (database) => {
  const cleanup = new Cleanup();
  let created: TestDatabase;
  let dataSource: DataSource;
  afterEach(() => cleanup.run());

  beforeEach(async () => {
    created = await cleanup.create(database, { entities: [Letter], synchronize: true });
    dataSource = cleanup.add(await protect(created).initialize());
    await dataSource.manager.insert(Letter, [
      letter(1, 'north', 1),
      letter(2, 'south', 1),
      letter(3, 'north', 2),
    ]);
  });

  const find = (id: number, source = dataSource): Promise<Letter | null> =>
    source.manager.findOneBy(Letter, { id });

  async function expectOnly(ids: readonly number[], source?: DataSource): Promise<void> {
    for (const id of [1, 2, 3]) {
      if (ids.includes(id)) expect(await find(id, source)).toMatchObject({ id, text: 'canary t' });
      else await expect(find(id, source)).rejects.toBeInstanceOf(ScopeMismatchError);
    }
  }

  it('within another keeps the ids of other kinds, and replaces that of its own', async () => {
    await withKeyScope({ tenant: 'north' }, async () => {
      await withKeyScope({ person: 1 }, () => expectOnly([1]));
      await withKeyScope({ tenant: 'south' }, async () => {
        await expectOnly([2]);
        await withKeyScope({ person: 2 }, () => expectOnly([]));
      });
      await expectOnly([1, 3]);
    });
  });

  it('keeps what the application says of kinds that it does not name', async () => {
    const keyScope = (): ScopeIds => ({ tenant: 'north', person: 1 });
    const other = cleanup.add(await protect(created, { keyScope }).initialize());
    await expectOnly([1], other);
    await withKeyScope({ person: 2 }, () => expectOnly([3], other));
    await withKeyScope({ tenant: 'south' }, () => expectOnly([2], other));
  });

  it('is not changed by its object', async () => {
    const ids = { tenant: 'north' };
    await withKeyScope(ids, async () => {
      ids.tenant = 'south';
      await expectOnly([1, 3]);
    });
  });

  it('is refused to generators, which run where they are iterated over', async () => {
    const started = jest.fn();
    async function* later(): AsyncGenerator<Letter> {
      started();
      yield* await dataSource.manager.find(Letter, { order: { id: 'ASC' } });
    }
    function* sync(): Generator<number> {
      started();
      yield 1;
    }
    const scope = { tenant: 'north' };
    expect(() => withKeyScope(scope, later)).toThrow(ConfigurationError);
    expect(() => withKeyScope(scope, sync)).toThrow(ConfigurationError);
    expect(() => withKeyScope(ALL_SCOPES, later)).toThrow(ConfigurationError);
    await expect(withKeyScope(scope, () => Promise.resolve(later()))).rejects.toBeInstanceOf(
      ConfigurationError,
    );
    expect(started).not.toHaveBeenCalled();
    const ids = await withKeyScope(ALL_SCOPES, async () => {
      const found: number[] = [];
      for await (const { id } of later()) found.push(id);
      return found;
    });
    expect(ids).toEqual([1, 2, 3]);
    expect([...withKeyScope(scope, () => new Set(ids).values())]).toEqual(ids);
  });

  it.each([
    ['an array', ['north']],
    ['a Map', new Map([['tenant', 'north']])],
    ['a Date', new Date()],
    ['null', null],
    ['an inherited id', Object.create({ tenant: 'north' })],
    ['an instance', Object.assign(new URLSearchParams(), { tenant: 'north' })],
    ['a symbol', { [Symbol('tenant')]: 'north' }],
    ['a hidden property', Object.defineProperty({}, 'tenant', { value: 'north' })],
  ])('is not begun by %s, nor taken from the application', async (_, ids) => {
    const scope = ids as ScopeIds;
    expect(() => withKeyScope(scope, () => 1)).toThrow(UnsupportedValueError);
    const other = cleanup.add(await protect(created, { keyScope: () => scope }).initialize());
    await expect(find(1, other)).rejects.toBeInstanceOf(UnsupportedValueError);
  });
});
