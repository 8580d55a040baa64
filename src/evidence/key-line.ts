import { decodeBase64 } from '../encoding/base64url';
import { vouchesForNext } from '../keys/signing/key-change';
import type { HistoryStep } from '../keys/signing/key-history';

import { readVerifierKey, verifierKeyText } from './signed-note';
import type { VerifierKey } from './signed-note';

/** A line of a note about a key that leads to the one that signs it. */
export interface KeyLine {
  readonly key: VerifierKey;
  /** Undefined for a key that is in no key table. */
  readonly step?: Omit<HistoryStep, 'publicKey'> | undefined;
}

/** Writes `key <verifier key>[ <version> <id>[ <signature by which it vouches for the next one>]]`. */
export function writeKeyLine({ key, step }: KeyLine): string {
  const parts = [
    verifierKeyText(key),
    ...(step === undefined ? [] : [String(step.version), step.id]),
    ...(step?.vouches === undefined ? [] : [Buffer.from(step.vouches).toString('base64')]),
  ];
  return `key ${parts.join(' ')}`;
}

/** Reads a line that {@link writeKeyLine} wrote; undefined for any other. */
export function readKeyLine(line: string): KeyLine | undefined {
  const [, text = '', version, id, vouched] =
    /^key (\S+)(?: ([1-9]\d{0,9}) ([0-9a-f]{16})(?: (\S+))?)?$/.exec(line) ?? [];
  const key = readVerifierKey(text);
  if (key === undefined) return undefined;
  if (version === undefined || id === undefined) return { key };
  const vouches = vouched === undefined ? undefined : decodeBase64(vouched);
  if (vouched !== undefined && vouches === undefined) return undefined;
  return { key, step: { id, version: Number(version), vouches } };
}

/** Whether each key of a history vouches for the next one. */
export function leadsToLast(application: string, lines: readonly KeyLine[]): boolean {
  return lines.every(({ key, step }, at) => {
    const next = lines[at + 1];
    if (next === undefined) return true;
    if (step?.vouches === undefined || next.step === undefined) return false;
    const [previous, following] = [
      { ...step, publicKey: key.publicKey },
      { ...next.step, publicKey: next.key.publicKey },
    ];
    const change = { application, name: 'reports', previous, next: following };
    return vouchesForNext(change, step.vouches);
  });
}
