import { randomUUID } from 'node:crypto';
import {
  Column,
  CreateDateColumn,
  Entity,
  EntitySchema,
  JoinColumn,
  ManyToOne,
  PrimaryColumn,
  PrimaryGeneratedColumn,
} from 'typeorm';
import { Encrypted, encryptedColumn, InvalidFieldPolicyError } from '../../src';
import { describeDiagonal } from '../support/databases';
import { openEncrypted } from '../support/encrypted-database';
import { sqlOf } from '../support/sql-of';

@Entity()
class Owner {
  @PrimaryColumn() id!: number;
}

/** Classes whose `secret` is bound to what the case names. */
function declared(bindTo: unknown): new () => object {
  @Entity()
  class Item {
    @PrimaryColumn('uuid') id: string = randomUUID();
    @Column({ generated: 'increment', type: 'integer' }) serial!: number;
    @Column('varchar', { nullable: true }) maybe!: string | null;
    @Column('decimal') price!: string;
    @Column({ select: false }) unselected!: string;
    @CreateDateColumn() createdAt!: Date;
    @Encrypted() other!: string;
    @Encrypted({ bindTo: bindTo as string[] }) secret!: string;
    @ManyToOne(() => Owner, { onDelete: 'SET NULL', nullable: false })
    @JoinColumn()
    owner!: Owner;
  }
  return Item;
}

/** SQLite has generated columns for primary keys only. */
@Entity()
class Generated {
  @PrimaryGeneratedColumn('uuid') id!: string;
  @Encrypted({ bindTo: ['id'] }) secret!: string;
}

@Entity()
class Incremented {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted({ bindTo: ['id'] }) secret!: string;
}

class Part {
  @Column() code!: string;
  @Encrypted({ bindTo: ['code', 'id'] }) secret!: string;
}

@Entity()
class Whole {
  @PrimaryColumn() id!: number;
  @ManyToOne(() => Owner, { onDelete: 'CASCADE' }) owner!: Owner;
  @Column(() => Part) part!: Part;
}

interface Plain {
  id: string;
  secret: string;
}

const PlainSchema = new EntitySchema<Plain>({
  name: 'Plain',
  columns: {
    secret: encryptedColumn({ bindTo: ['id'] }),
    id: { type: 'bigint', primary: true },
  },
});

describeDiagonal('bindTo', (database) => {
  const open = (...entities: never[]) => openEncrypted(database, { entities });

  it.each<[string, unknown, RegExp]>([
    ['a property that there is not', ['nothing'], /"nothing" in bindTo .* is neither a column/],
    ['a column that may be NULL', ['maybe'], /may be NULL/],
    ['an encrypted column', ['other'], /is encrypted/],
    ['itself', ['secret'], /is encrypted/],
    ['a decimal', ['price'], /has the type "(numeric|decimal)", whose stored form may differ/],
    ['a date that TypeORM sets', ['createdAt'], /is set by TypeORM or the database/],
    ['a generated column', ['serial'], /made by the database, .*randomUUID\(\)/],
    ['a foreign key that is set to NULL', ['owner'], /is a foreign key that the database changes/],
    ['a column that is not read', ['unselected'], /is not read or written like other columns/],
    ['nothing', [], /bindTo should not be empty/],
    ['no list', 'id', /bindTo must be an array/],
  ])('is refused with %s', async (_, bindTo, message) => {
    const failing = open(declared(bindTo) as never, Owner as never);
    await expect(failing).rejects.toThrow(InvalidFieldPolicyError);
    await expect(open(declared(bindTo) as never, Owner as never)).rejects.toThrow(message);
  });

  it.each([Generated, Incremented])(
    'is refused with a key that is generated: %p',
    async (entity) => {
      await expect(open(entity as never)).rejects.toThrow(/@PrimaryColumn\('uuid'\) id: string/);
    },
  );

  it('is taken within an embedded class, beside the property first', async () => {
    const { dataSource, dispose } = await open(Whole as never, Owner as never);
    try {
      const wholes = dataSource.getRepository(Whole);
      await dataSource.getRepository(Owner).insert({ id: 1 });
      const part = { code: 'a', secret: 'canary' };
      await wholes.save({ id: 5, owner: { id: 1 }, part });
      await wholes.update({ id: 5, part: { code: 'a' } }, { part: { secret: 'canary 2' } });
      expect(await wholes.findOneBy({ id: 5 })).toMatchObject({ part: { secret: 'canary 2' } });
      await dataSource.query(sqlOf(dataSource.options, `UPDATE whole SET "partCode" = 'b'`));
      await expect(wholes.find()).rejects.toThrow(/another row/);
    } finally {
      await dispose();
    }
  });

  it('is taken in an EntitySchema, and takes 42 for the same as text', async () => {
    const { dataSource, dispose } = await open(PlainSchema as never);
    try {
      const plains = dataSource.getRepository(PlainSchema);
      await plains.insert({ id: 42 as never, secret: 'canary' });
      await plains.update({ id: '042' }, { secret: 'canary 2' });
      expect((await plains.findOneByOrFail({ id: '42' })).secret).toBe('canary 2');
      await expect(plains.insert({ id: '4.2', secret: 'x' })).rejects.toThrow(
        /is not one that the type "bigint" holds exactly/,
      );
    } finally {
      await dispose();
    }
  });
});
