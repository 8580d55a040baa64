import 'reflect-metadata';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { Column, DataSource, Entity, PrimaryGeneratedColumn } from 'typeorm';
import type { Repository } from 'typeorm';
import type { KeyBinding } from 'typeorm-field-encryption';
import { BlindIndex, Encrypted, localKms, withFieldEncryption } from 'typeorm-field-encryption';

/** What snippets of the documentation that are no files of their own may use without importing it. */
export interface SnippetContext {
  dataSource: DataSource;
  patients: Repository<Patient>;
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

/** A database of its own for each snippet: two patients, the phone number of one in clear. */
export async function withContext(use: (context: SnippetContext) => Promise<void>): Promise<void> {
  writeFileSync('context.key', randomBytes(32).toString('hex'), { mode: 0o600 });
  const dataSource = withFieldEncryption(
    new DataSource({
      type: 'better-sqlite3',
      database: ':memory:',
      entities: [Patient],
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
    await use({ dataSource, patients });
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
