import type { ValueRules } from '../value-rules';

/** The option of TypeORM's driver that is used. */
interface ZonedOptions {
  readonly timezone?: string;
}

/** The zones in the options of a DataSource that are UTC. */
const UTC: readonly (string | undefined)[] = ['Z', '+00:00', '-00:00'];

export const mysqlValues: ValueRules = {
  nullIsGreatest: false,
  hasExactIntegers: true,
  allowsNul: true,
  hasTypedCells: false,
  // The driver puts them into the text: as many as in PostgreSQL keep it shorter than `max_allowed_packet`.
  maxParameters: () => Promise.resolve(65_535),
  storesUtc: ({ options }) => UTC.includes((options as ZonedOptions).timezone),
  columnType: (storage, length) => {
    if (storage === 'binary') return 'longblob';
    return length === undefined ? 'longtext' : 'varchar';
  },
  exactText: { charset: 'ascii', collation: 'ascii_bin' },
};
