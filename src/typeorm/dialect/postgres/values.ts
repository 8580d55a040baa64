import type { ValueRules } from '../value-rules';

export const postgresValues: ValueRules = {
  nullIsGreatest: true,
  hasExactIntegers: true,
  allowsNul: false,
  hasTypedCells: false,
  // Counted in 16 bits.
  maxParameters: () => Promise.resolve(65_535),
  zone: () => 'local',
  columnType: (storage, length) => {
    if (storage === 'binary') return 'bytea';
    return length === undefined ? 'text' : 'varchar';
  },
};
