import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  AccessDeniedError,
  BlindIndex,
  ConfigurationError,
  Encrypted,
  fieldEncryption,
  IncidentLedError,
  KeyNotFoundError,
  KeyStateError,
  runAs,
  UnsupportedValueError,
  verifyEvidence,
} from '../../src';
import type { FieldEncryptionOptions, IncidentStep, Incidents } from '../../src';
import { moveDatabaseClock } from '../support/database-clock';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { approvalPolicy, SshSigner } from '../support/ssh-signer';

@Entity('incident_patient')
class Patient {
  @PrimaryColumn() id!: number;
  @Encrypted() note!: string;
  @Encrypted({ key: 'contact' }) @BlindIndex() email!: string;
}

const STEPS: readonly IncidentStep[] = ['replace', 'reencrypt', 'verify', 'destroy', 'close'];
const AT_ONCE = { graceMs: 0 } as const;

jest.setTimeout(120_000);

describeEachDatabase('An incident', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let folder: string;

  const open = async (options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> =>
    cleanup.add(await protect(database, { application: 'clinic', ...options }).initialize());
  const incidents = (of = dataSource): Incidents => fieldEncryption(of).incidents;
  const target = (keyId: string, reason = 'laptop was stolen') =>
    ({ kind: 'key', target: keyId, reason }) as const;

  async function activeKey(name = 'default'): Promise<string> {
    const keys = await fieldEncryption(dataSource).keys.list();
    return keys.find((key) => key.name === name && key.state === 'active')!.id;
  }

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'field-encryption-incident-'));
    database = await cleanup.create(kind, { entities: [Patient], synchronize: true });
    dataSource = await open();
    const rows = Array.from({ length: 30 }, (_, id) => ({
      id,
      note: `canary note ${String(id)}`,
      email: `canary-${String(id)}@clinic.example`,
    }));
    await dataSource.getRepository(Patient).insert(rows);
  });
  afterEach(async () => {
    await cleanup.run();
    rmSync(folder, { recursive: true, force: true });
  });

  it('replaces a key, moves its rows, destroys it, and leaves a report that verifies', async () => {
    const id = await activeKey();
    const { incident, wait } = await incidents().start(target(id), AT_ONCE);
    expect(wait).toBeNull();
    expect(incident).toMatchObject({
      kind: 'key',
      reason: 'laptop was stolen',
      exposed: { keys: 1, rows: 30, backups: 0, scopeKeys: 0 },
      keys: [{ id, name: 'default', version: 1, state: 'destroyed', rows: 30 }],
      dependants: [],
    });
    expect(incident.durations.closed).toBeGreaterThanOrEqual(incident.durations.moved!);
    expect(await activeKey()).not.toBe(id);
    const found = await dataSource.getRepository(Patient).findOneByOrFail({ id: 7 });
    expect(found).toMatchObject({ note: 'canary note 7', email: 'canary-7@clinic.example' });

    const files = await incidents().report(incident.id, folder);
    expect(files.map((file) => file.slice(folder.length + 1))).toEqual([
      'incident.json',
      'incident.md',
      'incident.html',
      'report.note',
    ]);
    const beside = Object.fromEntries(
      readdirSync(folder)
        .filter((name) => name !== 'report.note')
        .map((name) => [name, readFileSync(join(folder, name))]),
    );
    const [signer] = await fieldEncryption(dataSource).keys.publicKeys('reports');
    const note = readFileSync(join(folder, 'report.note'));
    expect(verifyEvidence({ note, files: beside, publicKey: signer!.verifierKey })).toMatchObject({
      ok: true,
    });
    const texts = Object.values(beside).map(String).join('');
    expect(texts).not.toContain('canary');
    for (const step of STEPS) expect(texts).toContain(step);
    expect(JSON.parse(String(beside['incident.json']))).toEqual(
      JSON.parse(JSON.stringify((await incidents().status(incident.id))[0])),
    );
    expect(await fieldEncryption(dataSource).audit.verify()).toMatchObject({ ok: true });
  });

  it('goes on after each entry of the log at which a process ends, and does nothing twice', async () => {
    const id = await activeKey();
    let entries = 0;
    let failing = Infinity;
    const sink = (): void => {
      entries += 1;
      if (entries > failing) throw new Error('the process ended');
    };
    let begun: string | undefined;
    for (let round = 0; begun === undefined || round < 40; round += 1) {
      const process = await open({ audit: { sink } });
      entries = 0;
      // One entry more than was enough before.
      failing = 1 + (round % 3);
      const work =
        begun === undefined
          ? incidents(process).start(target(id), AT_ONCE)
          : incidents(process).resume(begun, AT_ONCE);
      const done = await work.then(
        ({ wait }) => wait === null,
        () => false,
      );
      await process.destroy();
      begun = (await incidents().status())[0]?.id;
      if (done) break;
    }
    const [incident] = await incidents().status();
    expect(incident).toMatchObject({
      keys: [{ id, state: 'destroyed' }],
      closed: expect.any(String),
    });
    const once = incident!.entries.filter(({ outcome }) => outcome === 'done');
    for (const step of STEPS) {
      expect(
        once.filter(
          ({ operation, keyPurpose, keyName }) =>
            operation === 'incident' && keyPurpose === step && keyName === '',
        ),
      ).toHaveLength(1);
    }
    const versions = (await fieldEncryption(dataSource).keys.list()).filter(
      ({ name }) => name === 'default',
    );
    expect(versions.map(({ state }) => state)).toEqual(['destroyed', 'active']);
    expect(
      once.filter(({ keyId, operation }) => keyId === id && operation === 'revoke'),
    ).toHaveLength(1);
    expect(await fieldEncryption(dataSource).audit.verify()).toMatchObject({ ok: true });
  });

  it('tells a second operator who leads', async () => {
    const id = await activeKey();
    const other = await open({ audit: { actor: 'second' } });
    let refused: Error | undefined;
    const { incident } = await incidents().start(target(id), {
      ...AT_ONCE,
      confirm: async ({ incident: begun, step }) => {
        if (step === 'verify') refused = await rejection(incidents(other).resume(begun));
        return true;
      },
    });
    expect(refused).toBeInstanceOf(IncidentLedError);
    expect(refused).toMatchObject({
      code: 'ERR_KEY_STATE',
      retryable: true,
      actor: incident.actor,
      process: expect.stringMatching(new RegExp(`:${String(process.pid)}$`)),
      until: expect.any(Date),
      message: expect.stringContaining(incident.actor),
    });
    expect(incident.closed).not.toBeNull();
  });

  it('opens one incident of two that are opened at once about the same key', async () => {
    const id = await activeKey();
    const other = await open();
    const started = await Promise.allSettled([
      incidents().start(target(id), AT_ONCE),
      incidents(other).start(target(id), AT_ONCE),
    ]);
    expect(started.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const refused = started.find((each) => each.status === 'rejected');
    expect(refused?.reason).toBeInstanceOf(KeyStateError);
    expect(await incidents().status()).toMatchObject([{ closed: expect.any(String) }]);
  });

  it('waits for dependants with the destruction alone, and for so long', async () => {
    const id = await activeKey();
    dataSource = await open({ dependants: ['billing', 'search'] });
    const told: string[] = [];
    const listening = await open({
      dependants: ['billing', 'search'],
      onEvent: (event) =>
        event.type === 'incident' && told.push(`${event.subject} ${event.outcome}`),
    });
    const first = await incidents(listening).start(target(id), AT_ONCE);
    expect(first.wait).toMatchObject({ step: 'destroy', until: expect.any(Date) });
    expect(first.wait?.reason).toContain('billing, search');
    expect(first.incident).toMatchObject({ moved: expect.any(String), closed: null });
    expect(told).toEqual([
      'key started',
      'lead started',
      'replace done',
      'replace done',
      'reencrypt done',
      'verify done',
      'destroy interrupted',
    ]);

    await incidents().acknowledge(first.incident.id, 'billing');
    await incidents().acknowledge(first.incident.id, 'billing');
    const second = await incidents().resume(first.incident.id, AT_ONCE);
    expect(second.wait?.reason).toContain('by search:');
    const unknown = await rejection(incidents().acknowledge(first.incident.id, 'shop'));
    expect(unknown).toBeInstanceOf(UnsupportedValueError);
    await incidents().acknowledge(first.incident.id, 'search');
    const last = await incidents().resume(first.incident.id, AT_ONCE);
    expect(last.wait).toBeNull();
    expect(last.incident.dependants).toMatchObject([{ name: 'billing' }, { name: 'search' }]);

    const next = await incidents().start(
      { ...target(await activeKey()), acknowledgeMs: 0 },
      AT_ONCE,
    );
    expect(next.wait).toBeNull();
  });

  it('says until when a process may write with the key, and goes on then', async () => {
    const id = await activeKey();
    const { incident, wait } = await incidents().start(target(id));
    expect(wait).toMatchObject({ step: 'destroy', cause: 'grace', until: expect.any(Date) });
    expect(incident.keys).toMatchObject([{ state: 'compromised' }]);
    await incidents().resume(incident.id);
    const [status] = await incidents().status();
    const stopped = { step: 'destroy', cause: 'grace', until: wait?.until?.toISOString() };
    expect(status?.stopped).toEqual(stopped);
    // It says so once.
    const isStop = ({ outcome }: { outcome: string }) => outcome === 'interrupted';
    expect(status?.entries.filter(isStop)).toHaveLength(1);
    expect(await incidents().resume(incident.id, AT_ONCE)).toMatchObject({
      wait: null,
      incident: { stopped: null },
    });
    // A closed one is only shown.
    expect(await incidents().resume(incident.id)).toMatchObject({ wait: null });
  });

  it('waits for approval of what needs it, and revokes without', async () => {
    const [ada, ben, eve] = ['ada', 'ben', 'eve'].map((id) => new SshSigner(id));
    const approvals = approvalPolicy([ada!, ben!, eve!], ['destroy', 'data reencrypt', 'rotate']);
    const id = await activeKey();
    dataSource = await open({ approvals: { ...approvals, required: 1 } });
    const of = fieldEncryption(dataSource);
    const asAda = <T>(work: () => Promise<T>): Promise<T> => runAs({ id: 'ada' }, work);
    await asAda(() => of.approvals.setPolicy());
    let progress = await asAda(() => incidents().start(target(id), AT_ONCE));
    expect(progress.incident.keys).toMatchObject([{ state: 'compromised' }]);
    const steps: (string | undefined)[] = [];
    while (progress.wait !== null && steps.length < 5) {
      steps.push(progress.wait.step);
      const [request] = await of.approvals.list();
      for (const signer of [ada!, ben!]) {
        await of.approvals.approve(request!.id, signer.sign(request!.document));
      }
      const { incident } = progress;
      progress = await asAda(() => incidents().resume(incident.id, AT_ONCE));
    }
    expect(steps).toEqual(['reencrypt', 'destroy']);
    expect(progress.incident.keys).toMatchObject([{ state: 'destroyed' }]);
  });

  it('takes the levels of access', async () => {
    const id = await activeKey();
    dataSource = await open({ access: { levelOf: (actor) => (actor?.id === 'chief' ? 3 : 1) } });
    const denied = await rejection(incidents().start(target(id)));
    expect(denied).toBeInstanceOf(AccessDeniedError);
    const { incident } = await runAs({ id: 'chief' }, () => incidents().start(target(id)));
    expect(incident.actor).toBe('chief');
    const refused = await rejection(incidents().acknowledge(incident.id, 'billing'));
    expect(refused).toBeInstanceOf(AccessDeniedError);
    expect(await incidents().status()).toHaveLength(1);
  });

  it('keeps a key that its policy keeps', async () => {
    const id = await activeKey();
    dataSource = await open({ keyPolicies: { default: { retention: { kind: 'forever' } } } });
    const { incident, wait } = await incidents().start(target(id), AT_ONCE);
    expect(wait).toBeNull();
    expect(incident.keys).toMatchObject([{ state: 'compromised', destroyed: null }]);
  });

  it('ends a rotation of the blind indexes that was begun before, and replaces their root then', async () => {
    const { keys } = fieldEncryption(dataSource);
    let aheadMs = 0;
    moveDatabaseClock(dataSource, () => aheadMs);
    const passHour = (): void => void (aheadMs += 3_600_000);
    await keys.rotateIndex();
    passHour();
    expect((await keys.rotateIndex()).step).toBe('activated');
    const [first, second] = await keys.indexRoots();
    let progress = await incidents().start(target(second!.id));
    const waits: (string | undefined)[] = [];
    while (progress.wait !== null && waits.length < 9) {
      waits.push(`${progress.wait.step} ${progress.wait.cause}`);
      passHour();
      progress = await incidents().resume(progress.incident.id);
    }
    expect(waits).toEqual(['replace grace', 'replace announcement', 'reencrypt grace']);
    const states = (await keys.indexRoots()).map(({ id, state }) => [id, state]);
    expect(states).toEqual([
      [first!.id, 'destroyed'],
      [second!.id, 'destroyed'],
      [expect.any(String), 'active'],
    ]);
    const email = 'canary-7@clinic.example';
    const found = await dataSource.getRepository(Patient).findOneByOrFail({ email });
    expect(found.id).toBe(7);
  });

  it('drills without writing anything', async () => {
    const id = await activeKey('contact');
    const before = await fieldEncryption(dataSource).audit.head();
    const drill = await incidents().drill(target(id));
    expect(drill).toMatchObject({
      keys: [{ id }],
      rows: [{ entity: 'Patient', property: 'email', rows: 30 }],
      tried: 30,
      unreadable: 0,
    });
    expect(drill.estimatedSeconds).toBeGreaterThan(0);
    const [root] = await fieldEncryption(dataSource).keys.indexRoots();
    const ofTokens = await incidents().drill(target(root!.id));
    expect(ofTokens).toMatchObject({ keys: [{ purpose: 'index' }], rows: [{ rows: 30 }] });
    expect(ofTokens.estimatedSeconds).toBeGreaterThan(0);
    expect(await fieldEncryption(dataSource).audit.head()).toBe(before);
    expect(await activeKey('contact')).toBe(id);
    expect(await incidents().status()).toEqual([]);
  });

  it('refuses what it cannot begin with, and says why', async () => {
    const id = await activeKey();
    const refused = (work: Promise<unknown>) => rejection(work);
    const start = (given: object) => refused(incidents().start(given as never));
    expect(await start(target('0123456789abcdef'))).toBeInstanceOf(KeyNotFoundError);
    expect(await start(target(id, ''))).toBeInstanceOf(ConfigurationError);
    expect(await start(target(id, ' '.repeat(3)))).toBeInstanceOf(ConfigurationError);
    expect(await start({ kind: 'key', target: id })).toBeInstanceOf(ConfigurationError);
    expect(await start({ ...target(id), why: 1 })).toBeInstanceOf(ConfigurationError);
    expect(await start({ ...target(id), kind: 'table' })).toBeInstanceOf(ConfigurationError);
    expect(await start({ ...target(id), kind: 'branch' })).toBeInstanceOf(KeyNotFoundError);
    expect(await refused(incidents().resume('0123456789abcdef'))).toBeInstanceOf(
      UnsupportedValueError,
    );
    expect(await refused(incidents().resume('x'))).toBeInstanceOf(UnsupportedValueError);

    const waiting = await incidents().start(target(id));
    const again = await start(target(id));
    expect(again).toBeInstanceOf(KeyStateError);
    expect(again.message).toContain(waiting.incident.id);
    await incidents().resume(waiting.incident.id, AT_ONCE);
    expect(await start(target(id))).toBeInstanceOf(KeyStateError);

    const silent = await open({ audit: false });
    const off = await refused(incidents(silent).start(target(await activeKey())));
    expect(off).toBeInstanceOf(ConfigurationError);
    expect(off.message).toContain('audit: false');
  });

  it('takes no entry for done that nothing proves', async () => {
    const id = await activeKey();
    const { incident } = await incidents().start(target(id));
    const table = dataSource.driver.escape('field_encryption_audit');
    await dataSource.query(
      `UPDATE ${table} SET key_purpose = 'close', outcome = 'done', key_name = '' WHERE operation = 'incident' AND key_purpose = 'verify'`,
    );
    const refused = await rejection(incidents().resume(incident.id));
    expect(refused).toBeInstanceOf(KeyStateError);
    expect(refused.message).toContain('audit verify');
  });

  it('trusts no incident of which entries are missing, and lets another begin', async () => {
    const id = await activeKey();
    const { incident } = await incidents().start(target(id));
    const table = dataSource.driver.escape('field_encryption_audit');
    const about = `operation = 'incident' AND key_purpose = 'risk'`;
    await dataSource.query(`DELETE FROM ${table} WHERE ${about}`);
    const refused = await rejection(incidents().resume(incident.id, AT_ONCE));
    expect(refused).toBeInstanceOf(KeyStateError);
    expect(refused.message).toContain('are missing');
    expect((await incidents().start(target(id), AT_ONCE)).wait).toBeNull();
  });
});
