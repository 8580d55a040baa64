import { ConfigurationError, KeyUnwrapError, KmsUnavailableError } from '../../errors';
import { retryAfterMs, TransientFailure } from '../remote/failures';
import { withEvidence } from '../remote/health';

/** An error response of Vault. Stays within the provider. */
export class VaultRefusal extends Error {
  readonly status: number;
  /** To compare with, never to show: a server may write anything there, even what it was sent. */
  readonly #errors: readonly string[];

  constructor(status: number, errors: readonly string[]) {
    super(`status ${String(status)}`);
    this.name = new.target.name;
    this.status = status;
    this.#errors = errors;
  }

  /** Whether this is the server's only error. */
  saysOnly(text: string): boolean {
    return this.#errors.length === 1 && this.#errors[0] === text;
  }

  /** Whether one of the server's errors contains the phrase. */
  says(phrase: string): boolean {
    return this.#errors.some((error) => error.includes(phrase));
  }
}

/** Reads `errors` from the body of a response; empty for a body of another shape. */
export function errorsOf(body: Buffer): readonly string[] {
  try {
    const parsed: unknown = JSON.parse(body.toString('utf8'));
    const errors: unknown =
      typeof parsed === 'object' && parsed !== null && 'errors' in parsed ? parsed.errors : [];
    return Array.isArray(errors) ? errors.filter((error) => typeof error === 'string') : [];
  } catch {
    return [];
  }
}

/** Returns a {@link TransientFailure} for a temporary state, and mostly a {@link VaultRefusal} for others. */
export function refusalOf(
  status: number,
  errors: readonly string[],
  retryAfter: string | undefined,
): Error {
  const refusal = new VaultRefusal(status, errors);
  const temporary = temporaryState(refusal);
  if (temporary !== undefined) {
    const failure = new TransientFailure(temporary, retryAfterMs(retryAfter));
    return withEvidence(failure, { reachable: true });
  }
  if (status < 300 || status >= 400) return refusal;
  return new KmsUnavailableError(
    'vaultKms: the server redirects to another one, where the token is not sent. ' +
      'Set address to the active server or to a load balancer in front of all.',
  );
}

function temporaryState(refusal: VaultRefusal): string | undefined {
  const { status } = refusal;
  if (status === 503 && refusal.says('sealed')) return 'the server is sealed. Unseal it';
  if (status === 429) return 'the server asks to slow down (status 429)';
  if (status === 412) return 'the server has not caught up with its cluster yet (status 412)';
  if (status === 472)
    return 'the server is a disaster recovery standby (status 472). Promote it, or set address to the active cluster';
  if (status === 473) return 'the server is a performance standby that serves nothing (status 473)';
  return status >= 500 ? `the server failed (status ${String(status)})` : undefined;
}

/** The place of the key in Vault. */
export interface KeyPlace {
  readonly namespace: string | undefined;
  readonly mount: string;
  readonly key: string;
}

/** Returns the path of the key, as the `vault` command takes it. */
export function keyPath({ mount, key }: KeyPlace): string {
  return `${mount}/keys/${key}`;
}

/** An operation on the key; each needs a right of its own. */
export type KeyOperation = 'keys' | 'encrypt' | 'decrypt';

const CAPABILITIES: Readonly<Record<KeyOperation, string>> = {
  keys: 'read',
  encrypt: 'update',
  decrypt: 'update',
};

/** Explains the refusal of an operation. */
export function explain(
  refusal: VaultRefusal,
  place: KeyPlace,
  operation: KeyOperation,
): ConfigurationError {
  const { status } = refusal;
  if (status === 403 || status === 401) {
    const denial = new ConfigurationError(
      `vaultKms: permission denied${inNamespace(place)}. Check that the token is valid, and that its ` +
        `policy allows ${rightTo(operation, place)}.`,
    );
    return withEvidence(
      denial,
      isOfToken(refusal) ? UNKNOWN_TOKEN : { reachable: true, denied: true },
    );
  }
  if (status === 404 || refusal.says('encryption key not found')) {
    const missing = new ConfigurationError(
      `vaultKms: there is no ${keyPath(place)}${inNamespace(place)}. Check mount, key and namespace, ` +
        `or make the key: vault write -f ${keyPath(place)}`,
    );
    return withEvidence(missing, { reachable: true, authenticated: true });
  }
  if (refusal.says(SOFT_DELETED)) return softDeleted(place);
  return new ConfigurationError(
    `vaultKms: the server refused a request for ${keyPath(place)}${inNamespace(place)} (status ${String(status)}).`,
  );
}

/** OpenBao's words. */
const SOFT_DELETED = 'soft-deleted key';

/** The error for a key that neither encrypts nor decrypts until it is restored. */
export function softDeleted(place: KeyPlace): ConfigurationError {
  const path = keyPath(place);
  const error = new ConfigurationError(
    `vaultKms: ${path}${inNamespace(place)} is soft-deleted. Run: bao write -f ${path}/soft-delete-restore`,
  );
  return withEvidence(error, { reachable: true, authenticated: true });
}

/** Returns the capability that an operation needs, as a policy states it. */
export function rightTo(operation: KeyOperation, { mount, key }: KeyPlace): string {
  return `"${CAPABILITIES[operation]}" on ${mount}/${operation}/${key}`;
}

const UNKNOWN_TOKEN = { reachable: true, authenticated: false } as const;

/** Whether the token itself was denied, and not something that its policy leaves out. */
function isOfToken(refusal: VaultRefusal): boolean {
  return (
    refusal.status === 401 || refusal.says('invalid token') || refusal.saysOnly('permission denied')
  );
}

/** Explains a refusal to decrypt. */
export function explainDecrypt(
  refusal: VaultRefusal,
  place: KeyPlace,
  version: number,
): ConfigurationError | KeyUnwrapError {
  const path = keyPath(place);
  if (refusal.says('disallowed by policy (too old)')) {
    return new KeyUnwrapError(
      `vaultKms: version ${String(version)} of ${path} is below its min_decryption_version, or trimmed. ` +
        `Run: vault write ${path}/config min_decryption_version=${String(version)} ` +
        'then rewrap the data keys, and raise it again.',
    );
  }
  const isOfKey = refusal.says('encryption key not found') || refusal.says(SOFT_DELETED);
  if (refusal.status !== 400 || isOfKey) {
    return explain(refusal, place, 'decrypt');
  }
  if (refusal.says('version is too new')) {
    return new KeyUnwrapError(
      `vaultKms: ${path} has no version ${String(version)}. Was it made anew, or restored from an older backup?`,
    );
  }
  return new KeyUnwrapError(
    `vaultKms: ${path} does not decrypt the data key: wrapped under another key, ` +
      'or the key row was edited, swapped or damaged.',
  );
}

function inNamespace({ namespace }: KeyPlace): string {
  return namespace === undefined ? '' : ` in namespace ${namespace}`;
}
