import { Entity, PrimaryColumn } from 'typeorm';
import { Encrypted, fieldEncryption, KeyStateError } from '../../src';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { describeDiagonal } from '../support/databases';

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
  @Encrypted({ type: 'bytes', storage: 'binary', nullable: true }) scan!: Buffer | null;
}

describeDiagonal('Taking keys out of use', (database) => {
  const db = useEncryptedDatabase(
    database,
    { entities: [Note], poolSize: 1 },
    {
      keyPolicies: {
        '*': {
          owner: 'security',
          securityLevel: 'high',
          cryptoperiodDays: 365,
          retention: { kind: 'untilReencrypted' },
        },
      },
    },
  );

  async function activeId(): Promise<string> {
    const keys = await fieldEncryption(db.dataSource).keys.list();
    return keys.find(({ state }) => state === 'active')?.id ?? '';
  }

  beforeEach(async () => {
    const notes = db.dataSource.getRepository(Note);
    await notes.insert([
      { id: 1, text: 'canary one', scan: Buffer.from('canary') },
      { id: 2, text: 'canary two', scan: null },
    ]);
  });

  it('revokes the active key, plans the re-encryption, and destroys it afterwards with proof', async () => {
    const { keys } = fieldEncryption(db.dataSource);
    const id = await activeId();

    const { key, replacement, plan } = await keys.revoke(id);

    expect(key).toMatchObject({ state: 'compromised', owner: 'security', securityLevel: 'high' });
    expect(replacement?.expiresAt?.getTime()).toBe(
      (replacement?.activatedAt?.getTime() ?? 0) + 365 * 86_400_000,
    );
    expect(plan).toMatchObject([
      { property: 'text', rows: 2, rowsUnderKey: 2 },
      { property: 'scan', rows: 2, rowsUnderKey: 1 },
    ]);
    const refused = await keys.destroy(id, { graceMs: 0 }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(KeyStateError);
    expect(String(refused)).toContain('2 of Note.text, 1 of Note.scan');

    await fieldEncryption(db.dataSource).reencrypt();
    const proof = await keys.destroy(id, { graceMs: 0 });

    expect(proof).toMatchObject({ previousState: 'compromised', key: { state: 'destroyed' } });
    expect(proof.columns.map(({ rowsUnderKey }) => rowsUnderKey)).toEqual([0, 0]);
    const rows: unknown = await db.dataSource.query(
      `SELECT wrapped_key, state FROM data_keys WHERE id = '${id}'`,
    );
    expect(rows).toEqual([{ wrapped_key: '', state: 'destroyed' }]);
    expect(await db.dataSource.getRepository(Note).find({ order: { id: 'ASC' } })).toMatchObject([
      { text: 'canary one', scan: Buffer.from('canary') },
      { text: 'canary two', scan: null },
    ]);
  });

  it('stops writes at once under a key that is revoked without a replacement', async () => {
    const { keys } = fieldEncryption(db.dataSource);
    const notes = db.dataSource.getRepository(Note);
    const id = await activeId();
    await notes.find();
    await keys.revoke(id, { replace: false });

    const refused: unknown = await notes
      .insert({ id: 3, text: 'canary three', scan: null })
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(KeyStateError);
    expect(refused).toMatchObject({ retryable: false });
    expect(await notes.findOneBy({ id: 1 })).toMatchObject({ text: 'canary one' });
    await keys.rotate();
    await notes.insert({ id: 3, text: 'canary three', scan: null });
  });

  it('stops writes under a suspended key, and them alone, until it is resumed', async () => {
    const { keys } = fieldEncryption(db.dataSource);
    const notes = db.dataSource.getRepository(Note);
    const id = await activeId();
    expect(await keys.suspend(id)).toMatchObject({ state: 'suspended' });

    for (const write of [
      () => notes.insert({ id: 3, text: 'canary three', scan: null }),
      () => notes.save({ id: 1, text: 'canary changed' }),
      () => notes.update({ id: 1 }, { text: 'canary changed' }),
      () => fieldEncryption(db.dataSource).ready(),
    ]) {
      const error: unknown = await write().catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(KeyStateError);
      expect(error).toMatchObject({ keyId: id, retryable: false });
    }
    expect(await notes.findOneBy({ id: 1 })).toMatchObject({ text: 'canary one' });
    await notes.delete({ id: 2 });

    expect(await keys.resume(id)).toMatchObject({ state: 'active' });
    await notes.save({ id: 1, text: 'canary changed' });
    expect(await notes.find()).toMatchObject([{ id: 1, text: 'canary changed' }]);
    expect(await activeId()).toBe(id);
  });

  it('counts how often each key encrypted, and keeps the count when the DataSource is closed', async () => {
    const { keys } = fieldEncryption(db.dataSource);
    await keys.rotate();
    const listed = async (): Promise<number[]> =>
      (await keys.list()).map(({ useCount }) => useCount).slice(-2);
    const stored = async (): Promise<number[]> => {
      const rows: { uses: number | string }[] = await db.dataSource.query(
        'SELECT use_count AS uses FROM data_keys ORDER BY version',
      );
      return rows.map(({ uses }) => Number(uses)).slice(-2);
    };
    const [before = NaN] = await listed();
    await fieldEncryption(db.dataSource).reencrypt();
    expect(await listed()).toEqual([before, 3]);
    await keys.maintain({ dryRun: true });
    expect((await stored())[1]).toBe(0);
    await keys.maintain();
    expect(await stored()).toEqual([before, 3]);

    // A rollback takes back rows and not the uses of the key.
    await db.dataSource
      .transaction(async (manager) => {
        await manager.insert(Note, { id: 9, text: 'canary nine', scan: null });
        throw new Error('roll back');
      })
      .catch(() => undefined);
    await db.dataSource.destroy();
    await db.dataSource.initialize();
    expect(await stored()).toEqual([before, 4]);
  });

  it('destroys no key while rows name one that is not in the table: they may be of it', async () => {
    const { dataSource } = db;
    const { keys } = fieldEncryption(dataSource);
    const id = await activeId();
    await keys.rotate();
    await fieldEncryption(dataSource).reencrypt();
    const read = (): Promise<{ text: string }[]> =>
      dataSource.query('SELECT text FROM note WHERE id = 2');
    const [row] = await read();
    const text = row?.text ?? '';
    const damaged = `${text.slice(0, 5)}${text[5] === 'A' ? 'B' : 'A'}${text.slice(6)}`;
    await dataSource.query(`UPDATE note SET text = '${damaged}' WHERE id = 2`);

    const refused: unknown = await keys.destroy(id, { graceMs: 0 }).catch((e: unknown) => e);
    expect(refused).toBeInstanceOf(KeyStateError);
    expect(refused).toMatchObject({ keyId: id, retryable: false });
    expect(String(refused)).toMatch(/not in the key table: 1 of Note\.text\..*data verify/);
    expect(await keys.uses(id)).toMatchObject([
      { property: 'text', rowsUnderKey: 0, rowsUnderUnknownKeys: 1 },
      { property: 'scan', rowsUnderKey: 0, rowsUnderUnknownKeys: 0 },
    ]);
    const report = await keys.maintain({ graceMs: 0 });
    expect(report).toMatchObject({ destroyed: [], failures: [] });
    expect(report.stillNeeded.map((key) => key.id)).toContain(id);

    await dataSource.query(`UPDATE note SET text = '${text}' WHERE id = 2`);
    expect((await keys.destroy(id, { graceMs: 0 })).key.state).toBe('destroyed');
  });

  it('names a table that is missing, whether rows are counted or a key is to be destroyed', async () => {
    const { keys } = fieldEncryption(db.dataSource);
    const id = await activeId();
    await keys.rotate();
    await db.dataSource.query('ALTER TABLE note RENAME TO away');
    for (const refused of [() => keys.uses(id), () => keys.destroy(id, { graceMs: 0 })]) {
      await expect(refused()).rejects.toMatchObject({
        ...{
          code: 'ERR_CONFIGURATION',
          message: expect.stringMatching(/note.*migrations/) as string,
        },
      });
    }
    await db.dataSource.query('ALTER TABLE away RENAME TO note');
  });

  it('never destroys the active key', async () => {
    const { keys } = fieldEncryption(db.dataSource);
    await expect(keys.destroy(await activeId(), { graceMs: 0 })).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
    });
  });
});
