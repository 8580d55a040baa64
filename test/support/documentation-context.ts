import 'reflect-metadata';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { Column, DataSource, Entity, PrimaryColumn, PrimaryGeneratedColumn } from 'typeorm';
import type { Repository } from 'typeorm';
import type { KeyBinding } from 'typeorm-field-encryption';
import {
  BlindIndex,
  Encrypted,
  KeyScope,
  localKms,
  withFieldEncryption,
} from 'typeorm-field-encryption';

/** What snippets of the documentation that are no files of their own may use without importing it. */
export interface SnippetContext {
  dataSource: DataSource;
  patients: Repository<Patient>;
  letters: Repository<Letter>;
}

@Entity()
export class Patient {
  @PrimaryGeneratedColumn()
  id!: number;

  @Column()
  name!: string;

  @Encrypted()
  @BlindIndex({ normalize: 'email', unique: true })
  email!: string;

  @Encrypted({ type: 'string', nullable: true })
  @BlindIndex({ normalize: 'digits' })
  ssn!: string | null;

  @Encrypted({ type: 'string', nullable: true })
  phone!: string | null;
}

/** With keys for each tenant. */
@Entity()
export class Letter {
  @PrimaryColumn()
  id!: number;

  @KeyScope({ kind: 'tenant' })
  @Column()
  tenantId!: string;

  @Encrypted()
  @BlindIndex({ normalize: 'email' })
  sender!: string;

  @Encrypted()
  text!: string;
}

/**
 * A database of its own for each snippet: two patients, the phone number of one in clear, and a letter of each of
 * two tenants.
 */
export async function withContext(use: (context: SnippetContext) => Promise<void>): Promise<void> {
  writeFileSync('context.key', randomBytes(32).toString('hex'), { mode: 0o600 });
  const dataSource = withFieldEncryption(
    new DataSource({
      type: 'better-sqlite3',
      database: ':memory:',
      entities: [Patient, Letter],
      synchronize: true,
    }),
    { kms: localKms({ keyFile: 'context.key' }), legacyPlaintext: ['Patient.phone'] },
  );
  await dataSource.initialize();
  try {
    const patients = dataSource.getRepository(Patient);
    await patients.save([
      { name: 'Ada', email: 'Ada@Example.org', ssn: '078-05-1120', phone: null },
      { name: 'Bob', email: 'bob@example.org', ssn: null, phone: null },
    ]);
    await dataSource.query(`UPDATE patient SET phone = '555-0100' WHERE id = 1`);
    const letters = dataSource.getRepository(Letter);
    await letters.save([
      { id: 1, tenantId: 'north', sender: 'ada@example.org', text: 'Dear doctor' },
      { id: 2, tenantId: 'south', sender: 'bob@example.org', text: 'Dear nurse' },
    ]);
    await use({ dataSource, patients, letters });
  } finally {
    await dataSource.destroy();
  }
}

export function fetchSecret(name: string): Promise<string> {
  return Promise.resolve(`the secret called ${name}`);
}

type Elsewhere = (bytes: Uint8Array, binding: KeyBinding) => Promise<Uint8Array>;

export const sealSomewhere: Elsewhere = (key) => Promise.resolve(Uint8Array.from(key));
export const openSomewhere: Elsewhere = (wrapped) => Promise.resolve(Uint8Array.from(wrapped));
