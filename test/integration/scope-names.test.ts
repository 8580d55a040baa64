import { randomUUID } from 'node:crypto';
import { inspect } from 'node:util';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { ALL_SCOPES, Encrypted, fieldEncryption, KeyScope } from '../../src';
import type { FieldEncryption, ScopeIds } from '../../src';
import { describeDiagonal } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Letter {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() text!: string;
}

@Entity()
class Diary {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'person' }) @Column() personId!: string;
  @Encrypted() text!: string;
}

/** An operation on one scope that is named. */
type Operation = (keys: FieldEncryption['keys'], scope: ScopeIds) => Promise<unknown>;

const OPERATIONS: readonly (readonly [string, Operation])[] = [
  ['hold', (keys, scope) => keys.hold({ scope, reason: 'r' })],
  ['release', (keys, scope) => keys.release({ scope, reason: 'r' })],
  ['shred', (keys, scope) => keys.shred({ scope, reason: 'r' })],
  ['cancelShred', (keys, scope) => keys.cancelShred({ scope, reason: 'r' })],
  ['rotateScope', (keys, scope) => keys.rotateScope(scope)],
  ['rotateScopes', (keys, scope) => keys.rotateScopes({ scopes: [{ tenant: 'north' }, scope] })],
  ['scopeStatus', (keys, scope) => keys.scopeStatus([scope])],
];

describeDiagonal('A scope that an operator names', (database) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  async function open(entities: (typeof Letter | typeof Diary)[]): Promise<DataSource> {
    const created = await cleanup.create(database, { entities, synchronize: true });
    const dataSource = cleanup.add(await protect(created).initialize());
    await dataSource.manager.insert(Letter, { id: randomUUID(), tenantId: 'north', text: 'x' });
    return dataSource;
  }

  const rows = async (dataSource: DataSource): Promise<unknown> =>
    dataSource.query('SELECT * FROM field_encryption_scope_keys ORDER BY id');

  it.each(OPERATIONS)('is refused by %s when it is mistyped', async (_, operation) => {
    const dataSource = await open([Letter]);
    const { keys } = fieldEncryption(dataSource);
    const before = await rows(dataSource);
    await expect(operation(keys, { tenants: 'north' })).rejects.toMatchObject({
      code: 'ERR_CONFIGURATION',
    });
    for (const unknown of [{ tenant: 'nroth' }, 'nroth']) {
      await expect(operation(keys, unknown)).rejects.toThrow('has no keys');
    }
    for (const none of [{}, { tenant: '' }, '', null, [], 1.5]) {
      await expect(operation(keys, none as never)).rejects.toMatchObject({
        code: 'ERR_UNSUPPORTED_VALUE',
      });
    }
    expect(await rows(dataSource)).toEqual(before);
  });

  it('may be an id alone where there is one kind', async () => {
    const { keys } = fieldEncryption(await open([Letter]));
    await keys.hold({ scope: 'north', reason: 'case 1' });
    await expect(
      keys.shred({ scope: { tenant: 'north' }, reason: 'r', graceMs: 0 }),
    ).rejects.toThrow('under a legal hold');
    expect(await keys.scopeStatus(['north'])).toMatchObject([{ kind: 'tenant', held: true }]);
  });

  it('needs its kind where there are several', async () => {
    const { keys } = fieldEncryption(await open([Letter, Diary]));
    for (const [, operation] of OPERATIONS) {
      await expect(operation(keys, 'north')).rejects.toThrow('several kinds');
      await expect(operation(keys, { tenant: 'north', person: 'ada' })).rejects.toThrow(
        'one scope',
      );
    }
  });

  it('is one however its id is written', async () => {
    const dataSource = await open([Letter]);
    const id = randomUUID();
    await dataSource.manager.insert(Letter, { id: randomUUID(), tenantId: id, text: 'x' });
    const { keys } = fieldEncryption(dataSource);
    await keys.hold({ scope: { tenant: `{${id.toUpperCase()}}` }, reason: 'case 1' });
    await expect(keys.hold({ scope: id, reason: 'case 1' })).rejects.toThrow('already');
    const twice = [{ tenant: id }, { tenant: id.toUpperCase() }];
    expect(await keys.rotateScopes({ scopes: twice })).toMatchObject([{ rotated: 1 }]);
  });

  it('is another one for each id of other bytes', async () => {
    const dataSource = await open([Letter]);
    const ids = ['a', 'A', 'a ', 'a  ', 'á', 'a\u0301', 'ss', 'ß', '\u{1f600}', '\u{1f601}'];
    for (const tenantId of ids) {
      await dataSource.manager.insert(Letter, { id: randomUUID(), tenantId, text: tenantId });
    }
    const { keys } = fieldEncryption(dataSource);
    for (const held of ['a', 'á', '\u{1f600}']) {
      await keys.hold({ scope: { tenant: held }, reason: 'case 1' });
    }
    const status = await keys.scopeStatus(ids.map((tenant) => ({ tenant })));
    expect(status.filter(({ held }) => held).map(({ scope }) => scope)).toEqual([
      'a',
      'á',
      '\u{1f600}',
    ]);
    expect(await keys.rotateScopes({ kind: 'tenant' })).toMatchObject([{ rotated: 11 }]);
    const letters = await dataSource.manager.find(Letter);
    expect(letters.filter(({ tenantId, text }) => tenantId === text)).toHaveLength(ids.length);
  });

  it('is of a kind that an entity declares', async () => {
    const { keys } = fieldEncryption(await open([Letter]));
    await expect(keys.rotateScopes({ kind: 'tenants' })).rejects.toMatchObject({
      code: 'ERR_CONFIGURATION',
    });
    expect(await keys.rotateScopes({ kind: 'tenant' })).toMatchObject([{ rotated: 1 }]);
    expect(await keys.rotateScopes({ scopes: ALL_SCOPES })).toMatchObject([{ rotated: 1 }]);
  });

  it('is in no error of a statement of the library', async () => {
    const dataSource = await open([Letter]);
    const { keys } = fieldEncryption(dataSource);
    await dataSource.query('ALTER TABLE field_encryption_scope_keys RENAME COLUMN suite TO other');
    for (const work of [
      keys.hold({ scope: { tenant: 'north' }, reason: 'case 1' }),
      keys.scopeStatus([{ tenant: 'north' }]),
    ]) {
      const error = await rejection(work);
      expect(error).toMatchObject({ code: 'ERR_CONFIGURATION' });
      expect(inspect(error, { depth: 9 })).not.toContain("'north'");
    }
  });
});
