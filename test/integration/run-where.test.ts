import { EntitySchema } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  blindIndexColumns,
  encryptedColumn,
  fieldEncryption,
  RunPlanError,
  UnsupportedQueryError,
} from '../../src';
import type { FieldEncryption, RunOptions } from '../../src';
import { installationOf } from '../../src/typeorm/installation/installations';
import { joinRun, openRuns } from '../../src/reencryption/runs/shared-run';
import { RunCounts } from '../../src/reencryption/report/run-report';
import { describeDiagonal } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';

interface PatientRow {
  id: number;
  tenant: string;
  email: string;
}

const Patient = new EntitySchema<PatientRow>({
  name: 'Patient',
  columns: {
    id: { type: Number, primary: true },
    tenant: { type: String, name: 'tenant_id' },
    email: encryptedColumn(),
    ...blindIndexColumns('email'),
  },
});
const Visitor = new EntitySchema<{ id: number; name: string }>({
  name: 'Visitor',
  columns: { id: { type: Number, primary: true }, name: encryptedColumn() },
});

/** What ends a string, and looks like a parameter and a cast. */
const TENANT = `it's :a::text`;
const WHERE: RunOptions = {
  where: { Patient: `tenant_id = :tenant AND CAST(id AS char(9)) <> ':tenant'` },
  parameters: { tenant: TENANT },
};

describeDiagonal('A run over the rows of a condition', (kind) => {
  const cleanup = new Cleanup();
  let dataSource: DataSource;
  let encryption: FieldEncryption;

  beforeEach(async () => {
    const entities = [Patient, Visitor];
    const database = await cleanup.create(kind, { entities, synchronize: true });
    dataSource = await cleanup.add(protect(database)).initialize();
    encryption = fieldEncryption(dataSource);
    await dataSource.getRepository(Patient).insert(
      Array.from({ length: 20 }, (_, i) => ({
        id: i + 1,
        tenant: i % 2 === 0 ? TENANT : 'other',
        email: `canary.${String(i)}@example.org`,
      })),
    );
    await dataSource.getRepository(Visitor).insert({ id: 1, name: 'canary' });
    await encryption.keys.rotate();
  });
  afterEach(() => cleanup.run());

  /** Rows of each property under the older key. */
  const left = async (): Promise<object> =>
    Object.fromEntries(
      (await encryption.status()).map(({ property, keys }) => [
        property,
        keys.find(({ version }) => version === 1)?.rows ?? 0,
      ]),
    );

  it('leaves all other rows and entities alone, and counts its own', async () => {
    const { plan } = await encryption.reencrypt({ ...WHERE, dryRun: true });
    expect(plan?.tables).toMatchObject([
      { entity: 'Patient', rows: 10, pending: 10, where: WHERE.where?.['Patient'] },
    ]);
    expect(JSON.stringify(plan)).not.toContain(TENANT);

    expect(await encryption.reencrypt({ ...WHERE, batchSize: 3 })).toMatchObject({
      ...{ scanned: 10, changed: 10, skipped: 0, failed: 0, remaining: 0 },
    });
    expect(await left()).toEqual({ email: 10, name: 1 });
    expect(await encryption.verify(WHERE)).toMatchObject({ scanned: 10, failed: 0 });
    const named = { ...WHERE, entities: [Visitor, Patient], first: { Patient: 'id > 10' } };
    expect(await encryption.reencrypt(named)).toMatchObject({ changed: 1, skipped: 10 });
    expect(await encryption.reencrypt()).toMatchObject({ changed: 10, skipped: 11 });
    expect(await left()).toEqual({ email: 0, name: 0 });
  });

  it('has checkpoints of its own', async () => {
    const interrupted = async (options: RunOptions): Promise<void> => {
      const stop = new AbortController();
      const report = await encryption.reindex({
        ...options,
        batchSize: 2,
        signal: stop.signal,
        onProgress: () => {
          stop.abort();
        },
      });
      expect(report.aborted).toBe(true);
    };
    const other = { ...WHERE, parameters: { tenant: 'other' } };
    await interrupted(WHERE);
    for (const options of [other, { entities: [Patient] }]) {
      const { resumed, scanned } = await encryption.reindex(options);
      expect({ resumed, scanned }).toEqual({
        resumed: false,
        scanned: options === other ? 10 : 20,
      });
    }
    await interrupted({ entities: [Patient] });
    expect(await encryption.reindex(WHERE)).toMatchObject({ resumed: true });
    expect(await encryption.reindex(WHERE)).toMatchObject({ resumed: false });
    expect(await encryption.reindex({ entities: [Patient] })).toMatchObject({ resumed: true });
  });

  it('is joined only by workers with the same condition and values', async () => {
    const installation = installationOf(dataSource);
    const { runs } = await openRuns(installation, 'reencrypt', WHERE);
    const [{ id, columns } = { id: '', columns: [] }] = runs;
    const join = (options: RunOptions): Promise<boolean> =>
      joinRun(installation, 'reencrypt', { ...options, columns }, id, new RunCounts());
    for (const options of [{}, { ...WHERE, parameters: { tenant: 'other' } }]) {
      expect((await rejection(join(options))).message).toContain('--where');
    }
    expect(await left()).toMatchObject({ email: 20 });
    expect(await join(WHERE)).toBe(true);
    expect(await left()).toMatchObject({ email: 10 });
  });

  it('refuses what ciphertext cannot meet, and parameters that do not fit', async () => {
    const refused = (where: string, parameters: object = {}): Promise<Error> =>
      rejection(encryption.reencrypt({ where: { Patient: where }, parameters } as RunOptions));
    const encrypted = await refused('email = :email', { email: 'canary' });
    expect(encrypted).toBeInstanceOf(UnsupportedQueryError);
    expect(encrypted.message).toContain('Patient.email');
    expect(encrypted.message).not.toContain('canary');
    for (const [where, parameters, problem] of [
      ['id = :id', {}, '--param id'],
      ['id = 1', { id: 1 }, ':id'],
      ['id = :id', { id: new Date() }, 'parameters.id'],
      ['nosuch = 1', {}, 'nosuch'],
      ['id = 1) OR (1 = 1', {}, 'brackets'],
      ['id = 1 -- and no more', {}, 'comment'],
      ['id = 1 /* and no more */', {}, 'comment'],
      ["name <> 'x", {}, 'quotes'],
      ...(kind.type === 'postgres'
        ? [
            ["name <> E'\\'' OR (1 = 1 OR name = E'\\')", {}, 'quotes'] as const,
            ["name <> '\\') OR (name <> '\\'", {}, 'backslash'] as const,
          ]
        : [['id = :1', {}, '"where"'] as const, ['id = $a$', {}, '"where"'] as const]),
      // MySQL has variables of this form.
      ...(kind.dialect === 'sqlite' ? [['id = @a', {}, '"where"'] as const] : []),
      [kind.type === 'postgres' ? 'id = $1' : 'id = ?', {}, '"where"'],
    ] as const) {
      const error = await refused(where, parameters);
      expect(error).toBeInstanceOf(RunPlanError);
      expect(error.message).toContain(problem);
    }
    const unknown = await rejection(encryption.reencrypt({ where: { Nobody: 'id = 1' } }));
    expect(unknown.message).toContain('Nobody');
    expect(await left()).toEqual({ email: 20, name: 1 });
  });
});
