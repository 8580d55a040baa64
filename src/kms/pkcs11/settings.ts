import type { KeyWrapName } from './key-wrap';

/** Which token to use. At least one of the two; both must fit when both are given. */
export interface TokenSelector {
  /** Label of the token, without its padding. */
  readonly label?: string;
  /** Serial number of the token, without its padding. */
  readonly serial?: string;
}

/** What a lane needs to know; sent to its thread. The PIN is not part of it. */
export interface TokenSettings {
  readonly library: string;
  readonly libraryParameters: string | undefined;
  readonly token: TokenSelector;
  readonly keyLabel: string;
  readonly createKey: boolean;
  /** The only way to wrap and unwrap keys; `undefined` leaves it to what token and KEK allow. */
  readonly mechanism: KeyWrapName | undefined;
}

/** One line that no other token of this machine has. */
export function tokenName({ library, token }: TokenSettings): string {
  return JSON.stringify([library, token.label, token.serial]);
}
