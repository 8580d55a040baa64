import { join } from 'node:path';
import { MoreThan } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';

import { fieldEncryption } from '../../src';
import { askChild } from '../child';
import type { RotationAnswer, RotationQuestion } from '../children/rotation';
import { createDatabase, dropDatabase, settingName, tidy } from '../databases';
import { KEY_FILE } from '../kms';
import { measure } from '../measure';
import type { Timing, Variant } from '../measure';
import { withRatios } from '../ratio';
import type { Result, Scenario, Setting, Sizes } from '../scenario';
import { VARIANTS } from '../variants';

import { addDocuments, openDocuments, SecretDocument, TransformedDocument } from './documents';

const PAGE = 500;
/**
 * By default V8 leaves garbage while there is room, up to a multiple of what is needed. Limits just above
 * the need show what the run needs, and whether that grows with the table. One thread, because collector
 * threads that fall behind on a busy machine would need more.
 */
const SMALL_HEAP = ['--max-semi-space-size=1', '--max-old-space-size=34', '--single-threaded-gc'];

/** Re-encryption of a table, compared with the floor and with code written by hand. */
export const rotation: Scenario = {
  majors: [1],
  databases: ['SQLite file', 'PostgreSQL', 'MariaDB'],
  run: async (setting) => [await comparison(setting), ...(await growth(setting))],
};

async function comparison({ database: kind, sizes }: Setting): Promise<Result> {
  const database = await createDatabase(kind);
  const dataSource = await openDocuments(database);
  await addDocuments(dataSource.getRepository(SecretDocument), sizes.rotationRows);
  await addDocuments(dataSource.getRepository(TransformedDocument), sizes.repositoryRows);
  const variants = [
    await serverSide(dataSource),
    reencrypt(dataSource),
    ...throughRepository(dataSource, sizes),
  ];
  const measurements = await measure(variants, {
    items: sizes.rotationRows,
    rounds: sizes.longRounds,
  });
  await dataSource.destroy();
  await dropDatabase(database);
  return {
    scenario: 'rotation',
    setting: settingName(kind),
    unit: `one of ${String(sizes.rotationRows)} rows of 120 bytes (through a repository: of ${String(sizes.repositoryRows)})`,
    rate: 'rows',
    measurements,
  };
}

/**
 * Lets the database rewrite the column by itself. All but PostgreSQL skip a row that stays the same byte for
 * byte, so there a copy of the table with its constraints gets values that differ by one character.
 */
async function serverSide(dataSource: DataSource): Promise<Variant> {
  const { tableName } = dataSource.getMetadata(SecretDocument);
  const copy = 'server_side';
  const parts = ['substr(secret, 1, 20)', 'substr(secret, 22)', 'substr(secret, 21, 1)'];
  const turned = isMariadb(dataSource) ? `concat(${parts.join(', ')})` : parts.join(' || ');
  const skipsSame = dataSource.options.type !== 'postgres';
  if (skipsSame) await copyTable(dataSource, tableName, copy);
  const statement = skipsSame
    ? `UPDATE ${copy} SET secret = ${turned}`
    : `UPDATE ${tableName} SET secret = secret || ''`;
  return {
    name: VARIANTS.serverSide,
    prepare: () => tidy(dataSource),
    run: () => dataSource.query(statement),
  };
}

async function copyTable(dataSource: DataSource, table: string, copy: string): Promise<void> {
  if (isMariadb(dataSource)) {
    await dataSource.query(`CREATE TABLE ${copy} LIKE ${table}`);
  } else {
    const [made] = await dataSource.query<{ sql: string }[]>(
      'SELECT sql FROM sqlite_master WHERE name = ?',
      [table],
    );
    await dataSource.query(String(made?.sql).replace(table, copy));
  }
  await dataSource.query(`INSERT INTO ${copy} SELECT * FROM ${table}`);
}

function isMariadb({ options }: DataSource): boolean {
  return options.type === 'mariadb';
}

function reencrypt(dataSource: DataSource): Variant {
  return {
    name: VARIANTS.reencrypt,
    prepare: async () => {
      await tidy(dataSource);
      await fieldEncryption(dataSource).keys.rotate();
    },
    run: async () => {
      const { changed, scanned } = await fieldEncryption(dataSource).reencrypt();
      if (changed !== scanned) throw new Error('reencrypt() left rows under the old key');
    },
  };
}

/** Rotates as users of other libraries do. */
function throughRepository(dataSource: DataSource, { repositoryRows }: Sizes): Variant[] {
  const documents = dataSource.getRepository(TransformedDocument);
  const common = { items: repositoryRows, prepare: () => tidy(dataSource) };
  return [
    {
      ...common,
      name: VARIANTS.pageAndSave,
      run: () => eachPage(documents, (page) => documents.save(page, { chunk: PAGE })),
    },
    {
      ...common,
      name: VARIANTS.saveEach,
      run: () =>
        eachPage(documents, async (page) => {
          for (const document of page) await documents.save(document);
        }),
    },
  ];
}

async function eachPage(
  documents: Repository<TransformedDocument>,
  work: (page: TransformedDocument[]) => Promise<unknown>,
): Promise<void> {
  let last = 0;
  for (;;) {
    const page = await documents.find({
      where: { id: MoreThan(last) },
      order: { id: 'ASC' },
      take: PAGE,
    });
    const end = page.at(-1);
    if (end === undefined) return;
    await work(page);
    last = end.id;
  }
}

/** Measures time and memory as the table grows, each in a process of its own. */
async function growth({ database: kind, sizes }: Setting): Promise<Result[]> {
  if (sizes.growth.length === 0) return [];
  const database = await createDatabase(kind);
  const filler = await openDocuments(database);
  const timings: Timing[] = [];
  let rows = 0;
  for (const target of sizes.growth) {
    await addDocuments(filler.getRepository(SecretDocument), target - rows);
    rows = target;
    await tidy(filler);
    timings.push(await grown({ database, keyFile: KEY_FILE }, rows));
  }
  await filler.destroy();
  await dropDatabase(database);
  return [
    {
      scenario: 'rotation of a growing table',
      setting: settingName(kind),
      unit: `one row of 120 bytes, node ${SMALL_HEAP.join(' ')}`,
      rate: 'rows',
      measurements: withRatios(timings),
    },
  ];
}

async function grown(question: RotationQuestion, rows: number): Promise<Timing> {
  const { elapsedMs, cpuMs, peakMegabytes } = await askChild<RotationAnswer>(
    join(__dirname, '..', 'children', 'rotation.js'),
    question,
    { nodeOptions: SMALL_HEAP },
  );
  const medianMs = elapsedMs / rows;
  return {
    variant: `${String(rows)} rows`,
    medianMs,
    minMs: medianMs,
    maxMs: medianMs,
    cpuMs: cpuMs / rows,
    figures: { 'peak MB': peakMegabytes },
  };
}
