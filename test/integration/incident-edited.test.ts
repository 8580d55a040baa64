import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  KeyScope,
  KeyStateError,
} from '../../src';
import type { FieldEncryptionOptions, IncidentOptions, Incidents } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { FakeKms } from '../support/key-fixtures';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity('edited_patient')
class Patient {
  @PrimaryColumn() id!: number;
  @Encrypted() note!: string;
  @Encrypted({ key: 'contact' }) @BlindIndex() email!: string;
}

@Entity('edited_person')
class Person {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenant!: string;
  @Encrypted() ssn!: string;
}

const AT_ONCE = { graceMs: 0 } as const;
const reason = 'seen in a paste';

jest.setTimeout(120_000);

/** By somebody who can write to the database, and reaches no KMS. */
describeDiagonal('An incident of which key table and log are edited', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let kms: FakeKms;

  const open = async (options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> =>
    cleanup.add(await protect(database, { kms, application: 'clinic', ...options }).initialize());
  const incidents = (of = dataSource): Incidents => fieldEncryption(of).incidents;
  const escaped = (name: string): string => dataSource.driver.escape(name);
  const keyTable = (): string => escaped('data_keys');
  const auditTable = (): string => escaped('field_encryption_audit');
  const ofKey = (id: string) => ({ kind: 'key', target: id, reason }) as const;
  const until =
    (last: string): NonNullable<IncidentOptions['confirm']> =>
    ({ step }) =>
      step !== last;

  async function activeKey(name = 'default'): Promise<string> {
    const keys = await fieldEncryption(dataSource).keys.list();
    return keys.find((key) => key.name === name && key.state === 'active')!.id;
  }

  beforeEach(async () => {
    kms = new FakeKms();
    database = await cleanup.create(kind, { entities: [Patient, Person], synchronize: true });
    dataSource = await open();
    const ids = Array.from({ length: 10 }, (_, id) => id);
    await dataSource
      .getRepository(Patient)
      .insert(ids.map((id) => ({ id, note: 'canary', email: `canary ${String(id)}` })));
    await dataSource
      .getRepository(Person)
      .insert(ids.map((id) => ({ id, tenant: `t${String(id % 2)}`, ssn: 'canary' })));
  });
  afterEach(() => cleanup.run());

  it.each([
    ['looks destroyed', `state = 'destroyed'`],
    ['looks like one for signatures', `purpose = 'signing'`],
    ['looks like that of the log', `purpose = 'audit', version = 9`],
    ['looks deactivated', `state = 'deactivated'`],
    ['has another name', `name = 'other'`],
  ])('destroys and closes nothing for a key that %s', async (_title, edit) => {
    const id = await activeKey();
    const begun = await incidents().start(ofKey(id), { ...AT_ONCE, confirm: until('destroy') });
    expect(begun.wait).toMatchObject({ step: 'destroy', cause: 'confirmation' });
    const where = `WHERE id = '${id}'`;
    const [row] = await dataSource.query(
      `SELECT state, purpose, name, version FROM ${keyTable()} ${where}`,
    );
    await dataSource.query(`UPDATE ${keyTable()} SET ${edit} ${where}`);

    const process = await open();
    const refused = await rejection(incidents(process).resume(begun.incident.id, AT_ONCE));
    expect(refused).toBeInstanceOf(KeyStateError);
    expect(refused.message).toMatch(new RegExp(`key ${id} is missing, or is not what`));
    const [status] = await incidents(process).status();
    expect(status).toMatchObject({ closed: null, fault: refused.message });

    const back = ['state', 'purpose', 'name', 'version']
      .map((cell) => `${cell} = '${row[cell]}'`)
      .join();
    await dataSource.query(`UPDATE ${keyTable()} SET ${back} ${where}`);
    const { incident, wait } = await incidents(process).resume(begun.incident.id, AT_ONCE);
    expect(wait).toBeNull();
    expect(incident).toMatchObject({ fault: null, keys: [{ id, state: 'destroyed' }] });
  });

  it('goes by no name that a revocation has found in an edited row', async () => {
    const id = await activeKey();
    const begun = await incidents().start(ofKey(id), { ...AT_ONCE, confirm: until('replace') });
    const where = `WHERE id = '${id}'`;
    // Kept for what it has signed: it would not be destroyed.
    await dataSource.query(`UPDATE ${keyTable()} SET purpose = 'signing' ${where}`);
    const process = await open();
    await fieldEncryption(process).keys.revoke(id, { replace: false });
    const refused = await rejection(incidents(process).resume(begun.incident.id, AT_ONCE));
    expect(refused).toBeInstanceOf(KeyStateError);
    expect(refused.message).toContain(id);
  });

  it('closes nothing for a key whose row is deleted', async () => {
    const id = await activeKey();
    const begun = await incidents().start(ofKey(id), { ...AT_ONCE, confirm: until('destroy') });
    await dataSource.query(`DELETE FROM ${keyTable()} WHERE id = '${id}'`);
    const process = await open();
    const refused = await rejection(incidents(process).resume(begun.incident.id, AT_ONCE));
    expect(refused).toBeInstanceOf(KeyStateError);
    const [status] = await incidents(process).status();
    expect(status).toMatchObject({ closed: null, fault: expect.stringContaining(id), keys: [] });
  });

  it('leaves no key of a KEK out that hides under another name', async () => {
    const id = await activeKey();
    const start = { kind: 'kek', target: 'fake-kek/1', reason } as const;
    const confirm = until('replace');
    kms.kek = 'fake-kek/2';
    const where = `WHERE id = '${id}'`;
    for (const [edit, back] of [
      [`kek = 'fake-kek/9'`, `kek = 'fake-kek/1'`],
      [`purpose = 'audit', name = 'x'`, `purpose = 'data', name = 'default'`],
    ]) {
      await dataSource.query(`UPDATE ${keyTable()} SET ${edit} ${where}`);
      const process = await open();
      const refused = await rejection(incidents(process).start(start, { confirm }));
      expect(refused).toBeInstanceOf(KeyStateError);
      expect(refused.message).toContain(id);
      expect(await incidents(process).status()).toEqual([]);
      await dataSource.query(`UPDATE ${keyTable()} SET ${back} ${where}`);
    }
    const { incident } = await incidents().start(start, { confirm });
    expect(incident.keys.map((key) => key.id)).toContain(id);
  });

  it('takes every key for one of the KEK where the log was edited', async () => {
    const id = await activeKey();
    kms.kek = 'fake-kek/2';
    await fieldEncryption(dataSource).keys.rewrap();
    // What the KEK has wrapped before is in the log alone.
    await dataSource.query(
      `UPDATE ${auditTable()} SET kek = 'fake-kek/2' WHERE key_id = '${id}' AND operation = 'create'`,
    );
    const { incident } = await incidents().start(
      { kind: 'kek', target: 'fake-kek/1', reason },
      { confirm: until('replace') },
    );
    expect(incident.exposed).toMatchObject({ keys: 4, brokenLog: 1 });
    expect(incident.keys.map((key) => key.id)).toContain(id);
  });

  it('lets the incident of a KEK begin while one about a key of it is open', async () => {
    const first = await incidents().start(ofKey(await activeKey()));
    expect(first.wait).toMatchObject({ step: 'destroy' });
    kms.kek = 'fake-kek/2';
    const kek = { kind: 'kek', target: 'fake/fake-kek/1', reason } as const;
    const { incident, wait } = await incidents().start(kek, AT_ONCE);
    expect(wait).toMatchObject({ step: 'replace', cause: 'announcement' });
    // The replacement of the first was made under it, too.
    expect(incident.exposed).toMatchObject({ keys: 5 });
    const again = await rejection(incidents().start(kek, AT_ONCE));
    expect(again.message).toContain(incident.id);
  });

  it('refuses a KEK that the KMS of a scope still uses', async () => {
    const own = new FakeKms('bank');
    own.kek = 'bank-kek/1';
    const kmsOf = (scope?: { readonly id: string }): FakeKms => (scope?.id === 't1' ? own : kms);
    dataSource = await open({ kms: kmsOf as never });
    await fieldEncryption(dataSource).keys.rotate('branch');
    await dataSource.getRepository(Person).insert({ id: 100, tenant: 't1', ssn: 'canary' });
    const target = { kind: 'kek', target: 'bank/bank-kek/1', reason } as const;
    const refused = await rejection(incidents().start(target, AT_ONCE));
    expect(refused).toBeInstanceOf(ConfigurationError);
    expect(refused.message).toContain('kms "bank" still wraps new keys of "branch:');
    own.kek = 'bank-kek/2';
    const { incident, wait } = await incidents().start(target, AT_ONCE);
    expect(wait).toBeNull();
    expect(incident.keys).toMatchObject([{ state: 'destroyed' }]);
    const fresh = await open({ kms: kmsOf as never });
    const found = await fresh.getRepository(Person).findOneByOrFail({ id: 100 });
    expect(found.ssn).toBe('canary');
  });

  it('refuses a branch where no entity has keys of scopes', async () => {
    const without = cleanup.add(
      await protect(database, { kms, application: 'clinic' }, { entities: [Patient] }).initialize(),
    );
    const branch = { kind: 'branch', target: 'branch', reason } as const;
    const refused = await rejection(incidents(without).start(branch, AT_ONCE));
    expect(refused).toBeInstanceOf(ConfigurationError);
    expect(refused.message).toContain('Nothing was changed');
  });

  it('leads on though a lead was marked as done', async () => {
    const id = await activeKey();
    const begun = await incidents().start(ofKey(id), { ...AT_ONCE, confirm: until('verify') });
    await dataSource.query(`UPDATE ${escaped('field_encryption_ranges')} SET done = 1`);
    const { wait } = await incidents().resume(begun.incident.id, AT_ONCE);
    expect(wait).toBeNull();
  });

  it('keeps the log whole whatever names and waits it is given', async () => {
    // Cut after 64 characters, half of a pair would be left.
    dataSource = await open({ audit: { actor: `${'x'.repeat(63)}😀 on call` } });
    const id = await activeKey();
    const start = (given: object, options: object): Promise<unknown> =>
      incidents().start({ ...ofKey(id), ...given }, options);
    for (const wrong of [
      [{}, { graceMs: Infinity }],
      [{}, { graceMs: -1 }],
      [{}, { announceMs: 0.5 }],
      [{}, { confirm: 'yes' }],
      [{}, { grace: 1 }],
      [{ reason: '\u200d\ufe0f'.repeat(40) }, {}],
    ] as const) {
      const [given, options] = wrong;
      expect(await rejection(start(given, options))).toBeInstanceOf(ConfigurationError);
    }
    expect(await incidents().status()).toEqual([]);
    const { incident, wait } = await incidents().start(
      { ...ofKey(id), reason: 'written \u202edrawkcab' },
      { graceMs: Number.MAX_SAFE_INTEGER },
    );
    expect(wait).toMatchObject({ cause: 'grace', until: new Date(8.64e15) });
    expect(incident.reason).toBe('written  drawkcab');
    expect((await incidents().resume(incident.id, AT_ONCE)).wait).toBeNull();
    expect(await fieldEncryption(dataSource).audit.verify()).toMatchObject({ ok: true });
  });
});
