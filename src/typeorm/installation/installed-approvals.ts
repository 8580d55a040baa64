import { createHash } from 'node:crypto';
import type { DataSource, QueryRunner } from 'typeorm';

import { ApprovalGate } from '../../approvals/approval-gate';
import type { GateParts, TargetState } from '../../approvals/approval-gate';
import { POLICY_MARK_ID, StoredPolicies } from '../../approvals/stored-policies';
import type { KeyAudit } from '../../keys/audit/key-audit';
import type { KeyManager } from '../../keys/key-manager';
import type { CheckedOptions } from '../declare/field-encryption-options';
import { TypeormApprovalStore } from '../tables/typeorm-approval-store';
import type { TypeormKeyStore } from '../tables/typeorm-key-store';

/** The parts of an installation that approvals go by. */
interface ApprovalSources {
  readonly dataSource: DataSource;
  readonly options: CheckedOptions;
  readonly store: TypeormKeyStore;
  readonly keys: KeyManager<QueryRunner>;
  readonly audit: KeyAudit<QueryRunner>;
}

/** The approvals of one DataSource. */
export interface InstalledApprovals extends Pick<
  GateParts<QueryRunner>,
  'application' | 'configured' | 'now'
> {
  readonly store: TypeormApprovalStore;
  readonly policies: StoredPolicies;
  readonly gate: ApprovalGate<QueryRunner>;
}

/** Connects approvals with the keys, the audit log and the anchor of an installation. */
export function installedApprovals(installation: ApprovalSources): InstalledApprovals {
  const { dataSource, options, store: keyTable } = installation;
  const store = new TypeormApprovalStore(dataSource);
  const anchored = () => installation.audit.anchor?.approvals();
  const policies = new StoredPolicies(store, {
    lastEntry: () => installation.audit.lastKnown(POLICY_MARK_ID),
    anchored: async () => (await anchored())?.policy,
    anchor: async ({ version, id }) => {
      await installation.audit.anchor?.note({ policy: { version, id }, used: {} });
    },
  });
  const parts: GateParts<QueryRunner> = {
    ...{ store, policies, configured: options.approvals },
    now: (connection) => keyTable.now(connection),
    application: options.application,
    stateOf: (keyId) => stateOf(installation, keyId),
    referringTo: (id, connection) => installation.audit.referringTo(id, connection),
    isAnchored: async (id) => Object.hasOwn((await anchored())?.used ?? {}, id),
    anchorUse: async (id, expires, connection) => {
      const used = { [id]: expires.getTime() };
      await installation.audit.anchor?.note({ used }, connection);
    },
  };
  return { ...parts, store, policies, gate: new ApprovalGate(parts) };
}

/** @throws {@link KeyNotFoundError} */
async function stateOf({ keys, store }: ApprovalSources, keyId?: string): Promise<TargetState> {
  if (keyId !== undefined) await keys.operations.find(keyId);
  const records = keyId === undefined ? await store.list() : await store.findByIds([keyId]);
  const rows = records
    // Uses are counted all the time, and prove nothing.
    .map((record) => JSON.stringify({ ...record, useCount: 0 }))
    .sort();
  const sha256 = createHash('sha256').update(rows.join('\n')).digest('hex');
  return { epoch: Math.max(0, ...records.map(({ epoch }) => epoch)), sha256 };
}
