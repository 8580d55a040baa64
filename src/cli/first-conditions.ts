import { CommandError } from './command-error';

/** What `--first` gives, each as `Entity: SQL condition`. */
export function firstConditions(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(texts.map(firstCondition));
}

function firstCondition(text: string): [string, string] {
  const [, entity, condition] = /^([^:]+):(.+)$/s.exec(text) ?? [];
  if (entity !== undefined && condition !== undefined) return [entity.trim(), condition.trim()];
  throw new CommandError(
    'ERR_USAGE',
    '--first has no condition.',
    `Write it as 'Entity: SQL condition', such as --first "Patient: status = 'active'".`,
  );
}
