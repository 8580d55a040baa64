import { randomUUID } from 'node:crypto';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, Encrypted, ErasedError, fieldEncryption, KeyScope } from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { heldBefore } from '../support/held-statement';
import { Cleanup, protect, rejection } from '../support/protected-database';

/** Makes a data key alone. */
@Entity()
class Note {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
  @Encrypted() text!: string;
}

/** Needs an index key, too. */
@Entity()
class Patient {
  @PrimaryColumn('uuid') id: string = randomUUID();
  @KeyScope({ kind: 'tenant' }) @Column() tenantId!: number;
  @Encrypted() @BlindIndex() ssn!: string;
}

const BEGINS = /^(BEGIN|START TRANSACTION)/;

describeDiagonal('The first index key of a scope that is being erased', (database) => {
  const cleanup = new Cleanup();
  let created: TestDatabase;
  let dataSource: DataSource;
  afterEach(() => cleanup.run());
  beforeEach(async () => {
    created = await cleanup.create(database, { entities: [Note, Patient], synchronize: true });
    dataSource = await open();
    const note = Object.assign(new Note(), { tenantId: 7, text: 'canary' });
    await dataSource.manager.insert(Note, note);
  });

  const open = async (): Promise<DataSource> => cleanup.add(await protect(created).initialize());

  const insert = (writer: DataSource): Promise<unknown> =>
    writer.manager.insert(Patient, Object.assign(new Patient(), { tenantId: 7, ssn: 'canary' }));

  const shred = (eraser: DataSource): Promise<unknown> =>
    fieldEncryption(eraser).keys.shred({ scope: { tenant: 7 }, reason: 'r', graceMs: 0 });

  /** How many keys of the scope somebody could still use. */
  async function keysLeft(): Promise<number> {
    const rows = await dataSource.query<unknown[]>(
      `SELECT id FROM field_encryption_scope_keys WHERE purpose IN ('data', 'index') AND sealed <> ''`,
    );
    return rows.length;
  }

  /** Starts to write, and stops before the transaction that makes the index key. */
  async function writerBeforeItsKey(): Promise<{ finish: () => Promise<Error> }> {
    const writer = await open();
    const { reached, letGo } = heldBefore(writer, (sql) => BEGINS.test(sql));
    const writing = rejection(insert(writer));
    await reached;
    return {
      finish: () => {
        letGo();
        return writing;
      },
    };
  }

  it('is not made once the scope is erased', async () => {
    const { finish } = await writerBeforeItsKey();
    expect(await shred(dataSource)).toMatchObject({ state: 'erased' });
    expect(await finish()).toBeInstanceOf(ErasedError);
    expect(await keysLeft()).toBe(0);
  });

  it('stops the erasure where it was faster, and is erased by the next one', async () => {
    const { finish } = await writerBeforeItsKey();
    const eraser = await open();
    let begun = 0;
    // The first transaction requests the erasure, the second one erases the keys that were read before it.
    const { reached, letGo } = heldBefore(eraser, (sql) => BEGINS.test(sql) && ++begun === 2);
    const erasing = rejection(shred(eraser));
    await reached;
    expect(await finish()).toBeInstanceOf(ErasedError);
    expect(await keysLeft()).toBe(2);
    letGo();
    expect(await erasing).toMatchObject({ code: 'ERR_KEY_STATE', retryable: true });
    expect(await shred(dataSource)).toMatchObject({ state: 'erased' });
    expect(await keysLeft()).toBe(0);
  });
});
