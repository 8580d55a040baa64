import { keysTable } from '../../../src/cli/commands/keys-list';
import type { KeyInfo } from '../../../src/keys/record/key-info';

const KEY: KeyInfo = {
  ...{ id: '3f0c8a52d417be90', name: 'default', purpose: 'data', version: 1, state: 'active' },
  ...{ suite: 'xaes-256-gcm', kms: 'local', kek: 'k', useCount: 1200, owner: null },
  ...{ createdAt: new Date(0), activatedAt: null, deactivatedAt: null, compromisedAt: null },
  ...{ destroyedAt: null, expiresAt: null, nextRotationAt: null, securityLevel: null },
};

describe('The table of keys', () => {
  it('has columns of the policy only where a key has one', () => {
    expect(keysTable([KEY], { withPolicy: true })).toBe(keysTable([KEY]));
    const owned = { ...KEY, securityLevel: 'high', expiresAt: new Date(86_400_000) };
    const [head, first, second] = keysTable([KEY, owned], { withPolicy: true }).split('\n');
    expect(head).toMatch(/USES +CREATED +EXPIRES +LEVEL$/);
    expect(first).toMatch(/1,200 +1970-01-01T00:00Z$/);
    expect(second).toMatch(/1970-01-02T00:00Z +high$/);
    expect(keysTable([owned])).not.toContain('high');
  });

  it('calls a root of the blind indexes what the audit log calls it', () => {
    const [, row] = keysTable([{ ...KEY, purpose: 'index', version: 2 }]).split('\n');
    expect(row).toMatch(/^index v2 /);
  });
});
