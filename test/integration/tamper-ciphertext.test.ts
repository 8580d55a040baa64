import { Column, Entity, ManyToOne, PrimaryColumn } from 'typeorm';
import type { DataSource, EntityTarget, ObjectLiteral } from 'typeorm';
import {
  DecryptionError,
  Encrypted,
  fieldEncryption,
  FieldEncryptionError,
  KeyNotFoundError,
  KeyUnwrapError,
  MalformedCiphertextError,
  PlaintextFoundError,
} from '../../src';
import { describeDiagonal } from '../support/databases';
import type { TestDatabase } from '../support/databases';
import { Cleanup, protect, rejection } from '../support/protected-database';
import { sqlOf } from '../support/sql-of';

const SECRET = 'canary-plain';

@Entity()
class Vault {
  @PrimaryColumn() id!: number;
  @Column({ nullable: true }) label!: string;
  @Encrypted({ check: false, nullable: true }) first!: string | null;
  @Encrypted({ check: false, nullable: true }) second!: string | null;
  @Encrypted({ check: false, nullable: true, type: 'bytes', storage: 'binary' })
  bytes!: Buffer | null;
  @Encrypted({ check: false, nullable: true, type: 'number' }) amount!: number | null;
}

@Entity()
class Safe {
  @PrimaryColumn() id!: number;
  @Encrypted({ check: false, nullable: true }) first!: string | null;
  @ManyToOne(() => Vault, { nullable: true }) vault!: Vault | null;
}

describeDiagonal('A ciphertext that was tampered with', (kind) => {
  const cleanup = new Cleanup();
  let database: TestDatabase;
  let dataSource: DataSource;
  let keyId: string;

  beforeAll(async () => {
    database = await cleanup.create(kind, { entities: [Vault, Safe], synchronize: true });
    dataSource = cleanup.add(protect(database));
    await dataSource.initialize();
    keyId = (await fieldEncryption(dataSource).keys.list())[0]?.id ?? '';
  });

  afterAll(() => cleanup.run());

  beforeEach(async () => {
    await dataSource.query('DELETE FROM safe');
    await dataSource.query('DELETE FROM vault');
    await dataSource.getRepository(Vault).insert({
      id: 1,
      label: 'good',
      first: SECRET,
      second: `${SECRET}-2`,
      bytes: Buffer.from(SECRET),
      amount: 7,
    });
    await dataSource.getRepository(Safe).insert({ id: 1, first: `${SECRET}-3` });
  });

  async function stored<T = string>(column: string, table = 'vault'): Promise<T> {
    const rows = await dataSource.query<{ cell: T }[]>(
      sqlOf(kind, `SELECT "${column}" AS cell FROM ${table} WHERE id = 1`),
    );
    return rows[0]!.cell;
  }

  async function store(column: string, value: unknown, table = 'vault', id = 1): Promise<void> {
    await dataSource.query(sqlOf(kind, `UPDATE ${table} SET "${column}" = $1 WHERE id = $2`), [
      value,
      id,
    ]);
  }

  async function readError<T extends ObjectLiteral>(
    target: EntityTarget<T>,
    from: DataSource = dataSource,
  ): Promise<FieldEncryptionError> {
    const error = await rejection(from.getRepository(target).findOneBy({ id: 1 } as never));
    expect(error).toBeInstanceOf(FieldEncryptionError);
    expect(`${error.message}${String(error.stack)}`).not.toContain(SECRET);
    return error as FieldEncryptionError;
  }

  it.each([
    ['another column', 'second', 'first'],
    ['the column it came from, of another type', 'first', 'amount'],
  ])('is refused when it was moved to %s', async (_what, from, to) => {
    await store(to, await stored(from));
    const error = await readError(Vault);
    expect(error).toBeInstanceOf(DecryptionError);
    expect(error).toMatchObject({ entity: 'Vault', property: to, keyId, retryable: false });
    expect(error.message).toContain(`Vault.${to}`);
    expect(error.message).toContain(keyId);
    expect(error.message).toMatch(/Restore/);
  });

  it('is refused when it was moved to the same property of another entity', async () => {
    await store('first', await stored('first'), 'safe');
    const error = await readError(Safe);
    expect(error).toBeInstanceOf(DecryptionError);
    expect(error).toMatchObject({ entity: 'Safe', property: 'first', keyId });
  });

  it('is refused when it was moved between text and binary columns', async () => {
    await store('bytes', Buffer.from(await stored('first'), 'base64url'));
    expect(await readError(Vault)).toMatchObject({
      code: 'ERR_DECRYPTION',
      property: 'bytes',
      keyId,
    });
    const text = (await stored<Buffer>('bytes')).toString('base64url');
    await store('bytes', null);
    await store('second', text);
    expect(await readError(Vault)).toMatchObject({
      code: 'ERR_DECRYPTION',
      property: 'second',
      keyId,
    });
  });

  it('is refused by another application, with and without the key row', async () => {
    const other = cleanup.add(protect(database, { application: 'other' }, { synchronize: false }));
    await other.initialize();
    const error = await readError(Vault, other);
    expect(error).toBeInstanceOf(KeyUnwrapError);
    expect(error).toMatchObject({ entity: 'Vault', keyId, retryable: false });
    expect(error.message).toMatch(/`application`/);

    const writing = await rejection(other.getRepository(Vault).insert({ id: 9, first: SECRET }));
    expect(writing).toBeInstanceOf(KeyUnwrapError);
    await other.destroy();
  });

  it('is refused in another database that does not have its key, naming the key', async () => {
    const elsewhere = await cleanup.create(kind, { entities: [Vault, Safe], synchronize: true });
    const other = cleanup.add(protect(elsewhere));
    await other.initialize();
    await other.query(sqlOf(kind, 'INSERT INTO vault (id, first) VALUES (1, $1)'), [
      await stored('first'),
    ]);
    const error = await readError(Vault, other);
    expect(error).toBeInstanceOf(KeyNotFoundError);
    expect(error).toMatchObject({ entity: 'Vault', property: 'first', keyId, retryable: false });
    expect(error.message).toMatch(/Restore its row/);
  });

  it.each(['text', 'binary'])('is refused with any bit flipped (%s)', async (storage) => {
    const column = storage === 'text' ? 'first' : 'bytes';
    const raw = await stored<string | Buffer>(column);
    const whole = typeof raw === 'string' ? Buffer.from(raw, 'base64url') : raw;
    const codes = new Map<string, number>();
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const flipped = Buffer.from(whole);
      flipped[bit >> 3] = flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7));
      await store(column, storage === 'text' ? flipped.toString('base64url') : flipped);
      const error = await readError(Vault);
      expect(error).toMatchObject({ entity: 'Vault', property: column, retryable: false });
      codes.set(
        `${region(bit >> 3)} ${error.code}`,
        (codes.get(`${region(bit >> 3)} ${error.code}`) ?? 0) + 1,
      );
    }
    const formatCode = storage === 'text' ? 'ERR_CIPHERTEXT_MALFORMED' : 'ERR_PLAINTEXT_FOUND';
    expect(Object.fromEntries(codes)).toEqual({
      [`format ${formatCode}`]: 8,
      'keyId ERR_KEY_NOT_FOUND': 64,
      'sealed ERR_DECRYPTION': (whole.length - 9) * 8,
    });
  });

  it('is refused with any bit of its text flipped', async () => {
    const whole = Buffer.from(await stored('first'), 'latin1');
    for (let bit = 0; bit < whole.length * 8; bit++) {
      // PostgreSQL refuses bytes above 0x7f and NUL itself, as they are not UTF-8.
      if ((bit & 7) === 7) continue;
      const flipped = Buffer.from(whole);
      flipped[bit >> 3] = flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7));
      await store('first', flipped.toString('latin1'));
      expect([
        'ERR_CIPHERTEXT_MALFORMED',
        'ERR_PLAINTEXT_FOUND',
        'ERR_KEY_NOT_FOUND',
        'ERR_DECRYPTION',
      ]).toContain((await readError(Vault)).code);
    }
  });

  it.each(['text', 'binary'])(
    'is refused when cut at any length, or lengthened (%s)',
    async (storage) => {
      const column = storage === 'text' ? 'first' : 'bytes';
      const whole = await stored<string | Buffer>(column);
      const empty = storage === 'text' ? '' : Buffer.alloc(0);
      const longer =
        typeof whole === 'string'
          ? [
              `${whole}A`,
              `${whole}AA`,
              `${whole}AAAA`,
              `${whole}=`,
              `${whole}\n`,
              ` ${whole}`,
              `\ufeff${whole}`,
              whole + whole,
            ]
          : [Buffer.concat([whole, Buffer.of(0)]), Buffer.concat([whole, whole])];
      const shorter = Array.from({ length: whole.length }, (_, length) =>
        length === 0 ? empty : whole.slice(0, length),
      );
      for (const value of [...shorter, ...longer]) {
        await store(column, value);
        const error = await readError(Vault);
        expect(['ERR_CIPHERTEXT_MALFORMED', 'ERR_PLAINTEXT_FOUND', 'ERR_DECRYPTION']).toContain(
          error.code,
        );
        expect(error).toMatchObject({ entity: 'Vault', property: column });
      }
    },
  );

  it('names the encrypted column when one row among good ones is bad', async () => {
    const vaults = dataSource.getRepository(Vault);
    for (let id = 2; id <= 20; id++) await vaults.insert({ id, first: `v${id}`, second: 'x' });
    await store('second', 'not a ciphertext', 'vault', 11);

    const error = await rejection(vaults.find());
    expect(error).toBeInstanceOf(PlaintextFoundError);
    expect(error).toMatchObject({ entity: 'Vault', property: 'second' });
    expect(await vaults.count()).toBe(20);
    expect(await vaults.find({ select: { id: true, first: true } })).toHaveLength(20);
    expect(await vaults.findOneByOrFail({ id: 10 })).toMatchObject({ first: 'v10' });

    const { values, failures } = await fieldEncryption(dataSource).decryptValues(Vault, 'second', [
      await stored('second'),
      'not a ciphertext',
      null,
    ]);
    expect(values).toEqual([`${SECRET}-2`, undefined, null]);
    expect(failures).toMatchObject([{ index: 1, error: { code: 'ERR_PLAINTEXT_FOUND' } }]);
  });

  it('is not passed through by a join, a save or an update that returns it', async () => {
    const safes = dataSource.getRepository(Safe);
    await dataSource.query(sqlOf(kind, 'UPDATE safe SET "vaultId" = 1'));
    await store('first', await stored('second'));
    const bad = { code: 'ERR_DECRYPTION', entity: 'Vault', property: 'first' };

    expect(await rejection(safes.find({ relations: { vault: true } }))).toMatchObject(bad);
    expect(
      await rejection(
        safes.createQueryBuilder('s').leftJoinAndMapOne('s.vault', 's.vault', 'v').getMany(),
      ),
    ).toMatchObject(bad);
    expect(
      await rejection(dataSource.getRepository(Vault).save({ id: 1, label: 'renamed' })),
    ).toMatchObject(bad);
    expect(await stored('label')).toBe('good');
  });

  it('can be repaired by writing the value again', async () => {
    await store('first', 'garbage');
    await dataSource.getRepository(Vault).update({ id: 1 }, { first: 'again' });
    expect(await dataSource.getRepository(Vault).findOneBy({ id: 1 })).toMatchObject({
      first: 'again',
    });
  });

  it('is counted as failed by re-encryption, which leaves it as it is and goes on', async () => {
    await dataSource.getRepository(Vault).insert({ id: 2, first: 'fine' });
    await store('first', await stored('second'));
    const bad = await stored('first');
    await fieldEncryption(dataSource).keys.rotate();
    const report = await fieldEncryption(dataSource).reencrypt({ entities: [Vault] });
    expect(report).toMatchObject({ scanned: 2, changed: 1, failed: 1 });
    expect(report.failures).toMatchObject([
      { entity: 'Vault', property: 'first', code: 'ERR_DECRYPTION', primaryKey: [1] },
    ]);
    expect(await stored('first')).toBe(bad);
    keyId = (await fieldEncryption(dataSource).keys.list()).find(
      ({ state }) => state === 'active',
    )!.id;
  });

  const sqlite = kind.dialect === 'sqlite' ? it : it.skip;
  sqlite('of another type of cell still counts as one that needs its key', async () => {
    const id = keyId;
    await dataSource.query(
      'UPDATE "vault" SET "first" = CAST("first" AS BLOB), "bytes" = CAST("bytes" AS TEXT)',
    );
    const encryption = fieldEncryption(dataSource);
    keyId = (await encryption.keys.rotate()).id;
    for (const property of ['first', 'bytes']) {
      const column = (await encryption.status()).find((one) => one.property === property);
      expect(column).toMatchObject({ rows: 1, cleartextRows: 0, keys: [{ keyId: id, rows: 1 }] });
    }
    const { failures } = await encryption.reencrypt({ entities: [Vault] });
    expect(failures.map(({ property }) => property)).toContain('first');
    const refused = await rejection(encryption.keys.destroy(id, { graceMs: 0 }));
    expect(refused).toMatchObject({ code: 'ERR_KEY_STATE', keyId: id });
    expect((await encryption.keys.revoke(id)).plan).not.toEqual([]);
  });

  describe('and cleartext', () => {
    it.each([
      ['a word', 'Ada Lovelace'],
      ['nothing', ''],
      ['JSON', '{"a":1}'],
      ['a short base64url text', 'QUJDREVG'],
    ])('of %s is an error of its own', async (_what, clear) => {
      await store('first', clear);
      const error = await readError(Vault);
      expect(error).toBeInstanceOf(PlaintextFoundError);
      expect(error).toMatchObject({
        code: 'ERR_PLAINTEXT_FOUND',
        entity: 'Vault',
        property: 'first',
      });
      expect(error.message).toMatch(/legacyPlaintext/);
      if (clear !== '') expect(`${error.message}${String(error.stack)}`).not.toContain(clear);
    });

    it('that has the form of base64url is never passed through', async () => {
      for (const clear of ['A'.repeat(80), Buffer.alloc(60, 7).toString('base64url')]) {
        await store('first', clear);
        const error = await readError(Vault);
        expect([PlaintextFoundError, MalformedCiphertextError]).toContain(error.constructor);
      }
    });

    it('is read where legacyPlaintext says so, and nowhere else', async () => {
      const lenient = cleanup.add(
        protect(
          database,
          { legacyPlaintext: ['Vault.first', 'Vault.amount'] },
          { synchronize: false },
        ),
      );
      await lenient.initialize();
      const vaults = lenient.getRepository(Vault);
      await store('first', 'Ada Lovelace');
      await store('amount', '12.5');
      expect(await vaults.findOneBy({ id: 1 })).toMatchObject({
        first: 'Ada Lovelace',
        second: `${SECRET}-2`,
        amount: 12.5,
      });

      await store('amount', 'twelve');
      expect(await readError(Vault, lenient)).toMatchObject({
        property: 'amount',
        entity: 'Vault',
      });
      await store('amount', null);

      await store('second', 'clear');
      expect(await readError(Vault, lenient)).toMatchObject({
        code: 'ERR_PLAINTEXT_FOUND',
        property: 'second',
      });
      await lenient.destroy();
    });

    it('mode does not pass a damaged ciphertext through', async () => {
      const lenient = cleanup.add(
        protect(
          database,
          { legacyPlaintext: ['Vault.first', 'Vault.bytes'] },
          { synchronize: false },
        ),
      );
      await lenient.initialize();
      const whole = Buffer.from(await stored('first'), 'base64url');
      // The format byte and the key id are what a ciphertext is told by; everything behind them is covered.
      for (let bit = 9 * 8; bit < whole.length * 8; bit += 5) {
        const flipped = Buffer.from(whole);
        flipped[bit >> 3] = flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7));
        await store('first', flipped.toString('base64url'));
        expect(await readError(Vault, lenient)).toMatchObject({ code: 'ERR_DECRYPTION' });
      }
      const text = whole.toString('base64url');
      for (let length = 12; length < text.length; length++) {
        await store('first', text.slice(0, length));
        expect(await readError(Vault, lenient)).toMatchObject({ property: 'first' });
      }
      await store('first', await stored('second'));
      expect(await readError(Vault, lenient)).toMatchObject({ code: 'ERR_DECRYPTION' });
      await lenient.destroy();
    });
  });
});

function region(byte: number): 'format' | 'keyId' | 'sealed' {
  if (byte === 0) return 'format';
  return byte < 9 ? 'keyId' : 'sealed';
}
