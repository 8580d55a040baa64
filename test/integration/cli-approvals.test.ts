import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { createProject } from '../support/project';
import type { Outcome, Project } from '../support/project';

const DATA_SOURCE = `
const { readFileSync } = require('node:fs');
const { DataSource, EntitySchema } = require('typeorm');
const { encryptedColumn, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Patient = new EntitySchema({
  name: 'Patient',
  columns: { id: { type: Number, primary: true }, ssn: encryptedColumn() },
});
const approver = (id) => ({ id, key: readFileSync(id + '.pub', 'utf8') });
module.exports = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.TEST_DATABASE), entities: [Patient], synchronize: true }),
  {
    kms: localKms({ keyFile: 'clinic.key' }),
    approvals: {
      operations: ['rotate', 'data reencrypt'],
      required: 1,
      approvers: (process.env.APPROVERS ?? 'ada ben eve').split(' ').map(approver),
    },
  },
);
`;

const SEED = `
const dataSource = require('./data-source.js');
dataSource.initialize()
  .then(() => dataSource.getRepository('Patient').insert([{ id: 1, ssn: 'canary 1' }, { id: 2, ssn: 'canary 2' }]))
  .then(() => dataSource.destroy());
`;

jest.setTimeout(180_000);

function isInstalled(): boolean {
  try {
    execFileSync('ssh-keygen', ['-?'], { stdio: 'pipe' });
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOENT';
  }
  return true;
}

if (isInstalled()) {
  describeDiagonal('The commands on approvals', suite);
} else {
  describe.skip('The commands on approvals need ssh-keygen (apt-get install openssh-client)', () => {
    it('are not tried', () => undefined);
  });
}

function suite(kind: { readonly create: () => Promise<TestDatabase> }): void {
  let project: Project;
  let database: TestDatabase;

  beforeAll(() => {
    project = createProject(typeormMajor);
    chmodSync(project.write('clinic.key', randomBytes(32).toString('hex')), 0o600);
    project.write('data-source.js', DATA_SOURCE);
    project.write('seed.js', SEED);
    for (const [id, type] of [
      ['ada', 'ed25519'],
      ['ben', 'ecdsa'],
      ['eve', 'rsa'],
      ['mal', 'ed25519'],
    ] as const) {
      keygen('-q', '-t', type, '-N', '', '-C', `${id}@laptop`, '-f', id);
    }
  });
  beforeEach(async () => {
    database = await kind.create();
    expect(await project.run('node', ['seed.js'], env())).toMatchObject({ code: 0, stderr: '' });
    expect(await run('approvals', 'policy', '--yes')).toMatchObject({ code: 0 });
  });
  afterEach(() => database.dispose());
  afterAll(() => {
    project.dispose();
  });

  const keygen = (...args: string[]): unknown =>
    execFileSync('ssh-keygen', args, { cwd: project.folder, stdio: 'pipe' });
  const env = (more: Record<string, string> = {}): Record<string, string> => ({
    ...{ TEST_DATABASE: JSON.stringify(database.dataSourceOptions), ...more },
  });
  const run = (...args: string[]): Promise<Outcome> =>
    project.run('field-encryption', ['-d', 'data-source.js', ...args], env());
  const asAda = (...args: string[]): Promise<Outcome> => run('--requester', 'ada', ...args);

  /** Asks for something, and returns the id of the request. */
  async function ask(...args: string[]): Promise<string> {
    const { code, stderr } = await asAda(...args);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining('ERR_APPROVAL_REQUIRED') as string,
    });
    expect(stderr).toContain('approvals show');
    return /request ([0-9a-f]{32})/.exec(stderr)?.[1] ?? '';
  }

  /** Shows a request, signs what is shown, and hands the signature in. */
  async function sign(
    id: string,
    who: string,
    namespace = 'typeorm-field-encryption',
  ): Promise<Outcome> {
    const { code, stdout, stderr } = await run('approvals', 'show', id);
    expect(code).toBe(0);
    expect(stderr).toContain('ssh-keygen -Y sign');
    const file = `${who}-${id}.json`;
    project.write(file, stdout);
    keygen('-q', '-Y', 'sign', '-n', namespace, '-f', who, file);
    expect(readFileSync(join(project.folder, `${file}.sig`), 'utf8')).toContain('BEGIN SSH');
    return run('approvals', 'approve', id, '--signature', `${file}.sig`);
  }

  it('let a key be rotated by two people, and once', async () => {
    expect((await run('keys', 'rotate')).stderr).toContain('--requester');
    const id = await ask('keys', 'rotate');
    expect(await sign(id, 'ada')).toMatchObject({
      code: 0,
      stdout: `Signed by ada, who asks. Request ${id} has 0 of 1 approvals.\n`,
    });
    expect((await asAda('keys', 'rotate')).stderr).toContain('0 of 1 approvals');
    expect(await sign(id, 'mal')).toMatchObject({ code: 1 });
    expect(
      await run('approvals', 'approve', id, '--signature', `ada-${id}.json.sig`, '--dry-run'),
    ).toMatchObject({
      stdout: `Would add the signature. Request ${id} has 0 of 1 approvals.\n`,
    });
    expect(await sign(id, 'ben')).toMatchObject({
      code: 0,
      stdout: `Signed by ben. Request ${id} has 1 of 1 approvals: ada can run it now.\n`,
    });
    expect((await run('approvals', 'list')).stdout).toMatch(
      new RegExp(`${id} +rotate +\\{"name":"default"\\} +ada +1 of 1`),
    );
    expect(await asAda('keys', 'rotate')).toMatchObject({ code: 0 });
    expect(await ask('keys', 'rotate')).not.toBe(id);
    const { stdout } = await run('audit', 'list', '--operation', 'rotate', '--json');
    expect(
      (JSON.parse(stdout) as { entries: { outcome: string }[] }).entries.map(
        ({ outcome }) => outcome,
      ),
    ).toEqual([...['denied', 'denied', 'denied', 'approved', 'done', 'denied']]);
    const listed = (await run('audit', 'list')).stdout;
    expect(listed).toMatch(new RegExp(`approve +signature by ben +${id.slice(0, 16)} .+${id}`));
    expect(listed).toMatch(new RegExp(`rotate \\(denied\\) +request by ada +${id.slice(0, 16)} `));
    expect(listed).toMatch(/approvals +approvals v1 +\S+@/);
    expect((await run('audit', 'list', '--outcome', 'approved')).stdout).toMatch(
      /^SEQ.+\n\d+ .+rotate \(approved\) +request by ada.+\n$/,
    );
    expect(await run('audit', 'verify')).toMatchObject({ code: 0 });
  });

  it('refuse a signature for another use', async () => {
    const id = await ask('keys', 'rotate');
    const { code, stderr } = await sign(id, 'eve', 'file');
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('namespace') as string,
    });
  });

  it('let a run be shared by workers once it is approved', async () => {
    const id = await ask('data', 'reencrypt', '--workers', '2');
    await sign(id, 'ada');
    await sign(id, 'eve');
    const rotation = await ask('keys', 'rotate');
    await sign(rotation, 'ada');
    await sign(rotation, 'eve');
    expect(await asAda('keys', 'rotate')).toMatchObject({ code: 0 });
    // The rotation has changed what was to be approved.
    const again = await ask('data', 'reencrypt', '--workers', '2');
    expect(again).not.toBe(id);
    await sign(again, 'ada');
    await sign(again, 'eve');
    const done = await project.spawn(
      'field-encryption',
      [
        '-d',
        'data-source.js',
        '--requester',
        'ada',
        'data',
        'reencrypt',
        '--workers',
        '2',
        '--json',
      ],
      env(),
    );
    expect(done).toMatchObject({ code: 0 });
    expect(JSON.parse(done.stdout)).toMatchObject({ changed: 2 });
  });

  it('show the policy in force, and what the option would make of it', async () => {
    const [, fingerprint] = execFileSync('ssh-keygen', ['-l', '-f', 'ben.pub'], {
      cwd: project.folder,
      encoding: 'utf8',
    }).split(' ');
    const { stdout } = await run('approvals', 'policy', '--dry-run');
    expect(stdout).toContain('Version 1 is stored:\n  Need approval: data reencrypt, rotate\n');
    expect(stdout).toContain('Of: 1, besides the one who asks, within 24 h\n');
    expect(stdout).toContain(`  ben  ${fingerprint ?? '?'} (ecdsa-sha2-nistp256)\n`);
    expect(stdout).toContain('The option approvals is the same.\n');
    const changed = await project.run(
      'field-encryption',
      ['-d', 'data-source.js', 'approvals', 'policy', '--dry-run'],
      env({ APPROVERS: 'ada ben mal' }),
    );
    expect(changed.stdout).toMatch(
      /Version 1 is stored:[^]+ {2}eve {2}SHA256:[^]+another one:[^]+ {2}mal {2}SHA256:/,
    );
  });

  it('let the others replace an approver who is lost', async () => {
    const changed = env({ APPROVERS: 'ada ben mal' });
    const policy = (): Promise<Outcome> =>
      project.run(
        'field-encryption',
        ['-d', 'data-source.js', '--requester', 'ada', 'approvals', 'policy'],
        changed,
      );
    const id = /request ([0-9a-f]{32})/.exec((await policy()).stderr)?.[1] ?? '';
    await sign(id, 'ada');
    await sign(id, 'ben');
    expect(await policy()).toMatchObject({ code: 0, stdout: 'Stored version 2 of the policy.\n' });
    expect((await asAda('keys', 'rotate')).stderr).toContain('version 2 of the stored policy');
  });
}
