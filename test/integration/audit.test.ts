import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource, QueryRunner } from 'typeorm';
import { AuditError, BlindIndex, ConfigurationError, Encrypted, fieldEncryption } from '../../src';
import type {
  AuditEntry,
  AuditRange,
  FieldEncryptionOptions,
  KeyEvent,
  KmsProvider,
} from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';
import { copyRows, ownColumns } from '../support/own-columns';

const CANARY = 'canary-plaintext-4711';
const ALICE = { actor: () => 'alice@bank' };

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() text!: string;
}

describeDiagonal('The audit log', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  async function connect(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    const connected = cleanup.add(protect(database, { audit: ALICE, ...options }));
    await connected.initialize();
    return connected;
  }

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Note], synchronize: true });
    dataSource = await connect();
    await dataSource.getRepository(Note).insert({ id: 1, text: CANARY });
  });
  afterEach(() => cleanup.run());

  const sql = (statement: string): Promise<unknown> => dataSource.query(statement);
  const verify = (expectHead?: string) =>
    fieldEncryption(dataSource).audit.verify(expectHead === undefined ? {} : { expectHead });
  const operations = async (): Promise<string[]> =>
    (await fieldEncryption(dataSource).audit.list()).map(({ operation, keyPurpose, keyVersion }) =>
      [operation, keyPurpose, keyVersion].filter((part) => part !== null).join(' '),
    );
  const states = async (): Promise<string[]> =>
    (await fieldEncryption(dataSource).keys.list()).map(({ state }) => state);

  it('has no entry for a backup that was only tried', async () => {
    const before = await operations();
    await installationOf(dataSource).keys.operations.foreseeBackup({ kms: keyFileKms() });
    expect(await operations()).toEqual(before);
  });

  it('lets a key be revoked whose row holds what is no date', async () => {
    const [key] = await fieldEncryption(dataSource).keys.list();
    await sql(
      `UPDATE data_keys SET expires_at = 'soon', deactivated_at = '' WHERE id = '${String(key?.id)}'`,
    );
    await fieldEncryption(dataSource).keys.revoke(key?.id ?? '', { replace: false });
    expect(await states()).toEqual(['compromised']);
  });

  it('has an entry for everything that is done to keys, in order, without a secret', async () => {
    const { keys, audit } = fieldEncryption(dataSource);
    const [first] = await keys.list();
    await keys.rotate();
    await keys.rewrap({ force: true });
    const { id: backupId, file } = await keys.backup({ kms: keyFileKms() });
    const { key, replacement } = await keys.revoke((await keys.list())[1]?.id ?? '');
    await fieldEncryption(dataSource).reencrypt();
    await keys.destroy(first?.id ?? '', { graceMs: 0 });
    await sql(`DELETE FROM data_keys WHERE id = '${key.id}'`);
    expect(await verify()).toMatchObject({
      ok: false,
      broken: null,
      keys: [{ keyId: key.id, logged: 'compromised', found: null }],
    });
    await keys.restore(file, { kms: keyFileKms() });
    await installationOf(dataSource).audit.record({
      operation: 'data reencrypt',
      outcome: 'started',
      reference: 'run-1',
      counts: { rows: 1 },
    });

    expect(await operations()).toEqual([
      ...['create audit 1', 'create data 1', 'create index 1'],
      ...['deactivate data 1', 'rotate data 2'],
      ...Array.from({ length: 4 }, () => expect.stringMatching(/^rewrap/) as string),
      ...['backup', 'revoke data 2', 'rotate data 3', 'data reencrypt', 'data reencrypt'],
      'destroy data 1',
      ...['restore data 2', 'data reencrypt'],
    ]);
    const entries = await audit.list();
    expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, at) => at + 1));
    expect(new Set(entries.map(({ actor }) => actor))).toEqual(new Set(['alice@bank']));
    expect(entries.find(({ operation }) => operation === 'backup')).toMatchObject({
      reference: backupId,
      counts: { keys: 4, shares: 0 },
      keyId: null,
    });
    expect(entries.find(({ keyId }) => keyId === replacement?.id)).toMatchObject({
      operation: 'rotate',
      outcome: 'done',
      keyName: 'default',
      keyState: 'active',
      kms: 'local',
      kek: replacement?.kek,
      time: expect.stringMatching(/^\d{4}-.*Z$/) as string,
    });
    expect(await audit.list({ after: 2, limit: 1 })).toEqual([entries[2]]);
    expect(await audit.list({ after: 0, limit: 2 })).toEqual(entries.slice(0, 2));
    // The newest, in their order.
    expect(await audit.list({ limit: 2 })).toEqual(entries.slice(-2));

    expect(await verify()).toMatchObject({ ok: true, broken: null, keys: [], entries: 17 });
    const rows = JSON.stringify(await sql('SELECT * FROM field_encryption_audit'));
    const wrapped = (await sql('SELECT wrapped_key, record_mac FROM data_keys')) as object[];
    for (const secret of [CANARY, ...wrapped.flatMap((row) => Object.values(row) as string[])]) {
      if (secret !== '') expect(rows).not.toContain(secret);
    }
  });

  it('lists the newest entries, of a time, an operation or an actor', async () => {
    const later = await connect({ audit: { actor: "o'brien:2" } });
    const list = (range: AuditRange): Promise<number[]> =>
      fieldEncryption(later)
        .audit.list(range)
        .then((entries) => entries.map(({ seq }) => seq));
    await fieldEncryption(later).keys.rotate();
    await fieldEncryption(later).keys.rotate();
    expect(await list({ limit: 2 })).toEqual([6, 7]);
    expect(await list({ limit: 2, after: 0 })).toEqual([1, 2]);
    expect(await list({ operation: 'rotate' })).toEqual([5, 7]);
    expect(await list({ operation: 'rotate', limit: 1 })).toEqual([7]);
    expect(await list({ actor: "o'brien", after: 4 })).toEqual([5, 6, 7]);
    expect(await list({ actor: 'alice' })).toEqual([1, 2, 3]);
    expect(await list({ actor: '%' })).toEqual([]);
    const [, , third] = await fieldEncryption(later).audit.list();
    await sql(`UPDATE field_encryption_audit SET time = '2001-01-01T00:00:00.000Z' WHERE seq < 3`);
    expect(await list({ since: new Date(third?.time ?? '') })).toEqual([3, 4, 5, 6, 7]);
    expect(await list({ since: new Date(Date.now() + 60_000) })).toEqual([]);
  });

  it('is written with the change of the key or not at all, whichever statement fails', async () => {
    const before = await operations();
    for (const pattern of [/INSERT .*field_encryption_audit/, /INSERT .*data_keys/]) {
      const undo = failing(dataSource, pattern);
      await expect(fieldEncryption(dataSource).keys.rotate()).rejects.toThrow('injected');
      undo();
      expect(await operations()).toEqual(before);
      expect(await states()).toEqual(['active']);
    }
    await fieldEncryption(dataSource).keys.rotate();
    expect(await operations()).toEqual([...before, 'deactivate data 1', 'rotate data 2']);
    expect(await verify()).toMatchObject({ ok: true });
  });

  it('blocks operations on keys, and nothing else, while the sink is down', async () => {
    let down = false;
    const shipped: AuditEntry[] = [];
    const sink = (entry: AuditEntry): Promise<void> => {
      if (down) return Promise.reject(new Error('syslog is away'));
      shipped.push(entry);
      return Promise.resolve();
    };
    const sinking = await connect({ audit: { ...ALICE, sink } });
    const { keys } = fieldEncryption(sinking);
    await keys.rotate();
    expect(shipped).toEqual(await fieldEncryption(sinking).audit.list({ after: 3 }));

    down = true;
    const error = await rejection(keys.rotate());
    expect(error).toBeInstanceOf(AuditError);
    expect(error).toMatchObject({
      code: 'ERR_AUDIT',
      retryable: true,
      cause: expect.any(Error) as Error,
    });
    expect(error.message).toMatch(/Nothing was changed/);
    expect(await states()).toEqual(['deactivated', 'active']);
    expect(await rejection(keys.backup({ kms: keyFileKms() }))).toBeInstanceOf(AuditError);
    await sinking.getRepository(Note).insert({ id: 2, text: 'two' });
    expect(await sinking.getRepository(Note).findOneBy({ text: CANARY })).toMatchObject({ id: 1 });

    const events: KeyEvent[] = [];
    const warning = await connect({
      audit: { ...ALICE, sink, onFailure: 'warn' },
      onEvent: (event) => events.push(event),
    });
    await fieldEncryption(warning).keys.rotate();
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'auditFailed', operation: 'rotate', code: 'ERR_AUDIT' }),
    );
    expect(await states()).toEqual(['deactivated', 'deactivated', 'active']);
    // Taking a compromised key out of use waits for no sink.
    const [old] = await keys.list();
    expect(await keys.revoke(old?.id ?? '')).toMatchObject({ key: { state: 'compromised' } });
    expect(await verify()).toMatchObject({ ok: true });
  });

  it('tells what was done to it', async () => {
    await fieldEncryption(dataSource).keys.rotate();
    await fieldEncryption(dataSource).keys.rotate();
    const { head } = await verify();
    expect(head).toMatch(/^7:[\w-]{43}$/);
    expect(await fieldEncryption(dataSource).audit.head()).toBe(head);
    expect(await verify(head ?? '')).toMatchObject({ ok: true, entries: 7 });

    const table = 'field_encryption_audit';
    const swap = (a: number, b: number): string[] => [
      `UPDATE ${table} SET seq = -1 WHERE seq = ${String(a)}`,
      `UPDATE ${table} SET seq = ${String(a)} WHERE seq = ${String(b)}`,
      `UPDATE ${table} SET seq = ${String(b)} WHERE seq = -1`,
    ];
    const tampering: readonly [string[], object][] = [
      [[`UPDATE ${table} SET actor = 'mallory' WHERE seq = 4`], { seq: 4, problem: 'edited' }],
      [[`UPDATE ${table} SET counts = '{' WHERE seq = 2`], { seq: 2, problem: 'edited' }],
      [[`UPDATE ${table} SET key_id = NULL WHERE seq = 7`], { seq: 7, problem: 'edited' }],
      [[`UPDATE ${table} SET hash = 'x' WHERE seq = 3`], { seq: 3, problem: 'edited' }],
      [[`UPDATE ${table} SET sealed_by = 'x' WHERE seq = 3`], { seq: 3, problem: 'unknownSeal' }],
      [[`DELETE FROM ${table} WHERE seq = 5`], { seq: 5, problem: 'missing' }],
      [[`DELETE FROM ${table} WHERE seq = 1`], { seq: 1, problem: 'missing' }],
      [swap(4, 5), { seq: 4, problem: 'moved' }],
      [
        [
          `DELETE FROM ${table} WHERE seq = 4`,
          ...[5, 6, 7].map(
            (at) => `UPDATE ${table} SET seq = ${String(at - 1)} WHERE seq = ${String(at)}`,
          ),
        ],
        { seq: 4, problem: 'moved' },
      ],
      [[`DELETE FROM ${table} WHERE seq >= 6`], { seq: 6, problem: 'truncated' }],
      [[`DELETE FROM ${table}`], { seq: 1, problem: 'truncated' }],
    ];
    for (const [statements, broken] of tampering) {
      await sql(`CREATE TABLE saved AS SELECT * FROM ${table}`);
      for (const statement of statements) await sql(statement);
      expect(await verify(head ?? '')).toMatchObject({ ok: false, broken });
      await sql(`DELETE FROM ${table}`);
      await sql(copyRows('saved', table));
      await sql('DROP TABLE saved');
    }
    const other = `7:${'A'.repeat(43)}`;
    expect(await verify(other)).toMatchObject({
      ok: false,
      broken: { seq: 7, problem: 'otherHead' },
    });
    expect(await rejection(verify('seven'))).toBeInstanceOf(ConfigurationError);
    expect(await verify(head ?? '')).toMatchObject({ ok: true });
  });

  it('tells a key table that was rolled back or edited, also to a process that knows nothing', async () => {
    await sql('CREATE TABLE saved AS SELECT * FROM data_keys');
    const { keys } = fieldEncryption(dataSource);
    const [first] = await keys.list();
    await keys.revoke(first?.id ?? '');
    const second = (await keys.list())[1]?.id;
    const head = (await verify()).head ?? '';
    await sql('DELETE FROM data_keys');
    await sql(copyRows('saved', 'data_keys'));

    const fresh = fieldEncryption(await connect());
    expect((await fresh.keys.list()).map(({ state }) => state)).toEqual(['active']);
    const discrepancies = [
      { keyId: first?.id, logged: 'compromised', found: 'active', loggedEpoch: 3, foundEpoch: 1 },
      { keyId: second, logged: 'active', found: null, loggedEpoch: 3, foundEpoch: null },
    ];
    const report = await fresh.audit.verify({ expectHead: head });
    expect(report).toMatchObject({ ok: false, broken: null });
    expect(report.keys).toHaveLength(2);
    expect(report.keys).toEqual(expect.arrayContaining(discrepancies));

    // With the log rolled back, too, only a head that was noted elsewhere tells.
    await sql('DELETE FROM field_encryption_audit WHERE seq > 3');
    expect(await fresh.audit.verify()).toMatchObject({ ok: true });
    expect(await fresh.audit.verify({ expectHead: head })).toMatchObject({
      ok: false,
      broken: { seq: 4, problem: 'truncated' },
    });
  });

  it('does not hold up an emergency revocation while the KMS is away, and records it afterwards', async () => {
    const real = keyFileKms();
    let away = false;
    const kms: KmsProvider = {
      name: 'local',
      wrapKey: (...call) => real.wrapKey(...call),
      unwrapKey: (...call) => (away ? Promise.reject(new Error('away')) : real.unwrapKey(...call)),
      health: () => real.health(),
    };
    const events: KeyEvent[] = [];
    const { keys, audit } = fieldEncryption(
      await connect({ kms, onEvent: (event) => events.push(event) }),
    );
    const [{ id } = { id: '' }] = await keys.list();
    away = true;
    await keys.revoke(id, { replace: false });
    expect(events).toContainEqual({
      type: 'auditFailed',
      operation: 'revoke',
      keyId: id,
      code: 'ERR_KMS_UNAVAILABLE',
    });
    away = false;
    expect(await audit.verify()).toMatchObject({
      ok: false,
      keys: [{ keyId: id, logged: 'active', found: 'compromised' }],
    });
    await keys.revoke(id);
    expect(await audit.verify()).toMatchObject({ ok: true });
  });

  it('says which migration makes its table, unless it is turned off', async () => {
    await sql('DROP TABLE field_encryption_audit');
    const without = cleanup.add(protect(database, {}, { synchronize: false }));
    await without.initialize();
    const error = await rejection(fieldEncryption(without).keys.rotate());
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(/CreateAuditLog1764000002000.*audit: false/);
    expect(await without.getRepository(Note).findOneBy({ id: 1 })).toMatchObject({ text: CANARY });
    await without.getRepository(Note).insert({ id: 2, text: 'two' });

    const off = cleanup.add(protect(database, { audit: false }, { synchronize: false }));
    await off.initialize();
    await fieldEncryption(off).keys.rotate();
    expect(await fieldEncryption(off).audit.list()).toEqual([]);
  });

  it('tells that it was emptied together with its key, also after a new one was begun', async () => {
    await sql('DELETE FROM field_encryption_audit');
    await sql(`DELETE FROM data_keys WHERE purpose = 'audit'`);
    const emptied = { ok: false, broken: { seq: 1, problem: 'truncated' } };
    expect(await verify()).toMatchObject(emptied);
    const fresh = fieldEncryption(await connect());
    expect(await fresh.audit.verify()).toMatchObject(emptied);

    const [{ id } = { id: '' }] = await fresh.keys.list();
    await fresh.keys.rotate();
    const begun = await fresh.audit.verify();
    expect(begun).toMatchObject({ ok: false, broken: null });
    expect(begun.keys).toContainEqual(expect.objectContaining({ logged: null, found: 'active' }));
    expect(begun.keys).not.toContainEqual(expect.objectContaining({ keyId: id }));
    await fresh.keys.acceptEpoch(10, { reason: 'the log was lost' });
    expect(await fresh.audit.verify()).toMatchObject({ ok: true });
  });

  it('tells that its entries were deleted, also after others were added', async () => {
    await sql('DELETE FROM field_encryption_audit');
    expect(await verify()).toMatchObject({ ok: false });
    await fieldEncryption(dataSource).keys.rotate();
    const { ok, keys } = await verify();
    expect(ok).toBe(false);
    expect(keys).toContainEqual(expect.objectContaining({ logged: null }));
  });

  it('tells that an entry was put before its first', async () => {
    const others = ownColumns('field_encryption_audit').filter((name) => name !== 'seq');
    const names = others.join(', ');
    await sql(
      `INSERT INTO field_encryption_audit (seq, ${names}) ` +
        `SELECT -5, ${names} FROM field_encryption_audit WHERE seq = 1`,
    );
    expect(await verify()).toMatchObject({ ok: false, broken: { seq: -5, problem: 'edited' } });
  });

  it('is not taken for whole when a process that has seen entries goes on after they were deleted', async () => {
    await sql('DELETE FROM field_encryption_audit');
    await sql(`DELETE FROM data_keys WHERE purpose = 'audit'`);
    await fieldEncryption(dataSource).keys.rotate();
    expect(await verify()).toMatchObject({ ok: false });
  });

  it('names the entry whose counts are no numbers by name', async () => {
    for (const counts of ['null', '[]', '7', '{"rows":"many"}']) {
      await sql(`UPDATE field_encryption_audit SET counts = '${counts}' WHERE seq = 2`);
      expect(await verify()).toMatchObject({ ok: false, broken: { seq: 2, problem: 'edited' } });
    }
  });

  it('lets a key be revoked, and nothing else, after an entry that none can follow', async () => {
    const { keys } = fieldEncryption(dataSource);
    const [{ id } = { id: '' }] = await keys.list();
    await sql('UPDATE field_encryption_audit SET seq = 2147483647 WHERE seq = 3');
    for (const operation of [() => keys.rotate(), () => keys.suspend(id)]) {
      const error = await rejection(operation());
      expect(error).toMatchObject({ code: 'ERR_KEY_STATE', retryable: false });
      expect(error.message).toContain('audit verify');
    }
    expect(await keys.revoke(id)).toMatchObject({
      key: { state: 'compromised' },
      replacement: { state: 'active' },
    });
  });

  it('goes by no date of a revocation that is not proven', async () => {
    const { keys } = fieldEncryption(dataSource);
    const [{ id } = { id: '' }] = await keys.list();
    await keys.revoke(id);
    await fieldEncryption(dataSource).reencrypt();
    const long = '2001-01-01 00:00:00';
    const forge = (): Promise<unknown> =>
      sql(`UPDATE data_keys SET deactivated_at = '${long}' WHERE id = '${id}'`);
    await sql(`UPDATE data_keys SET state_mac = '' WHERE id = '${id}'`);
    await forge();
    expect(await rejection(keys.destroy(id))).toMatchObject({ retryable: true });
    expect(await verify()).toMatchObject({ ok: true });

    await forge();
    const edited = { code: 'ERR_KEY_STATE', retryable: false };
    expect(await rejection(keys.destroy(id))).toMatchObject(edited);
    expect(await verify()).toMatchObject({ ok: false, unproven: [{ keyId: id }] });
    expect(await keys.destroy(id, { graceMs: 0 })).toMatchObject({ key: { state: 'destroyed' } });
  });

  it('leaves a key alone whose wait is no number of milliseconds', async () => {
    const { keys } = fieldEncryption(dataSource);
    const [{ id } = { id: '' }] = await keys.list();
    await keys.revoke(id);
    for (const wait of [NaN, -1, 0.5, Infinity]) {
      for (const option of ['graceMs', 'waitMs']) {
        for (const work of [
          keys.destroy(id, { [option]: wait }),
          keys.maintain({ [option]: wait }),
        ]) {
          const error = await rejection(work);
          expect(error).toBeInstanceOf(ConfigurationError);
          expect(error.message).toContain(option);
        }
      }
    }
  });

  it('has a save told that all data keys are lost, rather than to try again', async () => {
    await sql(`DELETE FROM data_keys WHERE purpose = 'data'`);
    const fresh = await connect();
    const error = await rejection(fresh.getRepository(Note).save({ id: 2, text: 'two' }));
    expect(error).toMatchObject({ code: 'ERR_KEY_NOT_FOUND', retryable: false });
  });

  it('makes no new key while its own is missing', async () => {
    await sql(`DELETE FROM data_keys WHERE purpose = 'audit'`);
    const fresh = await connect();
    const error = await rejection(fieldEncryption(fresh).keys.rotate());
    expect(error).toMatchObject({ code: 'ERR_KEY_NOT_FOUND', retryable: false });
    expect(error.message).toMatch(/Restore the keys/);
    expect(await fieldEncryption(fresh).audit.verify()).toMatchObject({
      ok: false,
      broken: { seq: 1, problem: 'unknownSeal' },
    });
  });
});

/** Has every statement that looks like this fail, until undone. */
function failing(dataSource: DataSource, pattern: RegExp): () => void {
  const createQueryRunner = dataSource.createQueryRunner.bind(dataSource);
  const undone: (() => void)[] = [];
  dataSource.createQueryRunner = (mode) => {
    const runner = createQueryRunner(mode);
    const query: QueryRunner['query'] = runner.query.bind(runner);
    runner.query = ((statement: string, ...rest: never[]) =>
      pattern.test(statement)
        ? Promise.reject(new Error('injected'))
        : query(statement, ...rest)) as QueryRunner['query'];
    undone.push(() => {
      runner.query = query;
    });
    return runner;
  };
  return () => {
    dataSource.createQueryRunner = createQueryRunner;
    // SQLite has one for all, which was wrapped each time.
    for (const undo of undone.reverse()) undo();
  };
}
