import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { createProject } from '../support/project';
import type { Outcome, Project } from '../support/project';

const DATA_SOURCE = `
const { EntitySchema, DataSource } = require('typeorm');
const { encryptedColumn, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Patient = new EntitySchema({
  name: 'Patient',
  columns: { id: { type: Number, primary: true }, ssn: encryptedColumn() },
});
exports.dataSource = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.TEST_DATABASE), entities: [Patient], synchronize: true }),
  {
    kms: localKms({ keyFile: 'clinic.key' }),
    otherKms: [localKms({ keyFile: 'next.key' })],
    keyPolicies: { '*': { owner: 'security', rotation: { kind: 'periodic' }, cryptoperiodDays: 100 } },
    now: () => new Date(Date.now() + Number(process.env.DAYS_LATER ?? 0) * 86_400_000),
  },
);
`;

/** A KMS that came to vouch for what it wraps, and says nothing of its backups. */
const VOUCHING_KMS = `
const { localKms } = require('typeorm-field-encryption');
const kms = localKms({ keyFile: 'clinic.key' });
const FORM = { before: 1, after: 2 };
const form = FORM[process.env.SIGNATURES ?? 'after'];
exports.kms = {
  name: 'vouching',
  wrapKey: async (...call) => {
    const { kek, wrapped } = await kms.wrapKey(...call);
    return { kek, wrapped: Buffer.concat([Buffer.of(form), wrapped]) };
  },
  unwrapKey: ({ kek, wrapped }, binding) => kms.unwrapKey({ kek, wrapped: wrapped.slice(1) }, binding),
  ...(form === FORM.after ? { isAuthenticated: ({ wrapped }) => wrapped[0] === FORM.after } : {}),
  health: () => kms.health(),
};
`;

const SEED = `
const { dataSource } = require('./data-source.js');
dataSource.initialize()
  .then(() => dataSource.getRepository('Patient').insert({ id: 1, ssn: 'canary 1' }))
  .then(() => dataSource.destroy());
`;

jest.setTimeout(180_000);

describeDiagonal('field-encryption keys', (kind) => {
  let project: Project;
  let database: TestDatabase;

  beforeAll(() => {
    project = createProject(typeormMajor);
    for (const name of ['clinic.key', 'next.key']) {
      chmodSync(project.write(name, randomBytes(32).toString('hex')), 0o600);
    }
    project.write('data-source.js', DATA_SOURCE);
    project.write('seed.js', SEED);
    project.write(
      'next-kms.js',
      `exports.kms = require('typeorm-field-encryption').localKms({ keyFile: 'next.key' });`,
    );
    project.write('nothing.js', 'exports.nothing = 1;');
    chmodSync(project.write('passphrase.txt', 'the passphrase of the backup\n'), 0o600);
    chmodSync(project.write('other.txt', 'the passphrase of another backup\n'), 0o600);
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
    project.run('field-encryption', ['-d', 'data-source.js', 'keys', ...args], env());

  /* eslint-disable-next-line @typescript-eslint/no-explicit-any -- documents of many commands */
  async function json(...args: string[]): Promise<any> {
    const { code, stdout, stderr } = await run(...args, '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout);
  }

  async function due(daysLater = '0'): Promise<unknown> {
    const { code, stdout } = await project.run(
      'field-encryption',
      ['-d', 'data-source.js', 'status', '--json'],
      { ...env(), DAYS_LATER: daysLater },
    );
    expect(code).toBe(0);
    return (JSON.parse(stdout) as { due: unknown }).due;
  }

  it('prints public keys, and rotates keys that sign', async () => {
    expect((await run('public')).stdout).toContain('Nothing was signed');
    expect(await json('rotate', '--signing', 'documents')).toMatchObject({
      key: { name: 'documents', purpose: 'signing', suite: 'ed25519', version: 1 },
      isVouchedFor: false,
    });
    expect(await json('rotate', '--signing', 'documents', '--dry-run')).toMatchObject({
      previous: { version: 1 },
    });
    expect((await run('rotate', '--signing', 'documents')).stdout).toContain('vouches for it');
    const { keys } = await json('public', '--name', 'documents');
    const ids = keys.map((key: { id: string }) => key.id);
    expect((await run('revoke', ids[1], '--yes')).stdout).toContain(
      'keys rotate --signing documents',
    );
    expect((await run('destroy', ids[0], '--yes', '--grace', '0')).code).toBe(0);
    const printed = (await run('public', '--name', 'documents')).stdout.split('\n');
    expect(printed[0]).toBe(`${keys[1].verifierKey}  compromised: trust nothing that it signed`);
    expect((await run('rotate', '--signing', 'documents')).stdout).toContain('Hand its public key');
    expect((await run('rotate', '--signing', 'letters')).code).toBe(2);
    expect((await run('rotate', '--signing', 'reports', '--index')).code).toBe(2);
  });

  it('revokes and destroys with confirmation, a dry run before, and the proof after', async () => {
    const [{ id, owner, nextRotationAt }] = (await json('list')).keys;
    expect([owner, typeof nextRotationAt]).toEqual(['security', 'string']);
    const listed = (await run('list')).stdout;
    expect(listed).toMatch(/CREATED +EXPIRES +ROTATION +OWNER\n/);
    expect(listed).toMatch(new RegExp(`${nextRotationAt.slice(0, 16)}Z +security\n`));

    expect(await json('revoke', id, '--dry-run')).toMatchObject({
      key: { state: 'active' },
      plan: [{ property: 'ssn', rowsUnderKey: 1 }],
    });
    const unconfirmed = await run('revoke', id);
    expect(unconfirmed.code).toBe(2);
    expect(unconfirmed.stderr).toContain('--yes');
    expect((await json('list')).keys).toHaveLength(1);
    expect(await json('revoke', id, '--yes')).toMatchObject({
      key: { state: 'compromised' },
      replacement: { version: 2, state: 'active' },
    });

    const refused = await run('destroy', id, '--yes', '--grace', '0', '--json');
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.stderr)).toMatchObject({ error: { code: 'ERR_KEY_STATE' } });
    const needed = await run('destroy', id, '--dry-run', '--json');
    expect(needed.code).toBe(1);
    const preview = JSON.parse(needed.stdout);
    expect(preview).toMatchObject({ needed: true });
    // keyCache.maxAgeMs and half a minute, from the revocation or its proof on.
    const wait = Date.parse(preview.atRestFrom) - Date.parse(preview.key.deactivatedAt);
    expect(wait).toBeGreaterThanOrEqual(15 * 60_000 + 31_000);
    expect((await run('destroy', id, '--dry-run')).stdout).toMatch(
      /Would refuse before \d{4}-\S+, by the clock of the database/,
    );
    const reencrypt = ['-d', 'data-source.js', 'data', 'reencrypt'];
    expect((await project.run('field-encryption', reencrypt, env())).code).toBe(0);
    for (const grace of [[], ['--grace', '60']]) {
      const foreseen = await run('destroy', id, '--dry-run', ...grace);
      expect(foreseen).toMatchObject({ code: 1, stdout: expect.not.stringContaining('destroy') });
      const early = await run('destroy', id, '--yes', ...grace);
      expect(early).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('still write with it'),
      });
    }
    expect(await json('destroy', id, '--dry-run', '--grace', '0')).toMatchObject({
      ...{ needed: false, atRestFrom: null },
    });
    expect(await json('destroy', id, '--yes', '--grace', '0')).toMatchObject({
      key: { state: 'destroyed' },
      previousState: 'compromised',
      wrappedKeySha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      columns: [{ property: 'ssn', rows: 1, rowsUnderKey: 0 }],
    });

    expect(
      await json('revoke', (await json('list')).keys[1].id, '--no-replacement', '--yes'),
    ).toMatchObject({ key: { state: 'compromised' }, replacement: null });
    expect((await json('rotate')).key).toMatchObject({ version: 3, state: 'active' });
  });

  it('shows the audit log, and whether it is whole', async () => {
    const audit = (...args: string[]): Promise<Outcome> =>
      project.run('field-encryption', ['-d', 'data-source.js', 'audit', ...args], env());
    expect((await run('rotate')).stdout).toContain(
      '\n  npx field-encryption -d data-source.js data reencrypt\n',
    );
    const { code, stdout } = await audit('list', '--after', '2', '--limit', '1', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      entries: [{ seq: 3, operation: 'deactivate', keyState: 'deactivated', outcome: 'done' }],
    });
    const shown = (await audit('list', '--last', '1', '--operation', 'rotate')).stdout;
    expect(shown).toMatch(/^SEQ +TIME .+\n4 +[\dT:-]+Z +rotate +default v2 +active .+\n$/);
    const head = (await audit('head')).stdout.trim();
    expect(head).toMatch(/^4:/);
    expect(await audit('verify', '--expect-head', head)).toMatchObject({
      code: 0,
      stdout: `4 entries verified.\nHead: ${head}\n`,
    });
    project.write(
      'cut.js',
      `const { dataSource } = require('./data-source.js');
       dataSource.initialize().then(() => dataSource.query('DELETE FROM field_encryption_audit WHERE seq = 4')).then(() => dataSource.destroy());`,
    );
    await project.run('node', ['cut.js'], env());
    const cut = await audit('verify', '--expect-head', head, '--json');
    expect(cut.code).toBe(1);
    expect(JSON.parse(cut.stdout)).toMatchObject({
      ok: false,
      broken: { seq: 4, problem: 'truncated' },
    });
  });

  it('rewraps to the KMS of a module, and maintains', async () => {
    expect(await json('rewrap', '--to', 'next-kms.js', '--dry-run')).toMatchObject({
      rewrapped: 2,
    });
    expect(await json('rewrap', '--to', 'next-kms.js')).toMatchObject({ rewrapped: 2, current: 0 });
    expect(await json('rewrap', '--to', 'next-kms.js')).toMatchObject({ rewrapped: 0, current: 2 });
    expect((await run('rewrap', '--to', 'nothing.js')).code).toBe(2);
    expect(await json('maintain')).toMatchObject({ announced: [], failures: [] });
    expect((await run('maintain', '--dry-run')).stdout).toBe('Nothing is due.\n');
  });

  it('maintains, moves the rows and backs up in one job', async () => {
    await json('rotate');
    const file = `${kind.name}-nightly.backup`;
    const job = [
      'maintain',
      '--reencrypt',
      '--backup',
      file,
      '--passphrase-file',
      'passphrase.txt',
    ];
    const planned = await run(...job, '--dry-run');
    expect(planned.stdout).toMatch(/1 row would be re-encrypted[^]*Would back up every key to/);
    expect(existsSync(join(project.folder, file))).toBe(false);
    const report = await json(...job);
    expect(report).toMatchObject({
      ...{ failures: [], failedSteps: [], reencryption: { changed: 1, remaining: 0 } },
      backup: { keys: 3, file },
    });
    const { stdout } = await run('drill', file, '--passphrase-file', 'passphrase.txt', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ ok: true, backupId: report.backup.id });
    // The file is there already, and nothing else happens either.
    expect((await run(...job)).code).toBe(2);
    const unused = await run('maintain', '--passphrase-file', 'passphrase.txt');
    expect(unused).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Give --backup') as string,
    });
    const untold = await run('maintain', '--backup', 'other.backup');
    expect(untold.stderr).toContain('Give --passphrase-file, --passphrase-fd or --kms.');
  });

  it('suspends and resumes, and says in status what is due', async () => {
    const [{ id, useCount }] = (await json('list')).keys;
    expect(useCount).toBe(1);
    expect(await json('suspend', id)).toMatchObject({ key: { state: 'suspended' } });
    expect(await due()).toEqual([
      { command: `keys resume ${id}`, reason: 'key "default" version 1 is suspended' },
    ]);
    expect(await json('resume', id)).toMatchObject({ key: { state: 'active' } });
    expect(await due('101')).toEqual([
      {
        command: 'keys rotate default',
        reason: expect.stringMatching(/^key "default" version 1 is past its cryptoperiod since /),
      },
      { command: 'keys maintain', reason: 'key "default" version 1 is due for rotation' },
    ]);
  });

  it('backs up under a passphrase from a file, drills, and restores what was lost', async () => {
    const file = `${kind.name}.backup`;
    const passphrase = ['--passphrase-file', 'passphrase.txt'];
    expect(await json('backup', file, '--dry-run', ...passphrase)).toMatchObject({ keys: 2 });
    expect(existsSync(join(project.folder, file))).toBe(false);
    const shown = await run('backup', file, ...passphrase);
    expect(shown.stdout).toContain(`Backed up 2 keys to ${file}`);
    expect(statSync(join(project.folder, file)).mode & 0o777).toBe(0o600);
    expect((await run('backup', file, ...passphrase)).code).toBe(2);
    expect((await run('backup', 'no-terminal.backup')).code).toBe(2);

    // As it is to be copied.
    const [, drill = ''] =
      /^ {2}npx field-encryption (.* keys drill .*)$/m.exec(shown.stdout) ?? [];
    const drilled = await project.run('field-encryption', [...drill.split(' '), '--json'], env());
    expect(JSON.parse(drilled.stdout)).toMatchObject({
      ok: true,
      results: [{ property: 'ssn', rows: 1, read: 1 }],
    });
    const [{ id }] = (await json('list')).keys;
    const theseKeys = expect.arrayContaining([expect.objectContaining({ id })]) as object[];
    project.write(
      'lose.js',
      `const { dataSource } = require('./data-source.js');
       dataSource.initialize().then(() => dataSource.query('DELETE FROM data_keys')).then(() => dataSource.destroy());`,
    );
    expect((await project.run('node', ['lose.js'], env())).code).toBe(0);
    expect(await json('restore', file, '--dry-run', ...passphrase)).toMatchObject({
      restored: theseKeys,
    });
    expect((await json('list')).keys).toEqual([]);
    expect(await json('restore', file, ...passphrase)).toMatchObject({ restored: theseKeys });
    expect(await json('restore', file, ...passphrase)).toMatchObject({ present: theseKeys });
  });

  it('says what does not open a backup, and which file is not there', async () => {
    const file = `${kind.name}-wrong.backup`;
    const passphrase = ['--passphrase-file', 'passphrase.txt'];
    await json('backup', file, ...passphrase);

    for (const command of ['drill', 'restore']) {
      const wrong = await run(command, file, '--passphrase-file', 'other.txt');
      expect(wrong).toMatchObject({ code: 1, stdout: '' });
      expect(wrong.stderr).toMatch(
        /^error ERR_KEY_UNWRAP: backup \w{16} does not open: .*passphrase/,
      );
      expect(wrong.stderr).toContain(
        'Use the passphrase, KMS or shares that the backup was made with',
      );
      expect(wrong.stderr).not.toMatch(/data_keys|key row/);
    }
    const absent: [name: string, args: string[]][] = [
      ['no.backup', ['drill', 'no.backup', ...passphrase]],
      ['no.backup', ['restore', 'no.backup', ...passphrase]],
      ['no-share.txt', ['drill', file, '--share', 'no-share.txt']],
      ['no-passphrase.txt', ['drill', file, '--passphrase-file', 'no-passphrase.txt']],
      ['no-folder', ['backup', 'no-folder/new.backup', ...passphrase]],
    ];
    for (const [name, args] of absent) {
      expect(await run(...args)).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(`^error ERR_USAGE: There is no (file|folder) ${name}`),
      });
    }
    const unreadable = await run('drill', '.', ...passphrase);
    expect(unreadable).toMatchObject({ code: 2, stderr: expect.stringContaining('(EISDIR)') });
  });

  it('restores into a database without its tables, and makes no key there', async () => {
    const file = `${kind.name}-empty.backup`;
    const passphrase = ['--passphrase-file', 'passphrase.txt'];
    await json('backup', file, ...passphrase);
    const { keys } = await json('list');
    await database.dispose();
    database = await kind.create();

    const dryRun = await run('restore', file, '--dry-run', ...passphrase);
    expect(dryRun).toMatchObject({ code: 1, stderr: expect.stringContaining('no key table') });
    expect(dryRun.stderr).not.toContain('init');
    expect((await json('restore', file, ...passphrase)).restored).toHaveLength(2);
    expect((await json('list')).keys).toMatchObject([{ id: keys[0].id }]);
  });

  it('splits a backup among custodians, each with a file that only its owner reads', async () => {
    const file = `${kind.name}-split.backup`;
    const folder = `${kind.name}-shares`;
    const split = ['--shares', '3', '--threshold', '2', '--shares-to', folder];
    const shown = await run('backup', file, ...split);
    const shares = [...shown.stdout.matchAll(/^Share: (.*)$/gm)].map(([, share = '']) => share);
    expect(shares).toHaveLength(3);
    expect(shown.stdout).toContain(
      ` keys drill ${file} --share ${String(shares[0])} ${String(shares[1])}\n`,
    );
    expect(readdirSync(join(project.folder, folder))).toHaveLength(3);
    for (const share of shares) {
      const path = join(project.folder, share);
      expect(statSync(path).mode & 0o777).toBe(0o600);
      expect(readFileSync(path, 'utf8')).toMatch(/^tfe-share-1\.[\w-]+\n$/);
    }
    const [first = '', second = '', third = ''] = shares;
    expect(await json('drill', file, '--share', third, first)).toMatchObject({ ok: true });
    const tooFew = await run('restore', file, '--share', second);
    expect(tooFew).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('takes 2 different shares, and 1 of them was given'),
    });
    expect((await run('backup', 'x.backup', '--shares', '3')).code).toBe(2);
  });

  it('adopts keys that somebody without the KMS could have made, when they were looked at', async () => {
    project.write('vouching-kms.js', VOUCHING_KMS);
    const kms = `require('./vouching-kms.js').kms`;
    project.write(
      'vouching.js',
      DATA_SOURCE.replace(`kms: localKms({ keyFile: 'clinic.key' })`, `kms: ${kms}`).replace(
        'next.key',
        'clinic.key',
      ),
    );
    const command = (args: readonly string[], signatures = 'after'): Promise<Outcome> =>
      project.run('field-encryption', ['-d', 'vouching.js', ...args], {
        ...env(),
        SIGNATURES: signatures,
      });
    const adopt = (...args: string[]): Promise<Outcome> => command(['keys', 'adopt', ...args]);
    const file = `${kind.name}-unsigned.backup`;
    const backupKms = ['--kms', 'vouching-kms.js'];
    expect((await command(['keys', 'rewrap', '--force'], 'before')).code).toBe(0);
    expect((await command(['keys', 'backup', file, ...backupKms], 'before')).code).toBe(0);

    const [{ id }] = (await json('list')).keys;
    const refused = await command(['keys', 'rotate', '--json']);
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.stderr)).toMatchObject({
      error: { code: 'ERR_KEY_UNAUTHENTICATED', remedy: expect.stringContaining('keys adopt') },
    });
    const status = JSON.parse((await command(['status', '--json'])).stdout) as { due: unknown[] };
    expect(status.due).toContainEqual({
      command: 'keys adopt',
      reason: 'somebody without the KMS could have made 2 keys',
    });
    expect((await command(['audit', 'verify'])).stdout).toMatch(/Entry 1 was sealed with a key/);
    const preview = JSON.parse((await adopt('--dry-run', '--json')).stdout) as {
      keys: { id: string }[];
    };
    const ids = preview.keys.map((key) => key.id);
    expect(ids).toHaveLength(2);
    expect(ids).toContain(id);
    expect(await adopt()).toMatchObject({ code: 2, stderr: expect.stringContaining(id) });
    expect(await adopt('--yes')).toMatchObject({ code: 2, stderr: expect.stringContaining('ids') });
    expect(await adopt('--yes', ...ids)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Adopted 2 keys; 0 needed no adoption/),
    });
    expect((await adopt('--dry-run')).stdout).toBe('No key needs adoption.\n');
    expect((await command(['audit', 'verify'])).code).toBe(0);

    const restore = (...args: string[]): Promise<Outcome> =>
      command(['keys', 'restore', file, ...backupKms, ...args]);
    expect(await restore()).toMatchObject({ code: 1, stderr: expect.stringContaining('--adopt') });
    expect((await restore('--dry-run')).stdout).toContain('Somebody without its KMS');
    expect((await restore('--adopt', '--yes')).code).toBe(0);
  });
});
