import { randomUUID } from 'node:crypto';
import {
  ChildEntity,
  Column,
  Entity,
  EntitySchema,
  PrimaryColumn,
  PrimaryGeneratedColumn,
  TableInheritance,
} from 'typeorm';
import type { EntitySchemaColumnOptions } from 'typeorm';
import {
  BlindIndex,
  ConfigurationError,
  Encrypted,
  encryptedColumn,
  fieldEncryption,
  InvalidFieldPolicyError,
  KeyScope,
  keyScopeColumn,
  MissingScopeError,
  ScopeMismatchError,
  UnsupportedValueError,
  withKeyScope,
} from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { describeDiagonal } from '../support/databases';
import { openEncrypted, useEncryptedDatabase } from '../support/encrypted-database';

type EntityClass = abstract new () => object;

/** Classes with one encrypted property, each with a scope that cannot be had. */
function badEntities(): Record<string, EntityClass> {
  @Entity()
  class NullableScope {
    @PrimaryColumn() id!: number;
    @KeyScope() @Column({ nullable: true, type: 'integer' }) tenantId?: number;
    @Encrypted() secret!: string;
  }

  @Entity()
  class EncryptedScope {
    @PrimaryColumn() id!: number;
    @KeyScope() @Encrypted({ scope: false }) tenantId!: string;
    @Encrypted() secret!: string;
  }

  @Entity()
  class GeneratedScope {
    @KeyScope() @PrimaryGeneratedColumn() id!: number;
    @Encrypted() secret!: string;
  }

  @Entity()
  class TwoKinds {
    @PrimaryColumn() id!: number;
    @KeyScope({ kind: 'tenant' }) @KeyScope({ kind: 'person' }) @Column() tenantId!: number;
    @Encrypted({ scope: 'tenant' }) secret!: string;
  }

  @Entity()
  class OpenKind {
    @PrimaryColumn() id!: number;
    @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
    @KeyScope({ kind: 'person' }) @Column() personId!: number;
    @Encrypted() secret!: string;
  }

  @Entity()
  class TwiceDeclared {
    @PrimaryColumn() id!: number;
    @KeyScope() @Column() tenantId!: number;
    @KeyScope() @Column() otherId!: number;
    @Encrypted() secret!: string;
  }

  class Embedded {
    @KeyScope() @Column() tenantId!: number;
    @Encrypted() secret!: string;
  }

  @Entity()
  class WithinEmbedded {
    @PrimaryColumn() id!: number;
    @Column(() => Embedded) embedded!: Embedded;
  }

  @Entity()
  class LongKind {
    @PrimaryColumn() id!: number;
    @KeyScope({ kind: 'k'.repeat(33) }) @Column() tenantId!: number;
    @Encrypted() secret!: string;
  }

  @Entity()
  class NamedKey {
    @PrimaryColumn() id!: number;
    @KeyScope() @Column() tenantId!: number;
    @Encrypted({ key: 'own' }) secret!: string;
  }

  @Entity()
  class UniqueOverall {
    @PrimaryColumn() id!: number;
    @KeyScope() @Column() tenantId!: number;
    @Encrypted() @BlindIndex({ unique: true }) secret!: string;
  }

  @Entity()
  class InexactScope {
    @PrimaryColumn() id!: number;
    @KeyScope() @Column({ type: 'real' }) tenantId!: number;
    @Encrypted() secret!: string;
  }

  return {
    ...{ NullableScope, EncryptedScope, GeneratedScope, TwoKinds, OpenKind, TwiceDeclared },
    ...{ WithinEmbedded, LongKind, NamedKey, UniqueOverall, InexactScope },
  };
}

@Entity()
@TableInheritance({ column: { type: 'varchar', name: 'type' } })
class Document {
  @PrimaryColumn() id!: number;
  @Encrypted() title!: string;
}

@ChildEntity()
class Contract extends Document {
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() terms!: string;
}

@ChildEntity()
class Memo extends Document {
  @Encrypted() text!: string;
}

@Entity()
@TableInheritance({ column: { type: 'varchar', name: 'type' } })
class File {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: string;
  @Encrypted() title!: string;
}

@ChildEntity()
class Picture extends File {
  @Encrypted() alt!: string;
}

@Entity()
class Patient {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'tenant' }) @Column({ type: 'varchar' }) tenantId!: string;
  @KeyScope({ kind: 'clinic' }) @Column('uuid') clinicId: string = randomUUID();
  @Encrypted({ scope: 'tenant' }) ssn!: string;
  @Encrypted({ scope: 'clinic', nullable: true }) @BlindIndex() note?: string | null;
}

describeDiagonal('A declared scope', (database) => {
  it.each(Object.entries(badEntities()))('is refused: %s', async (name, entity) => {
    const opening = openEncrypted(database, { entities: [entity] });
    await expect(opening).rejects.toBeInstanceOf(InvalidFieldPolicyError);
    await expect(opening).rejects.toThrow(new RegExp(`^${name}\\..*\\. `));
  });

  it('is refused for options of a wrong type', async () => {
    const bad = [
      { keyScope: 'a' },
      { onErased: 'x' },
      { onUnavailable: 1 },
      { legacyScope: ['x'] },
    ];
    for (const options of bad) {
      const opening = openEncrypted(
        database,
        { entities: [Patient] },
        options as unknown as Partial<FieldEncryptionOptions>,
      );
      await expect(opening).rejects.toMatchObject({ code: 'ERR_CONFIGURATION' });
    }
  });
});

const SchemaOfLetter = new EntitySchema<{ id: number; tenantId: string; text: string }>({
  name: 'Letter',
  columns: {
    id: { type: Number, primary: true },
    tenantId: keyScopeColumn({ kind: 'tenant', type: 'varchar', length: 40, name: 'tenant' }),
    text: encryptedColumn(),
  },
});

describeDiagonal('A scope of an EntitySchema', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [SchemaOfLetter] });

  it('is that of its rows, as for a class', async () => {
    const letters = opened.dataSource.getRepository(SchemaOfLetter);
    const [{ length } = {}] = letters.metadata.findColumnsWithPropertyPath('tenantId');
    expect(length).toBe('40');
    await letters.insert([
      { id: 1, tenantId: 'a', text: 'canary 1' },
      { id: 2, tenantId: 'b', text: 'canary 2' },
    ]);
    await withKeyScope({ tenant: 'a' }, async () => {
      expect(await letters.findBy({ tenantId: 'a' })).toMatchObject([{ text: 'canary 1' }]);
      await expect(letters.find()).rejects.toBeInstanceOf(ScopeMismatchError);
    });
    const status = await fieldEncryption(opened.dataSource).status();
    expect(status).toMatchObject([{ scopes: { kind: 'tenant', activeRows: 2 } }]);
  });

  const columns = {
    id: { type: Number, primary: true },
    secret: encryptedColumn(),
  } as const;
  const tenantId = keyScopeColumn({ type: Number });
  const embedded = new EntitySchema({ name: 'Embedded', columns: { tenantId } });

  it.each<[string, Record<string, EntitySchemaColumnOptions>, object?]>([
    ['NullableScope', { ...columns, tenantId: keyScopeColumn({ type: Number, nullable: true }) }],
    ['EncryptedScope', { ...columns, tenantId: keyScopeColumn(encryptedColumn()) }],
    ['GeneratedScope', { ...columns, id: keyScopeColumn({ ...columns.id, generated: true }) }],
    ['TwiceDeclared', { ...columns, tenantId, otherId: tenantId }],
    ['LongKind', { ...columns, tenantId: keyScopeColumn({ kind: 'a b', type: Number }) }],
    ['InexactScope', { ...columns, tenantId: keyScopeColumn({ type: 'real' }) }],
    ['WithinEmbedded', columns, { embedded: { prefix: 'e', schema: embedded } }],
  ])('is refused: %s', async (name, given, embeddeds = {}) => {
    const schema = new EntitySchema({ name, columns: given, embeddeds } as never);
    const opening = openEncrypted(database, { entities: [schema] });
    await expect(opening).rejects.toBeInstanceOf(InvalidFieldPolicyError);
    await expect(opening).rejects.toThrow(new RegExp(`^${name}\\..*\\. `));
  });
});

describeDiagonal('A scope of classes in single-table inheritance', (database) => {
  it('is refused on one of them, as the others have no value in its column', async () => {
    const opening = openEncrypted(database, { entities: [Document, Contract, Memo] });
    await expect(opening).rejects.toBeInstanceOf(InvalidFieldPolicyError);
    await expect(opening).rejects.toThrow(/^Document\..*@KeyScope stands on Contract/);
  });
});

describeDiagonal('A scope of a class that shares its table', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [File, Picture] });

  it('is that of its rows, of whatever class', async () => {
    const { manager } = opened.dataSource;
    await manager.insert(Picture, { id: 1, tenantId: 'a', title: 'canary 1', alt: 'canary a' });
    await manager.save(manager.create(Picture, { id: 2, tenantId: 'b', title: 'x', alt: 'y' }));
    await manager.insert(File, { id: 3, tenantId: 'a', title: 'canary 3' });
    await manager.update(Picture, { id: 2 }, { alt: 'canary b' });
    expect(await manager.find(File, { order: { id: 'ASC' } })).toMatchObject([
      { title: 'canary 1', alt: 'canary a' },
      { title: 'x', alt: 'canary b' },
      { title: 'canary 3' },
    ]);
    await withKeyScope({ tenant: 'a' }, async () => {
      expect(await manager.findBy(File, { tenantId: 'a' })).toHaveLength(2);
      await expect(manager.find(Picture)).rejects.toBeInstanceOf(ScopeMismatchError);
    });
    const status = await fieldEncryption(opened.dataSource).status();
    expect(status.map(({ property, scopes }) => [property, scopes?.activeRows])).toEqual([
      ['title', 3],
      ['alt', 2],
    ]);
    await expect(
      manager.insert(Picture, { id: 4, title: 'canary', alt: 'canary' }),
    ).rejects.toBeInstanceOf(MissingScopeError);
  });
});

describeDiagonal('The id of a scope', (database) => {
  const opened = useEncryptedDatabase(database, { entities: [Patient] });

  const BAD: readonly unknown[] = [
    '',
    'x'.repeat(257),
    1.5,
    Number.NaN,
    2 ** 60,
    true,
    {},
    [],
    null,
  ];

  it.each(BAD)('is refused: %p', async (id) => {
    const values = Object.assign(new Patient(), { tenantId: id, ssn: 'canary' });
    const writing = opened.dataSource.manager.insert(Patient, values).catch((e: unknown) => e);
    const error = await writing;
    const isNull = id === null;
    expect(error).toBeInstanceOf(isNull ? MissingScopeError : UnsupportedValueError);
    expect(() => withKeyScope({ tenant: id as string }, () => 1)).toThrow(UnsupportedValueError);
    const { keys } = fieldEncryption(opened.dataSource);
    await expect(keys.shred({ scope: { tenant: id as string }, reason: 'r' })).rejects.toThrow(
      UnsupportedValueError,
    );
    expect(opened.statements.writes()).toEqual([]);
  });

  it('is that of one scope in operations', async () => {
    const { keys } = fieldEncryption(opened.dataSource);
    for (const scope of [{}, { tenant: 1, clinic: 2 }]) {
      await expect(keys.cancelShred({ scope, reason: 'r' })).rejects.toThrow(UnsupportedValueError);
    }
    const misspelt = keys.cancelShred({ scope: { '': 1 }, reason: 'r' });
    await expect(misspelt).rejects.toThrow(ConfigurationError);
    expect(() => withKeyScope(7, () => 1)).not.toThrow();
  });

  it('needs its kind where there are several', async () => {
    await withKeyScope(7, () =>
      expect(opened.dataSource.manager.find(Patient, { where: { note: 'x' } })).rejects.toThrow(
        'Name the kind',
      ),
    );
  });

  it('is the same UUID however it is written', async () => {
    const row = Object.assign(new Patient(), { tenantId: 'a', ssn: 'canary', note: 'canary n' });
    const patients = opened.dataSource.getRepository(Patient);
    await patients.insert(row);
    const forms = [row.clinicId, row.clinicId.toUpperCase(), `{${row.clinicId}}`];
    for (const clinic of forms) {
      await withKeyScope({ clinic, tenant: 'a' }, async () => {
        expect(await patients.findBy({ note: 'canary n' })).toMatchObject([{ id: row.id }]);
      });
    }
    const { keys } = fieldEncryption(opened.dataSource);
    const scope = { clinic: row.clinicId.toUpperCase() };
    const erasure = await keys.shred({ scope, reason: 'r', graceMs: 0 });
    expect(erasure).toMatchObject({ receipt: { columns: [{ property: 'note', rows: 1 }] } });
  });
});
