import { Column, DataSource, Entity, In, Like, Not, PrimaryGeneratedColumn } from 'typeorm';
import type { Repository } from 'typeorm';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';
import { BlindIndex, Encrypted, UnsupportedQueryError, withFieldEncryption } from '../../src';
import { companion, companionsMissing } from '../support/companions';
import { describeDiagonal, typeormMajor } from '../support/databases';
import type { DatabaseKind } from '../support/databases';
import { readPage } from '../support/documentation';
import { expectNoCanary } from '../support/encrypted-database';
import { createProject } from '../support/project';
import { Cleanup, keyFileKms, rejection } from '../support/protected-database';
import { StatementLog } from '../support/statement-log';

/** What a row of either entity is. */
interface Person {
  id: number;
  name: string;
  email: string;
  notes: string | null;
}

@Entity({ name: 'person' })
class PlainPerson implements Person {
  @PrimaryGeneratedColumn() id!: number;
  @Column() name!: string;
  @Column({ unique: true }) email!: string;
  @Column({ type: 'text', nullable: true }) notes!: string | null;
}

@Entity({ name: 'person' })
class EncryptedPerson implements Person {
  @PrimaryGeneratedColumn() id!: number;
  @Column() name!: string;
  @Encrypted() @BlindIndex({ unique: true }) email!: string;
  @Encrypted({ nullable: true, type: 'string' }) notes!: string | null;
}

type PersonClass = new () => Person;

/** What the tests use of typeorm-transactional. */
interface Transactional {
  initializeTransactionalContext(options: object): void;
  addTransactionalDataSource(options: { name: string; dataSource: DataSource }): DataSource;
  deleteDataSourceByName(name: string): void;
  runInTransaction<T>(work: () => Promise<T>, options: { connectionName: string }): Promise<T>;
}

const NAME = 'companions';
/** The statement log must not show it where the column is encrypted. */
const mail = (n: number): string => `canary-${String(n)}@example.org`;

/** Who wraps whom: the DataSource of an application, and what its transactions are. */
interface Arrangement {
  readonly title: string;
  readonly entity: PersonClass;
  wrap(dataSource: DataSource): DataSource;
  transaction<T>(dataSource: DataSource, work: () => Promise<T>): Promise<T>;
}

/** As a service of NestJS is written: it is given a DataSource and a repository, and no more. */
class PersonService {
  constructor(
    readonly dataSource: DataSource,
    readonly persons: Repository<Person>,
    readonly arrangement: Arrangement,
  ) {}

  /** One row by each way that code takes within one transaction. */
  async register(first: number, second: number, fail: boolean): Promise<void> {
    const { dataSource, persons, arrangement } = this;
    await arrangement.transaction(dataSource, async () => {
      await persons.save(persons.create({ name: 'saved', email: mail(first) }));
      await dataSource
        .createQueryBuilder()
        .insert()
        .into(arrangement.entity)
        .values({ name: 'inserted', email: mail(second) })
        .execute();
      if (fail) throw new Error('the transaction fails');
    });
  }
}

/** The versions in the docs are those that were tried, up to the first number that is not 0. */
(companionsMissing === undefined ? it : it.skip)('have their versions in the docs', () => {
  const { dependencies } = require('../companions/package.json') as {
    dependencies: Record<string, string>;
  };
  const table = readPage('docs/third-party.md').matchAll(/^\| ([\w@/-]+) \| (\d.*?) \| (.*?) \|/gm);
  const shown = [...table].map(([, name = '', old = '', present = '']) => ({
    name,
    versions: [old, present].flatMap((cell) => /^\d[\d.]*/.exec(cell)?.[0] ?? []),
  }));
  expect(shown).toHaveLength(6);
  for (const { name, versions } of shown) {
    const old = `${name}-0.3` in dependencies ? `${name}-0.3` : name;
    expect([name, versions]).toEqual([name, [old, name].map(versionOf).slice(0, versions.length)]);
  }
});

function versionOf(name: string): string {
  const { version } = require(
    join(__dirname, '..', 'companions', 'node_modules', name, 'package.json'),
  ) as { version: string };
  return /^(?:0\.)*\d+/.exec(version)?.[0] ?? '';
}

const describeOrSkip = companionsMissing === undefined ? describe : describe.skip;

describeOrSkip(`Packages beside this library ${companionsMissing ?? ''}`.trim(), () => {
  const transactional = (
    companionsMissing === undefined ? require(companion('typeorm-transactional')) : {}
  ) as Transactional;
  if (companionsMissing === undefined) {
    transactional.initializeTransactionalContext({ storageDriver: 'ASYNC_LOCAL_STORAGE' });
  }

  const encrypt = (dataSource: DataSource): DataSource =>
    withFieldEncryption(dataSource, { kms: keyFileKms() });
  const addTransactional = (dataSource: DataSource): DataSource =>
    transactional.addTransactionalDataSource({ name: NAME, dataSource });
  const runTransactional = <T>(_: DataSource, work: () => Promise<T>): Promise<T> =>
    transactional.runInTransaction(work, { connectionName: NAME });

  const ARRANGEMENTS: readonly Arrangement[] = [
    {
      title: 'without encryption',
      entity: PlainPerson,
      wrap: addTransactional,
      transaction: runTransactional,
    },
    {
      title: 'with the encrypted DataSource made transactional',
      entity: EncryptedPerson,
      wrap: (dataSource) => addTransactional(encrypt(dataSource)),
      transaction: runTransactional,
    },
    {
      title: 'with the transactional DataSource encrypted',
      entity: EncryptedPerson,
      wrap: (dataSource) => encrypt(addTransactional(dataSource)),
      transaction: runTransactional,
    },
  ];

  describeDiagonal('a service', (database) => {
    describe.each(ARRANGEMENTS)('$title', (arrangement) => {
      servicesWork(database, arrangement, transactional);
    });
  });

  if (typeormMajor === 1) {
    it('seeds by typeorm-extension, which is an ES module', async () => {
      const project = createProject(1);
      try {
        const url = pathToFileURL(join(companion('typeorm-extension'), 'dist', 'index.mjs')).href;
        project.write('seed.mjs', seedScript(url));
        const { stdout, stderr } = await project.run('node', ['seed.mjs']);
        expect(stderr).toBe('');
        expect(JSON.parse(stdout)).toEqual({ found: 'seeded', stored: true });
      } finally {
        project.dispose();
      }
      // Where the sources have changed, the package is built first.
    }, 120_000);
  }
});

function servicesWork(
  database: DatabaseKind,
  arrangement: Arrangement,
  transactional: Transactional,
): void {
  const cleanup = new Cleanup();
  const { entity } = arrangement;
  let log: StatementLog;
  let dataSource: DataSource;
  let persons: Repository<Person>;
  let service: PersonService;

  beforeAll(async () => {
    log = new StatementLog();
    const { dataSourceOptions } = await cleanup.create(database, {
      entities: [entity],
      synchronize: true,
      logger: log,
    });
    dataSource = cleanup.add(arrangement.wrap(new DataSource(dataSourceOptions)));
    await dataSource.initialize();
    persons = dataSource.getRepository<Person>(entity);
    service = new PersonService(dataSource, persons, arrangement);
  });

  afterAll(async () => {
    transactional.deleteDataSourceByName(NAME);
    await cleanup.run();
    if (entity === EncryptedPerson) expectNoCanary(log.statements);
  });

  beforeEach(async () => {
    await persons.createQueryBuilder().delete().execute();
    for (const n of [1, 2, 3, 4, 5]) {
      await persons.insert({ name: `n${String(n)}`, email: mail(n), notes: null });
    }
  });

  const names = (found: readonly Person[]): string[] => found.map(({ name }) => name).sort();

  it('looks up', async () => {
    expect(await persons.findOneBy({ email: mail(2) })).toMatchObject({
      name: 'n2',
      email: mail(2),
    });
    expect(names(await persons.findBy({ email: In([mail(1), mail(3)]) }))).toEqual(['n1', 'n3']);
    expect(await persons.countBy({ email: Not(In([mail(1), mail(3)])) })).toBe(3);
    expect(await persons.existsBy({ email: mail(9) })).toBe(false);
    const built = dataSource.createQueryBuilder<Person>(entity, 'p').where({ email: mail(4) });
    expect(names(await built.getMany())).toEqual(['n4']);
    const begun = dataSource.createQueryBuilder().select('p').from<Person>(entity, 'p');
    expect(names(await begun.where({ email: mail(5) }).getMany())).toEqual(['n5']);
    const inTransaction = await arrangement.transaction(dataSource, () =>
      dataSource
        .createQueryBuilder<Person>(entity, 'p')
        .where({ email: mail(1) })
        .getOne(),
    );
    expect(inTransaction).toMatchObject({ name: 'n1' });
  });

  it('updates', async () => {
    await persons.update({ email: mail(2) }, { email: mail(20) });
    await dataSource
      .createQueryBuilder()
      .update(entity)
      .set({ email: mail(30) })
      .where({ email: mail(3) })
      .execute();
    expect(names(await persons.findBy({ email: In([mail(20), mail(30)]) }))).toEqual(['n2', 'n3']);
    expect(await persons.countBy({ email: In([mail(2), mail(3)]) })).toBe(0);
    const saved = await persons.findOneByOrFail({ email: mail(4) });
    saved.email = mail(40);
    await persons.save(saved);
    expect(await persons.countBy({ email: mail(40) })).toBe(1);
    await persons.upsert([{ name: 'up', email: mail(40) }], ['email']);
    expect(await persons.findOneByOrFail({ email: mail(40) })).toMatchObject({
      id: saved.id,
      name: 'up',
    });
  });

  it('deletes what was meant', async () => {
    await persons.delete({ email: Not(In([mail(1), mail(2), mail(3)])) });
    expect(names(await persons.find())).toEqual(['n1', 'n2', 'n3']);
    await dataSource
      .createQueryBuilder()
      .delete()
      .from(entity)
      .where({ email: mail(1) })
      .execute();
    expect(names(await persons.find())).toEqual(['n2', 'n3']);
  });

  it('keeps what it does within its transactions', async () => {
    await service.register(6, 7, false);
    expect(await persons.countBy({ email: In([mail(6), mail(7)]) })).toBe(2);
    await expect(service.register(8, 9, true)).rejects.toThrow('the transaction fails');
    expect(await persons.count()).toBe(7);
    expect(await persons.countBy({ email: In([mail(8), mail(9)]) })).toBe(0);
  });

  it('pages by nestjs-paginate', async () => {
    const { paginate } = require(companion('nestjs-paginate'));
    const query = { path: '/persons', limit: 2, page: 2, sortBy: [['name', 'ASC']] };
    const config = { sortableColumns: ['id', 'name'], where: { email: Not(mail(1)) } };
    const page = await paginate(query, persons, config);
    expect(page.data.map(({ email }: Person) => email)).toEqual([mail(4), mail(5)]);
    expect(page.meta).toMatchObject({ totalItems: 4, totalPages: 2 });
    const builder = persons.createQueryBuilder('p').where({ email: In([mail(1), mail(2)]) });
    expect((await paginate({ path: '/persons' }, builder, config)).meta.totalItems).toBe(2);
  });

  if (typeormMajor === 0) {
    it('pages by nestjs-typeorm-paginate', async () => {
      const { paginate } = require(companion('nestjs-typeorm-paginate'));
      const builder = () =>
        persons
          .createQueryBuilder('p')
          .where({ email: Not(mail(1)) })
          .orderBy('p.name');
      const page = await paginate(builder(), { page: 2, limit: 3 });
      expect(page.items).toMatchObject([{ email: mail(5) }]);
      expect(page.meta).toMatchObject({ totalItems: 4, itemCount: 1 });
      const found = await paginate(persons, { page: 1, limit: 3 }, { where: { email: mail(2) } });
      expect(found.items).toMatchObject([{ name: 'n2' }]);
    });

    it('pages by typeorm-cursor-pagination, which copies the builder', async () => {
      const { buildPaginator } = require(companion('typeorm-cursor-pagination'));
      const page = async (afterCursor?: string) => {
        const paginator = buildPaginator({
          entity,
          alias: 'p',
          paginationKeys: ['id'],
          query: { limit: 2, order: 'ASC', afterCursor },
        });
        return paginator.paginate(persons.createQueryBuilder('p').where({ email: Not(mail(1)) }));
      };
      const first = await page();
      expect(first.data).toMatchObject([{ email: mail(2) }, { email: mail(3) }]);
      expect((await page(first.cursor.afterCursor)).data).toMatchObject([
        { email: mail(4) },
        { email: mail(5) },
      ]);
    });

    it('pages and seeds by typeorm-extension', async () => {
      const { applyQuery, runSeeder } = require(
        join(companion('typeorm-extension'), 'dist', 'index.cjs'),
      );
      const builder = persons.createQueryBuilder('p').where({ email: Not(mail(1)) });
      applyQuery(
        builder,
        { page: { limit: 2, offset: 1 }, sort: 'name' },
        {
          defaultAlias: 'p',
          pagination: { maxLimit: 50 },
          sort: { allowed: ['name'] },
        },
      );
      expect(names(await builder.getMany())).toEqual(['n3', 'n4']);

      class Seeder {
        async run(source: DataSource): Promise<void> {
          await source.getRepository<Person>(entity).insert({ name: 'seeded', email: mail(50) });
        }
      }
      await runSeeder(dataSource, Seeder);
      expect(await persons.findOneBy({ email: mail(50) })).toMatchObject({ name: 'seeded' });
    });
  }

  if (entity === EncryptedPerson) {
    it('refuses what ciphertext cannot answer, whoever asks', async () => {
      const { paginate } = require(companion('nestjs-paginate'));
      const config = { sortableColumns: ['id', 'email'], searchableColumns: ['email'] };
      const asked: (() => unknown)[] = [
        () => persons.findBy({ email: Like(mail(1)) }),
        () => dataSource.createQueryBuilder<Person>(entity, 'p').where('p.email = 1').getMany(),
        () => paginate({ path: '/', search: 'example' }, persons, config),
        () => paginate({ path: '/', sortBy: [['email', 'ASC']] }, persons, config),
      ];
      for (const ask of asked) {
        expect(await rejection(async () => ask())).toBeInstanceOf(UnsupportedQueryError);
      }
    });
  }
}

/** Runs in a project that has the built package. */
function seedScript(extension: string): string {
  return `
import { DataSource, EntitySchema } from 'typeorm';
import * as fe from 'typeorm-field-encryption';
import { runSeeders } from ${JSON.stringify(extension)};
const Person = new EntitySchema({
  name: 'Person',
  columns: {
    id: { type: Number, primary: true, generated: true },
    email: fe.encryptedColumn(),
    ...fe.blindIndexColumns('email'),
  },
});
class PersonSeeder {
  async run(dataSource) {
    await dataSource.getRepository('Person').insert({ email: 'seeded' });
  }
}
const dataSource = fe.withFieldEncryption(
  new DataSource({ type: 'better-sqlite3', database: ':memory:', entities: [Person], synchronize: true }),
  { kms: fe.localKms({ passphrase: () => 'correct horse battery staple' }) },
);
await dataSource.initialize();
await runSeeders(dataSource, { seeds: [PersonSeeder] });
const found = await dataSource.getRepository('Person').findOneBy({ email: 'seeded' });
const [row] = await dataSource.query('SELECT * FROM person');
console.log(JSON.stringify({ found: found?.email, stored: row.email !== 'seeded' }));
await dataSource.destroy();
`;
}
