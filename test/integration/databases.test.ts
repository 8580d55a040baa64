import { DataSource, EntitySchema } from 'typeorm';
import { DATABASES, describeEachDatabase, typeormMajor } from '../support/databases';

const Note = new EntitySchema<{ id: number; text: string }>({
  name: 'Note',
  columns: { id: { type: Number, primary: true, generated: true }, text: { type: String } },
});

describeEachDatabase('A test database', ({ create }) => {
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
});

it('are those that the TypeORM under test has drivers for', () => {
  const sqlite = typeormMajor === 0 ? ['better-sqlite3', 'sqlite3'] : ['better-sqlite3'];
  expect(DATABASES.map(({ name }) => name)).toEqual([...sqlite, 'postgres', 'mariadb']);
});
