import { randomBytes } from 'node:crypto';
import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  fieldEncryption,
  KeyStateError,
  KeyUnwrapError,
  UnauthenticatedKeyError,
} from '../../src';
import type { FieldEncryptionOptions, KeyEvent, KmsProvider } from '../../src';
import { AuditSeal } from '../../src/audit/audit-log';
import { hkdfSha256, hmacKey } from '../../src/crypto/hmac';
import { LABELS } from '../../src/crypto/labels';
import { lengthPrefixed } from '../../src/encoding/length-prefixed';
import { encodeKeys, withoutWrapping, sealBackup } from '../../src/keys/backup/backup-file';
import { checkValueOf } from '../../src/keys/backup/backup-key';
import type { KeyRecord } from '../../src/keys/record/key-record';
import type { AzureKmsOptions } from '../../src/kms/azure';
import { azureKms } from '../../src/kms/azure';
import { failoverKms } from '../../src/kms/failover';
import { serialize } from '../../src/kms/failover/wrapped-form';
import { FieldCipher } from '../../src/field/field-cipher';
import { installationOf } from '../../src/typeorm/installation/installations';
import { TypeormAuditStore } from '../../src/typeorm/tables/typeorm-audit-store';
import { ACCESS_TOKEN, AzureDouble } from '../support/azure-double';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { azureBeforeSignatures, forgedRecord, wrapWithPublicKey } from '../support/key-forger';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';
import { staticKey, StaticKeySource } from '../support/static-key-source';

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @Encrypted({ nullable: true, type: 'string' }) text!: string | null;
}

@Entity()
class Contact {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() email!: string;
}

const double = new AzureDouble();
const kek = double.makeKey('RSA');
const credential = {
  getToken: () =>
    Promise.resolve({ token: ACCESS_TOKEN, expiresOnTimestamp: Date.now() + 3_600_000 }),
};

const azure = (options: Partial<AzureKmsOptions> = {}): KmsProvider =>
  azureKms({
    keyId: double.keyId(kek),
    credential,
    clientOptions: {
      tlsOptions: { ca: double.certificate.cert },
      disableChallengeResourceVerification: true,
    },
    ...options,
  });
const before = (): KmsProvider => azureBeforeSignatures(double, kek, azure());

jest.setTimeout(60_000);
beforeAll(() => double.http.start());
afterAll(() => double.http.stop());

describeDiagonal('With a KEK whose public key somebody has', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Note, Contact], synchronize: true });
  });
  afterEach(() => cleanup.run());

  async function connect(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    const connected = cleanup.add(protect(database, { kms: azure(), ...options }));
    await connected.initialize();
    return connected;
  }

  const store = () => installationOf(dataSource).store;
  const notes = () => dataSource.getRepository(Note);
  const contacts = () => dataSource.getRepository(Contact);
  const keysOf = () => fieldEncryption(dataSource).keys;
  const verify = () => fieldEncryption(dataSource).audit.verify();

  async function fill(connected: DataSource): Promise<void> {
    await connected.getRepository(Note).insert({ id: 1, text: 'one' });
    await connected.getRepository(Contact).insert({ id: 1, email: 'ada@example.org' });
  }

  async function rowOf(purpose: string, version = 1): Promise<KeyRecord> {
    const records = await store().list();
    return records.find((record) => record.purpose === purpose && record.version === version)!;
  }

  /** Puts a row into the table in the place of another, past the library. */
  async function replace({ id }: KeyRecord, record: KeyRecord): Promise<void> {
    await dataSource.query(`DELETE FROM data_keys WHERE id = '${id}'`);
    await plant(record);
  }

  async function plant(record: KeyRecord): Promise<void> {
    expect(await store().apply([{ type: 'insert', record }])).toBe(true);
  }

  async function expectRefusal(work: () => Promise<unknown>, keyId: string): Promise<void> {
    const error = await rejection(work);
    expect(error).toBeInstanceOf(UnauthenticatedKeyError);
    expect(error).toMatchObject({ code: 'ERR_KEY_UNAUTHENTICATED', keyId, retryable: false });
    expect(error.message).toContain(`field-encryption keys adopt ${keyId}`);
  }

  describe('a database from before the library signed what it wraps', () => {
    let ids: Record<'audit' | 'data' | 'index', string>;

    beforeEach(async () => {
      const old = await connect({ kms: before() });
      await fill(old);
      await old.destroy();
      dataSource = await connect();
      ids = {
        audit: (await rowOf('audit')).id,
        data: (await rowOf('data')).id,
        index: (await rowOf('index')).id,
      };
    });

    it('can be read, and nothing is protected with its keys', async () => {
      const rows = await store().list();
      expect(await notes().find()).toEqual([{ id: 1, text: 'one' }]);
      expect(await contacts().findOneBy({ id: 1 })).toMatchObject({ email: 'ada@example.org' });

      await expectRefusal(() => notes().insert({ id: 2, text: 'two' }), ids.data);
      await expectRefusal(() => notes().update(1, { text: 'two' }), ids.data);
      await expectRefusal(() => contacts().findOneBy({ email: 'ada@example.org' }), ids.index);
      await expectRefusal(() => fieldEncryption(dataSource).ready(), ids.data);
      await expectRefusal(() => keysOf().rotate(), ids.audit);
      await expectRefusal(() => keysOf().suspend(ids.data), ids.audit);

      expect(await store().list()).toEqual(rows);
      expect(await notes().find()).toEqual([{ id: 1, text: 'one' }]);
    });

    it('has no key that a rewrap, a backup or a re-encryption would vouch for', async () => {
      const rows = await store().list();
      const failures = Object.values(ids).map((keyId) => ({
        keyId,
        code: 'ERR_KEY_UNAUTHENTICATED',
        message: expect.stringContaining(`keys adopt ${keyId}`) as string,
      }));
      for (const options of [{}, { force: true }, { to: keyFileKms() }, { dryRun: true }]) {
        const report = await keysOf().rewrap(options);
        expect(report).toMatchObject({ rewrapped: 0, current: 0 });
        expect(report.failures).toHaveLength(3);
        expect(report.failures).toEqual(
          expect.arrayContaining(failures.map((each) => expect.objectContaining(each) as object)),
        );
      }
      const error = await rejection(keysOf().backup({ kms: keyFileKms() }));
      expect(error).toBeInstanceOf(UnauthenticatedKeyError);
      expect(await store().list()).toEqual(rows);
    });

    it('is not what an audit log verifies by', async () => {
      expect(await verify()).toMatchObject({
        ok: false,
        broken: { seq: 1, problem: 'unauthenticatedSeal' },
      });
      const { unproven } = await verify();
      expect(unproven.map(({ keyId }) => keyId).sort()).toEqual(Object.values(ids).sort());
    });

    it('is whole again when its keys were adopted, recorded as such', async () => {
      const events: KeyEvent[] = [];
      dataSource = await connect({ onEvent: (event) => events.push(event) });
      const shown = await keysOf().unauthenticated();
      expect(shown.map(({ id }) => id).sort()).toEqual(Object.values(ids).sort());
      const old = await store().list();

      const adopting = shown.map(({ id }) => id);
      expect(await keysOf().adopt({ ids: adopting })).toMatchObject({
        adopted: { length: 3 },
        current: [],
      });
      expect(await keysOf().adopt({ ids: adopting })).toMatchObject({
        adopted: [],
        current: { length: 3 },
      });
      expect(events.filter(({ type }) => type === 'keyAdopted')).toHaveLength(3);
      expect(await keysOf().unauthenticated()).toEqual([]);
      await notes().insert({ id: 2, text: 'two' });

      const closed = await connect({ kms: azure({ unsigned: 'refuse' }) });
      await closed.getRepository(Note).insert({ id: 3, text: 'three' });
      expect(await closed.getRepository(Note).count()).toBe(3);
      const ada = { email: 'ada@example.org' };
      expect(await closed.getRepository(Contact).findOneBy(ada)).toMatchObject({ id: 1 });
      expect(await verify()).toMatchObject({ ok: true, unproven: [] });
      const operations = (await fieldEncryption(closed).audit.list({ after: 3 })).map(
        ({ operation, keyId }) => [operation, keyId],
      );
      expect(operations.sort()).toEqual(adopting.map((id) => ['adopt', id]).sort());

      // The rows as they were, signed by nobody, are what they were before.
      for (const row of old) await replace(row, row);
      const fresh = await connect({ kms: azure({ unsigned: 'refuse' }) });
      expect(await rejection(fresh.getRepository(Note).find())).toBeInstanceOf(KeyUnwrapError);
      dataSource = await connect();
      await expectRefusal(() => notes().insert({ id: 4, text: 'four' }), ids.data);
    });

    it('is adopted with the key of its audit log, and all at once or not at all', async () => {
      const rows = await store().list();
      await expectRefusal(() => keysOf().adopt({ ids: [ids.data] }), ids.audit);
      const strange = ['0'.repeat(16), ...Object.values(ids)];
      expect(await rejection(keysOf().adopt({ ids: strange }))).toMatchObject({
        code: 'ERR_KEY_NOT_FOUND',
      });
      const index = await rowOf('index');
      await replace(index, { ...index, recordMac: randomBytes(32) });
      expect(await rejection(keysOf().adopt({ ids: Object.values(ids) }))).toBeInstanceOf(
        KeyUnwrapError,
      );
      await replace(index, index);
      expect(await store().list()).toEqual(expect.arrayContaining(rows));
    });
  });

  describe('somebody who writes to the database', () => {
    const known = Buffer.alloc(32, 0x2a);
    const forge = (changes: Partial<KeyRecord> = {}) =>
      forgedRecord(known, wrapWithPublicKey(double, kek, known), changes);

    beforeEach(async () => {
      dataSource = await connect();
      await fill(dataSource);
    });

    it('gets nothing encrypted under a data key of his', async () => {
      const first = await rowOf('data');
      await dataSource.query(
        `UPDATE data_keys SET state = 'compromised', state_mac = '' WHERE id = '${first.id}'`,
      );
      // Older than the log, so that the log need not know it.
      const forged = forge({ createdAt: new Date('2020-01-01T00:00:00Z') });
      await plant(forged);
      const fresh = await connect();
      await expectRefusal(() => fresh.getRepository(Note).insert({ id: 2, text: 'x' }), forged.id);
      expect(await fresh.getRepository(Note).find()).toEqual([{ id: 1, text: 'one' }]);
      const { ok, unproven } = await verify();
      expect([ok, unproven.map(({ keyId }) => keyId)]).toEqual([false, [forged.id]]);
    });

    it('has no key of his activated that he announces', async () => {
      const forged = forge({ state: 'preActive', activatedAt: null });
      await plant(forged);
      await expectRefusal(() => keysOf().rotate(), forged.id);
      await notes().insert({ id: 2, text: 'under the right one' });
      expect((await rowOf('data')).state).toBe('active');
    });

    it('gets no token of an index root that he puts in the place of the right one', async () => {
      const forged = forge({ version: 1, purpose: 'index', suite: 'hmac-sha-256' });
      await replace(await rowOf('index'), forged);
      const fresh = (await connect()).getRepository(Contact);
      await expectRefusal(() => fresh.findOneBy({ email: 'ada@example.org' }), forged.id);
      await expectRefusal(() => fresh.insert({ id: 2, email: 'eve@example.org' }), forged.id);
    });

    it('gets no token of an index root that he announces, and stops no lookup with it', async () => {
      const announced = { state: 'preActive', activatedAt: null, version: 2 } as const;
      const forged = forge({ ...announced, purpose: 'index', suite: 'hmac-sha-256' });
      await plant(forged);
      dataSource = await connect();
      await contacts().insert({ id: 2, email: 'eve@example.org' });
      expect(await contacts().findOneBy({ email: 'ada@example.org' })).toMatchObject({ id: 1 });
      const roots = installationOf(dataSource).keys.indexRoots();
      expect(roots.map(({ id }) => id)).toEqual([(await rowOf('index')).id]);
    });

    it('has no audit log of his verified, or gone on with', async () => {
      const audit = await rowOf('audit');
      const forged = forge({
        ...{ id: audit.id, purpose: 'audit', suite: 'hmac-sha-256', version: 1 },
        ...{ createdAt: audit.createdAt, activatedAt: audit.activatedAt },
      });
      await replace(audit, forged);
      await forgeLog(audit.id);
      dataSource = await connect();
      expect(await verify()).toMatchObject({
        ok: false,
        broken: { seq: 1, problem: 'unauthenticatedSeal' },
        unproven: [{ keyId: audit.id }],
      });
      await expectRefusal(() => keysOf().rotate(), audit.id);
    });

    it('cannot move a wrapped key to another row, or take its signature away', async () => {
      await keysOf().rotate();
      const [first, second] = [await rowOf('data'), await rowOf('data', 2)];
      const { kek: kekName, wrapped, recordMac, stateMac } = first;
      await replace(second, { ...second, kek: kekName, wrapped, recordMac, stateMac });
      dataSource = await connect();
      const error = await rejection(notes().insert({ id: 2, text: 'two' }));
      expect(error).toBeInstanceOf(KeyUnwrapError);

      // What was wrapped, in the form of before: the record MAC holds, and the state MAC covers the form.
      const bytes = Buffer.from(second.wrapped);
      const length = bytes.readUInt16BE(35);
      const body = bytes.subarray(37, 37 + length);
      const stripped = Buffer.concat([Buffer.of(0x01), bytes.subarray(1, 18), body]);
      await replace(second, { ...second, wrapped: stripped });
      dataSource = await connect();
      expect(await rejection(notes().insert({ id: 2, text: 'two' }))).toBeInstanceOf(KeyStateError);
    });

    it('has none of his values moved to a key that is not his', async () => {
      const forged = forge({ state: 'deactivated' });
      await plant(forged);
      await plantValue(forged.id, 'made up');
      expect(await notes().findOneBy({ id: 9 })).toEqual({ id: 9, text: 'made up' });
      const report = await fieldEncryption(dataSource).reencrypt({ entities: [Note] });
      expect(report.failures).toMatchObject([
        { entity: 'Note', property: 'text', code: 'ERR_KEY_UNAUTHENTICATED' },
      ]);
      const closed = await connect({ kms: azure({ unsigned: 'refuse' }) });
      const error = await rejection(closed.getRepository(Note).findOneBy({ id: 9 }));
      expect(error).toBeInstanceOf(KeyUnwrapError);
    });

    it('has no backup of his restored, but on the word of who has looked at it', async () => {
      const { kek: kekName, wrapped } = wrapWithPublicKey(double, kek, known);
      const record = forge({ version: 7, state: 'deactivated' });
      const id = randomBytes(8).toString('hex');
      const header = {
        ...{ id, application: 'default', createdAt: new Date().toISOString(), keys: 1 },
        check: checkValueOf(known).toString('base64url'),
        protection: {
          kind: 'kms' as const,
          kms: 'azure',
          kek: kekName,
          wrapped: Buffer.from(wrapped).toString('base64url'),
        },
      };
      const content = encodeKeys([{ record: withoutWrapping(record), bytes: known }]);
      const file = sealBackup(header, known, content);
      const opener = { kms: azure() };

      const error = await rejection(keysOf().restore(file, opener));
      expect(error).toBeInstanceOf(UnauthenticatedKeyError);
      expect(error.message).toMatch(new RegExp(`${id}.*${record.id}.*--adopt`));
      expect(await keysOf().restore(file, opener, { dryRun: true })).toMatchObject({
        authenticated: false,
        restored: [{ id: record.id }],
      });
      expect(await store().findByIds([record.id])).toEqual([]);
      await keysOf().restore(file, opener, { adopt: true });
      const [last] = await fieldEncryption(dataSource).audit.list({ after: 3 });
      expect(last).toMatchObject({ operation: 'adopt', keyId: record.id, reference: id });

      const { file: own } = await keysOf().backup(opener);
      await dataSource.query(`DELETE FROM data_keys WHERE id = '${record.id}'`);
      expect(await keysOf().restore(own, opener)).toMatchObject({
        authenticated: true,
        restored: [{ id: record.id }],
      });
    });

    it.each([
      ['stands in otherKms', () => ({ kms: keyFileKms(), otherKms: [azure()] })],
      ['is a member of failover', () => ({ kms: failoverKms([keyFileKms(), azure()]) })],
    ])('makes no key where Azure only %s', async (what, options) => {
      database = await cleanup.create(kind, { entities: [Note, Contact], synchronize: true });
      dataSource = await connect(options());
      await fill(dataSource);
      const first = await rowOf('data');
      const id = randomBytes(8).toString('hex');
      const part = { label: 'azure', ...wrapWithPublicKey(double, kek, known) };
      const binding = {
        ...{ application: 'default', keyId: id, keyName: 'default' },
        purpose: 'data',
      } as const;
      const forged = what.includes('failover')
        ? forgedRecord(
            known,
            { kek: `failover:azure=${part.kek}`, wrapped: serialize([part], known, binding) },
            { id, kms: 'failover' },
          )
        : forge({ id });
      await dataSource.query(
        `UPDATE data_keys SET state = 'compromised', state_mac = '' WHERE id = '${first.id}'`,
      );
      await plant(forged);
      const fresh = await connect(options());
      await expectRefusal(() => fresh.getRepository(Note).insert({ id: 2, text: 'x' }), id);
      expect(await fresh.getRepository(Note).find()).toEqual([{ id: 1, text: 'one' }]);
    });

    async function plantValue(keyId: string, value: string): Promise<void> {
      const { byEntity } = installationOf(dataSource).columns;
      const policy = byEntity.get(dataSource.getMetadata(Note))?.byPropertyPath.get('text')?.policy;
      const keys = new StaticKeySource([staticKey({ id: keyId, seed: 0x2a })]);
      const stored = new FieldCipher(policy!, 'default', keys).encrypt(value);
      await dataSource.query(`INSERT INTO note (id, text) VALUES (9, '${String(stored)}')`);
    }

    /** The same entries, sealed with a key that is known. */
    async function forgeLog(keyId: string): Promise<void> {
      const info = lengthPrefixed([LABELS.auditKey]);
      const seal = new AuditSeal(keyId, hmacKey(hkdfSha256({ key: known, info, bytes: 32 })));
      const entries = new TypeormAuditStore(dataSource);
      const written = await entries.list({ after: 0, limit: 100 });
      await dataSource.query('DELETE FROM field_encryption_audit');
      await entries.transaction(async (runner) => {
        let previousHash = '';
        for (const entry of written) {
          const forged = seal.sealed({ ...entry, previousHash });
          await entries.append(forged, runner);
          previousHash = forged.hash;
        }
      });
    }
  });
});
