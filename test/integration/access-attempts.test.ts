import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  AccessDeniedError,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  runAs,
} from '../../src';
import type { AuditEntry, FieldEncryptionOptions } from '../../src';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

@Entity()
class Patient {
  @PrimaryColumn() id!: number;
  @Encrypted() ssn!: string;
}

describeEachDatabase('Attempts that are refused', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeEach(async () => {
    database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
  });
  afterEach(() => cleanup.run());

  async function connect(options: Partial<FieldEncryptionOptions> = {}): Promise<void> {
    const access = { levelOf: () => 1 as const };
    dataSource = await cleanup.add(protect(database, { access, ...options })).initialize();
    await dataSource.getRepository(Patient).insert({ id: 1, ssn: '1' });
  }

  async function attempt(): Promise<void> {
    const rotation = rejection(() => fieldEncryption(dataSource).keys.rotate());
    expect(await rotation).toBeInstanceOf(AccessDeniedError);
  }

  const recorded = async (): Promise<AuditEntry[]> =>
    (await fieldEncryption(dataSource).audit.list()).filter(({ outcome }) => outcome === 'denied');

  it('are recorded of those who made them, whoever is at work when that is done', async () => {
    await connect({ audit: { actor: () => 'the process' } });
    for (let i = 0; i < 2; i += 1) await attempt();
    await runAs({ id: 'mallory' }, async () => {
      for (let i = 0; i < 3; i += 1) await attempt();
    });
    await runAs({ id: 'ada' }, () => dataSource.destroy());
    await dataSource.initialize();
    const entries = await recorded();
    expect(entries.map(({ actor, counts }) => [actor, counts])).toEqual([
      ['the process', {}],
      ['mallory', {}],
      ['the process', { attempts: 1 }],
      ['mallory', { attempts: 2 }],
    ]);
  });

  it('are counted until the audit log takes them', async () => {
    let isAway = true;
    await connect();
    await dataSource.destroy();
    const sink = (): void => {
      if (isAway) throw new Error('away');
    };
    await connectOver({ audit: { sink } });
    for (let i = 0; i < 3; i += 1) await attempt();
    expect(await recorded()).toEqual([]);
    isAway = false;
    await attempt();
    expect(await recorded()).toMatchObject([{ counts: { attempts: 4 } }]);
    await attempt();
    expect(await recorded()).toHaveLength(1);
  });

  async function connectOver(options: Partial<FieldEncryptionOptions>): Promise<void> {
    const access = { levelOf: () => 1 as const };
    dataSource = await cleanup.add(protect(database, { access, ...options })).initialize();
  }

  it('are not lost with the transaction in which they are made', async () => {
    await connect();
    const rolledBack = dataSource.transaction(async () => {
      await attempt();
      throw new Error('roll back');
    });
    expect((await rejection(rolledBack)).message).toBe('roll back');
    await attempt();
    await dataSource.destroy();
    await dataSource.initialize();
    const attempts = (await recorded()).map(({ counts }) => counts['attempts'] ?? 1);
    expect(attempts.reduce((sum, each) => sum + each, 0)).toBe(2);
  });

  it('are those of a `levelOf` that is asynchronous, whose rejection ends no process', async () => {
    const unhandled: unknown[] = [];
    const listen = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', listen);
    try {
      const levelOf = (): never => Promise.reject(new Error('directory is away')) as never;
      await connectOver({ access: { levelOf } });
      const error = await rejection(dataSource.getRepository(Patient).insert({ id: 1, ssn: '1' }));
      expect(error).toBeInstanceOf(ConfigurationError);
      expect(error.message).toContain('not a promise');
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(unhandled).toEqual([]);
    } finally {
      process.off('unhandledRejection', listen);
    }
  });
});
