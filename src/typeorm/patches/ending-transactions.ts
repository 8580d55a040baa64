import type { QueryRunner } from 'typeorm';
import { Broadcaster } from 'typeorm/subscriber/Broadcaster.js';

import type { ScopeKeyCreation } from '../../keys/scopes/scope-key-creation';
import { requireNoUncommittedReads } from '../connection/committed-reads';
import { noteTransactionEnd, noteTransactionStart } from '../connection/transaction-start';
import { dialectOf } from '../dialect/dialect-of';
import { installationOf, isInstalled } from '../installation/installations';

type Broadcast = (this: OfRunner, event: string, ...of: readonly unknown[]) => Promise<void>;

/** The part of TypeORM's broadcasters that is used; private, but the same in both majors. */
interface OfRunner {
  readonly queryRunner: QueryRunner & { readonly transactionDepth: number };
}

const ENDS: readonly string[] = ['AfterTransactionCommit', 'AfterTransactionRollback'];

/**
 * Records keys of scopes that a transaction has created as TypeORM tells subscribers that it is about to commit: the
 * entry is its last step, since other writers of the audit log wait from there to its end.
 */
export function recordCreatedKeys(): void {
  const broadcaster = Broadcaster.prototype as unknown as { broadcast: Broadcast };
  const { broadcast } = broadcaster;
  broadcaster.broadcast = function (event, ...of) {
    const { queryRunner } = this;
    if (event === 'BeforeQuery') {
      if (isInstalled(queryRunner.connection))
        requireNoUncommittedReads(queryRunner, String(of[0]));
      noteTransactionStart(queryRunner, String(of[0]));
    }
    const done = broadcast.call(this, event, ...of);
    if (event === 'BeforeTransactionCommit') return done.then(() => beforeCommit(this));
    return ENDS.includes(event)
      ? done.finally(() => {
          afterEnd(this);
        })
      : done;
  };
}

async function beforeCommit({ queryRunner }: OfRunner): Promise<void> {
  if (queryRunner.transactionDepth > 1) return;
  const creation = creationOf(queryRunner);
  if (creation?.hasToRecord(queryRunner) !== true) return;
  const { transactions } = dialectOf(queryRunner.connection);
  await transactions.withLimitedLockWaits(queryRunner, () => creation.recordWithin(queryRunner));
}

function afterEnd({ queryRunner }: OfRunner): void {
  if (queryRunner.isTransactionActive) return;
  noteTransactionEnd(queryRunner);
  creationOf(queryRunner)?.end(queryRunner);
}

/** The keys of scopes that a process creates, where the DataSource of a runner has any. */
function creationOf({ connection }: QueryRunner): ScopeKeyCreation<QueryRunner> | undefined {
  if (!isInstalled(connection)) return undefined;
  const { isOpen, hasScopes, keys } = installationOf(connection);
  return isOpen && hasScopes ? keys.scopes.active.creation : undefined;
}
