import { randomBytes } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { DATABASES, typeormMajor } from '../support/databases';
import type { DataSourceOptions } from 'typeorm';
import { createProject } from '../support/project';
import type { Project } from '../support/project';
import { Cleanup } from '../support/protected-database';

const VALUES = 50;
/** Where the nonce stands in a binary column: behind format and key id. */
const NONCE = [9, 33] as const;

/** Loaded before a process: what it draws is the same in every copy. */
const REPEATING = `
const crypto = require('node:crypto');
const generator = crypto.createCipheriv('aes-256-ctr', Buffer.alloc(32), Buffer.alloc(16));
crypto.randomFillSync = (target) => { target.set(generator.update(Buffer.alloc(target.length))); return target; };
`;

/** Inserts values of its own, or moves all to a new key, and prints what is stored. */
const SCRIPT = `
require('reflect-metadata');
const { DataSource, EntitySchema } = require('typeorm');
const { encryptedColumn, fieldEncryption, localKms, withFieldEncryption } = require('typeorm-field-encryption');
const Note = new EntitySchema({
  name: 'Note',
  columns: { id: { type: Number, primary: true }, text: encryptedColumn({}) },
});
const [action, nonces, first] = process.argv.slice(2);
(async () => {
  const dataSource = await withFieldEncryption(
    new DataSource({ ...JSON.parse(process.env.DATABASE), entities: [Note] }),
    { kms: localKms({ keyFile: 'kek' }), ...(nonces === undefined ? {} : { nonces }) },
  ).initialize();
  const encryption = fieldEncryption(dataSource), notes = dataSource.getRepository(Note);
  if (action === 'init') await encryption.ready();
  if (action === 'insert') await notes.insert(Array.from({ length: ${String(VALUES)} }, (_, i) => ({ id: Number(first) + i, text: first + ' ' + i })));
  if (action === 'move') {
    await encryption.keys.rotate();
    const { remaining } = await encryption.reencrypt({ batchSize: 10 });
    if (remaining > 0) throw new Error('not moved');
  }
  const stored = await dataSource.query('SELECT text FROM note ORDER BY id');
  const read = (await notes.find({ order: { id: 'ASC' } })).map(({ text }) => text);
  await dataSource.destroy();
  process.stdout.write(JSON.stringify({ stored: stored.map(({ text }) => text), read }));
})().catch((error) => { console.error(error); process.exitCode = 1; });
`;

interface Printed {
  readonly stored: string[];
  readonly read: string[];
}

describe('Copies of a process whose random bytes repeat', () => {
  const cleanup = new Cleanup();
  let project: Project;
  let options: DataSourceOptions;

  beforeAll(() => {
    project = createProject(typeormMajor);
    project.write('repeating.js', REPEATING);
    project.write('script.js', SCRIPT);
    chmodSync(project.write('kek', randomBytes(32).toString('hex')), 0o600);
  });
  afterAll(async () => {
    project.dispose();
    await cleanup.run();
  });
  beforeEach(async () => {
    const database = await cleanup.create(DATABASES[0]!, { synchronize: true });
    options = database.dataSourceOptions;
    await run('init', []);
  });

  async function run(action: string, args: string[], env = {}): Promise<Printed> {
    const { code, stdout, stderr } = await project.run('node', ['script.js', action, ...args], {
      DATABASE: JSON.stringify(options),
      ...env,
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return JSON.parse(stdout) as Printed;
  }

  const inCopy = (action: string, args: string[]): Promise<Printed> =>
    run(action, args, { NODE_OPTIONS: '--require ./repeating.js' });

  function nonceOf(text: string): string {
    return Buffer.from(text, 'base64url')
      .subarray(...NONCE)
      .toString('hex');
  }

  /** All that was ever stored: what one copy has inserted and moved, and what another one has inserted. */
  async function written(mode: string): Promise<{ nonces: Set<string>; read: string[] }> {
    const { stored } = await inCopy('insert', [mode, '1']);
    await inCopy('move', [mode]);
    const last = await inCopy('insert', [mode, '1001']);
    return { nonces: new Set([...stored, ...last.stored].map(nonceOf)), read: last.read };
  }

  it('repeat nonces unless nonces are hedged', async () => {
    expect((await written('random')).nonces.size).toBeLessThan(3 * VALUES);
  });

  it('repeat none with hedged nonces, neither of inserts nor of a run', async () => {
    const hedged = await written('hedged');
    expect(hedged.nonces.size).toBe(3 * VALUES);
    // What is stored is the same for a process that does not hedge.
    expect((await run('read', [])).read).toEqual(hedged.read);
    expect(hedged.read).toHaveLength(2 * VALUES);
  });
});
