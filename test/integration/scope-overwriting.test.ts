import { setTimeout as sleep } from 'node:timers/promises';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  fieldEncryption,
  KeyScope,
  MissingScopeError,
  ScopeMismatchError,
  withKeyScope,
} from '../../src';
import type { ScopeIds } from '../../src';
import { describeDiagonal } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { Cleanup, protect } from '../support/protected-database';
import { lockWaits } from '../support/lock-waits';

/** The context alone tells the tenant of its rows. The names are those of columns of the table of keys. */
@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @Column({ unique: true }) prefix!: string;
  @Encrypted({ scope: 'tenant', nullable: true }) @BlindIndex() kind?: string | null;
  @Encrypted({ scope: 'tenant', nullable: true }) text?: string | null;
  @Encrypted({ scope: 'tenant', nullable: true, storage: 'binary' }) scan?: string | null;
  @Encrypted({ scope: 'person', nullable: true }) own?: string | null;
  @Encrypted({ nullable: true }) common?: string | null;
  @Column({ default: 0 }) count!: number;
}

/** A tenant by a column, and a person by the context alone. */
@Entity()
class Remark {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted({ scope: 'tenant' }) subject!: string;
  @Encrypted({ scope: 'person' }) text!: string;
}

const note = (id: number, values: Partial<Note> = {}): Note =>
  Object.assign(new Note(), { id, prefix: `p${String(id)}`, ...values });

describeDiagonal('Rows that the context alone tells the scope of', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Note, Remark] });
  let dataSource: DataSource;
  let notes: Repository<Note>;

  const inNorth = <T>(work: () => Promise<T>): Promise<T> =>
    withKeyScope({ tenant: 'north', person: 1 }, work);
  const inSouth = <T>(work: () => Promise<T>): Promise<T> =>
    withKeyScope({ tenant: 'south', person: 2 }, work);
  const stored = (table: string): Promise<unknown> =>
    dataSource.query(`SELECT * FROM ${table} ORDER BY id`);

  beforeEach(() => {
    ({ dataSource } = opened);
    notes = dataSource.getRepository(Note);
  });

  const builder = (values: object) => notes.createQueryBuilder().update().set(values);
  const insert = (values: Note[]) => notes.createQueryBuilder().insert().values(values);
  const writes: readonly (readonly [string, (values: Partial<Note>) => Promise<unknown>])[] = [
    ['update by id', (values) => notes.update({ id: 1 }, values)],
    ['update by other criteria', (values) => notes.update({ count: 0 }, values)],
    ['a builder', (values) => builder(values).where('count < :n', { n: 5 }).execute()],
    ['a builder without criteria', (values) => builder(values).execute()],
    [
      'a builder that counts',
      (values) =>
        builder({ ...values, count: () => 'count + 1' })
          .where({ id: 1 })
          .execute(),
    ],
    ['save', (values) => notes.save({ id: 1, ...values })],
    ['a transaction', (values) => dataSource.transaction((m) => m.update(Note, 1, values))],
    ['upsert', (values) => notes.upsert(note(1, values), ['id'])],
    ['upsert by another column', (values) => notes.upsert(note(1, values), ['prefix'])],
    ['upsert of several', (values) => notes.upsert([note(5, values), note(1, values)], ['id'])],
    [
      'orUpdate',
      (values) =>
        insert([note(1, values)])
          .orUpdate(['count', ...Object.keys(values)], ['id'])
          .execute(),
    ],
    [
      'orUpdate under an alias',
      (values) =>
        notes
          .createQueryBuilder('n')
          .insert()
          .values(note(1, values))
          .orUpdate(Object.keys(values), ['prefix'])
          .execute(),
    ],
  ];

  describe.each(writes)('%s', (_, write) => {
    it.each([
      ['a value', { text: 'canary n' }],
      ['one with tokens', { kind: 'canary n' }],
      ['one stored as bytes', { scan: 'canary n' }],
      ['several', { kind: 'canary n', text: 'canary n', own: 'canary n', common: 'canary n' }],
    ])('writes %s to rows of the context only', async (__, values) => {
      await inSouth(() => notes.insert(note(1, { text: 'canary s', scan: 'canary s' })));
      const before = await stored('note');
      await inNorth(async () => {
        await expect(write(values)).rejects.toBeInstanceOf(ScopeMismatchError);
      });
      expect(await stored('note')).toEqual(before);
      await inSouth(async () => {
        await write(values);
        expect(await notes.findOneByOrFail({ id: 1 })).toMatchObject(values);
      });
    });
  });

  it('are written over whatever key of their scope they are under, or if they have no value', async () => {
    await inSouth(() => notes.insert([note(1, { text: 'canary 1' }), note(2)]));
    await fieldEncryption(dataSource).keys.rotateScope({ tenant: 'south' });
    await inSouth(async () => {
      await notes.update({ count: 0 }, { text: 'canary 2', scan: 'canary 2' });
      await notes.upsert([note(1, { scan: 'canary 3' }), note(3, { scan: 'canary 3' })], ['id']);
      expect(await notes.find({ order: { id: 'ASC' } })).toMatchObject([
        { text: 'canary 2', scan: 'canary 3' },
        { text: 'canary 2', scan: 'canary 2' },
        { text: null, scan: 'canary 3' },
      ]);
    });
  });

  it('say which property, and nothing of the ids', async () => {
    await inSouth(() => notes.insert(note(1, { text: 'canary s', own: 'canary s' })));
    const write = (tenant: string) =>
      withKeyScope({ tenant, person: 1 }, () => notes.update(1, { text: 'canary', own: 'canary' }));
    const error = (tenant: string): Promise<unknown> => write(tenant).catch((e: unknown) => e);
    expect(await error('north')).toMatchObject({ entity: 'Note', property: 'kind' });
    expect(await error('south')).toMatchObject({ entity: 'Note', property: 'own' });
    expect(String(await error('north'))).not.toMatch(/north|south/);
  });

  it('are compared by the context where another kind has a column', async () => {
    const remarks = dataSource.getRepository(Remark);
    const values = { tenantId: 'north', subject: 'canary', text: 'canary' };
    await withKeyScope({ person: 1 }, () => remarks.insert({ id: 1, ...values }));
    const before = await stored('remark');
    await withKeyScope({ person: 2 }, async () => {
      for (const write of [
        () => remarks.update({ id: 1 }, { subject: 'canary 2', text: 'canary 2' }),
        () => remarks.update({ tenantId: 'north' }, { text: 'canary 2' }),
      ]) {
        await expect(write()).rejects.toBeInstanceOf(ScopeMismatchError);
      }
      await remarks.update({ id: 1 }, { subject: 'canary 3' });
    });
    await withKeyScope({ person: 1 }, async () => {
      await remarks.update({ id: 1 }, { text: 'canary 4' });
      expect(await remarks.find()).toMatchObject([{ subject: 'canary 3', text: 'canary 4' }]);
    });
    expect(await stored('remark')).not.toEqual(before);
  });

  it('are not compared by writes of other columns, or of NULL', async () => {
    await inSouth(() => notes.insert(note(1, { text: 'canary s' })));
    opened.statements.clear();
    await inNorth(async () => {
      await notes.update({ id: 1 }, { common: 'canary c' });
      await notes.increment({ id: 1 }, 'count', 1);
      await notes.insert(note(2, { text: 'canary n' }));
      await notes.update({ id: 1 }, { scan: null });
    });
    const about = opened.statements.writes().filter((sql) => sql.includes('"note"'));
    expect(about).toHaveLength(4);
    expect(about.filter((sql) => sql.includes('kind ='))).toEqual([]);
  });

  it('need a scope to be written over', async () => {
    await inSouth(() => notes.insert(note(1, { text: 'canary s' })));
    const before = await stored('note');
    await expect(notes.update(1, { text: 'canary' })).rejects.toBeInstanceOf(MissingScopeError);
    await expect(notes.upsert(note(1, { text: 'canary' }), ['id'])).rejects.toBeInstanceOf(
      MissingScopeError,
    );
    expect(await stored('note')).toEqual(before);
  });

  if (database.dialect !== 'sqlite') {
    it('are written over by a transaction that does not see the key in use', async () => {
      await inSouth(() => notes.insert(note(1, { text: 'canary 1' })));
      await dataSource.transaction('REPEATABLE READ', async (manager) => {
        await manager.query('SELECT 1 FROM note');
        await fieldEncryption(dataSource).keys.rotateScope({ tenant: 'south' });
        await inSouth(async () => {
          await notes.insert(note(2, { text: 'canary 2' }));
          await manager.update(Note, 1, { text: 'canary 3' });
          await manager.update(Note, 1, { text: 'canary 4' });
        });
      });
      await inSouth(async () => {
        expect(await notes.findOneByOrFail({ id: 1 })).toMatchObject({ text: 'canary 4' });
      });
    });

    it.each([
      ['update', () => notes.update({ id: 1 }, { text: 'canary n' })],
      ['upsert', () => notes.upsert(note(1, { text: 'canary n' }), ['id'])],
    ])('are compared as another transaction leaves them by %s', async (name, write) => {
      if (name === 'update') await notes.insert(note(1));
      const runner = dataSource.createQueryRunner();
      await runner.startTransaction();
      await inSouth(() => runner.manager.save(Note, note(1, { text: 'canary s' })));
      const writing = inNorth(write).catch((error: unknown) => error);
      const isOver = writing.then(() => true);
      const rest = (): Promise<boolean> => Promise.race([isOver, sleep(10, false)]);
      while ((await lockWaits(dataSource)) === 0 && !(await rest()));
      await runner.commitTransaction();
      await runner.release();
      expect(await writing).toBeInstanceOf(ScopeMismatchError);
      await inSouth(async () => {
        expect(await notes.find()).toMatchObject([{ text: 'canary s' }]);
      });
    });
  }
});

/** The same entity before its values had keys of tenants, and since. */
function entities() {
  @Entity('note')
  class Before {
    @PrimaryColumn() id!: number;
    @Encrypted({ id: 'text', check: false }) text!: string;
  }

  @Entity('note')
  class Later {
    @PrimaryColumn() id!: number;
    @Encrypted({ id: 'text', scope: 'tenant', check: false }) text!: string;
  }
  return { Before, Later };
}

const { Before, Later } = entities();

describeDiagonal('Rows from before the context told their scope', (database) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('are written over, those of another scope are not', async () => {
    const created = await cleanup.create(database, { entities: [Before], synchronize: true });
    const before = cleanup.add(await protect(created).initialize());
    await before.manager.insert(Before, [
      { id: 1, text: 'canary 1' },
      { id: 2, text: 'canary 2' },
    ]);
    const options = { legacyScope: ['Later.text'] };
    const later = cleanup.add(
      await protect(created, options, { entities: [Later], synchronize: false }).initialize(),
    );
    const write = (tenant: ScopeIds, id: number) =>
      withKeyScope(tenant, async () => {
        await later.manager.update(Later, id, { text: 'canary u' });
        await later.manager.upsert(Later, { id, text: 'canary w' }, ['id']);
      });
    await write('south', 1);
    const rows = await later.query('SELECT * FROM note ORDER BY id');
    await expect(write('north', 1)).rejects.toBeInstanceOf(ScopeMismatchError);
    expect(await later.query('SELECT * FROM note ORDER BY id')).toEqual(rows);
    await write('north', 2);
    await withKeyScope('south', async () => {
      expect(await later.manager.findOneBy(Later, { id: 1 })).toMatchObject({ text: 'canary w' });
    });
  });
});
