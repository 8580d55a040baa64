import { randomBytes, randomUUID } from 'node:crypto';
import { EntitySchema } from 'typeorm';
import type { DataSource, EntitySchemaColumnOptions } from 'typeorm';
import { encryptedColumn, fieldEncryption } from '../../src';
import { mariadb } from '../support/database-kinds';
import { describeDatabases } from '../support/databases';
import { Cleanup, protect } from '../support/protected-database';
import { rawRows } from '../support/stored-rows';

type KeyColumns = Record<string, EntitySchemaColumnOptions>;

interface KeyCase {
  readonly columns: KeyColumns;
  readonly keys: readonly (readonly unknown[])[];
}

/** A primary key of one column. */
function one(column: EntitySchemaColumnOptions, values: readonly unknown[]): KeyCase {
  return { columns: { key: column }, keys: values.map((value) => [value]) };
}

const WORDS = ['a', 'B', 'ö', 'Z', '_', ' x', "o'k", 'back\\slash', '"q"', 'ß', 'y z', '100%', '?'];
const DAYS = ['2024-02-29', '1999-12-31', '2024-10-27', '2038-01-18', '1970-01-02'];
const MOMENTS = DAYS.flatMap((day) => [`${day} 00:30:00.000001`, `${day} 00:30:00.000002`]);
const product = (a: readonly unknown[], b: readonly unknown[]): unknown[][] =>
  a.flatMap((x) => b.map((y) => [x, y]));

const CASES: readonly (readonly [string, KeyCase])[] = [
  ['int', one({ type: 'int' }, [-2147483648, -1, 0, 7, 10, 9, 2147483647])],
  [
    'bigint unsigned',
    one(
      { type: 'bigint', unsigned: true },
      Array.from({ length: 9 }, (_, i) => String(2n ** 64n - 1n - BigInt(i))),
    ),
  ],
  [
    'decimal',
    one({ type: 'decimal', precision: 40, scale: 20 }, [
      '12345678901234567890.00000000000000000001',
      '12345678901234567890.00000000000000000002',
      '-12345678901234567890.00000000000000000002',
      '9.5',
      '10.5',
    ]),
  ],
  ['double', one({ type: 'double' }, [0.1, 0.1 + Number.EPSILON / 8, 1e300, -1e-300, 2 ** 53])],
  ['float', one({ type: 'float' }, [0.1, 0.2, 16777215, -3.4e38])],
  ...['utf8mb4_general_ci', 'utf8mb4_bin', 'utf8mb4_nopad_bin', 'utf8mb4_swedish_ci'].map(
    (collation) =>
      [
        collation,
        one({ type: 'varchar', length: 40, collation }, [...WORDS, '😀', 'é😀', '漢字']),
      ] as const,
  ),
  [
    'latin1',
    one({ type: 'varchar', length: 40, charset: 'latin1', collation: 'latin1_german2_ci' }, WORDS),
  ],
  [
    // Has characters twice, which are one in Unicode.
    'cp932',
    one({ type: 'varchar', length: 40, charset: 'cp932', collation: 'cp932_bin' }, [
      ...['8754', 'FA4A', 'FA4B', 'ED40', 'EE40', 'FA40'].map((hex) => Buffer.from(hex, 'hex')),
      ...['a', 'z', '漢字'],
    ]),
  ],
  ['gbk', one({ type: 'varchar', length: 40, charset: 'gbk' }, ['a', 'Z', '漢字', '·', 'é'])],
  ['utf16', one({ type: 'varchar', length: 40, charset: 'utf16', collation: 'utf16_bin' }, WORDS)],
  [
    'char',
    one(
      { type: 'char', length: 36 },
      Array.from({ length: 9 }, () => randomUUID()),
    ),
  ],
  [
    'binary',
    one(
      { type: 'binary', length: 16 },
      Array.from({ length: 9 }, () => randomBytes(16)),
    ),
  ],
  [
    'varbinary',
    one(
      { type: 'varbinary', length: 16 },
      ['', '00', '0000', '61', '6120', 'ff'].map((hex) => Buffer.from(hex, 'hex')),
    ),
  ],
  [
    'uuid',
    one(
      { type: 'uuid' },
      Array.from({ length: 9 }, () => randomUUID()),
    ),
  ],
  ['date', one({ type: 'date' }, DAYS)],
  ['datetime', one({ type: 'datetime', precision: 6 }, MOMENTS)],
  ['timestamp', one({ type: 'timestamp', precision: 6 }, MOMENTS)],
  ['time', one({ type: 'time' }, ['00:00:01', '23:59:59', '12:00:00', '100:00:00'])],
  ['year', one({ type: 'year' }, [1999, 2000, 2024])],
  [
    'enum',
    one({ type: 'enum', enum: ['small', "it's", 'large', 'a,b'] }, [
      'large',
      "it's",
      'small',
      'a,b',
    ]),
  ],
  [
    'several columns',
    {
      columns: {
        area: { type: 'varchar', length: 10 },
        number: { type: 'bigint' },
        k0: { type: 'int', default: 0 },
      },
      keys: product(['b', 'A', 'c'], ['9007199254740993', '-5', '9007199254740992']).map(
        (key, i) => [...key, i],
      ),
    },
  ],
];

describeDatabases([mariadb], 'A run by a primary key', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  async function open({ columns }: KeyCase): Promise<DataSource> {
    const keys = Object.entries(columns).map(([name, column]) => [
      name,
      { ...column, primary: true },
    ]);
    const Thing = new EntitySchema<Record<string, unknown>>({
      name: 'Thing',
      columns: {
        ...(Object.fromEntries(keys) as KeyColumns),
        secret: encryptedColumn(),
        touched: { type: 'timestamp', updateDate: true },
      },
    });
    const database = await cleanup.create(kind, { entities: [Thing], synchronize: true });
    return cleanup.add(await protect(database, { legacyPlaintext: ['Thing.secret'] }).initialize());
  }

  const withoutSecret = (row: Record<string, unknown>): object => ({ ...row, secret: null });

  it.each(CASES)('of the type %s loses and repeats no row', async (_, each) => {
    const dataSource = await open(each);
    const handle = fieldEncryption(dataSource);
    // By SQL: TypeORM would change some, such as times by the zone of the process.
    const places = Array.from({ length: Object.keys(each.columns).length + 1 }, () => '?');
    for (const [i, key] of each.keys.entries()) {
      const names = [...Object.keys(each.columns), 'secret'].map((name) => `\`${name}\``);
      await dataSource.query(
        `INSERT INTO thing (${names.join(', ')}) VALUES (${places.join(', ')})`,
        [...key, `canary ${String(i)}`],
      );
    }
    const before = await rawRows(dataSource, 'Thing');
    const changed = each.keys.length;
    expect(await handle.encrypt({ batchSize: 2 })).toMatchObject({ changed, remaining: 0 });
    await handle.keys.rotate();
    expect(await handle.reencrypt({ batchSize: 2 })).toMatchObject({
      ...{ changed, scanned: changed, remaining: 0, conflicts: 0, failed: 0 },
    });
    expect((await rawRows(dataSource, 'Thing')).map(withoutSecret)).toEqual(
      before.map(withoutSecret),
    );
    expect(await handle.decrypt({ batchSize: 3 })).toMatchObject({ changed, remaining: 0 });
    expect(await rawRows(dataSource, 'Thing')).toEqual(before);
  });
});
