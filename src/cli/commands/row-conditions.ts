import { encryptedTables } from '../../reencryption/encrypted-table';
import type { RunOptions } from '../../reencryption/report/run-options';
import type { Session } from '../load/session';
import { CommandError } from '../terminal/command-error';

import { requireScopeOf } from './common-options';
import type { ScopeFlags } from './common-options';
import { namedScopes, scopeIdsOf } from './scopes/named-scope';

/** Options that say which rows a run is about, and which of them come first. */
export interface ConditionOptions extends ScopeFlags {
  /** `Entity: SQL condition` */
  readonly where?: readonly string[];
  /** `name=value` */
  readonly param?: readonly string[];
  /** `Entity: SQL condition` */
  readonly first?: readonly string[];
}

/**
 * Reads the options as those of a run.
 *
 * @throws {@link CommandError} for one of another form, and for the name of no encrypted entity or scope
 */
export async function rowConditions(
  session: Session,
  { scope, kind, where, param, first }: ConditionOptions,
): Promise<Pick<RunOptions, 'scopes' | 'where' | 'parameters' | 'first'>> {
  const entities = encryptedTables(session.installation).map(({ metadata }) => metadata.name);
  requireScopeOf({ scope, kind });
  return {
    ...(scope === undefined ? {} : { scopes: scopeIdsOf(await namedScopes(session, scope, kind)) }),
    ...(where === undefined ? {} : { where: conditionsOf('--where', where, entities) }),
    ...(param === undefined ? {} : { parameters: Object.fromEntries(param.map(parameterOf)) }),
    ...(first === undefined ? {} : { first: conditionsOf('--first', first, entities) }),
  };
}

function conditionsOf(
  option: string,
  texts: readonly string[],
  entities: readonly string[],
): Record<string, string> {
  const conditions = texts.map((text) => conditionOf(option, text));
  const names = conditions.map(([entity]) => entity);
  requireNames(option, names, entities);
  const twice = names.find((name, at) => names.indexOf(name) < at);
  if (twice === undefined) return Object.fromEntries(conditions);
  throw new CommandError(
    'ERR_USAGE',
    `${option} names "${twice}" twice.`,
    'Join the conditions with AND or OR.',
  );
}

function conditionOf(option: string, text: string): [string, string] {
  const [, entity, condition] = /^([^:]+):(.+)$/s.exec(text) ?? [];
  if (entity !== undefined && condition !== undefined) return [entity.trim(), condition.trim()];
  throw new CommandError(
    'ERR_USAGE',
    `${option} has no condition.`,
    `Write it as 'Entity: SQL condition', such as ${option} "Patient: status = 'active'".`,
  );
}

/** Reads a parameter. A whole number is one to the database: SQLite compares it as such. */
function parameterOf(text: string): [string, string | number] {
  const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || value === undefined) {
    throw new CommandError(
      'ERR_USAGE',
      '--param has no value.',
      'Write it as name=value, such as --param tenant=42.',
    );
  }
  const number = Number(value);
  // Not 007 or 1e3, which may be meant as texts.
  return [name, Number.isSafeInteger(number) && String(number) === value ? number : value];
}

/** @throws {@link CommandError} for a name that is none of those known, which it lists */
export function requireNames(
  option: string,
  names: readonly string[],
  known: readonly string[],
): void {
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new CommandError(
    'ERR_USAGE',
    `${option} names "${unknown}", and nothing of that name is encrypted.`,
    known.length === 0
      ? 'No entity of this DataSource has encrypted columns.'
      : `Encrypted are: ${known.join(', ')}.`,
  );
}
