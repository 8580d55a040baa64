import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { Encrypted, fieldEncryption } from '../../src';
import type { RunOptions, RunProgress } from '../../src';
import { describeDiagonal } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';
import { StatementLog } from '../support/statement-log';

@Entity()
class Letter {
  @PrimaryColumn() id!: number;
  @Encrypted() text!: string;
}

const ROWS = 100;

class ErrorLog extends StatementLog {
  readonly errors: string[] = [];
  override logQueryError(error?: string | Error): void {
    this.errors.push(String(error));
  }
}

describeDiagonal('the records of a run', (kind) => {
  const cleanup = new Cleanup();
  const log = new ErrorLog();
  let dataSource: DataSource;

  beforeEach(async () => {
    const database = await cleanup.create(kind, { entities: [Letter], synchronize: true });
    dataSource = cleanup.add(protect(database, {}, { logger: log, logging: true }));
    await dataSource.initialize();
    const rows = Array.from({ length: ROWS }, (_, id) => ({ id, text: `canary ${String(id)}` }));
    await dataSource.getRepository(Letter).insert(rows);
    await fieldEncryption(dataSource).keys.rotate();
    log.errors.length = 0;
  });
  afterEach(() => cleanup.run());

  async function entries(): Promise<string[]> {
    const all = await fieldEncryption(dataSource).audit.list({ after: 0 });
    return all.flatMap(({ operation, outcome }) =>
      operation.startsWith('data ') ? [`${operation} ${outcome}`] : [],
    );
  }

  function interrupted(options: RunOptions = {}) {
    const abort = new AbortController();
    return fieldEncryption(dataSource).reencrypt({
      ...options,
      batchSize: 10,
      signal: abort.signal,
      onProgress: () => {
        abort.abort();
      },
    });
  }

  it('has no statement that fails, though ranges are cut concurrently', async () => {
    const report = await fieldEncryption(dataSource).reencrypt({ batchSize: 1 });
    expect(report).toMatchObject({ changed: ROWS, remaining: 0 });
    expect(log.errors).toEqual([]);
  });

  it('names each end in the audit log, also that of a run which is interrupted', async () => {
    expect(await interrupted()).toMatchObject({ aborted: true });
    expect(await entries()).toEqual(['data reencrypt started', 'data reencrypt interrupted']);

    await fieldEncryption(dataSource).reencrypt();
    expect((await entries()).slice(2)).toEqual(['data reencrypt started', 'data reencrypt done']);
    expect(await fieldEncryption(dataSource).audit.verify()).toMatchObject({ ok: true });
  });

  it('tells what was done before from what is done now', async () => {
    const first = await interrupted();
    expect(first).toMatchObject({ doneBefore: 0 });

    const steps: RunProgress[] = [];
    const second = await fieldEncryption(dataSource).reencrypt({
      batchSize: 10,
      onProgress: (progress) => steps.push(progress),
    });
    expect(second).toMatchObject({
      resumed: true,
      scanned: ROWS,
      changed: ROWS - first.changed,
      skipped: first.changed,
      doneBefore: first.changed,
    });
    expect(new Set(steps.map(({ doneBefore }) => doneBefore))).toEqual(new Set([first.changed]));
    expect(steps.at(-1)).toMatchObject({ scanned: ROWS, total: ROWS });
  });
});
