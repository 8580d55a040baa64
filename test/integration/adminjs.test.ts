import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { companion, companionsMissing } from '../support/companions';
import { typeormMajor } from '../support/databases';
import { blocksOf, readPage } from '../support/documentation';
import { createProject } from '../support/project';
import type { Project } from '../support/project';

const PAGE = 'docs/third-party.md';
const describeOrSkip = companionsMissing === undefined ? describe : describe.skip;

/** What the requests of the panel are answered with. */
interface Answers {
  readonly created: { readonly id: number; readonly errors: object };
  readonly listed: readonly object[];
  readonly filtered: readonly (readonly object[])[];
  readonly shown: object;
  readonly edited: { readonly params: object; readonly type: string };
  readonly refused: { readonly type: string; readonly errors: Record<string, object> };
  readonly sorted: string;
  readonly searched: string;
  readonly stored: Record<string, unknown>;
  readonly deleted: number;
}

describeOrSkip(`AdminJS ${companionsMissing ?? ''}`.trim(), () => {
  let project: Project;
  let answers: Answers;

  beforeAll(async () => {
    project = createProject(typeormMajor);
    installAdmin(project);
    for (const { file, content } of blocksOf(readPage(PAGE))) {
      if (file !== undefined) project.write(file, content);
    }
    project.write('panel.mjs', PANEL);
    const { code, stdout, stderr } = await project.run('node', ['panel.mjs']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    answers = JSON.parse(stdout) as Answers;
  }, 180_000);
  afterAll(() => {
    project.dispose();
  });

  it('creates, shows and edits a record, and stores ciphertext', () => {
    const record = {
      name: 'Ada',
      email: 'ada@example.org',
      age: 36,
      born: '1815-12-10T00:00:00.000Z',
    };
    expect(answers.created).toEqual({ id: 1, errors: {} });
    expect(answers.shown).toMatchObject(record);
    expect(answers.edited).toMatchObject({ params: { email: 'bob@example.org' }, type: 'success' });
    expect(answers.stored).toMatchObject({ name: 'Ada', born: expect.stringMatching(/^A/) });
    expect(String(answers.stored['email'])).toMatch(/^A/);
    expect(answers.deleted).toBe(0);
  });

  it('lists records, and finds them by a property with a blind index', () => {
    expect(answers.listed).toMatchObject([{ name: 'Ada', age: 36 }]);
    expect(answers.listed[0]).not.toHaveProperty('email_bidx');
    expect(answers.filtered).toMatchObject([[{ name: 'Ada' }], []]);
  });

  it('says at the property why a value was refused', () => {
    expect(answers.refused).toMatchObject({
      type: 'error',
      errors: { born: { type: 'UnsupportedValueError' } },
    });
  });

  it('refuses to sort and to search by what ciphertext cannot answer', () => {
    expect(answers.sorted).toBe('UnsupportedQueryError');
    expect(answers.searched).toBe('UnsupportedQueryError');
  });
});

/** Copies the adapter, so that it finds the project's TypeORM, and links what has none. */
function installAdmin({ folder }: Project): void {
  const modules = join(folder, 'node_modules');
  mkdirSync(join(modules, '@adminjs'), { recursive: true });
  cpSync(companion('@adminjs/typeorm'), join(modules, '@adminjs', 'typeorm'), { recursive: true });
  symlinkSync(companion('adminjs'), join(modules, 'adminjs'));
}

/** Sends the requests that a browser would, by the controllers that plugins for web servers call. */
const PANEL = `
import { readFileSync } from 'node:fs';
import AdminJS, { Router } from 'adminjs';
import { Database } from '@adminjs/typeorm';
import { BaseEntity, Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm';
import * as fe from 'typeorm-field-encryption';
import { EncryptedResource } from './encrypted-resource.mjs';

class Person extends BaseEntity {}
const declare = (property, ...decorators) =>
  decorators.forEach((decorator) => decorator(Person.prototype, property));
declare('id', PrimaryGeneratedColumn({ type: 'int' }));
declare('name', Column({ type: 'varchar' }));
declare('email', fe.Encrypted({ type: 'string' }), fe.BlindIndex({ normalize: 'email', unique: true }));
declare('age', fe.Encrypted({ type: 'number', nullable: true, coerce: true }));
declare('born', fe.Encrypted({ type: 'date', nullable: true, coerce: true }));
Entity()(Person);

const dataSource = fe.withFieldEncryption(
  new DataSource({ type: 'better-sqlite3', database: ':memory:', entities: [Person], synchronize: true }),
  { kms: fe.localKms({ passphrase: () => 'correct horse battery staple' }) },
);
await dataSource.initialize();
AdminJS.registerAdapter({ Database, Resource: EncryptedResource });
const options = JSON.parse(readFileSync('person-options.json', 'utf8'));
const admin = new AdminJS({ resources: [{ resource: Person, options }] });

async function send(action, { recordId, query = {}, payload, method = payload ? 'post' : 'get' } = {}) {
  const name = recordId === undefined ? 'resourceAction' : 'recordAction';
  const { Controller } = Router.routes.find((route) => route.action === name && route.path.startsWith('/api/'));
  const params = { resourceId: 'Person', action, recordId };
  return new Controller({ admin }, undefined)[name]({ params, payload, query, method }, {});
}
const list = async (query) => (await send('list', { query })).records.map(({ params }) => params);
const failure = (query) => list(query).then(() => 'none', ({ name }) => name);

const form = { name: 'Ada', email: 'ada@example.org', age: '36', born: '1815-12-10' };
const created = (await send('new', { payload: form })).record;
const listed = await list({});
const filtered = [await list({ 'filters.email': 'ADA@example.org' }), await list({ 'filters.email': 'x' })];
const shown = (await send('show', { recordId: '1' })).record.params;
const change = { email: 'bob@example.org', email_bidx: 'x' };
const edited = await send('edit', { recordId: '1', payload: change });
const refused = await send('edit', { recordId: '1', payload: { born: 'yesterday' } });
const sorted = await failure({ sortBy: 'email' });
const searched = await failure({ 'filters.born': '1815' });
const [stored] = await dataSource.query('SELECT * FROM person');
const found = await Person.countBy({ email: 'bob@example.org' });
await send('delete', { recordId: '1', method: 'post' });
const deleted = found - 1 + await Person.count();
console.log(JSON.stringify({
  created: { id: created.params.id, errors: created.errors },
  listed, filtered, shown, sorted, searched, stored, deleted,
  edited: { params: edited.record.params, type: edited.notice.type },
  refused: { type: refused.notice.type, errors: refused.record.errors },
}));
await dataSource.destroy();
process.exit();
`;
