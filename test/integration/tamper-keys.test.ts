import { randomBytes } from 'node:crypto';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  fieldEncryption,
  FieldEncryptionError,
  KeyNotFoundError,
  KeyStateError,
  KeyUnwrapError,
} from '../../src';
import type { FieldEncryptionOptions, KeyEvent, RetentionPolicy } from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { moveDatabaseClock } from '../support/database-clock';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { fastLocalKms } from '../support/key-fixtures';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';
import { ownColumns } from '../support/own-columns';

@Entity()
class Entry {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
  @Encrypted({ key: 'other', nullable: true }) other!: string | null;
}

@Entity()
class Indexed {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() email!: string;
}

@Entity()
class Open {
  @PrimaryColumn() id!: number;
  @Column() text!: string;
}

interface KeyRow {
  id: string;
  name: string;
  purpose: string;
  version: number;
  state: string;
  wrapped_key: string;
  record_mac: string;
  state_mac: string;
}

const COLUMNS = ownColumns('data_keys').join(', ');

describeDiagonal('A key row that was tampered with', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  /** Looks at the tables; its keys are of no interest. */
  let outside: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Entry, Indexed, Open], synchronize: true });
    outside = cleanup.add(protect(database));
    await outside.initialize();
    await fieldEncryption(outside).ready();
    const entries = outside.getRepository(Entry);
    await entries.insert({ id: 1, text: 'one', other: 'another' });
    await fieldEncryption(outside).keys.rotate();
    await entries.insert({ id: 2, text: 'two', other: null });
    await outside.getRepository(Indexed).insert({ id: 1, email: 'ada@example.org' });
    await outside.getRepository(Open).insert({ id: 1, text: 'open' });
  });

  afterEach(() => cleanup.run());

  /** As another process would: with nothing in memory. */
  async function freshProcess(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    const dataSource = cleanup.add(protect(database, options, { synchronize: false }));
    await dataSource.initialize();
    return dataSource;
  }

  async function keyRows(): Promise<KeyRow[]> {
    return outside.query<KeyRow[]>(`SELECT ${COLUMNS} FROM data_keys ORDER BY version`);
  }

  async function key(version: number, name = 'default', purpose = 'data'): Promise<KeyRow> {
    const rows = await keyRows();
    return rows.find((r) => r.name === name && r.version === version && r.purpose === purpose)!;
  }

  async function edit({ id }: KeyRow, column: string, value: unknown): Promise<void> {
    await outside.query(sqlOf(kind, `UPDATE data_keys SET ${column} = $1 WHERE id = $2`), [
      value,
      id,
    ]);
  }

  async function readFirst(dataSource?: DataSource): Promise<FieldEncryptionError> {
    const reader = dataSource ?? (await freshProcess());
    const error = await rejection(
      reader.getRepository(Entry).findOne({ where: { id: 1 }, select: { id: true, text: true } }),
    );
    expect(error).toBeInstanceOf(FieldEncryptionError);
    return error as FieldEncryptionError;
  }

  function flipped(base64url: string, at: number): string {
    const bytes = Buffer.from(base64url, 'base64url');
    const index = at < 0 ? bytes.length + at : at;
    bytes[index] = bytes.readUInt8(index) ^ 1;
    return bytes.toString('base64url');
  }

  const edits: readonly [string, (row: KeyRow) => [column: string, value: unknown]][] = [
    ['the wrapped key, first byte', (row) => ['wrapped_key', flipped(row.wrapped_key, 0)]],
    ['the wrapped key, in the middle', (row) => ['wrapped_key', flipped(row.wrapped_key, 50)]],
    ['the wrapped key, last byte', (row) => ['wrapped_key', flipped(row.wrapped_key, -1)]],
    ['the wrapped key, cut', (row) => ['wrapped_key', row.wrapped_key.slice(0, 20)]],
    ['the wrapped key, emptied', () => ['wrapped_key', '']],
    ['the wrapped key, no base64url', () => ['wrapped_key', '!?']],
    ['the record MAC', (row) => ['record_mac', flipped(row.record_mac, 3)]],
    ['the record MAC, cut', (row) => ['record_mac', row.record_mac.slice(0, 22)]],
    ['the record MAC, emptied', () => ['record_mac', '']],
    ['the name', () => ['name', 'renamed']],
    ['the version', () => ['version', 77]],
    ['the suite', () => ['suite', 'xchacha20-poly1305']],
    ['the KMS', () => ['kms', 'vault']],
    ['the KEK', () => ['kek', 'file:0000000000000000']],
    ['the date of creation', () => ['created_at', '2001-01-01T00:00:00.000Z']],
    ['the date of creation, into nonsense', () => ['created_at', 'yesterday']],
  ];

  it.each(edits)('is refused by name: %s', async (_what, change) => {
    const row = await key(1);
    await edit(row, ...change(row));

    const fresh = await freshProcess();
    const error = await readFirst(fresh);
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(error).toMatchObject({
      entity: 'Entry',
      property: 'text',
      keyId: row.id,
      retryable: false,
    });
    expect(error.message).toContain(row.id);
    expect(error.message).toMatch(/Restore|backup|Check/);
    // Others of the table go on.
    expect(await fresh.getRepository(Entry).findOneBy({ id: 2 })).toMatchObject({ text: 'two' });
    expect(await fresh.getRepository(Open).findOneBy({ id: 1 })).toMatchObject({ text: 'open' });
  });

  it.each(edits)('that is active keeps writes from happening: %s', async (what, change) => {
    const row = await key(2);
    await edit(row, ...change(row));
    const before = (await keyRows()).length;

    const fresh = await freshProcess();
    const error = await rejection(fresh.getRepository(Entry).insert({ id: 3, text: 'new' }));
    expect(error).toBeInstanceOf(FieldEncryptionError);
    expect(['ERR_KEY_UNWRAP', 'ERR_KEY_STATE']).toContain((error as FieldEncryptionError).code);
    expect(await fresh.getRepository(Entry).count()).toBe(2);
    expect(await keyRows()).toHaveLength(before);
    expect(await rejection(fieldEncryption(fresh).ready())).toBeInstanceOf(FieldEncryptionError);
    expect(await fresh.getRepository(Entry).findOneBy({ id: 1 })).toMatchObject({ text: 'one' });
    // A renamed row is another key's: what is left of this one has no active version, which rotate() mends.
    if (what === 'the name') return;
    expect(await rejection(fieldEncryption(fresh).keys.rotate())).toBeInstanceOf(
      FieldEncryptionError,
    );
  });

  /** What only SQLite keeps in a column of numbers. */
  const numbers: typeof edits =
    kind.dialect === 'sqlite'
      ? [
          ['the epoch, into nonsense', () => ['epoch', 'abc']],
          ['the epoch, into a fraction', () => ['epoch', 1.5]],
          ['the epoch, beyond all numbers', () => ['epoch', 2 ** 62]],
          ['the epoch, into bytes', () => ['epoch', Buffer.from('abc')]],
          ['the version, into nonsense', () => ['version', 'abc']],
          ['the wrapped key, into bytes', () => ['wrapped_key', Buffer.from('abc')]],
        ]
      : [['the epoch', () => ['epoch', -5]]];
  const states: typeof edits = [
    ['the application', () => ['application', 'another']],
    ['the suite, into an unknown one', () => ['suite', 'rot13']],
    ['the version, to the highest', () => ['version', 2_147_483_647]],
    ['the state MAC', () => ['state_mac', '']],
    ['the state, into an unknown one', () => ['state', 'hacked']],
    ['the state, emptied', () => ['state', '']],
  ];
  const rougher = edits.filter(([what]) => !/byte|middle|cut/.test(what));
  it.each([...rougher, ...states, ...numbers])(
    'that is active can be revoked all the more: %s',
    async (what, change) => {
      const row = await key(2);
      const [column, value] = change(row);
      await edit(row, column, value);

      const fresh = await freshProcess();
      const { keys, audit } = fieldEncryption(fresh);
      const { key: revoked, replacement, proven } = await keys.revoke(row.id);
      expect(revoked).toMatchObject({ id: row.id, state: 'compromised' });
      const wasActive = column !== 'state';
      expect(replacement === null).toBe(!wasActive);
      expect(proven).toBe(false);
      if (!wasActive) await keys.rotate();
      // A key under the name that somebody has written there is of no use to the entities.
      if (what !== 'the name') {
        await fresh.getRepository(Entry).insert({ id: 3, text: 'new', other: null });
        const [stored] = await fresh.query<{ text: string }[]>(
          'SELECT text FROM entry WHERE id = 3',
        );
        expect(
          stored?.text.startsWith(Buffer.from(`01${row.id}`, 'hex').toString('base64url')),
        ).toBe(false);
      }
      const entries = await audit.list();
      expect(entries.filter(({ operation }) => operation === 'revoke')).toMatchObject([
        { keyId: row.id, reference: 'the row was not proven' },
      ]);
      await audit.verify();
    },
  );

  it('can be revoked without its replacement where no row of the table opens', async () => {
    await outside.query("UPDATE data_keys SET record_mac = ''");
    const row = await key(2);
    const { keys } = fieldEncryption(await freshProcess());
    const refused = await rejection(keys.revoke(row.id));
    expect(refused).toBeInstanceOf(KeyUnwrapError);
    expect(refused.message).toContain(`keys revoke ${row.id} --no-replacement`);
    expect(await keys.revoke(row.id, { replace: false })).toMatchObject({
      key: { id: row.id, state: 'compromised' },
      replacement: null,
      proven: null,
    });
  });

  it('cannot keep another from being replaced, nor an announced one that somebody made up', async () => {
    await edit(await key(1, 'other'), 'created_at', '2001-01-01T00:00:00.000Z');
    const row = await key(2);
    await outside.query(
      `INSERT INTO data_keys (${COLUMNS}) SELECT ${columnsWith({ id: "'ffffffffffffffff'", version: '50', state: "'preActive'" })} ` +
        `FROM data_keys WHERE id = '${row.id}'`,
    );
    const { keys } = fieldEncryption(await freshProcess());
    expect(await keys.revoke(row.id)).toMatchObject({
      proven: true,
      replacement: { version: 51, state: 'active' },
    });
  });

  const columnsWith = (changed: Readonly<Record<string, string>>): string =>
    ownColumns('data_keys')
      .map((column) => changed[column] ?? column)
      .join(', ');

  it('is refused with an unknown suite', async () => {
    const row = await key(1);
    await edit(row, 'suite', 'rot13');
    expect(await readFirst()).toMatchObject({
      code: 'ERR_CIPHER_SUITE',
      keyId: row.id,
      entity: 'Entry',
    });
  });

  it('is refused when made an index root', async () => {
    const row = await key(1);
    await edit(row, 'version', 99);
    await edit(row, 'purpose', 'index');
    expect(['ERR_KEY_NOT_FOUND', 'ERR_KEY_UNWRAP']).toContain((await readFirst()).code);
  });

  it.each([
    ['wrapped keys', ['wrapped_key']],
    ['wrapped keys and MACs', ['wrapped_key', 'record_mac']],
  ] as const)('is refused when two rows swap their %s', async (_what, columns) => {
    const [first, second] = [await key(1), await key(2)];
    for (const column of columns) {
      await edit(first, column, second[column]);
      await edit(second, column, first[column]);
    }
    const fresh = await freshProcess();
    expect(await readFirst(fresh)).toMatchObject({ code: 'ERR_KEY_UNWRAP', keyId: first.id });
    const error = await rejection(fresh.getRepository(Entry).findOneBy({ id: 2 }));
    expect(error).toMatchObject({ code: 'ERR_KEY_UNWRAP', keyId: second.id });
  });

  it('is refused when two rows swap their ids', async () => {
    const [first, second] = [await key(1), await key(2)];
    await edit(first, 'id', 'f'.repeat(16));
    await edit(second, 'id', first.id);
    await edit({ ...first, id: 'f'.repeat(16) }, 'id', second.id);
    expect(await readFirst()).toMatchObject({ code: 'ERR_KEY_UNWRAP', keyId: first.id });
  });

  it('that is gone is named, with the way back, and never replaced under its id', async () => {
    const row = await key(1);
    await outside.query(sqlOf(kind, 'DELETE FROM data_keys WHERE id = $1'), [row.id]);

    const fresh = await freshProcess();
    const error = await readFirst(fresh);
    expect(error).toBeInstanceOf(KeyNotFoundError);
    expect(error).toMatchObject({
      entity: 'Entry',
      property: 'text',
      keyId: row.id,
      retryable: false,
    });
    expect(error.message).toMatch(/Restore/);
    expect(await fresh.getRepository(Entry).findOneBy({ id: 2 })).toMatchObject({ text: 'two' });
    expect(await fieldEncryption(fresh).status()).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          property: 'text',
          entity: 'Entry',
          keys: expect.arrayContaining([
            { keyId: row.id, name: undefined, version: undefined, state: undefined, rows: 1 },
          ]) as unknown,
        }),
      ]),
    );

    await fresh.getRepository(Entry).insert({ id: 3, text: 'three', other: null });
    expect((await keyRows()).map(({ id }) => id)).not.toContain(row.id);
  });

  it('that comes back is used again without a restart', async () => {
    const row = await key(1);
    const fresh = await freshProcess();
    await outside.query(sqlOf(kind, 'DELETE FROM data_keys WHERE id = $1'), [row.id]);
    expect(await readFirst(fresh)).toBeInstanceOf(KeyNotFoundError);
    const columns = Object.keys(row);
    await outside.query(
      sqlOf(
        kind,
        `INSERT INTO data_keys (${columns.join(', ')}) ` +
          `VALUES (${columns.map((_, i) => `$${i + 1}`).join(', ')})`,
      ),
      Object.values(row),
    );
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect(await fresh.getRepository(Entry).findOneBy({ id: 1 })).toMatchObject({ text: 'one' });
  });

  it('of all keys gone, rows are errors, and no key is made in the place of those', async () => {
    await outside.query('DELETE FROM data_keys');
    const fresh = await freshProcess();
    expect(await readFirst(fresh)).toBeInstanceOf(KeyNotFoundError);
    const error = await rejection(fresh.getRepository(Entry).insert({ id: 3, text: 'new' }));
    expect(error).toBeInstanceOf(KeyNotFoundError);
    expect(error.message).toMatch(/no data key "default".*but there was one.*Restore/);
    expect(await keyRows()).toEqual([]);
  });

  it('whose state became destroyed no longer reads', async () => {
    const state = 'destroyed';
    const row = await key(1);
    await edit(row, 'state', state);
    const error = await readFirst();
    expect(error).toBeInstanceOf(KeyStateError);
    expect(error).toMatchObject({ entity: 'Entry', property: 'text', keyId: row.id });
    expect(error.message).toContain(state);
  });

  it('whose state became compromised reads: that state only takes away', async () => {
    await edit(await key(1), 'state', 'compromised');
    const fresh = await freshProcess();
    expect(await fresh.getRepository(Entry).findOneBy({ id: 1 })).toMatchObject({ text: 'one' });
  });

  const LATER = '2031-01-01T00:00:00.000Z';
  it.each([
    ['state', 'active'],
    ['state', 'preActive'],
    ['state', 'suspended'],
    ['activated_at', LATER],
    ['deactivated_at', LATER],
    ['deactivated_at', null],
    ['expires_at', LATER],
    ['state_mac', ''],
  ])('whose %s became %s is refused until it is revoked or put back', async (column, value) => {
    const row = await key(1);
    if (value === 'active') await edit(await key(2), 'state', 'compromised');
    await edit(row, column, value);
    const fresh = await freshProcess();
    const error = await readFirst(fresh);
    expect(error).toBeInstanceOf(KeyStateError);
    expect(error).toMatchObject({
      entity: 'Entry',
      property: 'text',
      keyId: row.id,
      retryable: false,
    });
    expect(error.message).toMatch(/Restore the row from a backup; or revoke the key/);
    expect(await fresh.getRepository(Entry).findOneBy({ id: 2 })).toMatchObject({ text: 'two' });
    if (value === 'active') {
      const insert = fresh.getRepository(Entry).insert({ id: 3, text: 'new', other: null });
      expect(await rejection(insert)).toMatchObject({ code: 'ERR_KEY_STATE', keyId: row.id });
      expect(await rejection(fieldEncryption(fresh).keys.rotate())).toBeInstanceOf(KeyStateError);
    }

    await fieldEncryption(fresh).keys.revoke(row.id);
    const other = await freshProcess();
    expect(await other.getRepository(Entry).findOneBy({ id: 1 })).toMatchObject({ text: 'one' });
    await other.getRepository(Entry).insert({ id: 3, text: 'new', other: null });
  });

  it('with a state that does not exist is refused', async () => {
    const row = await key(1);
    await edit(row, 'state', 'hacked');
    expect(await readFirst()).toMatchObject({ code: 'ERR_KEY_STATE', keyId: row.id });
  });

  it('whose active state was taken away keeps writes from happening instead of making a key', async () => {
    await edit(await key(2), 'state', 'compromised');
    const before = (await keyRows()).length;
    const fresh = await freshProcess();
    const error = await rejection(fresh.getRepository(Entry).insert({ id: 3, text: 'new' }));
    expect(error).toBeInstanceOf(KeyStateError);
    expect(error.message).toMatch(/Rotate the key, or restore/);
    expect(await keyRows()).toHaveLength(before);
    expect(await fresh.getRepository(Entry).count()).toBe(2);

    await fieldEncryption(fresh).keys.rotate();
    await fresh.getRepository(Entry).insert({ id: 3, text: 'new', other: null });
    expect((await key(3)).state).toBe('active');
  });

  it('that makes an old key active again is noticed by a process that knows better', async () => {
    const yesterday = await key(2);
    await fieldEncryption(outside).keys.rotate();
    const running = await freshProcess({ keyCache: { ttlMs: 1, maxAgeMs: 1000 } });
    await running.getRepository(Entry).insert({ id: 10, text: 'ten', other: null });
    await edit(await key(3), 'state', 'compromised');
    // The whole row as it was: its MACs are those of its time.
    for (const [column, value] of Object.entries(yesterday)) {
      if (column !== 'id') await edit(yesterday, column, value);
    }
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const error = await rejection(running.getRepository(Entry).insert({ id: 11, text: 'eleven' }));
    expect(error).toBeInstanceOf(KeyStateError);
    expect(error.message).toMatch(/version 2 .*version 3/);
  });

  it('of the index root keeps lookups and writes from happening', async () => {
    const root = await key(1, 'default', 'index');
    await edit(root, 'wrapped_key', flipped(root.wrapped_key, 50));
    const fresh = await freshProcess();
    const indexed = fresh.getRepository(Indexed);
    for (const work of [
      () => indexed.findOneBy({ email: 'ada@example.org' }),
      () => indexed.insert({ id: 2, email: 'eve@example.org' }),
    ]) {
      const error = await rejection(work);
      expect(error).toBeInstanceOf(KeyUnwrapError);
      expect(error).toMatchObject({ keyId: root.id });
    }
    expect(await indexed.findOneBy({ id: 1 })).toMatchObject({ email: 'ada@example.org' });
    expect(await indexed.count()).toBe(1);
  });

  it('without the index root makes no new one for tokens that exist', async () => {
    // Tokens of a new root would find nothing of what is stored: lookups would come back empty.
    await outside.query(`DELETE FROM data_keys WHERE purpose = 'index'`);
    const fresh = await freshProcess();
    const error = await rejection(
      fresh.getRepository(Indexed).findOneBy({ email: 'ada@example.org' }),
    );
    expect(error).toBeInstanceOf(FieldEncryptionError);
  });

  describe('that claims to be another root of the blind indexes', () => {
    const JUNK = 'e'.repeat(16);

    async function insertRoot(changed: Readonly<Record<string, string>> = {}): Promise<void> {
      const root = await key(1, 'default', 'index');
      const made = { id: `'${JUNK}'`, version: '2', state: "'deactivated'", wrapped_key: "'AAAA'" };
      await outside.query(
        `INSERT INTO data_keys (${COLUMNS}) SELECT ${columnsWith({ ...made, ...changed })} FROM data_keys WHERE id = '${root.id}'`,
      );
    }

    async function expectLookups(dataSource: DataSource, id: number): Promise<void> {
      const indexed = dataSource.getRepository(Indexed);
      await indexed.insert({ id, email: `${String(id)}@example.org` });
      const ada = { email: 'ada@example.org' };
      expect(await indexed.findOneBy(ada)).toMatchObject({ id: 1 });
      expect(await indexed.findOneBy({ email: `${String(id)}@example.org` })).toMatchObject({ id });
    }

    it.each(['deactivated', 'preActive', 'suspended', 'compromised'])(
      'and was made up stops nothing, is named, and goes: %s',
      async (state) => {
        const running = await freshProcess();
        await insertRoot({ state: `'${state}'` });
        await installationOf(running).keys.confirm([], { index: true });
        await expectLookups(running, 20);
        const events: KeyEvent[] = [];
        const fresh = await freshProcess({ onEvent: (event) => events.push(event) });
        await expectLookups(fresh, 21);
        expect(events).toContainEqual(
          expect.objectContaining({ type: 'keyLoadFailed', purpose: 'index', keyId: JUNK }),
        );
        const { audit, keys } = fieldEncryption(fresh);
        expect(await audit.verify()).toMatchObject({ ok: false, unproven: [{ keyId: JUNK }] });
        expect(await fieldEncryption(fresh).doctor()).toContainEqual(
          expect.objectContaining({
            code: 'INDEX_ROOT_UNKNOWN',
            message: expect.stringContaining(JUNK) as string,
          }),
        );

        expect(await keys.destroy(JUNK, { graceMs: 0 })).toMatchObject({
          key: { state: 'destroyed' },
        });
        expect((await audit.list()).at(-1)).toMatchObject({
          keyId: JUNK,
          reference: 'the row was not proven',
        });
        expect(await audit.verify()).toMatchObject({ ok: true });
        await expectLookups(fresh, 22);
      },
    );

    it('and that somebody wrote into the audit log, too, without its seal', async () => {
      await insertRoot();
      await outside.query(
        'INSERT INTO field_encryption_audit SELECT seq + 100, time, actor, operation, outcome, ' +
          `'${JUNK}', key_name, 'index', 2, key_state, kms, kek, reference, counts, sealed_by, previous_hash, hash ` +
          'FROM field_encryption_audit WHERE seq = 1',
      );
      await expectLookups(await freshProcess(), 20);
    });

    it('and is one, which tokens may be of, keeps lookups and writes from happening', async () => {
      const previous = await key(1, 'default', 'index');
      let ahead = 0;
      moveDatabaseClock(outside, () => ahead);
      const { keys } = fieldEncryption(outside);
      await keys.rotateIndex();
      ahead = 2 * 3_600_000;
      expect(await keys.rotateIndex()).toMatchObject({ step: 'activated' });
      await edit(previous, 'wrapped_key', flipped(previous.wrapped_key, 50));
      const fresh = await freshProcess();
      const indexed = fresh.getRepository(Indexed);
      for (const work of [
        () => indexed.findOneBy({ email: 'ada@example.org' }),
        () => indexed.insert({ id: 2, email: 'ada@example.org' }),
      ]) {
        expect(await rejection(work)).toMatchObject({
          code: 'ERR_KEY_UNWRAP',
          keyId: previous.id,
        });
      }
      expect(
        await rejection(fieldEncryption(fresh).keys.destroy(previous.id, { graceMs: 0 })),
      ).toMatchObject({ keyId: previous.id });
    });
  });

  describe('has no key erased', () => {
    const OLD = '2001-01-01T00:00:00.000Z';
    const JUNK = 'f'.repeat(16);
    const UNPROVEN = { code: 'ERR_KEY_STATE', retryable: false };
    const NOW = { graceMs: 0 };

    async function cleaner(retention: RetentionPolicy = { kind: 'untilReencrypted' }) {
      return fieldEncryption(await freshProcess({ keyPolicies: { '*': { retention } } }));
    }

    /** Puts a row back as it was, under whatever id it is now. */
    async function putBack(row: KeyRow, id = row.id): Promise<void> {
      for (const [column, value] of Object.entries(row)) {
        if (column !== 'id') await edit({ ...row, id }, column, value);
      }
      await edit({ ...row, id }, 'id', row.id);
    }

    async function insertJunk(row: KeyRow, changed: Readonly<Record<string, string>>) {
      const columns = columnsWith({ id: `'${JUNK}'`, wrapped_key: "'AAAA'", ...changed });
      await outside.query(
        `INSERT INTO data_keys (${COLUMNS}) SELECT ${columns} FROM data_keys WHERE id = '${row.id}'`,
      );
    }

    async function expectAllReadable(): Promise<void> {
      const fresh = await freshProcess();
      expect(await fresh.getRepository(Entry).findOneBy({ id: 1 })).toMatchObject({ text: 'one' });
      expect(await fresh.getRepository(Entry).findOneBy({ id: 2 })).toMatchObject({ text: 'two' });
      const ada = { email: 'ada@example.org' };
      expect(await fresh.getRepository(Indexed).findOneBy(ada)).toMatchObject({ id: 1 });
    }

    it.each([
      ['deactivated', OLD],
      ['deactivated', null],
      ['suspended', null],
      ['preActive', null],
    ])('that is still written with: %s since %s', async (state, since) => {
      const { version } = await fieldEncryption(outside).keys.rotate();
      const row = await key(version);
      const { keys } = await cleaner();
      await edit(row, 'state', state);
      await edit(row, 'deactivated_at', since);

      const report = await keys.maintain();
      expect(report.destroyed).toEqual([]);
      if (since === OLD) expect(report.failures).toMatchObject([{ code: 'ERR_KEY_STATE' }]);
      const refused = await rejection(keys.destroy(row.id));
      expect(refused).toMatchObject({ ...UNPROVEN, keyId: row.id });
      expect(refused.message).toMatch(/Restore the row from a backup.*graceMs: 0/);
      await outside.getRepository(Entry).insert({ id: 9, text: 'nine', other: null });
      await putBack(row);
      const fresh = await freshProcess();
      expect(await fresh.getRepository(Entry).findOneBy({ id: 9 })).toMatchObject({ text: 'nine' });
    });

    it('that was revoked since long ago: the wait counts from when it is proven', async () => {
      const { version } = await fieldEncryption(outside).keys.rotate();
      const row = await key(version);
      for (const [column, value] of [
        ['state', 'compromised'],
        ['state_mac', ''],
        ['deactivated_at', OLD],
      ] as const) {
        await edit(row, column, value);
      }
      const { keys } = await cleaner({ kind: 'minimumAge', days: 1 });
      expect(await keys.maintain(NOW)).toMatchObject({ destroyed: [], failures: [] });
      expect(await rejection(keys.destroy(row.id))).toMatchObject({ retryable: true });
    });

    it.each([
      ['one that does not open', {}],
      ['a destroyed one', { state: "'destroyed'", wrapped_key: "''", state_mac: "''" }],
    ])('whose row got another id, and %s its place', async (_what, junk) => {
      const row = await key(1);
      await insertJunk(row, { version: '77', ...junk });
      await edit(row, 'id', '0'.repeat(16));
      await edit({ ...row, id: JUNK }, 'id', row.id);
      await edit({ ...row, id: '0'.repeat(16) }, 'deactivated_at', OLD);

      const { keys } = await cleaner();
      const { destroyed, failures } = await keys.maintain(NOW);
      expect(destroyed).toEqual([]);
      expect(failures).toContainEqual(expect.objectContaining({ code: 'ERR_KEY_UNWRAP' }));
      for (const options of [{}, NOW]) {
        expect(await rejection(keys.destroy('0'.repeat(16), options))).toMatchObject(UNPROVEN);
      }
      await outside.query(`DELETE FROM data_keys WHERE id = '${row.id}'`);
      await putBack(row, '0'.repeat(16));
      await expectAllReadable();
    });

    it('whose wrapped key was swapped with that of one that nothing needs', async () => {
      await fieldEncryption(outside).keys.rotate();
      await fieldEncryption(outside).reencrypt();
      const rows = [await key(1), await key(3)] as const;
      for (const column of ['wrapped_key', 'record_mac', 'state_mac'] as const) {
        for (const i of [0, 1] as const) await edit(rows[i], column, rows[1 - i]?.[column]);
      }
      const { keys } = await cleaner();
      const { destroyed, failures } = await keys.maintain(NOW);
      expect(destroyed.map(({ version }) => version)).toEqual([2]);
      expect(failures).toMatchObject([{ keyName: 'default', code: 'ERR_KEY_UNWRAP' }]);
      expect((await rejection(keys.destroy(rows[0].id, NOW))).message).toMatch(
        /own row does not prove itself: 2 of Entry\.text/,
      );
      for (const row of rows) await putBack(row);
      await expectAllReadable();
    });

    it.each(['x', '', 'DATA', 'index'])(
      'with values under it, whatever purpose its row claims: "%s"',
      async (purpose) => {
        const row = await key(1);
        await edit(row, 'version', 9);
        await edit(row, 'purpose', purpose);
        const { keys } = await cleaner();
        expect(await keys.uses(row.id)).toContainEqual(
          expect.objectContaining({ property: 'text', rowsUnderKey: 1 }),
        );
        expect(await rejection(keys.destroy(row.id))).toMatchObject(UNPROVEN);
        const refused = await rejection(keys.destroy(row.id, NOW));
        expect(refused).toMatchObject(UNPROVEN);
        expect(refused.message).toContain('needed by rows: 1 of Entry.text');
        await putBack(row);
        await expectAllReadable();
      },
    );

    it.each([{}, { name: 'given up' }])(
      'that is the root of tokens and claims to be an old data key %p',
      async (claimed) => {
        const root = await key(1, 'default', 'index');
        const claims = { state: 'deactivated', version: 900, purpose: 'data', ...claimed };
        const { keys } = await cleaner();
        for (const [column, value] of Object.entries({ ...claims, deactivated_at: OLD })) {
          await edit(root, column, value);
        }
        expect(await keys.maintain(NOW)).toMatchObject({ destroyed: [], failures: [{}] });
        for (const options of [{}, NOW]) {
          expect(await rejection(keys.destroy(root.id, options))).toMatchObject({
            code: expect.stringMatching(/ERR_KEY_(STATE|NOT_FOUND)/) as string,
          });
        }
        await putBack(root);
        await expectAllReadable();
      },
    );

    it.each([
      ['a date that was edited', { kind: 'minimumAge', days: 3650 }],
      ['rows that somebody made up', { kind: 'lastVersions', count: 3 }],
    ] as const)('before its time: %s', async (_what, retention) => {
      await fieldEncryption(outside).keys.rotate();
      await fieldEncryption(outside).reencrypt();
      const row = await key(1);
      if (retention.kind === 'minimumAge') await edit(row, 'deactivated_at', OLD);
      for (const version of retention.kind === 'lastVersions' ? [101, 102, 103] : []) {
        const made = { id: `'${String(version).padStart(16, 'f')}'`, state: "'suspended'" };
        await insertJunk(row, { ...made, version: String(version) });
      }
      const { keys } = await cleaner(retention);
      const report = await keys.maintain(NOW);
      expect(report.destroyed).toEqual([]);
      expect(report.failures).toHaveLength(retention.kind === 'minimumAge' ? 1 : 3);
      for (const { message } of report.failures) expect(message).toMatch(/Restore|restore/);
    });

    it("but that of a row that is nobody's, on the word of an operator", async () => {
      await insertJunk(await key(1), { version: '77' });
      const { keys, audit } = await cleaner();
      expect(await keys.maintain(NOW)).toMatchObject({ failures: [{ code: 'ERR_KEY_UNWRAP' }] });
      expect(await rejection(keys.destroy(JUNK))).toMatchObject({ ...UNPROVEN, keyId: JUNK });
      expect(await keys.destroy(JUNK, NOW)).toMatchObject({ key: { state: 'destroyed' } });
      expect((await audit.list()).at(-1)).toMatchObject({
        operation: 'destroy',
        keyId: JUNK,
        reference: 'the row was not proven',
      });
      expect(await audit.verify()).toMatchObject({ ok: true });
      await expectAllReadable();
    });
  });
});

describeDiagonal('A wrong passphrase', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('is one generic error for reads, writes, rotation and ready(), and changes nothing', async () => {
    const database = await cleanup.create(kind, { entities: [Entry, Open], synchronize: true });
    const right = cleanup.add(protect(database, { kms: fastLocalKms('the right passphrase') }));
    await right.initialize();
    await right.getRepository(Entry).insert({ id: 1, text: 'one', other: null });
    const rows = (): Promise<unknown> => right.query('SELECT * FROM data_keys ORDER BY id');
    const before = await rows();

    const wrongKeys = [
      fastLocalKms('the wrong passphrase'),
      fastLocalKms(randomBytes(24).toString('base64')),
    ];
    for (const kms of wrongKeys) {
      const wrong = cleanup.add(protect(database, { kms }, { synchronize: false }));
      await wrong.initialize();
      const entries = wrong.getRepository(Entry);
      const refused = [
        () => entries.find(),
        () => entries.insert({ id: 2, text: 'two', other: null }),
        () => entries.save({ id: 2, text: 'two', other: null }),
        () => fieldEncryption(wrong).ready(),
        () => fieldEncryption(wrong).keys.rotate(),
        () => fieldEncryption(wrong).reencrypt(),
      ];
      for (const work of refused) {
        const error = await rejection(work);
        expect(error).toBeInstanceOf(KeyUnwrapError);
        expect(error).toMatchObject({ code: 'ERR_KEY_UNWRAP', retryable: false });
        expect(error.message).toMatch(/passphrase/);
        expect(error.message).not.toMatch(/the (right|wrong) passphrase/);
      }
      expect(await entries.count()).toBe(1);
      await wrong.getRepository(Open).save({ id: 5, text: 'works' });
      await wrong.destroy();
    }
    expect(await rows()).toEqual(before);
    expect(await right.getRepository(Entry).find()).toEqual([{ id: 1, text: 'one', other: null }]);
  });
});
