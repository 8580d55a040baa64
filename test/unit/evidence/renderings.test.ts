import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Ajv from 'ajv';
import Ajv2020 from 'ajv/dist/2020';
import addFormats from 'ajv-formats';

import type { AuditEntry } from '../../../src/audit/audit-entry';
import { cbom } from '../../../src/evidence/renderings/cbom';
import { html } from '../../../src/evidence/renderings/html';
import { ocsfEvent } from '../../../src/evidence/renderings/ocsf';
import { HOSTILE_NAME, sampleReport } from '../../support/sample-report';

function schema(name: string): object {
  return JSON.parse(readFileSync(join(__dirname, '../../support/schemas', name), 'utf8')) as object;
}

function validated(ajv: Ajv, name: string, value: unknown): string[] {
  addFormats(ajv);
  const validate = ajv.compile(schema(name));
  validate(JSON.parse(JSON.stringify(value)));
  return (validate.errors ?? []).map(
    ({ instancePath, message }) => `${instancePath} ${String(message)}`,
  );
}

const ENTRY: AuditEntry = {
  ...{ seq: 3, time: '2026-11-30T12:00:00.000Z', actor: 'ann@host:1', operation: 'rotate' },
  ...{ outcome: 'done', keyId: '00112233445566aa', keyName: 'default', keyPurpose: 'data' },
  ...{ keyVersion: 2, keyState: 'active', kms: 'local', kek: 'scrypt', reference: null },
  ...{ counts: { epoch: 4 }, sealedBy: '00112233445566ff', previousHash: 'a', hash: 'b' },
};
const PRODUCT = { application: 'clinic', version: '0.1.0' };

describe('the document', () => {
  it('has neither scripts nor anything to fetch, whatever things are called', () => {
    const document = html(sampleReport({ application: HOSTILE_NAME }));
    expect(document).not.toMatch(/<script|<img|<link|<iframe|<object|\son\w+=|javascript:/i);
    expect(document).not.toMatch(/(?:src|href|url\()\s*=?\s*['"(]?\s*https?:/i);
    expect(document).toContain('&lt;script&gt;');
    expect(document).toContain(`default-src 'none'`);
  });

  it('draws coverage, time lines, cryptoperiods, access and violations', () => {
    const document = html(sampleReport());
    expect(document.match(/<svg /g)).toHaveLength(5);
    for (const words of ['default v1: 300', 'cleartext: 25', 'past its cryptoperiod', '5,210']) {
      expect(document).toContain(words);
    }
  });

  it('tells each violation with its remedy, and the statement of each count', () => {
    const report = sampleReport();
    const document = html(report);
    for (const { message, remedy } of report.violations) {
      expect(document).toContain(message);
      expect(document).toContain(remedy);
    }
    for (const { sql } of report.columns) expect(document).toContain(sql);
  });
});

describe('the bill of materials', () => {
  it('is one of CycloneDX 1.6', () => {
    const ajv = new Ajv({ strict: false, formats: { 'iri-reference': true, 'idn-email': true } });
    expect(validated(ajv, 'cyclonedx-1.6.schema.json', cbom(sampleReport()))).toEqual([]);
  });

  it('has each key with its state, algorithm and key-encryption key', () => {
    const { components } = cbom(sampleReport()) as {
      components: { 'bom-ref': string; cryptoProperties: object }[];
    };
    const key = components.find((component) => component['bom-ref'] === 'key/00112233445566aa');
    expect(key?.cryptoProperties).toMatchObject({
      relatedCryptoMaterialProperties: {
        state: 'deactivated',
        algorithmRef: 'algorithm/xaes-256-gcm',
        securedBy: { mechanism: 'wrapped by transit/keys/clinic:3 of kms "vault"' },
      },
    });
  });

  it('refers to nothing that it does not have', () => {
    const { components, dependencies } = cbom(sampleReport()) as {
      components: { 'bom-ref': string }[];
      dependencies: { dependsOn: string[] }[];
    };
    const known = components.map((component) => component['bom-ref']);
    expect(known).toEqual(
      expect.arrayContaining(dependencies.flatMap(({ dependsOn }) => dependsOn)),
    );
  });
});

describe('the events', () => {
  const OPERATIONS = ['create', 'destroy', 'revoke', 'suspend', 'data reencrypt', 'drill'];
  const OUTCOMES = ['done', 'failed', 'denied', 'started', 'interrupted', 'approved'];

  it.each(OPERATIONS.flatMap((operation) => OUTCOMES.map((outcome) => [operation, outcome])))(
    'are of OCSF 1.8.0: %s, %s',
    (operation, outcome) => {
      const event = ocsfEvent({ ...ENTRY, operation, outcome }, PRODUCT);
      const name = 'ocsf-1.8.0-entity-management.schema.json';
      expect(validated(new Ajv2020(), name, event)).toEqual([]);
    },
  );

  it('are of OCSF 1.8.0 without a key, and keep the entry as it was sealed', () => {
    const entry = {
      ...{ ...ENTRY, keyId: null, keyName: null, keyPurpose: null, keyVersion: null },
      reference: 'run-1',
    };
    const event = ocsfEvent(entry, PRODUCT);
    const name = 'ocsf-1.8.0-entity-management.schema.json';
    expect(validated(new Ajv2020(), name, event)).toEqual([]);
    expect(event).toMatchObject({ unmapped: { entry }, metadata: { correlation_uid: 'run-1' } });
  });
});
