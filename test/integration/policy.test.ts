/* eslint-disable @typescript-eslint/no-extraneous-class -- decorated by calls, not by syntax */
import * as typeorm from 'typeorm';
import {
  Column,
  CreateDateColumn,
  DataSource,
  Entity,
  EntitySchema,
  Generated,
  Index,
  JoinColumn,
  ManyToOne,
  PrimaryColumn,
  PrimaryGeneratedColumn,
  Unique,
  VersionColumn,
  ViewColumn,
  ViewEntity,
} from 'typeorm';
import type { ObjectLiteral } from 'typeorm';
import {
  BlindIndex,
  blindIndexColumns,
  ConfigurationError,
  Encrypted,
  encryptedColumn,
  fieldEncryption,
  InvalidFieldPolicyError,
  UnsupportedValueError,
  withFieldEncryption,
} from '../../src';
import { describeDiagonal } from '../support/databases';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';

type Decorator = (prototype: object, property: string) => void;

/** `class Doc { @PrimaryGeneratedColumn() id; @decorators... value: designType }` */
/** For a compiler that emits no decorator metadata. */
const NOT_EMITTED = Symbol('not emitted');

function emitType(designType: unknown, prototype: object, property: string): void {
  const { defineMetadata } = Reflect as unknown as { defineMetadata(...args: unknown[]): void };
  defineMetadata('design:type', designType, prototype, property);
}

function docWith(decorators: readonly Decorator[], designType: unknown = String) {
  class Doc {}
  Entity()(Doc);
  PrimaryGeneratedColumn()(Doc.prototype, 'id');
  if (designType !== NOT_EMITTED) emitType(designType, Doc.prototype, 'value');
  // As the compiler applies them: the lowest first.
  for (const decorate of [...decorators].reverse()) decorate(Doc.prototype, 'value');
  return Doc;
}

/** The same as an EntitySchema; options of the other one come behind those that the library gave. */
function schemaWith(behindColumn: object, behindIndex?: object) {
  const index = blindIndexColumns('value')['value_bidx'];
  return new EntitySchema({
    name: 'Doc',
    columns: {
      id: { type: Number, primary: true },
      value: { ...encryptedColumn(), ...behindColumn },
      ...(behindIndex && { value_bidx: { ...index, ...behindIndex } }),
    } as never,
  });
}

const asIs = { to: (value: unknown) => value, from: (value: unknown) => value };

const encrypted = (options: object = {}): Decorator => Encrypted(options);
const blindIndex = (options: object = {}): Decorator => BlindIndex(options);

@Entity()
class Owner {
  @PrimaryColumn() id!: string;
}

const WRONG_POLICIES: readonly [string, () => unknown, RegExp][] = [
  ['an unknown type', () => docWith([encrypted({ type: 'uuid' })]), /type/],
  [
    'a type that is neither named nor emitted',
    () => docWith([encrypted()], NOT_EMITTED),
    /no decorator metadata.*@Encrypted\(\{ type: 'string' \}\)/,
  ],
  ['an unknown storage', () => docWith([encrypted({ storage: 'jsonb' })]), /storage/],
  ['an unknown option', () => docWith([encrypted({ nulable: true })]), /unknown option "nulable"/],
  [
    'an unknown option, saying which there are',
    () => docWith([encrypted({ nulable: true })]),
    /known are type, storage, nullable, .*check\)/,
  ],
  ['an option of another type', () => docWith([encrypted({ nullable: 'yes' })]), /nullable/],
  ['a length that is no number', () => docWith([encrypted({ length: '80' })]), /length/],
  ['an empty id', () => docWith([encrypted({ id: '' })]), /id/],
  ['an empty key name', () => docWith([encrypted({ key: '' })]), /key/],
  ['a default', () => docWith([encrypted({ default: 'x' })]), /default.*class/],
  ['a null default', () => docWith([encrypted({ default: null })]), /default/],
  ['unique', () => docWith([encrypted({ unique: true })]), /BlindIndex\(\{ unique: true \}\)/],
  ['a transformer', () => docWith([encrypted({ transformer: {} })]), /transformer/],
  ['primary', () => docWith([encrypted({ primary: true })]), /primary/],
  ['@PrimaryColumn above', () => docWith([PrimaryColumn(), encrypted()]), /primary|Remove/],
  ['@PrimaryColumn below', () => docWith([encrypted(), PrimaryColumn()]), /primary|Remove/],
  ['@VersionColumn beside it', () => docWith([VersionColumn(), encrypted()]), /Remove/],
  ['@CreateDateColumn beside it', () => docWith([encrypted(), CreateDateColumn()]), /Remove/],
  ['@Generated above', () => docWith([Generated('uuid'), encrypted()]), /Generated/],
  ['@Generated below', () => docWith([encrypted(), Generated('uuid')]), /Generated/],
  ['@Encrypted twice', () => docWith([encrypted(), encrypted()]), /Remove/],
  ['a column too narrow', () => docWith([encrypted({ length: 20 })]), /narrow.*\d+ characters/],
  [
    'a length on a binary column',
    () => docWith([encrypted({ length: 80, storage: 'binary' })]),
    /length/,
  ],
  ['@Index beside it', () => docWith([Index(), encrypted()]), /BlindIndex/],
  [
    'a unique @Index beside it',
    () => docWith([Index({ unique: true }), encrypted()]),
    /BlindIndex/,
  ],
  [
    'an @Index of the class that names it',
    () => {
      const doc = docWith([encrypted()]);
      Index(['id', 'value'])(doc);
      return doc;
    },
    /BlindIndex/,
  ],
  [
    'a @Unique of the class that names it',
    () => {
      const doc = docWith([encrypted()]);
      Unique(['value'])(doc);
      return doc;
    },
    /BlindIndex/,
  ],
  ['@BlindIndex without @Encrypted', () => docWith([blindIndex()]), /Add @Encrypted/],
  ['@BlindIndex beside @Column', () => docWith([Column(), blindIndex()]), /Add @Encrypted/],
  ['an array type', () => docWith([encrypted()], Array), /type: 'json'/],
  ['an object type', () => docWith([encrypted()], class Visit {}), /type: 'json'/],
  [
    'unique with bits',
    () => docWith([encrypted(), blindIndex({ unique: true, bits: 16 })]),
    /bits/,
  ],
  ['zero bits', () => docWith([encrypted(), blindIndex({ bits: 0 })]), /bits/],
  ['257 bits', () => docWith([encrypted(), blindIndex({ bits: 257 })]), /bits/],
  ['half a bit', () => docWith([encrypted(), blindIndex({ bits: 1.5 })]), /bits/],
  [
    'an index on a boolean',
    () => docWith([encrypted({ type: 'boolean' }), blindIndex()], Boolean),
    /acknowledgeLeakage/,
  ],
  ['an index on JSON', () => docWith([encrypted({ type: 'json' }), blindIndex()], Object), /json/i],
  [
    'an e-mail index on a number',
    () => docWith([encrypted(), blindIndex({ normalize: 'email' })], Number),
    /normaliz/,
  ],
  [
    'a digits index on bytes',
    () => docWith([encrypted({ type: 'bytes' }), blindIndex({ normalize: 'digits' })], Buffer),
    /normaliz/,
  ],
  [
    'an unknown normalizer',
    () => docWith([encrypted(), blindIndex({ normalize: 'phone' })]),
    /phone/,
  ],
  [
    'a normalizer without a version',
    () => docWith([encrypted(), blindIndex({ normalize: { id: 'x', normalize: String } })]),
    /version/,
  ],
  [
    'a custom normalizer that takes the name of another',
    () =>
      docWith([
        encrypted(),
        blindIndex({ normalize: { id: 'email', version: 1, normalize: String } }),
      ]),
    /email/,
  ],
  [
    'an index column name that is no string',
    () => docWith([encrypted(), blindIndex({ columnName: 7 })]),
    /columnName/,
  ],
  [
    'an empty index column name',
    () => docWith([encrypted(), blindIndex({ columnName: '' })]),
    /columnName/,
  ],
  ['an unknown index option', () => docWith([encrypted(), blindIndex({ where: '1=1' })]), /where/],
  [
    'two indexes of one name',
    () => docWith([encrypted(), blindIndex(), blindIndex({ normalize: 'digits' })]),
    /name/,
  ],
  [
    'two indexes of one name, in an EntitySchema',
    () =>
      new EntitySchema({
        name: 'Doc',
        columns: {
          id: { type: Number, primary: true },
          value: encryptedColumn(),
          ...blindIndexColumns('value', {}, { normalize: 'digits' }),
        },
      }),
    /name/,
  ],
  [
    'an index column that is a property already',
    () => {
      const doc = docWith([encrypted()]);
      Column('text')(doc.prototype, 'value_bidx');
      blindIndex()(doc.prototype, 'value');
      return doc;
    },
    /value_bidx/,
  ],
  [
    'a foreign key',
    () => {
      const doc = docWith([encrypted()]);
      const { prototype } = doc as { prototype: object };
      ManyToOne(() => Owner)(prototype, 'owner');
      JoinColumn({ name: 'value' })(prototype, 'owner');
      return doc;
    },
    /foreign key/,
  ],
  [
    'a property of an EntitySchema',
    () =>
      new EntitySchema({
        name: 'Doc',
        columns: {
          id: { type: Number, primary: true },
          value: { ...encryptedColumn(), default: 'clear' },
        },
      }),
    /default/,
  ],
  [
    'a unique column of an EntitySchema',
    () =>
      new EntitySchema({
        name: 'Doc',
        columns: {
          id: { type: Number, primary: true },
          value: { ...encryptedColumn(), unique: true },
        },
      }),
    /BlindIndex/,
  ],
  [
    'a primary column of an EntitySchema',
    () =>
      new EntitySchema({
        name: 'Doc',
        columns: { value: { ...encryptedColumn(), primary: true } },
      }),
    /primary/,
  ],
  [
    'a generated column of an EntitySchema',
    () =>
      new EntitySchema({
        name: 'Doc',
        columns: {
          id: { type: Number, primary: true },
          value: { ...encryptedColumn(), generated: 'uuid' },
        },
      }),
    /generated/i,
  ],
  ...Object.entries<object>({
    transformer: { transformer: asIs },
    'transformer list': { transformer: [asIs, encryptedColumn().transformer] },
    length: { type: 'varchar', length: 20 },
    'type, which the length came with': { type: 'varchar' },
    type: { type: 'simple-json' },
    array: { array: true },
    asExpression: { asExpression: `'x'`, generatedType: 'STORED' },
    onUpdate: { onUpdate: `'x'` },
    enum: { enum: ['x'] },
    charset: { charset: 'latin1' },
    collation: { collation: 'latin1_swedish_ci' },
    version: { version: true },
    createDate: { createDate: true },
    updateDate: { updateDate: true },
    deleteDate: { deleteDate: true },
    treeLevel: { treeLevel: true },
    virtualProperty: { virtualProperty: true },
  }).map(([what, options]): (typeof WRONG_POLICIES)[number] => [
    `${what} behind encryptedColumn()`,
    () => schemaWith(options),
    new RegExp(`option "(${Object.keys(options).join('|')})" .*(ake it away|in the entity)`),
  ]),
  ...Object.entries<object>({
    transformer: { transformer: asIs },
    length: { length: 10 },
    type: { type: 'text', length: undefined },
    array: { array: true },
    asExpression: { asExpression: `'x'`, generatedType: 'STORED' },
    onUpdate: { onUpdate: `'x'` },
    collation: { collation: 'latin1_swedish_ci' },
    updateDate: { updateDate: true },
    default: { default: 'x' },
    primary: { primary: true },
    unique: { unique: true },
    generated: { generated: 'uuid', length: undefined },
  }).map(([what, options]): (typeof WRONG_POLICIES)[number] => [
    `${what} behind blindIndexColumns()`,
    () => schemaWith({}, options),
    new RegExp(
      `option "(${Object.keys(options).join('|')})" of its index column "value_bidx" .*ake it away`,
    ),
  ]),
];

const { ForeignKey } = typeorm as { ForeignKey?: (target: () => unknown) => Decorator };

describeDiagonal('initialize() of a wrong policy', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  async function initializing(...entities: unknown[]): Promise<Error> {
    const database = await cleanup.create(kind, { entities: entities as never, synchronize: true });
    return rejection(cleanup.add(protect(database)).initialize());
  }

  it.each(WRONG_POLICIES)('refuses %s', async (what, define, remedy) => {
    const error = await initializing(define(), Owner);

    expect(error).toBeInstanceOf(InvalidFieldPolicyError);
    expect(error).toMatchObject({ code: 'ERR_FIELD_POLICY', entity: 'Doc', property: 'value' });
    expect(error.message).toContain('Doc.value');
    // TypeORM makes an index of a unique column there.
    const isIndex = kind.dialect === 'mysql' && what === 'unique behind blindIndexColumns()';
    expect(error.message).toMatch(isIndex ? /unique constraint or index/ : remedy);
  });

  const foreignKey = ForeignKey === undefined ? it.skip : it;
  const missing = ForeignKey === undefined ? ' (not here: this TypeORM has no @ForeignKey)' : '';
  foreignKey(`refuses a column with @ForeignKey${missing}`, async () => {
    const declared = ForeignKey?.(() => Owner);
    const error = await initializing(docWith([declared as Decorator, encrypted()]), Owner);
    expect(error).toMatchObject({ code: 'ERR_FIELD_POLICY', entity: 'Doc', property: 'value' });
  });

  it('refuses a column that a relation refers to', async () => {
    const Referred = docWith([encrypted()]);
    class Referring {}
    Entity()(Referring);
    PrimaryColumn('int')(Referring.prototype, 'id');
    ManyToOne(() => Referred as never)(Referring.prototype, 'doc');
    JoinColumn({ referencedColumnName: 'value' })(Referring.prototype, 'doc');
    const error = await initializing(Referred, Referring);
    expect(error).toMatchObject({ code: 'ERR_FIELD_POLICY', entity: 'Doc', property: 'value' });
  });

  it('accepts every type, and a boolean index whose leakage is acknowledged', async () => {
    class Fine {}
    Entity()(Fine);
    PrimaryGeneratedColumn()(Fine.prototype, 'id');
    for (const type of [
      'string',
      'number',
      'bigint',
      'boolean',
      'date',
      'json',
      'bytes',
    ] as const) {
      Encrypted({ type, nullable: true })(Fine.prototype, type);
      if (type === 'json') continue;
      BlindIndex(type === 'boolean' ? { acknowledgeLeakage: true } : {})(Fine.prototype, type);
    }
    const database = await cleanup.create(kind, { entities: [Fine], synchronize: true });
    await expect(cleanup.add(protect(database)).initialize()).resolves.toBeInstanceOf(DataSource);
  });

  it('leaves a DataSource that it refused destroyable or never connected', async () => {
    const database = await cleanup.create(kind, {
      entities: [docWith([encrypted({ type: 'x' })])] as never,
    });
    const dataSource = protect(database);
    const error = await rejection(dataSource.initialize());
    expect(error).toMatchObject({ code: 'ERR_FIELD_POLICY' });
    // And a second try says the same instead of working half-way.
    expect(await rejection(dataSource.initialize())).toMatchObject({ code: 'ERR_FIELD_POLICY' });
    expect(dataSource.isInitialized).toBe(false);
  });
});

interface Mapping {
  readonly table?: string;
  readonly value: Decorator;
}

/** `@Entity(table) class <name> { @PrimaryColumn() id; @value value; }` */
function mapped(name: string, { table = 'chart', value }: Mapping) {
  const type = { [name]: class {} }[name] as new () => object;
  Entity(table)(type);
  PrimaryColumn('int')(type.prototype, 'id');
  emitType(String, type.prototype, 'value');
  value(type.prototype, 'value');
  return type;
}

describeDiagonal('Two entities of one table', (kind) => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  async function open(...entities: unknown[]): Promise<DataSource> {
    const database = await cleanup.create(kind, { entities: entities as never });
    return cleanup.add(protect(database)).initialize();
  }

  const chart = () => mapped('Chart', { value: encrypted({ id: 'Chart.value' }) });

  it.each<[string, Decorator, string]>([
    ['a property of the same name', Column('text'), 'value'],
    ['one that writes at inserts only', Column({ type: 'text', update: false }), 'value'],
    ['one that writes at updates only', Column({ type: 'text', insert: false }), 'value'],
    [
      'another property',
      (prototype) => Column('text', { name: 'value' })(prototype, 'other'),
      'other',
    ],
    [
      'a property of an embedded',
      (prototype) => {
        class Part {}
        Column('text', { name: 'value' })(Part.prototype, 'text');
        Column(() => Part, { prefix: false })(prototype, 'part');
      },
      'part.text',
    ],
  ])('are refused where the other has the column as %s', async (_what, value, property) => {
    for (const order of [0, 1]) {
      const entities = [chart(), mapped('Sheet', { value })];
      const error = await rejection(open(...(order === 0 ? entities : entities.reverse())));
      expect(error).toBeInstanceOf(InvalidFieldPolicyError);
      expect(error).toMatchObject({ entity: 'Chart', property: 'value' });
      expect(error.message).toMatch(/Chart\.value.* entity Sheet .*column "value".*"chart"/);
      expect(error.message).toContain(`@Encrypted({ id: 'Chart.value' }) on Sheet.${property}`);
    }
  });

  it('are refused where they encrypt it under two ids', async () => {
    const error = await rejection(open(chart(), mapped('Sheet', { value: encrypted() })));
    expect(error).toBeInstanceOf(InvalidFieldPolicyError);
    expect(error.message).toMatch(
      /^Sheet\.value: Chart\.value .*@Encrypted\(\{ id: 'Chart.value' }\)/,
    );
  });

  it('are refused where an EntitySchema has the ordinary column', async () => {
    const Sheet = new EntitySchema({
      name: 'Sheet',
      tableName: 'chart',
      columns: { id: { type: Number, primary: true }, value: { type: String } },
    });
    const error = await rejection(open(chart(), Sheet));
    expect(error).toMatchObject({ entity: 'Chart', property: 'value' });
    expect(error.message).toContain('Sheet');
  });

  it.each<[string, Decorator]>([
    ['does not have the column', Column('text', { name: 'other' })],
    ['encrypts it under the same id', encrypted({ id: 'Chart.value' })],
    ['only reads it', Column({ type: 'text', insert: false, update: false })],
  ])('work where the other %s', async (_what, value) => {
    const dataSource = await open(chart(), mapped('Sheet', { value }));
    expect(dataSource.isInitialized).toBe(true);
  });

  it('work where the tables are of two schemas, or their names differ in more than case', async () => {
    const elsewhere =
      kind.type === 'postgres'
        ? new EntitySchema({
            name: 'Sheet',
            tableName: 'chart',
            schema: 'elsewhere',
            columns: { id: { type: Number, primary: true }, value: { type: String } },
          })
        : mapped('Sheet', { table: 'charts', value: Column('text') });
    const dataSource = await open(chart(), elsewhere);
    expect(dataSource.isInitialized).toBe(true);
  });

  it('are told apart by the names that the database tells apart', async () => {
    const opening = open(chart(), mapped('Sheet', { table: 'Chart', value: Column('text') }));
    if (kind.type === 'postgres') await expect(opening).resolves.toBeInstanceOf(DataSource);
    else expect(await rejection(opening)).toMatchObject({ code: 'ERR_FIELD_POLICY' });
  });

  it('leaves views of other columns alone', async () => {
    class ChartView {}
    ViewEntity({ expression: 'SELECT id FROM chart' })(ChartView);
    ViewColumn()(ChartView.prototype, 'id');
    const dataSource = await open(chart(), ChartView);
    expect(dataSource.isInitialized).toBe(true);
  });
});

describe('withFieldEncryption', () => {
  const options = { kms: keyFileKms() };
  const create = (type = 'better-sqlite3'): DataSource =>
    new DataSource({ type, database: ':memory:' } as never);

  it.each([
    ['no options', undefined, /kms/],
    ['null', null, /kms/],
    ['no kms', {}, /kms/],
    ['a kms that is none', { kms: { wrapKey: () => {} } }, /KmsProvider/],
    ['a kms that is a string', { kms: 'local' }, /kms/],
    ['an unknown option', { ...options, kmsProvider: 1 }, /unknown option "kmsProvider"/],
    ['an unknown suite', { ...options, suite: 'aes-128-cbc' }, /suite/],
    ['an empty application', { ...options, application: '' }, /application/],
    ['an application that is no string', { ...options, application: 7 }, /application/],
    ['validate: "yes"', { ...options, validate: 'yes' }, /validate/],
    ['an unknown cache option', { ...options, keyCache: { ttl: 1 } }, /ttl/],
    ['a negative ttl', { ...options, keyCache: { ttlMs: -1 } }, /ttlMs/],
    [
      'a ttl above the maximum age',
      { ...options, keyCache: { ttlMs: 10, maxAgeMs: 5 } },
      /maxAgeMs/,
    ],
    ['a cache that is a number', { ...options, keyCache: 5 }, /keyCache/],
    ['an onEvent that is no function', { ...options, onEvent: 'log' }, /onEvent/],
    ['legacyPlaintext that is no list', { ...options, legacyPlaintext: 'A.b' }, /legacyPlaintext/],
    [
      'legacyPlaintext without a property',
      { ...options, legacyPlaintext: ['A'] },
      /legacyPlaintext/,
    ],
  ])('refuses %s', async (_what, wrong, named) => {
    const error = await rejection(() => withFieldEncryption(create(), wrong as never));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(named);
  });

  it('can be called again, rightly, for a DataSource for which it refused its options', async () => {
    const dataSource = create();
    await rejection(() =>
      withFieldEncryption(dataSource, { keyCache: { ttlMs: 9, maxAgeMs: 1 }, ...options }),
    );
    expect(withFieldEncryption(dataSource, options)).toBe(dataSource);
  });

  it('refuses to be called twice', async () => {
    const dataSource = withFieldEncryption(create(), options);
    const error = await rejection(() => withFieldEncryption(dataSource, options));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(/twice/);
  });

  it('refuses an initialized DataSource', async () => {
    const dataSource = await create().initialize();
    const error = await rejection(() => withFieldEncryption(dataSource, options));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(/before/);
    await dataSource.destroy();
  });

  it('refuses a driver that is not supported by name', async () => {
    const dataSource = create();
    Object.assign(dataSource, { options: { type: 'mssql' } });
    const error = await rejection(() => withFieldEncryption(dataSource, options));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toMatch(/"mssql".*better-sqlite3/);
  });

  it.each([
    ['undefined', undefined],
    ['an object', {}],
  ])('refuses %s in place of a DataSource', async (_what, value) => {
    const error = await rejection(() => withFieldEncryption(value as never, options));
    expect(error).toBeInstanceOf(ConfigurationError);
  });

  it('refuses legacyPlaintext that names no encrypted property at initialize()', async () => {
    const dataSource = withFieldEncryption(create(), {
      ...options,
      legacyPlaintext: ['Doc.nothing'],
    });
    const error = await rejection(dataSource.initialize());
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('Doc.nothing');
  });

  it('refuses the handle of a DataSource it has not met', async () => {
    const error = await rejection(() => fieldEncryption(create()));
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain('withFieldEncryption');
  });
});

@Entity()
class Sample {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted({ nullable: true }) @BlindIndex() text!: string | null;
  @Encrypted({ nullable: true }) amount!: number;
  @Encrypted({ nullable: true, type: 'bigint' }) big!: bigint;
  @Encrypted({ nullable: true }) flag!: boolean;
  @Encrypted({ nullable: true }) day!: Date;
  @Encrypted({ nullable: true, type: 'json' }) data!: unknown;
  @Encrypted({ nullable: true }) bytes!: Buffer;
  @Encrypted({ nullable: true, length: 100 }) short!: string;
}

const cyclic: Record<string, unknown> = {};
cyclic['self'] = cyclic;
let deep: unknown = [];
for (let i = 0; i < 1000; i++) deep = [deep];

const WRONG_VALUES: readonly [string, keyof Sample, unknown][] = [
  ['a number for a string', 'text', 5],
  ['an object for a string', 'text', { secretCanary: 1 }],
  ['an array for a string', 'text', ['secretCanary']],
  ['a Buffer for a string', 'text', Buffer.from('secretCanary')],
  ['a Date for a string', 'text', new Date(0)],
  ['a symbol for a string', 'text', Symbol('secretCanary')],
  ['a lone surrogate', 'text', 'secretCanary\ud800'],
  ['a string over 16 MiB', 'text', 'x'.repeat(16 * 1024 * 1024 + 1)],
  ['a string for a number', 'amount', '12'],
  ['a bigint for a number', 'amount', 12n],
  ['a number for a bigint', 'big', 12],
  ['a number for a boolean', 'flag', 1],
  ['a string for a boolean', 'flag', 'true'],
  ['an invalid date', 'day', new Date(NaN)],
  ['a string for a date', 'day', '2020-01-01'],
  ['a number for a date', 'day', 0],
  ['a cycle in JSON', 'data', cyclic],
  ['JSON nested 1000 deep', 'data', deep],
  ['a bigint in JSON', 'data', { a: 1n }],
  ['NaN in JSON', 'data', { a: NaN }],
  ['a Map in JSON', 'data', { a: new Map() }],
  ['a lone surrogate in JSON', 'data', { a: 'secretCanary\udfff' }],
  ['undefined in a JSON array', 'data', [undefined]],
  [
    'JSON whose toJSON throws',
    'data',
    {
      toJSON: () => {
        throw new Error('secretCanary');
      },
    },
  ],
  ['a string for bytes', 'bytes', 'secretCanary'],
  ['an array for bytes', 'bytes', [1, 2]],
  ['a string that makes the ciphertext wider than the column', 'short', 'secretCanary'.repeat(8)],
];

describeDiagonal('A value that cannot be stored exactly', (kind) => {
  const cleanup = new Cleanup();
  let dataSource: DataSource;

  beforeAll(async () => {
    const database = await cleanup.create(kind, { entities: [Sample], synchronize: true });
    dataSource = cleanup.add(protect(database));
    await dataSource.initialize();
    await dataSource.getRepository(Sample).save({ text: 'kept', amount: 1 });
  });
  afterAll(() => cleanup.run());

  const stored = (): Promise<unknown> => dataSource.query('SELECT * FROM sample ORDER BY id');

  it.each(WRONG_VALUES)('is refused: %s', async (_what, property, value) => {
    const samples = dataSource.getRepository<ObjectLiteral>(Sample);
    const before = await stored();
    const writes = [
      () => samples.save({ [property]: value }),
      () => samples.save([{ text: 'good' }, { [property]: value }]),
      () => samples.save({ id: 1, [property]: value }),
      () => samples.insert({ [property]: value }),
      () => samples.update({ id: 1 }, { [property]: value }),
      () => samples.upsert({ id: 1, [property]: value }, ['id']),
      () => fieldEncryption(dataSource).encryptValue(Sample, property, value),
    ];
    for (const write of writes) {
      const error = await rejection(write);
      expect(error).toBeInstanceOf(UnsupportedValueError);
      expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED_VALUE', entity: 'Sample', property });
      expect(error.message).toContain(`Sample.${property}`);
      expect(`${error.message}${String(error.stack)}${String(error.cause)}`).not.toContain(
        'secretCanary',
      );
    }
    expect(await stored()).toEqual(before);
  });

  it('is refused when it is an SQL expression', async () => {
    const samples = dataSource.getRepository<ObjectLiteral>(Sample);
    const before = await stored();
    for (const write of [
      () => samples.update({ id: 1 }, { text: () => "'clear'" }),
      () => samples.insert({ text: () => "'clear'" }),
      () =>
        samples
          .createQueryBuilder()
          .update()
          .set({ amount: () => '1' })
          .execute(),
    ]) {
      expect(await rejection(write)).toMatchObject({
        code: 'ERR_UNSUPPORTED_VALUE',
        entity: 'Sample',
      });
    }
    expect(await stored()).toEqual(before);
  });

  it('is refused in lookups, too', async () => {
    const samples = dataSource.getRepository<ObjectLiteral>(Sample);
    for (const value of [5, new Date(0), 'lone \ud800', {}, Buffer.from('x')]) {
      const error = await rejection(() => samples.findOneBy({ text: value }));
      expect(error).toMatchObject({ entity: 'Sample', property: 'text' });
      expect(['ERR_UNSUPPORTED_VALUE', 'ERR_UNSUPPORTED_QUERY']).toContain(
        (error as never as { code: string }).code,
      );
    }
  });
});
