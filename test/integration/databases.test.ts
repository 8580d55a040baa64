import { DataSource, EntitySchema } from 'typeorm';
import { mariadb } from '../support/database-kinds';
import {
  DATABASES,
  describeDatabases,
  describeEachDatabase,
  typeormMajor,
} from '../support/databases';
import type { DatabaseKind } from '../support/databases';

const Note = new EntitySchema<{ id: number; text: string }>({
  name: 'Note',
  columns: { id: { type: Number, primary: true, generated: true }, text: { type: String } },
});

describeEachDatabase('A test database', startsEmpty);
describeDatabases([mariadb], 'A test database', startsEmpty);

function startsEmpty({ create }: DatabaseKind): void {
  it('starts empty and shares nothing with another', async () => {
    const databases = [
      await create({ entities: [Note], synchronize: true }),
      await create({ entities: [Note], synchronize: true }),
    ];
    for (const { dataSourceOptions, dispose } of databases) {
      const dataSource = await new DataSource(dataSourceOptions).initialize();
      const notes = dataSource.getRepository(Note);
      await notes.save({ text: 'one' });
      expect(await notes.find()).toEqual([{ id: 1, text: 'one' }]);
      await dataSource.destroy();
      await dispose();
    }
  });
}

it('are those that the TypeORM under test has drivers for', () => {
  const names =
    typeormMajor === 0 ? ['better-sqlite3', 'sqlite3', 'postgres'] : ['better-sqlite3', 'postgres'];
  expect(DATABASES.map(({ name }) => name)).toEqual(names);
});
