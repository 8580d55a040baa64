import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { Encrypted, fieldEncryption } from '../../src';
import type { KeyInfo } from '../../src';
import { describePostgresAndSqlite } from '../support/databases';
import { openEncrypted } from '../support/encrypted-database';
import type { EncryptedDatabase } from '../support/encrypted-database';

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
}

const COPIED =
  'name, purpose, suite, kms, kek, wrapped_key, record_mac, state_mac, created_at, use_count, epoch, application';

describePostgresAndSqlite('Key rows that somebody made up', (database) => {
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
      await dataSource.query('DROP INDEX data_keys_one_active');
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
});
