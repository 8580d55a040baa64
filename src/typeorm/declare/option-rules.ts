import {
  ArrayUnique,
  getMetadataStorage,
  IsArray,
  IsOptional,
  Matches,
  validateSync,
} from 'class-validator';

import { ConfigurationError } from '../../errors';

/**
 * Checks an options object against a class of class-validator rules. Returns the problems for a message,
 * naming options but never their values, or `undefined`. Options without a rule are refused, so that a
 * misspelt one is not ignored.
 */
export function optionProblems(rules: new () => object, options: object): string | undefined {
  // An option such as `constructor` would hide the class of the rules.
  const inherited = Object.keys(options).find((name) => name in Object.prototype);
  if (inherited !== undefined) return unknownOption(rules, inherited);
  const checked = Object.assign(new rules(), options);
  const errors = validateSync(checked, { whitelist: true, forbidNonWhitelisted: true });
  if (errors.length === 0) return undefined;
  return errors
    .map(({ property, constraints = {} }) => {
      if ('whitelistValidation' in constraints) {
        return unknownOption(rules, property);
      }
      return `a wrong option: ${Object.values(constraints).join(', ')}`;
    })
    .join('; ');
}

/**
 * Refuses wrong and unknown options of a method.
 *
 * @throws {@link ConfigurationError} that names the method
 */
export function requireOptions(method: string, rules: new () => object, options: object): void {
  const isObject = typeof (options as unknown) === 'object' && (options as unknown) !== null;
  const problem = isObject ? optionProblems(rules, options) : 'its options must be an object';
  if (problem !== undefined) throw new ConfigurationError(`${method}: ${problem}.`);
}

function unknownOption(rules: new () => object, name: string): string {
  return `an unknown option "${name}" (known are ${knownOptions(rules)})`;
}

function knownOptions(rules: new () => object): string {
  const ruled = getMetadataStorage().getTargetValidationMetadatas(rules, '', false, false);
  return [...new Set(ruled.map(({ propertyName }) => propertyName))].join(', ');
}

/** The rule of an option that is a list of different names. */
export function names(pattern: RegExp): PropertyDecorator {
  const rules = [IsOptional(), IsArray(), ArrayUnique(), Matches(pattern, { each: true })];
  return (target, name) => {
    for (const rule of rules) rule(target, name);
  };
}

/** Leaves out the options that are undefined. */
export function defined<T extends object>(
  options: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
