import { CompiledScript } from '../support/compiled-script';
import { DATABASES, describeDatabases } from '../support/databases';

/** A time zone is settled for a whole process, so this is one of its own. */
const SCRIPT = `
const { columns, timezone, tz, ...options } = JSON.parse(process.env.DATABASE);
process.env.TZ = tz;
require('reflect-metadata');
const { dirname, join } = require('node:path');
const { DataSource, EntitySchema } = require('typeorm');
const { blindIndexColumns, encryptedColumn, fieldEncryption, localKms, withFieldEncryption } = require('typeorm-field-encryption');

const library = dirname(require.resolve('typeorm-field-encryption'));
const { planExpand } = require(join(library, 'schema/expand.js'));
const { installationOf } = require(join(library, 'typeorm/installation/installations.js'));

const id = { type: Number, primary: true };
const Plain = new EntitySchema({
  name: 'Visit',
  columns: { id, ...columns },
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
  const days = await dataSource.query('SELECT CAST(day AS char(10)) AS day FROM visit ORDER BY id');
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
  // Once more, with rows that stay in clear.
  await runSteps(wrapped, up);
  seen.push([await rowsOf(wrapped), '1,1,2,2,3,3']);
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

const DAY = { type: 'date' };

/** The columns in clear, and the zones of process and driver under which they are tried. */
const WORLDS = {
  mysql: {
    columns: {
      at: { type: 'datetime', precision: 3 },
      exact: { type: 'datetime', precision: 6 },
      stamp: { type: 'timestamp', precision: 3 },
      day: DAY,
    },
    zones: [undefined, 'Z', '+02:00', '-09:30'].map((timezone) => ({
      tz: 'America/New_York',
      timezone,
    })),
  },
  postgres: {
    columns: {
      at: { type: 'timestamp without time zone', precision: 3 },
      exact: { type: 'timestamp with time zone', precision: 6 },
      stamp: { type: 'timestamp without time zone' },
      day: DAY,
    },
    zones: ['America/New_York', 'Asia/Kolkata'].map((tz) => ({
      tz,
      timezone: undefined,
      // The zone of the session is another one.
      extra: { options: '-c TimeZone=Asia/Tokyo' },
    })),
  },
};

describe.each(['mysql', 'postgres'] as const)('on %s', (dialect) => {
  const { columns, zones } = WORLDS[dialect];
  const kinds = DATABASES.filter((kind) => kind.dialect === dialect);

  describeDatabases(kinds, 'dates in clear, under a time zone that is not UTC', (kind) => {
    const script = new CompiledScript(SCRIPT);

    it.each(zones)(
      'are read, found, encrypted and brought back as TypeORM has read them, under TZ=$tz and timezone: $timezone',
      async (zone) => {
        const database = await kind.create();
        Object.assign(database.dataSourceOptions, { columns, ...zone });
        const results = await script.run<Record<'after' | 'before' | 'seen', unknown>>(database);
        await database.dispose();

        const rows = (day: string): string[][] => DATES.map((date) => [date, date, date, day]);
        expect(results.before).toEqual(rows('2020-09-14'));
        const seen = [rows('2020-09-14T00:00:00.000Z'), '1,1,2,2,3,3'];
        expect(results.seen).toEqual([seen, seen, seen, seen]);
        expect(results.after).toEqual(results.before);
      },
    );
  });
});
