import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { Encrypted, fieldEncryption, fileAnchor, KeyStateError } from '../../src';
import type { FieldEncryptionOptions, KeyEvent, KeyTableAnchor } from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { FakeKms } from '../support/key-fixtures';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';
import { ownColumns } from '../support/own-columns';

@Entity()
class Note {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
}

type Row = Readonly<Record<string, unknown>>;

/** What somebody keeps who can read and write the whole database, and reach no KMS. */
interface Copy {
  readonly keys: readonly Row[];
  readonly log: readonly Row[];
}

describeDiagonal('Somebody who writes to the database', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let folder: string;
  let running: DataSource;
  let kms: FakeKms;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'field-encryption-anchor-'));
    kms = new FakeKms();
    database = await cleanup.create(kind, { entities: [Note], synchronize: true });
    running = await start({ anchor: anchor() });
    await running.getRepository(Note).insert({ id: 1, text: 'one' });
    await fieldEncryption(running).keys.rotate();
    await running.getRepository(Note).insert({ id: 2, text: 'two' });
  });
  afterEach(async () => {
    await cleanup.run();
    rmSync(folder, { recursive: true, force: true });
  });

  const anchorPath = (): string => join(folder, 'anchor');
  const anchor = (): KeyTableAnchor => fileAnchor(anchorPath());

  async function start(options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> {
    const dataSource = protect(
      database,
      { kms, application: 'clinic', ...options },
      { synchronize: options.anchor !== undefined },
    );
    return cleanup.add(await dataSource.initialize());
  }

  async function key(version: number): Promise<string> {
    const keys = await fieldEncryption(running).keys.list();
    return keys.find((candidate) => candidate.version === version)?.id ?? '';
  }

  async function copy(): Promise<Copy> {
    return {
      keys: await running.query<Row[]>('SELECT * FROM data_keys'),
      log: await running.query<Row[]>('SELECT * FROM field_encryption_audit'),
    };
  }

  async function putBack(table: string, rows: readonly Row[]): Promise<void> {
    await running.query(`DELETE FROM ${table}`);
    for (const row of rows) {
      const columns = ownColumns(table);
      const parameters = columns.map((_, at) => `$${String(at + 1)}`);
      await running.query(
        sqlOf(
          kind,
          `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${parameters.join(', ')})`,
        ),
        columns.map((column) => row[column]),
      );
    }
  }

  /** Asks the table and the KMS now, as every process does after a while. */
  const useActive = (dataSource: DataSource): Promise<void> =>
    installationOf(dataSource).keys.confirm(['default'], { index: false });
  const read = (dataSource: DataSource, id: number): Promise<Note | null> =>
    dataSource.getRepository(Note).findOneBy({ id });
  const verify = (dataSource: DataSource) => fieldEncryption(dataSource).audit.verify();

  const changes: readonly [string, number, (id: string) => Promise<unknown>][] = [
    ['revoked', 2, (id) => fieldEncryption(running).keys.revoke(id, { replace: false })],
    ['revoked and replaced', 2, (id) => fieldEncryption(running).keys.revoke(id)],
    ['suspended', 2, (id) => fieldEncryption(running).keys.suspend(id)],
    ['wrapped again', 2, () => fieldEncryption(running).keys.rewrap({ force: true })],
  ];
  it.each(changes)(
    'cannot put the row of a key back that was %s: not in a running process, nor after a restart with the anchor',
    async (_what, version, change) => {
      const id = await key(version);
      const before = await copy();
      const head = (await fieldEncryption(running).audit.head()) ?? '';
      await change(id);
      await putBack('data_keys', before.keys);

      const refused = await rejection(useActive(running));
      expect(refused).toBeInstanceOf(KeyStateError);
      expect(refused).toMatchObject({ keyId: id });
      expect(refused.message).toMatch(/older row was put back.*accept-epoch \d+ --reason/);
      expect(await rejection(fieldEncryption(running).keys.rotate())).toBeInstanceOf(KeyStateError);

      const restarted = await start({ anchor: anchor() });
      expect(await rejection(useActive(restarted))).toMatchObject({
        code: 'ERR_KEY_STATE',
        keyId: id,
      });
      expect((await rejection(fieldEncryption(restarted).ready())).message).toContain(id);

      const unanchored = await start();
      expect(await verify(unanchored)).toMatchObject({
        ok: false,
        anchor: null,
        keys: expect.arrayContaining([expect.objectContaining({ keyId: id })]) as unknown,
      });
      // The log cut to match: only what is kept elsewhere tells.
      await putBack('field_encryption_audit', before.log);
      expect(await verify(unanchored)).toMatchObject({ ok: true, head });
      expect(await verify(restarted)).toMatchObject({
        ok: false,
        anchor: expect.arrayContaining([expect.objectContaining({ keyId: id })]) as unknown,
      });
    },
  );

  it('cannot bring a destroyed key back', async () => {
    await fieldEncryption(running).reencrypt();
    const id = await key(1);
    const before = await copy();
    await fieldEncryption(running).keys.destroy(id, { graceMs: 0 });
    await putBack('data_keys', before.keys);
    const prefix = Buffer.from(`01${id}`, 'hex').toString('base64url');

    const restarted = await start({ anchor: anchor() });
    for (const dataSource of [running, restarted]) {
      const { keys } = installationOf(dataSource);
      await keys.load([prefix]);
      expect(() => keys.keyByPrefix(prefix)).toThrow(/older row was put back/);
    }
    expect(await verify(restarted)).toMatchObject({
      ok: false,
      keys: [{ keyId: id, logged: 'destroyed', found: 'deactivated' }],
      anchor: [{ keyId: id, anchored: { state: 'destroyed' } }],
    });
    // Others go on.
    expect(await read(restarted, 2)).toMatchObject({ text: 'two' });
  });

  it('cannot hide a destroyed key from the anchor behind a state and an epoch that need no proof', async () => {
    await fieldEncryption(running).reencrypt();
    const id = await key(1);
    const before = await copy();
    await fieldEncryption(running).keys.destroy(id, { graceMs: 0 });
    await putBack('data_keys', before.keys);
    await running.query(
      `UPDATE data_keys SET state = 'compromised', state_mac = '', epoch = 1000 WHERE id = '${id}'`,
    );
    const prefix = Buffer.from(`01${id}`, 'hex').toString('base64url');
    const isThere = {
      keyId: id,
      anchored: { state: 'destroyed' },
      found: { state: 'compromised' },
    };
    const use = async (dataSource: DataSource): Promise<unknown> => {
      const { keys } = installationOf(dataSource);
      await keys.load([prefix]);
      return keys.keyByPrefix(prefix);
    };

    const [one, other] = [await start({ anchor: anchor() }), await start({ anchor: anchor() })];
    expect((await rejection(fieldEncryption(one).ready())).message).toContain(id);
    await expect(use(one)).rejects.toThrow(/older row was put back/);
    expect(await verify(one)).toMatchObject({ ok: false, anchor: [isThere] });
    // Nor does somebody who takes it out of use once more.
    await fieldEncryption(one).keys.revoke(id);
    await installationOf(one).audit.anchor?.advance();
    expect(await verify(other)).toMatchObject({ ok: false, anchor: [isThere] });

    await expect(use(other)).rejects.toThrow(/older row was put back/);
    const { keys } = fieldEncryption(one);
    const reason = 'restored on purpose';
    const tooLow = await rejection(keys.acceptEpoch(1, { reason }));
    const epoch = Number(/newest that is known here is (\d+)/.exec(tooLow.message)?.[1]);
    await keys.acceptEpoch(epoch, { reason });
    expect(await verify(one)).toMatchObject({ anchor: [] });
    // A key that failed is not asked for again at once.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    for (const dataSource of [one, other, await start({ anchor: anchor() })]) {
      await useActive(dataSource);
      await installationOf(dataSource).audit.anchor?.advance();
      expect(await use(dataSource)).toMatchObject({ id });
    }
  });

  it('does not get a key back with a backup of the keys that was destroyed or revoked since', async () => {
    const { keys } = fieldEncryption(running);
    const { file } = await keys.backup({ kms });
    await fieldEncryption(running).reencrypt();
    const [destroyed, revoked] = [await key(1), await key(2)];
    await keys.destroy(destroyed, { graceMs: 0 });
    await keys.revoke(revoked);
    await running.query(`DELETE FROM data_keys WHERE id IN ('${destroyed}', '${revoked}')`);

    const restarted = await start({ anchor: anchor() });
    const report = await fieldEncryption(restarted).keys.restore(file, { kms });
    expect(report.destroyed).toMatchObject([{ id: destroyed }]);
    expect(report.restored).toMatchObject([{ id: revoked, state: 'compromised' }]);
    expect(await read(restarted, 2)).toMatchObject({ text: 'two' });
  });

  it('cannot put an old wrapping under the state that a key has now', async () => {
    const { keys } = await copy();
    await fieldEncryption(running).keys.rewrap({ force: true });
    for (const row of keys) {
      for (const column of ['kms', 'kek', 'wrapped_key', 'record_mac']) {
        await running.query(
          `UPDATE data_keys SET ${column} = '${String(row[column])}' WHERE id = '${String(row['id'])}'`,
        );
      }
    }
    expect(await rejection(useActive(running))).toMatchObject({ code: 'ERR_KEY_STATE' });
    expect(await rejection(useActive(await start()))).toMatchObject({ code: 'ERR_KEY_STATE' });
  });

  it('cannot use the epochs up, nor lock anybody out with them', async () => {
    await running.query(
      `UPDATE data_keys SET epoch = 2147483647, state = 'compromised', state_mac = '' WHERE id = '${await key(1)}'`,
    );
    const restarted = await start({ anchor: anchor() });
    const dryRun = { reason: 'to see', dryRun: true };
    expect((await fieldEncryption(restarted).keys.acceptEpoch(10, dryRun)).epoch).toBe(11);
    await fieldEncryption(restarted).keys.rotate();
    await restarted.getRepository(Note).insert({ id: 3, text: 'three' });
    expect(await read(await start(), 1)).toMatchObject({ text: 'one' });
    const rows = await running.query<{ version: number; epoch: number }[]>(
      `SELECT version, epoch FROM data_keys WHERE version = 3`,
    );
    expect(rows[0]?.epoch).toBeLessThan(10);
  });

  it('is told of by a key that is gone, and none is made in its place', async () => {
    await running.query("DELETE FROM data_keys WHERE purpose = 'data'");
    await running.query('DELETE FROM note');
    await running.query("DELETE FROM field_encryption_audit WHERE key_purpose = 'data'");
    const restarted = await start({ anchor: anchor() });
    const insert = restarted.getRepository(Note).insert({ id: 3, text: 'three' });
    expect(await rejection(insert)).toMatchObject({ code: 'ERR_KEY_NOT_FOUND' });
  });

  it('cannot have a made up anchor accepted; an empty one begins anew, and tells so', async () => {
    const genuine = readFileSync(anchorPath(), 'utf8');
    expect(statSync(anchorPath()).mode & 0o777).toBe(0o600);
    const entries = genuine.split('.');
    const forged = [entries[0], entries[1], `${entries[2] ?? ''}AAAAAAAAAAAA`, ...entries.slice(3)];
    const changed = genuine.replace(/.$/, genuine.endsWith('A') ? 'E' : 'A');
    for (const text of [forged.join('.'), 'nonsense', changed]) {
      writeFileSync(anchorPath(), text);
      const error = await rejection(fieldEncryption(await start({ anchor: anchor() })).ready());
      expect(error).toMatchObject({ code: 'ERR_KEY_STATE', retryable: false });
      expect(error.message).toMatch(/anchor of the key table/);
    }
    rmSync(anchorPath());
    const events: KeyEvent[] = [];
    const onEvent = (event: KeyEvent): number => events.push(event);
    await fieldEncryption(await start({ anchor: anchor(), onEvent })).ready();
    expect(events).toContainEqual(expect.objectContaining({ type: 'anchorBegun' }));
  });

  it('is told of by an anchor that cannot be written: it has not begun, and says so at each start', async () => {
    await running.destroy();
    for (let starts = 0; starts < 2; starts += 1) {
      const events: KeyEvent[] = [];
      const nowhere = fileAnchor(join(folder, 'missing', 'anchor'));
      await start({ anchor: nowhere, onEvent: (event) => events.push(event) });
      const types = events.map(({ type }) => type);
      expect(types).toContain('anchorFailed');
      expect(types).not.toContain('anchorBegun');
    }
  });

  it('leaves no failure behind when the DataSource is destroyed while the anchor is written', async () => {
    const events: KeyEvent[] = [];
    const behind = readFileSync(anchorPath(), 'utf8');
    let cutOff: () => void = () => undefined;
    const cut = new Promise<void>((_resolve, reject) => {
      cutOff = () => {
        reject(new Error('cut off'));
      };
    });
    let begin: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    let isSlow = false;
    const slow: KeyTableAnchor = {
      read: () => Promise.resolve(behind),
      write: () => {
        if (!isSlow) return Promise.resolve();
        begin();
        return cut;
      },
    };
    const dataSource = await start({ anchor: slow, onEvent: (event) => events.push(event) });
    await fieldEncryption(dataSource).ready();
    isSlow = true;
    await fieldEncryption(running).keys.rotate();
    await useActive(dataSource);
    const advanced = installationOf(dataSource).audit.anchor?.advance();
    await begun;
    await dataSource.destroy();
    cutOff();
    await advanced;
    expect(events.map(({ type }) => type)).not.toContain('anchorFailed');
  });

  it('is kept out by an anchor that is away: keys are not used until it was read', async () => {
    let away = true;
    const real = anchor();
    const flaky: KeyTableAnchor = {
      read: () => (away ? Promise.reject(new Error('away')) : real.read()),
      write: (state, previous) => real.write(state, previous),
    };
    const restarted = await start({ anchor: flaky });
    expect(await rejection(read(restarted, 1))).toMatchObject({
      code: 'ERR_KEY_STATE',
      retryable: true,
    });
    // What needs no key does not wait for it.
    expect(await fieldEncryption(restarted).keys.list()).toHaveLength(2);
    away = false;
    expect(await read(restarted, 1)).toMatchObject({ text: 'one' });
  });

  it('gains nothing from a crash between a change and the anchor, which locks nobody out either', async () => {
    const behind = readFileSync(anchorPath(), 'utf8');
    const failing: KeyTableAnchor = {
      read: () => Promise.resolve(behind),
      write: () => Promise.reject(new Error('crashed')),
    };
    const events: KeyEvent[] = [];
    const crashing = await start({ anchor: failing, onEvent: (event) => events.push(event) });
    await fieldEncryption(crashing).keys.rotate();
    expect(events).toContainEqual(expect.objectContaining({ type: 'anchorFailed' }));
    expect(readFileSync(anchorPath(), 'utf8')).toBe(behind);

    const restarted = await start({ anchor: anchor() });
    await fieldEncryption(restarted).ready();
    await restarted.getRepository(Note).insert({ id: 3, text: 'three' });
    await installationOf(restarted).audit.anchor?.advance();
    expect(readFileSync(anchorPath(), 'utf8')).not.toBe(behind);
  });

  it('is no operator: an older table is accepted by naming the epoch, with a record, in all processes', async () => {
    const before = await copy();
    const id = await key(2);
    await fieldEncryption(running).keys.revoke(id);
    await putBack('data_keys', before.keys);
    const refused = await rejection(useActive(running));
    const epoch = Number(/accept-epoch (\d+)/.exec(refused.message)?.[1]);
    const restarted = await start({ anchor: anchor() });
    const { keys } = fieldEncryption(restarted);
    const reason = 'restored from the backup of the night';
    expect(await rejection(keys.acceptEpoch(epoch - 1, { reason }))).toMatchObject({
      code: 'ERR_KEY_STATE',
    });
    expect(await rejection(keys.acceptEpoch(epoch, { reason: ' ' }))).toMatchObject({
      code: 'ERR_CONFIGURATION',
    });
    expect(await keys.acceptEpoch(epoch, { reason, dryRun: true })).toMatchObject({
      differences: expect.arrayContaining([expect.objectContaining({ keyId: id })]) as unknown,
    });
    expect(await rejection(useActive(running))).toBeInstanceOf(KeyStateError);

    expect(await keys.acceptEpoch(epoch, { reason })).toMatchObject({ epoch: epoch + 1, keys: 3 });
    for (const dataSource of [running, restarted, await start({ anchor: anchor() })]) {
      await useActive(dataSource);
      await fieldEncryption(dataSource).ready();
    }
    expect(await read(running, 2)).toMatchObject({ text: 'two' });
    expect(await verify(restarted)).toMatchObject({ ok: true, anchor: [] });
    const entries = await fieldEncryption(restarted).audit.list();
    const accepted = entries.filter(({ operation }) => operation === 'acceptEpoch');
    expect(accepted.map(({ reference, counts }) => [reference, counts['epoch']])).toEqual([
      ...Array.from({ length: 3 }, () => [reason, epoch + 1]),
      // The replacement, which the restored table does not have; the revocation was proven after it.
      [reason, epoch - 1],
    ]);
    expect(accepted.at(-1)).toMatchObject({ keyState: 'missing', keyVersion: 3 });
    // A row from before is older again.
    await putBack('data_keys', before.keys);
    expect(await rejection(useActive(running))).toBeInstanceOf(KeyStateError);
  });

  it.each([
    ['at once', {}],
    ['by the process that loads the key', { replace: false }],
  ])(
    'does not matter to a revocation that is proven %s: the row only gets newer',
    async (_, options) => {
      const id = await key(1);
      const { deactivatedAt } =
        (await fieldEncryption(running).keys.list()).find((known) => known.id === id) ?? {};
      const stored = async (): Promise<Row | undefined> =>
        (await copy()).keys.find((row) => row['id'] === id);
      await fieldEncryption(await start()).keys.revoke(id, options);
      const revoked = await stored();

      const operator = await start();
      expect(await rejection(fieldEncryption(operator).keys.destroy(id))).toMatchObject({
        code: 'ERR_KEY_STATE',
        retryable: true,
      });

      const refused = await stored();
      expect(Number(refused?.['epoch'])).toBeGreaterThanOrEqual(Number(revoked?.['epoch']));
      if (!('replace' in options)) {
        expect(refused).toEqual(revoked);
        expect(refused?.['deactivated_at']).toBe(deactivatedAt?.toISOString());
      }
      expect(await verify(operator)).toMatchObject({ ok: true });
    },
  );

  it('does not undo what was revoked while the KMS was away, and a process that loads the key proves it', async () => {
    const id = await key(2);
    const before = await copy();
    kms.outage = new Error('away');
    await fieldEncryption(running).keys.revoke(id, { replace: false });
    kms.outage = undefined;
    const macOf = async (): Promise<unknown> =>
      (await running.query<Row[]>(`SELECT state_mac FROM data_keys WHERE id = '${id}'`))[0]?.[
        'state_mac'
      ];
    expect(await macOf()).toBe('');
    const other = await start();
    expect(await read(other, 2)).toMatchObject({ text: 'two' });
    while ((await macOf()) === '') await new Promise((resolve) => setTimeout(resolve, 20));

    await putBack('data_keys', before.keys);
    for (const dataSource of [running, other]) {
      expect(await rejection(useActive(dataSource))).toMatchObject({
        code: 'ERR_KEY_STATE',
        keyId: id,
      });
    }
    expect(existsSync(anchorPath())).toBe(true);
  });
});
