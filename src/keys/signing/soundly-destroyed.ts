import type { KeyAudit } from '../audit/key-audit';

/**
 * Returns the ids of keys that were destroyed and had never been compromised, by an audit log without a break. The row of
 * a destroyed key proves nothing: who writes to the table can turn a compromised key into one.
 */
export async function soundlyDestroyed<C>(
  audit: KeyAudit<C> | undefined,
): Promise<ReadonlySet<string>> {
  if (audit === undefined) return new Set();
  const compromised = new Set<string | null>();
  const { verification } = await audit.follow(await audit.expectation(), {
    note: ({ keyId, keyState }) => {
      if (keyState === 'compromised') compromised.add(keyId);
    },
  });
  if (verification.broken !== undefined) return new Set();
  const sound = [...verification.keys.values()].filter(
    ({ id, state }) => state === 'destroyed' && !compromised.has(id),
  );
  return new Set(sound.map(({ id }) => id));
}
