import type { ValueRules } from '../value-rules';

const DEFAULT_MAX_PARAMETERS = 32_766;

export const sqliteValues: ValueRules = {
  nullIsGreatest: false,
  hasExactIntegers: false,
  allowsNul: true,
  hasTypedCells: true,
  maxParameters: async (dataSource) => {
    const [built] = await dataSource.query<{ option: string }[]>(
      `SELECT compile_options AS option FROM pragma_compile_options WHERE compile_options LIKE 'MAX_VARIABLE_NUMBER=%'`,
    );
    return built === undefined ? DEFAULT_MAX_PARAMETERS : Number(built.option.split('=')[1]);
  },
  zone: () => 'Z',
  columnType: (storage, length) => {
    if (storage === 'binary') return 'blob';
    return length === undefined ? 'text' : 'varchar';
  },
};
