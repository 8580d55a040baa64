import { ConfigurationError } from '../../errors';
import type { EvidenceReport, Severity, Violation } from '../report';

import { KEY_RULES } from './key-rules';
import { LOG_RULES } from './log-rules';
import { ROW_RULES } from './row-rules';
import type { Rule } from './rule';

/** The rules of the library, most telling first. */
export const BUILT_IN_RULES: readonly Rule[] = [...ROW_RULES, ...KEY_RULES, ...LOG_RULES];

/**
 * Applies the rules of the library, and those of the user.
 *
 * @throws {@link ConfigurationError} for a rule of the user whose id is taken, that fails, or that has a wrong form
 */
export function judged(report: EvidenceReport, own: readonly Rule[]): EvidenceReport {
  const rules = [...BUILT_IN_RULES, ...own];
  const taken = rules.find(({ id }, i) => rules.findIndex((rule) => rule.id === id) < i);
  if (taken !== undefined) {
    throw new ConfigurationError(
      `report: there are two rules "${taken.id}". Give yours another id.`,
    );
  }
  const violations = rules.flatMap((rule) => violationsOf(rule, report));
  return {
    ...report,
    rules: rules.map(({ id, title, severity, controls, shows, doesNotShow }) => ({
      ...{ id, title, severity, controls: [...controls], shows, doesNotShow },
      findings: violations.filter(({ rule }) => rule === id).length,
    })),
    violations,
  };
}

const SEVERITIES: readonly Severity[] = ['high', 'medium', 'low'];

function violationsOf(
  { id, severity, controls, check }: Rule,
  report: EvidenceReport,
): Violation[] {
  try {
    if (!SEVERITIES.includes(severity)) throw new TypeError('unknown severity');
    return check(report).map(({ subject, message, remedy }) => {
      const texts: readonly unknown[] = [subject, message, remedy];
      if (!texts.every((text) => typeof text === 'string')) throw new TypeError('text missing');
      return { rule: id, severity, controls: [...controls], subject, message, remedy };
    });
  } catch (cause) {
    throw new ConfigurationError(
      `report: the rule "${id}" fails, or has a wrong form. It needs a severity of ${SEVERITIES.join(', ')}, ` +
        'and a check that returns a list of findings.',
      { cause },
    );
  }
}
