import type { DataSource } from 'typeorm';

import type { ValueRules, Zone } from '../value-rules';

/** The options of TypeORM's driver that are used; `extra` is laid over what the driver is given. */
interface ZonedOptions {
  readonly timezone?: string;
  readonly extra?: { readonly timezone?: string };
}

/** The greatest length for which there is room in a row, of 65,535 bytes for all columns, if each character takes 4. */
const MAX_VARCHAR = 16_383;

export const mysqlValues: ValueRules = {
  nullIsGreatest: false,
  hasExactIntegers: true,
  allowsNul: true,
  hasTypedCells: false,
  // The driver puts them into the text: as many as in PostgreSQL keep it shorter than `max_allowed_packet`.
  maxParameters: () => Promise.resolve(65_535),
  zone,
  columnType: (storage, length) => {
    if (storage === 'binary') return 'longblob';
    return length === undefined || length > MAX_VARCHAR ? 'longtext' : 'varchar';
  },
  textBytes: { tinytext: 255, text: 65_535, mediumtext: 16_777_215 },
  exactText: { charset: 'ascii', collation: 'ascii_bin' },
  exactCleartext: { charset: 'utf8mb4', collation: 'utf8mb4_bin' },
};

/** Returns the zone as `mysql2` understands the option: what is none is UTC to it. */
function zone({ options }: DataSource): Zone {
  const { timezone, extra } = options as ZonedOptions;
  const given = extra?.timezone ?? timezone ?? 'local';
  if (given === 'local') return given;
  const offset = given.replace(' ', '+');
  return /^[+-](?!00:00)\d\d:\d\d$/.test(offset) ? (offset as Zone) : 'Z';
}
