import { randomUUID } from 'node:crypto';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, KeyScope } from '../../src';
import type { ColumnStatus, ScopeCoverage } from '../../src';
import { encryptionState } from '../../src/doctor/encryption-state';
import { operatorTasks } from '../../src/doctor/operator-tasks';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeEachDatabase } from '../support/databases';
import { openEncrypted } from '../support/encrypted-database';
import type { EncryptedDatabase } from '../support/encrypted-database';

@Entity('letter')
class Letter {
  @PrimaryColumn('uuid') id: string = randomUUID();

  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;

  @Encrypted() text!: string;

  @Encrypted({ nullable: true, storage: 'binary' }) seal?: string | null;

  @Encrypted({ nullable: true, scope: false }) @BlindIndex() sender?: string | null;
}

/** The same table, as it was before its tenants had keys. */
@Entity('letter')
class Unscoped {
  @PrimaryColumn('uuid') id: string = randomUUID();

  @Column() tenantId!: number;

  @Encrypted({ id: 'Letter.text' }) text!: string;
}

function letter(tenantId: number, values: Partial<Letter> = {}): Letter {
  return Object.assign(
    new Letter(),
    { tenantId, text: 'canary text', seal: 'canary seal' },
    values,
  );
}

describeEachDatabase('The status of keys of scopes', (database) => {
  let opened: EncryptedDatabase;
  let dataSource: DataSource;
  let letters: Repository<Letter>;

  beforeEach(async () => {
    opened = await openEncrypted(database, {
      entities: [Letter],
      encryption: { legacyScope: ['Letter.text'] },
    });
    ({ dataSource } = opened);
    letters = dataSource.getRepository(Letter);
  });

  afterEach(() => opened.dispose());

  async function column(property: string): Promise<ColumnStatus | undefined> {
    const status = await fieldEncryption(dataSource).status();
    return status.find((each) => each.property === property);
  }

  async function due(): Promise<unknown> {
    const state = await encryptionState(installationOf(dataSource), { counted: true });
    return operatorTasks(state);
  }

  const totals = (values: Partial<ScopeCoverage>): ScopeCoverage => ({
    ...{ kind: 'tenant', activeRows: 0, olderRows: 0, erasedRows: 0, commonRows: 0, ...values },
  });

  it('counts rows under keys of scopes in totals, however many scopes there are', async () => {
    await letters.insert([1, 2, 3, 4].map((tenantId) => letter(tenantId)));
    await letters.insert(letter(4, { seal: null, sender: 'canary sender' }));
    const { keys, ...encryption } = { keys: fieldEncryption(dataSource).keys };
    await keys.rotateScope({ tenant: 1 });
    await keys.shred({ scope: { tenant: 2 }, reason: 'request 2', graceMs: 0 });
    const scopes = { activeRows: 3, olderRows: 1, erasedRows: 1 };
    expect(await column('text')).toMatchObject({
      ...{ rows: 5, nullRows: 0, cleartextRows: 0, keys: [], scopes: totals(scopes) },
    });
    expect(await column('seal')).toMatchObject({
      ...{ rows: 5, nullRows: 1, cleartextRows: 0, keys: [] },
      scopes: totals({ ...scopes, activeRows: 2 }),
    });
    expect(await column('sender')).toMatchObject({
      ...{ rows: 5, nullRows: 4, keys: [{ name: 'default', rows: 1 }], scopes: null },
    });
    expect(encryption).toEqual({});
    expect((await fieldEncryption(dataSource).status()).scopes).toEqual(
      expect.arrayContaining([
        { kind: 'tenant', state: 'active', scopes: 3 },
        { kind: 'tenant', state: 'erased', scopes: 1 },
      ]),
    );
    expect(await due()).toContainEqual({
      command: 'data reencrypt --entity Letter',
      reason: '1 value of Letter.text under an older key of their tenant',
    });
    expect(await fieldEncryption(dataSource).reencrypt()).toMatchObject({ changed: 1, erased: 1 });
    expect(await due()).toEqual([]);
    expect(await fieldEncryption(dataSource).verify()).toMatchObject({ failed: 0, erased: 1 });
  });
});
