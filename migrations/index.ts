import { CreateDataKeys1764000000000 } from './1764000000000-create-data-keys';
import { CreateRuns1764000001000 } from './1764000001000-create-runs';
import { CreateAuditLog1764000002000 } from './1764000002000-create-audit-log';
import { AddKeyEpochs1764000003000 } from './1764000003000-add-key-epochs';
import { CreateScopeKeys1764000004000 } from './1764000004000-create-scope-keys';
import { CreateAccessLog1764000006000 } from './1764000006000-create-access-log';
import { CreateApprovals1764000007000 } from './1764000007000-create-approvals';
import { CreateSigningKeys1764000008000 } from './1764000008000-create-signing-keys';

/**
 * The migrations of the library's own tables, for a DataSource's `migrations`.
 *
 * @example
 * ```ts
 * new DataSource({ ..., migrations: [...fieldEncryptionMigrations, ...yourMigrations] });
 * ```
 */
export const fieldEncryptionMigrations = [
  CreateDataKeys1764000000000,
  CreateRuns1764000001000,
  CreateAuditLog1764000002000,
  AddKeyEpochs1764000003000,
  CreateScopeKeys1764000004000,
  CreateAccessLog1764000006000,
  CreateApprovals1764000007000,
  CreateSigningKeys1764000008000,
];
