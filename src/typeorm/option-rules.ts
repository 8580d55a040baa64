import { getMetadataStorage, validateSync } from 'class-validator';

/**
 * Checks an options object against a class of class-validator rules.
 *
 * Returns what is wrong in words fit for a message, naming options but never their values, or
 * `undefined`. Options without a rule are refused: a misspelt option must not be ignored.
 */
export function optionProblems(rules: new () => object, options: object): string | undefined {
  const checked = Object.assign(new rules(), options);
  const errors = validateSync(checked, { whitelist: true, forbidNonWhitelisted: true });
  if (errors.length === 0) return undefined;
  return errors
    .map(({ property, constraints = {} }) => {
      if ('whitelistValidation' in constraints) {
        return `an unknown option "${property}" (known are ${knownOptions(rules)})`;
      }
      return `a wrong option: ${Object.values(constraints).join(', ')}`;
    })
    .join('; ');
}

function knownOptions(rules: new () => object): string {
  const ruled = getMetadataStorage().getTargetValidationMetadatas(rules, '', false, false);
  return [...new Set(ruled.map(({ propertyName }) => propertyName))].join(', ');
}
