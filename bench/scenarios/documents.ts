import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';
import type { DataSource, Repository } from 'typeorm';

import { Encrypted, withFieldEncryption } from '../../src';
import type { KmsProvider } from '../../src';
import { dataSourceOn } from '../databases';
import type { Database } from '../databases';
import { tunedGcm } from '../floor';
import { keyFileKms } from '../kms';

const BYTES = 120;
const floor = tunedGcm();

/** One encrypted column of 120 bytes, for measuring rotation. */
@Entity()
export class SecretDocument {
  @PrimaryGeneratedColumn() id!: number;
  @Encrypted() secret!: string;
}

/** The same with a transformer, whose values a repository rewrites whenever it saves. */
@Entity()
export class TransformedDocument {
  @PrimaryGeneratedColumn() id!: number;
  @Column({ transformer: { to: floor.seal, from: floor.open } }) secret!: string;
}

export function openDocuments(
  database: Database,
  kms: KmsProvider = keyFileKms(),
): Promise<DataSource> {
  const dataSource = dataSourceOn(database, [SecretDocument, TransformedDocument]);
  return withFieldEncryption(dataSource, { kms }).initialize();
}

/** Adds rows in chunks that fit into one statement. */
export async function addDocuments(
  documents: Repository<SecretDocument | TransformedDocument>,
  rows: number,
): Promise<void> {
  for (let at = 0; at < rows; at += 1000) {
    const chunk = Array.from({ length: Math.min(1000, rows - at) }, (_, i) => ({
      secret: `document ${String(at + i)} `.padEnd(BYTES, 'secret '),
    }));
    await documents.insert(chunk);
  }
}
