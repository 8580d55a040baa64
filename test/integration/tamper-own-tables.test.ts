import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, FieldEncryptionError } from '../../src';
import { auditHead, auditList, auditVerify } from '../../src/cli/commands/logs/audit';
import { keysAdopt } from '../../src/cli/commands/keys-adopt';
import { keysDestroy, keysRevoke } from '../../src/cli/commands/keys-revoke';
import { keysList } from '../../src/cli/commands/keys-list';
import { keysMaintain } from '../../src/cli/commands/keys-maintain';
import { keysRewrap, keysRotate } from '../../src/cli/commands/keys-rotate';
import { status } from '../../src/cli/commands/status';
import { dataRun } from '../../src/cli/commands/data-run';
import type { DataRunOptions } from '../../src/cli/commands/data-run';
import { errorReport } from '../../src/cli/terminal/output';
import type { CommandResult } from '../../src/cli/terminal/output';
import type { Session } from '../../src/cli/load/session';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';
import { copyRows } from '../support/own-columns';

@Entity()
class Entry {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() text!: string;
}

const RUN: DataRunOptions = {
  ...{ dryRun: false, restart: false, entity: [], column: [], first: [], workers: 1 },
  ...{ batchSize: undefined, maxRate: undefined, maxReplicaLag: undefined },
  ...{ targetKey: undefined, report: undefined, queue: undefined },
};

type Command = () => Promise<CommandResult>;

/** The commands that look at keys, log and rows. */
function lookingOn(session: Session, keyId: string): Record<string, Command> {
  return {
    status: () => status(session),
    'keys list': () => keysList(session, { index: false }),
    'keys adopt': () => keysAdopt(session, [], { dryRun: true, yes: false }),
    'keys maintain': () =>
      keysMaintain(session, { dryRun: true, reencrypt: false, backup: undefined }),
    'keys destroy': () =>
      keysDestroy(session, keyId, { dryRun: true, yes: false, graceMs: 60_000 }),
    'audit list': () => auditList(session, { after: 0, limit: 100 }),
    'audit verify': () => auditVerify(session, {}),
    'data verify': () => dataRun(session, 'verify', RUN),
  };
}

function commandsOn(session: Session, keyId: string): Record<string, Command> {
  return {
    ...lookingOn(session, keyId),
    'keys list --index': () => keysList(session, { index: true }),
    'keys rewrap': () => keysRewrap(session, { dryRun: true, to: undefined, force: true }),
    'keys revoke': () => keysRevoke(session, keyId, { dryRun: true, yes: false, replace: true }),
    'audit head': () => auditHead(session),
    'data reencrypt': () => dataRun(session, 'reencrypt', RUN),
    'keys rotate': () => keysRotate(session, 'default', { dryRun: false }),
  };
}

describeDiagonal("The library's own tables", (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  afterEach(() => cleanup.run());

  async function start(synchronize = false): Promise<DataSource> {
    const keyPolicies = { default: { rotation: { kind: 'cron', pattern: '0 0 1 1 *' } } } as const;
    const dataSource = cleanup.add(protect(database, { keyPolicies }, { synchronize }));
    return dataSource.initialize();
  }

  function sessionOf(dataSource: DataSource): Session {
    return {
      dataSource,
      dataSourcePath: 'data-source.js',
      installation: installationOf(dataSource),
      fieldEncryption: fieldEncryption(dataSource),
      output: {
        json: true,
        result: () => undefined,
        error: () => undefined,
        progress: () => undefined,
        close: () => undefined,
      },
    };
  }

  /** What the commands fail with, by their names. Nothing but typed errors may come of any. */
  async function failuresOf(
    commands: Readonly<Record<string, Command>>,
  ): Promise<Record<string, string>> {
    const failures: Record<string, string> = {};
    for (const [name, command] of Object.entries(commands)) {
      try {
        await command();
      } catch (error) {
        if (!(error instanceof FieldEncryptionError)) throw error;
        failures[name] = errorReport(error).message;
      }
    }
    return failures;
  }

  /** A database with a deactivated key, an active one, an index root and a log. */
  async function populated(): Promise<{ dataSource: DataSource; old: string; active: string }> {
    database = await cleanup.create(kind, { entities: [Entry] });
    const dataSource = await start(true);
    await dataSource.getRepository(Entry).insert({ id: 1, text: 'one' });
    const { keys } = fieldEncryption(dataSource);
    const [first] = await keys.list();
    const second = await keys.rotate();
    return { dataSource, old: first?.id ?? '', active: second.id };
  }

  async function write(
    dataSource: DataSource,
    table: string,
    where: string,
    column: string,
    value: unknown,
  ): Promise<void> {
    const sql = sqlOf(kind, `UPDATE ${table} SET "${column}" = $1 WHERE ${where}`);
    await dataSource.query(sql, [value]);
  }

  /** What fits the column: SQLite keeps values of any type in it. */
  function garbageFor(type: 'text' | 'number'): readonly unknown[] {
    const fitting = type === 'text' ? 'nonsense' : 2_147_483_647;
    return kind.dialect === 'sqlite'
      ? [fitting, type === 'text' ? -1.5 : 'abc', Buffer.from([0, 255])]
      : [fitting];
  }

  const keyColumns: readonly (readonly [string, 'text' | 'number'])[] = [
    ...['name', 'purpose', 'suite', 'state', 'kms', 'kek', 'wrapped_key', 'record_mac'].map(
      (column) => [column, 'text'] as const,
    ),
    ...['state_mac', 'created_at', 'activated_at', 'deactivated_at', 'compromised_at'].map(
      (column) => [column, 'text'] as const,
    ),
    ...['destroyed_at', 'expires_at', 'owner', 'security_level', 'application'].map(
      (column) => [column, 'text'] as const,
    ),
    ...['version', 'use_count', 'epoch'].map((column) => [column, 'number'] as const),
  ];

  it.each(keyColumns)(
    'give nothing but typed errors, whatever "%s" of a key holds, and let it be revoked',
    async (column, type) => {
      const { dataSource, active, old } = await populated();
      await dataSource.query('CREATE TABLE saved AS SELECT * FROM data_keys');
      const id = column.endsWith('_at') ? old : active;
      for (const value of garbageFor(type)) {
        await write(dataSource, 'data_keys', `id = '${id}'`, column, value);
        const fresh = await start();
        await failuresOf(lookingOn(sessionOf(fresh), id));
        expect((await fieldEncryption(fresh).doctor()).map(({ code }) => code)).not.toContain(
          'CHECK_FAILED',
        );
        // By another purpose it is no data key, and nothing is encrypted with it either.
        const { key } = await fieldEncryption(fresh).keys.revoke(id, { replace: false });
        expect(key).toMatchObject({ id, state: 'compromised' });
        await fresh.destroy();
        await dataSource.query('DELETE FROM data_keys');
        await dataSource.query(copyRows('saved', 'data_keys'));
      }
    },
  );

  it('name the column of a key that cannot be read', async () => {
    const { dataSource, old } = await populated();
    await write(dataSource, 'data_keys', `id = '${old}'`, 'deactivated_at', 'yesterday');
    const failures = await failuresOf(lookingOn(sessionOf(await start()), old));
    expect(failures['keys destroy']).toMatch(
      /deactivated_at cannot be read\. Restore the row from a backup/,
    );
  });

  it('say of a key that is no data key what it is', async () => {
    const { dataSource } = await populated();
    await write(dataSource, 'data_keys', "purpose <> 'data'", 'record_mac', '');
    const fresh = await start();
    const { broken, unproven } = await fieldEncryption(fresh).audit.verify();
    expect(broken).toEqual({ seq: 1, problem: 'unopenedSeal' });
    expect(unproven.map(({ message }) => message).sort()).toEqual([
      expect.stringMatching(/^audit key [0-9a-f]{16} \(version 1\)/),
      expect.stringMatching(/^index root [0-9a-f]{16} \(version 1\)/),
    ]);
    const error = await fieldEncryption(fresh)
      .ready()
      .catch((failure: unknown) => failure);
    expect(String(error)).toMatch(/index root [0-9a-f]{16} \(version 1\)/);
    const recorded = await fieldEncryption(fresh)
      .keys.rotate()
      .catch((failure: unknown) => failure);
    expect(String(recorded)).toMatch(/audit key [0-9a-f]{16} \(version 1\)/);
  });

  const logColumns: readonly (readonly [string, 'text' | 'number'])[] = [
    ...['time', 'actor', 'operation', 'outcome', 'key_id', 'key_name', 'key_purpose'].map(
      (column) => [column, 'text'] as const,
    ),
    ...['key_state', 'kms', 'kek', 'reference', 'counts', 'sealed_by', 'previous_hash', 'hash'].map(
      (column) => [column, 'text'] as const,
    ),
    ['key_version', 'number'],
  ];
  it.each(logColumns)(
    'show that "%s" of an entry of the log is not what was written',
    async (column, type) => {
      const { dataSource, old } = await populated();
      await dataSource.query('CREATE TABLE saved AS SELECT * FROM field_encryption_audit');
      const last = '(SELECT MAX(seq) FROM field_encryption_audit)';
      const json = column === 'counts' ? ['{"epoch":"x"}', '[1]', '{"a":1e999}'] : [];
      for (const value of [...garbageFor(type), ...json]) {
        await write(dataSource, 'field_encryption_audit', `seq = ${last}`, column, value);
        const fresh = await start();
        const { ok, broken } = await fieldEncryption(fresh).audit.verify();
        expect(ok).toBe(false);
        expect(broken).not.toBeNull();
        await failuresOf(lookingOn(sessionOf(fresh), old));
        await fresh.query('DELETE FROM field_encryption_audit');
        await fresh.query(copyRows('saved', 'field_encryption_audit'));
        await fresh.destroy();
      }
    },
  );

  it('are named, with the way to make them, where the database has none', async () => {
    database = await cleanup.create(kind, { entities: [Entry] });
    const dataSource = cleanup.add(protect(database));
    installationOf(dataSource).preparesAtStart = false;
    await dataSource.initialize();
    const failures = await failuresOf(commandsOn(sessionOf(dataSource), '0011223344556677'));
    for (const message of Object.values(failures))
      expect(message).toMatch(/field-encryption init|migrations/);
    expect(Object.keys(failures)).toEqual(
      expect.arrayContaining(['keys list', 'audit verify', 'data verify', 'data reencrypt']),
    );
    expect((await status(sessionOf(dataSource))).text).toMatch(/\. Run:\n .* init$/m);
  });

  it.each([
    'field_encryption_audit',
    'field_encryption_runs',
    'field_encryption_ranges',
    'data_keys',
  ])(
    'are named where only %s is missing, also when it goes while the process runs',
    async (table) => {
      const { dataSource, old } = await populated();
      await fieldEncryption(dataSource).audit.verify();
      await dataSource.query(`DROP TABLE ${table}`);
      for (const process of [dataSource, await start()]) {
        const failures = Object.values(await failuresOf(commandsOn(sessionOf(process), old)));
        expect(failures).not.toEqual([]);
        for (const message of failures.filter((each) => each.includes(table))) {
          expect(message).toMatch(/field-encryption init/);
        }
      }
    },
  );
});
