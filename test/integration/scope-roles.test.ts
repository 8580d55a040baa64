import { Column, DataSource, Entity, PrimaryColumn } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  ErasedError,
  fieldEncryption,
  FieldEncryptionError,
  KeyScope,
  withFieldEncryption,
} from '../../src';
import { DATABASES, describeDatabases } from '../support/databases';
import { readPage } from '../support/documentation';
import { openEncrypted } from '../support/encrypted-database';
import { DatabaseRole } from '../support/database-role';
import { temporaryKms } from '../support/encrypted-database';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
  @Encrypted() @BlindIndex() ssn!: string;
  @Encrypted({ nullable: true }) @BlindIndex({ scope: false }) login?: string | null;
}

/** The rights that some text gives a role, in the form of PostgreSQL or of MySQL. */
function grantsIn(text: string, role: string): string[] {
  return [...text.matchAll(/^(GRANT .*) TO (\w+);$/gm)]
    .filter(([, , name]) => name === role)
    .map(([, grant]) => String(grant));
}

const OPERATIONS = readPage('docs/operations.md');
const OF_SCOPES = OPERATIONS.slice(OPERATIONS.indexOf('\nWith [keys of scopes]'));

/** SQLite has no roles. */
const KINDS = DATABASES.filter(({ dialect }) => dialect !== 'sqlite');

describeDatabases(KINDS, 'Roles with the rights of the documentation', (kind) => {
  const kek = temporaryKms();
  const encryption = { kms: kek.kms, application: 'clinic' };
  const disposals: (() => unknown)[] = [];

  afterEach(async () => {
    for (const each of disposals.splice(0).reverse()) await each();
  });
  afterAll(kek.dispose);

  /** What the pages give a role: that on MySQL has its own words for all but keys of scopes. */
  function grantsTo(role: string, owner: DataSource): string[] {
    if (kind.dialect === 'postgres') return grantsIn(OPERATIONS, role);
    const grants = grantsIn(readPage('docs/mysql.md'), role);
    expect(grants).not.toEqual([]);
    const database = String(owner.driver.database);
    return [
      ...grants.map((grant) => grant.replace('clinic.', `${database}.`)),
      ...grantsIn(OF_SCOPES, role),
    ];
  }

  async function asRole(owner: DataSource, grants: readonly string[]): Promise<DataSource> {
    const role = await DatabaseRole.create(owner, grants);
    disposals.push(() => role.drop());
    const dataSource = withFieldEncryption(new DataSource(role.options), encryption);
    disposals.push(() => (dataSource.isInitialized ? dataSource.destroy() : undefined));
    return dataSource.initialize();
  }

  it('are told which table of the application an erasure has to update', async () => {
    const { dataSource: owner, dispose } = await openEncrypted(
      kind,
      { entities: [Patient] },
      encryption,
    );
    disposals.push(dispose);
    await owner.manager.insert(Patient, { id: 1, tenantId: 7, ssn: 'canary', login: 'l' });
    const grants = grantsTo('operator', owner).filter((grant) => !/\bpatient\b/.test(grant));
    const operator = await asRole(owner, [...grants, 'GRANT SELECT ON patient']);
    const { keys } = fieldEncryption(operator);
    const erasing = keys.shred({ scope: { tenant: 7 }, reason: 'request 7', graceMs: 0 });
    await expect(erasing).rejects.toMatchObject({
      ...{ code: 'ERR_CONFIGURATION', entity: 'Patient', property: 'login' },
      message: expect.stringContaining('GRANT UPDATE ON patient') as string,
    });
    expect(await owner.manager.countBy(Patient, { tenantId: 7, ssn: 'canary' })).toBe(1);
  });

  it('write for new scopes, move rows, and erase', async () => {
    const { dataSource: owner, dispose } = await openEncrypted(
      kind,
      { entities: [Patient] },
      encryption,
    );
    disposals.push(dispose);
    await fieldEncryption(owner).keys.rotate('branch');
    const app = await asRole(owner, grantsTo('app', owner));
    const values = { tenantId: 7, ssn: 'canary', login: 'canary' };
    await app.manager.insert(Patient, { id: 1, ...values });
    expect(await app.manager.findOneBy(Patient, { tenantId: 7, ssn: 'canary' })).toMatchObject({
      id: 1,
    });
    await app.manager.update(Patient, { id: 1 }, { ssn: 'canary 2' });

    const operator = fieldEncryption(await asRole(owner, grantsTo('operator', owner)));
    const scope = { tenant: 7 };
    await operator.keys.rotateScope(scope);
    const runner = fieldEncryption(await asRole(owner, grantsTo('runner', owner)));
    expect(await runner.reencrypt()).toMatchObject({ changed: 1, failed: 0 });
    await expect(
      fieldEncryption(app).keys.shred({ scope, reason: 'r', graceMs: 0 }),
    ).rejects.toBeInstanceOf(FieldEncryptionError);
    await operator.keys.hold({ scope, reason: 'case 1' });
    await operator.keys.release({ scope, reason: 'case 1' });
    const erasure = await operator.keys.shred({ scope, reason: 'r', graceMs: 0 });
    expect(erasure).toMatchObject({ state: 'erased' });
    const reader = await asRole(owner, grantsTo('app', owner));
    await expect(reader.manager.findOneBy(Patient, { id: 1 })).rejects.toBeInstanceOf(ErasedError);
  });
});
