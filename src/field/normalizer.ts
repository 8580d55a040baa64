import { ValueCodecError } from '../encoding/value-codec-error';
import { InvalidFieldPolicyError } from '../errors';

/** The rule by which a blind index treats strings as equal. It never changes the stored value. */
export interface Normalizer {
  /** Names the rule; part of the index key, so another rule never gives the same token. */
  readonly id: string;
  /** From 1. Raise it whenever `normalize` changes its results, then rebuild the index. */
  readonly version: number;
  /** Must return the same for the same input in every process, and its own results unchanged. */
  normalize(value: string): string;
}

/** The rules that come with the library. */
export type NormalizerName = 'exact' | 'case-insensitive' | 'email' | 'digits';

/** In a later Unicode version these may be assigned and have case mappings, and so another token. */
const UNASSIGNED = /\p{Cn}/u;
const BEYOND_ASCII = /[^\0-\x7f]/;
const FOREIGN_DIGIT = /(?![0-9])\p{Nd}/u;
const NOT_A_DIGIT = /[^0-9]/g;
const MAX_ID_CHARS = 64;

const BUILT_INS: Readonly<Record<NormalizerName, Normalizer>> = Object.freeze({
  exact: builtIn('exact', (value) => value),
  'case-insensitive': builtIn('case-insensitive', foldCase),
  email: builtIn('email', (value) => foldCase(value.normalize('NFKC').trim())),
  digits: builtIn('digits', keepDigits),
});

/**
 * Resolves the `normalize` option of a blind index:
 *
 * - `exact`: the string as it is.
 * - `case-insensitive`: Unicode compatibility form and case folding; `ẞ`, `ß` and `SS` are the same,
 *   and so are `ﬁ` and `fi`, full-width and ordinary letters. Right for names, wrong for codes.
 * - `email`: the same, without white space at either end.
 * - `digits`: only the digits 0 to 9, for telephone, card and social security numbers.
 *
 * @throws {@link InvalidFieldPolicyError}, its message a noun phrase, for an unknown name or an invalid
 * custom normalizer
 */
export function resolveNormalizer(normalize: NormalizerName | Normalizer): Normalizer {
  return typeof normalize === 'string' ? builtInNamed(normalize) : checkedCustom(normalize);
}

function builtIn(id: NormalizerName, normalize: (value: string) => string): Normalizer {
  return Object.freeze({ id, version: 1, normalize });
}

function builtInNamed(name: string): Normalizer {
  if (!isBuiltInName(name)) {
    throw new InvalidFieldPolicyError(
      `an unknown normalizer "${name}"; known are ${Object.keys(BUILT_INS).join(', ')}`,
    );
  }
  return BUILT_INS[name];
}

function isBuiltInName(name: string): name is NormalizerName {
  return Object.hasOwn(BUILT_INS, name);
}

function checkedCustom(custom: unknown): Normalizer {
  const { id, version, normalize } = (custom ?? {}) as Partial<Normalizer>;
  if (typeof id !== 'string' || id.length === 0 || id.length > MAX_ID_CHARS) {
    throw invalid(`an id of 1 to ${String(MAX_ID_CHARS)} characters`);
  }
  const taken = Object.keys(BUILT_INS).find((name) => id.startsWith(name));
  if (taken !== undefined) throw invalid(`an id that does not begin with "${taken}"`);
  if (!Number.isSafeInteger(version) || Number(version) < 1) {
    throw invalid('a version that is a whole number from 1');
  }
  if (typeof normalize !== 'function') throw invalid('a normalize function');
  return custom as Normalizer;
}

function invalid(need: string): InvalidFieldPolicyError {
  return new InvalidFieldPolicyError(`an invalid normalizer; it needs ${need}`);
}

/**
 * JavaScript has no case folding. Lower, upper, lower case is stable for every code point (`ẞ`
 * reaches `ss` only by way of upper case); the final sigma depends on its neighbours and is
 * undone. Never by locale: Turkish would tell `I` from `i`.
 */
function foldCase(value: string): string {
  // For ASCII, the common case, this equals the steps below.
  if (!BEYOND_ASCII.test(value)) return value.toLowerCase();
  refuseUnassigned(value);
  return value
    .normalize('NFKC')
    .toLowerCase()
    .toUpperCase()
    .toLowerCase()
    .replaceAll('ς', 'σ')
    .normalize('NFKC');
}

function keepDigits(value: string): string {
  refuseUnassigned(value);
  const compatible = value.normalize('NFKC');
  if (FOREIGN_DIGIT.test(compatible)) {
    throw new ValueCodecError(
      'it holds digits other than 0 to 9, which a digits index cannot compare',
    );
  }
  return compatible.replace(NOT_A_DIGIT, '');
}

function refuseUnassigned(value: string): void {
  if (UNASSIGNED.test(value)) {
    throw new ValueCodecError('it holds a code point that Unicode has not assigned');
  }
}
