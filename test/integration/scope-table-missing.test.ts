import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, ConfigurationError, Encrypted, fieldEncryption, KeyScope } from '../../src';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() @BlindIndex() text!: string;
}

const row = (id: number, tenantId: string): Note =>
  Object.assign(new Note(), { id, tenantId, text: `of ${tenantId}` });

describeEachDatabase('Without the table of scope keys', (database) => {
  const cleanup = new Cleanup();
  let created: TestDatabase;
  let dataSource: DataSource;

  afterEach(() => cleanup.run());
  beforeEach(async () => {
    created = await cleanup.create(database, { entities: [Note], synchronize: true });
    const before = cleanup.add(await protect(created).initialize());
    await before.manager.insert(Note, row(1, 'north'));
    dataSource = cleanup.add(await protect(created, {}, { synchronize: false }).initialize());
  });

  const WORKS: readonly (readonly [string, (at: DataSource) => Promise<unknown>])[] = [
    ['an insert', ({ manager }) => manager.insert(Note, row(2, 'north'))],
    ['an insert for a new scope', ({ manager }) => manager.insert(Note, row(2, 'south'))],
    ['an update', ({ manager }) => manager.update(Note, { tenantId: 'north' }, { text: 'x' })],
    ['an update by id', ({ manager }) => manager.update(Note, { id: 1 }, { text: 'x' })],
    ['a save', ({ manager }) => manager.save(row(1, 'north'))],
    ['a look-up', ({ manager }) => manager.findBy(Note, { tenantId: 'north', text: 'x' })],
    ['reading', ({ manager }) => manager.find(Note)],
    ['a transaction', (at) => at.transaction((manager) => manager.insert(Note, row(2, 'north')))],
    [
      'values',
      (at) => fieldEncryption(at).encryptValues(Note, 'text', ['x'], { rows: [{ tenantId: 'a' }] }),
    ],
  ];

  it.each(WORKS)('%s says that it is missing', async (_, work) => {
    await dataSource.query('ALTER TABLE field_encryption_scope_keys RENAME TO gone');
    for (let i = 0; i < 2; i += 1) {
      const error = await rejection(work(dataSource));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain('field_encryption_scope_keys');
    }
    await dataSource.query('ALTER TABLE gone RENAME TO field_encryption_scope_keys');
    await work(dataSource);
  });
});
