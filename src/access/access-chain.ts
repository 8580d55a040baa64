import { randomBytes } from 'node:crypto';

import type { AuditSeal } from '../audit/audit-log';
import type { AuditProblem, FindSeal } from '../audit/audit-verification';
import { LABELS } from '../crypto/labels';
import { equalInConstantTime } from '../crypto/secret-bytes';
import { lengthPrefixed } from '../encoding/length-prefixed';

import type { AccessEntry, UnnumberedEntry } from './access-entry';

/** What proves an entry, beside it in the table. */
export interface AccessProof {
  /** Id of the key that seals it, that of the audit log. */
  readonly sealedBy: string;
  /** MAC of the entry before it, of the same writer; empty in the first. base64url, like `mac`. */
  readonly previousMac: string;
  readonly mac: string;
}

/** An entry as the table holds it. */
export type ProvenEntry = readonly [AccessEntry, AccessProof];

/** An entry of the access log that is not as it was written. */
export interface BrokenAccess extends Pick<AccessEntry, 'writer' | 'seq'> {
  readonly problem: Exclude<AuditProblem, 'truncated' | 'otherHead'>;
}

/** The numbers of one writer. */
export class AccessNumbers {
  readonly #writer = randomBytes(8).toString('hex');
  #written = 0;

  /** Numbers entries after those that were {@link AccessNumbers.taken}. */
  of(entries: readonly UnnumberedEntry[]): AccessEntry[] {
    const writer = this.#writer;
    return entries.map((entry, i) => ({ writer, seq: this.#written + 1 + i, ...entry }));
  }

  taken(entries: readonly unknown[]): void {
    this.#written += entries.length;
  }
}

/** Seals entries of one writer, each with the MAC of the one before it. */
export function sealedEntries(
  entries: readonly AccessEntry[],
  seal: AuditSeal,
  lastMac: string,
): ProvenEntry[] {
  let previousMac = lastMac;
  return entries.map((entry) => {
    const begun = { sealedBy: seal.keyId, previousMac };
    previousMac = macOf(entry, begun, seal);
    return [entry, { ...begun, mac: previousMac }];
  });
}

function macOf(
  entry: AccessEntry,
  { sealedBy, previousMac }: Omit<AccessProof, 'mac'>,
  seal: AuditSeal,
): string {
  const { actor, reason, primaryKey } = entry;
  const optional = [actor === null ? null : [actor], reason === null ? null : [reason], primaryKey];
  const parts = [
    ...[previousMac, entry.writer, String(entry.seq), entry.time, entry.operation],
    ...[entry.entity, entry.property, String(entry.values), sealedBy],
    ...optional.map((part) => lengthPrefixed(part === null ? [] : ['', ...part])),
  ];
  return seal.mac(LABELS.accessEntry, parts).toString('base64url');
}

/** The most entries that are named. */
const MAX_BROKEN = 100;

/**
 * A verification of entries in the order of writers and numbers. Each writer's may begin anywhere: older entries are
 * removed in time.
 */
export class AccessVerification {
  readonly #findSeal: FindSeal;
  readonly broken: BrokenAccess[] = [];
  #previous: ProvenEntry | undefined;

  constructor(findSeal: FindSeal) {
    this.#findSeal = findSeal;
  }

  async follow(entry: AccessEntry, proof: AccessProof): Promise<void> {
    const { writer } = entry;
    const before = this.#previous?.[0].writer === writer ? this.#previous : undefined;
    this.#previous = [entry, proof];
    const problem = await this.#problemOf([entry, proof], before);
    if (problem === undefined || this.broken.length === MAX_BROKEN) return;
    const seq = problem === 'missing' && before !== undefined ? before[0].seq + 1 : entry.seq;
    this.broken.push({ writer, seq, problem });
  }

  async #problemOf(
    [entry, proof]: ProvenEntry,
    before: ProvenEntry | undefined,
  ): Promise<BrokenAccess['problem'] | undefined> {
    const seal = await this.#findSeal(proof.sealedBy);
    if (typeof seal === 'string') return seal;
    const mac = macOf(entry, proof, seal);
    if (!equalInConstantTime(Buffer.from(mac), Buffer.from(proof.mac))) return 'edited';
    if (before === undefined) return undefined;
    const [{ seq }, last] = before;
    if (entry.seq !== seq + 1) return 'missing';
    return proof.previousMac === last.mac ? undefined : 'moved';
  }
}
