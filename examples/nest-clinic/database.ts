import type { ConfigService } from '@nestjs/config';
import type { TypeOrmModuleOptions } from '@nestjs/typeorm';
import { localKms } from 'typeorm-field-encryption';
import type { FieldEncryptionOptions } from 'typeorm-field-encryption';

/** A production application has migrations instead of `synchronize`: docs/operations.md. */
export function typeormOptions(config: ConfigService): TypeOrmModuleOptions {
  const url = config.getOrThrow<string>('DATABASE_URL');
  const common = { autoLoadEntities: true, synchronize: true };
  return url.startsWith('postgres')
    ? { ...common, type: 'postgres', url }
    : { ...common, type: 'better-sqlite3', database: url };
}

export function encryptionOptions(config: ConfigService): FieldEncryptionOptions {
  return {
    kms: localKms({ passphrase: config.getOrThrow<string>('KEY_PASSPHRASE') }),
    application: 'clinic',
    // Who has read which patient's number.
    accessLog: {},
    keyPolicies: { '*': { rotation: { kind: 'periodic', everyDays: 90 } } },
  };
}
