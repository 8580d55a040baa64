import { Entity, PrimaryColumn } from 'typeorm';
import { Encrypted, fieldEncryption, KeyStateError } from '../../src';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { describeEachDatabase } from '../support/databases';

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
  @Encrypted({ type: 'bytes', storage: 'binary', nullable: true }) scan!: Buffer | null;
}

describeEachDatabase('Taking keys out of use', (database) => {
  const db = useEncryptedDatabase(
    database,
    { entities: [Note], poolSize: 1 },
    { keyPolicies: { '*': { owner: 'security', securityLevel: 'high', cryptoperiodDays: 365 } } },
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
    const refused = await keys.destroy(id).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(KeyStateError);
    expect(String(refused)).toContain('2 of Note.text, 1 of Note.scan');

    await fieldEncryption(db.dataSource).reencrypt();
    const proof = await keys.destroy(id);

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

  it('never destroys the active key', async () => {
    const { keys } = fieldEncryption(db.dataSource);
    await expect(keys.destroy(await activeId())).rejects.toMatchObject({ code: 'ERR_KEY_STATE' });
  });
});
