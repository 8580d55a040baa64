import type { DataSource, EntityMetadata } from 'typeorm';
import { describeColumn } from '../typeorm/encrypted-column';
import type { EncryptedColumn } from '../typeorm/encrypted-column';
import type { Check } from './check';
import { finding } from './finding';

/** No application looks for it. */
const SOUGHT = 'a value that field-encryption doctor looks for';

/**
 * Whether the query builders of the DataSource are prepared by this library, no matter what makes them: a
 * package may have replaced what builds their statements.
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

/** A lookup that is refused, or waits for its tokens, shows nothing. */
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
