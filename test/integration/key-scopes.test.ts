import { randomUUID } from 'node:crypto';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';
import {
  ALL_SCOPES,
  BlindIndex,
  ConfigurationError,
  Encrypted,
  ErasedError,
  fieldEncryption,
  FieldEncryptionError,
  KeyScope,
  MissingScopeError,
  ScopeMismatchError,
  withKeyScope,
} from '../../src';
import { describeEachDatabase } from '../support/databases';
import { openEncrypted, useEncryptedDatabase } from '../support/encrypted-database';
import type { EncryptedDatabase } from '../support/encrypted-database';
import { sqlOf } from '../support/sql-of';

@Entity()
class Patient {
  @PrimaryColumn('uuid') id: string = randomUUID();

  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;

  @Encrypted()
  @BlindIndex({ normalize: 'email', uniqueWith: ['tenantId'] })
  email!: string;

  @Encrypted({ nullable: true }) ssn?: string | null;

  @Encrypted({ nullable: true, scope: false }) @BlindIndex() login?: string | null;

  @Column({ nullable: true }) ward?: string;
}

function patient(values: Partial<Patient>): Patient {
  const secret = { email: 'ada-canary@example.org', ssn: 'canary 1' };
  return Object.assign(new Patient(), { tenantId: 7, ...secret, ...values });
}

describeEachDatabase('Keys of scopes', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Patient] });
  let dataSource: DataSource;
  let patients: Repository<Patient>;

  beforeEach(() => {
    ({ dataSource } = opened);
    patients = dataSource.getRepository(Patient);
  });

  async function cell(column: string, id: string): Promise<unknown> {
    const rows: { cell: unknown }[] = await dataSource.query(
      sqlOf(database, `SELECT "${column}" AS cell FROM patient WHERE id = $1`),
      [id],
    );
    return rows[0]?.cell;
  }

  async function put(column: string, id: string, stored: unknown): Promise<void> {
    await dataSource.query(sqlOf(database, `UPDATE patient SET "${column}" = $1 WHERE id = $2`), [
      stored,
      id,
    ]);
  }

  /** One row of each of two tenants. */
  async function two(): Promise<[Patient, Patient]> {
    const ada = patient({ login: 'canary-login' });
    const bob = patient({ tenantId: 8, ssn: 'canary 2' });
    await patients.insert([ada, bob]);
    return [ada, bob];
  }

  it('encrypt the rows of each scope under a key of its own', async () => {
    const [ada, bob] = await two();
    const prefixes = [ada, bob].map(async ({ id }) => String(await cell('ssn', id)).slice(0, 12));
    const [first, second] = await Promise.all(prefixes);
    expect(first).not.toBe(second);
    expect(await patients.find({ order: { tenantId: 'ASC' } })).toMatchObject([
      { tenantId: 7, ssn: 'canary 1', login: 'canary-login' },
      { tenantId: 8, ssn: 'canary 2' },
    ]);
    const names = (await fieldEncryption(dataSource).keys.list()).map(({ name }) => name);
    expect(names.sort()).toEqual(['branch', 'default']);
  });

  it('are used by every way to write', async () => {
    const saved = await patients.save(patient({}));
    await patients.save({ id: saved.id, ssn: 'canary 3' });
    expect(await patients.findOneByOrFail({ id: saved.id })).toMatchObject({ ssn: 'canary 3' });
    await patients.update({ id: saved.id, tenantId: 7 }, { ssn: 'canary 4' });
    expect(await patients.findOneByOrFail({ id: saved.id })).toMatchObject({ ssn: 'canary 4' });
    await patients
      .upsert(patient({ id: saved.id, ssn: 'canary 5' }), ['id', 'tenantId'])
      .catch(() => undefined);
    await dataSource.transaction(async (manager) => {
      await manager.save(patient({ tenantId: 99, ssn: 'canary 9' }));
      expect(await manager.findBy(Patient, { tenantId: 99 })).toMatchObject([{ ssn: 'canary 9' }]);
    });
    expect(await patients.findBy({ tenantId: 99 })).toMatchObject([{ ssn: 'canary 9' }]);
  });

  it('are forgotten when the transaction that made them rolls back', async () => {
    const failing = dataSource.transaction(async (manager) => {
      await manager.insert(Patient, patient({ tenantId: 50 }));
      throw new Error('rolled back');
    });
    await expect(failing).rejects.toThrow('rolled back');
    const again = patient({ tenantId: 50, ssn: 'canary 50' });
    await patients.insert(again);
    expect(await patients.findOneByOrFail({ id: again.id })).toMatchObject({ ssn: 'canary 50' });
  });

  it('look rows up within the scope of the condition or the context', async () => {
    const [ada, bob] = await two();
    const { email } = ada;
    expect(await patients.findOneBy({ tenantId: 8, email })).toMatchObject({ id: bob.id });
    expect(await patients.findOneBy({ email, tenantId: 7 })).toMatchObject({ id: ada.id });
    await withKeyScope({ tenant: 7 }, async () => {
      expect(await patients.findBy({ email })).toMatchObject([{ id: ada.id }]);
    });
    await expect(patients.findBy({ email })).rejects.toBeInstanceOf(MissingScopeError);
    expect(await patients.findOneBy({ login: 'canary-login' })).toMatchObject({ id: ada.id });
    const query = patients.createQueryBuilder('p').where({ tenantId: 8 }).andWhere({ email });
    expect(await query.getMany()).toMatchObject([{ id: bob.id }]);
  });

  it('keep rows of another scope from being read in a context', async () => {
    await two();
    await withKeyScope(7, async () => {
      expect(await patients.findBy({ tenantId: 7 })).toHaveLength(1);
      await expect(patients.find()).rejects.toBeInstanceOf(ScopeMismatchError);
      await expect(patients.insert(patient({ tenantId: 8 }))).rejects.toBeInstanceOf(
        ScopeMismatchError,
      );
    });
    await withKeyScope(ALL_SCOPES, async () => expect(await patients.find()).toHaveLength(2));
  });

  it('refuse a value that was copied from a row of another scope', async () => {
    const [ada, bob] = await two();
    await put('ssn', bob.id, await cell('ssn', ada.id));
    await expect(patients.findOneBy({ id: bob.id })).rejects.toBeInstanceOf(ScopeMismatchError);
  });

  it('are rotated for one scope, and its rows moved by a run, whatever the context', async () => {
    const [ada, bob] = await two();
    const before = [await cell('ssn', ada.id), await cell('ssn', bob.id)];
    const encryption = fieldEncryption(dataSource);
    await encryption.keys.rotateScope({ tenant: 7 });
    expect(await encryption.reencrypt()).toMatchObject({ scanned: 2, changed: 1, failed: 0 });
    expect(await cell('ssn', bob.id)).toBe(before[1]);
    expect(await cell('ssn', ada.id)).not.toBe(before[0]);
    expect(await encryption.verify()).toMatchObject({ scanned: 2, failed: 0 });
    expect(await encryption.reindex()).toMatchObject({ failed: 0 });
    expect(await encryption.reencrypt()).toMatchObject({ changed: 0 });
    expect(await patients.findOneBy({ tenantId: 7, email: ada.email })).toMatchObject({
      ssn: 'canary 1',
    });
  });

  it('encrypt values of a purpose, each for the scope of the context', async () => {
    const jobs = fieldEncryption(dataSource).value('jobs', { scope: 'tenant' });
    const stored = await withKeyScope({ tenant: 7 }, () => jobs.encrypt('canary job'));
    expect(await withKeyScope({ tenant: 7 }, () => jobs.decrypt(stored))).toBe('canary job');
    expect(await withKeyScope(ALL_SCOPES, () => jobs.decrypt(stored))).toBe('canary job');
    await expect(withKeyScope({ tenant: 8 }, () => jobs.decrypt(stored))).rejects.toThrow(
      ScopeMismatchError,
    );
    await expect(jobs.encrypt('canary job')).rejects.toThrow(MissingScopeError);
    await expect(jobs.token('canary job')).rejects.toThrow(MissingScopeError);
    const [mine, again, other] = await Promise.all(
      [7, 7, 8].map((tenant) => withKeyScope({ tenant }, () => jobs.token('canary job'))),
    );
    expect(again).toBe(mine);
    expect(other).not.toBe(mine);

    const common = fieldEncryption(dataSource).value('jobs');
    await expect(common.decrypt(stored)).rejects.toBeInstanceOf(FieldEncryptionError);
    const commons = jobs.decrypt(await common.encrypt('x'));
    await expect(commons).rejects.toBeInstanceOf(FieldEncryptionError);
    const unknown = fieldEncryption(dataSource).value('jobs', { scope: 'tenent' });
    await expect(unknown.encrypt('x')).rejects.toThrow(ConfigurationError);

    const { keys } = fieldEncryption(dataSource);
    await keys.shred({ scope: { tenant: 7 }, reason: 'r', graceMs: 0 });
    const erased = withKeyScope({ tenant: 7 }, () => jobs.decrypt(stored));
    await expect(erased).rejects.toThrow(ErasedError);
  });
});

describeEachDatabase('The erasure of a scope', (database) => {
  let opened: EncryptedDatabase;
  let dataSource: DataSource;
  let patients: Repository<Patient>;

  beforeEach(async () => {
    opened = await openEncrypted(database, { entities: [Patient] });
    ({ dataSource } = opened);
    patients = dataSource.getRepository(Patient);
  });

  afterEach(async () => {
    await opened.dispose();
  });

  it('erases all of its values, and of no other', async () => {
    const ada = patient({ login: 'canary-login' });
    const bob = patient({ tenantId: 8, ssn: 'canary 2' });
    await patients.insert([ada, bob]);
    const { keys, audit } = fieldEncryption(dataSource);
    const erasure = await keys.shred({ scope: { tenant: 7 }, reason: 'request 1', graceMs: 0 });
    if (erasure.state !== 'erased') throw new Error('not erased');
    expect(erasure.receipt.columns).toContainEqual({
      entity: 'Patient',
      property: 'ssn',
      rows: 1,
      tokens: [],
    });
    expect(await keys.isRecorded(erasure.receipt)).toBe(true);
    expect(await keys.isRecorded({ ...erasure.receipt, keyIds: [] })).toBe(false);
    expect(await audit.verify()).toMatchObject({ ok: true });
    await expect(patients.findOneBy({ id: ada.id })).rejects.toBeInstanceOf(ErasedError);
    await expect(patients.insert(patient({}))).rejects.toBeInstanceOf(ErasedError);
    expect(await patients.findOneBy({ id: bob.id })).toMatchObject({ ssn: 'canary 2' });
    expect(await fieldEncryption(dataSource).verify()).toMatchObject({ scanned: 2, failed: 0 });
  });

  it('waits until every process has noticed, and can be cancelled or forbidden till then', async () => {
    await patients.insert(patient({}));
    const { keys } = fieldEncryption(dataSource);
    const scope = { tenant: 7 };
    await keys.hold({ scope, reason: 'case 1' });
    await expect(keys.shred({ scope, reason: 'request 1' })).rejects.toMatchObject({
      code: 'ERR_KEY_STATE',
    });
    await keys.release({ scope, reason: 'case 1 closed' });
    expect(await keys.shred({ scope, reason: 'request 1' })).toMatchObject({ state: 'requested' });
    await expect(patients.insert(patient({ email: 'b-canary@x.org' }))).rejects.toBeInstanceOf(
      ErasedError,
    );
    expect(await patients.find()).toMatchObject([{ ssn: 'canary 1' }]);
    await keys.cancelShred({ scope, reason: 'a mistake' });
    await patients.insert(patient({ email: 'b-canary@x.org' }));
    expect(await patients.find()).toHaveLength(2);
  });
});
