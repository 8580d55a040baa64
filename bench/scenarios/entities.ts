import { DATABASE_KINDS, settingName } from '../databases';
import { measure } from '../measure';
import type { Measurement, Work } from '../measure';
import { besidePeer, lookingUp, storing } from '../people/contenders';
import type { Contender } from '../people/contenders';
import { emailOf } from '../people/person';
import type { Person } from '../people/person';
import { SEVERAL } from '../pool';
import type { Result, Scenario, Setting } from '../scenario';

/** A comparison over people in a table. */
type Comparison = (
  contenders: readonly Contender[],
  setting: Setting,
) => Promise<Omit<Result, 'setting'>>;

/** Reading and writing entities through TypeORM. */
export const entities: Scenario = {
  majors: [0, 1],
  databases: DATABASE_KINDS.filter((kind) => kind !== 'SQLite file'),
  processes: SEVERAL,
  run: async (setting) => [
    ...(await compare(storing, setting, comparisons())),
    ...(await compare(lookingUp, setting, [findOneByEmail])),
  ],
};

/** The same beside plain columns and typeorm-encrypted alone. */
export const entitiesBesidePeer: Scenario = {
  ...entities,
  run: (setting) => compare(besidePeer, setting, comparisons()),
};

function comparisons(): Comparison[] {
  return [
    find,
    findOneById,
    saveInChunks,
    saveOneByOne,
    insertInChunks,
    partialUpdate,
    saveUntouched,
  ];
}

async function compare(
  open: typeof storing,
  setting: Setting,
  wanted: readonly Comparison[],
): Promise<Result[]> {
  const contenders = await open(setting.database, setting.sizes.rows);
  const where = settingName(setting.database);
  const results: Result[] = [];
  for (const comparison of wanted) {
    results.push({ ...(await comparison(contenders, setting)), setting: where });
  }
  for (const { close } of contenders) await close();
  return results;
}

const find: Comparison = async (contenders, { sizes: { rows, rounds } }) => ({
  scenario: 'find()',
  unit: `one find() of ${String(rows)} rows, 4 of 10 columns encrypted`,
  measurements: await each(contenders, { items: 1, rounds }, ({ people }) => people.find()),
});

const findOneById: Comparison = async (contenders, { sizes: { lookups, rounds } }) => ({
  scenario: 'findOneBy({ id })',
  unit: `one of ${String(lookups)} queries`,
  measurements: await each(contenders, { items: lookups, rounds }, async ({ people }) => {
    for (let id = 1; id <= lookups; id++) await people.findOneByOrFail({ id });
  }),
});

const findOneByEmail: Comparison = async (contenders, { sizes: { lookups, rounds } }) => ({
  scenario: 'findOneBy({ email })',
  unit: `one of ${String(lookups)} queries, by blind index where encrypted`,
  measurements: await each(contenders, { items: lookups, rounds }, async ({ people, byEmail }) => {
    for (let i = 0; i < lookups; i++) await people.findOneByOrFail(byEmail(emailOf(i)));
  }),
});

const saveInChunks: Comparison = async (contenders, { sizes: { entities: count, rounds } }) => ({
  scenario: 'save() of new entities in chunks',
  unit: `one of ${String(count)} entities, 500 in a transaction`,
  measurements: await each(
    contenders,
    { items: count, rounds },
    ({ people, make }) => people.save(people.create(make(count)), { chunk: 500 }),
    removeAdded,
  ),
});

const saveOneByOne: Comparison = async (
  contenders,
  { sizes: { entities: count, slowRounds } },
) => ({
  scenario: 'save() of new entities one by one',
  unit: `one of ${String(count)} entities`,
  measurements: await each(
    contenders,
    { items: count, rounds: slowRounds },
    async ({ people, make }) => {
      for (const person of people.create(make(count))) await people.save(person);
    },
    removeAdded,
  ),
});

const insertInChunks: Comparison = async (contenders, { sizes: { entities: count, rounds } }) => ({
  scenario: 'insert() in chunks',
  unit: `one of ${String(count)} rows, 500 in a statement`,
  measurements: await each(
    contenders,
    { items: count, rounds },
    async ({ people, make }) => {
      const rows = make(count);
      for (let at = 0; at < count; at += 500) await people.insert(rows.slice(at, at + 500));
    },
    removeAdded,
  ),
});

const partialUpdate: Comparison = async (contenders, { sizes: { updates, rounds } }) => {
  let turn = 0;
  return {
    scenario: 'update() of one secret column',
    unit: `one of ${String(updates)} updates by id`,
    measurements: await each(contenders, { items: updates, rounds }, async ({ people }) => {
      const note = `seen again, turn ${String(turn++)}`;
      for (let id = 1; id <= updates; id++) await people.update({ id }, { note });
    }),
  };
};

const saveUntouched: Comparison = async (contenders, { sizes: { entities: count, rounds } }) => {
  const loaded = new Map<Contender, Person[]>();
  return {
    scenario: 'save() of untouched entities',
    unit: `one of ${String(count)} entities, just loaded`,
    measurements: await each(
      contenders,
      { items: count, rounds },
      (contender) => contender.people.save(loaded.get(contender) ?? [], { chunk: 500 }),
      async (contender) => {
        loaded.set(contender, await contender.people.find({ take: count }));
      },
    ),
  };
};

function each(
  contenders: readonly Contender[],
  work: Work,
  run: (contender: Contender) => unknown,
  prepare: (contender: Contender) => Promise<unknown> = () => Promise.resolve(),
): Promise<Measurement[]> {
  const variants = contenders.map((contender) => ({
    name: contender.name,
    run: () => run(contender),
    prepare: () => prepare(contender),
  }));
  return measure(variants, work);
}

/** Removes added rows, so that the table keeps its size. */
async function removeAdded({ people, rows }: Contender): Promise<void> {
  await people.createQueryBuilder().delete().where('id > :rows', { rows }).execute();
}
