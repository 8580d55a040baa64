import { inspect } from 'node:util';
import {
  Column,
  DataSource,
  DeleteDateColumn,
  Entity,
  JoinTable,
  ManyToMany,
  ManyToOne,
  OneToMany,
  PrimaryColumn,
  PrimaryGeneratedColumn,
  ChildEntity,
  TableInheritance,
} from 'typeorm';
import type { Logger } from 'typeorm';
import { BlindIndex, Encrypted, UnsupportedQueryError } from '../../src';
import type { FieldEncryptionOptions } from '../../src';
import { typeormMajor } from './databases';
import type { DatabaseKind } from './databases';
import { Cleanup, protect, rejection } from './protected-database';

/** Part of every plaintext in these tests, and in no base64url: what must never leave the process. */
export const CANARY = 'zq7~';

export class Contact {
  @Encrypted({ nullable: true }) @BlindIndex({ normalize: 'case-insensitive' }) city!:
    string | null;
  @Column({ nullable: true, type: 'varchar' }) street!: string | null;
}

@Entity()
export class Clinic {
  @PrimaryColumn() id!: number;
  @Column() title!: string;
  @Encrypted() @BlindIndex() licence!: string;
  @OneToMany(() => Patient, (patient) => patient.clinic) patients!: Patient[];
}

@Entity()
export class Patient {
  @PrimaryColumn() id!: number;
  @Column() name!: string;
  @Column({ default: 0 }) points!: number;
  @Encrypted() @BlindIndex({ normalize: 'email', unique: true }) email!: string;
  @Encrypted({ nullable: true, name: 'social_no' }) @BlindIndex() ssn!: string | null;
  @Encrypted({ nullable: true }) @BlindIndex({ bits: 4 }) pet!: string | null;
  @Encrypted({ nullable: true }) note!: string | null;
  @Column(() => Contact) contact!: Contact;
  @DeleteDateColumn() deletedAt!: Date | null;
  @ManyToOne(() => Clinic, (clinic) => clinic.patients, { nullable: true }) clinic!: Clinic | null;
  @OneToMany(() => Visit, (visit) => visit.patient) visits!: Visit[];
  @ManyToMany(() => Doctor) @JoinTable() doctors!: Doctor[];
}

@Entity()
export class Visit {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() reason!: string;
  @Encrypted({ nullable: true }) @BlindIndex({ bits: 2 }) ward!: string | null;
  @ManyToOne(() => Patient, (patient) => patient.visits) patient!: Patient;
}

@Entity()
export class Doctor {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() badge!: string;
}

@Entity()
export class Membership {
  @PrimaryColumn() club!: number;
  @PrimaryColumn() member!: number;
  @Encrypted() @BlindIndex() code!: string;
}

@Entity()
@TableInheritance({ column: { name: 'kind', type: 'varchar' } })
export class Staff {
  @PrimaryColumn() id!: number;
  @Encrypted() @BlindIndex() pin!: string;
}

@ChildEntity()
export class Nurse extends Staff {
  @Encrypted({ nullable: true }) @BlindIndex() shift!: string | null;
}

@ChildEntity()
export class Surgeon extends Staff {
  @Encrypted({ nullable: true }) @BlindIndex({ bits: 2 }) specialty!: string | null;
}

/** Not encrypted, with a column of the same name as encrypted ones. */
@Entity()
export class Mailbox {
  @PrimaryGeneratedColumn() id!: number;
  @Column() email!: string;
  @Column() owner!: number;
}

export const LOOKUP_ENTITIES = [
  Clinic,
  Patient,
  Visit,
  Doctor,
  Membership,
  Staff,
  Nurse,
  Surgeon,
  Mailbox,
];

/** Keeps what TypeORM would log: every statement with its parameters. */
export class StatementLog implements Logger {
  readonly statements: string[] = [];
  #mark = 0;

  logQuery(query: string, parameters?: unknown): void {
    this.statements.push(`${query} -- ${inspect(parameters, { depth: 9, maxArrayLength: null })}`);
  }
  logQueryError(error: string | Error, query: string, parameters?: unknown): void {
    this.statements.push(`${inspect(error, { depth: 9 })} ${query} -- ${inspect(parameters)}`);
  }
  logQuerySlow(): void {
    // Time is not what is tested.
  }
  logSchemaBuild(): void {
    // Tables hold no values.
  }
  logMigration(): void {
    // There are none.
  }
  log(): void {
    // Not about statements.
  }

  mark(): void {
    this.#mark = this.statements.length;
  }

  sinceMark(): readonly string[] {
    return this.statements.slice(this.#mark);
  }

  withPlaintext(): readonly string[] {
    return this.statements.filter((statement) => statement.toLowerCase().includes(CANARY));
  }
}

export interface World {
  readonly ds: DataSource;
  readonly log: StatementLog;
  close(): Promise<void>;
}

export async function openWorld(
  database: DatabaseKind,
  settings: {
    entities?: readonly unknown[];
    options?: Partial<FieldEncryptionOptions>;
    dataSource?: object;
    rows?: boolean;
  } = {},
): Promise<World> {
  const cleanup = new Cleanup();
  const log = new StatementLog();
  const created = await cleanup.create(database, {
    entities: (settings.entities ?? LOOKUP_ENTITIES) as never,
    synchronize: true,
    logger: log,
    logging: true,
  });
  const ds = cleanup.add(protect(created, settings.options, settings.dataSource ?? {}));
  await ds.initialize();
  if (settings.rows ?? settings.entities === undefined) await insertRows(ds);
  return { ds, log, close: () => cleanup.run() };
}

/** Three clinics, ten patients with visits, and one of everything else that a lookup may go through. */
async function insertRows(ds: DataSource): Promise<void> {
  await ds.getRepository(Clinic).insert(
    [1, 2, 3].map((id) => ({
      id,
      title: `clinic ${String(id)}`,
      licence: `zq7~lic-${String(id)}`,
    })),
  );
  await ds
    .getRepository(Doctor)
    .insert([1, 2, 3].map((id) => ({ id, badge: `zq7~badge-${String(id)}` })));
  await ds.getRepository(Patient).save(
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((id) => ({
      id,
      name: `n${String(id)}`,
      email: `Zq7~P${String(id)}@Example.org`,
      ssn: id === 10 ? null : `zq7~ssn-${String(Math.ceil(id / 2))}`,
      pet: id % 5 === 0 ? null : `zq7~pet-${String(id % 3)}`,
      note: `zq7~note-${String(id)}`,
      contact: {
        city: id > 8 ? null : `Zq7~Town-${String(id % 2)}`,
        street: `street ${String(id)}`,
      },
      clinic: id === 10 ? null : { id: (id % 3) + 1 },
      doctors: [{ id: (id % 3) + 1 }, ...(id % 2 === 0 ? [{ id: ((id + 1) % 3) + 1 }] : [])],
    })),
  );
  await ds.getRepository(Visit).save(
    Array.from({ length: 20 }, (_, index) => ({
      id: index + 1,
      reason: `zq7~reason-${String(index % 4)}`,
      ward: index % 5 === 0 ? null : `zq7~ward-${String(index % 3)}`,
      patient: { id: (index % 10) + 1 },
    })),
  );
  await ds.getRepository(Membership).insert([
    { club: 1, member: 1, code: 'zq7~code-1' },
    { club: 1, member: 2, code: 'zq7~code-2' },
    { club: 2, member: 1, code: 'zq7~code-1' },
  ]);
  await ds.getRepository(Staff).save({ id: 1, pin: 'zq7~pin-1' });
  await ds.getRepository(Nurse).save([
    { id: 2, pin: 'zq7~pin-2', shift: 'zq7~night' },
    { id: 3, pin: 'zq7~pin-1', shift: null },
  ]);
  await ds.getRepository(Surgeon).save([
    { id: 4, pin: 'zq7~pin-4', specialty: 'zq7~heart' },
    { id: 5, pin: 'zq7~pin-1', specialty: 'zq7~knee' },
    { id: 6, pin: 'zq7~pin-6', specialty: null },
  ]);
  await ds.getRepository(Mailbox).insert([
    { email: 'box1@plain.example', owner: 1 },
    { email: 'box2@plain.example', owner: 2 },
  ]);
}

/** Sorted ids of entities. */
export function ids(entities: readonly { id: number }[]): number[] {
  return entities.map(({ id }) => id).sort((a, b) => a - b);
}

/** Expects a query to be refused by name before a statement is sent, and nothing of a value to show. */
export async function expectRefused(
  { log }: World,
  query: () => unknown,
  { entity = 'Patient', property = 'email' } = {},
): Promise<UnsupportedQueryError> {
  log.mark();
  const error = await rejection(async () => query());
  expect(error).toBeInstanceOf(UnsupportedQueryError);
  expect(error).toMatchObject({
    code: 'ERR_UNSUPPORTED_QUERY',
    retryable: false,
    entity,
    property,
  });
  expect(error.message).toContain(`${entity}.${property}`);
  // What, then what to do about it.
  expect(error.message).toMatch(/\. [A-Z].*\.$/s);
  const shown = [error.message, error.stack, inspect(error, { depth: 9 }), JSON.stringify(error)];
  expect(shown.join('\n').toLowerCase()).not.toContain(CANARY);
  expect(log.sinceMark()).toEqual([]);
  return error as UnsupportedQueryError;
}

/** `WHERE NULL` as this major wants it to be allowed: TypeORM 1 refuses null in a where by default. */
export const refusesNullInWhere = typeormMajor === 1;
