import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { Encrypted, fieldEncryption } from '../../src';
import type { DataKeys, KeyInfo } from '../../src';
import { describeDiagonal } from '../support/databases';
import { openEncrypted } from '../support/encrypted-database';
import type { EncryptedDatabase } from '../support/encrypted-database';
import { rejection } from '../support/protected-database';
import { copyRows } from '../support/own-columns';
import { dropIndex } from '../support/sql-of';

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
}

const COPIED =
  'name, purpose, suite, kms, kek, wrapped_key, record_mac, state_mac, created_at, use_count, epoch, application';

describeDiagonal('Key rows that somebody made up', (database) => {
  let opened: EncryptedDatabase;
  beforeEach(async () => {
    opened = await openEncrypted(database, { entities: [Note] });
    await opened.dataSource.getRepository(Note).insert({ id: 1, text: 'canary' });
  });
  afterEach(() => opened.dispose());

  async function forge(
    dataSource: DataSource,
    version: number,
    state = 'deactivated',
  ): Promise<string> {
    const id = version.toString(16).padStart(16, 'f');
    await dataSource.query(
      `INSERT INTO data_keys (id, version, state, ${COPIED}) SELECT '${id}', ${String(version)}, ` +
        `'${state}', ${COPIED} FROM data_keys WHERE purpose = 'data' AND state = 'active'`,
    );
    return id;
  }

  async function active(): Promise<KeyInfo> {
    const keys = await fieldEncryption(opened.dataSource).keys.list();
    return keys.find(({ state, id }) => state === 'active' && !id.startsWith('ffff'))!;
  }

  it('keep no key from being rotated or revoked, whatever numbers they take', async () => {
    const { dataSource } = opened;
    const { keys } = fieldEncryption(dataSource);
    for (const version of [2 ** 20, 2 ** 20 + 1, 2 ** 20 + 3, 2 ** 31 - 1]) {
      await forge(dataSource, version);
    }
    const rotated = await keys.rotate();
    const { replacement } = await keys.revoke((await active()).id);
    expect(replacement).toMatchObject({ state: 'active' });
    const given = [rotated.version, replacement!.version];
    expect(new Set(given).size).toBe(2);
    await dataSource.getRepository(Note).insert({ id: 2, text: 'canary' });

    // Nor is a number given twice when the row that had it is gone.
    await dataSource.query(`DELETE FROM data_keys WHERE version = ${String(rotated.version)}`);
    expect(given).not.toContain((await keys.rotate()).version);
  });

  it.each(['the real one', 'the forged one'])(
    'keep no key from being revoked where two are active: %s',
    async (which) => {
      const { dataSource } = opened;
      const { keys } = fieldEncryption(dataSource);
      await dataSource.query(dropIndex(database, 'data_keys_one_active', 'data_keys'));
      const real = (await active()).id;
      const forged = await forge(dataSource, 9, 'active');
      const [first, second] = which === 'the real one' ? [real, forged] : [forged, real];
      expect(await keys.revoke(first)).toMatchObject({ key: { state: 'compromised' } });
      const { key, replacement } = await keys.revoke(second).catch(() =>
        // No row that opens is active any more, which looks like a wrong passphrase.
        keys.revoke(second, { replace: false }),
      );
      expect(key).toMatchObject({ state: 'compromised' });
      if (replacement === null) await keys.rotate();
      await dataSource.getRepository(Note).insert({ id: 2, text: 'canary' });
      expect(await dataSource.getRepository(Note).count()).toBe(2);
    },
  );

  describe('and of which one is there twice', () => {
    let id: string;

    beforeEach(async () => {
      const { dataSource } = opened;
      id = (await active()).id;
      // The copy of a table has neither its primary key nor its indexes.
      await dataSource.query('CREATE TABLE copied AS SELECT * FROM data_keys');
      await dataSource.query('DROP TABLE data_keys');
      await dataSource.query('ALTER TABLE copied RENAME TO data_keys');
      await dataSource.query(`${copyRows('data_keys', 'data_keys')} WHERE id = '${id}'`);
    });

    const statesOf = async (): Promise<string[]> => {
      const rows = await opened.dataSource.query<{ state: string }[]>(
        `SELECT state FROM data_keys WHERE id = '${id}'`,
      );
      return rows.map(({ state }) => state);
    };

    it.each([
      ['rotated', 'deactivated', (keys: DataKeys) => keys.rotate()],
      ['revoked', 'compromised', (keys: DataKeys) => keys.revoke(id)],
      [
        'revoked without a replacement',
        'compromised',
        (keys: DataKeys) => keys.revoke(id, { replace: false }),
      ],
      ['suspended', 'suspended', (keys: DataKeys) => keys.suspend(id)],
    ] as const)('keep no key from being %s', async (_what, state, takeAway) => {
      const { dataSource } = opened;
      const { keys } = fieldEncryption(dataSource);
      await takeAway(keys);
      expect(await statesOf()).toEqual([state, state]);
      const isReplaced = (await keys.list()).some((key) => key.state === 'active');
      if (!isReplaced) await keys.rotate();
      await dataSource.getRepository(Note).insert({ id: 2, text: 'canary' });
      expect((await active()).id).not.toBe(id);
      expect(await dataSource.getRepository(Note).count()).toBe(2);
    });

    it('are named by audit verify, and what is lost of the table by the doctor', async () => {
      const encryption = fieldEncryption(opened.dataSource);
      expect(await encryption.audit.verify()).toMatchObject({
        ok: false,
        unproven: [{ keyId: id, message: expect.stringContaining('several rows') as string }],
      });
      const lost = (await encryption.doctor()).filter(({ code }) => code === 'OWN_TABLE_UNGUARDED');
      expect(lost).toHaveLength(1);
      for (const what of ['primary key', 'purpose, name, version', 'purpose, name']) {
        expect(lost[0]?.message).toContain(what);
      }
    });
  });

  it('the doctor misses nothing of tables that are whole', async () => {
    const found = await fieldEncryption(opened.dataSource).doctor();
    expect(found.map(({ code }) => code)).not.toContain('OWN_TABLE_UNGUARDED');
  });

  // A trigger of MySQL cannot skip a row.
  const skipped = database.dialect === 'mysql' ? it.skip : it;
  skipped('names a trigger among what may keep a key from being changed', async () => {
    const { dataSource } = opened;
    const sql =
      database.dialect === 'postgres'
        ? [
            'CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$',
            'CREATE TRIGGER t BEFORE UPDATE ON data_keys FOR EACH ROW EXECUTE FUNCTION nothing()',
          ]
        : ['CREATE TRIGGER t BEFORE UPDATE ON data_keys BEGIN SELECT RAISE(IGNORE); END'];
    for (const each of sql) await dataSource.query(each);
    const { keys } = fieldEncryption(dataSource);
    const { id } = await active();
    for (const work of [() => keys.revoke(id), () => keys.suspend(id), () => keys.rotate()]) {
      const error = await rejection(work);
      expect(error).toMatchObject({ code: 'ERR_KEY_STATE' });
      expect(error.message).toMatch(/trigger on data_keys.*two rows of one id/);
    }
  });
});
