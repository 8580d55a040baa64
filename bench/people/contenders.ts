import type { DataSource, FindOptionsWhere, Repository } from 'typeorm';

import { withFieldEncryption } from '../../src';
import type { CipherSuite } from '../../src';
import { createDatabase, dataSourceOn, dropDatabase } from '../databases';
import type { Database, DatabaseKind } from '../databases';
import { keyFileKms } from '../kms';
import { peerVersions } from '../peers';
import { VARIANTS } from '../variants';

import * as entities from './entities';
import { persons } from './person';
import type { Person } from './person';

/** A way to store people, in a database of its own. */
export interface Contender {
  readonly name: string;
  readonly people: Repository<Person>;
  /** The number of people, with ids from 1. */
  readonly rows: number;
  /** Returns the condition for an e-mail address. */
  readonly byEmail: (email: string) => FindOptionsWhere<Person>;
  /** Makes people to save, without ids. */
  readonly make: (count: number) => Partial<Person>[];
  close(): Promise<void>;
}

interface Kind {
  readonly name: string;
  readonly entity: new () => Person;
  readonly suite?: CipherSuite;
  readonly byEmail?: Contender['byEmail'];
  readonly make?: Contender['make'];
}

/** The kinds without look-ups, which cost time in every write. */
const STORING: readonly Kind[] = [
  { name: VARIANTS.plain, entity: entities.PlainPerson },
  { name: VARIANTS.transformer, entity: entities.TransformedPerson },
  { name: VARIANTS.typeormEncrypted, entity: entities.PeerPerson },
  { name: VARIANTS.xaes, entity: entities.EncryptedPerson, suite: 'xaes-256-gcm' },
  { name: VARIANTS.xchacha, entity: entities.EncryptedPerson, suite: 'xchacha20-poly1305' },
  { name: VARIANTS.xaesIndexed, entity: entities.IndexedEncryptedPerson, suite: 'xaes-256-gcm' },
  { name: VARIANTS.sealed, entity: entities.SealedPerson, suite: 'xaes-256-gcm' },
];

/** The kinds with look-ups. typeorm-encrypted has none: it stores a value differently each time. */
const LOOKING_UP: readonly Kind[] = [
  { name: VARIANTS.plain, entity: entities.IndexedPlainPerson },
  {
    name: `${VARIANTS.transformer}, hand-made token`,
    entity: entities.IndexedTransformedPerson,
    byEmail: (email) => ({ emailToken: entities.handMadeToken(email) }) as FindOptionsWhere<Person>,
    make: (count) =>
      persons(count).map((person) => ({
        ...person,
        emailToken: entities.handMadeToken(person.email),
      })),
  },
  { name: VARIANTS.xaes, entity: entities.IndexedEncryptedPerson, suite: 'xaes-256-gcm' },
  { name: VARIANTS.xchacha, entity: entities.IndexedEncryptedPerson, suite: 'xchacha20-poly1305' },
];

/** The kinds that compare this library with the peer. */
const BESIDE_PEER: readonly string[] = [VARIANTS.plain, VARIANTS.typeormEncrypted, VARIANTS.xaes];

export function storing(database: DatabaseKind, rows: number): Promise<Contender[]> {
  return openAll(STORING, database, rows);
}

export function besidePeer(database: DatabaseKind, rows: number): Promise<Contender[]> {
  const kinds = STORING.filter(({ name }) => BESIDE_PEER.includes(name));
  return openAll(kinds, database, rows);
}

/** Creates contenders of all kinds, or of those with the given names. */
export function lookingUp(
  database: DatabaseKind,
  rows: number,
  names: readonly string[] = LOOKING_UP.map(({ name }) => name),
): Promise<Contender[]> {
  const kinds = LOOKING_UP.filter(({ name }) => names.includes(name));
  return Promise.all(kinds.map((kind) => open(kind, database, rows)));
}

function openAll(
  kinds: readonly Kind[],
  database: DatabaseKind,
  rows: number,
): Promise<Contender[]> {
  const missing = peerVersions()[VARIANTS.typeormEncrypted] === undefined;
  const installed = kinds.filter(({ name }) => !missing || name !== VARIANTS.typeormEncrypted);
  return Promise.all(installed.map((kind) => open(kind, database, rows)));
}

async function open(kind: Kind, databaseKind: DatabaseKind, rows: number): Promise<Contender> {
  const database = await createDatabase(databaseKind);
  const dataSource = await connect(kind, database);
  const make = kind.make ?? persons;
  const people = dataSource.getRepository(kind.entity);
  await fill(people, make(rows));
  return {
    name: kind.name,
    people,
    rows,
    byEmail: kind.byEmail ?? ((email) => ({ email })),
    make,
    close: async () => {
      await dataSource.destroy();
      await dropDatabase(database);
    },
  };
}

function connect({ entity, suite }: Kind, database: Database): Promise<DataSource> {
  const dataSource = dataSourceOn(database, [entity]);
  if (suite !== undefined) {
    withFieldEncryption(dataSource, { kms: keyFileKms(), suite });
  }
  return dataSource.initialize();
}

/** Inserts people in chunks that fit into one statement. */
async function fill(people: Repository<Person>, all: Partial<Person>[]): Promise<void> {
  for (let at = 0; at < all.length; at += 1000) await people.insert(all.slice(at, at + 1000));
  const { options } = people.manager.connection;
  if (options.type === 'postgres') await people.query('ANALYZE');
  if (options.type === 'mariadb') await people.query(`ANALYZE TABLE ${people.metadata.tableName}`);
}
