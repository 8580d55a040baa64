import { randomUUID } from 'node:crypto';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, EntityTarget, ObjectLiteral } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  DecryptionError,
  Encrypted,
  fieldEncryption,
  RunPlanError,
} from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, keyFileKms, protect } from '../support/protected-database';

/** The entity as it was. */
@Entity({ name: 'note' })
class Note {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @Column() shelf!: number;
  @Encrypted({ id: 'Note.text', check: false })
  @BlindIndex({ bits: 8 })
  text!: string;
  @Encrypted({ id: 'Note.bytes', check: false, nullable: true, type: 'bytes', storage: 'binary' })
  bytes!: Buffer | null;
}

/** The same table, whose values are to be bound. */
@Entity({ name: 'note' })
class BoundNote {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @Column() shelf!: number;
  @Encrypted({ id: 'Note.text', check: false, bindTo: ['id', 'shelf'] })
  @BlindIndex({ bits: 8 })
  text!: string;
  @Encrypted({
    id: 'Note.bytes',
    check: false,
    nullable: true,
    type: 'bytes',
    storage: 'binary',
    bindTo: ['id'],
  })
  bytes!: Buffer | null;
}

/** As it was, with a CHECK that only takes unbound values. */
@Entity({ name: 'checked' })
class Checked {
  @PrimaryColumn() id!: number;
  @Encrypted({ id: 'Checked.text', check: true }) text!: string;
}

@Entity({ name: 'checked' })
class BoundChecked {
  @PrimaryColumn() id!: number;
  @Encrypted({ id: 'Checked.text', check: true, bindTo: ['id'] }) text!: string;
}

const LEGACY = ['BoundNote.text', 'BoundNote.bytes'];

describeDiagonal('Binding existing values to their rows', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;

  beforeEach(async () => {
    database = await cleanup.create(kind, { synchronize: false });
  });
  afterEach(() => cleanup.run());

  async function open(
    entity: EntityTarget<ObjectLiteral>,
    options: Partial<FieldEncryptionOptions> = {},
    synchronize = false,
  ): Promise<DataSource> {
    const dataSource = cleanup.add(
      protect(database, options, { entities: [entity as never], synchronize }),
    );
    return dataSource.initialize();
  }

  /** A table of rows that are not bound. */
  async function before(rows = 5): Promise<Note[]> {
    const dataSource = await open(Note, {}, true);
    const notes = Array.from({ length: rows }, (_, i) =>
      Object.assign(new Note(), {
        shelf: i,
        text: `note ${i}`,
        bytes: i === 0 ? null : Buffer.of(i),
      }),
    );
    await dataSource.getRepository(Note).insert(notes);
    await dataSource.destroy();
    return notes;
  }

  async function swap(dataSource: DataSource, [one, other]: readonly Note[]): Promise<void> {
    const cells: { id: string; text: string }[] = await dataSource.query(
      'SELECT id, text FROM note',
    );
    const of = (id?: string): string | undefined => cells.find((cell) => cell.id === id)?.text;
    for (const [id, text] of [
      [one?.id, of(other?.id)],
      [other?.id, of(one?.id)],
    ]) {
      const sql = `UPDATE note SET text = '${String(text)}' WHERE id = '${String(id)}'`;
      await dataSource.query(sql);
    }
  }

  it('refuses older values, reads them under legacyUnbound, and moves them online', async () => {
    const notes = await before();
    const strict = await open(BoundNote);
    await expect(strict.getRepository(BoundNote).find()).rejects.toThrow(/not bound to its row/);
    const refused = await fieldEncryption(strict).reencrypt();
    expect(refused).toMatchObject({ changed: 0, failed: 5 });
    await strict.destroy();

    const dataSource = await open(BoundNote, { legacyUnbound: LEGACY });
    const encryption = fieldEncryption(dataSource);
    const repository = dataSource.getRepository(BoundNote);
    expect(await repository.count()).toBe(5);
    expect((await repository.find()).map(({ text }) => text).sort()).toEqual(
      notes.map(({ text }) => text),
    );
    expect(await repository.findBy({ text: 'note 3' })).toHaveLength(1);
    // New values are bound at once.
    await repository.insert({ id: randomUUID(), shelf: 9, text: 'note 9', bytes: null });
    expect(await encryption.status()).toMatchObject([
      { property: 'text', rows: 6, unboundRows: 5, cleartextRows: 0, keys: [{ rows: 6 }] },
      { property: 'bytes', rows: 6, unboundRows: 4, nullRows: 2 },
    ]);

    expect(await encryption.reencrypt({ batchSize: 2 })).toMatchObject({ changed: 5, failed: 0 });
    expect(await encryption.reencrypt()).toMatchObject({ changed: 0 });
    expect(await encryption.status()).toMatchObject([{ unboundRows: 0 }, { unboundRows: 0 }]);
    await dataSource.destroy();

    const after = await open(BoundNote);
    expect(await after.getRepository(BoundNote).findBy({ text: 'note 3' })).toMatchObject([
      { shelf: 3, bytes: Buffer.of(3) },
    ]);
    expect(await fieldEncryption(after).verify()).toMatchObject({ failed: 0 });
    await swap(after, notes);
    await expect(after.getRepository(BoundNote).find()).rejects.toThrow(DecryptionError);
    const verified = await fieldEncryption(after).verify();
    expect(verified.failures.map(({ code, property }) => `${code} ${property}`)).toEqual([
      'ERR_DECRYPTION text',
      'ERR_DECRYPTION text',
    ]);
  });

  it('keeps bound values readable through rotation, re-encryption, reindexing and a drill', async () => {
    const dataSource = await open(BoundNote, {}, true);
    const repository = dataSource.getRepository(BoundNote);
    const encryption = fieldEncryption(dataSource);
    const text = 'note 1';
    await repository.insert([
      { id: randomUUID(), shelf: 1, text, bytes: Buffer.of(1) },
      { id: randomUUID(), shelf: 2, text: 'note 2', bytes: null },
    ]);
    const { file } = await encryption.keys.backup({ kms: keyFileKms() });
    expect(await encryption.keys.drill(file, { kms: keyFileKms() })).toMatchObject({
      ok: true,
      results: [
        { rows: 2, read: 2, tokens: 2 },
        { rows: 1, read: 1 },
      ],
    });
    await encryption.keys.rotate();
    expect(await encryption.reencrypt()).toMatchObject({ changed: 2, failed: 0 });
    expect(await encryption.reindex()).toMatchObject({ failed: 0 });
    expect(await repository.findBy({ text })).toMatchObject([{ shelf: 1, bytes: Buffer.of(1) }]);
    expect(await encryption.verify()).toMatchObject({ failed: 0 });
  });

  it('encrypts cleartext bound to its row, and decrypts it again', async () => {
    const legacyPlaintext = ['BoundNote.text', 'BoundNote.bytes'];
    const dataSource = await open(BoundNote, { legacyPlaintext }, true);
    const id = randomUUID();
    await dataSource.query(`INSERT INTO note (id, shelf, text) VALUES ('${id}', 4, 'in clear')`);
    const repository = dataSource.getRepository(BoundNote);
    const encryption = fieldEncryption(dataSource);
    expect(await repository.findOneBy({ text: 'in clear' })).toMatchObject({ id });
    expect(await encryption.encrypt()).toMatchObject({ changed: 1, failed: 0 });
    expect(await encryption.status()).toMatchObject([{ unboundRows: 0, cleartextRows: 0 }, {}]);
    expect(await repository.findOneBy({ text: 'in clear' })).toMatchObject({ id });
    expect(await encryption.decrypt()).toMatchObject({ changed: 1, failed: 0 });
    expect(await dataSource.query('SELECT text FROM note')).toEqual([{ text: 'in clear' }]);
  });

  it('says that an older CHECK constraint keeps bound values out, which synchronizing mends', async () => {
    const dataSource = await open(Checked, {}, true);
    await dataSource.getRepository(Checked).insert({ id: 1, text: 'one' });
    await dataSource.destroy();
    const options = { legacyUnbound: ['BoundChecked.text'] };
    const bound = await open(BoundChecked, options);
    await expect(fieldEncryption(bound).reencrypt()).rejects.toThrow(RunPlanError);
    await expect(fieldEncryption(bound).reencrypt()).rejects.toThrow(
      /before the property had bindTo/,
    );
    await bound.synchronize();
    expect(await fieldEncryption(bound).reencrypt()).toMatchObject({ changed: 1, failed: 0 });
    await expect(bound.query(`UPDATE checked SET text = 'in clear'`)).rejects.toThrow(/check/i);
  });

  it('knows which properties legacyUnbound may name', async () => {
    await expect(open(Note, { legacyUnbound: ['Note.text'] })).rejects.toThrow(ConfigurationError);
    await expect(open(Note, { legacyUnbound: ['Note.text'] })).rejects.toThrow(
      /legacyUnbound names "Note.text", which is not an encrypted property with bindTo/,
    );
  });
});
