import type { ConfigService } from '@nestjs/config';
import type { TypeOrmModuleOptions } from '@nestjs/typeorm';
import { localKms } from 'typeorm-field-encryption';
import type { FieldEncryptionOptions } from 'typeorm-field-encryption';

/** A production application has migrations instead of `synchronize`: docs/operations.md. */
export function typeormOptions(config: ConfigService): TypeOrmModuleOptions {
  const url = config.getOrThrow<string>('DATABASE_URL');
  const common = { autoLoadEntities: true, synchronize: true };
  if (/^postgres(?:ql)?:/.test(url)) return { ...common, type: 'postgres', url };
  if (url.startsWith('mariadb:')) return { ...common, type: 'mariadb', url };
  if (url.startsWith('mysql:')) return { ...common, type: 'mysql', url };
  return { ...common, type: 'better-sqlite3', database: url };
}

export function encryptionOptions(config: ConfigService): FieldEncryptionOptions {
  return {
    kms: localKms({ passphrase: config.getOrThrow<string>('KEY_PASSPHRASE') }),
    application: 'clinic',
    // Who has read which patient's number.
    accessLog: {},
    // Who has to agree before a clinic is erased.
    ...approvals(config),
    keyPolicies: { '*': { rotation: { kind: 'periodic', everyDays: 90 } } },
  };
}

/** APPROVERS has a line for each person: their e-mail address, and their public key of OpenSSH. */
function approvals(config: ConfigService): Pick<FieldEncryptionOptions, 'approvals'> {
  const lines = config.get<string>('APPROVERS')?.trim().split('\n').filter(Boolean) ?? [];
  const approvers = lines.map((line) => {
    const [id = '', ...key] = line.split(' ');
    return { id, key: key.join(' ') };
  });
  if (approvers.length === 0) return {};
  return { approvals: { operations: ['shred'], required: 1, approvers } };
}
