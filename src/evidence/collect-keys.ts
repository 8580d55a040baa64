import { getFips } from 'node:crypto';
import type { QueryRunner } from 'typeorm';

import { manifestOf, ownManifest } from '../doctor/checks/packages';
import { askKms } from '../health/ask-kms';
import { policyOf } from '../keys/policy/key-policy';
import type { KeyInfo } from '../keys/record/key-info';
import type { KeySuite } from '../keys/record/key-record';
import { isBranchName } from '../keys/record/scope';
import type { NamedKmsHealth } from '../kms/kms-provider';
import { escapedTable } from '../typeorm/dialect/escaped-table';
import type { Installation } from '../typeorm/installation/installation';
import { DataKeySchema } from '../typeorm/tables/data-key-table';

import type {
  KekEvidence,
  PolicyEvidence,
  ProviderEvidence,
  SuiteEvidence,
  VersionEvidence,
} from './report';

const DAY_MS = 86_400_000;

const PURPOSES: readonly KeyInfo['purpose'][] = ['data', 'index', 'audit', 'signing'];

/** Reads the keys of every purpose. */
export async function keysOfAll(
  { keys }: Installation,
  connection: QueryRunner,
): Promise<KeyInfo[]> {
  const all: KeyInfo[] = [];
  for (const purpose of PURPOSES) all.push(...(await keys.list(purpose, connection)));
  return all;
}

/** Counts the keys that each key-encryption key wraps. */
export async function kekEvidence(
  { dataSource }: Installation,
  connection: QueryRunner,
): Promise<KekEvidence[]> {
  const table = escapedTable(dataSource, dataSource.getMetadata(DataKeySchema));
  const sql = `SELECT kms, kek, COUNT(*) AS total FROM ${table} WHERE state <> 'destroyed' GROUP BY kms, kek ORDER BY kms, kek`;
  const rows = (await connection.query(sql)) as {
    readonly kms: string;
    readonly kek: string;
    readonly total: number | string;
  }[];
  return rows.map(({ kms, kek, total }) => ({ kms, kek, keys: Number(total), sql }));
}

/** Asks the providers of the configuration. */
export async function providerEvidence(
  { options: { kms, otherKms = [] } }: Installation,
  now: Date,
): Promise<ProviderEvidence[]> {
  const asked = await Promise.all([kms, ...otherKms].map(askKms));
  const withMembers = asked.flatMap((health) => [health, ...(health.members ?? [])]);
  return withMembers.map((health) => provider(health, now));
}

function provider(health: NamedKmsHealth, now: Date): ProviderEvidence {
  const { name, ok, detail = null, kekVersion = null, kekCreatedAt } = health;
  const age = kekCreatedAt && Math.floor((now.getTime() - kekCreatedAt.getTime()) / DAY_MS);
  return {
    ...{ kms: name, ok, detail, kekVersion },
    kekCreatedAt: kekCreatedAt?.toISOString() ?? null,
    kekAgeDays: age ?? null,
  };
}

/** Describes the policy of each data key that entities name, or that is in the key table. */
export function policyEvidence(
  { columns, options: { keyPolicies = {} } }: Installation,
  keys: readonly KeyInfo[],
): PolicyEvidence[] {
  const stored = keys.filter(({ purpose, name }) => purpose === 'data' && !isBranchName(name));
  const names = new Set([...columns.keyNames, ...stored.map(({ name }) => name)]);
  return [...names].sort().map((keyName) => {
    const { owner, securityLevel, cryptoperiodDays, ...schedule } = policyOf(keyPolicies, keyName);
    const { rotation = { kind: 'manual' }, retention = { kind: 'forever' } } = schedule;
    return {
      keyName,
      owner: owner ?? null,
      securityLevel: securityLevel ?? null,
      cryptoperiodDays: cryptoperiodDays ?? null,
      rotation: { ...rotation },
      retention: retention.kind === 'custom' ? { kind: 'custom' } : { ...retention },
      configured: Object.hasOwn(keyPolicies, keyName) || Object.hasOwn(keyPolicies, '*'),
    };
  });
}

type Parameters = Omit<SuiteEvidence, 'suite' | 'current' | 'keyIds'>;

const SUITES: Readonly<Record<KeySuite, Parameters>> = {
  'xaes-256-gcm': {
    algorithm: 'XAES-256-GCM: AES-256-GCM under keys that AES-256-CMAC derives',
    ...{ keyBits: 256, nonceBits: 192, tagBits: 128 },
  },
  'xchacha20-poly1305': {
    algorithm: 'XChaCha20-Poly1305',
    ...{ keyBits: 256, nonceBits: 192, tagBits: 128 },
  },
  'aes-256-gcm-siv': {
    algorithm: 'AES-256-GCM-SIV',
    ...{ keyBits: 256, nonceBits: 96, tagBits: 128 },
  },
  'hmac-sha-256': {
    algorithm: 'HMAC-SHA-256',
    ...{ keyBits: 256, nonceBits: null, tagBits: 256 },
  },
  ed25519: {
    algorithm: 'Ed25519',
    ...{ keyBits: 256, nonceBits: null, tagBits: 512 },
  },
};

const UNKNOWN: Parameters = { algorithm: 'unknown', keyBits: 0, nonceBits: null, tagBits: 0 };

/** Lists the suites of the keys that are not destroyed, and the one of new data keys. */
export function suiteEvidence(
  { options }: Installation,
  keys: readonly KeyInfo[],
): SuiteEvidence[] {
  const kept = keys.filter(({ state }) => state !== 'destroyed');
  const suites = new Set<KeySuite>([options.suite, ...kept.map(({ suite }) => suite)]);
  return [...suites].sort().map((suite) => ({
    suite,
    ...(Object.hasOwn(SUITES, suite) ? SUITES[suite] : UNKNOWN),
    current: suite === options.suite,
    keyIds: kept.filter((key) => key.suite === suite).map(({ id }) => id),
  }));
}

export function versionEvidence({ backend }: Installation): VersionEvidence {
  return {
    library: ownManifest().version,
    typeorm: manifestOf('typeorm')?.version ?? 'unknown',
    node: process.versions.node,
    openssl: process.versions.openssl,
    backend: backend.backend,
    fips: getFips() === 1,
  };
}
