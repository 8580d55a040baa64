import type { EvidenceReport, KeyEvidence, SuiteEvidence } from '../report';

const SPEC_VERSION = '1.6';
const APPLICATION_REF = 'application';
const LIBRARY = 'typeorm-field-encryption';

/** Categories of NIST: AES-256 defines category 5, and Ed25519 meets none. None is defined for a MAC. */
const QUANTUM_LEVELS: Readonly<Partial<Record<Primitive, number>>> = { ae: 5, signature: 0 };

type Primitive = 'ae' | 'mac' | 'signature';

/**
 * Returns the inventory of algorithms and keys as a CycloneDX BOM with cryptographic assets
 * (https://cyclonedx.org/docs/1.6/json/).
 */
export function cbom(report: EvidenceReport): object {
  const { application, keks, keys, suites, time, versions } = report;
  return {
    $schema: `http://cyclonedx.org/schema/bom-${SPEC_VERSION}.schema.json`,
    bomFormat: 'CycloneDX',
    specVersion: SPEC_VERSION,
    version: 1,
    metadata: {
      timestamp: time,
      tools: {
        components: [{ type: 'library', name: LIBRARY, version: versions.library }],
      },
      component: { type: 'application', 'bom-ref': APPLICATION_REF, name: application },
    },
    components: [
      ...suites.map(algorithm),
      ...keks.map(({ kms, kek }) => keyEncryptionKey(kms, kek)),
      ...keys.map((key) => keyOf(key, report)),
    ],
    dependencies: [
      {
        ref: APPLICATION_REF,
        dependsOn: [...suites.map(({ suite }) => algorithmRef(suite)), ...keys.map(keyRef)],
      },
      ...keys.map((key) => ({
        ref: keyRef(key),
        dependsOn: [
          algorithmRef(key.suite),
          ...(isWrapped(key, report) ? [kekRef(key.kms, key.kek)] : []),
        ],
      })),
    ],
  };
}

function algorithm(evidence: SuiteEvidence): object {
  const { algorithm: name, current, keyBits, suite } = evidence;
  const primitive = primitiveOf(evidence);
  const quantum = QUANTUM_LEVELS[primitive];
  return {
    type: 'cryptographic-asset',
    'bom-ref': algorithmRef(suite),
    name,
    cryptoProperties: {
      assetType: 'algorithm',
      algorithmProperties: {
        primitive,
        parameterSetIdentifier: String(keyBits),
        ...(suite.includes('gcm') ? { mode: 'gcm' } : {}),
        executionEnvironment: 'software-plain-ram',
        implementationPlatform: 'generic',
        certificationLevel: ['unknown'],
        cryptoFunctions: FUNCTIONS[primitive],
        classicalSecurityLevel: primitive === 'signature' ? 128 : keyBits,
        ...(quantum === undefined ? {} : { nistQuantumSecurityLevel: quantum }),
      },
    },
    properties: properties({ suite, usedForNewKeys: String(current) }),
  };
}

const FUNCTIONS: Readonly<Record<Primitive, readonly string[]>> = {
  ae: ['encrypt', 'decrypt'],
  mac: ['tag'],
  signature: ['sign', 'verify'],
};

function primitiveOf({ suite, nonceBits }: SuiteEvidence): Primitive {
  if (suite === 'ed25519') return 'signature';
  return nonceBits === null ? 'mac' : 'ae';
}

function keyEncryptionKey(kms: string, kek: string): object {
  return {
    type: 'cryptographic-asset',
    'bom-ref': kekRef(kms, kek),
    name: `key-encryption key of kms "${kms}"`,
    cryptoProperties: {
      assetType: 'related-crypto-material',
      relatedCryptoMaterialProperties: { type: 'key', id: kek },
    },
    properties: properties({ kms }),
  };
}

function keyOf(key: KeyEvidence, report: EvidenceReport): object {
  return {
    type: 'cryptographic-asset',
    'bom-ref': keyRef(key),
    name: `${key.name} (${key.purpose}), version ${String(key.version)}`,
    cryptoProperties: {
      assetType: 'related-crypto-material',
      relatedCryptoMaterialProperties: {
        type: key.purpose === 'signing' ? 'private-key' : 'secret-key',
        id: key.id,
        state: key.state === 'preActive' ? 'pre-activation' : key.state,
        algorithmRef: algorithmRef(key.suite),
        ...(key.createdAt === null ? {} : { creationDate: key.createdAt }),
        ...(key.activatedAt === null ? {} : { activationDate: key.activatedAt }),
        ...(key.expiresAt === null ? {} : { expirationDate: key.expiresAt }),
        size: 256,
        securedBy: { mechanism: `wrapped by ${key.kek} of kms "${key.kms}"` },
      },
    },
    properties: properties({
      purpose: key.purpose,
      owner: key.owner,
      securityLevel: key.securityLevel,
      columns: columnsOf(key, report),
    }),
  };
}

/** Names the columns that have values under a key. */
function columnsOf({ id }: KeyEvidence, { columns }: EvidenceReport): string | null {
  const used = columns.filter(({ keys }) =>
    keys.some(({ keyId, rows }) => keyId === id && rows > 0),
  );
  return used.map(({ entity, property }) => `${entity}.${property}`).join(', ') || null;
}

/** Whether the key-encryption key of a key is in the inventory: that of destroyed keys is not. */
function isWrapped({ kms, kek }: KeyEvidence, { keks }: EvidenceReport): boolean {
  return keks.some((known) => known.kms === kms && known.kek === kek);
}

function properties(values: Readonly<Record<string, string | null>>): object[] {
  return Object.entries(values).flatMap(([name, value]) =>
    value === null ? [] : [{ name: `${LIBRARY}:${name}`, value }],
  );
}

function algorithmRef(suite: string): string {
  return `algorithm/${suite}`;
}

function kekRef(kms: string, kek: string): string {
  return `kek/${kms}/${kek}`;
}

function keyRef({ id }: Pick<KeyEvidence, 'id'>): string {
  return `key/${id}`;
}
