import {
  AfterInsert,
  AfterLoad,
  AfterUpdate,
  BeforeInsert,
  BeforeUpdate,
  Column,
  Entity,
  EventSubscriber,
  PrimaryGeneratedColumn,
} from 'typeorm';
import type { EntitySubscriberInterface, InsertEvent, RemoveEvent, UpdateEvent } from 'typeorm';
import { BlindIndex, Encrypted } from '../../src';
import { describeEachDatabase } from '../support/databases';
import { useEncryptedDatabase } from '../support/encrypted-database';
import { storedPlaintexts } from '../support/stored-rows';

@Entity()
class Letter {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() @BlindIndex() subject!: string;
  @Encrypted({ nullable: true }) @BlindIndex() body!: string | null;
  @Column({ default: 0 }) edits!: number;

  seen: string[] = [];
  shout?: string;

  @BeforeInsert() trim(): void {
    this.seen.push(`before insert ${this.subject}`);
    this.subject = this.subject.trim();
  }

  @AfterInsert() inserted(): void {
    this.seen.push(`after insert ${this.subject}`);
  }

  @BeforeUpdate() count(): void {
    this.seen.push(`before update ${this.subject}`);
    this.subject = this.subject.trim();
    this.edits += 1;
  }

  @AfterUpdate() updated(): void {
    this.seen.push(`after update ${this.subject}`);
  }

  @AfterLoad() compute(): void {
    this.shout = this.subject.toUpperCase();
  }
}

const events: string[] = [];

/** `update()` reads no row beforehand, whatever the type says. */
function databaseSubject(entity: Letter | undefined): string {
  return entity?.subject ?? '-';
}

@EventSubscriber()
class LetterSubscriber implements EntitySubscriberInterface<Letter> {
  listenTo() {
    return Letter;
  }

  beforeInsert({ entity }: InsertEvent<Letter>): void {
    events.push(`before insert ${entity.subject}`);
    entity.body ??= 'canary from the subscriber';
  }

  afterInsert({ entity }: InsertEvent<Letter>): void {
    events.push(`after insert ${entity.subject}`);
  }

  beforeUpdate({ entity, databaseEntity }: UpdateEvent<Letter>): void {
    events.push(`before update ${databaseSubject(databaseEntity)} to ${entity!['subject']}`);
    if (entity!['subject'] === 'canary sign') entity!['body'] = 'canary signed';
  }

  afterUpdate({ entity, updatedColumns }: UpdateEvent<Letter>): void {
    const names = updatedColumns.map(({ propertyName }) => propertyName).sort();
    events.push(`after update ${entity!['subject']} of ${names.join()}`);
  }

  afterLoad(entity: Letter): void {
    events.push(`after load ${entity.subject}`);
  }

  beforeRemove({ entity, databaseEntity }: RemoveEvent<Letter>): void {
    events.push(`before remove ${entity?.subject} ${databaseEntity.subject}`);
  }
}

describeEachDatabase('Listeners and subscribers of an application', (database) => {
  const opened = useEncryptedDatabase(database, {
    entities: [Letter],
    subscribers: [LetterSubscriber],
  });
  const letters = () => opened.dataSource.getRepository(Letter);
  const plaintexts = () => storedPlaintexts(opened.dataSource, Letter);

  beforeEach(() => {
    events.length = 0;
  });

  it('see and change plaintext on insert', async () => {
    const letter = await letters().save(letters().create({ subject: '  canary a ' }));
    expect(letter).toMatchObject({ subject: 'canary a', body: 'canary from the subscriber' });
    expect(letter.seen).toEqual(['before insert   canary a ', 'after insert canary a']);
    expect(events).toContain('after insert canary a');
    expect(await plaintexts()).toEqual([
      { subject: 'canary a', body: 'canary from the subscriber' },
    ]);
  });

  it('see plaintext when entities are loaded, also computed properties', async () => {
    await letters().save(letters().create({ subject: 'canary b' }));
    const letter = await letters().findOneByOrFail({ subject: 'canary b' });
    expect(letter.shout).toBe('CANARY B');
    expect(events).toContain('after load canary b');
  });

  it('see and change plaintext on update, which writes what they changed with its index', async () => {
    await letters().save(letters().create({ subject: 'canary c' }));
    const letter = await letters().findOneByOrFail({ subject: 'canary c' });
    events.length = 0;
    opened.statements.clear();
    letter.subject = ' canary d';
    await letters().save(letter);
    expect(letter).toMatchObject({ subject: 'canary d', edits: 1 });
    expect(letter.seen).toEqual(['before update  canary d', 'after update canary d']);
    // Subscribers come before or after listeners as TypeORM has it.
    expect(events.filter((event) => event.startsWith('before update'))).toEqual([
      expect.stringMatching(/^before update canary c to {1,2}canary d$/),
    ]);
    expect(events).toContain('after update canary d of edits,subject');
    expect(opened.statements.of('UPDATE')[0]).not.toContain('"body"');
    expect(await plaintexts()).toEqual([
      { subject: 'canary d', body: 'canary from the subscriber' },
    ]);

    letter.subject = 'canary sign';
    await letters().save(letter);
    expect(await plaintexts()).toEqual([{ subject: 'canary sign', body: 'canary signed' }]);
    expect(await letters().countBy({ body: 'canary signed' })).toBe(1);
  });

  it('see and change plaintext of insert() and update()', async () => {
    const values = { subject: 'canary e' };
    const { identifiers } = await letters().insert(values);
    expect(values).toMatchObject({ subject: 'canary e', body: 'canary from the subscriber' });
    await letters().update(identifiers[0]!['id'] as number, { subject: 'canary sign' });
    expect(await plaintexts()).toEqual([{ subject: 'canary sign', body: 'canary signed' }]);
    expect(await letters().countBy({ body: 'canary signed' })).toBe(1);
  });

  it('see plaintext on remove', async () => {
    const letter = await letters().save(letters().create({ subject: 'canary f' }));
    await letters().remove(letter);
    expect(events).toContain('before remove canary f canary f');
  });

  it('are not called with listeners off, which encrypts all the same', async () => {
    const letter = letters().create({ subject: ' canary g ', body: null });
    await letters().save(letter, { listeners: false });
    await letters()
      .createQueryBuilder()
      .insert()
      .values({ subject: ' canary h', body: null })
      .callListeners(false)
      .execute();
    expect(events.filter((event) => !event.startsWith('after load'))).toEqual([]);
    expect(letter.seen).toEqual([]);
    expect(await plaintexts()).toEqual([
      { subject: ' canary g ', body: null },
      { subject: ' canary h', body: null },
    ]);
    const [loaded] = await letters()
      .createQueryBuilder('l')
      .callListeners(false)
      .where({ id: letter.id })
      .getMany();
    expect(loaded).toMatchObject({ subject: ' canary g ' });
    expect(loaded!.shout).toBeUndefined();
  });

  it('that throw in the middle of a bulk save leave plaintext behind and nothing written', async () => {
    const bulk = letters().create(
      Array.from({ length: 10 }, (_, i) => ({ subject: `canary bulk ${String(i)}` })),
    );
    const explode = jest
      .spyOn(LetterSubscriber.prototype, 'afterInsert')
      .mockImplementation(({ entity }) => {
        if (entity === bulk[5]) throw new Error('refused');
      });
    await expect(letters().save(bulk, { chunk: 3 })).rejects.toThrow('refused');
    explode.mockRestore();
    expect(bulk.map(({ subject }) => subject)).toEqual(
      bulk.map((_, i) => `canary bulk ${String(i)}`),
    );
    expect(await plaintexts()).toEqual([]);
  });
});
