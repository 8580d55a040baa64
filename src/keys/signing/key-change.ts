import { verifyEd25519 } from '../../crypto/ed25519';
import { LABELS } from '../../crypto/labels';
import { lengthPrefixed } from '../../encoding/length-prefixed';

/** A version of a signing key as others know it. */
export interface PublicKeyVersion {
  /** 16 hexadecimal digits. */
  readonly id: string;
  readonly version: number;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}

/** One version that follows another. */
export interface KeyChangeStatement {
  readonly application: string;
  readonly name: string;
  readonly previous: PublicKeyVersion;
  readonly next: PublicKeyVersion;
}

/** Returns what both versions sign: the older one vouches for the newer one, and the newer one for the older. */
export function statementOf({ application, name, previous, next }: KeyChangeStatement): Uint8Array {
  const parts = [previous, next].flatMap(({ id, version, publicKey }) => [
    ...[id, String(version)],
    publicKey,
  ]);
  return lengthPrefixed([LABELS.signingKeyChange, application, name, ...parts]);
}

/** Whether the previous version vouches for the next one. */
export function vouchesForNext(change: KeyChangeStatement, signature: Uint8Array): boolean {
  return verifyEd25519(change.previous.publicKey, statementOf(change), signature);
}

/** Whether the next version vouches for the previous one. */
export function vouchesForPrevious(change: KeyChangeStatement, signature: Uint8Array): boolean {
  return verifyEd25519(change.next.publicKey, statementOf(change), signature);
}
