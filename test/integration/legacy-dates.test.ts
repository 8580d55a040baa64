import { DATABASES } from '../support/databases';
import { CompiledScript } from '../support/compiled-script';

/** A time zone is settled for a whole process, so this is one of its own. */
const SCRIPT = `
process.env.TZ = 'America/New_York';
require('reflect-metadata');
const { DataSource, EntitySchema } = require('typeorm');
const { blindIndexColumns, encryptedColumn, fieldEncryption, localKms, withFieldEncryption } = require('typeorm-field-encryption');

const STORED = ['2020-09-14 12:26:40.000', '2020-09-14 12:26:40', '2020-09-14T12:26', '2020-09-14T12:26:40.000Z', '2020-09-14T12:26:40+02:00', '2020-09-14'];
const id = { type: Number, primary: true };
const Plain = new EntitySchema({ name: 'Visit', columns: { id, at: { type: 'datetime' } } });
const Visit = new EntitySchema({
  name: 'Visit',
  columns: { id, at: encryptedColumn({ type: 'date' }), ...blindIndexColumns('at') },
});
const options = JSON.parse(process.env.DATABASE);
const times = (rows) => rows.map(({ at }) => at.toISOString());
const order = { order: { id: 'ASC' } };

(async () => {
  const plain = await new DataSource({ ...options, entities: [Plain] }).initialize();
  for (const [i, at] of STORED.entries()) await plain.query('INSERT INTO visit (id, at) VALUES (?, ?)', [i + 1, at]);
  const before = times(await plain.getRepository('Visit').find(order));
  await plain.destroy();

  const wrapped = await withFieldEncryption(new DataSource({ ...options, entities: [Visit] }), {
    kms: localKms({ keyFile: process.env.KEY_FILE }),
    legacyPlaintext: ['Visit.at'],
  }).initialize();
  const visits = wrapped.getRepository('Visit');
  const legacy = times(await visits.find(order));
  const found = (await visits.findBy({ at: new Date(before[0]) })).map((visit) => visit.id);
  const { changed } = await fieldEncryption(wrapped).encrypt();
  const encrypted = times(await visits.find(order));
  await wrapped.destroy();
  console.log(JSON.stringify({ before, legacy, found, changed, encrypted }));
})();
`;

const SQLITE = DATABASES.filter(({ dialect }) => dialect === 'sqlite');

describe.each(SQLITE)('dates in clear, under a time zone that is not UTC ($name)', (kind) => {
  const script = new CompiledScript(SCRIPT);

  it('are read, found and encrypted as TypeORM has read them', async () => {
    const database = await kind.create();
    const { before, ...after } = await script.run<Record<string, unknown>>(database);
    await database.dispose();

    expect(before).toContain('2020-09-14T12:26:40.000Z');
    expect(after).toEqual({ legacy: before, found: [1, 2, 4], changed: 6, encrypted: before });
  });
});
