import { decodeBase64url } from '../../encoding/base64url';

/** What an anchor knows of approvals, so that neither an older policy nor a request that was used can come back. */
export interface AnchoredApprovals {
  /** The newest version of the policy. */
  readonly policy?: { readonly version: number; readonly id: string } | undefined;
  /** By the id of a request that was carried out, when it ends, in milliseconds since 1970. */
  readonly used: Readonly<Record<string, number>>;
}

/** Milliseconds by which the clock that requests end by may be behind this one. */
const SLACK_MS = 86_400_000;

/** Returns what both know; of requests, those that may not have ended at a time. */
export function mergedApprovals(
  a: AnchoredApprovals | undefined,
  b: AnchoredApprovals | undefined,
  now: number,
): AnchoredApprovals | undefined {
  if (a === undefined && b === undefined) return undefined;
  const isNewer = (b?.policy?.version ?? 0) > (a?.policy?.version ?? 0);
  const all = Object.entries({ ...a?.used, ...b?.used });
  const used = all.filter(([, expires]) => expires + SLACK_MS > now);
  return { policy: isNewer ? b?.policy : a?.policy, used: Object.fromEntries(used.sort()) };
}

/** Whether one knows all that the other does. */
export function includesApprovals(
  all: AnchoredApprovals | undefined,
  some: AnchoredApprovals | undefined,
): boolean {
  const isPolicyKnown = (all?.policy?.version ?? 0) >= (some?.policy?.version ?? 0);
  return isPolicyKnown && Object.keys(some?.used ?? {}).every((id) => id in (all?.used ?? {}));
}

/** A further part of the text of an anchor; empty where nothing is known, as in anchors from before. */
export function encodeApprovals(approvals: AnchoredApprovals | undefined): string {
  if (approvals === undefined) return '';
  return `-${Buffer.from(JSON.stringify(approvals)).toString('base64url')}`;
}

/** Reads what {@link encodeApprovals} wrote. To be trusted only once the seal of the anchor holds. */
export function decodeApprovals(encoded: string): AnchoredApprovals | undefined {
  const bytes = decodeBase64url(encoded.slice(1));
  if (encoded === '' || bytes === undefined) return undefined;
  try {
    return JSON.parse(bytes.toString()) as AnchoredApprovals;
  } catch {
    return undefined;
  }
}
