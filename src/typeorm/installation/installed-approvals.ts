import type { DataSource, QueryRunner } from 'typeorm';

import { ApprovalGate } from '../../approvals/approval-gate';
import type { GateParts } from '../../approvals/approval-gate';
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
  });
  const parts: GateParts<QueryRunner> = {
    ...{ store, policies, configured: options.approvals, now: () => keyTable.now() },
    application: options.application,
    epochOf: (keyId) => epochOf(installation, keyId),
    referringTo: (id) => installation.audit.referringTo(id),
    isAnchored: async (id) => Object.hasOwn((await anchored())?.used ?? {}, id),
    anchorUse: async (id, expires, connection) => {
      const used = { [id]: expires.getTime() };
      await installation.audit.anchor?.noteApprovals({ used }, connection);
    },
  };
  return { ...parts, store, policies, gate: new ApprovalGate(parts) };
}

/** @throws {@link KeyNotFoundError} */
async function epochOf({ keys, store }: ApprovalSources, keyId?: string): Promise<number> {
  if (keyId === undefined) return Math.max(0, ...(await store.list()).map(({ epoch }) => epoch));
  await keys.operations.find(keyId);
  const [record] = await store.findByIds([keyId]);
  return record?.epoch ?? 0;
}
