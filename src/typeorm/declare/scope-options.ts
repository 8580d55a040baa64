import type { ScopeIds } from '../../keys/scopes/scope-context';

/** The options of columns with keys of scopes. */
export interface ScopeOptions {
  /**
   * Returns the scope of the work at hand by the application's own context: an id, or ids by kind. All encrypted
   * properties then have keys of their scope, but those with `scope: false`, and nothing is read or written
   * without one. Defaults to none: scopes come from `@KeyScope` columns and {@link withKeyScope}.
   */
  keyScope?: () => ScopeIds | undefined;
  /** How values of erased scopes are read: as an {@link ErasedError}, or as NULL. Defaults to `'error'`. */
  onErased?: 'error' | 'null';
  /**
   * How values are read while the KMS of their scope cannot be reached or refuses its key: as the error of that
   * KMS, or left out of the entity, so that a later `save()` does not write them. Defaults to `'error'`.
   */
  onUnavailable?: 'error' | 'omit';
  /**
   * Properties (`'Entity.property'`) with keys of scopes whose rows may still hold values under the common key,
   * until `data reencrypt` has moved these. Defaults to none.
   */
  legacyScope?: string[];
}
