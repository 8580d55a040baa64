import { FOR_SIGNATURES, requireFips } from './crypto/fips';
import { ConfigurationError } from './errors';
import { verifierKeyText } from './evidence/signed-note';
import { signerName } from './evidence/evidence-note';
import { keyInfo } from './keys/policy/key-policy';
import type { KeyInfo } from './keys/record/key-info';
import type { KeyState } from './keys/record/key-state';
import { SIGNING_KEY_NAMES } from './keys/signing/signing-keys';
import type { SigningKeyName } from './keys/signing/signing-keys';
import { ScopeKeys } from './scope-keys';

/** A version of a signing key, for those who verify. */
export interface PublicSigningKey {
  /** `null` for the option `signer`. */
  readonly id: string | null;
  readonly version: number | null;
  /** Nothing that a `compromised` one signed proves anything. */
  readonly state: KeyState;
  /** Whether somebody else may have had it, also if it is destroyed since. */
  readonly isCompromised: boolean;
  /** `<name>+<hash>+<base64>`, as signed notes name it. */
  readonly verifierKey: string;
}

/** The keys that sign: `reports` signs reports alone, `documents` what `sign()` is given. */
export class SigningKeyOperations extends ScopeKeys {
  /**
   * Replaces the active version of a signing key. The old version vouches for the new one, unless it was revoked: then
   * hand the new public key to those who verify.
   *
   * @throws {@link ConfigurationError} for an unknown name, or without the table of signing keys;
   * {@link KmsUnavailableError}
   */
  rotateSigning(name: SigningKeyName): Promise<KeyInfo> {
    requireName(name);
    requireFips(this.installation.options.profile, FOR_SIGNATURES);
    return this.run('rotate', { parameters: { signing: name } }, async () =>
      keyInfo(await this.installation.keys.signing.rotate(name)),
    );
  }

  /**
   * Lists the public halves of a signing key, the newest last; empty before it first signed. Asks the KMS for each
   * version: nothing else proves them. Leaves out destroyed ones that no newer version vouches for.
   *
   * @throws {@link ConfigurationError} for an unknown name, {@link KmsUnavailableError}, {@link KeyUnwrapError}
   */
  async publicKeys(name: SigningKeyName): Promise<PublicSigningKey[]> {
    requireName(name);
    const { keys, options } = this.installation;
    const verifierKey = (publicKey: Uint8Array): string =>
      verifierKeyText({ name: signerName(options.application, name), type: 'signer', publicKey });
    const own = (await keys.signing.proven(name)).map(({ publicKey, ...key }) => ({
      ...key,
      verifierKey: verifierKey(publicKey),
    }));
    if (name !== 'reports' || options.signer === undefined) return own;
    const external = { id: null, version: null, state: 'active', isCompromised: false } as const;
    return [...own, { ...external, verifierKey: verifierKey(options.signer.publicKey) }];
  }
}

function requireName(name: SigningKeyName): void {
  if (SIGNING_KEY_NAMES.includes(name)) return;
  throw new ConfigurationError(`A signing key is one of: ${SIGNING_KEY_NAMES.join(', ')}.`);
}
