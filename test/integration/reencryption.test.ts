import {
  Column,
  Entity,
  PrimaryColumn,
  PrimaryGeneratedColumn,
  UpdateDateColumn,
  VersionColumn,
} from 'typeorm';
import { BlindIndex, ConfigurationError, Encrypted, fieldEncryption } from '../../src';
import type { RunProgress } from '../../src';
import { describeEachDatabase } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { rejection } from '../support/protected-database';
import { rawRows, storedPlaintexts, tableName } from '../support/stored-rows';

@Entity()
class Note {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted({ check: false }) @BlindIndex() title!: string;
  @Encrypted({ check: false, type: 'json', nullable: true }) body!: { page: number } | null;
  @Encrypted({ check: false, type: 'bytes', storage: 'binary', nullable: true })
  seal!: Buffer | null;
  @Column({ default: 0 }) views!: number;
  @VersionColumn() version!: number;
  @UpdateDateColumn() updatedAt!: Date;
}

@Entity()
class Grade {
  @PrimaryColumn() student!: string;
  @PrimaryColumn() course!: number;
  @Encrypted({ check: false, type: 'number' }) points!: number;
}

@Entity()
class Plain {
  @PrimaryGeneratedColumn() id!: number;
  @Column() text!: string;
}

describeEachDatabase('reencrypt', (database) => {
  const used = useEncryptedDatabase(database, { entities: [Note, Grade, Plain] });

  const handle = () => fieldEncryption(used.dataSource);
  const notes = () => used.dataSource.getRepository(Note);

  async function insertNotes(count: number): Promise<void> {
    await notes().insert(
      Array.from({ length: count }, (_, i) => ({
        title: `title ${String(i)}`,
        body: i % 3 === 0 ? null : { page: i },
        seal: i % 4 === 0 ? null : Buffer.from([i, 0, 255]),
      })),
    );
  }

  it('moves every row to the active key and leaves the rest of the row as it was', async () => {
    await insertNotes(23);
    const before = await rawRows(used.dataSource, Note);
    const plaintexts = await storedPlaintexts(used.dataSource, Note);
    const key = await handle().keys.rotate();

    const report = await handle().reencrypt({ entities: [Note], batchSize: 5 });

    expect(report).toEqual({
      mode: 'reencrypt',
      scanned: 23,
      changed: 23,
      skipped: 0,
      doneBefore: 0,
      erased: 0,
      toBeErased: 0,
      conflicts: 0,
      failed: 0,
      failures: [],
      aborted: false,
      resumed: false,
      remaining: 0,
    });
    expect(await storedPlaintexts(used.dataSource, Note)).toEqual(plaintexts);
    const after = await rawRows(used.dataSource, Note);
    const rest = (row: Record<string, unknown>) => ({ ...row, title: '', body: '', seal: '' });
    expect(after.map(rest)).toEqual(before.map(rest));
    for (const column of (await handle().status()).filter(({ entity }) => entity === 'Note')) {
      expect(column.keys.map(({ keyId }) => keyId)).toEqual([key.id]);
    }
  });

  it('writes nothing the second time', async () => {
    await insertNotes(4);
    await handle().keys.rotate();
    await handle().reencrypt();
    used.statements.clear();
    expect(await handle().reencrypt({ entities: [Note] })).toMatchObject({
      scanned: 4,
      changed: 0,
      skipped: 4,
    });
    // The count of uses is brought up to date with the keys.
    const writes = used.statements.writes().filter((sql) => !sql.includes('use_count'));
    expect(writes).toEqual([]);
  });

  it('walks composite primary keys page by page', async () => {
    const grades = used.dataSource.getRepository(Grade);
    for (const student of ['ada', 'bob', 'cyd']) {
      for (let course = 1; course <= 5; course++) {
        await grades.insert({ student, course, points: course / 4 });
      }
    }
    await handle().keys.rotate();
    expect(await handle().reencrypt({ entities: [Grade], batchSize: 4 })).toMatchObject({
      scanned: 15,
      changed: 15,
    });
    expect(await grades.findOneBy({ student: 'bob', course: 3 })).toMatchObject({ points: 0.75 });
  });

  it('counts and changes nothing in a dry run', async () => {
    await insertNotes(6);
    await handle().keys.rotate();
    const before = await rawRows(used.dataSource, Note);
    expect(await handle().reencrypt({ entities: [Note], dryRun: true })).toMatchObject({
      scanned: 6,
      changed: 6,
    });
    expect(await rawRows(used.dataSource, Note)).toEqual(before);
  });

  it('reports progress after every page and stops after the page in which it is aborted', async () => {
    await insertNotes(12);
    await handle().keys.rotate();
    const progress: RunProgress[] = [];
    const abort = new AbortController();
    const report = await handle().reencrypt({
      entities: [Note],
      batchSize: 5,
      signal: abort.signal,
      onProgress: (step) => {
        progress.push(step);
        if (step.scanned === 10) abort.abort();
      },
    });
    expect(report).toMatchObject({ scanned: 10, changed: 10, aborted: true });
    expect(progress).toEqual([
      { entity: 'Note', scanned: 5, total: 12, doneBefore: 0, changed: 5 },
      { entity: 'Note', scanned: 10, total: 12, doneBefore: 0, changed: 10 },
    ]);
    expect(await handle().reencrypt({ entities: [Note] })).toMatchObject({
      scanned: 12,
      changed: 2,
    });
  });

  it('leaves a row that does not decrypt as it is, names it, and goes on', async () => {
    await insertNotes(3);
    const [, damaged] = await notes().find({ order: { id: 'ASC' } });
    const table = tableName(used.dataSource.getMetadata(Note));
    const [first] = await rawRows(used.dataSource, Note);
    // A ciphertext of another column does not authenticate in this one.
    await used.dataSource.query(
      `UPDATE ${table} SET title = (SELECT body FROM ${table} b WHERE b.id = ${String(Number(first?.['id']) + 2)}) ` +
        `WHERE id = ${String(damaged?.id)}`,
    );
    const before = (await rawRows(used.dataSource, Note))[1];
    await handle().keys.rotate();
    const report = await handle().reencrypt({ entities: [Note] });
    expect(report).toMatchObject({
      scanned: 3,
      changed: 2,
      failed: 1,
      failures: [
        {
          entity: 'Note',
          property: 'title',
          primaryKey: [damaged?.id],
          code: 'ERR_DECRYPTION',
        },
      ],
    });
    expect((await rawRows(used.dataSource, Note))[1]).toEqual(before);
  });

  it('does not overwrite what another writer puts in between read and write', async () => {
    await insertNotes(2);
    await handle().keys.rotate();
    // The write of the page is preceded by another writer's: the swap must fail and be tried again.
    let interfered = false;
    const report = await handle().reencrypt({
      entities: [Note],
      pauseWhile: async () => {
        if (!interfered) await notes().update({ title: 'title 0' }, { title: 'written meanwhile' });
        interfered = true;
        return false;
      },
    });
    expect(report).toMatchObject({ scanned: 2, conflicts: 0, failed: 0, remaining: 0 });
    expect(await notes().countBy({ title: 'written meanwhile' })).toBe(1);
    expect(await notes().countBy({ title: 'title 1' })).toBe(1);
  });

  it('refuses entities without encrypted columns by name', async () => {
    const error = await rejection(handle().reencrypt({ entities: [Plain] }));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('Plain');
  });

  it('counts NULL, cleartext and each key version in status()', async () => {
    await insertNotes(8);
    const [first] = await handle()
      .keys.list()
      .then((keys) => keys.filter(({ state }) => state === 'active'));
    const second = await handle().keys.rotate();
    await insertNotes(1);
    const table = tableName(used.dataSource.getMetadata(Note));
    await used.dataSource.query(
      `UPDATE ${table} SET title = 'in clear' WHERE id = (SELECT MIN(id) FROM ${table})`,
    );
    const status = await handle().status();
    const of = (property: string) =>
      status.find((column) => column.entity === 'Note' && column.property === property);
    expect(of('title')).toEqual({
      entity: 'Note',
      property: 'title',
      table: used.dataSource.getMetadata(Note).tablePath,
      column: 'title',
      rows: 9,
      nullRows: 0,
      cleartextRows: 1,
      unboundRows: 0,
      scopes: null,
      keys: [
        {
          keyId: first?.id,
          name: 'default',
          version: first?.version,
          state: 'deactivated',
          rows: 7,
        },
        { keyId: second.id, name: 'default', version: second.version, state: 'active', rows: 1 },
      ],
    });
    expect(of('seal')).toMatchObject({ rows: 9, nullRows: 3, cleartextRows: 0 });
    expect(of('seal')?.keys.map(({ rows }) => rows)).toEqual([6]);
  });
});

describeEachDatabase('the handle', (database) => {
  const used = useEncryptedDatabase(database, { entities: [Note, Plain] });

  const handle = () => fieldEncryption(used.dataSource);

  it('gives tokens that hand-written SQL finds rows by', async () => {
    await used.dataSource.getRepository(Note).insert({ title: 'canary bird', body: null });
    const token = await handle().token(Note, 'title', 'canary bird');
    const found = await used.dataSource
      .getRepository(Note)
      .createQueryBuilder('n')
      .where('n.title_bidx = :token', { token })
      .getMany();
    expect(found.map(({ title }) => title)).toEqual(['canary bird']);
  });

  it('encrypts and decrypts arrays, naming bad elements by index', async () => {
    const { values, failures } = await handle().encryptValues(Note, 'title', ['a', 1, null, 'b']);
    expect(failures).toMatchObject([{ index: 1, error: { code: 'ERR_UNSUPPORTED_VALUE' } }]);
    expect(values[1]).toBeUndefined();
    expect(values[2]).toBeNull();

    const stored = [values[0], 'in clear', null, values[3]];
    const opened = await handle().decryptValues(Note, 'title', stored);
    expect(opened.values).toEqual(['a', undefined, null, 'b']);
    expect(opened.failures).toMatchObject([{ index: 1, error: { code: 'ERR_PLAINTEXT_FOUND' } }]);
  });

  it('throws for a single value what it reports for an array', async () => {
    await expect(handle().encryptValue(Note, 'title', 1)).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED_VALUE',
    });
    const stored = await handle().encryptValue(Note, 'title', 'secret');
    await expect(handle().decryptValue(Note, 'title', stored)).resolves.toBe('secret');
    await expect(handle().decryptValue(Note, 'body', stored)).rejects.toMatchObject({
      code: 'ERR_DECRYPTION',
    });
  });

  it.each([
    ['a plain property', () => handle().token(Note, 'views', 1), 'Note.views'],
    ['a property without a blind index', () => handle().token(Note, 'body', 1), 'Note.body'],
    ['an unknown index', () => handle().token(Note, 'title', 'x', 'phone'), '"phone"'],
    ['a plain entity', () => handle().decryptValue(Plain, 'text', 'x'), 'Plain.text'],
  ])('refuses %s by name', async (_, call, named) => {
    const error = await rejection(call);
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain(named);
  });
});
