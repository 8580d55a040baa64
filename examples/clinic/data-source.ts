import 'reflect-metadata';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import { localKms, withFieldEncryption } from 'typeorm-field-encryption';

import { Patient } from './patient';

export const databaseFile = join(__dirname, '.data', 'clinic.db');
mkdirSync(join(__dirname, '.data'), { recursive: true });

/** A real application gets its passphrase from a secret store; these patients are fictional. */
const examplePassphrase = 'a passphrase for fictional patients only';

export const dataSource = withFieldEncryption(
  new DataSource({
    type: 'better-sqlite3',
    database: databaseFile,
    entities: [Patient],
    synchronize: true,
  }),
  {
    application: 'clinic',
    kms: localKms({
      passphrase: () => process.env['FIELD_ENCRYPTION_PASSPHRASE'] ?? examplePassphrase,
    }),
  },
);
