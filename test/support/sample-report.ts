import type { ColumnEvidence } from '../../src/evidence/column-evidence';
import type { EvidenceReport, KeyEvidence } from '../../src/evidence/report';

/** A name as an attacker would choose it. */
export const HOSTILE_NAME = `<script>alert("x")</script><img src='https://evil.example/a.png'>`;

/** A report on two columns and three keys, with a little of everything. */
export function sampleReport(overrides: Partial<EvidenceReport> = {}): EvidenceReport {
  return {
    version: 1,
    application: 'clinic',
    time: '2026-11-30T12:00:00.000Z',
    database: {
      name: 'PostgreSQL',
      serverVersion: '18.4',
      sql: 'SHOW server_version',
      snapshot: ['BEGIN', 'SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY'],
    },
    versions: {
      library: '0.1.0',
      typeorm: '1.1.1',
      node: 'v20.20.2',
      openssl: '3.0.17',
      backend: 'native',
      fips: false,
    },
    suites: [
      {
        suite: 'xaes-256-gcm',
        algorithm: 'AES-256-GCM with derived keys (XAES-256-GCM)',
        ...{ keyBits: 256, nonceBits: 192, tagBits: 128, current: true },
        keyIds: ['00112233445566aa', '00112233445566bb'],
      },
      {
        suite: 'hmac-sha-256',
        algorithm: 'HMAC-SHA-256',
        ...{ keyBits: 256, nonceBits: null, tagBits: 256, current: true },
        keyIds: ['00112233445566cc'],
      },
    ],
    columns: [
      columnEvidence('phone', { '00112233445566aa': 300, '00112233445566bb': 900 }, 25),
      columnEvidence('email', { '00112233445566bb': 1_200 }, 0),
    ],
    unencrypted: [
      { entity: 'Patient', property: 'city', table: 'patient', column: 'city', type: 'varchar' },
    ],
    unmapped: { searched: 4, found: [] },
    keys: [
      keyEvidence({
        ...{ id: '00112233445566aa', version: 1, state: 'deactivated' },
        ...{ createdAt: '2026-01-05T09:00:00.000Z', activatedAt: '2026-01-05T09:00:00.000Z' },
        ...{ deactivatedAt: '2026-06-01T09:00:00.000Z', expiresAt: '2026-04-12T09:00:00.000Z' },
      }),
      keyEvidence({ id: '00112233445566bb', version: 2 }),
      keyEvidence({
        ...{ id: '00112233445566cc', purpose: 'index', suite: 'hmac-sha-256', version: 1 },
        ...{ expiresAt: null, owner: null },
      }),
    ],
    scopes: { sql: null, counts: [] },
    keks: [{ kms: 'vault', kek: 'transit/keys/clinic:3', keys: 3, sql: 'SELECT …' }],
    providers: [
      {
        ...{ kms: 'vault', ok: true, detail: null, kekVersion: '3' },
        ...{ kekCreatedAt: '2026-03-01T00:00:00.000Z', kekAgeDays: 274 },
      },
    ],
    policies: [
      {
        ...{ keyName: 'default', owner: 'privacy team', securityLevel: 'moderate' },
        ...{ cryptoperiodDays: 97, configured: true, retention: { kind: 'forever' } },
        rotation: { kind: 'periodic', everyDays: 90 },
      },
    ],
    due: [{ command: 'data encrypt', reason: '25 rows of Patient.phone hold cleartext' }],
    approvals: {} as EvidenceReport['approvals'],
    audit: {
      ...{ ok: true, entries: 12, head: `12:${'A'.repeat(43)}`, broken: null, keys: [] },
      ...{ tree: { size: 12, root: 'B'.repeat(43) + '=' }, consistency: null },
      ...{ unproven: [], undecided: [], anchor: null, kept: true, sql: 'SELECT …' },
      operations: [
        {
          ...{ actor: 'ann', operation: 'rotate', outcome: 'done', count: 2 },
          last: '2026-06-01T09:00:00.000Z',
        },
      ],
    },
    access: {
      kept: 'table',
      missing: false,
      sql: 'SELECT …',
      uses: [
        {
          ...{ actor: 'billing', operation: 'decrypt', entity: 'Patient', property: 'phone' },
          ...{ values: 5_210, first: '2026-11-29T08:00:00.000Z', last: '2026-11-30T11:59:00.000Z' },
        },
        {
          ...{ actor: null, operation: 'lookup', entity: 'Patient', property: 'email' },
          ...{ values: 310, first: '2026-11-29T08:00:00.000Z', last: '2026-11-30T11:59:00.000Z' },
        },
      ],
    },
    backups: [{ seq: 5, time: '2026-06-01T09:05:00.000Z', actor: 'ann', backupId: 'b1', keys: 3 }],
    drills: [
      {
        ...{ seq: 7, time: '2026-06-02T09:05:00.000Z', actor: 'ann', backupId: 'b1', keys: 3 },
        ...{ ok: true, rpoMs: 86_400_000, rtoMs: 4_200 },
      },
    ],
    notChecked: [{ subject: 'Backups of the database', reason: 'They are out of reach.' }],
    rules: [
      {
        ...{ id: 'cleartext', title: 'No cleartext', severity: 'high', findings: 1 },
        ...{ controls: ['PCI DSS 4.0.1 3.5.1.1'], shows: 'Rows in clear.', doesNotShow: 'Logs.' },
      },
    ],
    violations: [
      {
        ...{ rule: 'cleartext', severity: 'high', controls: ['PCI DSS 4.0.1 3.5.1.1'] },
        ...{ subject: 'Patient.phone', message: '25 rows hold cleartext.' },
        remedy: 'field-encryption data encrypt',
      },
    ],
    ...overrides,
  };
}

/** A column with rows under some keys and some in clear. */
function columnEvidence(
  property: string,
  rowsByKey: Readonly<Record<string, number>>,
  cleartextRows: number,
): ColumnEvidence {
  const keys = Object.entries(rowsByKey).map(([keyId, rows]) => {
    const isOlder = keyId.endsWith('aa');
    const [version, state] = isOlder ? [1, 'deactivated' as const] : [2, 'active' as const];
    return { keyId, name: 'default', version, state, rows };
  });
  const underKeys = keys.reduce((sum, { rows }) => sum + rows, 0);
  return {
    ...{ entity: 'Patient', property, table: 'patient', column: property },
    ...{ rows: underKeys + cleartextRows + 100, nullRows: 100, cleartextRows, unboundRows: 0 },
    ...{ keys, scopes: null, sql: `SELECT substr(${property}, 1, 12), count(*) FROM patient` },
    ...{ keyName: 'default', type: 'string', storage: 'text', boundTo: [], sealed: false },
    ...{ inTransition: cleartextRows > 0, indexes: [] },
    check: { name: `patient_${property}_encrypted`, present: cleartextRows === 0, outdated: null },
    sample: { sql: [], values: 20, verified: 20, failures: {}, sought: 18, readableIn: {} },
  };
}

/** An active data key. */
function keyEvidence(fields: Partial<KeyEvidence>): KeyEvidence {
  return {
    ...{ id: '00112233445566bb', name: 'default', purpose: 'data', version: 2, state: 'active' },
    ...{ suite: 'xaes-256-gcm', kms: 'vault', kek: 'transit/keys/clinic:3' },
    ...{ createdAt: '2026-06-01T09:00:00.000Z', activatedAt: '2026-06-01T09:00:00.000Z' },
    ...{ deactivatedAt: null, compromisedAt: null, destroyedAt: null },
    ...{ expiresAt: '2026-12-24T09:00:00.000Z', nextRotationAt: null },
    ...{ owner: 'privacy team', securityLevel: 'moderate', useCount: 1_200, history: [] },
    ...fields,
  };
}
