import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import {
  ALL_SCOPES,
  BlindIndex,
  Encrypted,
  fieldEncryption,
  KeyScope,
  MissingScopeError,
  ScopeMismatchError,
  withKeyScope,
} from '../../src';
import { describeDiagonal } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';

@Entity()
class Claim {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() @BlindIndex({ uniqueWith: ['tenantId'] }) number!: string;
  @Encrypted({ nullable: true }) text?: string;
  @Encrypted({ nullable: true }) @BlindIndex({ scope: false }) email?: string;
}

describeDiagonal('The option keyScope, where it says nothing', (database) => {
  const cleanup = new Cleanup();
  let scope: { tenant: string } | undefined;
  let dataSource: DataSource;
  let claims: Repository<Claim>;
  const own = { tenantId: 'north', number: 'N-1' };

  afterEach(() => cleanup.run());
  beforeEach(async () => {
    const created = await cleanup.create(database, { entities: [Claim], synchronize: true });
    dataSource = cleanup.add(await protect(created, { keyScope: () => scope }).initialize());
    claims = dataSource.getRepository(Claim);
    scope = { tenant: 'north' };
    await claims.insert({ id: 1, ...own, text: 'secret' });
    scope = undefined;
  });

  it.each<[string, () => unknown]>([
    ['insert', () => claims.insert({ id: 2, tenantId: 'north', number: 'N-2' })],
    ['save of a new row', () => claims.save({ id: 2, tenantId: 'north', number: 'N-2' })],
    ['save of a row', () => claims.save({ id: 1, tenantId: 'north', text: 'changed' })],
    ['update', () => claims.update({ id: 1 }, { text: 'changed' })],
    ['update by scope', () => claims.update({ id: 1, tenantId: 'north' }, { text: 'changed' })],
    ['upsert', () => claims.upsert({ id: 1, ...own, text: 'changed' }, ['id', 'tenantId'])],
    ['find', () => claims.find()],
    ['findBy', () => claims.findBy(own)],
    ['countBy', () => claims.countBy(own)],
    ['existsBy', () => claims.existsBy(own)],
    ['delete', () => claims.delete(own)],
    ['update by token', () => claims.update(own, { text: 'changed' })],
    ['encryptValue', () => helper().encryptValue(Claim, 'text', 'x', { row: own })],
    ['token', () => helper().token(Claim, 'number', 'N-1', undefined, { row: own })],
    ['tokens', () => helper().tokens(Claim, 'number', 'N-1', undefined, { row: own })],
  ])('refuses %s of a row that says its scope', async (_, work) => {
    await expect((async () => work())()).rejects.toBeInstanceOf(MissingScopeError);
    await expectUnchanged();
  });

  it('refuses decryptValue, as well in the context of another', async () => {
    const [row] = await dataSource.query<{ text: string }[]>('SELECT text FROM claim');
    const read = (): Promise<unknown> =>
      helper().decryptValue(Claim, 'text', row?.text, { row: own });
    await expect(read()).rejects.toBeInstanceOf(MissingScopeError);
    await expect(withKeyScope({ tenant: 'south' }, read)).rejects.toBeInstanceOf(
      ScopeMismatchError,
    );
    expect(await withKeyScope({ tenant: 'north' }, read)).toBe('secret');
    expect(await withKeyScope(ALL_SCOPES, read)).toBe('secret');
  });

  it('lets a login find its tenant by a common index, without reading values', async () => {
    await withKeyScope({ tenant: 'north' }, () =>
      claims.update({ id: 1 }, { email: 'a@b.example' }),
    );
    const where = { email: 'a@b.example' };
    await expect(claims.findOneBy(where)).rejects.toBeInstanceOf(MissingScopeError);
    const select = { id: true, tenantId: true } as const;
    expect(await claims.findOne({ select, where })).toEqual({ id: 1, tenantId: 'north' });
  });

  it('refuses nothing that uses no value of a scope', async () => {
    expect(await claims.count()).toBe(1);
    await claims.update({ id: 1 }, { text: null as never });
    expect(await claims.find({ select: { id: true } })).toEqual([{ id: 1 }]);
    expect(await helper().verify()).toMatchObject({ failed: 0 });
    await claims.delete({ id: 1 });
  });

  const helper = (): ReturnType<typeof fieldEncryption> => fieldEncryption(dataSource);

  async function expectUnchanged(): Promise<void> {
    scope = { tenant: 'north' };
    expect(await claims.find()).toMatchObject([{ id: 1, ...own, text: 'secret' }]);
  }
});
