import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  KeyNotFoundError,
  KeyStateError,
} from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { CreateSigningKeys1764000008000 } from '../../migrations/1764000008000-create-signing-keys';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { FakeKms } from '../support/key-fixtures';
import { Cleanup, protect, rejection } from '../support/protected-database';

const LETTER = 'The patient may go home.';
const CONTEXT = { context: 'discharge letter' };

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
}

describeEachDatabase('Signing documents', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let kms: FakeKms;

  async function start(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    return cleanup.add(
      await protect(database, { kms, application: 'clinic', ...options }).initialize(),
    );
  }

  beforeEach(async () => {
    kms = new FakeKms();
    database = await cleanup.create(kind, { entities: [Note], synchronize: true });
    dataSource = await start();
  });
  afterEach(() => cleanup.run());

  const sign = (text = LETTER): Promise<string> => fieldEncryption(dataSource).sign(text, CONTEXT);
  const verify = (signature: string, text = LETTER, context = CONTEXT): Promise<boolean> =>
    fieldEncryption(dataSource).verifySignature(text, signature, context);
  const keys = (): ReturnType<typeof fieldEncryption>['keys'] => fieldEncryption(dataSource).keys;
  const idOf = (signature: string): string => signature.split('.')[1] ?? '';
  const states = async (): Promise<string[]> =>
    (await keys().publicKeys('documents')).map(({ state }) => state);
  const sql = (statement: string): Promise<unknown> => dataSource.query(statement);

  it('verifies what was signed, in its context alone', async () => {
    const signature = await sign();
    expect(signature).toMatch(/^fes1\.[0-9a-f]{16}\.[\w-]{86}$/);
    expect(await verify(signature)).toBe(true);
    expect(await fieldEncryption(dataSource).sign(Buffer.from(LETTER), CONTEXT)).toBe(signature);
    expect(await verify(signature, `${LETTER} `)).toBe(false);
    expect(await verify(signature, LETTER, { context: 'invoice' })).toBe(false);
    const changed = signature.replace(/.(?=.{3}$)/, (letter) => (letter === 'A' ? 'B' : 'A'));
    expect(await verify(changed)).toBe(false);
  });

  it('verifies in no other application', async () => {
    const signature = await sign();
    const other = await start({ application: 'other' });
    const verified = fieldEncryption(other).verifySignature(LETTER, signature, CONTEXT);
    expect(await verified.catch(() => false)).toBe(false);
  });

  it('refuses what is no signature, no context, and a key that is not there', async () => {
    const signature = await sign();
    const isThere = sign().then((text) => verify(`${text}A`));
    expect(await rejection(isThere)).toBeInstanceOf(ConfigurationError);
    for (const context of ['', 'x'.repeat(257), undefined as unknown as string]) {
      expect(await rejection(verify(signature, LETTER, { context }))).toBeInstanceOf(
        ConfigurationError,
      );
    }
    const unknown = signature.replace(idOf(signature), '0'.repeat(16));
    expect(await rejection(verify(unknown))).toBeInstanceOf(KeyNotFoundError);
    const [data] = await keys().list();
    const ofDataKey = signature.replace(idOf(signature), data?.id ?? '');
    expect(await rejection(verify(ofDataKey))).toBeInstanceOf(KeyNotFoundError);
  });

  it('loads the key for each signature, and keeps it apart from data keys', async () => {
    await sign();
    const before = kms.unwraps;
    await sign();
    await sign();
    expect(kms.unwraps).toBe(before + 2);
    expect((await keys().list()).map(({ purpose }) => purpose)).toEqual(['data']);
    const [entry] = (await fieldEncryption(dataSource).audit.list()).slice(-1);
    expect(entry).toMatchObject({
      operation: 'create',
      keyPurpose: 'signing',
      keyName: 'documents',
    });
    expect(await fieldEncryption(dataSource).audit.verify()).toMatchObject({ ok: true });
  });

  it('verifies by older versions after rotations, and by destroyed ones', async () => {
    const first = await sign();
    await keys().rotateSigning('documents');
    const second = await sign();
    await keys().rotateSigning('documents');
    expect(new Set([first, second, await sign()].map(idOf)).size).toBe(3);
    expect(await states()).toEqual(['deactivated', 'deactivated', 'active']);
    await keys().destroy(idOf(first), { graceMs: 0 });
    await keys().destroy(idOf(second), { graceMs: 0 });
    expect([await verify(first), await verify(second)]).toEqual([true, true]);
    expect(await verify(first, 'Another letter.')).toBe(false);
    expect(await states()).toEqual(['destroyed', 'destroyed', 'active']);
  });

  it('believes no row that says of a revoked key that it was destroyed', async () => {
    const first = await sign();
    await keys().rotateSigning('documents');
    await keys().revoke(idOf(first));
    expect(await rejection(verify(first))).toBeInstanceOf(KeyStateError);
    await sql(
      `UPDATE data_keys SET state = 'destroyed', compromised_at = NULL, destroyed_at = deactivated_at WHERE id = '${idOf(first)}'`,
    );
    expect(await rejection(verify(first))).toBeInstanceOf(KeyStateError);
    expect(await states()).toEqual(['active']);
  });

  it.each([
    ['a list', ['pay 9']],
    ['nothing', undefined],
    ['half a surrogate pair', 'd\ud800'],
  ])('signs no %s', async (_, document) => {
    const signed = fieldEncryption(dataSource).sign(document as string, CONTEXT);
    expect(await rejection(signed)).toMatchObject({ code: 'ERR_CONFIGURATION' });
    const context = { context: 'letter\udfff' };
    const inContext = fieldEncryption(dataSource).sign(LETTER, context);
    expect(await rejection(inContext)).toMatchObject({ code: 'ERR_CONFIGURATION' });
  });

  it('takes nothing of the table of public keys on trust', async () => {
    const first = await sign();
    await keys().rotateSigning('documents');
    const second = await sign();
    await keys().destroy(idOf(first), { graceMs: 0 });
    const other = 'A'.repeat(43);
    await sql(
      `UPDATE field_encryption_signing_keys SET public_key = '${other}' WHERE key_id = '${idOf(first)}'`,
    );
    expect(await rejection(verify(first))).toBeInstanceOf(KeyStateError);
    await sql(
      `UPDATE field_encryption_signing_keys SET public_key = '${other}', signs_previous = 'x'`,
    );
    expect(await verify(second)).toBe(true);
    expect(await rejection(verify(first))).toBeInstanceOf(KeyStateError);
  });

  it('trusts nothing that a revoked key signed, nor what it says of others', async () => {
    const first = await sign();
    await keys().rotateSigning('documents');
    const second = await sign();
    await keys().destroy(idOf(first), { graceMs: 0 });
    const report = await keys().revoke(idOf(second));
    expect(report).toMatchObject({ key: { state: 'compromised' }, replacement: null, plan: [] });
    expect((await rejection(verify(second))).message).toContain('was compromised');
    expect(await rejection(verify(first))).toBeInstanceOf(KeyStateError);
    expect((await rejection(sign())).message).toContain('keys rotate --signing documents');

    await keys().rotateSigning('documents');
    expect(await verify(await sign())).toBe(true);
    expect(await rejection(verify(first))).toBeInstanceOf(KeyStateError);
    const rows: { signed_by_previous: string }[] = await dataSource.query(
      'SELECT signed_by_previous FROM field_encryption_signing_keys ORDER BY version',
    );
    expect(rows.map((row) => row.signed_by_previous.length)).toEqual([0, 86, 0]);
    await keys().destroy(idOf(second), { graceMs: 0 });
    expect((await rejection(verify(second))).message).toContain('was compromised');
  });

  it('is not suspended', async () => {
    const signature = await sign();
    expect((await rejection(keys().suspend(idOf(signature)))).message).toContain('keys revoke');
  });

  it('wraps the keys again, backs them up and restores them', async () => {
    const signature = await sign();
    await keys().rotateSigning('documents');
    kms.kek = 'fake-kek/2';
    expect(await keys().rewrap({ force: true })).toMatchObject({ failures: [] });
    expect(await verify(signature)).toBe(true);
    const backupKms = new FakeKms();
    const { file } = await keys().backup({ kms: backupKms });
    const ids = (await keys().publicKeys('documents')).map(({ verifierKey }) => verifierKey);
    await sql("DELETE FROM data_keys WHERE purpose = 'signing'");
    expect(await rejection(verify(signature))).toBeInstanceOf(KeyNotFoundError);
    expect(await rejection(sign())).toBeInstanceOf(KeyNotFoundError);
    await keys().restore(file, { kms: backupKms });
    expect(await verify(signature)).toBe(true);
    expect((await keys().publicKeys('documents')).map((key) => key.verifierKey)).toEqual(ids);
  });

  it('makes one key where several processes sign first, and one version where they rotate', async () => {
    const processes = [dataSource, await start(), await start()];
    const signed = await Promise.all(
      processes.map((each) => fieldEncryption(each).sign(LETTER, CONTEXT)),
    );
    expect(new Set(signed).size).toBe(1);
    await Promise.all(
      processes.map((each) => fieldEncryption(each).keys.rotateSigning('documents')),
    );
    expect((await states()).filter((state) => state === 'active')).toHaveLength(1);
    expect(await verify(signed[0] ?? '')).toBe(true);
    expect(await fieldEncryption(dataSource).audit.verify()).toMatchObject({ ok: true });
  });

  it('works without its table until it signs', async () => {
    await sql('DROP TABLE field_encryption_signing_keys');
    await dataSource.getRepository(Note).insert({ id: 1, text: 'one' });
    expect(await keys().publicKeys('documents')).toEqual([]);
    const refused = await rejection(sign());
    expect(refused).toBeInstanceOf(ConfigurationError);
    expect(refused.message).toContain('CreateSigningKeys1764000008000');
    const findings = await fieldEncryption(dataSource).doctor();
    expect(findings.filter(({ code }) => code === 'OWN_TABLE_MISSING')).toHaveLength(1);

    const runner = dataSource.createQueryRunner();
    await new CreateSigningKeys1764000008000().up(runner);
    expect(await verify(await sign())).toBe(true);
    await expect(new CreateSigningKeys1764000008000().down(runner)).rejects.toThrow('public keys');
    await runner.release();
  });

  it('signs and verifies only for those who may', async () => {
    const limited = await start({ access: { levelOf: () => 0 } });
    const refused = await rejection(fieldEncryption(limited).sign(LETTER, CONTEXT));
    expect(refused).toMatchObject({ code: 'ERR_ACCESS_DENIED' });
  });

  it('counts no rows for a signing key', async () => {
    const signature = await sign();
    expect(await keys().uses(idOf(signature))).toEqual([]);
    expect(await installationOf(dataSource).keys.operations.listIndexRoots()).toEqual([]);
  });
});
