import { CompiledScript } from '../support/compiled-script';
import { DATABASES } from '../support/databases';

/** A time zone is settled for a whole process, so this is one of its own. */
const SCRIPT = `
process.env.TZ = 'America/New_York';
require('reflect-metadata');
const { dirname, join } = require('node:path');
const { DataSource, EntitySchema } = require('typeorm');
const { blindIndexColumns, encryptedColumn, fieldEncryption, localKms, withFieldEncryption } = require('typeorm-field-encryption');

const library = dirname(require.resolve('typeorm-field-encryption'));
const { planExpand } = require(join(library, 'schema/expand.js'));
const { installationOf } = require(join(library, 'typeorm/installation/installations.js'));

const { timezone, ...options } = JSON.parse(process.env.DATABASE);
const id = { type: Number, primary: true };
const Plain = new EntitySchema({
  name: 'Visit',
  columns: {
    id,
    at: { type: 'datetime', precision: 3 },
    exact: { type: 'datetime', precision: 6 },
    stamp: { type: 'timestamp', precision: 3 },
    day: { type: 'date' },
  },
});
const Visit = new EntitySchema({
  name: 'Visit',
  columns: {
    id,
    at: encryptedColumn({ type: 'date' }),
    ...blindIndexColumns('at'),
    exact: encryptedColumn({ type: 'date' }),
    ...blindIndexColumns('exact'),
    stamp: encryptedColumn({ type: 'date', storage: 'binary' }),
    day: encryptedColumn({ type: 'date' }),
  },
});
const names = ['at', 'exact', 'stamp', 'day'];
// In winter, in summer, and on another day in New York than in Greenwich.
const DATES = ['2020-01-14T12:26:40.123Z', '2020-07-14T12:26:40.000Z', '2020-09-15T02:00:00.500Z'].map((date) => new Date(date));

const order = { order: { id: 'ASC' } };
const rowsOf = async (dataSource) => (await dataSource.getRepository('Visit').find(order)).map(({ at, exact, stamp, day }) => [at, exact, stamp, day]);
// TypeORM may take a day for the one before.
const plainRowsOf = async (dataSource) => {
  const days = await dataSource.query('SELECT CAST(day AS char) AS day FROM visit ORDER BY id');
  return (await rowsOf(dataSource)).map((row, i) => [...row.slice(0, 3), days[i].day]);
};
const runSteps = async (dataSource, steps) => {
  for (const { sql, when } of steps) {
    if (when === undefined || (await dataSource.query(when)).length > 0) await dataSource.query(sql);
  }
};

async function there(timezone) {
  const zoned = { ...options, ...(timezone && { timezone }), synchronize: false };
  let plain = await new DataSource({ ...zoned, entities: [Plain], dropSchema: true, synchronize: true }).initialize();
  await plain.getRepository('Visit').insert(DATES.map((date, i) => ({ id: i + 1, at: date, exact: date, stamp: date, day: '2020-09-14' })));
  const before = await plainRowsOf(plain);
  await plain.destroy();

  const wrapped = await withFieldEncryption(new DataSource({ ...zoned, entities: [Visit] }), {
    kms: localKms({ keyFile: process.env.KEY_FILE }),
    legacyPlaintext: names.map((name) => 'Visit.' + name),
  }).initialize();
  const visits = wrapped.getRepository('Visit');
  const found = async () => {
    const ids = [];
    for (const date of DATES) {
      ids.push(...(await visits.findBy({ at: date })).map((visit) => visit.id));
      ids.push(...(await visits.findBy({ exact: date })).map((visit) => visit.id));
    }
    return ids.join();
  };
  const [{ up, down }] = (await planExpand(installationOf(wrapped), { concurrently: false })).drafts;
  await runSteps(wrapped, up);
  await wrapped.synchronize();
  const seen = [[await rowsOf(wrapped), await found()]];
  await fieldEncryption(wrapped).encrypt();
  seen.push([await rowsOf(wrapped), await found()]);
  await fieldEncryption(wrapped).decrypt();
  seen.push([await rowsOf(wrapped), await found()]);
  await runSteps(wrapped, down);
  await wrapped.destroy();

  plain = await new DataSource({ ...zoned, entities: [Plain] }).initialize();
  const after = await plainRowsOf(plain);
  await plain.destroy();
  return { before, seen, after };
}

there(timezone).then((results) => console.log(JSON.stringify(results)));
`;

const DATES = ['2020-01-14T12:26:40.123Z', '2020-07-14T12:26:40.000Z', '2020-09-15T02:00:00.500Z'];

const MARIADB = DATABASES.filter(({ dialect }) => dialect === 'mysql');

describe.each(MARIADB)('dates in clear, under a time zone that is not UTC ($name)', (kind) => {
  const script = new CompiledScript(SCRIPT);

  it.each([undefined, 'Z', '+02:00', '-09:30'])(
    'are read, found, encrypted and brought back as TypeORM has read them, with timezone: %s',
    async (timezone) => {
      const database = await kind.create();
      Object.assign(database.dataSourceOptions, { timezone });
      const results = await script.run<Record<'after' | 'before' | 'seen', unknown>>(database);
      await database.dispose();

      const rows = (day: string): string[][] => DATES.map((date) => [date, date, date, day]);
      expect(results.before).toEqual(rows('2020-09-14'));
      const seen = [rows('2020-09-14T00:00:00.000Z'), '1,1,2,2,3,3'];
      expect(results.seen).toEqual([seen, seen, seen]);
      expect(results.after).toEqual(results.before);
    },
  );
});
