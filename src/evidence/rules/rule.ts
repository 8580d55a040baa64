import type { EvidenceReport, Severity } from '../report';

/** A rule over the report. Serves controls; neither proves nor claims that they are met. */
export interface Rule {
  /** Stable, such as `cleartext-rows`. */
  readonly id: string;
  /** What is to hold, such as `No row is readable`. */
  readonly title: string;
  readonly severity: Severity;
  /** Requirements that it serves, such as `PCI DSS 4.0.1 3.7.4`. */
  readonly controls: readonly string[];
  /** What it shows where it finds nothing. */
  readonly shows: string;
  /** What it does not show even then. */
  readonly doesNotShow: string;
  /** Lists what breaks it. Looks at the report alone, whose `rules` and `violations` are empty then. */
  readonly check: (report: EvidenceReport) => readonly RuleFinding[];
}

/** Something that breaks a rule. Names, ids, dates and counts only. */
export interface RuleFinding {
  /** The column, key or other thing that it is about. */
  readonly subject: string;
  readonly message: string;
  readonly remedy: string;
}

/** Returns a finding, where there is one: as a list, which rules return. */
export function findingIf(
  isBroken: boolean,
  subject: string,
  message: string,
  remedy: string,
): RuleFinding[] {
  return isBroken ? [{ subject, message, remedy }] : [];
}
