import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { createProject } from '../support/project';
import type { Outcome, Project } from '../support/project';

const DATA_SOURCE = `
const { DataSource, EntitySchema } = require('typeorm');
const { encryptedColumn, keyScopeColumn, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Patient = new EntitySchema({
  name: 'Patient',
  columns: {
    id: { type: Number, primary: true },
    tenantId: keyScopeColumn({ kind: 'tenant', type: Number }),
    ssn: encryptedColumn(),
    phone: encryptedColumn({ scope: false, nullable: true }),
  },
});
exports.Patient = Patient;
exports.dataSource = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.TEST_DATABASE), entities: [Patient], synchronize: true }),
  {
    kms: localKms({ keyFile: 'clinic.key' }),
    keyPolicies: { tenant: { rotation: { kind: 'periodic', everyDays: 30 } } },
    now: () => new Date(Date.now() + Number(process.env.DAYS_LATER ?? 0) * 86_400_000),
  },
);
`;

const SEED = `
const { dataSource, Patient } = require('./data-source.js');
dataSource.initialize()
  .then(() => dataSource.getRepository(Patient).insert([
    { id: 1, tenantId: 7, ssn: 'canary 1', phone: '1' },
    { id: 2, tenantId: 8, ssn: 'canary 2', phone: '2' },
  ]))
  .then(() => dataSource.destroy());
`;

/** Keeps the keys of scopes in a file, or puts them back: a restore of the database. */
const KEEP = `
const { readFileSync, writeFileSync } = require('node:fs');
const { dataSource } = require('./data-source.js');
const TABLE = 'FieldEncryptionScopeKey';
(async () => {
  await dataSource.initialize();
  const keys = dataSource.getRepository(TABLE);
  if (process.env.KEEP === '1') writeFileSync('kept.json', JSON.stringify(await keys.find()));
  else {
    await keys.clear();
    await keys.insert(JSON.parse(readFileSync('kept.json', 'utf8')));
  }
  await dataSource.destroy();
})();
`;

jest.setTimeout(180_000);

describeDiagonal('The commands on keys of scopes', (kind) => {
  let project: Project;
  let database: TestDatabase;

  beforeAll(() => {
    project = createProject(typeormMajor);
    chmodSync(project.write('clinic.key', randomBytes(32).toString('hex')), 0o600);
    project.write('data-source.js', DATA_SOURCE);
    project.write('seed.js', SEED);
    project.write('keep.js', KEEP);
  });
  beforeEach(async () => {
    database = await kind.create();
    expect(await project.run('node', ['seed.js'], env())).toMatchObject({ code: 0, stderr: '' });
  });
  afterEach(() => database.dispose());
  afterAll(() => {
    project.dispose();
  });

  const env = (): Record<string, string> => ({
    TEST_DATABASE: JSON.stringify(database.dataSourceOptions),
  });
  const run = (...args: string[]): Promise<Outcome> =>
    project.run('field-encryption', ['-d', 'data-source.js', ...args], env());

  /* eslint-disable-next-line @typescript-eslint/no-explicit-any -- documents of many commands */
  async function json(...args: string[]): Promise<any> {
    const { code, stdout, stderr } = await run(...args, '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout);
  }

  it('shred a scope in two steps, with a receipt that the audit log knows', async () => {
    const shred = ['keys', 'shred', '7', '--kind', 'tenant', '--reason', 'request 1'];
    expect(await json(...shred, '--dry-run')).toMatchObject({ keys: 1, held: false, state: null });
    const unconfirmed = await run(...shred);
    expect(unconfirmed.code).toBe(2);
    expect(unconfirmed.stderr).toContain('--yes');

    const first = await run(...shred, '--delay', '60', '--receipt', 'early.json', '--yes');
    expect(first.code).toBe(0);
    expect(first.stdout).toMatch(/may write for it .* at the latest until \d{4}-\S+Z/);
    expect(first.stdout).toMatch(/From \d{4}-\S+Z, by the clock of the database/);
    const early = await run(...shred, '--delay', '60', '--yes');
    expect(early).toMatchObject({ code: 0, stdout: expect.stringContaining('Not yet') as string });
    const other = await run('keys', 'shred', '7', '--reason', 'request 2', '--yes');
    expect(other).toMatchObject({ code: 1 });
    expect(other.stderr).toContain('for another reason');
    expect(await json('keys', 'rotate', '--scope', '7')).toMatchObject({
      rotations: [{ rotated: 0, erased: 0, toBeErased: 1 }],
    });
    expect((await json('data', 'reencrypt')).remaining).toBe(0);
    // As a script can run it, without a terminal.
    expect(first.stdout).toContain(
      "shred 7 --kind tenant --reason 'request 1' --delay 60 --receipt early.json --yes",
    );
    expect(existsSync(join(project.folder, 'early.json'))).toBe(false);
    expect(await json(...shred, '--dry-run')).toMatchObject({ state: 'requested' });
    expect(await json('status')).toMatchObject({
      scopes: [
        { kind: 'tenant', state: 'active', scopes: 1 },
        { kind: 'tenant', state: 'requested', scopes: 1 },
      ],
      due: [{ command: 'keys scopes --kind tenant' }],
    });
    expect(await json('keys', 'scopes')).toMatchObject({
      scopes: [{ kind: 'tenant', id: '7', mark: 'erasure' }],
      more: false,
    });
    // The request keeps its delay.
    for (const waiting of [
      ['--delay', '60'],
      ['--grace', '0'],
    ]) {
      expect(await json(...shred, ...waiting, '--yes')).toMatchObject({ state: 'requested' });
    }
    expect(await json(...shred, '--cancel')).toMatchObject({ state: 'cancelled' });

    const erased = await json(...shred, '--grace', '0', '--receipt', 'receipt.json', '--yes');
    expect(erased).toMatchObject({ kind: 'tenant', scope: '7', state: 'erased' });
    const receipt = readFileSync(join(project.folder, 'receipt.json'), 'utf8');
    expect(JSON.parse(receipt)).toEqual(erased.receipt);
    expect(erased.receipt.columns).toEqual([
      { entity: 'Patient', property: 'ssn', rows: 1, tokens: [] },
    ]);

    // As after a command that was killed once it had erased, which leaves an empty file.
    writeFileSync(join(project.folder, 'again.json'), '');
    const again = await run(...shred, '--receipt', 'again.json', '--yes');
    expect(again).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/was erased at .* receipt of that time/) as string,
    });
    expect(readFileSync(join(project.folder, 'again.json'), 'utf8')).toBe(receipt);
    expect(await run(...shred, '--receipt', 'again.json', '--yes')).toMatchObject({ code: 2 });
    expect(await json(...shred, '--dry-run')).toMatchObject({ state: 'erased' });
    expect(await run('keys', 'hold', '7', '--reason', 'x', '--dry-run')).toMatchObject({ code: 1 });
    const left = await json('keys', 'rotate', '--scope', '7', '--dry-run');
    expect(left).toMatchObject({ rotations: [{ rotated: 0, erased: 1, toBeErased: 0 }] });
    const hold = await run('keys', 'hold', '7', '--reason', 'x');
    expect(hold).toMatchObject({ code: 1 });
    expect(hold.stderr).toContain('was erased at');
    expect(hold.stderr).toContain('status --scope 7 --kind tenant');

    const status = await json('status');
    const [ssn] = status.columns.filter(({ property }: { property: string }) => property === 'ssn');
    expect(ssn.scopes).toMatchObject({ kind: 'tenant', activeRows: 1, erasedRows: 1 });
    const text = await run('status');
    expect(text.stdout).toContain('1 erased');
    expect(text.stdout).toMatch(/tenant +1 +erased/);
    expect(await run('data', 'verify')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('1 row of erased scopes') as string,
    });
    expect((await run('audit', 'verify')).code).toBe(0);
  });

  it('erase again what a restore of the database has brought back', async () => {
    const keep = (KEEP: string): Promise<Outcome> =>
      project.run('node', ['keep.js'], { ...env(), KEEP });
    expect(await keep('1')).toMatchObject({ code: 0, stderr: '' });
    const shred = ['keys', 'shred', '7', '--reason', 'request 1', '--grace', '0', '--yes'];
    expect(await json(...shred, '--receipt', 'replayed.json')).toMatchObject({ state: 'erased' });
    expect(await keep('0')).toMatchObject({ code: 0, stderr: '' });
    expect(await run('data', 'verify')).toMatchObject({
      stdout: expect.not.stringContaining('erased') as string,
    });

    const receipt = JSON.parse(readFileSync(join(project.folder, 'replayed.json'), 'utf8'));
    const replay = ['keys', 'shred', '--replay', 'replayed.json'];
    const scopes = (outcome: string): object[] => [{ kind: 'tenant', scope: '7', outcome }];
    const unproven = ['keys', 'shred', '--replay', 'unproven.json'];
    project.write('unproven.json', JSON.stringify({ ...receipt, branchId: 'a'.repeat(16) }));
    for (const how of ['--dry-run', '--yes']) {
      const left = await run(...unproven, how, '--json');
      expect(left).toMatchObject({ code: 1 });
      expect(JSON.parse(left.stdout)).toMatchObject({ scopes: scopes('unproven'), receipts: [] });
    }
    const accepted = await run(...unproven, '--accept-unproven', '--dry-run');
    expect(accepted).toMatchObject({ code: 0 });
    expect(accepted.stdout).toContain('Would erase tenant "7" again');
    const alone = await run('keys', 'shred', '7', '--reason', 'r', '--accept-unproven');
    expect(alone.stderr).toContain('needs --replay');
    for (const forged of [{ scope: '8' }, { seal: undefined }]) {
      project.write('forged.json', JSON.stringify({ ...receipt, ...forged }));
      const refused = await run(...replay, 'forged.json', '--yes');
      expect(refused.code).not.toBe(0);
      expect(refused.stderr).toContain('forged.json is');
    }
    expect(await json(...replay, '--dry-run')).toMatchObject({ scopes: scopes('erased') });
    expect(await run(...replay)).toMatchObject({ code: 2 });

    // A hold that came back with the database.
    const hold = ['7', '--reason', 'case 1'];
    await json('keys', 'hold', ...hold);
    for (const how of ['--dry-run', '--yes']) {
      const held = await run(...replay, how, '--json');
      expect(held).toMatchObject({ code: 1 });
      expect(JSON.parse(held.stdout)).toMatchObject({ scopes: scopes('held'), receipts: [] });
    }
    expect((await run(...replay, '--dry-run')).stdout).toMatch(/Replay its receipt again once/);
    await json('keys', 'release', ...hold);

    const again = ['--receipt', `new-${kind.name}.json`, '--yes'];
    const { receipts } = await json(...replay, ...again);
    expect(receipts).toMatchObject([{ scope: '7' }]);
    expect(receipts[0].keyIds).toEqual(expect.arrayContaining(receipt.keyIds));
    const written = readFileSync(join(project.folder, `new-${kind.name}.json`), 'utf8');
    expect(JSON.parse(written)).toEqual(receipts);
    expect(receipts[0].replays).toMatch(/^[0-9a-f]{64}$/);
    expect(await run('data', 'verify')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('1 row of erased scopes') as string,
    });
    const both = ['keys', 'shred', '--replay', 'replayed.json', `new-${kind.name}.json`, '--yes'];
    expect(await json(...both, '--receipt', 'none.json')).toMatchObject({
      ...{ scopes: scopes('stillErased'), receipts: [] },
    });
    expect(existsSync(join(project.folder, 'none.json'))).toBe(false);
    // Nothing proves this one, and nothing is left to be done by it.
    expect(await json(...unproven, '--yes')).toMatchObject({ scopes: scopes('stillErased') });
    const other = await run('keys', 'shred', '--replay', 'clinic.key', '--yes');
    expect(other).toMatchObject({ code: 2 });
    expect(other.stderr).toContain('clinic.key is not the receipt');
    expect((await run('keys', 'shred', '7', '--replay', 'replayed.json')).stderr).toContain(
      'scope',
    );
    expect((await run('keys', 'shred', '--reason', 'x')).stderr).toContain("argument 'scope'");
    expect((await run('keys', 'shred', '7')).stderr).toContain('--reason');
  });

  it('say before an erasure when it is done, and what is lost by it', async () => {
    const shred = ['keys', 'shred', '7', '--reason', 'request 1'];
    const planned = async (...options: string[]): Promise<string> =>
      (await run(...shred, ...options, '--dry-run')).stdout;
    expect(await planned()).toMatch(/^Would request the erasure of [^.]*\. Nothing was changed\./);
    expect(await planned('--grace', '0', '--delay', '1440')).not.toContain('lost');
    expect(await planned('--grace', '0')).toMatch(/^Would erase .*, at once\. .*values are lost/);
    expect(await planned('--grace', '0', '--delay', '1')).toMatch(
      /^Would request .*values are lost, too, and the receipt does not count them/,
    );
    const first = await run(...shred, '--grace', '0', '--delay', '1', '--yes');
    expect(first.stdout).toMatch(/writes after the erasure is lost, and the receipt does not/);
    expect(first.stdout).toContain('With --receipt <file>');
    expect(await planned('--grace', '0')).toMatch(
      /^Would erase .*, requested at .*values are lost/,
    );
  });

  it('overwrite no file by a receipt, and erase nothing then', async () => {
    project.write('taken.json', 'kept');
    const refused = await run(
      ...['keys', 'shred', '7', '--reason', 'request 1', '--grace', '0'],
      ...['--receipt', 'taken.json', '--yes'],
    );
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('taken.json exists already');
    expect(readFileSync(join(project.folder, 'taken.json'), 'utf8')).toBe('kept');
    expect(await json('keys', 'shred', '7', '--reason', 'x', '--dry-run')).toMatchObject({
      state: null,
    });
  });

  it('cancel what was requested, and hold a scope that must not be erased', async () => {
    const scope = ['7', '--kind', 'tenant', '--reason', 'case 1'];
    expect(await json('keys', 'shred', ...scope, '--yes')).toMatchObject({ state: 'requested' });
    expect(await json('keys', 'shred', ...scope, '--cancel')).toMatchObject({ state: 'cancelled' });
    expect(await json('keys', 'hold', ...scope, '--dry-run')).toMatchObject({ dryRun: true });
    expect(await json('keys', 'hold', ...scope)).toMatchObject({ held: true });
    const plan = await run('keys', 'shred', ...scope, '--dry-run', '--json');
    expect(plan).toMatchObject({ code: 1 });
    expect(JSON.parse(plan.stdout)).toMatchObject({ held: true });
    expect(await run('keys', 'hold', ...scope, '--dry-run')).toMatchObject({ code: 1 });
    expect((await run('status')).stdout).toMatch(/tenant +1 +under a legal hold/);
    const held = await run('keys', 'shred', ...scope, '--grace', '0', '--yes');
    expect(held).toMatchObject({ code: 1 });
    expect(held.stderr).toContain('legal hold');
    expect(await json('keys', 'release', ...scope)).toMatchObject({ held: false });
    for (const refused of [
      ['release', ...scope],
      ['shred', ...scope, '--cancel'],
    ]) {
      expect(await run('keys', ...refused, '--dry-run')).toMatchObject({ code: 1 });
    }
    expect(await json('keys', 'shred', ...scope, '--grace', '0', '--yes')).toMatchObject({
      state: 'erased',
    });
  });

  it('rotate the key of one scope, move its rows, and show it', async () => {
    const scope = ['--scope', '7'];
    const rotation = { kind: 'tenant', rotated: 1, erased: 0, toBeErased: 0, failures: [] };
    expect(await json('keys', 'rotate', ...scope, '--dry-run')).toEqual({
      ...{ dryRun: true, rotations: [rotation] },
    });
    const rotated = await run('keys', 'rotate', ...scope);
    expect(rotated.stdout).toContain('1 scope of kind tenant got a new data key.');
    expect(rotated.stdout).toContain('data reencrypt');
    expect((await json('status')).due).toContainEqual({
      command: 'data reencrypt --entity Patient',
      reason: '1 value of Patient.ssn under an older key of their tenant',
    });
    const shown = await run('status', ...scope, '--kind', 'tenant');
    expect(shown.stdout).toMatch(/^tenant "7": in use\n/);
    expect(shown.stdout).toMatch(/data v2 +active/);
    expect(shown.stdout).toMatch(/Patient.ssn +0 +1 +0/);
    const both = [...scope, '--scope', '8'];
    expect(await json('data', 'reencrypt', ...both, '--workers', '2')).toMatchObject({
      ...{ changed: 1, failed: 0 },
    });
    expect((await json('status', ...both)).scopes).toMatchObject([
      { scope: '7', columns: [{ property: 'ssn', activeRows: 1, olderRows: 0 }] },
      { scope: '8', columns: [{ property: 'ssn', activeRows: 1, olderRows: 0 }] },
    ]);
    expect((await json('status')).due).toEqual([]);
  });

  it('rotate several, all, and those of an age, which a policy does as well', async () => {
    const rotated = (count: number): object => ({
      rotations: [{ kind: 'tenant', rotated: count }],
    });
    const rotate = ['keys', 'rotate'];
    expect(await json(...rotate, '--scope', '7', '--scope', '8')).toMatchObject(rotated(2));
    expect(await json(...rotate, '--all-scopes')).toMatchObject(rotated(2));
    const old = ['--all-scopes', '--kind', 'tenant', '--older-than', '30'];
    expect(await json(...rotate, ...old)).toMatchObject(rotated(0));
    const later = async (...args: string[]): Promise<Outcome> =>
      project.run('field-encryption', ['-d', 'data-source.js', ...args], {
        ...{ ...env(), DAYS_LATER: '31' },
      });
    expect((await later(...rotate, ...old, '--dry-run')).stdout).toContain('2 scopes');
    expect((await later('status')).stdout).toContain('2 keys of scopes of kind tenant due');
    expect((await later('keys', 'maintain', '--dry-run')).stdout).toContain(
      '2 scopes of kind tenant would get a new data key.',
    );
    expect(await later('keys', 'maintain')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('2 scopes of kind tenant got a new data key.') as string,
    });
    expect(await json('status', '--scope', '7')).toMatchObject({
      scopes: [{ keys: [{ version: 4 }, { version: 3 }, { version: 2 }, { version: 1 }] }],
    });
  });

  it('refuse scopes without keys, and options that say nothing', async () => {
    for (const args of [
      ['keys', 'rotate', '--scope', '7', '--scope', '77'],
      ['data', 'reencrypt', '--scope', '77'],
      ['status', '--scope', '77'],
    ]) {
      const refused = await run(...args);
      expect(refused).toMatchObject({ code: 2 });
      expect(refused.stderr).toContain('no key of tenant "77"');
    }
    for (const args of [
      ['keys', 'rotate', '--kind', 'tenant'],
      ['keys', 'rotate', '--older-than', '30'],
      ['keys', 'rotate', '--scope', '7', '--all-scopes'],
      ['keys', 'rotate', '--all-scopes', '--kind', 'tenat'],
      ['data', 'reencrypt', '--kind', 'tenant'],
      ['status', '--scope', '7', '--fail-on-due'],
      ['status', '--kind', 'tenant'],
      ['keys', 'rotate', 'tenant'],
      ['keys', 'shred', '7', '--reason', 'x'.repeat(65), '--yes'],
      ['keys', 'shred', '7', '--reason', 'x', '--delay', '0.02', '--yes'],
      ['keys', 'shred', '--replay', '--yes'],
      ['keys', 'shred', '--replay', 'nowhere.json'],
    ]) {
      expect(await run(...args)).toMatchObject({ code: 2 });
    }
  });

  it('seal the keys of scopes under a new branch key, so that the earlier one can go', async () => {
    const [branch] = (await json('keys', 'list')).keys.filter(
      ({ name }: { name: string }) => name === 'branch',
    );
    expect(await json('keys', 'reseal', '--dry-run')).toEqual({ dryRun: true, due: 0 });
    const rotated = await run('keys', 'rotate', 'branch');
    expect(rotated).toMatchObject({ code: 0 });
    expect(rotated.stdout).toContain('keys reseal');
    expect(rotated.stdout).not.toContain('data reencrypt');
    expect((await json('status')).due).toContainEqual({
      command: 'keys reseal',
      reason: '2 keys of scopes under an earlier branch key',
    });
    expect(await json('keys', 'reseal', '--dry-run')).toEqual({ dryRun: true, due: 2 });
    const resealed = await json('keys', 'reseal');
    expect(resealed).toEqual({ dryRun: false, resealed: 2, conflicts: 0, failures: [] });
    expect((await json('status')).due).toEqual([]);
    const destroyed = await run('keys', 'destroy', branch.id, '--grace', '0', '--yes');
    expect(destroyed).toMatchObject({ code: 0 });
    expect(await run('data', 'verify')).toMatchObject({ code: 0 });
    expect(await run('audit', 'verify')).toMatchObject({ code: 0 });
  });

  it('refuse a scope without keys, and a kind that no entity has', async () => {
    const unknown = await run('keys', 'shred', '77', '--reason', 'x', '--yes');
    expect(unknown).toMatchObject({ code: 2 });
    expect(unknown.stderr).toContain('no key of tenant "77"');
    const kindless = await run('keys', 'hold', '7', '--kind', 'tenat', '--reason', 'x');
    expect(kindless).toMatchObject({ code: 2 });
    expect(kindless.stderr).toContain('have: tenant.');
  });

  it('find nothing wrong, and leave columns with keys of scopes out of a drill', async () => {
    const { findings } = await json('doctor');
    const codes = (findings as { code: string; level: string }[]).filter(
      ({ level }) => level === 'error',
    );
    expect(codes).toEqual([]);
    chmodSync(project.write('passphrase.txt', 'the passphrase of the backup\n'), 0o600);
    const opening = ['--passphrase-file', 'passphrase.txt'];
    const file = `keys-${kind.name}.json`;
    await json('keys', 'backup', file, ...opening);
    const drilled = await json('keys', 'drill', file, ...opening);
    // The common keys and the branch, and no key of a scope.
    const names = drilled.restored.map(({ name }: { name: string }) => name);
    expect([...new Set(names)].sort()).toEqual(['branch', 'default']);
    expect(drilled).toMatchObject({
      ok: true,
      results: [{ property: 'phone', failure: null }],
      leftOut: [{ entity: 'Patient', property: 'ssn' }],
    });
  });
});
