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
  for (const rule of own) requireForm(rule);
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

function requireForm(rule: Rule | undefined): void {
  const { check, controls, doesNotShow, id, severity, shows, title } = { ...rule };
  const texts: readonly unknown[] = [id, title, shows, doesNotShow];
  const all = Array.isArray(controls) ? texts.concat(controls) : [undefined];
  const isRule = typeof check === 'function' && SEVERITIES.some((each) => each === severity);
  if (isRule && all.every((text) => typeof text === 'string' && text !== '')) return;
  throw new ConfigurationError(
    `report: the rule ${JSON.stringify(typeof id === 'string' ? id : null)} has a wrong form. It needs id, title, shows and ` +
      `doesNotShow, a severity of ${SEVERITIES.join(', ')}, a list of controls, and a check.`,
  );
}

function violationsOf(
  { id, severity, controls, check }: Rule,
  report: EvidenceReport,
): Violation[] {
  try {
    // A rule that changes the report would change what others see.
    return check(structuredClone(report)).map(({ subject, message, remedy }) => {
      const texts: readonly unknown[] = [subject, message, remedy];
      if (!texts.every((text) => typeof text === 'string')) throw new TypeError('text missing');
      return { rule: id, severity, controls: [...controls], subject, message, remedy };
    });
  } catch (cause) {
    throw new ConfigurationError(
      `report: the rule "${id}" fails, or does not return a list of findings with subject, message and remedy.`,
      { cause },
    );
  }
}
