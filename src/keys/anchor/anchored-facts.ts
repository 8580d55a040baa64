import type { TreeHead } from '../../audit/merkle-tree';
import { decodeBase64url } from '../../encoding/base64url';

/**
 * What an anchor knows beside keys: of approvals, so that neither an older policy nor a request that was used can come
 * back, and of the audit log, so that it cannot be cut off or replaced. A version that knows less of it passes over the rest.
 */
export interface AnchoredFacts {
  /** The newest version of the policy. */
  readonly policy?: { readonly version: number; readonly id: string } | undefined;
  /** By the id of a request that was carried out, when it ends, in milliseconds since 1970. */
  readonly used: Readonly<Record<string, number>>;
  /** The largest tree of the log that was verified. */
  readonly log?: TreeHead | undefined;
}

/** Milliseconds by which the clock that requests end by may be behind this one. */
const SLACK_MS = 86_400_000;

/** Returns what both know; of requests, those that may not have ended at a time. */
export function mergedFacts(
  a: AnchoredFacts | undefined,
  b: AnchoredFacts | undefined,
  now: number,
): AnchoredFacts | undefined {
  if (a === undefined && b === undefined) return undefined;
  const isNewer = (b?.policy?.version ?? 0) > (a?.policy?.version ?? 0);
  const all = Object.entries({ ...a?.used, ...b?.used });
  const used = all.filter(([, expires]) => expires + SLACK_MS > now);
  return {
    policy: isNewer ? b?.policy : a?.policy,
    used: Object.fromEntries(used.sort()),
    log: sizeOf(b) > sizeOf(a) ? b?.log : a?.log,
  };
}

/** Whether one knows all that the other does. */
export function includesFacts(
  all: AnchoredFacts | undefined,
  some: AnchoredFacts | undefined,
): boolean {
  const isPolicyKnown = (all?.policy?.version ?? 0) >= (some?.policy?.version ?? 0);
  const isLogKnown = sizeOf(all) >= sizeOf(some);
  return (
    isPolicyKnown &&
    isLogKnown &&
    Object.keys(some?.used ?? {}).every((id) => id in (all?.used ?? {}))
  );
}

/** Whether these are of approvals, which a lost anchor must not take along. */
export function knowsApprovals(facts: AnchoredFacts | undefined): boolean {
  return facts?.policy !== undefined || Object.keys(facts?.used ?? {}).length > 0;
}

/** Returns what is known of all but the log. */
export function withoutLog(facts: AnchoredFacts | undefined): AnchoredFacts | undefined {
  return knowsApprovals(facts) && facts !== undefined ? { ...facts, log: undefined } : undefined;
}

function sizeOf(facts: AnchoredFacts | undefined): number {
  return facts?.log?.size ?? -1;
}

/** A further part of the text of an anchor; empty where nothing is known, as in anchors from before. */
export function encodeFacts(facts: AnchoredFacts | undefined): string {
  if (facts === undefined) return '';
  return `-${Buffer.from(JSON.stringify(facts)).toString('base64url')}`;
}

/** Reads what {@link encodeFacts} wrote. To be trusted only once the seal of the anchor holds. */
export function decodeFacts(encoded: string): AnchoredFacts | undefined {
  const bytes = decodeBase64url(encoded.slice(1));
  if (encoded === '' || bytes === undefined) return undefined;
  try {
    return JSON.parse(bytes.toString()) as AnchoredFacts;
  } catch {
    return undefined;
  }
}
