import { inspect } from 'node:util';
import { Column, Entity, PrimaryColumn, QueryFailedError } from 'typeorm';
import type { DataSource } from 'typeorm';
import {
  BlindIndex,
  Encrypted,
  ErasedError,
  fieldEncryption,
  KeyScope,
  KmsUnavailableError,
  ScopeMismatchError,
  withKeyScope,
} from '../../src';
import type { FieldEncryptionOptions, KmsProvider } from '../../src';
import { describeEachDatabase } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, keyFileKms, protect, rejection } from '../support/protected-database';
import { watchedKms } from '../support/watched-kms';

@Entity('letter')
class Letter {
  @PrimaryColumn() id!: number;
  @KeyScope({ kind: 'person' }) @Column({ type: 'varchar', name: 'person' }) personId!: string;
  @Encrypted({ nullable: true }) @BlindIndex() sender?: string | null;
  @Encrypted({ nullable: true }) text?: string | null;
  @Column({ default: '' }) status!: string;
}

/** Whose scope the context alone tells. */
@Entity('note')
class Note {
  @PrimaryColumn() id!: number;
  @Encrypted({ scope: 'person', nullable: true }) body?: string | null;
  @Column({ default: '' }) status!: string;
}

const PERSON = 'ada@example.org';

describeEachDatabase('Errors about scopes', (database) => {
  const cleanup = new Cleanup();
  let created: TestDatabase;
  let dataSource: DataSource;
  afterEach(() => cleanup.run());

  beforeEach(async () => {
    created = await cleanup.create(database, { entities: [Letter, Note], synchronize: true });
    dataSource = await open();
    await dataSource.manager.insert(Letter, [
      { id: 1, personId: PERSON, sender: 'a', text: 'one' },
      { id: 2, personId: 'bob', sender: 'b', text: 'two' },
    ]);
  });

  const open = async (options: Partial<FieldEncryptionOptions> = {}): Promise<DataSource> =>
    cleanup.add(await protect(created, options).initialize());

  /** Everything that makes a token for the person. */
  function tokenMakers({ manager }: DataSource): Record<string, () => Promise<unknown>> {
    const where = { personId: PERSON, sender: 'a' };
    const row = { row: { personId: PERSON } };
    const encryption = fieldEncryption(manager.connection);
    return {
      'a look-up': () => manager.findBy(Letter, where),
      'a count': () => manager.countBy(Letter, where),
      'a deletion': () => manager.delete(Letter, where),
      'an insert': () => manager.insert(Letter, { id: 3, ...where }),
      'an insert in a transaction': () =>
        manager.transaction((own) => own.insert(Letter, { id: 3, ...where })),
      'token()': () => encryption.token(Letter, 'sender', 'a', undefined, row),
      'tokens()': () => encryption.tokens(Letter, 'sender', 'a', undefined, row),
    };
  }

  it('name entity and property, and a remedy, once the scope is erased', async () => {
    const { keys } = fieldEncryption(dataSource);
    await keys.shred({ scope: { person: PERSON }, reason: 'r', graceMs: 0 });
    for (const source of [dataSource, await open()]) {
      for (const [what, make] of Object.entries(tokenMakers(source))) {
        const error = await rejection(make());
        expect([what, error]).toEqual([what, expect.any(ErasedError)]);
        expect(error).toMatchObject({ entity: 'Letter', property: 'sender' });
        expect(error.message).toMatch(/^Letter\.sender: the keys of a person .*onErased: 'null'/);
      }
    }
  });

  it('name them while the KMS of the scope is away', async () => {
    let isAway = false;
    const own = watchedKms(keyFileKms(), (operation) => {
      if (isAway && operation === 'unwrapKey') throw new KmsUnavailableError('away');
    });
    const common = keyFileKms();
    const kms = (scope?: { id: string }): KmsProvider => (scope?.id === 'carl' ? own : common);
    const where = { personId: 'carl', sender: 'c' };
    await (await open({ kms })).manager.insert(Letter, { id: 3, ...where });
    isAway = true;
    const { manager } = await open({ kms });
    for (const work of [
      () => manager.findBy(Letter, where),
      () => manager.countBy(Letter, where),
      () => manager.delete(Letter, where),
      () => manager.insert(Letter, { id: 4, ...where }),
    ]) {
      const error = await rejection(work);
      expect(error).toBeInstanceOf(KmsUnavailableError);
      expect(error).toMatchObject({ entity: 'Letter', property: 'sender', retryable: true });
    }
  });

  it('give the remedy for a copied cell', async () => {
    await dataSource.query(
      `UPDATE letter SET text = (SELECT text FROM letter WHERE id = 2) WHERE id = 1`,
    );
    const error = await rejection(dataSource.manager.findBy(Letter, { id: 1 }));
    expect(error).toBeInstanceOf(ScopeMismatchError);
    expect(error.message).toMatch(/another person than the row\. .*restore the cell .*data verify/);
    expect(error.message).not.toContain('ALL_SCOPES');
    expect(await fieldEncryption(dataSource).verify()).toMatchObject({
      failures: [{ property: 'text', primaryKey: [1], code: 'ERR_SCOPE_MISMATCH' }],
    });
  });

  it('do not show an id that the library has added to a statement', async () => {
    const { manager } = dataSource;
    const refused = { status: null as unknown as string };
    const byCriteria = await rejection(
      manager.update(Letter, { id: 1, status: '' }, { text: 'x', ...refused }),
    );
    await withKeyScope({ person: PERSON }, () => manager.insert(Note, { id: 1, body: 'one' }));
    const byContext = await rejection(
      withKeyScope({ person: PERSON }, () =>
        manager.update(Note, { id: 1, status: '' }, { body: 'x', ...refused }),
      ),
    );
    for (const error of [byCriteria, byContext]) {
      expect(inspect(error, { depth: 12, showHidden: true })).not.toContain(PERSON);
      if (!(error instanceof QueryFailedError)) continue;
      // Those of the caller are left.
      expect(error.parameters).toContain('');
    }
  });
});
