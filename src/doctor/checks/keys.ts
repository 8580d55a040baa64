import type { QueryRunner } from 'typeorm';

import { NoAnswerError, within } from '../../async/time-limit';
import { isApproved } from '../../crypto/fips';
import { FieldEncryptionError } from '../../errors';
import { isDataKeyId, keyPrefix } from '../../format/data-key-id';
import { describeFailure } from '../../health/ask-kms';
import type { KeyRecord } from '../../keys/record/key-record';
import { isReadable } from '../../keys/record/key-state';
import { isOwnBranchName } from '../../keys/record/scope';
import { catalogOf } from '../../typeorm/dialect/dialect-of';
import type { Installation } from '../../typeorm/installation/installation';
import { ScopeKeySchema } from '../../typeorm/tables/scope-key-table';
import { absentKeys, RESTORE_KEYS } from '../absent-keys';
import type { AbsentKey } from '../absent-keys';
import { encryptionState } from '../encryption-state';
import { agreeing, counted, finding } from '../finding';
import type { Check, DatabaseCheck, Finding } from '../finding';
import { policyTasks } from '../operator-tasks';

import { neverMade } from './first-keys';

/** The time limit, so that a KMS that does not answer cannot hold up the doctor. */
const UNWRAP_MS = 30_000;

/** Checks that the keys which entities need exist, and that they open. */
export const keys: DatabaseCheck = async (installation, runner) => {
  if (!(await installation.store.exists(runner))) {
    return (await absentKeys(installation, undefined, runner)).flatMap(lost);
  }
  const records = await installation.store.list(runner);
  const absent = await absentKeys(installation, records, runner);
  return [
    ...absent.flatMap(lost),
    ...(await neverMade(installation, absent, runner)),
    ...inactive(installation, records),
    ...records.filter(({ state }) => state === 'suspended').map(suspended),
    ...(installation.options.profile === undefined ? [] : records.flatMap(notApproved)),
    ...records.filter(({ state }) => state !== 'destroyed').flatMap(orphaned(installation)),
    ...(await unusable(installation, records, runner)),
    ...(await lostBranches(installation, records, runner)),
    ...(await madeUpRoots(installation, records, runner)),
  ];
};

/** Lists what the key policies ask for and nobody has done. */
export const policies: Check = async (installation) => {
  if (!(await installation.store.exists())) return [];
  const state = await encryptionState(installation);
  return policyTasks(state).map(({ command, reason }) =>
    finding(
      'POLICY_OVERDUE',
      `${reason}.`,
      command === null
        ? 'Mend what the message says; until then the policy is not kept.'
        : `Run: field-encryption ${command}`,
    ),
  );
};

function inactive({ columns }: Installation, records: readonly KeyRecord[]): Finding[] {
  return columns.keyNames.flatMap((name) => {
    const versions = records.filter((key) => key.purpose === 'data' && key.name === name);
    const usable = versions.some(({ state }) => state === 'active' || state === 'suspended');
    return usable || versions.length === 0 ? [] : [notActive(name)];
  });
}

/** Opens the keys that values and tokens are made with now, without making any. */
async function unusable(
  installation: Installation,
  records: readonly KeyRecord[],
  runner: QueryRunner,
): Promise<Finding[]> {
  const active = records.filter(
    ({ purpose, state, name }) =>
      state === 'active' && purpose === 'data' && installation.columns.keyNames.includes(name),
  );
  const prefixes = active.filter(({ id }) => isDataKeyId(id)).map(({ id }) => keyPrefix(id));
  const found: Finding[] = [];
  if (prefixes.length > 0) {
    await opened(found, () => installation.keys.load(prefixes, runner));
    for (const prefix of found.length > 0 ? [] : prefixes) {
      await opened(found, () => installation.keys.keyByPrefix(prefix));
    }
  }
  if (records.some(({ purpose, state }) => purpose === 'index' && state === 'active')) {
    await opened(found, () => installation.keys.prepare([], { index: true }, runner));
  }
  return found;
}

/** Finds roots that the audit log does not know: they have no tokens, and lookups do without them. */
async function madeUpRoots(
  installation: Installation,
  records: readonly KeyRecord[],
  runner: QueryRunner,
): Promise<Finding[]> {
  const found: Finding[] = [];
  const roots = records.filter(({ purpose }) => purpose === 'index');
  for (const root of roots) {
    if (root.state === 'active' || !isReadable(root.state)) continue;
    await opened(found, async () => {
      const purposes = await installation.audit.purposesOf(root, runner);
      if (purposes !== undefined && !purposes.has('index')) found.push(unknownRoot(root.id));
    });
  }
  return found;
}

/** Finds keys of scopes that nothing opens, since the key table does not have their branch key. */
async function lostBranches(
  { dataSource, hasScopes }: Installation,
  records: readonly KeyRecord[],
  runner: QueryRunner,
): Promise<Finding[]> {
  const { tablePath } = dataSource.getMetadata(ScopeKeySchema);
  // A missing table is a finding of its own.
  if (!hasScopes || !(await catalogOf(runner).tableExists(runner, tablePath))) return [];
  const rows = await runner.manager
    .createQueryBuilder(ScopeKeySchema, 'k', runner)
    .select('k.branchId', 'id')
    .addSelect('COUNT(*)', 'total')
    .where(`k.sealed <> ''`)
    .groupBy('k.branchId')
    .cache(false)
    .getRawMany<{ id: string; total: number | string }>();
  return rows
    .filter(({ id }) => !records.some((record) => record.id === id))
    .map(({ id, total }) => lostBranch(id, Number(total)));
}

function lostBranch(id: string, sealed: number): Finding {
  return finding(
    'KEY_LOST',
    `${counted(sealed, 'key')} of scopes ${agreeing('need', sealed)} branch key ${id}, which the key table does not hold: what they have encrypted cannot be read.`,
    `${RESTORE_KEYS}. No backup of keys holds the branch of a scope with a KMS of its own.`,
  );
}

function unknownRoot(id: string): Finding {
  return finding(
    'INDEX_ROOT_UNKNOWN',
    `Key ${id} claims to be a root of the blind indexes, and the audit log has no such root. Unless it opens, lookups go on without it.`,
    `Run \`field-encryption audit verify\`. If it names the key, and nobody can say whose it is: field-encryption keys destroy ${id} --grace 0`,
  );
}

async function opened(found: Finding[], open: () => unknown): Promise<void> {
  try {
    await within(UNWRAP_MS, Promise.resolve(open()));
  } catch (error) {
    if (!(error instanceof FieldEncryptionError || error instanceof NoAnswerError)) throw error;
    found.push(
      finding(
        'KEY_UNUSABLE',
        `A key that is needed now does not open: ${describeFailure(error)}`,
        'Check the settings of the KMS, the passphrase or key file, and `application`. docs/troubleshooting.md has a section for each error.',
      ),
    );
  }
}

function orphaned({ options }: Installation): (key: KeyRecord) => Finding[] {
  const providers = [options.kms, ...(options.otherKms ?? [])].map(({ name }) => name);
  return ({ id, kms, name }) =>
    // The KMS of one scope is known to the application alone, by that scope.
    providers.includes(kms) || isOwnBranchName(name)
      ? []
      : [
          finding(
            'KEY_WITHOUT_PROVIDER',
            `Key ${id} was wrapped by kms "${kms}", and this process has only ${providers.join(', ')}.`,
            'Add the provider to otherKms, or run `field-encryption keys rewrap` where both are configured.',
          ),
        ];
}

function notApproved({ id, name, suite, state, version }: KeyRecord): Finding[] {
  if (state === 'destroyed' || isApproved(suite)) return [];
  return [
    finding(
      'FIPS_SUITE',
      `Key "${name}" version ${String(version)} (${id}) is for ${suite}, outside of the FIPS module: it is only read with.`,
      'Make a new version (`field-encryption keys rotate`), move the rows to it (`data reencrypt`), and destroy this one.',
    ),
  ];
}

function suspended({ id, name, version }: KeyRecord): Finding {
  return finding(
    'KEY_SUSPENDED',
    `Key "${name}" version ${String(version)} (${id}) is suspended.`,
    `Run: field-encryption keys resume ${id}, or keys rotate ${name}, when the incident is over.`,
  );
}

function lost({ title, lost: evidence }: AbsentKey): Finding[] {
  if (evidence === undefined) return [];
  return [
    finding(
      'KEY_LOST',
      `There is no ${title} any more: ${evidence}. No new one is made in its place.`,
      RESTORE_KEYS,
    ),
  ];
}

function notActive(name: string): Finding {
  return finding(
    'KEY_NOT_ACTIVE',
    `No version of key "${name}" is active: nothing can be written with it.`,
    `Run: field-encryption keys rotate ${name}`,
  );
}
