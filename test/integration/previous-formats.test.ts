import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { Column, Entity, JoinColumn, ManyToOne, PrimaryColumn } from 'typeorm';
import type { DataSource } from 'typeorm';
import { BlindIndex, DecryptionError, Encrypted, fieldEncryption } from '../../src';
import type { FieldEncryptionOptions, PreviousFormat } from '../../src';
import { cloakFormat, typeormEncryptedFormat, vaultTransitFormat } from '../../src/import';
import { describeDiagonal } from '../support/databases';
import type { DatabaseKind } from '../support/databases';
import { openEncrypted } from '../support/encrypted-database';
import type { EncryptedDatabase } from '../support/encrypted-database';
import { previousFormatVectors } from '../support/previous-formats';
import { rejection } from '../support/protected-database';
import { expectCiphertext, rawRows, storedPlaintexts } from '../support/stored-rows';
import { ROOT_TOKEN, VaultDouble } from '../support/vault-double';
import { sqlOf } from '../support/sql-of';

const { typeormEncrypted, typeormEncryptedJson, lookalikes, cloak } = previousFormatVectors;
const CBC = typeormEncrypted.find(({ options }) => options.algorithm === 'aes-256-cbc')!;
const [CLOAKED] = cloak.values as [(typeof cloak.values)[0]];

@Entity()
class Client {
  @PrimaryColumn() id!: number;
  @Column({ default: '' }) name!: string;
  /** typeorm-encrypted, aes-256-gcm */
  @Encrypted({ check: false, nullable: true }) @BlindIndex() secret!: string | null;
  /** typeorm-encrypted, aes-256-cbc, in a binary column */
  @Encrypted({ check: false, nullable: true, storage: 'binary' }) block!: string | null;
  /** typeorm-encrypted, JSONEncryptionTransformer */
  @Encrypted({ check: false, nullable: true, type: 'json' }) history!: unknown;
  /** cloak */
  @Encrypted({ check: false, nullable: true }) note!: string | null;
  /** Vault */
  @Encrypted({ check: false, nullable: true, type: 'number' }) limit!: number | null;
  /** None. */
  @Encrypted({ check: false, nullable: true }) plain!: string | null;
}

@Entity()
class Visit {
  @PrimaryColumn() id!: number;
  @ManyToOne(() => Client) @JoinColumn() client!: Client;
}

describeDiagonal('Previous formats', (database) => {
  const vault = new VaultDouble();
  let open: EncryptedDatabase;
  let dataSource: DataSource;

  const formats = (): Record<string, PreviousFormat> => ({
    'Client.secret': typeormEncryptedFormat(lookalikes.options),
    'Client.block': typeormEncryptedFormat(CBC.options),
    'Client.history': typeormEncryptedFormat(typeormEncryptedJson.options),
    'Client.note': cloakFormat({ keychain: cloak.keychain, masterKey: cloak.masterKey }),
    'Client.limit': vaultTransitFormat({ address: vault.address, token: ROOT_TOKEN, key: 'app' }),
  });
  const clients = () => dataSource.getRepository(Client);

  /** As the other library would: past this one. */
  async function store(id: number, values: Record<string, unknown>): Promise<void> {
    const names = ['id', 'name', ...Object.keys(values)];
    const marks = names.map((_, i) => `$${i + 1}`).join(', ');
    const columns = names.map((name) => `"${name}"`).join(', ');
    await dataSource.query(sqlOf(database, `INSERT INTO client (${columns}) VALUES (${marks})`), [
      id,
      `client ${id}`,
      ...Object.values(values),
    ]);
  }

  async function inVault(text: string): Promise<string> {
    const reply = await fetch(`${vault.address}/v1/transit/encrypt/app`, {
      method: 'POST',
      headers: { 'X-Vault-Token': ROOT_TOKEN },
      body: JSON.stringify({ plaintext: Buffer.from(text).toString('base64') }),
    });
    return ((await reply.json()) as { data: { ciphertext: string } }).data.ciphertext;
  }

  /** A row of which every column was written by another library. */
  async function storeForeign(id: number, limit: string): Promise<Record<string, unknown>> {
    const [, short] = lookalikes.values;
    const row = {
      secret: id % 2 === 0 ? lookalikes.values[0].stored : short.stored,
      block: Buffer.from(CBC.values[0].stored),
      history: typeormEncryptedJson.stored,
      note: CLOAKED.stored,
      limit: await inVault(limit),
    };
    await store(id, row);
    return row;
  }

  const foreign = (id: number, limit: number) => ({
    id,
    secret: lookalikes.values[id % 2 === 0 ? 0 : 1].text,
    block: CBC.values[0].text,
    history: typeormEncryptedJson.value,
    note: CLOAKED.text,
    limit,
    plain: null,
  });

  beforeAll(async () => {
    vault.makeKey('app');
    await vault.http.start();
    open = await openEncrypted(
      database,
      { entities: [Client, Visit] },
      { previousFormats: formats() },
    );
    dataSource = open.dataSource;
  });
  beforeEach(async () => {
    await dataSource.query('DELETE FROM visit');
    await dataSource.query('DELETE FROM client');
    vault.http.calls.length = 0;
    open.statements.clear();
  });
  afterAll(async () => {
    await open.dispose();
    await vault.http.stop();
  });

  it('are read beside our own, by every way to an entity', async () => {
    await storeForeign(1, '100.5');
    await storeForeign(2, '-3');
    await clients().insert({ id: 3, secret: 'ours', note: 'ours', limit: 7 });
    await dataSource.getRepository(Visit).insert([
      { id: 1, client: { id: 1 } },
      { id: 2, client: { id: 1 } },
      { id: 3, client: { id: 3 } },
    ]);
    vault.http.calls.length = 0;

    expect(await clients().find({ order: { id: 'ASC' } })).toMatchObject([
      foreign(1, 100.5),
      foreign(2, -3),
      { id: 3, secret: 'ours', note: 'ours', limit: 7 },
    ]);
    expect(vault.http.callsTo('/decrypt/')).toHaveLength(1);

    const visits = dataSource.getRepository(Visit);
    const found = await visits.find({ relations: { client: true }, order: { id: 'ASC' }, take: 2 });
    expect(found.map(({ client }) => client)).toMatchObject([foreign(1, 100.5), foreign(1, 100.5)]);
    expect(await clients().findOneBy({ secret: 'ours' })).toMatchObject({ id: 3 });
    expect(await clients().find({ select: { limit: true }, where: { id: 2 } })).toEqual([
      { limit: -3 },
    ]);

    const stored = await rawRows(dataSource, Client);
    const { values } = await fieldEncryption(dataSource).decryptValues(
      Client,
      'limit',
      stored.map(({ limit }) => limit),
    );
    expect(values).toEqual([100.5, -3, 7]);
  });

  it('stay as they are stored in raw results', async () => {
    const row = await storeForeign(1, '5');
    const { entities, raw } = await clients().createQueryBuilder('c').getRawAndEntities();
    expect(entities).toMatchObject([foreign(1, 5)]);
    expect(raw).toMatchObject([{ c_limit: row['limit'], c_note: row['note'] }]);
  });

  it('give way to our own when a value is written, and only then', async () => {
    await storeForeign(1, '5');
    const before = await rawRows(dataSource, Client);
    const client = await clients().findOneByOrFail({ id: 1 });
    await clients().save(client);
    expect(await rawRows(dataSource, Client)).toEqual(before);

    await clients().save(Object.assign(client, { secret: 'new', limit: 6, name: 'renamed' }));
    const [after] = await rawRows(dataSource, Client);
    expectCiphertext(after!['secret']);
    expectCiphertext(after!['limit']);
    expect(after).toMatchObject({ note: CLOAKED.stored, history: typeormEncryptedJson.stored });
    const changed = { ...foreign(1, 6), secret: 'new', name: 'renamed' };
    expect(await clients().findOneBy({ secret: 'new' })).toMatchObject(changed);

    await clients().insert({ id: 2, note: CLOAKED.stored });
    const [, inserted] = await rawRows(dataSource, Client);
    expectCiphertext(inserted!['note']);
    expect(await clients().findOneBy({ id: 2 })).toMatchObject({ note: CLOAKED.stored });
  });

  it('are converted by one run, to be found by value, and what does not decrypt is named', async () => {
    await storeForeign(1, '5');
    await storeForeign(2, '6');
    await clients().insert({ id: 3, secret: 'ours' });
    await store(4, { note: changeLast(CLOAKED.stored) });

    const report = await fieldEncryption(dataSource).encrypt({ entities: [Client] });

    expect(report).toMatchObject({ mode: 'encrypt', changed: 2, failed: 1, remaining: 1 });
    expect(report.failures).toMatchObject([
      { property: 'note', primaryKey: [4], code: 'ERR_DECRYPTION' },
    ]);
    await clients().delete({ id: 4 });
    const plaintexts = await storedPlaintexts(dataSource, Client);
    for (const [i, limit] of [5, 6].entries()) {
      expect({ id: i + 1, ...plaintexts[i] }).toEqual(foreign(i + 1, limit));
    }
    const { text } = lookalikes.values[0];
    expect(await clients().findOneBy({ secret: text })).toMatchObject(foreign(2, 6));
  });

  it.each([
    ['a changed value', 'note', changeLast(CLOAKED.stored), 'ERR_DECRYPTION'],
    ['a value under a key not given', 'note', cloak.values.at(-1)!.stored, 'ERR_DECRYPTION'],
    [
      'a value under another key',
      'secret',
      typeormEncrypted[0]!.values[0].stored,
      'ERR_DECRYPTION',
    ],
    ['cleartext', 'note', 'Ada Lovelace', 'ERR_PLAINTEXT_FOUND'],
    ['the format of another column', 'secret', CLOAKED.stored, 'ERR_PLAINTEXT_FOUND'],
    ['a format where none is named', 'plain', CLOAKED.stored, 'ERR_PLAINTEXT_FOUND'],
    ['a value of Vault that is none', 'limit', forged(), 'ERR_DECRYPTION'],
  ])('are refused where there is %s', async (_, property, stored, code) => {
    await store(1, { [property]: stored });
    const error = await rejection(clients().find());
    expect(error).toMatchObject({ code, entity: 'Client', property });
    expect(error.message).toMatch(new RegExp(`^Client\\.${property}: `));
    expect(inspect(error, { depth: 9 })).not.toContain(stored.slice(-12));
  });

  it('are refused where they do not hold the type', async () => {
    await store(1, { limit: await inVault('canary words') });
    const error = await rejection(clients().find());
    expect(error).toBeInstanceOf(DecryptionError);
    expect(error).toMatchObject({ property: 'limit' });
    expect(inspect(error, { depth: 9 })).not.toContain('canary');
  });

  it('let damaged values of our own be what they are', async () => {
    await clients().insert({ id: 1, secret: 'a value of some length' });
    const [row] = await rawRows(dataSource, Client);
    const whole = String(row!['secret']);
    const bytes = Buffer.from(whole, 'base64url');
    const changed = [9, 40, bytes.length - 1].map((byte) => {
      const copy = Buffer.from(bytes);
      copy.writeUInt8(copy.readUInt8(byte) ^ 1, byte);
      return copy.toString('base64url');
    });
    for (const stored of [...changed, whole.slice(0, 60), whole.slice(0, 16)]) {
      const { failures } = await fieldEncryption(dataSource).decryptValues(Client, 'secret', [
        stored,
      ]);
      expect(failures).toHaveLength(1);
      expect(['ERR_DECRYPTION', 'ERR_CIPHERTEXT_MALFORMED']).toContain(failures[0]!.error.code);
      expect(failures[0]!.error.message).not.toMatch(/typeorm-encrypted/);
    }
  });

  it('fail as a whole, retryably, while Vault is away', async () => {
    await storeForeign(1, '5');
    vault.http.fail({ on: '/decrypt/', status: 503, times: 3 });
    const error = await rejection(clients().find());
    vault.http.mend();
    expect(error).toMatchObject({ retryable: true, entity: 'Client', property: 'limit' });
    expect(await clients().find({ select: { id: true, note: true } })).toHaveLength(1);
  });

  it('and cleartext are both read where both are named', async () => {
    await withOptions(database, { legacyPlaintext: ['Client.note'] }, async (other) => {
      await other.query(
        `INSERT INTO client (id, note) VALUES (1, 'in clear'), (2, '${CLOAKED.stored}')`,
      );
      const found = await other.getRepository(Client).find({ order: { id: 'ASC' } });
      expect(found).toMatchObject([{ note: 'in clear' }, { note: CLOAKED.text }]);
    });
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    [
      'a property that is none',
      { 'Client.nothing': cloakFormat({ keys: cloak.keys }) },
      /names "Client.nothing"/,
    ],
    [
      'a property that is not encrypted',
      { 'Client.name': cloakFormat({ keys: cloak.keys }) },
      /"Client.name"/,
    ],
    ['a name without an entity', { note: cloakFormat({ keys: cloak.keys }) }, /Entity.property/],
    ['what is no format', { 'Client.note': { key: 'canary' } }, /must be a PreviousFormat/],
    ['nothing', { 'Client.note': null }, /must be a PreviousFormat/],
  ])('refuses options that name %s', async (_, previousFormats, message) => {
    const options = { previousFormats: previousFormats as Record<string, PreviousFormat> };
    const error = await rejection(withOptions(database, options, async () => undefined));
    expect(error).toMatchObject({ code: 'ERR_CONFIGURATION' });
    expect(error.message).toMatch(message);
    expect(error.message).not.toMatch(/canary/);
  });

  async function withOptions(
    kind: DatabaseKind,
    options: Partial<FieldEncryptionOptions>,
    work: (dataSource: DataSource) => Promise<void>,
  ): Promise<void> {
    const opened = await openEncrypted(
      kind,
      { entities: [Client, Visit] },
      { previousFormats: formats(), ...options },
    );
    try {
      await work(opened.dataSource);
    } finally {
      await opened.dispose();
    }
  }
});

/** A valid form still, with another tag. */
function changeLast(stored: string): string {
  const at = stored.length - 24;
  return stored.slice(0, at) + (stored[at] === 'A' ? 'B' : 'A') + stored.slice(at + 1);
}

function forged(): string {
  return `vault:v1:${randomBytes(40).toString('base64')}`;
}
