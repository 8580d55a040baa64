import type { DataSource, EntityMetadata, QueryRunner } from 'typeorm';

import { encryptedTables } from '../../reencryption/encrypted-table';
import type { EncryptedTable } from '../../reencryption/encrypted-table';
import { catalogOf } from '../../typeorm/dialect/dialect-of';
import { storedSamples } from '../../typeorm/installation/stored-samples';
import { describeColumn } from '../../typeorm/metadata/encrypted-column';
import type { EncryptedColumn } from '../../typeorm/metadata/encrypted-column';
import { finding } from '../finding';
import type { Check, DatabaseCheck, Finding } from '../finding';

import { mayHide } from './own-tables';

/** Samples columns that must hold only ciphertext for cleartext. */
export const cleartext: DatabaseCheck = async (installation, runner) => {
  const found: Finding[] = [];
  for (const table of encryptedTables(installation)) {
    // Hidden rows are a finding of their own.
    if (await mayHide(runner, table.name)) continue;
    for (const encrypted of table.columns) {
      if (encrypted.readsPlaintext || encrypted.previousFormat !== undefined) continue;
      if (!(await mayRead(runner, table, encrypted))) continue;
      const samples = await storedSamples(runner, table.metadata, encrypted);
      if (samples.some((stored) => isPlaintext(stored, encrypted))) {
        found.push(cleartextFound(encrypted));
      }
    }
  }
  return found;
};

function isPlaintext(stored: unknown, { cipher }: EncryptedColumn): boolean {
  return cipher.inspect(stored).kind === 'plaintext';
}

/** Whether the role may read a column; `false` if it does not exist. */
export function mayRead(
  runner: QueryRunner,
  { metadata }: EncryptedTable,
  { column }: EncryptedColumn,
): Promise<boolean> {
  const columns = [...metadata.primaryColumns, column].map(({ databaseName }) => databaseName);
  return catalogOf(runner).mayRead(runner, metadata, columns);
}

function cleartextFound(encrypted: EncryptedColumn): Finding {
  const name = describeColumn(encrypted);
  return finding(
    'CLEARTEXT_FOUND',
    `${name}: rows hold cleartext, and legacyPlaintext does not name the property: reading them fails.`,
    `Name '${name}' in legacyPlaintext until \`field-encryption data encrypt\` has encrypted the rows.`,
  );
}

/** A value that no application looks up. */
const SOUGHT = 'a value that field-encryption doctor looks for';

/**
 * Checks that this library prepares the query builders of the DataSource, whatever creates them: a
 * package may have replaced the methods that build their statements.
 */
export const wrapping: Check = ({ dataSource, columns }) => {
  const [tried] = [...columns.byEntity].flatMap(([metadata, entity]) =>
    entity.columns.filter(isLookedUpByText).map((encrypted) => ({ metadata, encrypted })),
  );
  if (tried === undefined) return [];
  const { metadata, encrypted } = tried;
  const unprepared = builders(dataSource, metadata)
    .filter(({ make }) => showsValue(make, encrypted))
    .map(({ name }) => name);
  if (unprepared.length === 0) return [];
  return [
    finding(
      'LOOKUPS_NOT_ENCRYPTED',
      `${unprepared.join(' and ')} do not look ${describeColumn(encrypted)} up by its index: something has replaced what builds their statements.`,
      'Find out which package replaces methods of query builders, and update it or leave it out: it must call the methods that were there.',
    ),
  ];
};

function isLookedUpByText({ policy, indexes, readsPlaintext }: EncryptedColumn): boolean {
  return policy.type === 'string' && indexes.length > 0 && !readsPlaintext;
}

type Make = () => { where(condition: object): { getQueryAndParameters(): unknown } };

function builders(
  dataSource: DataSource,
  { target, name }: EntityMetadata,
): readonly { name: string; make: Make }[] {
  return [
    {
      name: 'dataSource.createQueryBuilder(...)',
      make: () => dataSource.createQueryBuilder(target, name),
    },
    {
      name: 'dataSource.createQueryBuilder()',
      make: () => dataSource.createQueryBuilder().select(name).from(target, name),
    },
    {
      name: 'manager.createQueryBuilder(...)',
      make: () => dataSource.manager.createQueryBuilder(target, name),
    },
    {
      name: 'repositories',
      make: () => dataSource.getRepository(target).createQueryBuilder(name),
    },
  ];
}

/** Whether the built statement contains the value. A lookup that is refused, or waits for tokens, does not. */
function showsValue(make: Make, { column }: EncryptedColumn): boolean {
  try {
    const condition = column.propertyPath
      .split('.')
      .reduceRight<unknown>((value, property) => ({ [property]: value }), SOUGHT);
    const built = make()
      .where(condition as object)
      .getQueryAndParameters();
    return JSON.stringify(built).includes(SOUGHT);
  } catch {
    return false;
  }
}
