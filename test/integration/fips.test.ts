import { randomBytes } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { DataSource } from 'typeorm';
import type { DataSourceOptions } from 'typeorm';
import { ConfigurationError, fieldEncryption, localKms, withFieldEncryption } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { failoverKms } from '../../src/kms/failover';
import { installationOf } from '../../src/typeorm/installation/installations';
import { DATABASES, typeormMajor } from '../support/databases';
import { createProject } from '../support/project';
import type { Project } from '../support/project';
import { Cleanup } from '../support/protected-database';

/** The configuration of an OpenSSL with its FIPS provider. CONTRIBUTING.md says how to get one. */
const { FIPS_OPENSSL_CONFIG } = process.env;

/** Loaded before a process: it refuses what the FIPS provider refuses and this library looks at. */
const STAND_IN = `
const crypto = require('node:crypto');
const { createCipheriv, createHash } = crypto;
const refuse = (name) => { if (/md5|chacha/.test(name)) throw new Error('unsupported'); };
crypto.createHash = (name, ...rest) => { refuse(name); return createHash(name, ...rest); };
crypto.createCipheriv = (name, ...rest) => { refuse(name); return createCipheriv(name, ...rest); };
`;

/** Sets the mode where OpenSSL has no FIPS provider to serve it. */
const UNSERVED = `require('node:crypto').setFips(true);`;

/** Does what it is told to, and prints the outcome of each step: a result, or the code and message of its error. */
const SCRIPT = `
require('reflect-metadata');
const { DataSource, EntitySchema } = require('typeorm');
const { blindIndexColumns, encryptedColumn, fieldEncryption, keyScopeColumn, localKms, withFieldEncryption, withKeyScope } = require('typeorm-field-encryption');
const Patient = new EntitySchema({
  name: 'Patient',
  columns: {
    id: { type: Number, primary: true },
    ssn: encryptedColumn({ scope: false }),
    ...blindIndexColumns('ssn', { scope: false }),
  },
});
const Visit = new EntitySchema({
  name: 'Visit',
  columns: {
    id: { type: Number, primary: true },
    clinic: keyScopeColumn({ kind: 'clinic', type: 'varchar', length: 40 }),
    notes: encryptedColumn({}),
  },
});
const [options, steps] = process.argv.slice(2).map((text) => JSON.parse(text));
const dataSource = withFieldEncryption(
  new DataSource({ ...JSON.parse(process.env.DATABASE), entities: [Patient, Visit] }),
  { kms: localKms({ keyFile: 'kek' }), application: 'clinic', ...options },
);
const encryption = fieldEncryption(dataSource);
const STEPS = {
  start: async () => { await dataSource.initialize(); },
  ready: () => encryption.ready(),
  write: (id) => dataSource.getRepository('Patient').insert({ id, ssn: 'ssn ' + id }).then(() => undefined),
  find: async (id) => (await dataSource.getRepository('Patient').findOneBy({ ssn: 'ssn ' + id }))?.ssn,
  writeVisit: (id, clinic) => withKeyScope(clinic, () => dataSource.getRepository('Visit').insert({ id, clinic, notes: 'notes ' + id })).then(() => undefined),
  readVisit: (id, clinic) => withKeyScope(clinic, async () => (await dataSource.getRepository('Visit').findOneBy({ id }))?.notes),
  rotate: async (name) => (await encryption.keys.rotate(name)).suite,
  rotateScopes: async () => (await encryption.keys.rotateScopes({ kind: 'clinic' }))[0].rotated,
  reseal: async () => (await encryption.keys.resealScopes()).failures.length,
  reencrypt: async () => (await encryption.reencrypt()).remaining,
  encryptValue: (text) => encryption.value('purpose').encrypt(text).then(() => undefined),
  doctor: async () => (await encryption.doctor()).filter(({ code }) => code.startsWith('FIPS')).map(({ code, message }) => code + ' ' + message).sort(),
};
(async () => {
  const outcomes = [];
  for (const [step, ...args] of steps) {
    outcomes.push(await STEPS[step](...args).then((result) => result ?? 'done', ({ code, message }) => code + ' ' + message));
  }
  if (dataSource.isInitialized) await dataSource.destroy();
  process.stdout.write(JSON.stringify(outcomes));
})().catch((error) => { console.error(error); process.exitCode = 1; });
`;

type Step = readonly [name: string, ...args: unknown[]];

const PROFILE = { profile: 'fips-140-3' };
const kms = localKms({ keyFile: '/nowhere/kek' });

function wrapped(options: Partial<FieldEncryptionOptions>): DataSource {
  const dataSource = new DataSource({ type: 'better-sqlite3', database: ':memory:', entities: [] });
  return withFieldEncryption(dataSource, { kms, profile: 'fips-140-3', ...options });
}

describe('The profile fips-140-3', () => {
  const passphrase = localKms({ passphrase: 'a passphrase of some length' });

  it.each<[string, Partial<FieldEncryptionOptions>, RegExp]>([
    [
      'XChaCha20',
      { suite: 'xchacha20-poly1305' },
      /refuses suite xchacha20-poly1305: leave it out/,
    ],
    ['AES-GCM-SIV', { suite: 'aes-256-gcm-siv' }, /refuses suite aes-256-gcm-siv: leave it out/],
    ['hedged nonces', { nonces: 'hedged' }, /refuses hedged nonces: leave "nonces" out/],
    ['scrypt', { kms: passphrase }, /refuses scrypt of a passphrase of kms "local": use a KMS/],
    ['scrypt of another KMS', { otherKms: [passphrase] }, /refuses scrypt/],
    [
      'scrypt of a failover',
      { kms: failoverKms([kms, passphrase], { labels: ['a', 'b'] }) },
      /refuses scrypt .*"failover"/,
    ],
    ['an unknown profile', { profile: 'fips' as never }, /a wrong option: profile/],
  ])('refuses %s', (_, options, message) => {
    const wrapping = (): unknown => wrapped(options);
    expect(wrapping).toThrow(ConfigurationError);
    expect(wrapping).toThrow(message);
  });

  it('refuses scrypt of the KMS of a scope, when it is asked for', () => {
    const kmsOf = (scope: unknown) => (scope === undefined ? kms : passphrase);
    const { options } = installationOf(wrapped({ kms: kmsOf }));
    expect(() => options.kmsOf?.({ kind: 'clinic', id: 'north' })).toThrow(
      /The option kms: profile 'fips-140-3' refuses scrypt of a passphrase of kms "local"/,
    );
  });

  it('does not start where MD5 is not refused, and says why', async () => {
    const dataSource = wrapped({});
    const started = dataSource.initialize();
    await expect(started).rejects.toThrow(ConfigurationError);
    await expect(started).rejects.toThrow(
      /not in force: OpenSSL does not refuse MD5 and ChaCha20\. Install the FIPS provider/,
    );
    expect(dataSource.isInitialized).toBe(false);
    const codes = (await fieldEncryption(dataSource).doctor()).map(({ code }) => code);
    expect(codes).toContain('FIPS_NOT_ENFORCED');
  });
});

const PROCESSES: readonly (readonly [string, string])[] = [
  ['a stand-in for it', '--require ./stand-in.js'],
  ...(FIPS_OPENSSL_CONFIG === undefined
    ? []
    : [['the FIPS provider', `--openssl-config=${FIPS_OPENSSL_CONFIG} --force-fips`] as const]),
];

describe('The profile fips-140-3 in a process', () => {
  const cleanup = new Cleanup();
  let project: Project;
  let database: DataSourceOptions;

  beforeAll(() => {
    project = createProject(typeormMajor);
    project.write('stand-in.js', STAND_IN);
    project.write('unserved.js', UNSERVED);
    project.write('script.js', SCRIPT);
    chmodSync(project.write('kek', randomBytes(32).toString('hex')), 0o600);
  });
  afterAll(async () => {
    project.dispose();
    await cleanup.run();
  });
  beforeEach(async () => {
    const created = await cleanup.create(DATABASES[0]!, { synchronize: true });
    database = created.dataSourceOptions;
  });

  async function run(nodeOptions: string, options: object, steps: Step[]): Promise<unknown[]> {
    const args = ['script.js', JSON.stringify(options), JSON.stringify(steps)];
    const env = { DATABASE: JSON.stringify(database), NODE_OPTIONS: nodeOptions };
    const { code, stdout, stderr } = await project.spawn('node', args, env);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout) as unknown[];
  }

  it('does not start where the mode is set and no provider serves it', async () => {
    const steps: Step[] = [['start'], ['doctor']];
    const [started, doctor] = await run('--require ./unserved.js', PROFILE, steps);
    expect(started).toMatch(
      /^ERR_CONFIGURATION .* OpenSSL refuses AES-256-GCM, HMAC-SHA-256, HKDF/,
    );
    expect(doctor).toEqual([expect.stringMatching(/^FIPS_NOT_ENFORCED .*OpenSSL refuses AES/)]);
    expect(await run('--require ./unserved.js', {}, [['doctor']])).toEqual([doctor]);
  });

  if (FIPS_OPENSSL_CONFIG === undefined) {
    it.skip('with the FIPS provider is skipped because FIPS_OPENSSL_CONFIG names none', () =>
      undefined);
  }

  describe.each(PROCESSES)('with %s', (_, nodeOptions) => {
    it('writes, reads and finds values', async () => {
      const steps: Step[] = [
        ['start'],
        ['write', 1],
        ['find', 1],
        ['writeVisit', 1, 'north'],
        ['readVisit', 1, 'north'],
        ['doctor'],
      ];
      const outcomes = await run(nodeOptions, PROFILE, steps);
      expect(outcomes.slice(0, 5)).toEqual(['done', 'done', 'ssn 1', 'done', 'notes 1']);
      expect(outcomes[5]).toEqual([expect.stringContaining('FIPS_ON')]);
    });

    it('decrypts with keys of other suites, and protects nothing with them', async () => {
      const other = { suite: 'xchacha20-poly1305' };
      const before: Step[] = [['start'], ['write', 1], ['writeVisit', 1, 'north']];
      expect(await run('', other, before)).toEqual(['done', 'done', 'done']);

      const refused = await run(nodeOptions, PROFILE, [
        ['start'],
        ['find', 1],
        ['readVisit', 1, 'north'],
        ['write', 2],
        ['encryptValue', 'text'],
        ['writeVisit', 2, 'north'],
        ['writeVisit', 2, 'south'],
        ['ready'],
        ['doctor'],
      ]);
      const key = (name: string, rotate: string) =>
        new RegExp(
          `^ERR_CONFIGURATION .*key "${name}" version 1 is for xchacha20-poly1305, and profile 'fips-140-3' lets it ` +
            `only decrypt\\. Run: field-encryption keys rotate ${rotate}$`,
        );
      expect(refused.slice(0, 3)).toEqual(['done', 'ssn 1', 'notes 1']);
      expect(refused.slice(3)).toEqual([
        expect.stringMatching(key('default', 'default')),
        expect.stringMatching(key('default', 'default')),
        expect.stringMatching(key('clinic', '--all-scopes')),
        expect.stringMatching(key('branch', 'branch')),
        expect.stringMatching(key('default', 'default')),
        [
          expect.stringContaining('FIPS_ON'),
          expect.stringMatching(/^FIPS_SUITE Key "branch" version 1/),
          expect.stringMatching(/^FIPS_SUITE Key "default" version 1/),
        ],
      ]);
      expect(refused[3]).toContain('Patient.ssn: key "default"');
      expect(refused[5]).toContain('Visit.notes: key "clinic"');

      const moved = await run(nodeOptions, PROFILE, [
        ['start'],
        ['rotate', 'default'],
        ['rotate', 'branch'],
        ['reseal'],
        ['rotateScopes'],
        ['reencrypt'],
        ['write', 2],
        ['find', 1],
        ['find', 2],
        ['writeVisit', 2, 'south'],
        ['readVisit', 1, 'north'],
      ]);
      const suite = 'xaes-256-gcm';
      expect(moved).toEqual([
        ...['done', suite, suite, 0, 1, 0, 'done', 'ssn 1', 'ssn 2', 'done', 'notes 1'],
      ]);
    });
  });
});
