import { inspect } from 'node:util';
import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, fieldEncryption, KeyNotFoundError } from '../../src';
import type { RunReport } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Letter {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() text!: string;
  @Encrypted({ type: 'bytes', storage: 'binary', nullable: true }) scan!: Buffer | null;
}

/** Rows that can be read; three more cannot. */
const ROWS = 28;

const TROUBLES = [
  { code: 'ERR_KEY_STATE', change: `UPDATE data_keys SET state = 'destroyed', wrapped_key = ''` },
  {
    code: 'ERR_KEY_UNWRAP',
    change: `UPDATE data_keys SET wrapped_key = replace(wrapped_key, substr(wrapped_key, 30, 4), 'AAAA')`,
  },
  { code: 'ERR_KEY_NOT_FOUND', change: 'DELETE FROM data_keys' },
];
const FAILURES = TROUBLES.map(({ code }, i) => ({
  entity: 'Letter',
  property: 'text',
  primaryKey: [ROWS + 1 + i],
  code,
}));

describeDiagonal('Rows under keys that cannot be used', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Letter], synchronize: true });
  });
  afterEach(() => cleanup.run());

  async function opened(synchronize: boolean): Promise<DataSource> {
    const options = { legacyPlaintext: ['Letter.text', 'Letter.scan'] };
    return cleanup.add(protect(database, options, { synchronize })).initialize();
  }

  /** A process that has just begun, where all rows are under old keys: of one that was destroyed, damaged, lost, and of one that reads. */
  async function withTrouble(): Promise<DataSource> {
    const seeding = await opened(true);
    const { keys } = fieldEncryption(seeding);
    const letters = seeding.getRepository(Letter);
    const scan = Buffer.from('canary');
    for (const [i] of TROUBLES.entries()) {
      await letters.insert({ id: ROWS + 1 + i, text: `canary ${String(i)}`, scan });
      await keys.rotate();
    }
    const rest = Array.from({ length: ROWS }, (_, i) => i + 1);
    await letters.insert(rest.map((id) => ({ id, text: `canary ${String(id)}`, scan })));
    const versions = await keys.list();
    await keys.rotate();
    for (const [i, { change }] of TROUBLES.entries()) {
      await seeding.query(`${change} WHERE id = '${String(versions[i]?.id)}'`);
    }
    await seeding.destroy();
    return opened(false);
  }

  function expectOthersDone(report: RunReport, changed: number): void {
    expect(report).toMatchObject({ failed: 3, changed, aborted: false, failures: FAILURES });
  }

  it('are listed by a re-encryption, which moves all others', async () => {
    const dataSource = await withTrouble();
    const encryption = fieldEncryption(dataSource);
    const report = await encryption.reencrypt({ batchSize: 7 });

    expectOthersDone(report, ROWS);
    expect(report.remaining).toBe(3);
    expectOthersDone(await encryption.reencrypt({ restart: true }), 0);
    const [status] = await encryption.status();
    expect(status?.keys.map(({ rows }) => rows).sort()).toEqual([1, 1, 1, ROWS]);
    // The key that the others have left can go, when no row may be of it.
    const [, , left] = await encryption.keys.list();
    expect(left).toMatchObject({ version: 4, state: 'deactivated' });
    const id = ROWS + TROUBLES.length;
    await dataSource.query(`DELETE FROM letter WHERE id = ${String(id)}`);
    await encryption.keys.destroy(String(left?.id), { graceMs: 0 });
  });

  it('are listed by the other runs, which do all others', async () => {
    const dataSource = await withTrouble();
    const encryption = fieldEncryption(dataSource);
    await dataSource.query('UPDATE letter SET text_bidx = NULL WHERE id < 10');

    expect(await encryption.verify()).toMatchObject({ failed: 12 });
    expectOthersDone(await encryption.reindex(), 9);
    expectOthersDone(await encryption.verify(), 0);
    const report = await encryption.decrypt();
    expectOthersDone(report, ROWS);
    expect(report.remaining).toBe(3);
    expect(await dataSource.query('SELECT text FROM letter WHERE id = 5')).toEqual([
      { text: 'canary 5' },
    ]);
  });

  it('may be cleartext of that form, which is not guessed, and written again without being read', async () => {
    const dataSource = await opened(true);
    const letters = dataSource.getRepository(Letter);
    const text = Buffer.concat([Buffer.of(1), Buffer.from('canary'.repeat(8))]).toString(
      'base64url',
    );
    await dataSource.query(`INSERT INTO letter (id, text) VALUES (1, '${text}'), (2, 'canary')`);

    const error = await rejection(letters.findOneBy({ id: 1 }));
    expect(error).toBeInstanceOf(KeyNotFoundError);
    expect(error).toMatchObject({ entity: 'Letter', property: 'text', keyId: '63616e6172796361' });
    expect(error.message).toContain('repository.update(id, { text: text })');
    expect(inspect(error, { depth: 9 })).not.toContain(text.slice(0, 16));
    expect(await fieldEncryption(dataSource).encrypt()).toMatchObject({
      changed: 1,
      failures: [{ primaryKey: [1], code: 'ERR_KEY_NOT_FOUND' }],
    });
    await letters.update(1, { text });
    expect((await letters.findBy({ text })).map(({ id }) => id)).toEqual([1]);
    expect(await fieldEncryption(dataSource).encrypt()).toMatchObject({ failed: 0, remaining: 0 });
  });
});
