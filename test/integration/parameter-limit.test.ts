import { Column, Entity, In, PrimaryColumn } from 'typeorm';
import type { Repository } from 'typeorm';
import { BlindIndex, Encrypted, UnsupportedQueryError } from '../../src';
import { describeDiagonal } from '../support/databases';
import { openEncrypted } from '../support/encrypted-database';
import type { EncryptedDatabase } from '../support/encrypted-database';
import { rejection } from '../support/protected-database';

@Entity()
class Ticket {
  @PrimaryColumn() id!: string;
  @Column() row!: string;
  @Encrypted() @BlindIndex({ previous: [{ normalize: 'email' }] }) holder!: string;
}

@Entity()
class Seat {
  @PrimaryColumn() id!: string;
  @Column() row!: string;
  @Column() holder!: string;
}

describeDiagonal('A statement with very many parameters', (kind) => {
  let db: EncryptedDatabase;

  beforeAll(async () => {
    db = await openEncrypted(kind, { entities: [Ticket, Seat] });
  });
  beforeEach(async () => {
    await tickets().clear();
    db.statements.clear();
  });
  afterAll(() => db.dispose());

  const limit = kind.dialect === 'sqlite' ? 32_766 : 65_535;
  const tickets = (): Repository<Ticket> => db.dataSource.getRepository(Ticket);
  /** Within the limit without the index column, which is a fourth parameter of each. */
  const rows = Array.from({ length: Math.floor(limit / 3) }, (_, id) => ({
    ...{ id: String(id), row: 'A', holder: 'Ada' },
  }));

  it.each<[string, () => Promise<unknown>]>([
    ['insert', () => tickets().insert(rows)],
    ['upsert', () => tickets().upsert(rows, ['id'])],
    ['save', () => tickets().save(rows)],
  ])('is refused by name before it is sent: %s', async (_what, write) => {
    const error = await rejection(write);
    expect(error).toBeInstanceOf(UnsupportedQueryError);
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED_QUERY', entity: 'Ticket' });
    expect(error.message).toContain(`${String(rows.length * 4)} parameters`);
    expect(error.message).toContain(`{ chunk: ${String(Math.floor(limit / 4))} }`);
    expect(db.statements.writes()).toEqual([]);
    expect(await tickets().count()).toBe(0);
  });
  it('is sent where it is of an entity without encrypted columns', async () => {
    await db.dataSource.getRepository(Seat).insert(rows);
    expect(await db.dataSource.getRepository(Seat).count()).toBe(rows.length);
  });

  it('is sent in the parts that the error names', async () => {
    const chunk = Math.floor(limit / 4);
    await tickets().insert(rows.slice(0, chunk));
    expect(await tickets().count()).toBe(chunk);
  }, 60_000);

  it.each<[string, (holder: object) => Promise<unknown>]>([
    ['find', (holder) => tickets().findBy({ holder } as never)],
    ['delete', (holder) => tickets().delete({ holder } as never)],
  ])('is refused where a lookup compares with several tokens a value: %s', async (_what, ask) => {
    const values = Array.from({ length: Math.ceil(limit / 2) + 1 }, (_, i) => `Ada ${String(i)}`);
    const error = await rejection(ask(In(values)));
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED_QUERY', entity: 'Ticket' });
    expect(error.message).toMatch(/Ask for the values in parts/);
  });
});
